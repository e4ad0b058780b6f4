//! Heads between the form they have here, lines of HTTP/1.1, and that of HTTP/2 (RFC 9113 §8.3).

use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, Response, Uri};

use crate::http::field::FieldSink as _;
use crate::http::{BodyEnd, FieldName, Scheme};
use crate::http1::{MapSink, field_lines};
use crate::net::Buffer;

/// A request that was rebuilt for a site server, and what of its bytes is its head.
pub(super) struct Head {
    pub(super) request: Request<()>,
    pub(super) body: BodyEnd,
    /// It asks for another protocol, which this version has no word for.
    pub(super) upgrades: bool,
    pub(super) head_bytes: usize,
}

/// Reads what `http1::write_request` has written; `None` when there is no whole head, or nothing that HTTP/2 has a place
/// for. `scheme`: the one the site server is spoken to with.
pub(super) fn read_request(bytes: &[u8], scheme: Scheme) -> Option<Head> {
    let head_bytes = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let line_bytes = memchr::memchr(b'\r', bytes)?;
    let mut line = bytes[..line_bytes].split(|&byte| byte == b' ');
    let method = Method::from_bytes(line.next()?).ok()?;
    let target = path_of(line.next()?)?;
    let mut fields = MapSink::default();
    let mut authority = None;
    let mut body = BodyEnd::None;
    let mut upgrades = false;
    for (name, value) in field_lines(&bytes[line_bytes + 2..head_bytes - 2]) {
        match FieldName::of(name) {
            FieldName::Host => authority = Some(value),
            FieldName::TransferEncoding => body = BodyEnd::Chunked,
            FieldName::ContentLength => {
                body = BodyEnd::Length(std::str::from_utf8(value).ok()?.parse().ok()?);
                fields.field(name, value);
            }
            FieldName::Upgrade => upgrades = true,
            FieldName::Connection | FieldName::KeepAlive | FieldName::Http2Settings => {}
            _ => fields.field(name, value),
        }
    }
    let mut uri = http::uri::Parts::default();
    uri.path_and_query = Some(target);
    match authority.map(Authority::try_from) {
        Some(Ok(authority)) => {
            uri.authority = Some(authority);
            uri.scheme = Some(match scheme {
                Scheme::Http => http::uri::Scheme::HTTP,
                Scheme::Https => http::uri::Scheme::HTTPS,
            });
        }
        // No name, or one that only a field can hold.
        _ => fields.field(b"host", authority.filter(|name| !name.is_empty())?),
    }
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from_parts(uri).ok()?;
    *request.headers_mut() = fields.0;
    Some(Head { request, body, upgrades, head_bytes })
}

/// A target as `:path`. Octets that no URI has are escaped: HTTP/1.1 lets them pass.
fn path_of(target: &[u8]) -> Option<PathAndQuery> {
    if let Ok(path) = PathAndQuery::try_from(target) {
        return Some(path);
    }
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut escaped = Vec::with_capacity(target.len() + 32);
    for &byte in target {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%[]|^\\".contains(&byte) {
            escaped.push(byte);
        } else {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            escaped.extend_from_slice(&[b'%', DIGITS[high], DIGITS[low]]);
        }
    }
    PathAndQuery::try_from(escaped.as_slice()).ok()
}

/// Appends a response head as lines of HTTP/1.1. Its body ends where the stream does.
pub(super) fn write_response(head: &Response<()>, out: &mut Buffer) {
    out.append(b"HTTP/1.1 ");
    out.append(head.status().as_str().as_bytes());
    out.append(b" \r\n");
    for (name, value) in head.headers() {
        out.append(name.as_str().as_bytes());
        out.append(b": ");
        out.append(value.as_bytes());
        out.append(b"\r\n");
    }
    out.append(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Limits;
    use crate::http1::{RequestKind, header_slots, parse_response};

    fn read(text: &str) -> Head {
        read_request(text.as_bytes(), Scheme::Https).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn a_rebuilt_request_becomes_pseudo_fields_and_fields() {
        let head = read(
            "POST /a.B/C?x=1 HTTP/1.1\r\nHost: a.test:8443\r\nContent-Type: application/grpc\r\n\
             Transfer-Encoding: chunked\r\nConnection: TE\r\nTE: trailers\r\n\r\n5\r\n",
        );
        let request = &head.request;
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "https://a.test:8443/a.B/C?x=1");
        assert_eq!(head.body, BodyEnd::Chunked);
        assert!(!head.upgrades);
        let names: Vec<&str> = request.headers().keys().map(|name| name.as_str()).collect();
        assert_eq!(names, ["content-type", "te"]);
    }

    #[test]
    fn lengths_upgrades_and_odd_targets() {
        let head = read("PUT * HTTP/1.1\r\nHost: a\r\nContent-Length: 17\r\n\r\n");
        assert_eq!(
            (head.body, head.request.headers()["content-length"].as_bytes()),
            (BodyEnd::Length(17), &b"17"[..])
        );
        assert!(
            read("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").upgrades
        );
        let odd = read("GET /a<b>\"`{}\\^|%41?q=\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n");
        let path = odd.request.uri().path_and_query().unwrap().as_str();
        assert!(PathAndQuery::try_from(path).is_ok(), "{path}");
        assert!(path.contains("%41") && path.starts_with("/a"), "{path}");
        assert!(read_request(b"GET / HTTP/1.1\r\nHost: a\r\n", Scheme::Http).is_none());
    }

    #[test]
    fn a_name_that_no_uri_has_stays_a_field() {
        let head = read("GET / HTTP/1.1\r\nHost: a^b\r\n\r\n");
        assert_eq!(head.request.headers()["host"], "a^b");
        assert!(head.request.uri().authority().is_none());
    }

    #[test]
    fn a_response_is_read_like_any_other() {
        let head =
            Response::builder().status(203).header("grpc-status", "5").header("x", "a\tb").body(()).unwrap();
        let mut bytes = Buffer::default();
        write_response(&head, &mut bytes);
        let mut slots = header_slots();
        let parsed = parse_response(bytes.filled(), &mut slots, RequestKind::default(), &Limits::default());
        let parsed = parsed.unwrap().unwrap();
        assert_eq!((parsed.status, parsed.body), (203, BodyEnd::Close));
        assert_eq!(parsed.field("grpc-status"), Some(&b"5"[..]));
    }
}
