//! Clients that leave while the site server thinks: its work is called off.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Client, Setup, Upstream, any_site, wait_until};

/// Says nothing until the front end leaves, and counts those it thought for.
fn thinker() -> (Upstream, Arc<AtomicUsize>) {
    let thinking = Arc::new(AtomicUsize::new(0));
    let counted = thinking.clone();
    let upstream = Upstream::script(move |peer| {
        peer.request()?;
        counted.fetch_add(1, Ordering::SeqCst);
        peer.rest().map(drop)
    });
    (upstream, thinking)
}

#[test]
fn a_client_that_leaves_before_the_answer_ends_the_request() {
    for request in [
        "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
        // The next request lies there meanwhile.
        "GET / HTTP/1.1\r\nHost: a.test\r\n\r\nGET /next HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ] {
        let (upstream, thinking) = thinker();
        let mut server = Setup::new(&any_site(&upstream)).start();
        for (number, mut client) in
            [Client::http(server.http()), Client::https(server.https(), "a.test")].into_iter().enumerate()
        {
            client.send(request);
            wait_until("the request at the site server", || thinking.load(Ordering::SeqCst) > number);
            drop(client);
            upstream.wait_for_end_of(number);
        }
        server.stop();
        assert_eq!(server.total("requests_abandoned"), 2, "{request}");
    }
}

#[test]
fn a_client_that_leaves_after_its_body_came_in_pieces_ends_the_request() {
    let (upstream, thinking) = thinker();
    let server = crate::harness::serve(&upstream);
    let mut client = Client::http(server.http());
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    wait_until("the head at the site server", || upstream.connections() == 1);
    client.send("0\r\n\r\n");
    wait_until("the request at the site server", || thinking.load(Ordering::SeqCst) == 1);
    drop(client);
    upstream.wait_for_end_of(0);
}

#[test]
fn a_client_that_leaves_between_two_pieces_of_a_body_ends_the_response() {
    let upstream = Upstream::script(|peer| {
        peer.request()?;
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nevent\r\n")?;
        peer.rest().map(drop)
    });
    let server = crate::harness::serve(&upstream);
    for (number, mut client) in
        [Client::http(server.http()), Client::https(server.https(), "a.test")].into_iter().enumerate()
    {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(client.response_head().status(), 200);
        drop(client);
        upstream.wait_for_end_of(number);
    }
}

#[test]
fn one_who_waits_and_says_nothing_is_answered() {
    let upstream = Upstream::script(|peer| {
        while peer.request()?.is_some() {
            // Longer than it takes until a client is watched.
            std::thread::sleep(std::time::Duration::from_millis(600));
            peer.send(&crate::harness::response_with(b"thought"))?;
        }
        Ok(())
    });
    let server = crate::harness::serve(&upstream);
    for mut client in [Client::http(server.http()), Client::https(server.https(), "a.test")] {
        for _ in 0..2 {
            assert_eq!(client.get("a.test", "/").text(), "thought");
        }
        // With the next request in hand.
        client.send("GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\n");
        client.send("GET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(client.response().text(), "thought");
        assert_eq!(client.response().text(), "thought");
    }
    assert_eq!(upstream.connections(), 1);
}
