//! What goes up to a site server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::super::http2_request::request_from_http2;
use super::super::request::{header_slots, parse_request};
use super::*;
use crate::http::cookies::Verdict;
use crate::http::{Header, Hop, Limits, Scheme};

static STRANGER: Forwarded<'static> = Forwarded {
    client: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), 50000),
    scheme: Scheme::Https,
    host: b"example.com",
    port: 443,
    request_id: b"r-1",
    trusted: None,
};
static TRUSTED: Forwarded<'static> =
    Forwarded { trusted: Some(Hop { scheme: Scheme::Https, host: b"example.com" }), ..STRANGER };

const FAMILY: &str = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: example.com\r\n\
    X-Forwarded-Port: 443\r\nForwarded: for=192.0.2.7;host=example.com;proto=https\r\nX-Request-Id: r-1\r\n\
    Via: 1.1 portcullis\r\n";

fn write<'a>(text: &'a str, trusted: bool, change: impl FnOnce(&mut Outbound<'a>)) -> String {
    let mut slots = header_slots();
    let head = parse_request(text.as_bytes(), &mut slots, &Limits::default()).unwrap().unwrap();
    let mut outbound = Outbound::new(&head, if trusted { &TRUSTED } else { &STRANGER });
    change(&mut outbound);
    let mut out = Vec::new();
    write_request(&mut out, &head, &outbound);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_request_is_rebuilt_with_what_we_know() {
    let text = "GET /a?b HTTP/1.1\r\nUser-Agent: x\r\nHOST: example.com\r\nAccept:\t*/*  \r\nConnection: keep-alive\r\n\r\n";
    assert_eq!(
        write(text, false, |_| {}),
        format!("GET /a?b HTTP/1.1\r\nHost: example.com\r\nUser-Agent: x\r\nAccept: */*\r\n{FAMILY}\r\n")
    );
}

#[test]
fn hop_by_hop_fields_end_here() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nx-hop: 2\r\nKeep-Alive: 3\r\n\
        Proxy-Connection: 4\r\nProxy-Authorization: 5\r\nProxy: 6\r\nUpgrade: websocket\r\nTE: gzip\r\nTrailer: X\r\n\
        HTTP2-Settings: 7\r\nX-Hops: stays\r\n\r\n";
    assert_eq!(
        write(text, false, |_| {}),
        format!("GET / HTTP/1.1\r\nHost: a\r\nX-Hops: stays\r\n{FAMILY}\r\n")
    );
}

#[test]
fn fields_that_could_pass_for_ours_end_here() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: 1\r\nX-Forwarded_For: 1\r\nX.Forwarded.For: 1\r\n\
        X-Forwarded-For: 2\r\nX-Forwarded-Ssl: on\r\nX-Real-IP: 3\r\nX-Original-URL: /admin\r\nForwarded: for=4\r\n\
        X-Request-ID: 5\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n\
        Content_Length: 5\r\nX-Ok: 6\r\n\r\n";
    assert_eq!(write(text, false, |_| {}), format!("GET / HTTP/1.1\r\nHost: a\r\nX-Ok: 6\r\n{FAMILY}\r\n"));
    let trusted = write(text, true, |_| {});
    for line in [
        "X-Forwarded-For: 2, 192.0.2.7\r\n",
        "X-Forwarded-Ssl: on\r\n",
        "X-Real-IP: 3\r\n",
        "X-Forwarded-Host: example.com\r\n",
    ] {
        assert!(trusted.contains(line), "{line}: {trusted}");
    }
    assert!(!trusted.contains('_'), "{trusted}");
}

#[test]
fn bodies_are_framed_as_told() {
    let text = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nExpect: 100-continue\r\n\r\n";
    assert!(
        write(text, false, |_| {})
            .ends_with("Via: 1.1 portcullis\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
    );
    assert!(write(text, false, |_| {}).contains("\r\nTrailer: X-Sum\r\n"));
    let whole = write(text, false, |outbound| {
        outbound.body = BodyEnd::Length(12);
        outbound.expect_continue = false;
    });
    assert!(whole.ends_with("Via: 1.1 portcullis\r\nContent-Length: 12\r\n\r\n"), "{whole}");
    assert!(!whole.contains("Trailer"), "{whole}");
    let empty = write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 000\r\n\r\n", false, |_| {});
    assert!(empty.contains("\r\nContent-Length: 0\r\n"), "{empty}");
}

#[test]
fn upgrades_and_trailers_are_asked_for_as_our_own_hop() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, TE\r\nUpgrade: websocket\r\nTE: trailers, gzip\r\n\
        Sec-WebSocket-Key: k\r\n\r\n";
    let tunnel = write(text, false, |outbound| outbound.tunnel = true);
    assert!(
        tunnel.ends_with("Connection: upgrade, TE\r\nUpgrade: websocket\r\nTE: trailers\r\n\r\n"),
        "{tunnel}"
    );
    assert!(tunnel.contains("Sec-WebSocket-Key: k\r\n"));
    let plain = write(text, false, |_| {});
    assert!(
        plain.ends_with("Connection: TE\r\nTE: trailers\r\n\r\n") && !plain.contains("Upgrade"),
        "{plain}"
    );
}

#[test]
fn targets_and_hosts_are_those_told() {
    for (line, expected) in [
        ("GET http://example.com/a HTTP/1.1", "GET /a HTTP/1.1\r\nHost: example.com\r\n"),
        ("GET http://example.com?x=1 HTTP/1.1", "GET /?x=1 HTTP/1.1\r\nHost: example.com\r\n"),
        ("OPTIONS * HTTP/1.1", "OPTIONS * HTTP/1.1\r\nHost: example.com\r\n"),
        ("GET / HTTP/1.0", "GET / HTTP/1.1\r\nHost: example.com\r\n"),
    ] {
        let written = write(&format!("{line}\r\nHost: example.com\r\n\r\n"), false, |_| {});
        assert!(written.starts_with(expected), "{written}");
    }
    let old = write("GET / HTTP/1.0\r\n\r\n", false, |outbound| {
        outbound.host = b"example.com";
        outbound.target = b"/normal";
    });
    assert!(
        old.starts_with("GET /normal HTTP/1.1\r\nHost: example.com\r\n")
            && old.contains("Via: 1.0 portcullis\r\n")
    );
}

#[test]
fn fields_of_ours_replace_those_of_the_client() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nX-Client-Cert: forged\r\nx-other: forged\r\n\r\n";
    let set: [(&[u8], &[u8]); 2] = [(b"X-Client-Cert", b"CN=real"), (b"X-Other", b"")];
    let written = write(text, false, |outbound| outbound.set = &set);
    assert!(written.contains("X-Client-Cert: CN=real\r\n"), "{written}");
    assert!(!written.contains("forged") && !written.to_lowercase().contains("x-other"), "{written}");
}

#[test]
fn cookies_go_up_in_one_field_and_through_the_judge() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nCookie: z_sid=1; a=2\r\nX: y\r\ncookie: z_sid=3\r\n\r\n";
    let plain = write(text, false, |_| {});
    assert!(plain.contains("\r\nCookie: z_sid=1; a=2; z_sid=3\r\nX: y\r\n"), "{plain}");
    let judge = |name: &[u8], _: &[u8], _: &mut Vec<u8>| {
        if name == b"z_sid" { Verdict::Drop } else { Verdict::Keep }
    };
    let judged = write(text, false, |outbound| outbound.cookies = Some(&judge));
    assert!(judged.contains("\r\nCookie: a=2\r\nX: y\r\n"), "{judged}");
    let none = write("GET / HTTP/1.1\r\nHost: a\r\nCookie: z_sid=1\r\n\r\n", false, |outbound| {
        outbound.cookies = Some(&judge)
    });
    assert!(!none.contains("Cookie"), "{none}");
}

#[test]
fn an_http2_request_goes_up_the_same_way() {
    let headers = [("cookie", "a=1"), ("accept", "*/*"), ("cookie", "b=2"), ("te", "trailers")]
        .map(|(name, value)| Header { name, value: value.as_bytes() });
    let limits = Limits::default();
    let head = request_from_http2("POST", b"example.com", b"/x", &headers, false, &limits).unwrap();
    let mut out = Vec::new();
    write_request(&mut out, &head, &Outbound::new(&head, &STRANGER));
    let family = FAMILY.replace("1.1 portcullis", "2.0 portcullis");
    assert_eq!(
        String::from_utf8(out).unwrap(),
        format!(
            "POST /x HTTP/1.1\r\nHost: example.com\r\ncookie: a=1; b=2\r\naccept: */*\r\n{family}\
             Transfer-Encoding: chunked\r\nConnection: TE\r\nTE: trailers\r\n\r\n"
        )
    );
}
