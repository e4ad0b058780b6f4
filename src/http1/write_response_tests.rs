//! Tests of `write_response`.
