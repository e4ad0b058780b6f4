//! Nothing is held back: what one side has sent reaches the other before the next part is sent.

use std::sync::{Mutex, mpsc};

use crate::harness::{Client, PATIENCE, Upstream, response_with, serve, wait_until};

/// A step that one side waits for and the other announces.
fn gate() -> (mpsc::Sender<()>, impl Fn() -> std::io::Result<()> + Send + Sync + 'static) {
    let (open, opened) = mpsc::channel();
    let opened = Mutex::new(opened);
    (open, move || opened.lock().expect("no panic").recv_timeout(PATIENCE).map_err(std::io::Error::other))
}

#[test]
fn each_part_of_a_response_arrives_before_the_next_is_sent() {
    const BODIES: [(&str, [&str; 3]); 3] = [
        ("Content-Length: 15", ["first", "other", "final"]),
        ("Transfer-Encoding: chunked", ["5\r\nfirst\r\n", "5\r\nother\r\n", "5\r\nfinal\r\n0\r\n\r\n"]),
        ("Connection: close", ["first", "other", "final"]),
    ];
    for (framing, parts) in BODIES {
        let (open, wait) = gate();
        let upstream = Upstream::script(move |peer| {
            peer.request()?;
            peer.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n").as_bytes())?;
            for part in parts {
                wait()?;
                peer.send(part.as_bytes())?;
            }
            Ok(())
        });
        let server = serve(&upstream);
        for mut client in [Client::http(server.http()), Client::https(server.https(), "a.test")] {
            client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
            let chunked = client.response_head().field("transfer-encoding").is_some();
            for part in ["first", "other", "final"] {
                open.send(()).expect("it waits");
                let wire = if chunked { format!("5\r\n{part}\r\n") } else { part.to_owned() };
                assert_eq!(client.take(wire.len()), wire.as_bytes(), "{framing}");
            }
        }
    }
}

#[test]
fn each_part_of_a_request_arrives_before_the_next_is_sent() {
    for chunked in [false, true] {
        let upstream = Upstream::echo();
        let server = serve(&upstream);
        for (number, mut client) in
            [Client::http(server.http()), Client::https(server.https(), "a.test")].into_iter().enumerate()
        {
            let framing = if chunked { "Transfer-Encoding: chunked" } else { "Content-Length: 15" };
            client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\n{framing}\r\n\r\n"));
            for part in ["first", "other", "final"] {
                let wire = if chunked { format!("5\r\n{part}\r\n") } else { part.to_owned() };
                client.send(wire);
                wait_until(part, || {
                    let got = upstream.received_in_all();
                    let needle = part.as_bytes();
                    got.windows(needle.len()).filter(|window| *window == needle).count() > number
                });
            }
            if chunked {
                client.send("0\r\n\r\n");
            }
            assert_eq!(client.response().text(), "firstotherfinal");
        }
    }
}

#[test]
fn a_response_may_run_beside_its_request() {
    // An echo that answers before it has read all, as gRPC-like services do.
    let upstream = Upstream::script(|peer| {
        while peer.head()?.is_some() {
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n")?;
            for _ in 0..50 {
                let piece = peer.take(1000)?;
                peer.send(&piece)?;
            }
        }
        Ok(())
    });
    let server = serve(&upstream);
    for mut client in [Client::http(server.http()), Client::https(server.https(), "a.test")] {
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 50000\r\n\r\n");
        client.send(vec![b'0'; 1000]);
        assert_eq!(client.response_head().status(), 200);
        for number in 0..50u8 {
            assert_eq!(client.take(1000), vec![b'0' + number; 1000]);
            if number < 49 {
                client.send(vec![b'1' + number; 1000]);
            }
        }
        // Both were whole: the connection is of use.
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 50000\r\n\r\n");
        client.send(vec![b'x'; 50_000]);
        assert_eq!(client.response().body, vec![b'x'; 50_000]);
    }
}

#[test]
fn events_reach_the_client_one_by_one() {
    let (open, wait) = gate();
    let upstream = Upstream::script(move |peer| {
        if peer.request()?.is_some_and(|request| request.target() != "/events") {
            return peer.send(&response_with(b"ok"));
        }
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")?;
        for number in 0..10 {
            wait()?;
            peer.send(format!("data: {number}\n\n").as_bytes())?;
        }
        Ok(())
    });
    let server = serve(&upstream);
    let mut client = Client::https(server.https(), "a.test");
    client.send("GET /events HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.response_head().status(), 200);
    for number in 0..10 {
        open.send(()).expect("it waits");
        assert_eq!(client.take(14), format!("9\r\ndata: {number}\n\n\r\n").as_bytes());
    }
    assert_eq!(client.take(5), b"0\r\n\r\n");
    assert_eq!(client.get("a.test", "/").text(), "ok");
}
