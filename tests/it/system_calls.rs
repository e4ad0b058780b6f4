//! How many system calls a request on kept connections takes: the price list of `ARCHITECTURE.md`, counted.

use std::collections::BTreeMap;

use crate::harness::{Client, Setup, Upstream, any_site, response_with, skip_without, wait_until};

const REQUESTS: u64 = 200;

/// Whether strace is there and may trace.
fn can_trace() -> bool {
    let traced = std::process::Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    traced.is_ok_and(|output| output.status.success())
}

/// System calls of the whole program for so many requests, by name.
fn calls_for(requests: u64, size: usize) -> BTreeMap<String, u64> {
    let upstream = Upstream::answering(response_with(&vec![b'x'; size]));
    let directory = tempfile::tempdir().expect("a directory");
    let summary = directory.path().join("calls");
    let file = summary.to_str().expect("text");
    let mut server =
        Setup::new(&any_site(&upstream)).under(&["strace", "-D", "-f", "-c", "-o", file]).start();
    let mut client = Client::https(server.https(), "a.test");
    for _ in 0..requests {
        assert_eq!(client.get("a.test", "/").body.len(), size);
    }
    drop(client);
    server.stop();
    // strace is not its parent (-D), so that signals reach the program, and ends after it.
    let written = || std::fs::read_to_string(&summary).unwrap_or_default();
    wait_until("strace writes what it counted", || written().contains("total"));
    let text = written();
    // "% time, seconds, usecs/call, calls, [errors,] name"
    let lines = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        Some(((*words.last()?).to_owned(), words.get(3)?.parse().ok()?))
    });
    lines.filter(|(name, _): &(String, u64)| name != "total").collect()
}

#[test]
fn a_request_costs_turns_of_the_ring_and_a_look_at_the_kept_connection() {
    if !can_trace() {
        return skip_without("strace");
    }
    let (few, many) = (calls_for(10, 100), calls_for(10 + REQUESTS, 100));
    let each = |name: &str| {
        let count = |calls: &BTreeMap<String, u64>| calls.get(name).copied().unwrap_or(0) as f64;
        (count(&many) - count(&few)) / REQUESTS as f64
    };
    // With one connection each operation is a turn of its own; with many, turns are shared. Ticks are turns, too.
    let turns = each("io_uring_enter");
    assert!((1.0..=6.0).contains(&turns), "{turns} turns for a request: {many:?}");
    let looks = each("recvfrom");
    assert!((0.99..=1.01).contains(&looks), "{looks} receives beside the ring: {many:?}");
    for name in many.keys().filter(|name| !["io_uring_enter", "recvfrom"].contains(&name.as_str())) {
        assert!(each(name) < 0.1, "{name}: {} for a request: {few:?} {many:?}", each(name));
    }
}
