//! The site servers of a generation: names resolved, authorities read, and what is known of them kept.

use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

use super::StartFailure;
use super::failure::{AuthorityFailure, ResolveFailure};
use crate::certs::authorities;
use crate::config::{
    Config, Endpoint, EndpointKey, EndpointState, EndpointTls, Generation, HealthCheck, Site, SiteUpstream,
    Upstream, UpstreamHost, UpstreamId, UpstreamProtocol,
};
use crate::tls::{SharedClientConfig, UpstreamName};

/// The servers of a site, each with its weight.
pub(super) type OfSite = Vec<(UpstreamId, u32)>;

/// All site servers, each once, and which of them each site has, with their weights. Those that `before` has, too, keep
/// their addresses and their health.
///
/// # Errors
/// Names without an address, and files without an authority.
pub(super) fn endpoints(
    config: &Config,
    before: Option<&Generation>,
) -> Result<(Vec<Arc<Endpoint>>, Vec<OfSite>), StartFailure> {
    let mut building = Building {
        before: before
            .into_iter()
            .flat_map(|before| &before.endpoints)
            .map(|endpoint| (&endpoint.key, endpoint))
            .collect(),
        ..Building::default()
    };
    let mut all = Vec::with_capacity(config.sites.len());
    for site in &config.sites {
        let ids =
            site.upstream.iter().filter_map(|written| Some((building.add(site, written)?, written.weight)));
        all.push(ids.collect());
    }
    if !building.unresolved.is_empty() {
        return Err(StartFailure::Resolve(building.unresolved));
    }
    if !building.unvouched.is_empty() {
        return Err(StartFailure::Authorities(building.unvouched));
    }
    Ok((building.endpoints, all))
}

#[derive(Default)]
struct Building<'a> {
    before: HashMap<&'a EndpointKey, &'a Arc<Endpoint>>,
    known: HashMap<EndpointKey, UpstreamId>,
    endpoints: Vec<Arc<Endpoint>>,
    // By the file of authorities and what is spoken; `None`: it has failed.
    clients: HashMap<(Option<PathBuf>, UpstreamProtocol), Option<SharedClientConfig>>,
    unresolved: Vec<ResolveFailure>,
    unvouched: Vec<AuthorityFailure>,
}

impl Building<'_> {
    fn add(&mut self, site: &Site, written: &SiteUpstream) -> Option<UpstreamId> {
        let key = key(site, written);
        if let Some(id) = self.known.get(&key) {
            return Some(*id);
        }
        let tls = match written.tls_name() {
            None => None,
            Some(name) => {
                let config = self.client(written)?;
                // The reader took it for a host.
                Some(EndpointTls { config, name: UpstreamName::new(&name)? })
            }
        };
        let state = match self.before.get(&key) {
            Some(before) => before.state.clone(),
            None => match resolve(&written.upstream) {
                Ok(addresses) => Arc::new(EndpointState::new(addresses)),
                Err(error) => {
                    let (place, upstream) = (written.place.clone(), written.text.clone());
                    self.unresolved.push(ResolveFailure { place, upstream, error });
                    return None;
                }
            },
        };
        let id = UpstreamId(self.endpoints.len() as u32);
        self.endpoints.push(Arc::new(Endpoint { key: key.clone(), tls, state }));
        self.known.insert(key, id);
        Some(id)
    }

    fn client(&mut self, written: &SiteUpstream) -> Option<SharedClientConfig> {
        let key = (written.ca.clone(), written.protocol);
        if let Some(known) = self.clients.get(&key) {
            return known.clone();
        }
        let alpn: &[u8] = match written.protocol {
            UpstreamProtocol::Http1 => b"http/1.1",
            UpstreamProtocol::Http2 => b"h2",
        };
        let client = match authorities::client(written.ca.as_deref(), &[alpn]) {
            Ok(client) => Some(client),
            Err(problem) => {
                let (place, upstream) = (written.place.clone(), written.text.clone());
                self.unvouched.push(AuthorityFailure { place, upstream, problem });
                None
            }
        };
        self.clients.insert(key, client.clone());
        client
    }
}

fn key(site: &Site, written: &SiteUpstream) -> EndpointKey {
    let mut key = EndpointKey {
        upstream: written.upstream.clone(),
        protocol: written.protocol,
        ca: written.ca.clone(),
        server_name: written.server_name.clone(),
        proxy_protocol: written.proxy_protocol,
        health_check: None,
    };
    key.health_check = site.health_check.clone().map(|check| {
        let host =
            check.host.or_else(|| site.canonical_host().map(str::to_owned)).or_else(|| key.authority());
        HealthCheck { host, ..*check }
    });
    key
}

/// The addresses of a site server; none for a unix socket.
pub(super) fn resolve(upstream: &Upstream) -> std::io::Result<Vec<SocketAddr>> {
    match upstream {
        Upstream::Unix { .. } => Ok(Vec::new()),
        Upstream::Tcp { host: UpstreamHost::Address(address), port }
        | Upstream::Tls { host: UpstreamHost::Address(address), port } => {
            Ok(vec![SocketAddr::new(*address, *port)])
        }
        Upstream::Tcp { host: UpstreamHost::Name(name), port }
        | Upstream::Tls { host: UpstreamHost::Name(name), port } => {
            let addresses: Vec<SocketAddr> = (name.as_str(), *port).to_socket_addrs()?.collect();
            if addresses.is_empty() {
                return Err(std::io::ErrorKind::NotFound.into());
            }
            Ok(addresses)
        }
    }
}
