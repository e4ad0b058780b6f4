//! Feeds `checks/cli_replay.rs` whatever libFuzzer thinks of.
#![no_main]

#[path = "../checks/cli_replay.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::check(bytes));
