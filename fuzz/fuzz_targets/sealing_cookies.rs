//! Feeds `checks/sealing_cookies.rs` whatever libFuzzer thinks of.
#![no_main]

#[path = "../checks/sealing_cookies.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::check(bytes));
