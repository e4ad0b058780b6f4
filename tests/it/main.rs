//! The real program, driven as its users drive it: one binary of cases, grouped by behaviour.

mod harness;

mod access_log;
#[cfg(feature = "acme")]
mod acme;
#[cfg(feature = "acme")]
mod acme_fleet;
#[cfg(feature = "acme")]
mod acme_on_demand;
mod addresses;
mod admin;
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
mod faults;
mod fields;
mod fleet;
mod fuzz_corpus;
mod grpc;
mod grpc_clients;
mod handshakes;
mod http2;
mod http2_clients;
mod http2_floods;
mod http2_upstreams;
mod leaving;
mod lifecycle;
mod limits;
mod location;
mod names;
mod proxy_protocol;
mod reload;
mod rings;
mod run_as;
mod sealing;
mod sends;
mod servers;
mod sessions;
mod sites;
mod slow;
mod smuggling;
mod streaming;
mod strict_requests;
mod strict_responses;
mod system_calls;
mod takeover;
mod tidy;
mod tls_bounds;
mod trusted;
mod upgrade;
mod upgrade_command;
mod upstream_tls;
mod upstreams;
mod websocket;
mod worker_allocation;
