//! The tables about the process: everything but the sites.

use std::collections::HashSet;
use std::num::NonZeroU16;
use std::path::PathBuf;

use crate::config::address;
use crate::config::config::{
    Limits, Listen, ListenAddress, LogLevel, OutsidePort, SessionCache, Timeouts, UpstreamPool, Workers,
};
use crate::config::defaults::{self, Bounded};
use crate::config::keys;
use crate::config::message::{Expected, What};
use crate::config::reader::Reader;
use crate::config::values::Section;
use crate::config::written::{Spot, Value};

impl Reader<'_> {
    pub(super) fn workers(&mut self, top: Section<'_>) -> Workers {
        let Some(node) = top.get("workers") else {
            return Workers::PerCore;
        };
        if let Value::Text(text) = &node.value {
            if text != "auto" && self.text(node.at.source).is_flag {
                self.error(node.at, What::NotANumber { text: text.clone() });
            } else if text != "auto" {
                self.wrong_type(node.at, "workers", Expected::Workers, &node.value);
            }
            return Workers::PerCore;
        }
        let count = self.count_of(node, "workers", &defaults::WORKERS, Expected::Workers);
        let count = count.and_then(|count| u16::try_from(count).ok()).and_then(NonZeroU16::new);
        count.map_or(Workers::PerCore, Workers::Count)
    }

    pub(super) fn log(&mut self, top: Section<'_>) -> LogLevel {
        self.choice(top, "log", defaults::LOG)
    }

    pub(super) fn state_directory(&mut self, top: Section<'_>) -> PathBuf {
        match self.filled(top, "state_directory") {
            Some((path, at)) => self.beside(at, &path),
            None => PathBuf::from(defaults::STATE_DIRECTORY),
        }
    }

    pub(super) fn listen(&mut self, top: Section<'_>) -> Listen {
        let table = self.table(top, "listen", "[listen]");
        let section = self.section(&table, &keys::LISTEN);
        let mut http = self.addresses(section, "http", defaults::LISTEN_HTTP);
        let mut https = self.addresses(section, "https", defaults::LISTEN_HTTPS);
        let before: Vec<(ListenAddress, Spot)> = http.clone();
        for (address, at) in &https {
            if let Some((first, _)) = before.iter().find(|(first, _)| same_socket(first, address)) {
                let what = What::ListenBoth { text: self.typed(*at), first: first.place.clone() };
                self.error(*at, what);
            }
        }
        if http.is_empty() && https.is_empty() && empty_list(section, "http") && empty_list(section, "https")
        {
            self.error(section.at("https"), What::NothingListens {});
        }
        mark_v6_only(&mut http);
        mark_v6_only(&mut https);
        let outside_http_port = self.outside_port(section, "outside_http_port", &http);
        let outside_https_port = self.outside_port(section, "outside_https_port", &https);
        let addresses =
            |list: Vec<(ListenAddress, Spot)>| list.into_iter().map(|(address, _)| address).collect();
        Listen {
            http: addresses(http),
            https: addresses(https),
            outside_http_port,
            outside_https_port,
            written: self.written_at(section),
        }
    }

    /// The text of a value as it was typed, without its quotes.
    fn typed(&self, at: Spot) -> String {
        self.text(at.source).text.get(at.start..at.end).unwrap_or("").trim_matches(['"', '\'']).to_owned()
    }

    fn addresses(
        &mut self,
        section: Section<'_>,
        key: &'static str,
        default: &'static str,
    ) -> Vec<(ListenAddress, Spot)> {
        let written = if section.has(key) {
            self.texts(section, key, if key == "http" { "\"[::]:80\"" } else { "\"[::]:443\"" })
        } else {
            vec![(default.to_owned(), section.table.at)]
        };
        let mut list: Vec<(ListenAddress, Spot)> = Vec::new();
        for (text, at) in written {
            if list.len() >= defaults::LISTEN_ADDRESSES_MAX {
                let most = defaults::LISTEN_ADDRESSES_MAX;
                self.error(at, What::TooMany { what: "addresses to listen on", most });
                break;
            }
            match address::listen(&text) {
                Ok(address) => {
                    let place = self.place(at);
                    let address = ListenAddress { address, only_v6: false, place };
                    // Two sockets on port 0 get two ports.
                    let twice = list
                        .iter()
                        .find(|(first, _)| first.address == address.address && address.address.port() != 0);
                    if let Some((first, _)) = twice {
                        let first = first.place.clone();
                        self.error(at, What::ListedTwice { key, text, first });
                    } else {
                        list.push((address, at));
                    }
                }
                Err(why) => self.error(at, What::BadListenAddress { text, why }),
            }
        }
        list
    }

    fn outside_port(
        &mut self,
        section: Section<'_>,
        key: &'static str,
        listeners: &[(ListenAddress, Spot)],
    ) -> OutsidePort {
        let example = if key == "outside_http_port" { 80 } else { 443 };
        let bounds = Bounded { default: example, least: 1, most: 65_535 };
        let known = |port: u16| NonZeroU16::new(port).map_or(OutsidePort::AsBound, OutsidePort::Known);
        if let Some(node) = section.get(key) {
            let port = self.count_of(node, key, &bounds, Expected::Count(example));
            return port.and_then(|port| u16::try_from(port).ok()).map_or(OutsidePort::Nowhere, known);
        }
        listeners.first().map_or(OutsidePort::Nowhere, |(listener, _)| known(listener.address.port()))
    }

    pub(super) fn session_cache(&mut self, top: Section<'_>) -> SessionCache {
        let table = self.table(top, "session_cache", "[session_cache]");
        let section = self.section(&table, &keys::SESSION_CACHE);
        SessionCache {
            mode: self.choice(section, "mode", defaults::SESSION_MODE),
            size: self.usize(section, "size", &defaults::SESSION_CACHE_SIZE),
            lifetime: self.seconds(section, "lifetime", &defaults::SESSION_LIFETIME),
        }
    }

    pub(super) fn limits(&mut self, top: Section<'_>) -> Limits {
        let table = self.table(top, "limits", "[limits]");
        let section = self.section(&table, &keys::LIMITS);
        let body = &defaults::REQUEST_BODY_BYTES;
        Limits {
            request_head_bytes_max: usize::try_from(self.size(
                section,
                "request_head_bytes",
                &defaults::REQUEST_HEAD_BYTES,
            ))
            .unwrap_or(usize::MAX),
            headers_max: self.usize(section, "headers", &defaults::HEADERS),
            request_body_bytes_max: self.size_or_unlimited(section, "request_body_bytes", body, body.default),
            connections_max: self.usize(section, "connections", &defaults::CONNECTIONS),
        }
    }

    pub(super) fn timeouts(&mut self, top: Section<'_>) -> Timeouts {
        let table = self.table(top, "timeouts", "[timeouts]");
        let section = self.section(&table, &keys::TIMEOUTS);
        Timeouts {
            handshake: self.duration(section, "handshake", &defaults::HANDSHAKE),
            request_head: self.duration(section, "request_head", &defaults::REQUEST_HEAD),
            body_idle: self.duration(section, "body_idle", &defaults::BODY_IDLE),
            keep_alive: self.duration(section, "keep_alive", &defaults::KEEP_ALIVE),
            upstream_connect: self.duration(section, "upstream_connect", &defaults::UPSTREAM_CONNECT),
            response_head: self.duration(section, "response_head", &defaults::RESPONSE_HEAD),
            tunnel_idle: self.duration(section, "tunnel_idle", &defaults::TUNNEL_IDLE),
        }
    }

    pub(super) fn upstream_pool(&mut self, top: Section<'_>) -> UpstreamPool {
        let table = self.table(top, "upstream_pool", "[upstream_pool]");
        let section = self.section(&table, &keys::UPSTREAM_POOL);
        UpstreamPool {
            idle_per_worker: self.usize(section, "idle_per_worker", &defaults::IDLE_PER_WORKER),
            idle_timeout: self.duration(section, "idle_timeout", &defaults::IDLE_TIMEOUT),
        }
    }
}

fn empty_list(section: Section<'_>, key: &'static str) -> bool {
    section.get(key).is_some_and(|node| matches!(&node.value, Value::Array(items) if items.is_empty()))
}

/// Whether the two cannot both be bound: `0.0.0.0` is a part of `[::]`.
fn same_socket(a: &ListenAddress, b: &ListenAddress) -> bool {
    let (a, b) = (a.address, b.address);
    a.port() == b.port()
        && a.port() != 0
        && (a.ip() == b.ip() || (a.ip().is_unspecified() && b.ip().is_unspecified()))
}

/// `[::]` leaves IPv4 to the `0.0.0.0` of the same port.
fn mark_v6_only(list: &mut [(ListenAddress, Spot)]) {
    let any_v4 =
        list.iter().filter(|(listen, _)| listen.address.is_ipv4() && listen.address.ip().is_unspecified());
    let ports: HashSet<u16> =
        any_v4.map(|(listen, _)| listen.address.port()).filter(|port| *port != 0).collect();
    for (listen, _) in list {
        let address = listen.address;
        listen.only_v6 =
            address.is_ipv6() && address.ip().is_unspecified() && ports.contains(&address.port());
    }
}
