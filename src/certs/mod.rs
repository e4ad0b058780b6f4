//! Room: certs (to be written).
