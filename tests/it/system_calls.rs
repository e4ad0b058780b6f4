//! How many system calls a request takes, on kept connections and on one that closes with it: the price list of `ARCHITECTURE.md`, counted.

use std::collections::BTreeMap;

use crate::harness::{
    Client, End, Server, Setup, Upstream, any_site, response_with, skip_without, wait_until,
};

const REQUESTS: u64 = 200;
const SIZE: usize = 100;

/// Whether strace is there and may trace.
fn can_trace() -> bool {
    let traced = std::process::Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    traced.is_ok_and(|output| output.status.success())
}

/// System calls of the whole program while `clients` talk to it, by name.
fn calls_while(clients: impl FnOnce(&Server)) -> BTreeMap<String, u64> {
    let upstream = Upstream::answering(response_with(&[b'x'; SIZE]));
    let directory = tempfile::tempdir().expect("a directory");
    let summary = directory.path().join("calls");
    let file = summary.to_str().expect("text");
    let mut server =
        Setup::new(&any_site(&upstream)).under(&["strace", "-D", "-f", "-c", "-o", file]).start();
    clients(&server);
    // What it gives back once after its start is in each count.
    wait_until("memory was given back", || !threads(server.process()).any(|name| name.trim() == "memory"));
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

/// The names of a process's threads.
fn threads(process: u32) -> impl Iterator<Item = String> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    // One that ends meanwhile has no name any more.
    tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
}

/// Of one more request, when `many` are `REQUESTS` more than `few`.
fn each_of(few: &BTreeMap<String, u64>, many: &BTreeMap<String, u64>, name: &str) -> f64 {
    let count = |calls: &BTreeMap<String, u64>| calls.get(name).copied().unwrap_or(0) as f64;
    (count(many) - count(few)) / REQUESTS as f64
}

#[test]
fn a_request_costs_turns_of_the_ring_and_a_look_at_the_kept_connection() {
    if !can_trace() {
        return skip_without("strace");
    }
    let kept = |requests: u64| {
        calls_while(|server| {
            let mut client = Client::https(server.https(), "a.test");
            for _ in 0..requests {
                assert_eq!(client.get("a.test", "/").body.len(), SIZE);
            }
        })
    };
    let (few, many) = (kept(10), kept(10 + REQUESTS));
    let each = |name: &str| each_of(&few, &many, name);
    // With one connection each operation is a turn of its own; with many, turns are shared. Ticks are turns, too.
    let turns = each("io_uring_enter");
    assert!((1.0..=6.0).contains(&turns), "{turns} turns for a request: {many:?}");
    let looks = each("recvfrom");
    assert!((0.99..=1.01).contains(&looks), "{looks} receives beside the ring: {many:?}");
    for name in many.keys().filter(|name| !["io_uring_enter", "recvfrom"].contains(&name.as_str())) {
        assert!(each(name) < 0.1, "{name}: {} for a request: {few:?} {many:?}", each(name));
    }
}

#[test]
fn a_connection_that_closes_with_its_response_costs_three_calls_for_that() {
    if !can_trace() {
        return skip_without("strace");
    }
    let closing = |requests: u64| {
        calls_while(|server| {
            for _ in 0..requests {
                let mut client = Client::https(server.https(), "a.test");
                client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
                assert_eq!(client.response().body.len(), SIZE);
                assert_eq!(client.end(), End::Clean);
            }
        })
    };
    let (few, many) = (closing(10), closing(10 + REQUESTS));
    let each = |name: &str| each_of(&few, &many, name);
    // The response with close_notify, the end of our side, the descriptor; and the look at the kept connection.
    let beside = ["sendto", "shutdown", "close", "recvfrom"];
    for name in beside {
        assert!((0.99..=1.01).contains(&each(name)), "{name}: {} for a connection: {many:?}", each(name));
    }
    for name in many.keys().filter(|name| *name != "io_uring_enter" && !beside.contains(&name.as_str())) {
        assert!(each(name) < 0.1, "{name}: {} for a connection: {few:?} {many:?}", each(name));
    }
}
