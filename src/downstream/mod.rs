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
mod challenges;
mod contained;
mod handshake;
mod http1;
mod http2;
mod identity;
mod live_settings;
mod plan;
mod record;
mod reply;
mod request_body;
mod request_id;
mod responder;
mod service;
mod serving;
mod session_cookies;

pub use contained::contained;
pub use live_settings::LiveSettings;
pub use service::Service;

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::access_log;
use crate::config::Generation;
use crate::dispatch::{Host, SiteId};
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
    // Who the client is by its certificate.
    identity: Option<Box<[u8]>>,
    // The site in the generation with this number, once looked for.
    site: Cell<(u64, Option<SiteId>)>,
    /// For the access log.
    told: access_log::Tls,
    /// How long the handshake took; told with the first request.
    duration_us: Cell<Option<u64>>,
}

impl Shaken {
    fn new(
        (tls, name): (Arc<ServedTls>, Option<Box<[u8]>>),
        site: SiteId,
        generation: &Generation,
        told: access_log::Tls,
        duration_us: u64,
    ) -> Shaken {
        let site = Cell::new((generation.number, Some(site)));
        Shaken { tls, name, identity: None, site, told, duration_us: Cell::new(Some(duration_us)) }
    }

    /// Whether this connection was made under the policy of the host it is asked for now. Names of a site whose
    /// sources are asked may differ in theirs: there a connection is good for the name it was made for alone
    /// (RFC 9110 §15.5.20).
    fn is_for(&self, generation: &Generation, site: SiteId, authority: &[u8]) -> bool {
        if !generation.site_tls(site).is_some_and(|tls| tls.asks()) {
            return true;
        }
        let host = Host::parse(authority).map(|host| host.name);
        self.site_in(generation) == Some(site)
            && self.name.as_deref().is_some_and(|name| host.is_ok_and(|host| name.eq_ignore_ascii_case(host)))
    }

    /// The site in a generation, which may be later than the handshake.
    fn site_in(&self, generation: &Generation) -> Option<SiteId> {
        if self.site.get().0 != generation.number {
            self.site.set((generation.number, generation.site_of(&self.tls)));
        }
        self.site.get().1
    }
}
