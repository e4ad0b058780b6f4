//! What readers of HTTP disagree on is refused: nothing of it reaches a site server.

use crate::harness::{BAD_CHUNKS, Client, End, Server, Upstream, serve};

fn both(server: &Server) -> [Client; 2] {
    [Client::http(server.http()), Client::https(server.https(), "a.test")]
}

/// Each is refused with a 4xx, the connection closes, and not one byte goes on; a request that follows in the
/// same write least of all.
#[track_caller]
fn refused(cases: &[&[u8]]) {
    let upstream = Upstream::echo();
    let server = serve(&upstream);
    for case in cases {
        let about = String::from_utf8_lossy(case).escape_debug().to_string();
        for mut client in both(&server) {
            let mut bytes = case.to_vec();
            bytes.extend_from_slice(b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n");
            client.send(bytes);
            let response = client.response();
            assert!((400..500).contains(&response.status()), "{about}: {response:?}");
            assert!(response.closes(), "{about}: {response:?}");
            assert_eq!(client.end(), End::Clean, "{about}");
        }
        let got = upstream.received_in_all();
        assert!(got.is_empty(), "{about}: {}", String::from_utf8_lossy(&got));
    }
    // It still serves.
    assert_eq!(Client::http(server.http()).get("a.test", "/").status(), 200);
}

#[test]
fn lengths_that_are_not_one_number() {
    refused(&[
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3, 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: +3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: -3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0x3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3 0\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length:\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 99999999999999999999999\r\n\r\nabc",
    ]);
}

#[test]
fn a_length_beside_a_transfer_coding() {
    refused(&[
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
    ]);
}

#[test]
fn transfer_codings_other_than_chunked() {
    let codings: [&[u8]; 14] = [
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked;q=1",
        b"Transfer-Encoding: \"chunked\"",
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding:",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding: chunked\r\n , identity",
        b"Transfer-Encoding: chunked,",
    ];
    let cases: Vec<Vec<u8>> = codings
        .iter()
        .map(|coding| [b"POST / HTTP/1.1\r\nHost: a.test\r\n", *coding, b"\r\n\r\n0\r\n\r\n"].concat())
        .collect();
    let mut cases: Vec<&[u8]> = cases.iter().map(Vec::as_slice).collect();
    cases.push(b"POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    refused(&cases);
}

#[test]
fn lines_that_end_or_begin_in_other_ways() {
    refused(&[
        b"GET / HTTP/1.1\nHost: a.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX: y\n\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX: y\rZ: z\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX: y\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX: y\r\n\tfolded\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nno colon\r\n\r\n",
    ]);
}

#[test]
fn names_and_values_no_field_may_have() {
    refused(&[
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX : y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX\t: y\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length : 3\r\n\r\nabc",
        b"GET / HTTP/1.1\r\nHost: a.test\r\n: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX\0: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX: y\0z\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX(y): z\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX: \x01\r\n\r\n",
    ]);
}

#[test]
fn request_lines_of_other_forms() {
    refused(&[
        b"GET  / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET / x HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET / HTTP/1.2 \r\nHost: a.test\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a.test\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET /a#b HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET a HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"G@T / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ]);
}

#[test]
fn hosts_that_are_not_one_host() {
    refused(&[
        b"GET / HTTP/1.1\r\nX: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test/x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: user@a.test\r\n\r\n",
        b"GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ]);
}

#[test]
fn connection_options_that_take_away_what_counts() {
    refused(&[
        b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: host\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nConnection: content-length\r\nContent-Length: 3\r\n\r\nabc",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nCookie: a=b\r\nConnection: cookie\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: a b\r\n\r\n",
    ]);
}

#[test]
fn bad_chunks_that_come_with_the_head() {
    let cases: Vec<Vec<u8>> = BAD_CHUNKS
        .iter()
        .map(|chunks| {
            [b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n", *chunks].concat()
        })
        .collect();
    refused(&cases.iter().map(Vec::as_slice).collect::<Vec<_>>());
}

#[test]
fn bad_chunks_that_come_later() {
    let upstream = Upstream::echo();
    let server = serve(&upstream);
    for (case, chunks) in BAD_CHUNKS.iter().enumerate() {
        let about = chunks.escape_ascii().to_string();
        for mut client in both(&server) {
            let before = upstream.connections();
            client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n");
            crate::harness::wait_until("the head at the site server", || upstream.connections() > before);
            client.send([*chunks, b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"].concat());
            let (bytes, _) = client.rest();
            let answer = String::from_utf8_lossy(&bytes);
            assert!(answer.starts_with("HTTP/1.1 4"), "case {case}, {about}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{about}: {answer}");
            upstream.wait_for_end_of(before);
        }
    }
    assert!(upstream.requests().is_empty(), "no request was whole");
    let got = upstream.received_in_all();
    assert!(!got.windows(8).any(|window| window == b"smuggled"), "{}", String::from_utf8_lossy(&got));
}

#[test]
fn a_body_that_looks_like_a_request_stays_a_body() {
    let upstream = Upstream::echo();
    let server = serve(&upstream);
    let inner = "GET /smuggled HTTP/1.1\r\nHost: b.test\r\n\r\n";
    for mut client in both(&server) {
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n{inner}",
            inner.len()
        ));
        assert_eq!(client.response().text(), inner);
    }
    assert!(upstream.requests().iter().all(|request| request.method() == "POST"));
}
