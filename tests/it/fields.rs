//! Header fields: what is set, what is dropped, what passes, in both directions.

use crate::harness::{Client, Message, Server, Upstream, serve, site};

fn both(server: &Server) -> [(Client, &'static str, u16); 2] {
    [
        (Client::http(server.http()), "http", server.http().port()),
        (Client::https(server.https(), "a.test"), "https", server.https().port()),
    ]
}

/// The request as the site server got it, for a request with these field lines.
fn forwarded(fields: &str) -> Vec<(Message, &'static str, u16)> {
    let upstream = Upstream::saying("ok");
    let server = serve(&upstream);
    let mut requests = Vec::new();
    for (mut client, scheme, port) in both(&server) {
        client.send(format!("GET /path?query HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n"));
        assert_eq!(client.response().status(), 200);
        let request = upstream.requests().pop().expect("it was asked");
        requests.push((request, scheme, port));
    }
    requests
}

#[test]
fn the_site_server_is_told_who_asked_and_how() {
    for (request, scheme, port) in forwarded("") {
        assert_eq!(request.start, "GET /path?query HTTP/1.1");
        assert_eq!(request.field("host"), Some("a.test"));
        assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(request.field("x-forwarded-proto"), Some(scheme));
        assert_eq!(request.field("x-forwarded-host"), Some("a.test"));
        assert_eq!(request.field("x-forwarded-port"), Some(port.to_string().as_str()));
        let expected = format!("for=127.0.0.1;host=a.test;proto={scheme}");
        let mut told: Vec<_> = request.field("forwarded").expect("set").split(';').collect();
        told.sort_unstable();
        assert_eq!(told.join(";"), expected.split(';').collect::<Vec<_>>().join(";"));
        assert_eq!(request.field("via"), Some("1.1 portcullis"));
        assert_eq!(request.field("x-request-id").map(str::len), Some(32));
        assert_eq!(request.field("connection"), None);
    }
}

#[test]
fn request_identifiers_differ() {
    let upstream = Upstream::saying("ok");
    let server = serve(&upstream);
    let mut client = Client::http(server.http());
    for _ in 0..10 {
        client.get("a.test", "/");
    }
    let mut ids: Vec<_> = upstream
        .requests()
        .iter()
        .map(|request| request.field("x-request-id").expect("set").to_owned())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 10);
}

#[test]
fn what_a_client_claims_of_itself_is_dropped() {
    let spoofed = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: spoofed\r\nX-Forwarded-Host: evil.test\r\n\
        X-Forwarded-Port: 1\r\nForwarded: for=203.0.113.9;proto=spoofed\r\nX-Request-Id: spoofed\r\n\
        x-forwarded-for: 203.0.113.10\r\nX-Real-IP: 203.0.113.9\r\nX-Forwarded-Ssl: spoofed\r\n\
        X-Forwarded-Scheme: spoofed\r\nX-Original-URL: /spoofed\r\nX-Rewrite-URL: /spoofed\r\nVia: 1.0 before\r\n";
    for (request, scheme, _) in forwarded(spoofed) {
        assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(request.field("x-forwarded-proto"), Some(scheme));
        assert_eq!(request.field("via"), Some("1.0 before, 1.1 portcullis"));
        for (name, value) in &request.fields {
            assert!(
                !value.contains("203.0.113") && !value.contains("spoofed") && !value.contains("evil"),
                "{name}: {value}"
            );
        }
    }
}

#[test]
fn names_a_site_server_could_take_for_others_are_dropped() {
    for (request, ..) in forwarded("X_Forwarded_For: 203.0.113.9\r\nX_Fine: 1\r\nX.Fine: 1\r\nX-Fine: 2\r\n")
    {
        let kept: Vec<_> = request.fields.iter().filter(|(name, _)| name.contains("Fine")).collect();
        assert_eq!(kept, [&("X-Fine".to_owned(), "2".to_owned())]);
        assert!(request.fields.iter().all(|(name, _)| !name.contains('_')));
    }
}

#[test]
fn fields_of_this_hop_go_no_further() {
    let fields = "Connection: keep-alive, X-Hop, close-not\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\
        X-Hop: 1\r\nclose-not: 1\r\nTE: gzip, trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\
        Proxy-Authorization: Basic eDp5\r\nProxy: http://evil.test\r\nX-Kept: yes\r\n";
    for (request, ..) in forwarded(fields) {
        // What is left is our own word on `TE: trailers`, which goes from hop to hop (RFC 9110 §10.1.4).
        assert_eq!((request.field("connection"), request.field("te")), (Some("TE"), Some("trailers")));
        for gone in
            ["keep-alive", "proxy-connection", "x-hop", "close-not", "upgrade", "http2-settings", "proxy"]
        {
            assert_eq!(request.all(gone), [""; 0], "{gone}");
        }
        assert_eq!(request.field("x-kept"), Some("yes"));
    }
}

#[test]
fn everything_else_passes_in_order_and_unchanged() {
    let fields = "X-B: 2\r\nAccept: */*\r\nX-A:   spaced out  \r\nX-B: 3\r\nX-Bytes: \u{e9}\r\nX-Empty:\r\n\
        Cookie: a=b; c=\"d\"\r\nAuthorization: Bearer x\r\nIf-None-Match: \"etag\"\r\nRange: bytes=0-1\r\n";
    for (request, ..) in forwarded(fields) {
        let kept: Vec<_> = request
            .fields
            .iter()
            .filter(|(name, _)| {
                name.starts_with("X-") && !name.starts_with("X-Forwarded") && name != "X-Request-Id"
            })
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            kept,
            [("X-B", "2"), ("X-A", "spaced out"), ("X-B", "3"), ("X-Bytes", "\u{e9}"), ("X-Empty", "")]
        );
        for (name, value) in [
            ("accept", "*/*"),
            ("cookie", "a=b; c=\"d\""),
            ("authorization", "Bearer x"),
            ("if-none-match", "\"etag\""),
            ("range", "bytes=0-1"),
        ] {
            assert_eq!(request.field(name), Some(value));
        }
    }
}

#[test]
fn an_absolute_target_is_forwarded_in_origin_form_with_its_host() {
    let upstream = Upstream::saying("ok");
    let server = serve(&upstream);
    let mut client = Client::http(server.http());
    client.send("GET http://b.test:80/x?y HTTP/1.1\r\nHost: b.test\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    client.send("OPTIONS * HTTP/1.1\r\nHost: b.test\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    let requests = upstream.requests();
    assert_eq!(requests[0].start, "GET /x?y HTTP/1.1");
    assert!(requests[0].field("host").is_some_and(|host| host.starts_with("b.test")));
    assert_eq!(requests[1].start, "OPTIONS * HTTP/1.1");
}

#[test]
fn targets_are_forwarded_as_they_came() {
    let upstream = Upstream::saying("ok");
    let server = serve(&upstream);
    let mut client = Client::http(server.http());
    let targets = [
        "/",
        "/a/../b",
        "/%2e%2e/x",
        "/a//b",
        "/?",
        "/?a=b?c",
        "/%zz",
        "/;a=b",
        "/a%2Fb",
        "/~user/[x]|{y}",
        "//a",
    ];
    for target in targets {
        assert_eq!(client.get("a.test", target).status(), 200, "{target}");
    }
    let got: Vec<_> = upstream.requests().iter().map(|request| request.target().to_owned()).collect();
    assert_eq!(got, targets);
}

#[test]
fn a_response_loses_its_hop_and_keeps_the_rest() {
    let upstream = Upstream::answering(
        "HTTP/1.1 418 I'm a teapot\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\n\
         Proxy-Connection: x\r\nServer: site\r\nX-Kept: 1\r\nX-Kept: 2\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         Set-Cookie: a=b\r\nSet-Cookie: c=d\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok",
    );
    let server = serve(&upstream);
    for (mut client, ..) in both(&server) {
        let response = client.get("a.test", "/");
        assert_eq!(response.start, "HTTP/1.1 418 I'm a teapot");
        for gone in ["connection", "keep-alive", "x-hop", "proxy-connection", "upgrade"] {
            assert_eq!(response.field(gone), None, "{gone}");
        }
        assert_eq!(response.all("x-kept"), ["1", "2"]);
        assert_eq!(response.all("set-cookie"), ["a=b", "c=d"]);
        assert_eq!(response.field("server"), Some("site"));
        assert_eq!(response.field("date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    }
}

#[test]
fn a_response_without_a_date_gets_one() {
    let upstream = Upstream::saying("ok");
    let server = serve(&upstream);
    let mut client = Client::http(server.http());
    let response = client.get("a.test", "/");
    let date = response.field("date").expect("set");
    let age = httpdate::parse_http_date(date).expect("a date").elapsed().unwrap_or_default();
    assert!(age.as_secs() < 60, "{date}");
}

#[test]
fn pages_of_our_own_say_nothing_a_client_put_there() {
    let upstream = Upstream::saying("never asked");
    let server = Server::start(&site("one", &["one.test"], &upstream));
    let mut client = Client::http(server.http());
    let page = client.get("other.test", "/<script>alert(1)</script>");
    assert_eq!(page.status(), 404);
    assert!(!page.text().contains("<script>"), "{}", page.text());
    assert_eq!(page.field("cache-control"), Some("no-store"));
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
}
