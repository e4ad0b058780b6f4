//! The real program, driven as its users drive it: one binary of cases, grouped by behaviour.

mod harness;

mod decisions;
mod demo;
mod sites;
