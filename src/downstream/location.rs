//! `Location` of site servers, mended on its way to the client.

use super::service::Service;
use super::serving::Serving;
use crate::dispatch::{Action, Question, SiteId};
use crate::http::Scheme;
use crate::http::location::{Mend, split_port};

/// Hosts up to this long are kept without an allocation; few are longer.
const SHORT_BYTES: usize = 62;

/// The host a request was decided for, kept until its response is there.
pub(super) enum RequestHost {
    Short { length: u8, bytes: [u8; SHORT_BYTES] },
    Long(Box<[u8]>),
}

impl RequestHost {
    /// `authority`: with or without a port.
    pub(super) fn of(authority: &[u8]) -> RequestHost {
        let (host, _) = split_port(authority);
        let mut bytes = [0; SHORT_BYTES];
        match bytes.get_mut(..host.len()) {
            Some(short) => {
                short.copy_from_slice(host);
                RequestHost::Short { length: host.len() as u8, bytes }
            }
            None => RequestHost::Long(host.into()),
        }
    }

    fn name(&self) -> &[u8] {
        match self {
            RequestHost::Short { length, bytes } => &bytes[..usize::from(*length)],
            RequestHost::Long(bytes) => bytes,
        }
    }
}

/// What mends the fields of one response.
pub(super) struct Locations<'a> {
    service: &'a Service,
    serving: &'a Serving,
    site: SiteId,
    scheme: Scheme,
    host: &'a RequestHost,
}

impl<'a> Locations<'a> {
    /// Of a request for this site, scheme and host.
    pub(super) fn of(
        service: &'a Service,
        serving: &'a Serving,
        site: SiteId,
        scheme: Scheme,
        host: &'a RequestHost,
    ) -> Locations<'a> {
        Locations { service, serving, site, scheme, host }
    }

    /// Whether the site wants it.
    pub(super) fn are_mended(&self) -> bool {
        self.serving.generation.config.sites[self.site.index()].rewrite_location
    }

    /// Appends the mended value and returns `true`, or leaves `out` alone.
    pub(super) fn mend(&self, value: &[u8], out: &mut Vec<u8>) -> bool {
        let generation = &self.serving.generation;
        let host = self.host.name();
        if host.is_empty() {
            return false;
        }
        let mut authorities = self.service.authorities.borrow_mut();
        let (http, https) = &mut *authorities;
        for (authority, scheme) in [(&mut *http, Scheme::Http), (&mut *https, Scheme::Https)] {
            authority.clear();
            authority.extend_from_slice(host);
            let port = generation.outside_port(scheme);
            if port != scheme.default_port() {
                authority.push(b':');
                authority.extend_from_slice(itoa::Buffer::new().format(port).as_bytes());
            }
        }
        // What the next request for it would be told: asked for both schemes, since either may be right.
        let wanted = |target: &[u8]| {
            [Scheme::Http, Scheme::Https].into_iter().find_map(|scheme| {
                let question = Question { scheme, handshake: None, authority: host, method: b"GET", target };
                match generation.sites.decide(&question).action {
                    Action::Redirect(redirect) if redirect.scheme != scheme => Some(redirect.scheme),
                    _ => None,
                }
            })
        };
        let mend = Mend {
            inside: &generation.site(self.site).inside,
            scheme: self.scheme,
            http_authority: http,
            https_authority: https,
            wanted: Some(&wanted),
        };
        mend.mend(value, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_any_length_are_kept_without_their_port() {
        let long = "x".repeat(200);
        for (authority, host) in [
            ("example.com:8443", "example.com"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
            (&format!("{long}:1"), long.as_str()),
        ] {
            assert_eq!(RequestHost::of(authority.as_bytes()).name(), host.as_bytes());
        }
    }
}
