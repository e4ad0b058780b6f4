//! Feeds `checks/net_client_hello.rs` whatever libFuzzer thinks of.
#![no_main]

#[path = "../checks/net_client_hello.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::check(bytes));
