//! Feeds `checks/tls_ticket.rs` whatever libFuzzer thinks of.
#![no_main]

#[path = "../checks/tls_ticket.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::check(bytes));
