//! `store`: where the machines of a fleet share certificates from ACME authorities.

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::config::config::SessionCache;
use crate::config::keys;
use crate::config::message::{BadStore, Expected, What};
use crate::config::reader::Reader;
use crate::config::values::Section;
use crate::config::written::{Spot, Value};
use crate::dispatch::Place;

/// A Redis, or what speaks its protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    pub url: StoreUrl,
    /// Its content is the password, but for a line end. In place of one in the URL.
    pub password_file: Option<PathBuf>,
    /// Who may vouch for it; `None`: the system's authorities.
    pub ca: Option<PathBuf>,
    /// Where it is written.
    pub place: Place,
}

/// `redis://[[user][:password]@]host[:port][/database]`, or `rediss://` with TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreUrl {
    pub is_tls: bool,
    /// IPv6 in brackets.
    pub host: String,
    pub port: u16,
    pub user: Option<String>,
    pub password: Option<Password>,
    pub database: u16,
}

/// Not shown, and wiped.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub Zeroizing<String>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

const PORT: u16 = 6379;

impl StoreUrl {
    /// # Errors
    /// Which part of it is none.
    pub(super) fn parse(text: &str) -> Result<StoreUrl, BadStore> {
        let (scheme, rest) = text.split_once("://").ok_or(BadStore::Scheme)?;
        let is_tls = match scheme {
            "redis" => false,
            "rediss" => true,
            _ => return Err(BadStore::Scheme),
        };
        if rest.bytes().any(|byte| !byte.is_ascii_graphic()) || rest.contains(['?', '#']) {
            return Err(BadStore::Rest);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let database = match path {
            "" => 0,
            number if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                number.parse().map_err(|_| BadStore::Database)?
            }
            _ => return Err(BadStore::Database),
        };
        let (credentials, address) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let part = |text: &str| (!text.is_empty()).then(|| decoded(text)).transpose();
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok().filter(|port| *port > 0)),
            _ => (address, Some(PORT)),
        };
        let port = port.ok_or(BadStore::Port)?;
        let is_host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').is_some_and(|v6| v6.parse::<std::net::Ipv6Addr>().is_ok()),
            None => {
                !host.is_empty()
                    && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
            }
        };
        if !is_host {
            return Err(BadStore::Host);
        }
        Ok(StoreUrl {
            is_tls,
            host: host.to_ascii_lowercase(),
            port,
            user: part(user)?,
            password: part(password)?.map(|password| Password(Zeroizing::new(password))),
            database,
        })
    }
}

/// Without its percent-escapes.
fn decoded(text: &str) -> Result<String, BadStore> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or(BadStore::Credentials)?);
        rest = &behind[2..];
    }
    String::from_utf8(bytes).map_err(|_| BadStore::Credentials)
}

impl Reader<'_> {
    /// `None`: there is none, or an error was found that leaves nothing.
    pub(super) fn store(&mut self, top: Section<'_>, sessions: &SessionCache) -> Option<Store> {
        let node = top.get("store")?;
        if !cfg!(feature = "acme") {
            self.error(top.key_at("store"), What::Unavailable { key: "store".to_owned() });
            return None;
        }
        if sessions.fleet_secret_file.is_none() {
            self.error(top.key_at("store"), What::StoreSecret {});
        }
        match &node.value {
            Value::Text(text) => {
                let url = self.store_url(text, node.at)?;
                Some(Store { url, password_file: None, ca: None, place: self.place(node.at) })
            }
            Value::Table(table) => {
                let section = self.section(table, &keys::STORE);
                if !section.has("url") {
                    self.missing(section, "url");
                }
                let url = self.filled(section, "url").and_then(|(text, at)| self.store_url(&text, at));
                let password_file =
                    self.filled(section, "password_file").map(|(path, at)| self.beside(at, &path));
                let ca = self.filled(section, "ca").map(|(path, at)| self.beside(at, &path));
                let url = url?;
                if ca.is_some() && !url.is_tls {
                    self.error(section.key_at("ca"), What::StoreWithoutTls {});
                }
                if password_file.is_some() && url.password.is_some() {
                    self.error(section.key_at("password_file"), What::StorePassword {});
                }
                Some(Store { url, password_file, ca, place: self.place(node.at) })
            }
            other => {
                self.wrong_type(node.at, "store", Expected::Store, other);
                None
            }
        }
    }

    fn store_url(&mut self, text: &str, at: Spot) -> Option<StoreUrl> {
        StoreUrl::parse(text).map_err(|why| self.error(at, What::BadStore { why })).ok()
    }

    /// Says that nothing is shared.
    pub(super) fn store_unused(&mut self, at: Spot) {
        self.warning(at, What::StoreUnused {});
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_a_host_and_may_have_the_rest() {
        let url = |is_tls, host: &str, port, user: Option<&str>, password: Option<&str>, database| StoreUrl {
            is_tls,
            host: host.to_owned(),
            port,
            user: user.map(str::to_owned),
            password: password.map(|password| Password(Zeroizing::new(password.to_owned()))),
            database,
        };
        for (text, expected) in [
            ("redis://a", Ok(url(false, "a", 6379, None, None, 0))),
            ("redis://a/", Ok(url(false, "a", 6379, None, None, 0))),
            ("rediss://Store.Internal:7000/3", Ok(url(true, "store.internal", 7000, None, None, 3))),
            ("redis://:p@a", Ok(url(false, "a", 6379, None, Some("p"), 0))),
            ("redis://u@a", Ok(url(false, "a", 6379, Some("u"), None, 0))),
            ("redis://u:p%40%3A:@[::1]:1/15", Ok(url(false, "[::1]", 1, Some("u"), Some("p@::"), 15))),
            ("redis://u:p@x@10.0.0.1", Ok(url(false, "10.0.0.1", 6379, Some("u"), Some("p@x"), 0))),
            ("http://a", Err(BadStore::Scheme)),
            ("a:6379", Err(BadStore::Scheme)),
            ("redis://", Err(BadStore::Host)),
            ("redis://:6379", Err(BadStore::Host)),
            ("redis://[::g]", Err(BadStore::Host)),
            ("redis://a,b", Err(BadStore::Host)),
            ("redis://a:0", Err(BadStore::Port)),
            ("redis://a:65536", Err(BadStore::Port)),
            ("redis://a/x", Err(BadStore::Database)),
            ("redis://a/1/2", Err(BadStore::Database)),
            ("redis://a/70000", Err(BadStore::Database)),
            ("redis://:%zz@a", Err(BadStore::Credentials)),
            ("redis://:%4@a", Err(BadStore::Credentials)),
            ("redis://:%ff@a", Err(BadStore::Credentials)),
            ("redis://a?db=1", Err(BadStore::Rest)),
            ("redis://a b", Err(BadStore::Rest)),
        ] {
            assert_eq!(StoreUrl::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let url = StoreUrl::parse("redis://u:secret@a").expect("it is one");
        assert!(!format!("{url:?}").contains("secret"));
    }
}
