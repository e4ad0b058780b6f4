//! The real program, driven as its users drive it: one binary of cases, grouped by behaviour.

mod harness;

mod access_log;
#[cfg(feature = "acme")]
mod acme;
mod agreement;
mod allocation;
mod bodies;
mod bulk;
mod certificates;
mod chaos;
mod client_certificates;
mod configuration;
mod connections;
mod cut;
mod decisions;
mod demo;
mod explain;
mod fields;
mod fleet;
mod fuzz_corpus;
mod handshakes;
mod http2;
mod http2_clients;
mod http2_floods;
mod lifecycle;
mod limits;
mod reload;
mod rings;
mod sealing;
mod sends;
mod sessions;
mod sites;
mod smuggling;
mod streaming;
mod system_calls;
mod takeover;
mod tidy;
mod trusted;
mod upgrade;
mod upstreams;
mod worker_allocation;
