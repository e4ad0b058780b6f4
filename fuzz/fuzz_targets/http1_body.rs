//! Feeds `checks/http1_body.rs` whatever libFuzzer thinks of.
#![no_main]

#[path = "../checks/http1_body.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::check(bytes));
