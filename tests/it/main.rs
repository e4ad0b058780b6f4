//! The real program, driven as its users drive it: one binary of cases, grouped by behaviour.

mod harness;

mod bodies;
mod bulk;
mod connections;
mod cut;
mod decisions;
mod demo;
mod fields;
mod lifecycle;
mod limits;
mod sessions;
mod sites;
mod smuggling;
mod upgrade;
mod upstreams;
