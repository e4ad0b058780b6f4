//! A `Generation`: a configuration made ready to serve. Built whole, beside the one that serves; never changed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::{
    Balance, CLIENT_AUTH_HEADER, Config, Endpoint, IDENTITY_FIELDS_MAX, ListenerSettings, PathReading,
    Source, UpstreamId,
};
use crate::access_log::AccessLog;
use crate::dispatch::{Covers, SiteId, Sites};
use crate::http::Scheme;
use crate::limits::AddressLimits;
use crate::proxy_protocol::Version;
use crate::sealing::{Binding, SharedKeys};
use crate::tls::{Clock, PendingChallenges, ServedTls, Sessions, SiteTls};

/// Everything a worker asks while it serves. Immutable and shared by all workers.
pub struct Generation {
    /// Counted from 1 by each process; tells generations apart.
    pub number: u64,
    pub config: Config,
    /// Which site, which rule, which scheme.
    pub sites: Sites,
    /// Where the site servers listen; each address once.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// How TLS sessions are remembered; outlives the generation.
    pub sessions: Sessions,
    /// Dates TLS sessions.
    pub dates: Arc<dyn Clock>,
    /// Where requests are written down; outlives the generation when the next one has the same.
    pub access_log: Option<Arc<AccessLog>>,
    /// How much each client address asks; outlives the generation.
    pub address_limits: Arc<AddressLimits>,
    /// What seals session cookies; outlives the generation.
    pub sealing: Arc<SharedKeys>,
    /// What certificate authorities are answered; outlives the generation.
    pub challenges: Arc<PendingChallenges>,
    /// Of each address as bound.
    listeners: Listeners,
    // In the order of `SiteId`.
    served: Vec<ServedSite>,
    names: HashMap<String, SiteId>,
    identity_fields: Vec<Box<[u8]>>,
    outside_ports: (u16, u16),
}

/// What a generation has in common with the one before it, unless its configuration says otherwise.
pub struct Kept {
    pub sessions: Sessions,
    pub dates: Arc<dyn Clock>,
    pub sealing: Arc<SharedKeys>,
    pub challenges: Arc<PendingChallenges>,
    pub access_log: Option<Arc<AccessLog>>,
    pub address_limits: Arc<AddressLimits>,
}

/// By scheme and address as bound.
pub type Listeners = Vec<((Scheme, SocketAddr), Arc<ListenerSettings>)>;

/// What serving one site takes besides its rules.
pub struct ServedSite {
    /// Each with its weight. Never empty.
    pub upstreams: Vec<(UpstreamId, u32)>,
    pub balance: Balance,
    /// The authorities we reach its servers by; empty unless `Location` is to be mended.
    pub inside: Vec<Box<[u8]>>,
    /// `None`: the site has no HTTPS.
    pub tls: Option<Arc<SiteTls>>,
    /// The value of `Strict-Transport-Security`.
    pub hsts: Option<Bytes>,
    /// Cookies that gain `Secure` over HTTPS; none unless the site `is_secure`.
    pub session_cookies: Vec<String>,
    /// Their values are sealed: what for, in the same order.
    pub sealing: Option<Box<[Binding]>>,
    pub path_reading: PathReading,
    pub request_body_bytes_max: u64,
}

impl ServedSite {
    /// The value of `Strict-Transport-Security` for a response: on HTTPS alone (RFC 6797 §7.2).
    pub fn hsts_on(&self, scheme: Scheme) -> Option<&[u8]> {
        self.hsts.as_deref().filter(|_| scheme == Scheme::Https)
    }
}

impl Covers for ServedTls {
    fn covers(&self, host: &[u8]) -> bool {
        self.certificates.covers(host)
    }
}

impl Generation {
    /// `served`: one for each site, in the order of `sites`.
    /// `outside_ports`: of HTTP and of HTTPS. `listeners`: what holds for each.
    pub fn new(
        number: u64,
        config: Config,
        sites: Sites,
        endpoints: Vec<Arc<Endpoint>>,
        served: Vec<ServedSite>,
        kept: Kept,
        (listeners, outside_ports): (Listeners, (u16, u16)),
    ) -> Generation {
        assert_eq!(served.len(), sites.len(), "each site is served");
        let names = sites.iter().map(|(id, site)| (site.name().to_owned(), id)).collect();
        let identity_fields = identity_fields(&config);
        let Kept { sessions, dates, sealing, challenges, access_log, address_limits } = kept;
        Generation {
            number,
            config,
            sites,
            endpoints,
            sessions,
            dates,
            access_log,
            address_limits,
            sealing,
            challenges,
            listeners,
            served,
            names,
            identity_fields,
            outside_ports,
        }
    }

    /// The site a handshake chose, in this generation, which may be a later one; `None`: it has no such site
    /// any more, or that has another TLS policy.
    pub fn site_of(&self, handshake: &ServedTls) -> Option<SiteId> {
        let site = *self.names.get(&handshake.site)?;
        let same = |tls: &&Arc<SiteTls>| tls.policy.load().number() == handshake.site_policy;
        self.site_tls(site).filter(same).map(|_| site)
    }

    /// What holds for the connections of a listener; `None`: this generation has no such listener.
    pub fn listener(&self, scheme: Scheme, address: SocketAddr) -> Option<&ListenerSettings> {
        let listener = self.listeners.iter().find(|(key, _)| *key == (scheme, address));
        listener.map(|(_, settings)| &**settings)
    }

    /// The fields in which any site's server is told who a client is by its certificate, in lowercase. At most
    /// [`IDENTITY_FIELDS_MAX`](super::IDENTITY_FIELDS_MAX).
    pub fn identity_fields(&self) -> &[Box<[u8]>] {
        &self.identity_fields
    }

    /// `site` is one that `sites` named.
    pub fn site(&self, site: SiteId) -> &ServedSite {
        &self.served[site.index()]
    }

    /// All sites, in the order of their numbers.
    pub fn each_site(&self) -> impl Iterator<Item = &ServedSite> {
        self.served.iter()
    }

    /// `None`: the site has no HTTPS.
    pub fn site_tls(&self, site: SiteId) -> Option<&Arc<SiteTls>> {
        self.site(site).tls.as_ref()
    }

    /// Whether a site server is told of visitors' connections.
    pub fn tells_connections(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.key.proxy_protocol.is_some())
    }

    /// Whether a site server is told what TLS settled with visitors.
    pub fn tells_tls(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.key.proxy_protocol == Some(Version::V2))
    }

    /// The port visitors of this scheme use.
    pub fn outside_port(&self, scheme: Scheme) -> u16 {
        match scheme {
            Scheme::Http => self.outside_ports.0,
            Scheme::Https => self.outside_ports.1,
        }
    }
}

fn identity_fields(config: &Config) -> Vec<Box<[u8]>> {
    let mut fields: Vec<Box<[u8]>> = Vec::new();
    for site in &config.sites {
        // A source that is asked for names may have clients asked for certificates, too.
        let asks = || {
            let mut sources = site.certificate.iter().map(|written| &written.source);
            sources.any(|source| matches!(source, Source::Command { .. } | Source::Http { .. }))
        };
        let field = match &site.client_auth {
            Some(auth) => auth.header.as_str(),
            None if asks() => CLIENT_AUTH_HEADER,
            None => continue,
        };
        let field = field.to_ascii_lowercase().into_bytes().into_boxed_slice();
        if !fields.contains(&field) {
            fields.push(field);
        }
    }
    fields.truncate(IDENTITY_FIELDS_MAX);
    fields
}
