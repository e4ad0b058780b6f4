//! What cases are written with: the real program, a recording site server, a raw client.
//!
//! Nothing here waits for time to pass: it waits for a line, a byte, an end or a state, and gives up after
//! [`PATIENCE`] with what it saw.

#[cfg(feature = "acme")]
mod authority;
mod certificate;
mod client;
pub mod grpc;
pub mod http2;
mod http2_upstream;
mod message;
mod pebble;
#[cfg(feature = "acme")]
mod redis;
mod server;
mod upstream;
mod wire;

#[cfg(feature = "acme")]
pub use authority::FakeAuthority;
pub use certificate::{Authority, Issued, sha256};
pub use client::{Client, End, Tls};
pub use http2_upstream::{Call, Http2Upstream};
pub use message::{BAD_CHUNKS, Message};
pub use pebble::{Pebble, PebbleSetup, free_address, is_installed};
#[cfg(feature = "acme")]
pub use redis::Redis;
pub use server::{PROGRAM, Server, Setup, run_to_end};
pub use upstream::{Peer, Upstream, response_with};

use std::time::{Duration, Instant};

/// How long anything may take before a case fails. Generous: the machine may be busy building.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `state` is true.
#[track_caller]
pub fn wait_until(what: &str, mut state: impl FnMut() -> bool) {
    let since = Instant::now();
    while !state() {
        assert!(since.elapsed() < PATIENCE, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a case with one worker and with two.
pub fn with_one_worker_and_two(case: impl Fn(usize)) {
    for workers in [1, 2] {
        case(workers);
    }
}

/// Says that a case did not run, and why.
pub fn skip(why: &str) {
    println!("skipped: {why}");
}

/// Says that a case did not run for want of a program. In CI that is a failure: `.ci/run` sets `PORTCULLIS_CI`.
pub fn skip_without(program: &str) {
    let in_ci = std::env::var_os("PORTCULLIS_CI").is_some_and(|value| value == "1");
    assert!(!in_ci, "{program} is not installed");
    skip(&format!("{program} is not installed"));
}

/// A site as TOML; more keys can be appended.
pub fn site(name: &str, hosts: &[&str], upstream: &Upstream) -> String {
    format!("[[site]]\nname = {name:?}\nhosts = {hosts:?}\nupstream = [{:?}]\n", upstream.url())
}

/// The program in front of one site server, for any name.
pub fn serve(upstream: &Upstream) -> Server {
    Server::start(&any_site(upstream))
}

/// One site for any name.
pub fn any_site(upstream: &Upstream) -> String {
    site("any", &["a.test", "*"], upstream)
}
