//! Room: config (to be written).
