//! The head of a request as the site server gets it: written anew from what was parsed.

use super::request::RequestHead;
use crate::http::cookies::{Judge, write_cookie};
use crate::http::field::{FieldSink as _, is_plain_name};
use crate::http::forwarded::Inbound;
use crate::http::{BodyEnd, FieldName, Forwarded};

/// What the head of a request cannot say itself.
#[derive(Clone, Copy)]
pub struct Outbound<'a> {
    /// The target in origin-form, as received or normalized; a missing leading `/` is put there.
    pub target: &'a [u8],
    /// The value of `Host`: most often the request's own authority. Empty is written as such (RFC 9112 §3.2).
    pub host: &'a [u8],
    pub forwarded: &'a Forwarded<'a>,
    /// How the body goes to the site server; [`BodyEnd::Close`] has no meaning in a request and is left out.
    pub body: BodyEnd,
    /// Pass the upgrade on that the request asks for.
    pub tunnel: bool,
    /// Let the site server answer 100 (Continue) itself: the body is not in hand yet.
    pub expect_continue: bool,
    /// Fields of ours, such as a verified client identity. Inbound fields of these names go; an empty value only
    /// takes them away.
    pub set: &'a [(&'a [u8], &'a [u8])],
    /// Opens, changes or drops cookies; `None` passes them on.
    pub cookies: Option<&'a Judge<'a>>,
}

impl<'a> Outbound<'a> {
    /// The plain case: target, host and body as received, no upgrade.
    pub fn new(head: &RequestHead<'_, 'a>, forwarded: &'a Forwarded<'a>) -> Self {
        Self {
            target: head.path_and_query(),
            host: head.authority(),
            forwarded,
            body: head.body,
            tunnel: false,
            expect_continue: head.expects_continue,
            set: &[],
            cookies: None,
        }
    }
}

/// Appends the whole head, up to and with the empty line.
///
/// Always HTTP/1.1, where an absent `Connection` means keep-alive. Dropped: hop-by-hop fields and what `Connection`
/// nominates, names that are not letters, digits and `-`, and, unless the peer is trusted, what front ends say.
pub fn write_request(out: &mut Vec<u8>, head: &RequestHead<'_, '_>, outbound: &Outbound<'_>) {
    out.reserve(head.head_bytes + 512);
    out.extend_from_slice(head.method.as_bytes());
    out.push(b' ');
    if !outbound.target.starts_with(b"/") && outbound.target != b"*" {
        out.push(b'/');
    }
    out.extend_from_slice(outbound.target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    out.field(b"Host", outbound.host);

    let mut inbound = Inbound::default();
    let mut cookies_written = false;
    for (at, header) in head.headers().iter().enumerate() {
        let name = header.name.as_bytes();
        if outbound.set.iter().any(|(set, _)| set.eq_ignore_ascii_case(name)) {
            continue;
        }
        let known = FieldName::of(name);
        match known {
            FieldName::Other => {
                let passes =
                    (head.ambiguous_names == 0 || is_plain_name(name)) && !head.connection.nominates(name);
                if passes {
                    out.field(name, header.value);
                }
            }
            FieldName::Cookie if cookies_written => {}
            FieldName::Cookie => {
                cookies_written = true;
                let rest = head.headers().get(at..).unwrap_or(&[]).iter();
                let mut values = rest
                    .filter(|header| FieldName::of(header.name.as_bytes()) == FieldName::Cookie)
                    .map(|header| header.value);
                out.field_with(name, &mut |out| write_cookie(out, &mut values, outbound.cookies));
            }
            FieldName::FrontEnd if outbound.forwarded.trusted.is_some() => out.field(name, header.value),
            // A list of what the trailers hold means something only while there are chunks to carry them.
            FieldName::Trailer if outbound.body == BodyEnd::Chunked && !head.connection.nominates(name) => {
                out.field(name, header.value);
            }
            // Odd in a request, and harmless.
            FieldName::ContentLocation
            | FieldName::Date
            | FieldName::Location
            | FieldName::SetCookie
            | FieldName::StrictTransportSecurity => out.field(name, header.value),
            FieldName::Via
            | FieldName::Forwarded
            | FieldName::ForwardedFor
            | FieldName::ForwardedHost
            | FieldName::ForwardedPort
            | FieldName::ForwardedProto
            | FieldName::RequestId => inbound.note(known, header.value),
            FieldName::Connection
            | FieldName::ContentLength
            | FieldName::Expect
            | FieldName::FrontEnd
            | FieldName::Host
            | FieldName::Http2Settings
            | FieldName::KeepAlive
            | FieldName::Proxy
            | FieldName::Te
            | FieldName::Trailer
            | FieldName::TransferEncoding
            | FieldName::Upgrade => {}
        }
    }

    outbound.forwarded.write(out, &inbound, head.headers(), head.version);
    for (name, value) in outbound.set {
        if !value.is_empty() {
            out.field(name, value);
        }
    }
    write_framing(out, outbound.body);
    if outbound.expect_continue && !outbound.body.is_empty() {
        out.extend_from_slice(b"Expect: 100-continue\r\n");
    }
    let upgrade = head.upgrade.filter(|_| outbound.tunnel);
    match (upgrade.is_some(), head.accepts_trailers) {
        (true, true) => out.extend_from_slice(b"Connection: upgrade, TE\r\n"),
        (true, false) => out.extend_from_slice(b"Connection: upgrade\r\n"),
        (false, true) => out.extend_from_slice(b"Connection: TE\r\n"),
        (false, false) => {}
    }
    if let Some(upgrade) = upgrade {
        out.field(b"Upgrade", upgrade);
    }
    if head.accepts_trailers {
        out.extend_from_slice(b"TE: trailers\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// The field that says where the body ends; nothing for bodies that need none.
pub(super) fn write_framing(out: &mut Vec<u8>, body: BodyEnd) {
    match body {
        BodyEnd::Length(length) => {
            out.field(b"Content-Length", itoa::Buffer::new().format(length).as_bytes())
        }
        BodyEnd::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        BodyEnd::None | BodyEnd::Close => {}
    }
}

#[cfg(test)]
#[path = "write_request_tests.rs"]
mod tests;
