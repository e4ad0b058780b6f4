//! Room: the admin listener. What the process tells of itself, and the few things it can be told.
//!
//! ```text
//! GET  /          the status page          GET  /metrics   for Prometheus
//! GET  /status    the same as JSON         GET  /health    200 as long as the process answers
//! GET  /certificates   every certificate, and how its source stands
//! POST /reload    as SIGHUP, with the end  GET  /ready     200 while it accepts, 503 when it drains
//! POST /drain     as SIGTERM               POST /renew?site=NAME    orders that certificate now
//! ```
//!
//! It runs on threads of its own and reads what workers count; a worker never waits for it. On a unix socket the
//! file's mode says who may come in; over TCP a token does. Each connection carries one request, within a
//! deadline, and there are few at a time: it is for operators and scrapers, not for visitors.
//!
//! A browser of an operator must not be made to act by a page of somebody else: what changes something takes POST
//! without a foreign `Origin`, and on a unix socket (reached through `ssh -L`) only names of this machine as `Host`.

mod certificates;
mod client;
mod gather;
mod listen;
mod metrics;
mod orders;
mod process;
mod request;
mod server;
mod status;
mod view;

pub use client::{Client, ClientFailure, Reply};
pub use listen::AdminFailure;
pub use orders::{OrderStore, OrderedSite, Orders};
pub use server::Admin;
pub use view::{Ask, Phase, Reloads, View};
