//! Bounds and timeouts a client can meet, and the answer at each.

use crate::harness::{Client, End, Server, Setup, Upstream, any_site, serve, wait_until};

fn both(server: &Server) -> [Client; 2] {
    [Client::http(server.http()), Client::https(server.https(), "a.test")]
}

#[test]
fn a_head_that_takes_too_long_is_answered_408() {
    let upstream = Upstream::saying("never asked");
    let server = Setup::new(&any_site(&upstream)).timeouts("request_head = \"300ms\"").start();
    for mut client in both(&server) {
        client.send("GET / HTTP/1.1\r\nHost: a.t");
        let response = client.response();
        assert!(response.status() == 408 && response.closes());
        assert_eq!(client.end(), End::Clean);
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_head_that_trickles_in_gets_no_more_time() {
    let upstream = Upstream::saying("never asked");
    let server = Setup::new(&any_site(&upstream)).timeouts("request_head = \"400ms\"").start();
    let mut client = Client::http(server.http());
    let since = std::time::Instant::now();
    // It fails when the server has closed its side and we go on.
    while client.try_send("G").is_ok() && since.elapsed().as_secs() < 20 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(since.elapsed().as_secs() < 10, "{:?}", since.elapsed());
}

#[test]
fn a_body_that_stalls_is_answered_408() {
    let upstream = Upstream::echo();
    let mut server = Setup::new(&any_site(&upstream)).timeouts("body_idle = \"300ms\"").start();
    for (number, mut client) in both(&server).into_iter().enumerate() {
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\nonly so much");
        let response = client.response();
        assert!(response.status() == 408 && response.closes());
        assert_eq!(client.end(), End::Clean);
        upstream.wait_for_end_of(number);
    }
    assert!(upstream.requests().is_empty());
    server.stop();
    assert_eq!(server.total("requests_timed_out"), 2);
}

#[test]
fn a_handshake_that_stalls_is_ended() {
    let upstream = Upstream::saying("never asked");
    let mut server = Setup::new(&any_site(&upstream)).timeouts("handshake = \"300ms\"").start();
    // Nothing, and half a ClientHello.
    for start in [&b""[..], &b"\x16\x03\x01\x02\x00\x01\x00"[..]] {
        let mut client = Client::http(server.https());
        client.send(start);
        let (bytes, _) = client.rest();
        assert!(bytes.len() < 20, "an alert at most");
    }
    server.stop();
    assert_eq!(server.total("handshakes_failed"), 2);
}

#[test]
fn a_body_larger_than_allowed_is_answered_413() {
    let upstream = Upstream::echo();
    let sites = any_site(&upstream) + "request_body_bytes = \"1KiB\"\n";
    let server = Server::start(&sites);
    for mut client in both(&server) {
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1024\r\n\r\n");
        client.send(vec![b'x'; 1024]);
        assert_eq!(client.response().body.len(), 1024);
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\n");
        assert_eq!(client.response().status(), 413);
        assert_eq!(client.end(), End::Clean);
    }
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn a_chunked_body_larger_than_allowed_is_answered_413() {
    let upstream = Upstream::echo();
    let sites = any_site(&upstream) + "request_body_bytes = \"1KiB\"\n";
    let server = Server::start(&sites);
    let chunk = format!("200\r\n{}\r\n", "x".repeat(512));
    // In one piece with the head, and streamed.
    for (number, streamed) in [false, true].into_iter().enumerate() {
        let mut client = Client::http(server.http());
        let head = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
        if streamed {
            client.send(head);
            wait_until("the head at the site server", || upstream.connections() > number - 1);
            for _ in 0..3 {
                // The answer may come, and the connection go, before the last piece.
                let _ = client.try_send(&chunk);
            }
        } else {
            client.send(format!("{head}{chunk}{chunk}{chunk}"));
        }
        assert_eq!(client.response().status(), 413, "streamed: {streamed}");
        assert_eq!(client.end(), End::Clean);
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_head_larger_than_allowed_is_answered_431() {
    let upstream = Upstream::saying("ok");
    let server =
        Setup::new(&any_site(&upstream)).limits("request_head_bytes = \"4KiB\", headers = 20").start();
    for mut client in both(&server) {
        client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\nX-Large: {}\r\n\r\n", "x".repeat(3900)));
        assert_eq!(client.response().text(), "ok");
        client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\nX-Large: {}\r\n\r\n", "x".repeat(5000)));
        assert_eq!(client.response().status(), 431);
        assert_eq!(client.end(), End::Clean);
    }
    for (count, expected) in [(19, 200), (20, 431)] {
        let fields: String = (0..count).map(|number| format!("X-{number}: x\r\n")).collect();
        let mut client = Client::http(server.http());
        client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n"));
        assert_eq!(client.response().status(), expected, "{count} fields and Host");
    }
    assert_eq!(upstream.requests().len(), 3);
}

#[test]
fn a_head_without_end_is_answered_431_and_not_gathered() {
    let upstream = Upstream::saying("never asked");
    let server = serve(&upstream);
    let mut client = Client::http(server.http());
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nX-Large: ");
    let piece = vec![b'x'; 16 * 1024];
    for _ in 0..4 {
        let _ = client.try_send(&piece);
    }
    assert_eq!(client.response().status(), 431);
    assert!(server.memory_kib().1 < 200 * 1024);
}

#[test]
fn large_heads_below_the_limit_pass_in_both_directions() {
    let large = "y".repeat(20_000);
    let upstream =
        Upstream::answering(format!("HTTP/1.1 200 OK\r\nX-Large: {large}\r\nContent-Length: 2\r\n\r\nok"));
    let server = serve(&upstream);
    for mut client in both(&server) {
        client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\nCookie: {large}\r\n\r\n"));
        let response = client.response();
        assert_eq!((response.text().as_str(), response.field("x-large")), ("ok", Some(large.as_str())));
    }
    assert!(upstream.requests().iter().all(|request| request.field("cookie") == Some(large.as_str())));
}

#[test]
fn a_target_longer_than_allowed_is_answered_414() {
    let upstream = Upstream::saying("ok");
    let server = serve(&upstream);
    for mut client in both(&server) {
        // RFC 9112 §3 asks for 8000 at least.
        let long = format!("/{}", "x".repeat(8000));
        assert_eq!(client.get("a.test", &long).text(), "ok");
        let too_long = format!("/{}", "x".repeat(17_000));
        assert_eq!(client.get("a.test", &too_long).status(), 414);
        assert_eq!(client.end(), End::Clean);
    }
}

#[test]
fn methods_that_would_reach_behind_the_site_are_answered_405() {
    let upstream = Upstream::saying("never asked");
    let server = serve(&upstream);
    for request in ["CONNECT a.test:443", "TRACE /", "connect a.test:443", "Trace /"] {
        let mut client = Client::http(server.http());
        client.send(format!("{request} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        let response = client.response();
        assert!(matches!(response.status(), 405 | 400), "{request}: {response:?}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn connections_past_the_limit_wait_for_others_to_end() {
    let upstream = Upstream::saying("ok");
    let mut server = Setup::new(&any_site(&upstream)).limits("connections = 20").start();
    let mut held: Vec<_> = (0..20).map(|_| Client::http(server.http())).collect();
    for client in &mut held {
        assert_eq!(client.get("a.test", "/").text(), "ok");
    }
    let mut waiting = Client::http(server.http());
    waiting.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let line = server.wait_for_line("accepting pauses until connections end");
    assert!(line.contains("reason=\"connections\""), "{line}");
    // The others are not touched.
    for client in &mut held {
        assert_eq!(client.get("a.test", "/").text(), "ok");
    }
    held.truncate(10);
    assert_eq!(waiting.response().text(), "ok");
}

#[test]
fn plain_http_on_the_https_port_and_tls_on_the_http_port_do_no_harm() {
    let upstream = Upstream::saying("ok");
    let server = serve(&upstream);
    let mut client = Client::http(server.https());
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let (bytes, _) = client.rest();
    assert!(bytes.len() < 20, "an alert at most");
    let mut client = Client::http(server.http());
    client.send(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\r\n\r\n");
    assert_eq!(client.response().status(), 400);
    assert_eq!(Client::http(server.http()).get("a.test", "/").text(), "ok");
}

#[test]
fn responses_larger_than_allowed_are_bad_gateways() {
    let upstream = Upstream::script(|peer| {
        while let Some(request) = peer.request()? {
            let fields = match request.target() {
                "/large" => format!("X-Large: {}\r\n", "x".repeat(5_000)),
                "/many" => (0..20).map(|number| format!("X-{number}: x\r\n")).collect(),
                "/fits" => format!("X-Large: {}\r\n", "x".repeat(3_900)),
                _ => (0..19).map(|number| format!("X-{number}: x\r\n")).collect(),
            };
            peer.send(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok").as_bytes())?;
        }
        Ok(())
    });
    let mut server = Setup::new(&any_site(&upstream))
        .limits("response_head_bytes = \"4KiB\", response_headers = 20")
        .start();
    for mut client in both(&server) {
        for (target, status) in [("/large", 502), ("/fits", 200), ("/many", 502), ("/fit", 200)] {
            assert_eq!(client.get("a.test", target).status(), status, "{target}");
        }
    }
    // What is allowed changes with a reload, for connections that are open, too.
    let mut client = Client::http(server.http());
    assert_eq!(client.get("a.test", "/many").status(), 502);
    let sites = any_site(&upstream);
    server.setup().set_table("limits", "response_headers = 21");
    server.reload(&sites);
    assert_eq!(client.get("a.test", "/many").status(), 200);
}
