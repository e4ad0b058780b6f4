//! Feeds `checks/dispatch_host.rs` whatever libFuzzer thinks of.
#![no_main]

#[path = "../checks/dispatch_host.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::check(bytes));
