//! How many sends a response takes: each one is a system call's worth of work and a packet on the wire.

use crate::harness::{Client, Setup, Upstream, any_site, response_with};

const REQUESTS: u64 = 40;

/// Sends made for `REQUESTS` kept-alive requests with responses of `size` bytes, over TLS.
fn sends_for(size: usize, requests: u64) -> u64 {
    let upstream = Upstream::answering(response_with(&vec![b'x'; size]));
    let mut server = Setup::new(&any_site(&upstream)).start();
    let mut client = Client::https(server.https(), "a.test");
    for _ in 0..requests {
        assert_eq!(client.get("a.test", "/").body.len(), size);
    }
    drop(client);
    server.stop();
    server.total("sends")
}

#[test]
fn a_small_response_is_one_send_and_its_request_another() {
    // The handshake takes one for the server's flight; tickets leave with the first response.
    let (one, many) = (sends_for(100, 1), sends_for(100, 1 + REQUESTS));
    assert_eq!(many - one, 2 * REQUESTS);
    assert!(one <= 4, "a handshake's flight, a request, a response and close_notify: {one}");
}

#[test]
fn a_response_of_64_kib_is_one_send_head_and_body_together() {
    let (one, many) = (sends_for(64 * 1024, 1), sends_for(64 * 1024, 1 + REQUESTS));
    let each = (many - one) as f64 / REQUESTS as f64;
    // Its five records apart would be six with the request. One more is made when the site server pauses
    // inside the body for longer than we wait, which a busy machine may do now and then.
    assert!(each < 3.0, "{each} sends for a request and its response");
}
