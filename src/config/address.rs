//! Addresses as operators write them: to listen on, hosts of a site, upstreams.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::config::{HostPattern, SourceUrl, Upstream, UpstreamHost, UpstreamProtocol};

/// Why an address to listen on cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadListen {
    NoPort,
    BadPort,
    /// `443`
    PortAlone,
    /// `::1:443`
    NoBrackets,
    /// `localhost:443`, `*:443`
    NotAnAddress,
    /// `https://…`
    Url,
}

/// Why a host cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHost {
    Empty,
    Url,
    Port,
    Path,
    TrailingDot,
    /// To be written as `xn--…` (RFC 5891).
    NotAscii,
    /// `*` somewhere else than alone or as the whole first label.
    Wildcard,
    EmptyLabel,
    /// RFC 1035 §2.3.4: 63 octets a label, 253 in all as text.
    TooLong,
    Hyphen,
    Character(char),
    /// The last label is a number, so that browsers read an IPv4 address, but it is none.
    BadIpv4,
    BadIpv6,
    /// `2001:db8::1` without brackets.
    NoBrackets,
}

/// Why an upstream cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadUpstream {
    NoScheme,
    UnknownScheme,
    Path,
    User,
    BadPort,
    Host(BadHost),
    UnixRelative,
    /// `unix://…`
    UnixUrl,
    /// `sun_path` holds 108 octets with the final zero (unix(7)).
    UnixTooLong,
}

/// `[::]:443`, `0.0.0.0:443`, `127.0.0.1:0`, or `:443` for `[::]:443`.
///
/// # Errors
/// What is wrong with the text.
pub fn listen(text: &str) -> Result<SocketAddr, BadListen> {
    if let Some(port) = text.strip_prefix(':')
        && !port.contains(':')
    {
        return Ok(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port_number(port).ok_or(BadListen::BadPort)?)));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    Err(if text.contains("://") {
        BadListen::Url
    } else if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        BadListen::PortAlone
    } else if text.parse::<Ipv4Addr>().is_ok() || (text.starts_with('[') && text.ends_with(']')) {
        BadListen::NoPort
    } else if !text.starts_with('[') && text.bytes().filter(|byte| *byte == b':').count() > 1 {
        BadListen::NoBrackets
    } else {
        match text.rsplit_once(':') {
            Some((host, port)) if bare_address(host) && port_number(port).is_none() => BadListen::BadPort,
            _ => BadListen::NotAnAddress,
        }
    })
}

fn bare_address(host: &str) -> bool {
    host.parse::<Ipv4Addr>().is_ok() || bracketed(host).is_some()
}

fn bracketed(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Digits only: `u16::from_str` would take a plus sign.
fn port_number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// A host of a site: a name, `*.name`, `*`, an IPv4 address or an IPv6 one in brackets. Lowercased.
///
/// # Errors
/// What is wrong with the text.
pub fn host(text: &str) -> Result<HostPattern, BadHost> {
    if text == "*" {
        return Ok(HostPattern::Any);
    }
    if let Some(rest) = text.strip_prefix("*.") {
        return match name(rest)? {
            UpstreamHost::Name(rest) => Ok(HostPattern::Wildcard(rest)),
            UpstreamHost::Address(_) => Err(BadHost::Wildcard),
        };
    }
    Ok(HostPattern::Exact(match name(text)? {
        UpstreamHost::Name(name) => name,
        UpstreamHost::Address(IpAddr::V4(address)) => address.to_string(),
        UpstreamHost::Address(IpAddr::V6(address)) => format!("[{address}]"),
    }))
}

/// A host without wildcards.
fn name(text: &str) -> Result<UpstreamHost, BadHost> {
    if text.is_empty() {
        return Err(BadHost::Empty);
    }
    if text.contains("://") {
        return Err(BadHost::Url);
    }
    if text.contains('/') {
        return Err(BadHost::Path);
    }
    if text.starts_with('[') {
        if let Some(address) = bracketed(text) {
            return Ok(UpstreamHost::Address(IpAddr::V6(address)));
        }
        return Err(if text.contains("]:") { BadHost::Port } else { BadHost::BadIpv6 });
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(BadHost::NoBrackets);
    }
    if text.contains(':') {
        return Err(BadHost::Port);
    }
    if text.contains('*') {
        return Err(BadHost::Wildcard);
    }
    if !text.is_ascii() {
        return Err(BadHost::NotAscii);
    }
    if text.ends_with('.') {
        return Err(BadHost::TrailingDot);
    }
    if text.len() > 253 {
        return Err(BadHost::TooLong);
    }
    for label in text.split('.') {
        if label.is_empty() {
            return Err(BadHost::EmptyLabel);
        }
        if label.len() > 63 {
            return Err(BadHost::TooLong);
        }
        // Underscores are no host names by RFC 952, but they are in use and browsers take them.
        if let Some(bad) = label.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '-' || *c == '_')) {
            return Err(BadHost::Character(bad));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(BadHost::Hyphen);
        }
    }
    let last = text.rsplit('.').next().unwrap_or(text);
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return text
            .parse()
            .map(|address| UpstreamHost::Address(IpAddr::V4(address)))
            .map_err(|_| BadHost::BadIpv4);
    }
    Ok(UpstreamHost::Name(text.to_ascii_lowercase()))
}

/// `http://host[:port]`, `https://host[:port]` or `unix:/path`; for HTTP/2 `h2://`, `h2s://` and `h2+unix:`.
///
/// # Errors
/// What is wrong with the text.
pub fn upstream(text: &str) -> Result<(Upstream, UpstreamProtocol), BadUpstream> {
    let (unix, protocol) = match text.strip_prefix("h2+unix:") {
        Some(path) => (Some(path), UpstreamProtocol::Http2),
        None => (text.strip_prefix("unix:"), UpstreamProtocol::Http1),
    };
    if let Some(path) = unix {
        if path.starts_with("//") {
            return Err(BadUpstream::UnixUrl);
        }
        if !path.starts_with('/') {
            return Err(BadUpstream::UnixRelative);
        }
        if path.len() > 107 || path.contains('\0') {
            return Err(BadUpstream::UnixTooLong);
        }
        return Ok((Upstream::Unix { path: PathBuf::from(path) }, protocol));
    }
    let (scheme, authority) = text.split_once("://").ok_or(BadUpstream::NoScheme)?;
    let (tls, protocol) = match scheme {
        "http" => (false, UpstreamProtocol::Http1),
        "https" => (true, UpstreamProtocol::Http1),
        "h2" => (false, UpstreamProtocol::Http2),
        "h2s" => (true, UpstreamProtocol::Http2),
        _ => return Err(BadUpstream::UnknownScheme),
    };
    if authority.contains(['/', '?', '#']) {
        return Err(BadUpstream::Path);
    }
    if authority.contains('@') {
        return Err(BadUpstream::User);
    }
    // A colon inside brackets is no port.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            (host, port_number(port).filter(|port| *port != 0).ok_or(BadUpstream::BadPort)?)
        }
        _ => (authority, if tls { 443 } else { 80 }),
    };
    let host = name(host).map_err(BadUpstream::Host)?;
    Ok((if tls { Upstream::Tls { host, port } } else { Upstream::Tcp { host, port } }, protocol))
}

/// As [`upstream`], with a path: `http://host[:port][/path]`, `unix:/path/of/socket[:/path]`.
///
/// # Errors
/// What is wrong with the text.
pub fn source_url(text: &str) -> Result<SourceUrl, BadUpstream> {
    let (server, target) = if let Some(path) = text.strip_prefix("unix:") {
        path.split_once(":/").map_or((text, ""), |(socket, _)| text.split_at("unix:".len() + socket.len()))
    } else {
        let authority = text.find("://").map_or(0, |at| at + 3);
        let end = text[authority..].find(['/', '?', '#']).map_or(text.len(), |at| authority + at);
        text.split_at(end)
    };
    let target = target.strip_prefix(':').unwrap_or(target);
    if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(BadUpstream::Path);
    }
    let authority = server.split_once("://").map_or("localhost", |(_, authority)| authority).to_owned();
    let (server, UpstreamProtocol::Http1) = upstream(server)? else {
        return Err(BadUpstream::UnknownScheme);
    };
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    Ok(SourceUrl { server, authority, target })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_to_listen_on() {
        let cases: &[(&str, Result<&str, BadListen>)] = &[
            ("[::]:443", Ok("[::]:443")),
            (":443", Ok("[::]:443")),
            ("0.0.0.0:80", Ok("0.0.0.0:80")),
            ("127.0.0.1:0", Ok("127.0.0.1:0")),
            ("[2001:db8::1]:8443", Ok("[2001:db8::1]:8443")),
            ("443", Err(BadListen::PortAlone)),
            ("0.0.0.0", Err(BadListen::NoPort)),
            ("[::]", Err(BadListen::NoPort)),
            ("::1:443", Err(BadListen::NoBrackets)),
            ("localhost:443", Err(BadListen::NotAnAddress)),
            ("*:443", Err(BadListen::NotAnAddress)),
            ("", Err(BadListen::NotAnAddress)),
            (":", Err(BadListen::BadPort)),
            (":65536", Err(BadListen::BadPort)),
            (":+1", Err(BadListen::BadPort)),
            ("127.0.0.1:99999", Err(BadListen::BadPort)),
            ("[::1]:https", Err(BadListen::BadPort)),
            ("https://[::]:443", Err(BadListen::Url)),
        ];
        for (text, expected) in cases {
            assert_eq!(
                listen(text),
                expected.map(|address| address.parse().expect("a test address")),
                "{text:?}"
            );
        }
    }

    #[test]
    fn reads_hosts() {
        let exact = |name: &str| Ok(HostPattern::Exact(name.to_owned()));
        let long = "a".repeat(64);
        let cases: &[(&str, Result<HostPattern, BadHost>)] = &[
            ("example.com", exact("example.com")),
            ("Example.COM", exact("example.com")),
            ("localhost", exact("localhost")),
            ("a_b.example", exact("a_b.example")),
            ("192.0.2.1", exact("192.0.2.1")),
            ("[2001:DB8:0::1]", exact("[2001:db8::1]")),
            ("*", Ok(HostPattern::Any)),
            ("*.Shop.example", Ok(HostPattern::Wildcard("shop.example".to_owned()))),
            ("", Err(BadHost::Empty)),
            ("*.", Err(BadHost::Empty)),
            ("*.*.example", Err(BadHost::Wildcard)),
            ("www.*.example", Err(BadHost::Wildcard)),
            ("*example.com", Err(BadHost::Wildcard)),
            ("*.192.0.2.1", Err(BadHost::Wildcard)),
            ("https://example.com", Err(BadHost::Url)),
            ("example.com:443", Err(BadHost::Port)),
            ("[::1]:443", Err(BadHost::Port)),
            ("example.com/", Err(BadHost::Path)),
            ("example.com.", Err(BadHost::TrailingDot)),
            ("exämple.com", Err(BadHost::NotAscii)),
            ("a..b", Err(BadHost::EmptyLabel)),
            (".example.com", Err(BadHost::EmptyLabel)),
            ("-a.example", Err(BadHost::Hyphen)),
            ("a b.example", Err(BadHost::Character(' '))),
            ("1.2.3", Err(BadHost::BadIpv4)),
            ("300.1.1.1", Err(BadHost::BadIpv4)),
            ("::1", Err(BadHost::NoBrackets)),
            ("[::g]", Err(BadHost::BadIpv6)),
            (&long, Err(BadHost::TooLong)),
        ];
        for (text, expected) in cases {
            assert_eq!(host(text), *expected, "{text:?}");
        }
    }

    #[test]
    fn reads_upstreams() {
        let name = |name: &str| UpstreamHost::Name(name.to_owned());
        let local = UpstreamHost::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let six = UpstreamHost::Address(IpAddr::V6(Ipv6Addr::LOCALHOST));
        let cases: &[(&str, Result<Upstream, BadUpstream>)] = &[
            ("http://127.0.0.1:8000", Ok(Upstream::Tcp { host: local.clone(), port: 8000 })),
            ("http://[::1]:8000", Ok(Upstream::Tcp { host: six.clone(), port: 8000 })),
            ("http://[::1]", Ok(Upstream::Tcp { host: six, port: 80 })),
            ("http://App.internal", Ok(Upstream::Tcp { host: name("app.internal"), port: 80 })),
            ("https://app.internal", Ok(Upstream::Tls { host: name("app.internal"), port: 443 })),
            ("unix:/run/x.sock", Ok(Upstream::Unix { path: PathBuf::from("/run/x.sock") })),
            ("127.0.0.1:8000", Err(BadUpstream::NoScheme)),
            ("ftp://a", Err(BadUpstream::UnknownScheme)),
            ("http://a/", Err(BadUpstream::Path)),
            ("http://a?b", Err(BadUpstream::Path)),
            ("http://u:p@a", Err(BadUpstream::User)),
            ("http://a:0", Err(BadUpstream::BadPort)),
            ("http://a:b", Err(BadUpstream::BadPort)),
            ("http://a:", Err(BadUpstream::BadPort)),
            ("http://", Err(BadUpstream::Host(BadHost::Empty))),
            ("http://:80", Err(BadUpstream::Host(BadHost::Empty))),
            ("unix:run/x.sock", Err(BadUpstream::UnixRelative)),
            ("unix:///run/x.sock", Err(BadUpstream::UnixUrl)),
        ];
        for (text, expected) in cases {
            let expected = expected.clone().map(|upstream| (upstream, UpstreamProtocol::Http1));
            assert_eq!(upstream(text), expected, "{text:?}");
        }
        let cases: &[(&str, Upstream)] = &[
            ("h2://app.internal", Upstream::Tcp { host: name("app.internal"), port: 80 }),
            ("h2://127.0.0.1:50051", Upstream::Tcp { host: local.clone(), port: 50051 }),
            ("h2s://app.internal", Upstream::Tls { host: name("app.internal"), port: 443 }),
            ("h2+unix:/run/x.sock", Upstream::Unix { path: PathBuf::from("/run/x.sock") }),
        ];
        for (text, expected) in cases {
            assert_eq!(upstream(text), Ok((expected.clone(), UpstreamProtocol::Http2)), "{text:?}");
        }
        assert_eq!(upstream("h2+unix:run"), Err(BadUpstream::UnixRelative));
        assert_eq!(upstream("h2c://a"), Err(BadUpstream::UnknownScheme));
        assert_eq!(upstream(&format!("unix:/{}", "a".repeat(107))), Err(BadUpstream::UnixTooLong));
        drop(local);
    }
}
