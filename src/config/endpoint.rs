//! A site server as all workers share it: where it is, how it is spoken to, whether it is well.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{HealthCheck, Upstream, UpstreamHost, UpstreamProtocol};
use crate::proxy_protocol::Version;
use crate::tls::{SharedClientConfig, UpstreamName};

/// Index of a site server in its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamId(pub u32);

/// What makes a site server the one it is: with the same key in the next generation it keeps its connections, its
/// health and its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointKey {
    pub upstream: Upstream,
    pub protocol: UpstreamProtocol,
    pub ca: Option<PathBuf>,
    /// `None`: the host of `upstream`.
    pub server_name: Option<String>,
    pub proxy_protocol: Option<Version>,
    pub health_check: Option<HealthCheck>,
}

/// A site server of a generation.
pub struct Endpoint {
    pub key: EndpointKey,
    /// `None`: without TLS.
    pub tls: Option<EndpointTls>,
    /// Outlives the generation.
    pub state: Arc<EndpointState>,
}

/// How TLS is spoken to a site server.
#[derive(Clone)]
pub struct EndpointTls {
    pub config: SharedClientConfig,
    pub name: UpstreamName,
}

/// What changes while it serves. Written by the resolver and the health checks, read by every worker: by one atomic
/// load, unless the addresses have changed.
#[derive(Default)]
pub struct EndpointState {
    addresses: Mutex<Arc<[SocketAddr]>>,
    // Counts changes of the addresses.
    version: AtomicU64,
    health: AtomicU8,
    lookups: AtomicU64,
    lookups_failed: AtomicU64,
}

/// What active checks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing yet, or nobody checks: it is used.
    Unknown,
    Up,
    Down,
}

impl EndpointState {
    pub fn new(addresses: Vec<SocketAddr>) -> EndpointState {
        let state = EndpointState::default();
        state.set_addresses(addresses);
        state
    }

    /// Tried in order until one answers; empty for unix sockets alone.
    pub fn addresses(&self) -> (u64, Arc<[SocketAddr]>) {
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        (self.version.load(Ordering::Relaxed), addresses.clone())
    }

    /// Tells whether [`addresses`](Self::addresses) would say something else than before.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// Whether that changed something. The order does not matter: resolvers turn it with each answer.
    pub fn set_addresses(&self, new: Vec<SocketAddr>) -> bool {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let same = new.len() == addresses.len() && new.iter().all(|address| addresses.contains(address));
        if !same {
            *addresses = new.into();
            self.version.fetch_add(1, Ordering::Relaxed);
        }
        !same
    }

    /// Its name was looked up again; `false`: in vain.
    pub fn looked_up(&self, found: bool) {
        let counter = if found { &self.lookups } else { &self.lookups_failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Lookups of its name, since it was first there: those that found addresses, and those in vain.
    pub fn lookups(&self) -> (u64, u64) {
        (self.lookups.load(Ordering::Relaxed), self.lookups_failed.load(Ordering::Relaxed))
    }

    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            1 => Health::Up,
            2 => Health::Down,
            _ => Health::Unknown,
        }
    }

    pub fn set_health(&self, health: Health) {
        let value = match health {
            Health::Unknown => 0,
            Health::Up => 1,
            Health::Down => 2,
        };
        self.health.store(value, Ordering::Relaxed);
    }
}

impl EndpointKey {
    /// Whether it is known by a name, which is looked up.
    pub fn is_named(&self) -> bool {
        matches!(
            &self.upstream,
            Upstream::Tcp { host: UpstreamHost::Name(_), .. }
                | Upstream::Tls { host: UpstreamHost::Name(_), .. }
        )
    }

    /// The authority that requests to it would name, as `127.0.0.1:8000`; `None`: a unix socket has none.
    pub fn authority(&self) -> Option<String> {
        match &self.upstream {
            Upstream::Unix { .. } => None,
            Upstream::Tcp { host, port } | Upstream::Tls { host, port } => {
                Some(format!("{}:{port}", Shown(host)))
            }
        }
    }
}

struct Shown<'a>(&'a UpstreamHost);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            UpstreamHost::Address(address) if address.is_ipv6() => write!(f, "[{address}]"),
            UpstreamHost::Address(address) => address.fmt(f),
            UpstreamHost::Name(name) => f.write_str(name),
        }
    }
}

/// As logs call it.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key.upstream {
            Upstream::Unix { path } => write!(f, "unix:{}", path.display()),
            Upstream::Tcp { host, port } | Upstream::Tls { host, port } => {
                write!(f, "{}:{port}", Shown(host))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_addresses_are_a_change() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let state = EndpointState::new(vec![address("10.0.0.1:80"), address("10.0.0.2:80")]);
        let before = state.version();
        assert!(!state.set_addresses(vec![address("10.0.0.2:80"), address("10.0.0.1:80")]));
        assert_eq!(state.version(), before);
        assert!(state.set_addresses(vec![address("10.0.0.3:80")]));
        assert_ne!(state.version(), before);
        assert_eq!(*state.addresses().1, [address("10.0.0.3:80")]);
    }
}
