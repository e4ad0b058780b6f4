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
mod live_settings;
mod plan;
mod request_body;
mod request_id;
mod responder;
mod service;
mod serving;
mod session_cookies;

pub use live_settings::LiveSettings;
pub use service::Service;

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::Generation;
use crate::dispatch::SiteId;
use crate::http::Scheme;
use crate::tls::ServedTls;

/// What is known of a client's connection from its beginning on.
struct Visitor {
    peer: SocketAddr,
    listener: LiveSettings,
    /// The listener's.
    scheme: Scheme,
    /// `None`: HTTP.
    handshake: Option<Shaken>,
}

/// What the handshake settled. Holds the certificate and the policy in use, not the generation they were in.
struct Shaken {
    tls: Arc<ServedTls>,
    // The name asked for, where names of a site may differ in their policy.
    name: Option<Box<[u8]>>,
    // The site in the generation with this number, once looked for.
    site: Cell<(u64, Option<SiteId>)>,
}

impl Shaken {
    fn new(
        tls: Arc<ServedTls>,
        name: Option<Box<[u8]>>,
        site: SiteId,
        generation: &Generation,
    ) -> Shaken {
        Shaken { tls, name, site: Cell::new((generation.number, Some(site))) }
    }

    /// Whether `host` may be served by this connection, whose site is asked for each name: under the policy
    /// of another name it may not (RFC 9110 §15.5.20), and what that of `host` is nobody has asked.
    fn is_for_name(&self, host: &[u8]) -> bool {
        self.name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(host))
    }

    /// The site in a generation, which may be later than the handshake.
    fn site_in(&self, generation: &Generation) -> Option<SiteId> {
        if self.site.get().0 != generation.number {
            self.site.set((generation.number, generation.site_of(&self.tls)));
        }
        self.site.get().1
    }
}
