//! What is refused in a request, and what is understood in one that is not.

use super::super::http2_request::request_from_http2;
use super::*;

const LIMITS: Limits = Limits { head_bytes_max: 4096, headers_max: 16, target_bytes_max: 512 };

/// Reads `bytes` at once, byte by byte and, where that is cheap, split at every point: always the same answer.
fn check<T: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    look: impl Fn(&RequestHead<'_, '_>) -> T,
) -> Result<T, BadRequest> {
    let once = |bytes: &[u8]| {
        parse_request(bytes, &mut header_slots(), &LIMITS).map(|head| head.map(|head| look(&head)))
    };
    let whole = once(bytes);
    let mut scan = HeadScan::new();
    let pieces = (0..=bytes.len()).find_map(|end| match scan.request(&bytes[..end], &LIMITS) {
        Ok(None) => None,
        Ok(Some(span)) => Some(
            parse_scanned_request(&bytes[..end], span, &mut header_slots(), &LIMITS).map(|head| look(&head)),
        ),
        Err(bad) => Some(Err(bad)),
    });
    match (&whole, pieces) {
        (Ok(None), None) => panic!("incomplete: {:?}", String::from_utf8_lossy(bytes)),
        (Ok(Some(whole)), Some(Ok(pieces))) => assert_eq!(*whole, pieces),
        (Err(whole), Some(Err(pieces))) => assert_eq!(*whole, pieces),
        (whole, pieces) => {
            panic!("{whole:?} at once, {pieces:?} in pieces: {:?}", String::from_utf8_lossy(bytes))
        }
    }
    for split in 0..bytes.len() {
        let mut scan = HeadScan::new();
        match scan.request(&bytes[..split], &LIMITS) {
            Err(bad) => assert_eq!(whole.as_ref().err(), Some(&bad)),
            Ok(Some(_)) => assert!(whole.is_ok() || once(&bytes[..split]).is_err()),
            Ok(None) => match scan.request(bytes, &LIMITS) {
                Err(bad) => assert_eq!(whole.as_ref().err(), Some(&bad)),
                Ok(span) => assert_eq!(Ok(span), HeadScan::new().request(bytes, &LIMITS)),
            },
        }
    }
    whole.map(|head| head.expect("completeness is asserted above"))
}

fn refused(text: impl AsRef<[u8]>) -> BadRequest {
    match check(text.as_ref(), |head| format!("{head:?}")) {
        Err(bad) => {
            assert!((400..500).contains(&bad.status()));
            bad
        }
        Ok(head) => panic!("accepted {head}"),
    }
}

/// A GET with these field lines after `Host`.
fn with(fields: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n").into_bytes()
}

fn accepted<T: PartialEq + std::fmt::Debug>(
    text: impl AsRef<[u8]>,
    look: impl Fn(&RequestHead<'_, '_>) -> T,
) -> T {
    match check(text.as_ref(), look) {
        Ok(value) => value,
        Err(bad) => panic!("refused as {}: {:?}", bad.reason(), String::from_utf8_lossy(text.as_ref())),
    }
}

#[test]
fn refuses_two_hosts() {
    assert_eq!(refused(with("Host: a")), BadRequest::HostRepeated);
    assert_eq!(refused("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n"), BadRequest::HostRepeated);
}

#[test]
fn refuses_http_11_without_host() {
    assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), BadRequest::HostMissing);
    assert_eq!(refused("GET http://a/ HTTP/1.1\r\n\r\n"), BadRequest::HostMissing);
    assert_eq!(accepted("GET / HTTP/1.0\r\n\r\n", |head| head.authority().len()), 0);
}

#[test]
fn refuses_invalid_hosts() {
    for host in [
        "",
        " ",
        "a b",
        "a/b",
        "a@b",
        "a,b",
        "a?b",
        "a#b",
        "a\\b",
        "a\"",
        "<a>",
        "\u{e9}",
        "a\tb",
        "\ta",
        "a\t",
        "(a)",
        "${a}",
        &"a".repeat(262),
    ] {
        assert_eq!(
            refused(format!("GET / HTTP/1.1\r\nHost:{host}\r\n\r\n")),
            BadRequest::HostInvalid,
            "{host:?}"
        );
    }
    for host in ["a", "a.b.", "A-b_c.example:8443", "[::1]:80", "127.0.0.1", &"a".repeat(261)] {
        let seen =
            accepted(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), |head| head.authority().to_vec());
        assert_eq!(seen, host.as_bytes());
    }
}

#[test]
fn refuses_a_length_beside_a_transfer_coding() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        "transfer-encoding: CHUNKED\r\ncontent-length: 5",
    ] {
        assert_eq!(refused(with(fields)), BadRequest::Flaw(Flaw::LengthWithCoding), "{fields}");
    }
}

#[test]
fn refuses_two_content_lengths_even_when_equal() {
    for fields in [
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 5",
        "Content-Length: 5,5",
        "Content-Length: 5,",
    ] {
        assert_eq!(refused(with(fields)), BadRequest::Flaw(Flaw::LengthRepeated), "{fields}");
    }
}

#[test]
fn refuses_content_lengths_that_are_no_plain_number() {
    for value in [
        "",
        " ",
        "+5",
        "-5",
        "5 5",
        "0x5",
        "5.",
        "a",
        "5;",
        "\u{665}",
        "9223372036854775808",
        "18446744073709551616",
        "99999999999999999999999999999999",
        "\t5",
        "5\t",
        " \t 5",
    ] {
        assert_eq!(
            refused(with(&format!("Content-Length:{value}"))),
            BadRequest::Flaw(Flaw::LengthInvalid),
            "{value:?}"
        );
    }
    for (value, length) in
        [("0", 0), ("5", 5), ("  5  ", 5), ("007", 7), ("9223372036854775807", i64::MAX as u64)]
    {
        let body = accepted(with(&format!("Content-Length:{value}")), |head| head.body);
        assert_eq!(body, BodyEnd::Length(length));
    }
}

#[test]
fn refuses_transfer_codings_other_than_exactly_chunked() {
    for value in [
        "",
        "chunked, chunked",
        "chunked,chunked",
        "identity",
        "gzip, chunked",
        "chunked, gzip",
        "gzip",
        "xchunked",
        "chunkedx",
        "chunked;q=1",
        "chunked; a=b",
        "\"chunked\"",
        "chun\tked",
        "\tchunked",
        "chunked\t",
        "chunked,",
        ",chunked",
        "chunked\u{a0}",
        "\u{212a}chunked",
        "x, chunked",
        "'chunked'",
    ] {
        assert_eq!(
            refused(with(&format!("Transfer-Encoding:{value}"))),
            BadRequest::Flaw(Flaw::Coding),
            "{value:?}"
        );
    }
    assert_eq!(
        refused(with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")),
        BadRequest::Flaw(Flaw::Coding)
    );
    for value in ["chunked", "  Chunked ", "CHUNKED"] {
        assert_eq!(accepted(with(&format!("Transfer-Encoding:{value}")), |head| head.body), BodyEnd::Chunked);
    }
}

#[test]
fn refuses_transfer_codings_in_http_10() {
    assert_eq!(
        refused("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
        BadRequest::Flaw(Flaw::Coding)
    );
}

#[test]
fn refuses_control_bytes_in_front_of_codings() {
    for value in ["\u{b}chunked", "\u{c}chunked", "chunked\u{0}", "\u{1}chunked"] {
        let bad = refused(with(&format!("Transfer-Encoding:{value}")));
        assert_eq!(bad, BadRequest::Flaw(Flaw::FieldValue), "{value:?}");
    }
}

#[test]
fn refuses_bare_line_feeds_anywhere() {
    let good = b"\r\nGET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n";
    for at in 0..good.len() {
        if good[at] == b'\r' {
            let mut bytes = good.to_vec();
            bytes.remove(at);
            assert_eq!(refused(&bytes), BadRequest::Flaw(Flaw::BareLineFeed), "without the CR at {at}");
        }
        // A line feed after the end would belong to the next message.
        if at > 2 && at < good.len() - 1 {
            let mut bytes = good.to_vec();
            bytes.insert(at, b'\n');
            refused(&bytes);
        }
    }
}

#[test]
fn refuses_bare_carriage_returns_anywhere() {
    let good = b"GET / HTTP/1.1\r\nHost: a\r\nA: b c\r\n\r\n";
    for at in 0..=good.len() - 4 {
        let mut bytes = good.to_vec();
        bytes.insert(at, b'\r');
        refused(&bytes);
    }
    for fields in ["A: b\rc", "A: \r", "A:\rb", "A\r: b", "A: b\r\r"] {
        assert_eq!(refused(with(fields)), BadRequest::Flaw(Flaw::BareCarriageReturn), "{fields:?}");
    }
}

#[test]
fn refuses_nul_and_other_controls_everywhere() {
    let good = b"GET / HTTP/1.1\r\nHost: a\r\nA: b c\r\n\r\n";
    for control in (0..0x20).chain([0x7f]).filter(|byte| !b"\t\r\n".contains(byte)) {
        for at in 0..=good.len() - 4 {
            let mut bytes = good.to_vec();
            bytes.insert(at, control);
            refused(&bytes);
        }
        let mut bytes =
            b"GET / HTTP/1.1\r\nHost: a\r\nA: long enough for a wide loop, sixteen and more ".to_vec();
        bytes.push(control);
        bytes.extend_from_slice(b"x\r\n\r\n");
        assert_eq!(refused(&bytes), BadRequest::Flaw(Flaw::FieldValue));
    }
}

#[test]
fn refuses_folded_lines() {
    for fields in ["A: b\r\n c", "A: b\r\n\tc", "A:\r\n b", "A: b\r\n "] {
        assert_eq!(refused(with(fields)), BadRequest::Flaw(Flaw::FoldedLine), "{fields:?}");
    }
}

#[test]
fn refuses_white_space_before_the_first_field() {
    for text in [
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\r\n\tHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(refused(text), BadRequest::Flaw(Flaw::FoldedLine), "{text:?}");
    }
}

#[test]
fn refuses_names_that_are_no_tokens() {
    for fields in [
        "A : b",
        "A\t: b",
        ": b",
        "A",
        "A b: c",
        "A(b): c",
        "\u{e9}: b",
        "A\u{0}: b",
        "\"A\": b",
        "A@b: c",
        "A{: b",
    ] {
        assert_eq!(refused(with(fields)), BadRequest::Flaw(Flaw::FieldName), "{fields:?}");
    }
    refused(with("Content-Length : 5"));
    refused(with("Transfer-Encoding : chunked"));
}

#[test]
fn refuses_methods_that_are_no_tokens() {
    for method in ["", "G(T", "GE\u{e9}", "G\"", "G@T", "GET ", "\tGET", "G\tT"] {
        let bad = refused(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(bad, BadRequest::RequestLine, "{method:?}");
    }
    assert_eq!(refused(format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(33))), BadRequest::Method);
    assert_eq!(
        accepted("m-search* / HTTP/1.1\r\nHost: a\r\n\r\n", |head| head.method.to_owned()),
        "m-search*"
    );
}

#[test]
fn refuses_connect_and_trace() {
    for line in ["CONNECT a:443", "TRACE /", "connect a:443", "trace /", "CONNECT /"] {
        let bad = refused(format!("{line} HTTP/1.1\r\nHost: a:443\r\n\r\n"));
        assert_eq!((bad, bad.status()), (BadRequest::MethodNotAllowed, 405), "{line}");
    }
}

#[test]
fn refuses_targets_with_other_than_visible_ascii() {
    for target in [
        "/a#b", "#", "/\u{e9}", "a", "a/b", "*", "a:80", "//a b", "http:/a", "http:a", "ftp://a/", "x://",
        "http//a",
    ] {
        let bad = refused(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(matches!(bad, BadRequest::Target | BadRequest::RequestLine), "{target:?}: {bad:?}");
    }
    for line in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / / HTTP/1.1",
        "GET /\t HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / HTTP/1.1 ",
    ] {
        refused(format!("{line}\r\nHost: a\r\n\r\n"));
    }
    refused(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n");
    refused("OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn refuses_other_versions() {
    for version in [
        "HTTP/1.2",
        "HTTP/2.0",
        "HTTP/0.9",
        "HTTP/1.10",
        "HTTP/1",
        "HTTP/3",
        "http/1.1",
        "HTTP/1.1x",
        "HTTP/ 1.1",
        "HTTP/11",
    ] {
        let bad = refused(format!("GET / {version}\r\nHost: a\r\n\r\n"));
        assert!(matches!(bad, BadRequest::Version | BadRequest::RequestLine), "{version}: {bad:?}");
    }
    assert_eq!(refused("GET /\r\n"), BadRequest::RequestLine, "HTTP/0.9");
    assert_eq!(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), BadRequest::Http2Preface);
    assert_eq!(refused("\u{16}\u{3}\u{1}\u{2}"), BadRequest::RequestLine, "TLS on a plain port");
}

#[test]
fn refuses_connection_options_that_strip_what_others_need() {
    for option in
        ["Host", "content-length", "Transfer-Encoding", "Cookie", "X-Forwarded-For", "Via", "Authorization"]
    {
        let bad = refused(with(&format!("Connection: close, {option}")));
        assert_eq!(bad, BadRequest::Flaw(Flaw::Nomination), "{option}");
    }
    assert_eq!(refused(with("Connection: a b")), BadRequest::Flaw(Flaw::Connection));
}

#[test]
fn refuses_expectations_it_does_not_know() {
    let bad = refused(with("Expect: 200-ok\r\nContent-Length: 1"));
    assert_eq!((bad, bad.status()), (BadRequest::Expectation, 417));
}

#[test]
fn refuses_heads_past_their_limits() {
    let long = |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(bytes - 1));
    assert_eq!(accepted(long(512), |head| head.path_and_query().len()), 512);
    for bytes in [513, 530, 600, 4000, 5000] {
        let bad = refused(long(bytes));
        assert_eq!((bad, bad.status()), (BadRequest::TargetTooLong, 414), "{bytes}");
    }
    assert_eq!(accepted(with(&["A: b"; 15].join("\r\n")), |head| head.headers().len()), 16);
    let bad = refused(with(&["A: b"; 16].join("\r\n")));
    assert_eq!((bad, bad.status()), (BadRequest::Flaw(Flaw::TooManyFields), 431));
    let bad = refused(with(&format!("A: {}", "b".repeat(5000))));
    assert_eq!((bad, bad.status()), (BadRequest::Flaw(Flaw::HeadTooLarge), 431));
}

#[test]
fn more_fields_than_the_ceiling_are_refused_whatever_the_limit() {
    let limits = Limits { headers_max: usize::MAX, ..Limits::default() };
    let head = with(&vec!["A: b"; 256].join("\r\n"));
    let bad = parse_request(&head, &mut header_slots(), &limits).map(|_| ()).unwrap_err();
    assert_eq!(bad, BadRequest::Flaw(Flaw::TooManyFields));
}

#[test]
fn skips_a_few_empty_lines_before_the_request() {
    let text = b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET /next";
    assert_eq!(accepted(text, |head| head.head_bytes), text.len() - "GET /next".len());
    refused("\r\n".repeat(5));
}

#[test]
fn targets_are_read_in_their_forms() {
    for (line, expected, authority) in [
        ("GET /a?b", "/a?b", "a.example"),
        ("OPTIONS *", "*", "a.example"),
        ("GET http://a.example/x?y", "/x?y", "a.example"),
        ("GET HTTP://A.Example:80/x", "/x", "A.Example:80"),
        ("GET http://a.example", "/", "a.example"),
        ("GET http://a.example?x=1", "?x=1", "a.example"),
        ("OPTIONS http://a.example", "*", "a.example"),
        ("OPTIONS http://a.example/", "/", "a.example"),
        ("GET //a.example/x", "//a.example/x", "a.example"),
        ("GET /http://b/", "/http://b/", "a.example"),
    ] {
        let (target, seen) = accepted(format!("{line} HTTP/1.1\r\nHost: a.example\r\n\r\n"), |head| {
            (head.path_and_query().to_vec(), head.authority().to_vec())
        });
        assert_eq!((target, seen), (expected.into(), authority.into()), "{line}");
    }
    let scheme = accepted("GET https://a/ HTTP/1.1\r\nHost: a:443\r\n\r\n", |head| match head.target {
        Target::Absolute { scheme, .. } => Some(scheme),
        _ => None,
    });
    assert_eq!(scheme, Some(Scheme::Https));
}

#[test]
fn refuses_absolute_targets_that_contradict_host() {
    for (target, host) in [
        ("http://a.example/", "b.example"),
        ("http://a.example:8080/", "a.example"),
        ("https://a.example/", "a.example:80"),
        ("http://a.example/", "a.example."),
    ] {
        let bad = refused(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(bad, BadRequest::HostConflict, "{target} {host}");
    }
    for target in ["http:///x", "http://", "http://u@a/", "http://a:b@a/", "http://a\\b/"] {
        let bad = refused(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(bad, BadRequest::HostInvalid, "{target}");
    }
}

#[test]
fn connections_live_on_as_the_version_says() {
    for (text, expected) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Reuse::Keep),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", Reuse::Close),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", Reuse::Close),
        ("GET / HTTP/1.0\r\n\r\n", Reuse::Close),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", Reuse::Keep),
        ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", Reuse::Close),
    ] {
        assert_eq!(accepted(text, |head| head.reuse), expected, "{text:?}");
    }
}

#[test]
fn an_upgrade_counts_when_connection_says_so() {
    let upgrade = |fields: &str| accepted(with(fields), |head| head.upgrade.map(<[u8]>::to_vec));
    assert_eq!(upgrade("Connection: Upgrade\r\nUpgrade: websocket"), Some(b"websocket".to_vec()));
    assert_eq!(upgrade("Connection: keep-alive, upgrade\r\nUpgrade: a/1, b"), Some(b"a/1, b".to_vec()));
    for fields in [
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Connection: Upgrade\r\nUpgrade: ",
        "Connection: Upgrade\r\nUpgrade: h2c",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: websocket, H2C\r\nHTTP2-Settings: x",
        "Connection: Upgrade\r\nUpgrade: TLS/1.0",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c",
        "Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked",
    ] {
        assert_eq!(upgrade(fields), None, "{fields}");
    }
    let old = "GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert!(!accepted(old, |head| head.upgrade.is_some()));
}

#[test]
fn expectations_count_when_a_body_follows() {
    let expects = |text: &str| accepted(text, |head| head.expects_continue);
    assert!(expects("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n"));
    assert!(expects(
        "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    ));
    assert!(!expects("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n"));
    assert!(!expects("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n"));
    assert!(!expects("PUT / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"));
}

#[test]
fn trailers_are_accepted_by_those_who_say_so() {
    for (value, expected) in [
        ("trailers", true),
        ("gzip, Trailers;q=0.5", true),
        ("gzip", false),
        ("trailersx", false),
        ("", false),
    ] {
        assert_eq!(
            accepted(with(&format!("Connection: TE\r\nTE: {value}")), |head| head.accepts_trailers),
            expected
        );
    }
}

#[test]
fn names_that_could_be_folded_are_counted() {
    let fields =
        "X_Forwarded_For: a\r\nX.B: c\r\nX-Fine: d\r\nContent_Length: 5\r\nTransfer_Encoding: chunked";
    assert_eq!(accepted(with(fields), |head| (head.ambiguous_names, head.body)), (4, BodyEnd::None));
}

#[test]
fn http2_requests_are_judged_by_the_same_rules() {
    let read = |method,
                authority: &'static str,
                path: &'static str,
                fields: &[(&'static str, &'static str)],
                ends| {
        let headers: Vec<_> =
            fields.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect();
        request_from_http2(method, authority.as_bytes(), path.as_bytes(), &headers, ends, &LIMITS)
            .map(|head| (head.authority(), head.path_and_query(), head.body))
    };
    let a: &[u8] = b"a";
    assert_eq!(read("GET", "a", "/x", &[], true), Ok((a, &b"/x"[..], BodyEnd::None)));
    assert_eq!(read("GET", "", "/x", &[("host", "a")], true), Ok((a, &b"/x"[..], BodyEnd::None)));
    assert_eq!(read("POST", "a", "/", &[("host", "a:443")], false), Ok((a, &b"/"[..], BodyEnd::Chunked)));
    assert_eq!(
        read("POST", "a", "/", &[("content-length", "3")], false),
        Ok((a, &b"/"[..], BodyEnd::Length(3)))
    );
    assert_eq!(read("OPTIONS", "a", "*", &[("te", "trailers")], true), Ok((a, &b"*"[..], BodyEnd::None)));
    for (method, authority, path, fields, ends, expected) in [
        ("GET", "a", "/", &[("host", "b")][..], true, BadRequest::HostConflict),
        ("GET", "", "/", &[], true, BadRequest::HostInvalid),
        ("GET", "u@a", "/", &[], true, BadRequest::HostInvalid),
        ("GET", "a", "x", &[], true, BadRequest::Target),
        ("GET", "a", "http://a/", &[], true, BadRequest::Target),
        ("GET", "a", "/#", &[], true, BadRequest::Target),
        ("GET", "a", "", &[], true, BadRequest::Target),
        ("CONNECT", "a", "/", &[], false, BadRequest::MethodNotAllowed),
        ("POST", "a", "/", &[("content-length", "3")], true, BadRequest::Http2Field),
        (
            "POST",
            "a",
            "/",
            &[("content-length", "3"), ("content-length", "3")],
            false,
            Flaw::LengthRepeated.into(),
        ),
        ("GET", "a", "/", &[("connection", "close")], true, BadRequest::Http2Field),
        ("GET", "a", "/", &[("transfer-encoding", "chunked")], false, BadRequest::Http2Field),
        ("GET", "a", "/", &[("upgrade", "websocket")], true, BadRequest::Http2Field),
        ("GET", "a", "/", &[("x", " y")], true, BadRequest::Http2Field),
        ("GET", "a", "/", &[("x", "y\t")], true, BadRequest::Http2Field),
        ("GET", "a", "/", &[("x", " ")], true, BadRequest::Http2Field),
        ("GET", "a", "/", &[("te", "gzip")], true, BadRequest::Http2Field),
    ] {
        assert_eq!(
            read(method, authority, path, fields, ends),
            Err(expected),
            "{method} {authority} {path} {fields:?}"
        );
    }
}
