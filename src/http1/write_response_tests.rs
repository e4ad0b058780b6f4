//! What goes down to a client.

use super::super::request::header_slots;
use super::super::response::{RequestKind, parse_response};
use super::*;
use crate::http::Limits;

const DATE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";

fn write_for<'a>(
    text: &str,
    request: RequestKind,
    client: Version,
    change: impl FnOnce(&mut Reply<'a>),
) -> String {
    let mut slots = header_slots();
    let head = parse_response(text.as_bytes(), &mut slots, request, &Limits::default()).unwrap().unwrap();
    let mut reply = Reply::new(&head, client, Reuse::Keep, DATE);
    change(&mut reply);
    let mut out = Vec::new();
    write_response(&mut out, &head, &reply);
    String::from_utf8(out).unwrap()
}

fn write<'a>(text: &str, change: impl FnOnce(&mut Reply<'a>)) -> String {
    write_for(text, RequestKind::default(), Version::Http11, change)
}

#[test]
fn a_response_is_rebuilt_without_its_hop() {
    let text = "HTTP/1.1 404 Gone fishing\r\nServer: x\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
        Proxy-Authenticate: Basic\r\nUpgrade: h2,h2c\r\nContent-Length: 005\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nVia: 1.1 x\r\n\r\n";
    assert_eq!(
        write(text, |_| {}),
        "HTTP/1.1 404 Gone fishing\r\nServer: x\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nVia: 1.1 x\r\n\
         Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 5\r\n\r\n"
    );
}

#[test]
fn framing_and_connection_fit_the_client() {
    let chunked = "HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n";
    let close = "HTTP/1.1 200 OK\r\nDate: d\r\n\r\n";
    let length = "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 5\r\n\r\n";
    for (text, client, reuse, expected) in [
        (
            chunked,
            Version::Http11,
            Reuse::Keep,
            "Date: d\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (chunked, Version::Http10, Reuse::Keep, "Date: d\r\nConnection: close\r\n\r\n"),
        (close, Version::Http11, Reuse::Keep, "Date: d\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (
            close,
            Version::Http11,
            Reuse::Close,
            "Date: d\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        ),
        (close, Version::Http10, Reuse::Keep, "Date: d\r\nConnection: close\r\n\r\n"),
        (length, Version::Http11, Reuse::Keep, "Date: d\r\nContent-Length: 5\r\n\r\n"),
        (
            length,
            Version::Http10,
            Reuse::Keep,
            "Date: d\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
        ),
        (length, Version::Http10, Reuse::Close, "Date: d\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"),
    ] {
        let written = write_for(text, RequestKind::default(), client, |reply| reply.reuse = reuse);
        assert_eq!(written, format!("HTTP/1.1 200 OK\r\n{expected}"), "{text:?} {client:?} {reuse:?}");
    }
}

#[test]
fn responses_without_a_body_say_so() {
    let head = RequestKind { head: true, upgrade: false };
    let get = RequestKind::default();
    for (text, request, expected) in [
        (
            "HTTP/1.1 200 \r\nDate: d\r\nContent-Length: 5\r\n\r\n",
            head,
            "200 OK\r\nDate: d\r\nContent-Length: 5\r\n\r\n",
        ),
        ("HTTP/1.1 200 \r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n", head, "200 OK\r\nDate: d\r\n\r\n"),
        (
            "HTTP/1.1 304 Not Modified\r\nDate: d\r\nContent-Length: 5\r\n\r\n",
            get,
            "304 Not Modified\r\nDate: d\r\nContent-Length: 5\r\n\r\n",
        ),
        (
            "HTTP/1.1 204 No Content\r\nDate: d\r\nContent-Length: 5\r\n\r\n",
            get,
            "204 No Content\r\nDate: d\r\n\r\n",
        ),
    ] {
        assert_eq!(
            write_for(text, request, Version::Http11, |_| {}),
            format!("HTTP/1.1 {expected}"),
            "{text:?}"
        );
    }
    let cut =
        write("HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 5\r\n\r\n", |reply| reply.body = BodyEnd::None);
    assert!(cut.ends_with("Content-Length: 0\r\n\r\n"), "{cut}");
}

#[test]
fn interim_responses_and_switches_carry_nothing_of_ours() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    assert_eq!(write(hints, |reply| reply.hsts = Some(b"max-age=1")), hints);
    let upgrade = RequestKind { head: false, upgrade: true };
    let switch = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    assert_eq!(
        write_for(switch, upgrade, Version::Http11, |reply| reply.reuse = Reuse::Close),
        "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
    );
    let required = "HTTP/1.1 426 Upgrade Required\r\nDate: d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n";
    assert!(
        write(required, |_| {})
            .ends_with("Content-Length: 0\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
    );
}

#[test]
fn session_cookies_gain_secure() {
    let names = ["z_sid".to_owned()];
    let text = "HTTP/1.1 200 OK\r\nDate: d\r\nset-cookie: z_sid=1; Path=/\r\nSet-Cookie: a=b\r\nSet-Cookie: z_sid=2;secure\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(
        write(text, |reply| reply.session_cookies = &names),
        "HTTP/1.1 200 OK\r\nDate: d\r\nset-cookie: z_sid=1; Path=/; Secure\r\nSet-Cookie: a=b\r\nSet-Cookie: z_sid=2;secure\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn hsts_is_ours_on_https_and_nobodys_on_http() {
    let text =
        "HTTP/1.1 200 OK\r\nDate: d\r\nStrict-Transport-Security: max-age=5\r\nContent-Length: 0\r\n\r\n";
    let lines = |change: &dyn Fn(&mut Reply<'_>)| {
        let written = write(text, |reply| change(reply));
        written.lines().filter(|line| line.starts_with("Strict")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(&|_| {}), ["Strict-Transport-Security: max-age=5"]);
    assert_eq!(lines(&|reply| reply.hsts = Some(b"max-age=9")), ["Strict-Transport-Security: max-age=9"]);
    let none: [&str; 0] = [];
    assert_eq!(lines(&|reply| reply.scheme = Scheme::Http), none);
    assert_eq!(
        lines(&|reply| {
            reply.scheme = Scheme::Http;
            reply.hsts = Some(b"max-age=9");
        }),
        none
    );
}

#[test]
fn locations_are_mended_where_told() {
    let rewrite = |location: &[u8], out: &mut Vec<u8>| {
        let inside = location.strip_prefix(b"http://127.0.0.1:8000");
        inside.inspect(|rest| out.extend_from_slice(&[b"https://example.com", *rest].concat())).is_some()
    };
    let text = "HTTP/1.1 302 Found\r\nDate: d\r\nLocation: http://127.0.0.1:8000/a\r\nContent-Location: /b\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(
        write(text, |reply| reply.location = Some(&rewrite)),
        "HTTP/1.1 302 Found\r\nDate: d\r\nLocation: https://example.com/a\r\nContent-Location: /b\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn http2_gets_fields_without_framing() {
    let text = b"HTTP/1.1 200 OK\r\nA: b\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut slots = header_slots();
    let head = parse_response(text, &mut slots, RequestKind::default(), &Limits::default()).unwrap().unwrap();
    let mut out = Vec::new();
    each_response_field(&mut out, &head, &Reply::new(&head, Version::Http2, Reuse::Keep, DATE));
    assert_eq!(out, b"A: b\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
}
