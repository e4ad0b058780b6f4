//! Source `acme`: certificates ordered from certificate authorities (RFC 8555), on one thread of their own.
//!
//! ```text
//! due ─▶ account ─▶ order ─▶ challenges presented ─▶ ready ─▶ finalize ─▶ download ─▶ proved ─▶ kept ─▶ served
//!  ▲                    └─────────── any of them fails: back-off, the next CA ◀──┘                        │
//!  └──────────────────────── renewal: the CA's window, or two thirds of the lifetime ◀────────────────────┘
//! ```
//!
//! Serving never waits for it: what lies in the state directory is served ([`kept`]), and when something new lies
//! there the thread says so. The moments are decided by `tls::renewal`; answers to challenges go to
//! `tls::challenges`, where workers see them.
//!
//! In the state directory, all of it 0600 in directories of 0700, each file written whole or not at all:
//!
//! ```text
//! acme/accounts/<digest of CA, contact and binding>.json    account and its key
//! acme/certificates/<site>/certificate.pem     key and chain in one file: they cannot part
//! acme/certificates/<site>/order.pem           the order under way, and its key from before it is finalized
//! acme/certificates/<site>/history.json        failures and waits, so that a restart does not ask again at once
//! ```
//!
//! A process that dies at any point finds the order it had and goes on with it, or makes another.
//!
//! Set aside: an ACME client of our own (the protocol is not what this program is for), and orders on the thread that
//! builds generations, which must end soon.

mod account;
mod alpn;
mod clock;
mod dns;
mod failure;
mod files;
mod order;
mod presented;
mod schedule;
mod settings;
mod site;
mod status;
mod store;
mod turn;

pub use files::kept;
pub use schedule::{Acme, status_kept};
pub use settings::{AcmeCa, AcmeSite, DnsCommand, ExternalAccount, Method};
pub use status::{AcmeSeen, AcmeState, AcmeStatus};
pub use store::{StoreCounts, StoreSettings};
