//! Responses that could be read in two ways, or end where they should not: none is passed on as a whole one, and nothing
//! of it comes to the next client.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{
    BAD_CHUNKS, Client, Server, Setup, Upstream, any_site, response_with, serve, wait_until,
};

fn both(server: &Server) -> [Client; 2] {
    [Client::http(server.http()), Client::https(server.https(), "a.test")]
}

/// Answers `/bad` with these bytes and everything else with `fine`.
fn once_bad(bad: &[u8]) -> Upstream {
    let bad = bad.to_vec();
    Upstream::script(move |peer| {
        while let Some(request) = peer.request()? {
            if request.target() == "/bad" { peer.send(&bad)? } else { peer.send(&response_with(b"fine"))? }
        }
        Ok(())
    })
}

/// What makes a head that cannot be passed on.
const BAD_HEADS: &[&[u8]] = &[
    // Status lines. HTTP/0.9 has none.
    b"<html>hello</html>\r\n\r\n",
    b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b" HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1\t200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n",
    // Lines.
    b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n X: a\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n",
    // Names and values.
    b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX\0: a\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: \x0b\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\xffX: a\r\nContent-Length: 0\r\n\r\n",
    // Lengths and codings.
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length:\t2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\x0bchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    // What `Connection` may not take away.
    b"HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nConnection: set-cookie\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nConnection: a b\r\nContent-Length: 2\r\n\r\nok",
    // Interim responses with a body, and switches nobody asked for.
    b"HTTP/1.1 103 Early Hints\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
];

#[test]
fn a_head_with_more_than_one_meaning_is_a_bad_gateway() {
    for bad in BAD_HEADS {
        let about = bad.escape_ascii().to_string();
        let upstream = once_bad(bad);
        let server = Setup::new(&any_site(&upstream)).start();
        for mut client in both(&server) {
            let response = client.get("a.test", "/bad");
            assert_eq!(response.status(), 502, "{about}: {response:?}");
            // The client's connection is in order, the site server's is not used again.
            assert_eq!(client.get("a.test", "/fine").text(), "fine", "{about}");
        }
        let requests = upstream.requests();
        assert_eq!(requests.len(), 4, "{about}: {requests:?}");
        upstream.wait_for_end_of(0);
    }
}

#[test]
fn a_body_with_broken_framing_never_looks_whole() {
    for chunks in BAD_CHUNKS {
        let about = chunks.escape_ascii().to_string();
        let chunks = chunks.to_vec();
        let upstream = Upstream::script(move |peer| {
            while let Some(request) = peer.request()? {
                if request.target() != "/bad" {
                    peer.send(&response_with(b"fine"))?;
                    continue;
                }
                peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")?;
                // Only when that has gone on does what follows come apart from it.
                std::thread::sleep(std::time::Duration::from_millis(20));
                peer.send(&chunks)?;
            }
            Ok(())
        });
        let server = serve(&upstream);
        for mut client in both(&server) {
            client.send("GET /bad HTTP/1.1\r\nHost: a.test\r\n\r\n");
            // Together with the head it is an error of ours; behind it the response is cut.
            match client.try_response_to("GET") {
                Ok(response) => {
                    assert_eq!(response.status(), 502, "{about}: {response:?}");
                    assert!(!response.text().contains("hello"), "{about}: {response:?}");
                }
                Err(error) => assert!(
                    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset),
                    "{about}: {error}"
                ),
            }
            let mut next = Client::http(server.http());
            assert_eq!(next.get("a.test", "/fine").text(), "fine", "{about}");
        }
    }
}

/// RFC 9110 §8.6, §15.3.5: such a server may well send the body it speaks of, so its connection is not used again.
#[test]
fn a_body_where_there_is_none_never_reaches_the_next_client() {
    for (status, fields) in [
        ("204 No Content", "Content-Length: 6"),
        ("204 No Content", "Transfer-Encoding: chunked"),
        ("304 Not Modified", "Content-Length: 6"),
        ("304 Not Modified", "Transfer-Encoding: chunked"),
        ("304 Not Modified", "X: y"),
        ("204 No Content", "X: y"),
    ] {
        // The body comes at once, or late; then it is there before the next request is, for we wait for it.
        for late in [false, true] {
            let head = format!("HTTP/1.1 {status}\r\n{fields}\r\n\r\n");
            let sent = Arc::new(AtomicUsize::new(0));
            let counter = sent.clone();
            let upstream = Upstream::script(move |peer| {
                while let Some(request) = peer.request()? {
                    if request.target() != "/bad" {
                        peer.send(&response_with(b"fine"))?;
                        continue;
                    }
                    match late {
                        false => peer.send(format!("{head}poison").as_bytes())?,
                        true => {
                            peer.send(head.as_bytes())?;
                            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")?;
                        }
                    }
                    counter.fetch_add(1, Ordering::SeqCst);
                }
                Ok(())
            });
            let server = serve(&upstream);
            for mut client in both(&server) {
                for _ in 0..3 {
                    let before = sent.load(Ordering::SeqCst);
                    let response = client.get("a.test", "/bad");
                    assert_eq!(format!("{}", response.status()), status[..3], "{fields} {late}");
                    assert!(response.field("transfer-encoding").is_none(), "{response:?}");
                    if status.starts_with("204") {
                        assert_eq!(response.field("content-length"), None);
                    }
                    wait_until("the body nobody asked for", || sent.load(Ordering::SeqCst) > before);
                    assert_eq!(client.get("a.test", "/fine").text(), "fine", "{status} {fields} {late}");
                }
            }
        }
    }
}

#[test]
fn a_switch_before_the_request_was_whole_is_a_bad_gateway() {
    // An upgrade beside a body is none, so that 101 is never asked for then: neither before its end nor behind it.
    let upstream = Upstream::script(|peer| {
        peer.head()?;
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello")?;
        peer.rest().map(drop)
    });
    let server = serve(&upstream);
    for (number, mut client) in both(&server).into_iter().enumerate() {
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 9\r\n\r\nabc");
        let response = client.response();
        assert_eq!((response.status(), response.closes()), (502, true));
        upstream.wait_for_end_of(number);
    }
}

/// What is wrong is said in the log and counted by that word.
#[test]
fn a_bad_response_has_its_word_in_the_log() {
    let upstream = once_bad(BAD_HEADS[0]);
    let mut server = Setup::new(&any_site(&upstream)).table("access_log", "to = \"access.log\"").start();
    assert_eq!(Client::http(server.http()).get("a.test", "/bad").status(), 502);
    let path = server.setup().directory().join("access.log");
    wait_until("the line", || {
        std::fs::read_to_string(&path).is_ok_and(|text| text.contains("\"upstream_bad_response\""))
    });
    server.stop();
    assert_eq!(server.total("upstream_failures"), 1);
}
