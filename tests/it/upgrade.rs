//! WebSocket and other upgrades: a tunnel after 101, a plain exchange without it.

use crate::harness::{
    Client, End, Server, Setup, Upstream, any_site, response_with, serve, with_one_worker_and_two,
};

const REQUEST: &str = "GET /socket HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn both(server: &Server) -> [Client; 2] {
    [Client::http(server.http()), Client::https(server.https(), "a.test")]
}

#[test]
fn bytes_pass_both_ways_after_the_switch() {
    with_one_worker_and_two(|workers| {
        let upstream = Upstream::script(|peer| {
            let request = peer.head()?.unwrap_or_default();
            assert_eq!(request.field("upgrade"), Some("websocket"));
            assert_eq!(request.field("connection").map(str::to_lowercase).as_deref(), Some("upgrade"));
            assert_eq!(request.field("sec-websocket-version"), Some("13"));
            peer.send(format!("{SWITCH}hello").as_bytes())?;
            loop {
                let message = peer.take(5)?;
                peer.send(&message)?;
            }
        });
        let server = Setup::new(&any_site(&upstream)).workers(workers).start();
        for mut client in both(&server) {
            client.send(REQUEST);
            let switch = client.response();
            assert_eq!((switch.status(), switch.field("upgrade")), (101, Some("websocket")));
            assert_eq!(switch.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
            assert_eq!(switch.field("content-length"), None);
            assert_eq!(client.take(5), b"hello");
            for message in [b"\x00\x01\xff\x0d\x0a", b"GET /", b"12345"] {
                client.send(message);
                assert_eq!(client.take(5), message);
            }
            let large = vec![b'x'; 500_000];
            let mut taken = Vec::new();
            for piece in large.chunks(50_000) {
                client.send(piece);
                taken.extend(client.take(50_000));
            }
            assert!(taken == large);
        }
    });
}

#[test]
fn what_a_client_sends_ahead_of_the_switch_arrives() {
    let upstream = Upstream::script(|peer| {
        peer.head()?;
        // Held back until the server has switched: it might have refused, and read a request there.
        peer.send(SWITCH.as_bytes())?;
        let ahead = peer.take(5)?;
        peer.send(&ahead)
    });
    let server = serve(&upstream);
    for mut client in both(&server) {
        client.send(format!("{REQUEST}ahead"));
        assert_eq!(client.response().status(), 101);
        assert_eq!(client.take(5), b"ahead");
        assert_eq!(client.end(), End::Clean);
    }
}

#[test]
fn a_client_that_ends_its_side_still_hears_the_other() {
    let upstream = Upstream::script(|peer| {
        peer.head()?;
        peer.send(SWITCH.as_bytes())?;
        let all = peer.rest()?;
        peer.send(format!("{} and goodbye", String::from_utf8_lossy(&all)).as_bytes())
    });
    let server = serve(&upstream);
    for mut client in both(&server) {
        client.send(REQUEST);
        assert_eq!(client.response().status(), 101);
        client.send("that is all");
        client.finish();
        assert_eq!(client.take(23), b"that is all and goodbye");
        assert_eq!(client.end(), End::Clean);
    }
}

#[test]
fn a_site_server_that_ends_its_side_still_hears_the_other() {
    let (told, tell) = std::sync::mpsc::channel();
    let upstream = Upstream::script(move |peer| {
        peer.head()?;
        peer.send(format!("{SWITCH}goodbye").as_bytes())?;
        peer.finish();
        let all = peer.rest()?;
        told.send(all).map_err(std::io::Error::other)
    });
    let server = serve(&upstream);
    for mut client in both(&server) {
        client.send(REQUEST);
        assert_eq!(client.response().status(), 101);
        assert_eq!(client.take(7), b"goodbye");
        assert_eq!(client.end(), End::Clean);
        client.send("still here");
        client.finish();
        assert_eq!(tell.recv_timeout(crate::harness::PATIENCE).expect("it hears"), b"still here");
    }
}

#[test]
fn a_refused_upgrade_is_a_plain_exchange() {
    let upstream = Upstream::script(|peer| {
        while let Some(request) = peer.request()? {
            assert!(request.field("upgrade").is_some() || request.target() == "/after");
            peer.send(&response_with(b"no"))?;
        }
        Ok(())
    });
    let server = serve(&upstream);
    for mut client in both(&server) {
        client.send(REQUEST);
        assert_eq!(client.response().text(), "no");
        assert_eq!(client.get("a.test", "/after").text(), "no");
    }
}

#[test]
fn a_tunnel_in_which_nothing_moves_is_closed() {
    let upstream = Upstream::script(|peer| {
        peer.head()?;
        peer.send(SWITCH.as_bytes())?;
        peer.rest().map(drop)
    });
    let server = Setup::new(&any_site(&upstream)).timeouts("tunnel_idle = \"300ms\"").start();
    for (number, mut client) in both(&server).into_iter().enumerate() {
        client.send(REQUEST);
        assert_eq!(client.response().status(), 101);
        let (bytes, _) = client.rest();
        assert!(bytes.is_empty());
        upstream.wait_for_end_of(number);
    }
}

#[test]
fn a_tunnel_that_is_used_one_way_only_stays() {
    let upstream = Upstream::script(|peer| {
        peer.head()?;
        peer.send(SWITCH.as_bytes())?;
        for _ in 0..30 {
            std::thread::sleep(std::time::Duration::from_millis(100));
            peer.send(b".")?;
        }
        Ok(())
    });
    let server = Setup::new(&any_site(&upstream)).timeouts("tunnel_idle = \"1500ms\"").start();
    let mut clients = both(&server);
    for client in &mut clients {
        client.send(REQUEST);
    }
    for client in &mut clients {
        assert_eq!(client.response().status(), 101);
        assert_eq!(client.take(30), [b'.'; 30]);
        assert_eq!(client.end(), End::Clean);
    }
}

#[test]
fn a_tunnel_ends_when_either_side_is_gone() {
    let upstream = Upstream::script(|peer| {
        let request = peer.head()?.unwrap_or_default();
        peer.send(SWITCH.as_bytes())?;
        if request.target() == "/reset" {
            peer.take(1)?;
            peer.reset();
            return Ok(());
        }
        peer.rest().map(drop)
    });
    let server = serve(&upstream);
    for (number, mut client) in both(&server).into_iter().enumerate() {
        client.send(REQUEST);
        assert_eq!(client.response().status(), 101);
        drop(client);
        upstream.wait_for_end_of(number);
    }
    for mut client in both(&server) {
        client.send(REQUEST.replace("/socket", "/reset"));
        assert_eq!(client.response().status(), 101);
        client.send("x");
        let (bytes, _) = client.rest();
        assert!(bytes.is_empty());
    }
}
