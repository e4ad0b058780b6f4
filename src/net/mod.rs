//! Room: net (to be written).
