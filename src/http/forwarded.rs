//! What the site server is told about the visitor: `X-Forwarded-*`, `Forwarded`, `X-Request-Id`, `Via`.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::field::{FieldName, is_token};
use super::framing::{Scheme, Version};
use httparse::Header;

/// Our name in `Via` (RFC 9110 §7.6.3: a pseudonym in place of the host).
const PSEUDONYM: &str = "portcullis";

/// What we know about a visitor, to be told to the site server.
///
/// Inbound fields of these names are dropped. From a `trusted` peer (a proxy of the operator's own) `X-Forwarded-For`
/// and `Forwarded` are appended to, and port and identifier are kept as they came; of several only the last, which is
/// the one nearest to us. `Via` is appended to for everybody: it says how a message came, not who sent it.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded<'a> {
    /// Who connected to us; an IPv4-mapped address is written as IPv4.
    pub client: SocketAddr,
    /// The one the request was decided for: of a trusted peer, what it [told](super::told::Told).
    pub scheme: Scheme,
    /// The authority the request was decided for, with its port when it had one.
    pub host: &'a [u8],
    /// The port the visitor used.
    pub port: u16,
    /// Visible ASCII; one for each request.
    pub request_id: &'a [u8],
    /// The peer is one whose word counts; how it came to us itself is what our own element of `Forwarded` says.
    pub trusted: Option<Hop<'a>>,
}

/// Scheme and authority of a request as it reached us.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    pub scheme: Scheme,
    pub host: &'a [u8],
}

/// The inbound fields of this family, gathered in the one pass over a head.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inbound<'b> {
    via: bool,
    forwarded: bool,
    forwarded_for: bool,
    port: Option<&'b [u8]>,
    request_id: Option<&'b [u8]>,
}

impl<'b> Inbound<'b> {
    /// Takes note of a field; those of other names are none of its business.
    #[inline]
    pub fn note(&mut self, name: FieldName, value: &'b [u8]) {
        match name {
            FieldName::Via => self.via = true,
            FieldName::Forwarded => self.forwarded = true,
            FieldName::ForwardedFor => self.forwarded_for = true,
            FieldName::ForwardedPort => self.port = Some(value),
            FieldName::RequestId => self.request_id = Some(value),
            _ => {}
        }
    }
}

impl Forwarded<'_> {
    /// Appends the whole family as field lines. `headers` is the head `inbound` was gathered from, `received` the
    /// version it came in.
    pub fn write(&self, out: &mut Vec<u8>, inbound: &Inbound<'_>, headers: &[Header<'_>], received: Version) {
        let ip = self.client.ip().to_canonical();
        let kept = if self.trusted.is_some() {
            *inbound
        } else {
            Inbound { via: inbound.via, ..Inbound::default() }
        };

        out.extend_from_slice(b"X-Forwarded-For: ");
        if kept.forwarded_for {
            append_inbound(out, headers, FieldName::ForwardedFor);
        }
        let written = write_ip(out, ip);
        out.extend_from_slice(b"\r\nX-Forwarded-Proto: ");
        out.extend_from_slice(self.scheme.as_str().as_bytes());
        out.extend_from_slice(b"\r\nX-Forwarded-Host: ");
        out.extend_from_slice(self.host);
        out.extend_from_slice(b"\r\nX-Forwarded-Port: ");
        match kept.port {
            Some(port) => out.extend_from_slice(port),
            None => out.extend_from_slice(itoa::Buffer::new().format(self.port).as_bytes()),
        }

        out.extend_from_slice(b"\r\nForwarded: ");
        if kept.forwarded {
            append_inbound(out, headers, FieldName::Forwarded);
        }
        // RFC 7239 §6: an IPv6 address is bracketed, and brackets and colons need quotes.
        let (open, close): (&[u8], &[u8]) = if ip.is_ipv6() { (b"for=\"[", b"]\"") } else { (b"for=", b"") };
        out.extend_from_slice(open);
        out.extend_from_within(written);
        out.extend_from_slice(close);
        let hop = self.trusted.unwrap_or(Hop { scheme: self.scheme, host: self.host });
        if !hop.host.is_empty() {
            out.extend_from_slice(b";host=");
            write_token_or_quoted(out, hop.host);
        }
        out.extend_from_slice(b";proto=");
        out.extend_from_slice(hop.scheme.as_str().as_bytes());

        out.extend_from_slice(b"\r\nX-Request-Id: ");
        out.extend_from_slice(kept.request_id.unwrap_or(self.request_id));
        out.extend_from_slice(b"\r\nVia: ");
        if kept.via {
            append_inbound(out, headers, FieldName::Via);
        }
        out.extend_from_slice(received.number().as_bytes());
        out.push(b' ');
        out.extend_from_slice(PSEUDONYM.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes the address and says where it stands in `out`. The dotted quad is spelled out: formatting machinery costs
/// as much as the rest of the family.
fn write_ip(out: &mut Vec<u8>, ip: IpAddr) -> std::ops::Range<usize> {
    let start = out.len();
    match ip {
        IpAddr::V4(v4) => {
            for (at, octet) in v4.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        // Writing to a vector cannot fail.
        IpAddr::V6(v6) => drop(write!(out, "{v6}")),
    }
    start..out.len()
}

/// Every inbound value of `name`, in order, each followed by a comma. A value with an open quote would swallow what
/// we append, so it stays out.
fn append_inbound(out: &mut Vec<u8>, headers: &[Header<'_>], name: FieldName) {
    for header in headers {
        if FieldName::of(header.name.as_bytes()) == name
            && !header.value.is_empty()
            && (name != FieldName::Forwarded || quotes_are_closed(header.value))
        {
            out.extend_from_slice(header.value);
            out.extend_from_slice(b", ");
        }
    }
}

fn quotes_are_closed(value: &[u8]) -> bool {
    let mut quoted = false;
    let mut bytes = value.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => drop(bytes.next()),
            _ => {}
        }
    }
    !quoted
}

fn write_token_or_quoted(out: &mut Vec<u8>, text: &[u8]) {
    if is_token(text) {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for &byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(client: &str, host: &str, trusted: bool, headers: &[(&'static str, &'static str)]) -> String {
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect();
        let mut inbound = Inbound::default();
        for header in &headers {
            inbound.note(FieldName::of(header.name.as_bytes()), header.value);
        }
        let forwarded = Forwarded {
            client: client.parse().unwrap(),
            scheme: Scheme::Https,
            host: host.as_bytes(),
            port: 8443,
            request_id: b"r-1",
            trusted: trusted.then_some(Hop { scheme: Scheme::Http, host: b"inside.example" }),
        };
        let mut out = Vec::new();
        forwarded.write(&mut out, &inbound, &headers, Version::Http11);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn says_who_came_and_how() {
        assert_eq!(
            write("192.0.2.7:5", "example.com:8443", false, &[]),
            "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: example.com:8443\r\n\
             X-Forwarded-Port: 8443\r\nForwarded: for=192.0.2.7;host=\"example.com:8443\";proto=https\r\n\
             X-Request-Id: r-1\r\nVia: 1.1 portcullis\r\n"
        );
    }

    #[test]
    fn quotes_ipv6_and_unmaps_ipv4() {
        let v6 = write("[2001:db8::1]:5", "example.com", false, &[]);
        assert!(v6.contains("X-Forwarded-For: 2001:db8::1\r\n"), "{v6}");
        assert!(v6.contains("Forwarded: for=\"[2001:db8::1]\";host=example.com;proto=https\r\n"), "{v6}");
        let mapped = write("[::ffff:192.0.2.7]:5", "example.com", false, &[]);
        assert!(
            mapped.contains("X-Forwarded-For: 192.0.2.7\r\n") && mapped.contains("for=192.0.2.7;"),
            "{mapped}"
        );
    }

    const INBOUND: [(&str, &str); 10] = [
        ("x-forwarded-for", "10.0.0.1"),
        ("X-Forwarded-For", "10.0.0.2"),
        ("X-Forwarded-Proto", "gopher"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", "inner.example"),
        ("X-Forwarded-Port", "81"),
        ("Forwarded", "for=10.0.0.1"),
        ("Forwarded", "for=\"open"),
        ("X-Request-Id", "theirs"),
        ("Via", "1.0 fred, 1.1 p.example"),
    ];

    #[test]
    fn drops_inbound_copies_of_strangers() {
        let text = write("192.0.2.7:5", "example.com", false, &INBOUND);
        assert_eq!(
            text,
            "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: example.com\r\n\
             X-Forwarded-Port: 8443\r\nForwarded: for=192.0.2.7;host=example.com;proto=https\r\n\
             X-Request-Id: r-1\r\nVia: 1.0 fred, 1.1 p.example, 1.1 portcullis\r\n"
        );
    }

    #[test]
    fn appends_to_and_keeps_those_of_trusted_peers() {
        let text = write("192.0.2.7:5", "example.com", true, &INBOUND);
        assert_eq!(
            text,
            "X-Forwarded-For: 10.0.0.1, 10.0.0.2, 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\
             X-Forwarded-Host: example.com\r\nX-Forwarded-Port: 81\r\n\
             Forwarded: for=10.0.0.1, for=192.0.2.7;host=inside.example;proto=http\r\n\
             X-Request-Id: theirs\r\nVia: 1.0 fred, 1.1 p.example, 1.1 portcullis\r\n"
        );
    }
}
