//! Room: http (to be written).
