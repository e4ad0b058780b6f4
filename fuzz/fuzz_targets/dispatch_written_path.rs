//! Feeds `checks/dispatch_written_path.rs` whatever libFuzzer thinks of.
#![no_main]

#[path = "../checks/dispatch_written_path.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::check(bytes));
