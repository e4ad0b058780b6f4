//! Room: TLS towards clients. Core: certificates, policies, sessions and what rustls is told about them.
//!
//! It never opens a file or a socket, starts no thread and reads no clock: time comes from a
//! [`Clock`] the shell gives. The locks here are those of the stores that rustls calls into,
//! held for a table operation and nothing else.
//!
//! One handshake, as the shell drives it:
//!
//! ```text
//! Acceptor::accept ─ sni::server_name ─▶ the site's Arc<ServerConfig>   (none: sni::UNRECOGNIZED_NAME)
//!        │
//! Accepted::into_connection ─▶ resolve (CertificateSet), take/get/decrypt (SiteSessions)
//!        │
//! origin::mark(connection, now)  ◀── again after every process_new_packets while is_handshaking()
//!        │
//! client's Finished ─▶ put/encrypt: stored only with the mark of the full handshake
//! ```
//!
//! `lifetime` counts from the full handshake, over any chain of resumptions. rustls writes a fresh
//! time into each session value, so the time of the full handshake travels in the application
//! data of the session ([`origin`]). Without a mark nothing is stored: forgetting it costs
//! resumption, never the bound. Set aside: a thread-local between `take` and `put` (handshakes of
//! one worker interleave), and a copy of the `ServerConfig` for each connection.

mod aead;
pub mod certificate;
mod certificate_cache;
pub mod challenges;
mod client_config;
mod handover;
mod handshake_failure;
mod identity;
mod names;
pub mod origin;
mod policy;
mod problem;
pub mod records;
pub mod renewal;
mod served;
mod server_config;
mod session_cache;
mod sessions;
pub mod sni;
mod suite_order;
mod ticket;
mod time;
mod traffic_secrets;

#[cfg(test)]
mod tests;

pub use certificate::{CertificateSet, KeyKind, ServedCertificate, SourceWord};
pub use certificate_cache::{
    Cached, CachedName, CertificateCache, CertificateCacheStatistics, NameKey, NameOf,
};
pub use challenges::{Challenges, PendingChallenges, SeenChallenges};
pub use client_config::{SharedClientConfig, UpstreamName, authorities, client_config};
pub use handover::{export_sessions, import_sessions};
pub use handshake_failure::HandshakeFailure;
pub use identity::IdentityForm;
pub use names::CertificateNames;
pub use policy::{Binding, ClientAuth, ClientAuthMode, Policy, PolicySettings, Versions, cipher_suites};
pub use problem::{CertificateFlaw, TlsProblem};
pub use records::{BadRecord, Opened, Records};
pub use served::{Answer, Found, Known, NameSource, Reply, ServedTls, SiteTls, Slot};
pub use server_config::{ServerConfigs, SharedServerConfig};
pub use session_cache::{CacheLimits, CacheStatistics, SessionCache};
pub use sessions::{Sessions, SiteSessions};
pub use suite_order::is_chacha20_first;
pub use ticket::TicketKeys;
pub use time::{Clock, Moment};
pub use traffic_secrets::{TrafficSecrets, captured};
