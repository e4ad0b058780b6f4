//! `[listen]`: the addresses to listen on, each with what holds for its connections.

use std::collections::HashSet;
use std::num::NonZeroU16;
use std::sync::Arc;

use crate::config::address;
use crate::config::config::{Listen, ListenAddress, ListenerSettings, OutsidePort};
use crate::config::defaults::{self, Bounded};
use crate::config::keys;
use crate::config::message::{Expected, What};
use crate::config::reader::Reader;
use crate::config::values::Section;
use crate::config::written::{Node, Spot, Value};
use crate::http::Network;

impl Reader<'_> {
    pub(super) fn listen(&mut self, top: Section<'_>) -> Listen {
        let table = self.table(top, "listen", "[listen]");
        let section = self.section(&table, &keys::LISTEN);
        let settings = Arc::new(ListenerSettings {
            trusted_proxies: self.networks(section, "trusted_proxies").unwrap_or_default(),
            written: self.written_at(section),
        });
        let mut http = self.listeners(section, "http", defaults::LISTEN_HTTP, &settings);
        let mut https = self.listeners(section, "https", defaults::LISTEN_HTTPS, &settings);
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

    /// Each entry a text, or a table of its own. `settings`: those of `[listen]`, which hold where an entry says
    /// nothing else.
    fn listeners(
        &mut self,
        section: Section<'_>,
        key: &'static str,
        default: &'static str,
        settings: &Arc<ListenerSettings>,
    ) -> Vec<(ListenAddress, Spot)> {
        let at = section.table.at;
        let unwritten = [Node { value: Value::Text(default.to_owned()), at }];
        let written = match section.get(key).map(|node| (&node.value, node.at)) {
            None => &unwritten,
            Some((Value::Array(items), _)) => items.as_slice(),
            Some((other, at)) => {
                self.wrong_type(at, key, Expected::Listeners(default), other);
                return Vec::new();
            }
        };
        let mut list: Vec<(ListenAddress, Spot)> = Vec::new();
        for node in written {
            if list.len() >= defaults::LISTEN_ADDRESSES_MAX {
                let most = defaults::LISTEN_ADDRESSES_MAX;
                self.error(node.at, What::TooMany { what: "addresses to listen on", most });
                break;
            }
            let Some((text, at, settings)) = self.listener(node, key, default, settings) else { continue };
            match address::listen(&text) {
                Ok(address) => {
                    let place = self.place(at);
                    let address = ListenAddress { address, only_v6: false, settings, place };
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

    /// One entry: the text of its address, where that stands, and its settings.
    fn listener(
        &mut self,
        node: &Node,
        key: &'static str,
        example: &'static str,
        settings: &Arc<ListenerSettings>,
    ) -> Option<(String, Spot, Arc<ListenerSettings>)> {
        let table = match &node.value {
            Value::Text(text) => return Some((text.clone(), node.at, settings.clone())),
            Value::Table(table) => table,
            other => {
                self.wrong_type(node.at, key, Expected::Listeners(example), other);
                return None;
            }
        };
        let section = self.section(table, &keys::LISTENER);
        if !section.has("address") {
            self.missing(section, "address");
        }
        let address = self.filled(section, "address");
        let mut own = ListenerSettings::clone(settings);
        if let Some(networks) = self.networks(section, "trusted_proxies") {
            own.trusted_proxies = networks;
        }
        own.written.override_with(self.written_at(section));
        let (text, at) = address?;
        Some((text, at, Arc::new(own)))
    }

    /// The networks of an array; `None` when it is not written.
    fn networks(&mut self, section: Section<'_>, key: &'static str) -> Option<Vec<Network>> {
        let mut networks: Vec<(Network, Spot)> = Vec::new();
        for (text, at) in self.texts(section, key, "\"10.0.0.0/8\"") {
            match Network::parse(&text) {
                Ok(network) => {
                    if let Some((_, first)) = networks.iter().find(|(first, _)| *first == network) {
                        let first = self.place(*first);
                        self.error(at, What::ListedTwice { key, text, first });
                    } else {
                        networks.push((network, at));
                    }
                }
                Err(why) => self.error(at, What::BadNetworkAddress { text, why }),
            }
        }
        section.has(key).then(|| networks.into_iter().map(|(network, _)| network).collect())
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
