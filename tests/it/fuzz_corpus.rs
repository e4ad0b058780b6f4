//! The properties that fuzzing holds the parsers to, over the kept corpus and its near neighbours.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

#[path = "../../fuzz/checks/certs_answer.rs"]
mod certs_answer;
#[path = "../../fuzz/checks/cli_replay.rs"]
mod cli_replay;
#[path = "../../fuzz/checks/config.rs"]
mod config;
#[path = "../../fuzz/checks/dispatch_erlang.rs"]
mod dispatch_erlang;
#[path = "../../fuzz/checks/dispatch_host.rs"]
mod dispatch_host;
#[path = "../../fuzz/checks/dispatch_matcher.rs"]
mod dispatch_matcher;
#[path = "../../fuzz/checks/dispatch_pattern.rs"]
mod dispatch_pattern;
#[path = "../../fuzz/checks/dispatch_written_path.rs"]
mod dispatch_written_path;
#[path = "../../fuzz/checks/dispatch_zotonic.rs"]
mod dispatch_zotonic;
#[path = "../../fuzz/checks/http1_body.rs"]
mod http1_body;
#[path = "../../fuzz/checks/http1_request.rs"]
mod http1_request;
#[path = "../../fuzz/checks/http1_response.rs"]
mod http1_response;
#[path = "../../fuzz/checks/http_cookies.rs"]
mod http_cookies;
#[path = "../../fuzz/checks/http_location.rs"]
mod http_location;
#[path = "../../fuzz/checks/http_told.rs"]
mod http_told;
#[path = "../../fuzz/checks/net_client_hello.rs"]
mod net_client_hello;
#[path = "../../fuzz/checks/proxy_exchange.rs"]
mod proxy_exchange;
#[path = "../../fuzz/checks/proxy_protocol.rs"]
mod proxy_protocol;
#[path = "../../fuzz/checks/sealing_cookies.rs"]
mod sealing_cookies;
#[path = "../../fuzz/checks/tls_records.rs"]
mod tls_records;
#[path = "../../fuzz/checks/tls_ticket.rs"]
mod tls_ticket;

/// How many neighbours of each seed are tried.
const MUTATIONS: u64 = 300;

type Check = fn(&[u8]);

const CHECKS: &[(&str, Check)] = &[
    ("certs_answer", certs_answer::check),
    ("cli_replay", cli_replay::check),
    ("config", config::check),
    ("dispatch_erlang", dispatch_erlang::check),
    ("dispatch_host", dispatch_host::check),
    ("dispatch_matcher", dispatch_matcher::check),
    ("dispatch_pattern", dispatch_pattern::check),
    ("dispatch_written_path", dispatch_written_path::check),
    ("dispatch_zotonic", dispatch_zotonic::check),
    ("http1_body", http1_body::check),
    ("http1_request", http1_request::check),
    ("http1_response", http1_response::check),
    ("http_cookies", http_cookies::check),
    ("http_location", http_location::check),
    ("http_told", http_told::check),
    ("net_client_hello", net_client_hello::check),
    ("proxy_exchange", proxy_exchange::check),
    ("proxy_protocol", proxy_protocol::check),
    ("sealing_cookies", sealing_cookies::check),
    ("tls_records", tls_records::check),
    ("tls_ticket", tls_ticket::check),
];

fn fuzz() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz"))
}

fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Runs a check; when it panics, says for which bytes.
fn run(check: Check, bytes: &[u8], origin: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(bytes))) {
        eprintln!("{origin}: b\"{}\"", bytes.escape_ascii());
        resume_unwind(panic);
    }
}

fn run_corpus(target: &str) {
    run_corpus_with(target, MUTATIONS);
}

fn run_corpus_with(target: &str, mutations: u64) {
    let (_, check) = CHECKS.iter().find(|(name, _)| *name == target).expect("a check of the list");
    let directory = fuzz().join("corpus").join(target);
    let seeds: Vec<(String, Vec<u8>)> = names_in(&directory)
        .into_iter()
        .map(|name| (name.clone(), std::fs::read(directory.join(name)).expect("readable")))
        .collect();
    assert!(!seeds.is_empty(), "{target} has seeds");
    run(*check, b"", &format!("{target}, nothing"));
    for (number, (name, bytes)) in seeds.iter().enumerate() {
        run(*check, bytes, &format!("{target}/{name}"));
        // What cargo-fuzz named by its hash is a neighbour already.
        if name.len() == 40 {
            continue;
        }
        let (_, other) = &seeds[(number + 1) % seeds.len()];
        for mutation in 0..mutations {
            // One for each mutation, so that each can be run again alone.
            let mut random =
                Random(0x9e37_79b9_7f4a_7c15 ^ (mutation + 1).wrapping_mul(0x2545_f491_4f6c_dd1d));
            let mut mutated = bytes.clone();
            for _ in 0..=random.below(4) {
                mutate(&mut mutated, other, &mut random);
            }
            run(*check, &mutated, &format!("{target}/{name}, mutation {mutation}"));
        }
    }
}

/// xorshift64: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Below `bound`; 0 when that is 0.
    fn below(&mut self, bound: usize) -> usize {
        // The high half is the better one.
        ((self.next() >> 32) as usize).checked_rem(bound).unwrap_or(0)
    }

    /// A part of at most 16 bytes.
    fn part(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..start + self.below((length - start).min(16) + 1)
    }
}

/// Bytes on which readings turn.
const TELLING: &[u8] = b"\r\n\0 \t/%.:;,=\"'\\{}[]()<>*+?#&~-_09afAZ\x7f\x80\xff";

fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let telling = TELLING[random.below(TELLING.len())];
    match random.below(8) {
        0 => bytes.insert(at, telling),
        1 => bytes.truncate(at),
        2 => drop(bytes.drain(random.part(bytes.len()))),
        3 => {
            let part = bytes[random.part(bytes.len())].to_vec();
            bytes.splice(at..at, part);
        }
        4 => {
            let part = other[random.part(other.len())].to_vec();
            bytes.splice(at..at, part);
        }
        kind => {
            let Some(byte) = bytes.get_mut(at) else { return };
            *byte = match kind {
                5 => *byte ^ (1 << random.below(8)),
                6 => random.next() as u8,
                _ => telling,
            };
        }
    }
}

#[test]
fn any_bytes_are_a_configuration_or_problems() {
    run_corpus("config");
}

#[test]
fn any_bytes_are_erlang_terms_or_an_error() {
    run_corpus("dispatch_erlang");
}

#[test]
fn a_table_finds_what_its_rules_find_alone() {
    run_corpus("dispatch_matcher");
}

#[test]
fn patterns_end_within_their_bounds() {
    run_corpus("dispatch_pattern");
}

#[test]
fn locations_are_mended_once_and_only_where_they_are_ours() {
    run_corpus("http_location");
}

#[test]
fn paths_survive_being_written() {
    run_corpus("dispatch_written_path");
}

#[test]
fn imported_rules_survive_being_written() {
    run_corpus("dispatch_zotonic");
}

#[test]
fn bodies_read_the_same_in_any_pieces() {
    run_corpus("http1_body");
}

#[test]
fn requests_survive_being_written() {
    run_corpus("http1_request");
}

#[test]
fn responses_survive_being_written() {
    run_corpus("http1_response");
}

#[test]
fn session_cookies_gain_secure_and_nothing_else() {
    run_corpus("http_cookies");
}

#[test]
fn headers_of_balancers_are_read_from_any_pieces() {
    run_corpus("proxy_protocol");
}

#[test]
fn records_open_and_seal_as_the_client_reads_them() {
    run_corpus("tls_records");
}

#[test]
fn exchanges_keep_clients_apart_whatever_happens() {
    // Each runs on sockets, and waits for them.
    run_corpus_with("proxy_exchange", 40);
}

#[test]
fn every_check_has_its_target_and_its_seeds() {
    let expected: Vec<String> = CHECKS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let files: Vec<String> = expected.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names_in(&fuzz().join("checks")), files);
    assert_eq!(names_in(&fuzz().join("fuzz_targets")), files);
    assert_eq!(names_in(&fuzz().join("corpus")), expected);
    let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).expect("the manifest");
    for name in expected {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
}

#[test]
fn lines_of_logs_hold_requests_or_none() {
    run_corpus("cli_replay");
}

#[test]
fn hosts_are_read_in_one_way() {
    run_corpus("dispatch_host");
}

#[test]
fn what_a_trusted_peer_says_has_one_meaning() {
    run_corpus("http_told");
}

#[test]
fn sealed_sessions_do_not_get_past() {
    run_corpus("sealing_cookies");
}

#[test]
fn tickets_open_to_what_went_in() {
    run_corpus("tls_ticket");
}

#[test]
fn answers_of_sources_are_served_or_refused() {
    run_corpus("certs_answer");
}

#[test]
fn whatever_comes_first_is_accepted_or_alerted() {
    run_corpus("net_client_hello");
}
