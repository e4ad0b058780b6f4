//! `upstream`, `balance` and `health_check` of a site, and `[upstream_pool]`.

use crate::config::address;
use crate::config::config::{
    HealthCheck, ProxyProtocol, SiteUpstream, Upstream, UpstreamHost, UpstreamPool, UpstreamProtocol,
};
use crate::config::defaults;
use crate::config::keys;
use crate::config::message::{Expected, What};
use crate::config::reader::Reader;
use crate::config::values::Section;
use crate::config::written::{Node, Spot, Table, Value};
use crate::proxy_protocol::Version;

const EXAMPLE: &str = "\"http://127.0.0.1:8000\"";

impl Reader<'_> {
    pub(super) fn upstream_pool(&mut self, top: Section<'_>) -> UpstreamPool {
        let table = self.table(top, "upstream_pool", "[upstream_pool]");
        let section = self.section(&table, &keys::UPSTREAM_POOL);
        let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let pool = UpstreamPool {
            idle_per_worker: self.usize(section, "idle_per_worker", &defaults::IDLE_PER_WORKER),
            idle_timeout: self.duration(section, "idle_timeout", &defaults::IDLE_TIMEOUT),
            eject_after: small(self.count(section, "eject_after", &defaults::EJECT_AFTER)),
            ejection: self.duration(section, "ejection", &defaults::EJECTION),
            ejection_max: self.duration(section, "ejection_max", &defaults::EJECTION_MAX),
            slow_start: self.duration(section, "slow_start", &defaults::SLOW_START),
            retry_percent: small(self.count(section, "retry_percent", &defaults::RETRY_PERCENT)),
            resolve_interval: self.duration(section, "resolve_interval", &defaults::RESOLVE_INTERVAL),
        };
        if pool.ejection > pool.ejection_max {
            let at =
                if section.has("ejection") { section.at("ejection") } else { section.at("ejection_max") };
            self.error(at, What::EjectionOrder {});
        }
        pool
    }

    pub(super) fn health_check(&mut self, site: Section<'_>) -> Option<HealthCheck> {
        let table = self.table(site, "health_check", "health_check = { path = \"/health\" }");
        site.get("health_check")?;
        let section = self.section(&table, &keys::HEALTH_CHECK);
        let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        if !section.has("path") {
            self.missing(section, "path");
        }
        let path = match self.filled(section, "path") {
            Some((path, at)) if !is_target(&path) => {
                self.error(at, What::BadTarget { text: path });
                None
            }
            other => other.map(|(path, _)| path),
        };
        let host = match self.filled(section, "host") {
            Some((host, at)) if !is_authority(&host) => {
                self.error(at, What::BadAuthority { text: host });
                None
            }
            other => other.map(|(host, _)| host),
        };
        let check = HealthCheck {
            path: path.unwrap_or_else(|| "/".to_owned()),
            host,
            interval: self.duration(section, "interval", &defaults::HEALTH_INTERVAL),
            timeout: self.duration(section, "timeout", &defaults::HEALTH_TIMEOUT),
            unhealthy_after: small(self.count(section, "unhealthy_after", &defaults::UNHEALTHY_AFTER)),
            healthy_after: small(self.count(section, "healthy_after", &defaults::HEALTHY_AFTER)),
        };
        Some(check)
    }

    pub(super) fn upstreams(&mut self, site: Section<'_>) -> Vec<SiteUpstream> {
        if !site.has("upstream") {
            self.missing(site, "upstream");
        }
        self.not_empty(site, "upstream");
        let items = match site.get("upstream").map(|node| (&node.value, node.at)) {
            None => return Vec::new(),
            Some((Value::Array(items), _)) => items,
            Some((other, at)) => {
                self.wrong_type(at, "upstream", Expected::Upstreams(EXAMPLE), other);
                return Vec::new();
            }
        };
        let mut upstreams: Vec<SiteUpstream> = Vec::new();
        for node in items {
            if upstreams.len() >= defaults::ENTRIES_MAX {
                let most = defaults::ENTRIES_MAX;
                self.error(node.at, What::TooMany { what: "entries in one array", most });
                break;
            }
            let Some((upstream, at)) = self.upstream(node) else { continue };
            if let Some(first) = upstreams.iter().find(|first| first.upstream == upstream.upstream) {
                let first = first.place.clone();
                self.error(at, What::ListedTwice { key: "upstream", text: upstream.text, first });
            } else {
                upstreams.push(upstream);
            }
        }
        upstreams.shrink_to_fit();
        upstreams
    }

    /// One entry, a text or a table; also where its address stands.
    fn upstream(&mut self, node: &Node) -> Option<(SiteUpstream, Spot)> {
        match &node.value {
            Value::Text(text) => {
                let (upstream, protocol) = self.upstream_address(text, node.at)?;
                let upstream = SiteUpstream {
                    upstream,
                    protocol,
                    weight: 1,
                    ca: None,
                    server_name: None,
                    proxy_protocol: None,
                    text: text.clone(),
                    place: self.place(node.at),
                };
                Some((upstream, node.at))
            }
            Value::Table(table) => self.upstream_table(table),
            other => {
                self.wrong_type(node.at, "upstream", Expected::Upstreams(EXAMPLE), other);
                None
            }
        }
    }

    fn upstream_table(&mut self, table: &Table) -> Option<(SiteUpstream, Spot)> {
        let section = self.section(table, &keys::UPSTREAM);
        if !section.has("url") {
            self.missing(section, "url");
        }
        let url = self.filled(section, "url");
        let weight = self.count(section, "weight", &defaults::WEIGHT);
        let ca = self.filled(section, "ca");
        let server_name = self.filled(section, "server_name");
        let proxy_protocol = self.choice(section, "proxy_protocol", ProxyProtocol::Off);
        let (text, at) = url?;
        let (upstream, protocol) = self.upstream_address(&text, at)?;
        if !matches!(upstream, Upstream::Tls { .. }) {
            for key in ["ca", "server_name"] {
                if section.has(key) {
                    self.error(section.key_at(key), What::WithoutTls { key });
                }
            }
        }
        let server_name = match server_name {
            Some((name, at)) => match address::host(&name) {
                Ok(_) if !name.contains(['*', '[']) => Some(name),
                _ => {
                    self.error(at, What::BadServerName { text: name });
                    None
                }
            },
            None => None,
        };
        let upstream = SiteUpstream {
            upstream,
            protocol,
            weight: u32::try_from(weight).unwrap_or(1),
            ca: ca.map(|(path, at)| self.beside(at, &path)),
            server_name,
            proxy_protocol: match proxy_protocol {
                ProxyProtocol::Off => None,
                ProxyProtocol::V1 => Some(Version::V1),
                ProxyProtocol::V2 => Some(Version::V2),
            },
            text,
            place: self.place(at),
        };
        Some((upstream, at))
    }

    fn upstream_address(&mut self, text: &str, at: Spot) -> Option<(Upstream, UpstreamProtocol)> {
        match address::upstream(text) {
            Ok(upstream) => Some(upstream),
            Err(why) => {
                self.error(at, What::BadUpstreamAddress { text: text.to_owned(), why });
                None
            }
        }
    }
}

/// Origin form: what a request line may have between its spaces.
fn is_target(text: &str) -> bool {
    text.starts_with('/')
        && text.len() <= 1024
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

/// A host with or without a port, as `Host` has it.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let good_port =
        port.is_none_or(|port| port.parse::<u16>().is_ok() && port.bytes().all(|byte| byte.is_ascii_digit()));
    good_port && address::host(host).is_ok() && !host.contains('*')
}

impl SiteUpstream {
    /// What its connections begin with, as it is written.
    #[must_use]
    pub fn header(&self) -> ProxyProtocol {
        match self.proxy_protocol {
            None => ProxyProtocol::Off,
            Some(Version::V1) => ProxyProtocol::V1,
            Some(Version::V2) => ProxyProtocol::V2,
        }
    }

    /// The name its certificate must cover, as it is written; a unix socket has none.
    #[must_use]
    pub fn tls_name(&self) -> Option<String> {
        let Upstream::Tls { host, .. } = &self.upstream else { return None };
        Some(match (&self.server_name, host) {
            (Some(name), _) | (None, UpstreamHost::Name(name)) => name.clone(),
            (None, UpstreamHost::Address(address)) => address.to_string(),
        })
    }
}
