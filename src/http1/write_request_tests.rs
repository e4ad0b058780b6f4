//! Tests of `write_request`.
