//! Connections of clients: the handshake, then one request after another until it ends.
//!
//! ```text
//! accepted --https--> handshake --> requests --> lingering --> closed
//!          --http-----------------> requests
//! ```
//!
//! What a request gets was decided by `dispatch`; the exchange with the site server is `proxy`'s. Here is
//! who speaks when, and what the client is told.

mod answer;
mod handshake;
mod http1;
mod plan;
mod request_body;
mod request_id;
mod responder;
mod service;

pub use service::Service;

use std::net::SocketAddr;

use crate::dispatch::SiteId;
use crate::http::Scheme;

/// What is known of a client's connection from its beginning on.
#[derive(Clone, Copy)]
struct Visitor {
    peer: SocketAddr,
    scheme: Scheme,
    /// HTTPS: the site whose certificate and policy the handshake used.
    handshake_site: Option<SiteId>,
}
