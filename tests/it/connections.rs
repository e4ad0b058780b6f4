//! One connection, many requests: keep-alive, pipelining, versions, how it ends.

use crate::harness::{
    Client, End, Server, Setup, Upstream, any_site, response_with, serve, with_one_worker_and_two,
};

/// Answers each request with its target.
fn targets() -> Upstream {
    Upstream::script(|peer| {
        while let Some(request) = peer.request()? {
            peer.send(&response_with(request.target().as_bytes()))?;
        }
        Ok(())
    })
}

fn both(server: &Server) -> [Client; 2] {
    [Client::http(server.http()), Client::https(server.https(), "a.test")]
}

#[test]
fn a_connection_serves_request_after_request_over_one_upstream_connection() {
    let upstream = targets();
    let server = serve(&upstream);
    for mut client in both(&server) {
        for number in 0..20 {
            let target = format!("/{number}");
            assert_eq!(client.get("a.test", &target).text(), target);
        }
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn fifty_requests_in_one_write_are_answered_in_order() {
    with_one_worker_and_two(|workers| {
        let upstream = targets();
        let server = Setup::new(&any_site(&upstream)).workers(workers).start();
        for mut client in both(&server) {
            let requests: String =
                (0..50).map(|number| format!("GET /{number} HTTP/1.1\r\nHost: a.test\r\n\r\n")).collect();
            client.send(requests);
            for number in 0..50 {
                assert_eq!(client.response().text(), format!("/{number}"));
            }
        }
    });
}

#[test]
fn pipelined_requests_with_bodies_keep_their_bodies() {
    let upstream = Upstream::echo();
    let server = serve(&upstream);
    for mut client in both(&server) {
        client.send(
            "POST /1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\none\
             POST /2 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nt\r\n2\r\nwo\r\n0\r\n\r\n\
             GET /3 HTTP/1.1\r\nHost: a.test\r\n\r\n\
             POST /4 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nfour",
        );
        for expected in ["one", "two", "", "four"] {
            assert_eq!(client.response().text(), expected);
        }
    }
}

#[test]
fn a_short_exchange_is_the_same_wherever_its_bytes_are_split() {
    let upstream = Upstream::echo();
    let server = serve(&upstream);
    let request: &[u8] = b"POST /split?here HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n\
        5\r\nhello\r\nb;x=y\r\n, chunks of\r\n0\r\nTrailer-Of: ours\r\n\r\n";
    for mut client in both(&server) {
        for at in 1..request.len() {
            client.send(&request[..at]);
            client.send(&request[at..]);
            let response = client.response();
            assert_eq!(
                (response.status(), response.text().as_str()),
                (200, "hello, chunks of"),
                "split at {at}"
            );
        }
    }
    let mut client = Client::http(server.http());
    for byte in request {
        client.send([*byte]);
    }
    assert_eq!(client.response().text(), "hello, chunks of");
}

#[test]
fn a_response_is_the_same_wherever_the_upstream_splits_it() {
    let response: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-One: 1\r\n\r\n\
        5\r\nhello\r\n1\r\n!\r\n0\r\nEnd: yes\r\n\r\n";
    let upstream = Upstream::script(move |peer| {
        while let Some(request) = peer.request()? {
            let at = request.target()[1..].parse().unwrap_or(0);
            peer.send(&response[..at])?;
            peer.send(&response[at..])?;
        }
        Ok(())
    });
    let server = serve(&upstream);
    for mut client in both(&server) {
        for at in 1..response.len() {
            let answer = client.get("a.test", &format!("/{at}"));
            assert_eq!((answer.status(), answer.text().as_str()), (200, "hello!"), "split at {at}");
            assert_eq!((answer.field("x-one"), answer.chunked), (Some("1"), true));
            assert_eq!(answer.trailers, [("End".to_owned(), "yes".to_owned())]);
        }
    }
}

#[test]
fn close_is_answered_with_close() {
    let upstream = targets();
    let server = serve(&upstream);
    for mut client in both(&server) {
        client.send("GET /last HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
        let response = client.response();
        assert!(response.closes() && response.text() == "/last");
        assert_eq!(client.end(), End::Clean);
    }
    assert_eq!(upstream.connections(), 1, "the upstream connection lives on");
}

#[test]
fn what_follows_a_close_is_not_served() {
    let upstream = targets();
    let server = serve(&upstream);
    for mut client in both(&server) {
        client.send(
            "GET /last HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\nGET /more HTTP/1.1\r\nHost: a.test\r\n\r\n",
        );
        assert_eq!(client.response().text(), "/last");
        assert_eq!(client.end(), End::Clean);
    }
    assert!(upstream.requests().iter().all(|request| request.target() == "/last"));
}

#[test]
fn an_upstream_that_closes_does_not_close_the_client() {
    let upstream = Upstream::script(|peer| {
        peer.request()?;
        peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
    });
    let server = serve(&upstream);
    for mut client in both(&server) {
        for _ in 0..3 {
            let response = client.get("a.test", "/");
            assert!(response.text() == "ok" && !response.closes(), "{response:?}");
        }
    }
    assert_eq!(upstream.connections(), 6);
}

#[test]
fn an_http_1_0_client_gets_a_response_it_understands() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for response in
        [&chunked[..], b"HTTP/1.0 200 OK\r\n\r\nhello", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"]
    {
        let upstream = Upstream::script(move |peer| {
            peer.request()?;
            peer.send(response)
        });
        let server = serve(&upstream);
        for mut client in both(&server) {
            client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
            let answer = client.response();
            assert!(!answer.chunked && answer.closes() && answer.text() == "hello", "{answer:?}");
            assert_eq!(client.end(), End::Clean);
        }
        assert!(upstream.requests().iter().all(|request| request.start == "GET / HTTP/1.1"));
    }
}

#[test]
fn the_end_of_a_close_delimited_body_is_told_over_tls_when_nothing_else_is_left_to_send() {
    // The last chunk comes when the client has the body: close_notify is all that is left.
    let (read, was_read) = std::sync::mpsc::channel();
    let was_read = std::sync::Mutex::new(was_read);
    let upstream = Upstream::script(move |peer| {
        peer.request()?;
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")?;
        was_read.lock().expect("no panic").recv().map_err(std::io::Error::other)?;
        peer.send(b"0\r\n\r\n")
    });
    let server = serve(&upstream);
    let mut client = Client::https(server.https(), "a.test");
    client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
    client.response_head();
    assert_eq!(client.take(5), b"hello");
    read.send(()).expect("it waits");
    assert_eq!(client.end(), End::Clean);
}

#[test]
fn an_http_1_0_client_may_keep_the_connection() {
    let upstream = targets();
    let server = serve(&upstream);
    for mut client in both(&server) {
        for _ in 0..3 {
            client.send("GET /kept HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n");
            let answer = client.response();
            assert_eq!((answer.text().as_str(), answer.field("connection")), ("/kept", Some("keep-alive")));
        }
    }
}

#[test]
fn an_http_1_0_client_that_keeps_the_connection_is_told_when_it_cannot() {
    let upstream =
        Upstream::answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let server = serve(&upstream);
    for mut client in both(&server) {
        client.send("GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n");
        let answer = client.response();
        assert!(answer.closes() && answer.text() == "hello", "{answer:?}");
        assert_eq!(client.end(), End::Clean);
    }
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let upstream = targets();
    let mut server = Setup::new(&any_site(&upstream)).timeouts("keep_alive = \"1s\"").start();
    let mut client = Client::http(server.http());
    assert_eq!(client.get("a.test", "/").status(), 200);
    assert_eq!(client.end(), End::Clean);
    let mut client = Client::https(server.https(), "a.test");
    assert_eq!(client.get("a.test", "/").status(), 200);
    assert_eq!(client.end(), End::Clean);
    // Before the first request, too.
    for mut client in both(&server) {
        assert_eq!(client.end(), End::Clean);
    }
    assert!(server.log_text().contains("reason=\"keep_alive\""));
    server.stop();
    assert_eq!(server.total("connections_idle_closed"), 4);
}

#[test]
fn empty_lines_before_a_request_are_forgiven() {
    let upstream = targets();
    let server = serve(&upstream);
    let mut client = Client::http(server.http());
    client.send("\r\nGET /1 HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.response().text(), "/1");
    client.send("\r\nGET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.response().text(), "/2");
}

#[test]
fn a_client_that_ends_its_side_still_gets_its_answers() {
    let upstream = targets();
    let server = serve(&upstream);
    for mut client in both(&server) {
        client.send("GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n");
        client.finish();
        assert_eq!(client.response().text(), "/1");
        assert_eq!(client.response().text(), "/2");
        assert_eq!(client.end(), End::Clean);
    }
}

#[test]
fn two_workers_both_serve() {
    let upstream = targets();
    let mut server = Setup::new(&any_site(&upstream)).workers(2).start();
    // The kernel spreads connections by their addresses: with so many, both get some.
    let mut clients: Vec<_> = (0..64).map(|_| Client::http(server.http())).collect();
    for client in &mut clients {
        assert_eq!(client.get("a.test", "/").status(), 200);
    }
    for client in &mut clients {
        assert_eq!(client.get("a.test", "/").status(), 200);
    }
    let started = server.lines().iter().filter(|line| line.contains("worker started")).count();
    assert_eq!(started, 2);
    // Each worker has its own pool and needs one connection.
    assert_eq!(upstream.connections(), 2);
    drop(clients);
    server.stop();
    assert_eq!(server.total("connections_accepted"), 64);
    assert_eq!(server.total("requests_forwarded"), 128);
}
