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
mod handshake;
mod http1;
mod http2;
mod identity;
mod live_settings;
mod location;
mod plan;
mod proxy_header;
mod record;
mod reply;
mod request_body;
mod request_id;
mod responder;
mod service;
mod serving;
mod session_cookies;

pub use live_settings::LiveSettings;
pub use service::Service;

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::access_log;
use crate::config::Generation;
use crate::dispatch::{Host, SiteId};
use crate::http::Scheme;
use crate::net::Settled;
use crate::proxy_protocol::{Ends, Facts, TlsFacts};
use crate::tls::ServedTls;

/// What is known of a client's connection from its beginning on.
struct Visitor {
    /// Who asks: behind a balancer that says so, not the balancer.
    peer: SocketAddr,
    /// Where the visitor connected to; `None` unless a balancer says so or a site server wants to know.
    destination: Option<SocketAddr>,
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
    /// For site servers that are told of connections.
    settled: Settled,
}

impl Visitor {
    /// What site servers are told of the connection that want to know.
    fn facts(&self) -> Facts<'_> {
        let unknown = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let ends = Ends { source: self.peer, destination: self.destination.unwrap_or(unknown) };
        let tls = self.handshake.as_ref().map(|shaken| TlsFacts {
            version: if shaken.told.version == "1.2" { "TLSv1.2" } else { "TLSv1.3" },
            cipher: shaken.settled.cipher,
            alpn: &shaken.settled.alpn,
            server_name: shaken.settled.server_name.as_bytes(),
            client_certificate: shaken.settled.client_certificate,
        });
        Facts { ends, tls }
    }
}

impl Shaken {
    fn new(
        (tls, name): (Arc<ServedTls>, Option<Box<[u8]>>),
        site: SiteId,
        generation: &Generation,
        told: access_log::Tls,
        duration_us: u64,
        settled: Settled,
    ) -> Shaken {
        let site = Cell::new((generation.number, Some(site)));
        Shaken { tls, name, identity: None, site, told, duration_us: Cell::new(Some(duration_us)), settled }
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
