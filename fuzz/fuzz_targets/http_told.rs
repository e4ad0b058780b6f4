//! Feeds `checks/http_told.rs` whatever libFuzzer thinks of.
#![no_main]

#[path = "../checks/http_told.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::check(bytes));
