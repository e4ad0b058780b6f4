//! Site servers that are down, slow, broken or gone, and the connections kept to them.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Client, Server, Setup, Upstream, any_site, response_with, serve, wait_until};

fn both(server: &Server) -> [Client; 2] {
    [Client::http(server.http()), Client::https(server.https(), "a.test")]
}

/// A site whose server is at this address.
fn site_at(url: &str) -> String {
    format!("[[site]]\nname = \"any\"\nhosts = [\"a.test\", \"*\"]\nupstream = [{url:?}]\n")
}

#[test]
fn a_site_server_that_is_down_is_a_bad_gateway() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port();
    let server = Server::start(&site_at(&format!("http://127.0.0.1:{port}")));
    for mut client in both(&server) {
        for method in ["GET", "POST"] {
            client.send(format!("{method} / HTTP/1.1\r\nHost: a.test\r\n\r\n"));
            let response = client.response();
            // The fourth finds it known to be down.
            assert!([502, 503].contains(&response.status()) && !response.closes(), "{response:?}");
        }
    }
    let server = Server::start(&site_at("unix:/nowhere/at/all.sock"));
    assert_eq!(Client::http(server.http()).get("a.test", "/").status(), 502);
}

#[test]
fn a_site_server_that_never_answers_is_a_gateway_timeout() {
    let upstream = Upstream::script(|peer| {
        peer.request()?;
        peer.rest().map(drop)
    });
    let server = Setup::new(&any_site(&upstream)).timeouts("response_head = \"300ms\"").start();
    for mut client in both(&server) {
        assert_eq!(client.get("a.test", "/").status(), 504);
        assert_eq!(client.get("a.test", "/again").status(), 504);
    }
    for connection in 0..4 {
        upstream.wait_for_end_of(connection);
    }
}

#[test]
fn a_site_server_that_stalls_in_a_body_cuts_the_response() {
    let upstream = Upstream::script(|peer| {
        peer.request()?;
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nonly so much")?;
        peer.rest().map(drop)
    });
    let mut server = Setup::new(&any_site(&upstream))
        .timeouts("body_idle = \"300ms\"")
        .table("access_log", "to = \"access.log\"")
        .start();
    for mut client in both(&server) {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let mut head = client.response_head();
        assert_eq!(head.status(), 200);
        assert!(client.try_body(&mut head).is_err());
    }
    let log = server.setup().directory().join("access.log");
    wait_until("both are in the log", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.matches("\"upstream_stalled\"").count() == 2)
    });
}

#[test]
fn another_server_is_asked_when_one_is_down() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port();
    let upstream = Upstream::saying("up");
    let sites = format!(
        "[[site]]\nname = \"any\"\nhosts = [\"*\"]\nupstream = [\"http://127.0.0.1:{port}\", {:?}]\n",
        upstream.url()
    );
    let server = Server::start(&sites);
    for mut client in both(&server) {
        for _ in 0..4 {
            client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi");
            assert_eq!(client.response().text(), "up");
        }
    }
}

#[test]
fn what_is_not_a_response_is_a_bad_gateway_and_the_connection_is_not_used_again() {
    for garbage in [
        "SSH-2.0-OpenSSH_9.6\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 99 No\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nBad Name: x\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    ] {
        let upstream = Upstream::answering(garbage);
        let server = serve(&upstream);
        for mut client in both(&server) {
            let response = client.get("a.test", "/");
            assert_eq!(response.status(), 502, "{garbage:?}");
            assert!(!response.text().contains("SSH"));
        }
        assert_eq!(upstream.connections(), 2, "{garbage:?}");
    }
}

#[test]
fn a_response_head_without_end_is_a_bad_gateway() {
    let upstream = Upstream::script(|peer| {
        peer.request()?;
        peer.send(b"HTTP/1.1 200 OK\r\n")?;
        loop {
            peer.send(format!("X-More: {}\r\n", "x".repeat(1000)).as_bytes())?;
        }
    });
    let server = serve(&upstream);
    for mut client in both(&server) {
        assert_eq!(client.get("a.test", "/").status(), 502);
    }
}

/// Answers the first request of each connection; what happens to the second is up to the case.
fn stale(answered_before: usize) -> (Upstream, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = seen.clone();
    let upstream = Upstream::script(move |peer| {
        let mut answered = 0;
        while peer.head()?.is_some() {
            counter.fetch_add(1, Ordering::SeqCst);
            if answered == answered_before && peer.number == 0 {
                // Gone while the request was under way.
                return Ok(());
            }
            peer.send(&response_with(b"ok"))?;
            answered += 1;
        }
        Ok(())
    });
    (upstream, seen)
}

#[test]
fn a_get_is_repeated_once_when_a_kept_connection_turns_out_closed() {
    let (upstream, seen) = stale(1);
    let mut server = serve(&upstream);
    let mut client = Client::http(server.http());
    assert_eq!(client.get("a.test", "/").text(), "ok");
    assert_eq!(client.get("a.test", "/").text(), "ok");
    assert_eq!(seen.load(Ordering::SeqCst), 3);
    assert_eq!(upstream.connections(), 2);
    drop(client);
    server.stop();
    assert_eq!(server.total("upstream_retries"), 1);
}

#[test]
fn a_post_is_not_repeated() {
    for body in ["", "Content-Length: 2\r\n\r\nhi", "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"]
    {
        let (upstream, seen) = stale(1);
        let server = serve(&upstream);
        let mut client = Client::http(server.http());
        assert_eq!(client.get("a.test", "/").text(), "ok");
        let end = if body.is_empty() { "\r\n" } else { "" };
        client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\n{body}{end}"));
        assert_eq!(client.response().status(), 502, "{body:?}");
        assert_eq!(seen.load(Ordering::SeqCst), 2, "{body:?}");
        assert_eq!(upstream.connections(), 1, "{body:?}");
    }
}

#[test]
fn a_put_whose_body_is_streamed_is_not_repeated() {
    let (upstream, seen) = stale(1);
    let server = serve(&upstream);
    let mut client = Client::http(server.http());
    assert_eq!(client.get("a.test", "/").text(), "ok");
    client.send("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 500000\r\n\r\n");
    client.send(vec![b'x'; 100]);
    assert_eq!(client.response().status(), 502);
    assert_eq!(seen.load(Ordering::SeqCst), 2);
}

#[test]
fn a_new_connection_that_closes_without_an_answer_is_a_bad_gateway() {
    let upstream = Upstream::script(|peer| peer.request().map(drop));
    let server = serve(&upstream);
    for mut client in both(&server) {
        assert_eq!(client.get("a.test", "/").status(), 502);
    }
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn a_connection_closed_while_idle_is_not_used() {
    let upstream = Upstream::script(|peer| {
        peer.request()?;
        peer.send(&response_with(b"ok"))
    });
    let server = serve(&upstream);
    let mut client = Client::http(server.http());
    for number in 0..5 {
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(client.response().text(), "ok");
        upstream.wait_for_end_of(number);
    }
}

#[test]
fn bytes_nobody_asked_for_never_reach_the_next_client() {
    const RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    // Sent with the response, and after it.
    for separate in [false, true] {
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = sent.clone();
        let upstream = Upstream::script(move |peer| {
            while peer.request()?.is_some() {
                if separate {
                    peer.send(RESPONSE.as_bytes())?;
                    peer.send(POISON.as_bytes())?;
                } else {
                    peer.send(format!("{RESPONSE}{POISON}").as_bytes())?;
                }
                counter.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        });
        let server = serve(&upstream);
        for _ in 0..10 {
            for mut client in both(&server) {
                for _ in 0..2 {
                    let before = sent.load(Ordering::SeqCst);
                    assert_eq!(client.get("a.test", "/").text(), "ok", "separate: {separate}");
                    // Once it waits at the front end, nobody may get it. Bytes that come when the next request
                    // is already out cannot be told from its answer by anybody.
                    wait_until("the unasked bytes", || sent.load(Ordering::SeqCst) > before);
                }
            }
        }
        assert_eq!(upstream.connections(), 40, "separate: {separate}");
    }
}

#[test]
fn bytes_behind_responses_without_a_body_never_reach_the_next_client() {
    for response in [
        "HTTP/1.1 204 No Content\r\n\r\npoison",
        "HTTP/1.1 304 Not Modified\r\n\r\npoison",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\npoison",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\npoison",
    ] {
        let upstream = Upstream::answering(response);
        let server = serve(&upstream);
        for mut client in both(&server) {
            for _ in 0..3 {
                assert!(client.get("a.test", "/").status() < 400, "{response:?}");
            }
        }
        assert_eq!(upstream.connections(), 6, "{response:?}");
    }
}

#[test]
fn a_body_that_answers_head_never_reaches_the_next_client() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    let server = serve(&upstream);
    for mut client in both(&server) {
        for _ in 0..3 {
            client.send("HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n");
            let response = client.response_to("HEAD");
            assert_eq!((response.status(), response.field("content-length")), (200, Some("6")));
        }
        assert_eq!(client.get("a.test", "/").text(), "poison");
    }
}

#[test]
fn no_connection_is_kept_when_none_may_be() {
    let upstream = Upstream::saying("ok");
    let server = Setup::new(&any_site(&upstream)).table("upstream_pool", "idle_per_worker = 0").start();
    let mut client = Client::http(server.http());
    for _ in 0..3 {
        assert_eq!(client.get("a.test", "/").text(), "ok");
    }
    assert_eq!(upstream.connections(), 3);
}

#[test]
fn a_kept_connection_is_closed_after_its_time() {
    let upstream = Upstream::saying("ok");
    let server = Setup::new(&any_site(&upstream)).table("upstream_pool", "idle_timeout = \"1s\"").start();
    assert_eq!(Client::http(server.http()).get("a.test", "/").text(), "ok");
    upstream.wait_for_end_of(0);
}

#[test]
fn the_time_for_a_response_is_counted_from_the_end_of_the_request() {
    let upstream = Upstream::echo();
    let server = Setup::new(&any_site(&upstream)).timeouts("response_head = \"500ms\"").start();
    for mut client in both(&server) {
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 15\r\n\r\n");
        // Longer than that in all, shorter between two pieces.
        for _ in 0..5 {
            std::thread::sleep(std::time::Duration::from_millis(250));
            client.send("abc");
        }
        assert_eq!(client.response().text(), "abcabcabcabcabc");
    }
}
