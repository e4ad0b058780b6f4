//! Every counter: name, unit, meaning.
