//! Half a response is never passed off as a whole one.

use std::io::ErrorKind;

use crate::harness::{Client, End, Server, Upstream, serve};

fn both(server: &Server) -> [Client; 2] {
    [Client::http(server.http()), Client::https(server.https(), "a.test")]
}

/// Sends this and ends the connection, with a reset or without.
fn cut_after(response: Vec<u8>, reset: bool) -> Upstream {
    Upstream::script(move |peer| {
        peer.request()?;
        peer.send(&response)?;
        if reset {
            peer.reset();
        }
        Ok(())
    })
}

/// The client must see an error where the body ends, or an error of ours before anything of it.
#[track_caller]
fn must_not_look_whole(client: &mut Client, about: &str) {
    match client.try_response_to("GET") {
        Ok(response) => assert_eq!(response.status(), 502, "{about}: taken for whole: {response:?}"),
        Err(error) => assert!(
            matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset),
            "{about}: {error}"
        ),
    }
}

#[test]
fn a_cut_body_of_known_length_looks_cut() {
    for (length, sent) in [(10, 5), (70_000, 10), (70_000, 69_999), (1_000_000, 500_000), (10, 0)] {
        for reset in [false, true] {
            let mut response = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
            response.resize(response.len() + sent, b'x');
            let upstream = cut_after(response, reset);
            let server = serve(&upstream);
            for mut client in both(&server) {
                client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
                must_not_look_whole(&mut client, &format!("{sent} of {length}, reset: {reset}"));
            }
        }
    }
}

#[test]
fn a_cut_chunked_body_looks_cut() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "",
        "5\r\nhel",
        "5\r\nhello\r\n",
        "5\r\nhello\r\n0\r\n",
        "5\r\nhello\r\n0\r\nX: y\r\n",
        "5\r\nhello\r\nzz\r\n",
        "5\r\nhelloXX0\r\n\r\n",
    ] {
        for reset in [false, true] {
            let upstream = cut_after(format!("{head}{body}").into_bytes(), reset);
            let server = serve(&upstream);
            for mut client in both(&server) {
                client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
                must_not_look_whole(&mut client, &format!("{body:?}, reset: {reset}"));
            }
        }
    }
}

#[test]
fn a_reset_in_a_close_delimited_body_looks_cut() {
    let upstream = Upstream::script(|peer| {
        peer.request()?;
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")?;
        // The reset must not overtake the bytes: they are taken first.
        std::thread::sleep(std::time::Duration::from_millis(50));
        peer.reset();
        Ok(())
    });
    let server = serve(&upstream);
    for mut client in both(&server) {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        must_not_look_whole(&mut client, "HTTP/1.1");
    }
    for mut client in both(&server) {
        client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
        let (_, end) = client.rest();
        assert_ne!(end, End::Clean);
    }
}

#[test]
fn an_http_1_0_client_sees_a_reset_where_a_body_was_cut() {
    for body in [
        "Content-Length: 100\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
    ] {
        let upstream = cut_after(format!("HTTP/1.1 200 OK\r\n{body}").into_bytes(), false);
        let server = serve(&upstream);
        for mut client in both(&server) {
            client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
            let (bytes, end) = client.rest();
            let ours = bytes.starts_with(b"HTTP/1.1 502");
            assert!(ours || end != End::Clean, "{body:?}: {}", String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn a_cut_response_head_is_a_bad_gateway() {
    for head in
        ["HTTP/1.1 2", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", "H"]
    {
        for reset in [false, true] {
            let upstream = cut_after(head.as_bytes().to_vec(), reset);
            let server = serve(&upstream);
            for mut client in both(&server) {
                assert_eq!(client.get("a.test", "/").status(), 502, "{head:?}, reset: {reset}");
            }
        }
    }
}

#[test]
fn a_client_that_leaves_in_a_response_ends_the_upstream_connection() {
    let upstream = Upstream::script(|peer| {
        peer.request()?;
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
        loop {
            peer.send(&[b'x'; 65_536])?;
        }
    });
    let server = serve(&upstream);
    for (number, mut client) in both(&server).into_iter().enumerate() {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        client.take(100_000);
        drop(client);
        upstream.wait_for_end_of(number);
    }
}

#[test]
fn a_client_that_leaves_in_an_upload_ends_the_upstream_connection() {
    let upstream = Upstream::echo();
    let server = serve(&upstream);
    for (number, mut client) in both(&server).into_iter().enumerate() {
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\nonly so much");
        client.finish();
        upstream.wait_for_end_of(number);
        // Nothing was answered, and nothing looks as if it were whole.
        let (bytes, _) = client.rest();
        assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&bytes));
    }
    assert!(upstream.requests().is_empty());
}
