//! Feeds `checks/dispatch_matcher.rs` whatever libFuzzer thinks of.
#![no_main]

#[path = "../checks/dispatch_matcher.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::check(bytes));
