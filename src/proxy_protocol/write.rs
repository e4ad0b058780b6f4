//! Writing a header for a site server.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::{Ends, SIGNATURE};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// Addresses and ports alone, as text.
    V1,
    /// With what TLS said.
    V2,
}

/// What is known of a visitor's connection.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub ends: Ends,
    /// `None`: it came without TLS.
    pub tls: Option<TlsFacts<'a>>,
}

/// What the visitor's handshake settled.
#[derive(Clone, Copy, Debug)]
pub struct TlsFacts<'a> {
    /// As `TLSv1.3`.
    pub version: &'a str,
    /// As `TLS13_AES_128_GCM_SHA256`; empty: not known.
    pub cipher: &'a str,
    /// The protocol agreed on; empty: none.
    pub alpn: &'a [u8],
    /// The name asked for; empty: none.
    pub server_name: &'a [u8],
    /// The client showed a certificate, and it was verified.
    pub client_certificate: bool,
}

// Types of TLVs.
const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const SSL_CIPHER: u8 = 0x23;
// Bits of what the client did.
const CLIENT_SSL: u8 = 0x01;
const CLIENT_CERT_CONN: u8 = 0x02;
const CLIENT_CERT_SESS: u8 = 0x04;

/// Appends the header; never longer than [`HEADER_BYTES_MAX`](super::HEADER_BYTES_MAX).
pub fn write(out: &mut Vec<u8>, version: Version, facts: &Facts<'_>) {
    match version {
        Version::V1 => version_1(out, &facts.ends),
        Version::V2 => version_2(out, facts),
    }
}

/// Appends the header of a connection of our own, on nobody's behalf.
pub fn write_local(out: &mut Vec<u8>, version: Version) {
    match version {
        Version::V1 => out.extend_from_slice(b"PROXY UNKNOWN\r\n"),
        Version::V2 => {
            out.extend_from_slice(&SIGNATURE);
            out.extend_from_slice(&[0x20, 0, 0, 0]);
        }
    }
}

/// Both of one family: an IPv4 address goes as a mapped one beside an IPv6 one.
fn same_family(ends: &Ends) -> (IpAddr, IpAddr) {
    let (source, destination) = (ends.source.ip().to_canonical(), ends.destination.ip().to_canonical());
    match (source, destination) {
        (IpAddr::V4(v4), IpAddr::V6(_)) => (v4.to_ipv6_mapped().into(), destination),
        (IpAddr::V6(_), IpAddr::V4(v4)) => (source, v4.to_ipv6_mapped().into()),
        same => same,
    }
}

fn version_1(out: &mut Vec<u8>, ends: &Ends) {
    let (source, destination) = same_family(ends);
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (ends.source.port(), ends.destination.port());
    // Writing to a vector cannot fail.
    let _ = write!(out, "PROXY {family} {source} {destination} {from} {to}\r\n");
}

fn version_2(out: &mut Vec<u8>, facts: &Facts<'_>) {
    let (source, destination) = same_family(&facts.ends);
    out.extend_from_slice(&SIGNATURE);
    out.extend_from_slice(&[0x21, if source.is_ipv4() { 0x11 } else { 0x21 }]);
    let length_at = out.len();
    out.extend_from_slice(&[0, 0]);
    for address in [source, destination] {
        match address {
            IpAddr::V4(v4) => out.extend_from_slice(&v4.octets()),
            IpAddr::V6(v6) => out.extend_from_slice(&v6.octets()),
        }
    }
    for port in [facts.ends.source, facts.ends.destination].map(|end: SocketAddr| end.port()) {
        out.extend_from_slice(&port.to_be_bytes());
    }
    if let Some(tls) = &facts.tls {
        if !tls.alpn.is_empty() {
            tlv(out, ALPN, tls.alpn);
        }
        if !tls.server_name.is_empty() {
            tlv(out, AUTHORITY, tls.server_name);
        }
        let mut client = CLIENT_SSL;
        if tls.client_certificate {
            client |= CLIENT_CERT_CONN | CLIENT_CERT_SESS;
        }
        // "verify" is 0 when a certificate was shown and verified.
        let verify = u32::from(!tls.client_certificate);
        let mut ssl = vec![client];
        ssl.extend_from_slice(&verify.to_be_bytes());
        tlv(&mut ssl, SSL_VERSION, tls.version.as_bytes());
        if !tls.cipher.is_empty() {
            tlv(&mut ssl, SSL_CIPHER, tls.cipher.as_bytes());
        }
        tlv(out, SSL, &ssl);
    }
    let length = (out.len() - length_at - 2) as u16;
    out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
}

fn tlv(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    // Names and protocols have 255 octets at most.
    let value = &value[..value.len().min(1024)];
    out.push(kind);
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::super::{Header, read, take};
    use super::*;

    fn ends(source: &str, destination: &str) -> Ends {
        Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let tls = TlsFacts {
            version: "TLSv1.3",
            cipher: "TLS13_AES_128_GCM_SHA256",
            alpn: b"h2",
            server_name: b"example.com",
            client_certificate: false,
        };
        let both_six = ends("[::ffff:192.0.2.7]:1", "[2001:db8::1]:443");
        for (given, read_back) in [
            (ends("192.0.2.7:56324", "198.51.100.1:443"), ends("192.0.2.7:56324", "198.51.100.1:443")),
            (ends("[2001:db8::7]:1", "[2001:db8::1]:443"), ends("[2001:db8::7]:1", "[2001:db8::1]:443")),
            (ends("[::ffff:192.0.2.7]:1", "198.51.100.1:443"), ends("192.0.2.7:1", "198.51.100.1:443")),
            (ends("192.0.2.7:1", "[2001:db8::1]:443"), both_six),
        ] {
            for version in [Version::V1, Version::V2] {
                for tls in [None, Some(tls)] {
                    let mut out = Vec::new();
                    write(&mut out, version, &Facts { ends: given, tls });
                    let mut taken = 0;
                    while let Ok(more @ 1..) = take(&out[..taken], &out[taken..]) {
                        taken += more;
                    }
                    assert_eq!(taken, out.len());
                    assert_eq!(read(&out), Ok(Header::Proxied(read_back)), "{given:?} {version:?}");
                }
            }
        }
    }

    #[test]
    fn our_own_connections_are_nobodys() {
        for version in [Version::V1, Version::V2] {
            let mut out = Vec::new();
            write_local(&mut out, version);
            assert_eq!(read(&out), Ok(Header::Local));
        }
    }

    #[test]
    fn tls_is_told_as_haproxy_tells_it() {
        let tls = TlsFacts {
            version: "TLSv1.2",
            cipher: "X",
            alpn: b"h2",
            server_name: b"a",
            client_certificate: true,
        };
        let mut out = Vec::new();
        write(&mut out, Version::V2, &Facts { ends: ends("1.2.3.4:1", "5.6.7.8:2"), tls: Some(tls) });
        let tlvs = &out[28..];
        let expected = [
            &[0x01, 0, 2][..],
            b"h2",
            &[0x02, 0, 1],
            b"a",
            &[0x20, 0, 19, 0x07, 0, 0, 0, 0, 0x21, 0, 7],
            b"TLSv1.2",
            &[0x23, 0, 1],
            b"X",
        ]
        .concat();
        assert_eq!(tlvs, expected);
        assert_eq!(out[14..16], ((12 + expected.len()) as u16).to_be_bytes());
    }
}
