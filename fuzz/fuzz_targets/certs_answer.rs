//! Feeds `checks/certs_answer.rs` whatever libFuzzer thinks of.
#![no_main]

#[path = "../checks/certs_answer.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::check(bytes));
