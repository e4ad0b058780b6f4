//! Room: tls (to be written).
