//! Feeds `checks/proxy_exchange.rs` whatever libFuzzer thinks of.
#![no_main]

#[path = "../checks/proxy_exchange.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::check(bytes));
