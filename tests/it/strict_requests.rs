//! Requests that could be read in two ways: what each gets, by which status and word, and what a site server sees of it.
//! `docs/strictness.md` is the list for people; it names these cases.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::harness::{
    Client, End, Server, Setup, Upstream, any_site, response_with, serve, site, wait_until,
};

fn both(server: &Server) -> [Client; 2] {
    [Client::http(server.http()), Client::https(server.https(), "a.test")]
}

/// A request with these fields beside `Host`.
fn with(fields: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n\r\nabc").into_bytes()
}

fn chunked(body: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n{body}").into_bytes()
}

fn line(line: &str) -> Vec<u8> {
    format!("{line}\r\nHost: a.test\r\n\r\n").into_bytes()
}

/// What is refused, with which status and with which word in log and metric.
fn refusals() -> Vec<(Vec<u8>, u16, &'static str)> {
    let many: String = (0..100).map(|number| format!("X-{number}: y\r\n")).collect();
    vec![
        (line("GET / x HTTP/1.1"), 400, "request_line"),
        (line("GET  / HTTP/1.1"), 400, "request_line"),
        (line("GET\t/\tHTTP/1.1"), 400, "request_line"),
        (line("GET / HTTP/1.1 "), 400, "request_line"),
        (line(&format!("{} / HTTP/1.1", "M".repeat(33))), 400, "method"),
        (line("GET /a#b HTTP/1.1"), 400, "target"),
        (line(&format!("GET /{} HTTP/1.1", "x".repeat(17_000))), 414, "target_too_long"),
        (line("GET / HTTP/1.2"), 400, "version"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), 400, "http2_preface"),
        (line("TRACE / HTTP/1.1"), 405, "method_not_allowed"),
        (line("CONNECT a.test:443 HTTP/1.1"), 405, "method_not_allowed"),
        (b"GET / HTTP/1.1\r\nX: y\r\n\r\n".to_vec(), 400, "host_missing"),
        (with("Host: b.test"), 400, "host_repeated"),
        (b"GET / HTTP/1.1\r\nHost: a.test/x\r\n\r\n".to_vec(), 400, "host_invalid"),
        (line("GET http://b.test/ HTTP/1.1"), 400, "host_conflict"),
        (with("Expect: 200-maybe"), 417, "expectation"),
        (b"GET / HTTP/1.1\r\nHost: a.test\n\r\n".to_vec(), 400, "bare_line_feed"),
        (with("X: y\rZ: z"), 400, "bare_carriage_return"),
        (with("X: y\r\n z"), 400, "folded_line"),
        (with("X : y"), 400, "field_name"),
        (with("X: \0"), 400, "field_value"),
        (with("X: \x0b"), 400, "field_value"),
        (with(&format!("X: {}", "x".repeat(33_000))), 431, "head_too_large"),
        (with(&many), 431, "too_many_fields"),
        (with("Content-Length: 3x"), 400, "content_length_invalid"),
        (with("Content-Length: 3, 3"), 400, "content_length_repeated"),
        (with("Content-Length: 3\r\nContent-Length: 3"), 400, "content_length_repeated"),
        (
            with("Content-Length: 3\r\nTransfer-Encoding: chunked"),
            400,
            "content_length_with_transfer_encoding",
        ),
        (with("Transfer-Encoding: gzip, chunked"), 400, "transfer_encoding"),
        (with("Connection: a b"), 400, "connection_options"),
        (with("Connection: content-length\r\nContent-Length: 3"), 400, "connection_nomination"),
        (chunked("0x3\r\nabc\r\n0\r\n\r\n"), 400, "chunk_size"),
        (chunked("3;a b\r\nabc\r\n0\r\n\r\n"), 400, "chunk_extension"),
        (chunked("3\r\nabcd\r\n0\r\n\r\n"), 400, "chunk_line_end"),
        (chunked("3\nabc\r\n0\r\n\r\n"), 400, "chunk_line_end"),
        (chunked("3\r\nabc\r\n0\r\nno colon\r\n\r\n"), 400, "trailer"),
        (chunked(&format!("0\r\nX: {}\r\n\r\n", "x".repeat(9_000))), 431, "trailers_too_large"),
        (chunked(&format!("{:x}\r\n", 2_u64 << 30)), 413, "body_too_large"),
    ]
}

#[test]
fn each_refusal_has_its_status_and_its_word_in_the_log() {
    let upstream = Upstream::saying("never asked");
    let mut server = Setup::new(&any_site(&upstream)).table("access_log", "to = \"access.log\"").start();
    let refusals = refusals();
    for (bytes, status, reason) in &refusals {
        let mut client = Client::http(server.http());
        client.send([bytes, &b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"[..]].concat());
        let response = client.response();
        assert_eq!(response.status(), *status, "{reason}: {}", bytes.escape_ascii());
        assert!(response.closes(), "{reason}");
        assert_eq!(client.end(), End::Clean, "{reason}");
    }
    let path = server.setup().directory().join("access.log");
    let mut lines = Vec::new();
    wait_until("the access log", || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        lines = text.lines().map(str::to_owned).collect();
        lines.len() >= refusals.len()
    });
    assert_eq!(lines.len(), refusals.len(), "nothing that follows is read");
    for (line, (bytes, status, reason)) in lines.iter().zip(&refusals) {
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(
            (&line["status"], &line["reason"]),
            (&(*status).into(), &(*reason).into()),
            "{}",
            bytes.escape_ascii()
        );
    }
    assert_eq!(upstream.connections(), 0);
}

/// Not to be mistaken for the fields they resemble, by whatever a site server folds names with.
#[test]
fn names_that_resemble_framing_are_dropped() {
    let upstream = Upstream::echo();
    let server = serve(&upstream);
    let fields = "Transfer_Encoding: chunked\r\nTransfer.Encoding: chunked\r\nTransfer-Encoding~: chunked\r\n\
        !Transfer-Encoding: chunked\r\nContent_Length: 9\r\nContent-Length|: 9\r\n'Host: b.test\r\nHost_: b.test\r\n\
        HTTP_HOST: b.test\r\nConnection_: close\r\nContent-Length: 3";
    for mut client in both(&server) {
        client.send(with(fields));
        assert_eq!(client.response().text(), "abc");
    }
    for request in upstream.requests() {
        assert_eq!((request.field("content-length"), request.field("host")), (Some("3"), Some("a.test")));
        let odd = |name: &str| name.contains(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        assert!(request.fields.iter().all(|(name, _)| !odd(name)), "{request:?}");
    }
    // What is no token cannot be dropped in one way: it is refused.
    for name in [
        "Content-Length\u{a0}",
        "Content-Length\0",
        "Content-Length\x0b",
        "\u{feff}Content-Length",
        "X\"",
        "(X)",
    ] {
        let mut client = Client::http(server.http());
        client.send(with(&format!("{name}: 3")));
        assert_eq!(client.response().status(), 400, "{name:?}");
        assert_eq!(client.end(), End::Clean);
    }
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn an_absolute_target_is_one_host_and_one_path_or_refused() {
    let upstream = Upstream::saying("ok");
    let server = serve(&upstream);
    for target in [
        "http://user@a.test/",
        "http://user:secret@a.test/",
        "http://a.test#/b",
        "http://a.test/#b",
        "http:///path",
        "http://",
        "http:/a.test/",
        "http:a.test",
        "//a.test/ http",
        "ftp://a.test/",
        "HTTP ://a.test/",
        "http://a.test:99999/",
        "http://a.test:8x/",
        "http://a.test\\@b.test/",
        "http://[::1/",
        "http://a.test,b.test/",
        "http://b.test/",
        "http://a.test:81/",
        // A URI, and one nobody sends: its path would have to be made up.
        "http://a.test?y",
        "a.test:80",
        "?a=b",
        "*",
    ] {
        let mut client = Client::http(server.http());
        client.send(line(&format!("GET {target} HTTP/1.1")));
        let response = client.response();
        assert_eq!((response.status(), response.closes()), (400, true), "{target}: {response:?}");
        assert_eq!(client.end(), End::Clean, "{target}");
    }
    assert_eq!(upstream.connections(), 0);
    for (target, expected) in [
        ("http://a.test/x?y", "/x?y"),
        ("HTTP://A.test:80/x", "/x"),
        ("http://a.test", "/"),
        // Two slashes in front are a path in origin-form, not an authority.
        ("//b.test/x", "//b.test/x"),
    ] {
        let mut client = Client::http(server.http());
        client.send(line(&format!("GET {target} HTTP/1.1")));
        assert_eq!(client.response().text(), "ok", "{target}");
        let request = upstream.requests().pop().expect("it was asked");
        assert_eq!(request.target(), expected, "{target}");
        assert!(
            request
                .field("host")
                .is_some_and(|host| host.eq_ignore_ascii_case("a.test") || host == "A.test:80")
        );
    }
}

#[test]
fn hosts_that_some_would_mend_are_refused() {
    let upstream = Upstream::saying("ok");
    let server = serve(&upstream);
    for host in [
        "a.test:80:80",
        "a.test:x",
        "a.test:+80",
        "a.test: 80",
        "a.test:99999",
        "[::1",
        "::1",
        "[::1]x",
        "a..test",
        ".a.test",
        "a.test..",
        "a b",
        "a.test#",
        "a.test?",
        "a.test\\b.test",
        "http://a.test",
        "a.test;b.test",
        "a%00.test",
        "\u{e9}.test",
        "\"a.test\"",
        "a.test\tb.test",
    ] {
        let mut client = Client::http(server.http());
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let response = client.response();
        assert_eq!(response.status(), 400, "{host}: {response:?}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn expectations_are_100_continue_for_a_body_or_nothing() {
    let upstream = Upstream::echo();
    let server = serve(&upstream);
    for value in [
        "100-continue, x",
        "x, 100-continue",
        "100-continue;q=1",
        "\"100-continue\"",
        "100 continue",
        "",
        "y 100-continue",
    ] {
        let mut client = Client::http(server.http());
        client.send(with(&format!("Expect: {value}\r\nContent-Length: 3")));
        let response = client.response();
        assert_eq!((response.status(), response.closes()), (417, true), "{value:?}");
        assert_eq!(client.end(), End::Clean);
    }
    assert_eq!(upstream.connections(), 0);
    // Without a body, or in HTTP/1.0, it asks for nothing (RFC 9110 §10.1.1), and a site server is not told.
    for (request, asks) in [
        ("GET / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n\r\n", None),
        ("POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n", None),
        ("POST / HTTP/1.0\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", None),
        (
            "POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-Continue\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
            Some("100-continue"),
        ),
    ] {
        let mut client = Client::http(server.http());
        client.send(request);
        assert_eq!(client.response().status(), 200, "{request}");
        assert_eq!(upstream.requests().pop().expect("it was asked").field("expect"), asks, "{request}");
    }
}

const INNER: &str = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// A site server that takes no body where one was announced ("0.CL", "CL.0"): what it has not read is nobody's request.
#[test]
fn a_body_left_over_by_an_early_answer_is_no_request() {
    for expect in ["", "Expect: 100-continue\r\n"] {
        let upstream = Upstream::script(|peer| {
            while let Some(request) = peer.head()? {
                assert_ne!(request.target(), "/smuggled");
                peer.send(&response_with(b"early"))?;
            }
            Ok(())
        });
        let server = serve(&upstream);
        for (number, mut client) in both(&server).into_iter().enumerate() {
            let length = INNER.len() + 1;
            client
                .send(format!("POST / HTTP/1.1\r\nHost: a.test\r\n{expect}Content-Length: {length}\r\n\r\n"));
            assert_eq!(client.response().text(), "early");
            // The rest of the body and, had it ended, a request. The connection may have gone by then.
            let _ = client.try_send(INNER);
            let _ = client.try_send(format!("x{INNER}"));
            let rest = client.read_to_any_end();
            assert!(rest.is_empty(), "{}", rest.escape_ascii());
            // Nor is the connection to the site server used again.
            upstream.wait_for_end_of(number);
        }
        let got = upstream.received_in_all();
        assert!(!got.windows(8).any(|window| window == b"smuggled"), "{}", got.escape_ascii());
    }
}

/// What an answer of ours leaves of a body is dropped to its exact end, or the connection ends.
#[test]
fn the_body_of_a_redirected_request_is_no_request() {
    let upstream = Upstream::saying("ok");
    let sites = site("one", &["a.test"], &upstream)
        + "dispatch = [{ name = \"in\", path = \"/in\", ssl = true }, { name = \"all\", path = \"/*\", ssl = \"any\" }]\n";
    let server = Server::start(&sites);
    let after = "GET /after HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let mut client = Client::http(server.http());
    let length = INNER.len();
    client
        .send(format!("POST /in HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n{INNER}{after}"));
    assert_eq!(client.response().status(), 307);
    assert_eq!(client.response().text(), "ok");
    for framing in [
        format!("Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n{INNER}"),
        format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{INNER}\r\n0\r\n\r\n"),
        format!("Content-Length: {}\r\n\r\n{INNER}", 100_000_000),
    ] {
        let mut client = Client::http(server.http());
        client.send(format!("POST /in HTTP/1.1\r\nHost: a.test\r\n{framing}{after}"));
        assert!(client.response().closes(), "{framing}");
        assert_eq!(client.end(), End::Clean);
    }
    assert_eq!(upstream.only_request().target(), "/after");
}

#[test]
fn an_upgrade_beside_a_body_is_no_upgrade() {
    let upstream = Upstream::echo();
    let server = serve(&upstream);
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    for mut client in both(&server) {
        for framing in
            ["Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
        {
            client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\n{upgrade}{framing}"));
            assert_eq!(client.response().text(), "abc");
        }
        client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{upgrade}Content-Length: 0\r\n\r\n"));
        assert_eq!(client.response().status(), 200);
    }
    for request in upstream.requests() {
        assert_eq!(request.field("upgrade").is_some(), request.method() == "GET", "{request:?}");
    }
    // One that switches all the same gets no tunnel.
    let upstream = Upstream::answering(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello",
    );
    let server = serve(&upstream);
    for mut client in both(&server) {
        client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\n{upgrade}Content-Length: 3\r\n\r\nabc"));
        assert_eq!(client.response().status(), 502);
    }
}

#[test]
fn http_0_9_is_not_spoken() {
    let upstream = Upstream::saying("never asked");
    let server = serve(&upstream);
    for request in [
        "GET /\r\n",
        "GET /\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/0.9\r\n\r\n",
        "GET / \r\n\r\n",
        "GET / HTTP/\r\n\r\n",
    ] {
        for mut client in both(&server) {
            client.send(request);
            let response = client.response();
            assert_eq!((response.status(), response.closes()), (400, true), "{request:?}");
            assert_eq!(client.end(), End::Clean);
        }
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn http_1_0_has_a_length_or_no_body() {
    let upstream = Upstream::echo();
    let server = serve(&upstream);
    for mut client in both(&server) {
        client.send(
            "POST / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
        );
        assert_eq!(client.response().text(), "abc");
        // Chunks it has none, whatever it says, alone or beside a length.
        client.send("POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        let response = client.response();
        assert_eq!((response.status(), response.closes()), (400, true));
        assert_eq!(client.end(), End::Clean);
    }
    // It may name no host: then it is for the site that has every name, and that one's first host.
    let mut client = Client::http(server.http());
    client.send("GET /old HTTP/1.0\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    let request = upstream.requests().pop().expect("it was asked");
    assert_eq!((request.field("host"), request.start.as_str()), (Some("a.test"), "GET /old HTTP/1.1"));
}

/// Sizes and extensions as RFC 9112 §7.1 has them go on as chunks of ours: sizes in their own writing, extensions dropped.
#[test]
fn chunk_extensions_go_no_further() {
    let upstream = Upstream::echo();
    let server = serve(&upstream);
    for body in [
        "3;a\r\nabc\r\n0\r\n\r\n",
        "3;a=b;c=\"d;e=\\\"f\\\\\"\r\nabc\r\n0;last\r\n\r\n",
        "0000000000000003\r\nabc\r\n0000\r\n\r\n",
        "1\r\na\r\n02;x\r\nbc\r\n0\r\n\r\n",
    ] {
        for mut client in both(&server) {
            client.send(chunked(body));
            assert_eq!(client.response().text(), "abc", "{body:?}");
        }
    }
    let got = upstream.received_in_all();
    for size in [b"3;", b"2;", b"0;"] {
        assert!(!got.windows(2).any(|window| window == size), "{}", got.escape_ascii());
    }
    // An extension never holds a line end, quoted or escaped ("TERM.EXT", "EXT.TERM"); and no body holds endless ones.
    for extension in [
        "\"\r\"",
        "\"\n\"",
        "\"\\\r\\\n\"",
        "\r",
        "\n",
        "a=\"b",
        ";",
        "a=",
        "a b",
        "=b",
        "a=\"b\"c",
        "\u{e9}",
        "\0",
        "a\t",
        " a",
    ] {
        let mut client = Client::http(server.http());
        client.send(chunked(&format!("3;{extension}\r\nabc\r\n0\r\n\r\n{INNER}")));
        assert_eq!(client.response().status(), 400, "{extension:?}");
        assert_eq!(client.end(), End::Clean, "{extension:?}");
    }
    let mut client = Client::http(server.http());
    let _ = client.try_send(chunked(&format!("1;{}\r\na\r\n", "x".repeat(2_000)).repeat(3)));
    assert_eq!(client.response().status(), 400);
}

/// A client that ends its side in a body has sent no request: its end is never made up.
#[test]
fn a_body_that_ends_too_early_is_no_request() {
    let upstream = Upstream::echo();
    let server = serve(&upstream);
    let bodies = [
        "Content-Length: 10\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
    ];
    for (number, body) in bodies.iter().flat_map(|body| [body; 2]).enumerate() {
        let mut client = match number % 2 {
            0 => Client::http(server.http()),
            _ => Client::https(server.https(), "a.test"),
        };
        client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\n{body}"));
        wait_until("the head at the site server", || upstream.connections() > number);
        client.finish();
        upstream.wait_for_end_of(number);
    }
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
}

/// The names of cases that a page of documentation refers to, as `file::name`.
fn cases_named(page: &str) -> BTreeSet<(&str, &str)> {
    let quoted = page.split('`').skip(1).step_by(2);
    quoted.filter_map(|text| text.split_once("::")).filter(|(_, name)| !name.contains("::")).collect()
}

#[test]
fn the_page_names_every_word_and_cases_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/strictness.md")).expect("the page");
    let cases = cases_named(&page);
    assert!(cases.len() > 30, "{}", cases.len());
    for (file, name) in cases {
        let path = root.join(format!("tests/it/{file}.rs"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}::{name}: {error}"));
        assert!(text.contains(&format!("\nfn {name}() {{")), "{file}::{name} is not there");
    }
    for (_, status, reason) in refusals() {
        let row = page.lines().find(|line| line.starts_with('|') && line.contains(&format!("`{reason}`")));
        let row = row.unwrap_or_else(|| panic!("`{reason}` is not on the page"));
        assert!(row.contains(&format!("{status}")), "{row}");
    }
}
