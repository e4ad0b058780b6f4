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

use crate::config::{Generation, SiteTls};
use crate::dispatch::SiteId;
use crate::http::Scheme;

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
    tls: Arc<SiteTls>,
    // The site in the generation with this number, once looked for.
    site: Cell<(u64, Option<SiteId>)>,
}

impl Shaken {
    fn new(tls: Arc<SiteTls>, site: SiteId, generation: &Generation) -> Shaken {
        Shaken { tls, site: Cell::new((generation.number, Some(site))) }
    }

    /// The site in a generation, which may be later than the handshake.
    fn site_in(&self, generation: &Generation) -> Option<SiteId> {
        if self.site.get().0 != generation.number {
            self.site.set((generation.number, generation.site_of(&self.tls)));
        }
        self.site.get().1
    }
}
