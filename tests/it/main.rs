//! The real program, driven as its users drive it: one binary of cases, grouped by behaviour.

mod harness;

mod bodies;
mod connections;
mod cut;
mod decisions;
mod demo;
mod fields;
mod limits;
mod sites;
mod smuggling;
mod upstreams;
