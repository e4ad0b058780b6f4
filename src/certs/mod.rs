//! Room: where certificates come from, and how they stay current. Shell: it reads and writes files, runs
//! programs and asks servers, on threads of its own. A worker reads what is here through `tls::SiteTls`, without a lock,
//! and hands questions over; it never waits.
//!
//! [`find`] asks the sources that answer for a whole site in the order written; the first good one wins. A certificate
//! is handed on only after it parses, its key fits, its dates hold, and a handshake in memory succeeds with it. [`Keeper`]
//! has one for the process: it makes the certificates of each generation, watches their files, renews what ends, and
//! asks for names.
//!
//! # Adding a source
//!
//! 1. A variant of [`Source`], and in `config` the word and its settings.
//! 2. One that answers for the site at once: an arm in `find`, its files in `Source::files`. It is watched then.
//! 3. One that is asked for each name: a variant of `asked::Asking`; the question is put in `Shared::serve`.
//!    Cache, budget, threads and verification are there.
//! 4. One whose certificates come later, by a thread of its own: `find` answers with what is kept on disk, or with a problem
//!    when there is nothing yet, so that the next source serves meanwhile (`config` adds one). When something has come,
//!    [`Keeper::refresh_site`] has it served; `acme` is one.
//!
//! What it never does: change or delete a key it did not write, follow a source past its bounds
//! (files and answers of 1 MiB, directories of 1,000 entries, `timeout`), or print a key.

#[cfg(feature = "acme")]
pub mod acme;
mod answer;
mod ask_failure;
mod asked;
pub mod authorities;
mod command;
mod counts;
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
pub use counts::ReasonCounts;
pub use files::{LoadedCertificate, directory, pair};
pub use find::{FoundCertificate, Source, find};
pub use http::{AskServer, AskUrl};
pub use keep::{make_state_directory, write_state_file};
pub use keeper::{
    AskLimits, Keeper, KeeperCounters, KeptSite, SitePlan, SiteStanding, SourceStanding, Standing,
};
pub use policy::{ClientAuthPlan, PolicyPlan};
pub use problem::{CertificateProblem, CertificateTrouble, CertificateWarning, date};
pub use questions::QuestionCounters;
pub use secret::read as read_secret;
pub use self_signed::{kept_self_signed, self_signed};
pub use verify::verify;
