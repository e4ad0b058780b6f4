//! Room: where certificates come from. Shell: it reads and writes files, and may take its time.
//!
//! Called by the thread that builds a generation, never by a worker. [`find`] asks the sources of
//! a site in the order written; the first that answers wins. A certificate is handed on only
//! after it parses, its key fits, its dates hold, and a handshake in memory succeeds with it.
//!
//! What it never does: change or delete a key it did not write, follow a source past its bounds
//! (files of 1 MiB, directories of 1,000 entries), or print a key.

mod answer;
mod ask_failure;
mod asked;
mod command;
mod files;
mod find;
mod http;
mod keep;
mod keeper;
mod ocsp;
mod pem;
mod policy;
mod problem;
mod questions;
mod secret;
mod self_signed;
mod verify;
mod watch;

#[cfg(test)]
mod tests;

pub use answer::{NameAnswer, Options, parse as parse_answer};
pub use ask_failure::AskFailure;
pub use files::{LoadedCertificate, directory, pair};
pub use find::{FoundCertificate, Source, find};
pub use http::{AskServer, AskUrl};
pub use keep::{make_state_directory, write_state_file};
pub use keeper::{AskLimits, Keeper, KeeperCounters, KeptSite, SitePlan};
pub use policy::{ClientAuthPlan, PolicyPlan};
pub use problem::{CertificateProblem, CertificateTrouble, CertificateWarning};
pub use questions::QuestionCounters;
pub use secret::read as read_secret;
pub use self_signed::{kept_self_signed, self_signed};
pub use verify::verify;
