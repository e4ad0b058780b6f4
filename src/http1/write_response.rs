//! The head of a response as the client gets it: written anew from what was parsed.

use super::response::ResponseHead;
use super::write_request::write_framing;
use crate::http::cookies::{Judge, write_set_cookie};
use crate::http::field::FieldSink;
use crate::http::location::Rewrite;
use crate::http::status::words;
use crate::http::{BodyEnd, FieldName, Reuse, Scheme, Version};

/// What the head of a response cannot say itself.
#[derive(Clone, Copy)]
pub struct Reply<'a> {
    /// The version of the request; HTTP/1.0 clients never get 1xx, which is the caller's to keep.
    pub client: Version,
    /// Whether the client's connection lives on; a body that ends with it says `close` in any case.
    pub reuse: Reuse,
    /// How the body goes to the client: [`BodyEnd::relayed_to`].
    pub body: BodyEnd,
    /// For `Date`, which is added when missing (RFC 9110 §6.6.1).
    pub date: &'a [u8],
    /// How the visitor came: over HTTP no `Strict-Transport-Security` leaves (RFC 6797 §7.2).
    pub scheme: Scheme,
    /// The site's own `Strict-Transport-Security` on HTTPS; it replaces the upstream's.
    pub hsts: Option<&'a [u8]>,
    /// Names whose `Set-Cookie` gains `Secure`; empty: none.
    pub session_cookies: &'a [String],
    /// Seals session cookies; `None` leaves their values.
    pub cookies: Option<&'a Judge<'a>>,
    /// Mends `Location` and `Content-Location`; `None` leaves them.
    pub location: Option<&'a Rewrite<'a>>,
}

impl<'a> Reply<'a> {
    /// The plain case: nothing added but `Date`.
    pub fn new(head: &ResponseHead<'_, '_>, client: Version, reuse: Reuse, date: &'a [u8]) -> Self {
        Self {
            client,
            reuse,
            body: head.body.relayed_to(client),
            date,
            scheme: Scheme::Https,
            hsts: None,
            session_cookies: &[],
            cookies: None,
            location: None,
        }
    }
}

/// Appends the whole head, up to and with the empty line; of interim responses and 101, too.
///
/// The status line says HTTP/1.1 to every client (RFC 9112 §2.3: the version we speak, not the one we were asked in).
/// `Via` of the upstream stays and ours is not added: a gateway may leave it out of responses (RFC 9110 §7.6.3), and
/// some caches and servers withhold compression from what came through one.
pub fn write_response(out: &mut Vec<u8>, head: &ResponseHead<'_, '_>, reply: &Reply<'_>) {
    out.reserve(head.head_bytes + 256);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(head.status).as_bytes());
    out.push(b' ');
    let phrase = if head.reason_phrase.is_empty() { words(head.status).0 } else { head.reason_phrase };
    out.extend_from_slice(phrase.as_bytes());
    out.extend_from_slice(b"\r\n");

    each_response_field(out, head, reply);

    let switches = head.upgrade.is_some();
    if !head.is_interim && !switches {
        if let Some(length) = bodiless_length(head, reply.body) {
            out.field(b"Content-Length", itoa::Buffer::new().format(length).as_bytes());
        } else {
            write_framing(out, reply.body);
        }
    }
    // 426 names what to upgrade to (RFC 9110 §15.5.22); elsewhere an offer would be ours to keep.
    let upgrade = head.upgrade.or_else(|| if head.status == 426 { head.field("Upgrade") } else { None });
    if let Some(upgrade) = upgrade {
        out.field(b"Upgrade", upgrade);
    }
    let closes = reply.reuse == Reuse::Close || reply.body == BodyEnd::Close;
    match (upgrade.is_some(), closes) {
        _ if head.is_interim => {}
        (true, false) => out.extend_from_slice(b"Connection: upgrade\r\n"),
        (true, true) if switches => out.extend_from_slice(b"Connection: upgrade\r\n"),
        (true, true) => out.extend_from_slice(b"Connection: upgrade, close\r\n"),
        (false, true) => out.extend_from_slice(b"Connection: close\r\n"),
        (false, false) if reply.client == Version::Http10 => {
            out.extend_from_slice(b"Connection: keep-alive\r\n")
        }
        (false, false) => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// The length to declare for a response that ends with its head: the upstream's for HEAD and 304, 0 where every
/// client would wait for a body otherwise.
fn bodiless_length(head: &ResponseHead<'_, '_>, body: BodyEnd) -> Option<u64> {
    match (body, head.status) {
        (BodyEnd::None, 204) => None,
        (BodyEnd::None, 304) => head.declared_length,
        (BodyEnd::None, _) if head.body == BodyEnd::None => head.declared_length,
        (BodyEnd::None, _) => Some(0),
        _ => None,
    }
}

/// The length to declare to a client whose framing does not need it; `body`: how the body goes to it.
pub fn declared_length(head: &ResponseHead<'_, '_>, body: BodyEnd) -> Option<u64> {
    match body {
        _ if head.is_interim || head.upgrade.is_some() => None,
        BodyEnd::Length(length) => Some(length),
        _ => bodiless_length(head, body),
    }
}

/// Gives `sink` the fields a client gets, framing and connection fields left out: all there is to do for HTTP/2.
pub fn each_response_field<S: FieldSink>(sink: &mut S, head: &ResponseHead<'_, '_>, reply: &Reply<'_>) {
    let hsts = reply.hsts.filter(|_| reply.scheme == Scheme::Https);
    let mut dated = false;
    for header in head.headers() {
        let name = header.name.as_bytes();
        let value = header.value;
        match FieldName::of(name) {
            FieldName::Other => {
                if !head.connection.nominates(name) {
                    sink.field(name, value);
                }
            }
            FieldName::Date => {
                // One date is enough, and clients differ on which of two counts.
                if !dated {
                    sink.field(name, value);
                }
                dated = true;
            }
            FieldName::SetCookie if !reply.session_cookies.is_empty() => {
                sink.field_with(name, &mut |out| {
                    write_set_cookie(out, value, reply.session_cookies, reply.cookies)
                });
            }
            FieldName::Location | FieldName::ContentLocation => match reply.location {
                Some(rewrite) => sink.field_with(name, &mut |out| {
                    if !rewrite(value, out) {
                        out.extend_from_slice(value);
                    }
                    true
                }),
                None => sink.field(name, value),
            },
            FieldName::StrictTransportSecurity => {
                if reply.scheme == Scheme::Https && hsts.is_none() {
                    sink.field(name, value);
                }
            }
            FieldName::Trailer if reply.body != BodyEnd::Chunked || head.connection.nominates(name) => {}
            FieldName::Connection
            | FieldName::ContentLength
            | FieldName::Http2Settings
            | FieldName::KeepAlive
            | FieldName::Proxy
            | FieldName::Te
            | FieldName::TransferEncoding
            | FieldName::Upgrade => {}
            FieldName::Cookie
            | FieldName::Expect
            | FieldName::Forwarded
            | FieldName::ForwardedFor
            | FieldName::ForwardedHost
            | FieldName::ForwardedPort
            | FieldName::ForwardedProto
            | FieldName::FrontEnd
            | FieldName::Host
            | FieldName::RequestId
            | FieldName::SetCookie
            | FieldName::Trailer
            | FieldName::Via => sink.field(name, value),
        }
    }
    if head.is_interim || head.upgrade.is_some() {
        return;
    }
    if !dated {
        sink.field(b"Date", reply.date);
    }
    if let Some(hsts) = hsts {
        sink.field(b"Strict-Transport-Security", hsts);
    }
}

#[cfg(test)]
#[path = "write_response_tests.rs"]
mod tests;
