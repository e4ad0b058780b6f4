//! The hosts and addresses a certificate covers.

use std::cmp::Ordering;
use std::net::IpAddr;

/// The names of one certificate's subjectAltName, ready to be asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateNames {
    // Lowercase, without trailing dot, sorted.
    exact: Vec<Box<[u8]>>,
    /// What follows the `*` of a wildcard, with its dot: `.example.com`. Sorted too.
    wildcards: Vec<Box<[u8]>>,
    addresses: Vec<IpAddr>,
}

impl CertificateNames {
    /// `names`: as in the certificate, wildcards with their `*.`. A wildcard elsewhere than as
    /// the whole first label covers nothing (RFC 9525 §6.3).
    pub fn new<'a>(names: impl IntoIterator<Item = &'a [u8]>, addresses: Vec<IpAddr>) -> Self {
        let mut all = CertificateNames { addresses, ..CertificateNames::default() };
        for name in names {
            let name = name.strip_suffix(b".").unwrap_or(name).to_ascii_lowercase();
            match name.strip_prefix(b"*") {
                Some(suffix) if suffix.len() > 1 && suffix[0] == b'.' && !suffix.contains(&b'*') => {
                    all.wildcards.push(suffix.into());
                }
                _ if name.is_empty() || name.contains(&b'*') => {}
                _ => all.exact.push(name.into()),
            }
        }
        for list in [&mut all.exact, &mut all.wildcards] {
            list.sort_unstable();
            list.dedup();
        }
        all
    }

    /// Whether the certificate is one for `host`: a host name in any case, or an address, IPv6
    /// with or without brackets. A wildcard stands for exactly one label (RFC 9525 §6.3).
    ///
    /// Allocates nothing; a binary search in each list.
    pub fn covers(&self, host: &[u8]) -> bool {
        if host.is_empty() {
            return false;
        }
        if contains(&self.exact, host) {
            return true;
        }
        if let Some(address) = address(host) {
            return self.addresses.contains(&address);
        }
        match host.iter().position(|byte| *byte == b'.') {
            Some(dot) if dot > 0 => contains(&self.wildcards, &host[dot..]),
            _ => false,
        }
    }

    /// Whether a pattern of a site is covered as a whole: a host, or `*.` and a name, for which
    /// the same wildcard is needed.
    pub fn covers_pattern(&self, pattern: &[u8]) -> bool {
        match pattern.strip_prefix(b"*") {
            Some(suffix) => contains(&self.wildcards, suffix),
            None => self.covers(pattern),
        }
    }

    /// The names as text: hosts, wildcards with `*`, addresses. For messages.
    pub fn display(&self) -> impl Iterator<Item = String> + '_ {
        let exact = self.exact.iter().map(|name| text(name));
        let wildcards = self.wildcards.iter().map(|suffix| format!("*{}", text(suffix)));
        let addresses = self.addresses.iter().map(IpAddr::to_string);
        exact.chain(wildcards).chain(addresses)
    }

    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcards.is_empty() && self.addresses.is_empty()
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn contains(sorted: &[Box<[u8]>], name: &[u8]) -> bool {
    sorted.binary_search_by(|known| compare(known, name)).is_ok()
}

/// `lowercase` against `other` in any case, ordered as lowercase bytes are.
fn compare(lowercase: &[u8], other: &[u8]) -> Ordering {
    lowercase.iter().copied().cmp(other.iter().map(u8::to_ascii_lowercase))
}

fn address(host: &[u8]) -> Option<IpAddr> {
    let bare = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(host);
    std::str::from_utf8(bare).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> CertificateNames {
        let hosts = list.iter().filter(|name| name.parse::<IpAddr>().is_err());
        CertificateNames::new(
            hosts.map(|name| name.as_bytes()),
            list.iter().filter_map(|name| name.parse().ok()).collect(),
        )
    }

    #[test]
    fn covers_names_wildcards_and_addresses() {
        let names = names(&[
            "b.example",
            "a.example",
            "Upper.Example",
            "dot.example.",
            "*.wild.example",
            "f*.bad.example",
            "*",
            "*.",
            "x.*.example",
            "127.0.0.1",
            "::1",
        ]);
        for (host, expected) in [
            ("a.example", true),
            ("A.eXample", true),
            ("b.example", true),
            ("upper.example", true),
            ("dot.example", true),
            ("c.example", false),
            ("x.a.example", false),
            ("one.wild.example", true),
            ("ONE.Wild.example", true),
            ("wild.example", false),
            (".wild.example", false),
            ("two.one.wild.example", false),
            ("foo.bad.example", false),
            ("x.y.example", false),
            ("anything", false),
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("::1", true),
            ("[::1]", true),
            ("[0:0:0:0:0:0:0:1]", true),
            ("[::2]", false),
            ("[", false),
            ("", false),
            (".", false),
        ] {
            assert_eq!(names.covers(host.as_bytes()), expected, "{host}");
        }
        assert!(names.covers_pattern(b"*.Wild.example"));
        assert!(!names.covers_pattern(b"*.a.example"));
        assert!(!names.covers_pattern(b"*"));
    }

    #[test]
    fn an_address_is_not_covered_by_a_wildcard() {
        assert!(!names(&["*.0.0.1"]).covers(b"127.0.0.1"));
    }
}
