//! The process around the workers: sockets, generations, threads, signals.
//!
//! All threads and channels are made in [`process`]. Files, names and certificates are read here, never on
//! a worker.

mod acme;
mod administration;
mod failure;
mod generation;
mod listen;
mod memory;
mod pid_file;
mod process;
mod reload;
mod resolver;
mod run_as;
mod sealing;
mod signals;
#[cfg(feature = "acme")]
mod store;
mod systemd;
mod tls;
mod upgrade;
mod upstreams;
mod workers;

pub use acme::orders_kept;
pub use failure::StartFailure;
pub use generation::{SiteWarning, Summary, sites, verify};
pub use process::{Ended, Start, run};
pub use reload::Reread;
pub use tls::{ask_url as certificate_url, source as certificate_source};
pub use upgrade::{Predecessor, Program};
