//! The PROXY protocol: from balancers in front of us, and to site servers behind us.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::harness::{Client, End, Peer, Setup, Upstream, any_site};

const V2_PROXIED: [u8; 28] = [
    0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, b'Q', b'U', b'I', b'T', 0x0a, 0x21, 0x11, 0, 12, 203, 0, 113, 7,
    192, 0, 2, 1, 0xdc, 4, 1, 0xbb,
];

#[test]
fn a_balancer_says_who_the_visitor_is() {
    let upstream = Upstream::saying("ok");
    let server = Setup::new(&any_site(&upstream))
        .listen("http = [\"127.0.0.1:0\"], https = [\"127.0.0.1:0\"], proxy_protocol = [\"127.0.0.0/8\"]")
        .start();
    for header in [b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n".as_slice(), &V2_PROXIED] {
        let mut client = Client::http(server.http());
        client.send([header, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"].concat());
        assert_eq!(client.response().text(), "ok");
        // In pieces, and before TLS.
        let mut client = Client::https_after(server.https(), "a.test", |wire| {
            for byte in header {
                wire.write_all(&[*byte]).expect("it reads");
            }
        });
        assert_eq!(client.get("a.test", "/").text(), "ok");
    }
    for request in upstream.requests() {
        assert_eq!(request.field("x-forwarded-for"), Some("203.0.113.7"));
    }
}

#[test]
fn a_balancer_without_a_header_is_not_served() {
    let upstream = Upstream::saying("never");
    let mut server = Setup::new(&any_site(&upstream))
        .listen("http = [\"127.0.0.1:0\"], https = [], proxy_protocol = [\"127.0.0.1\"]")
        .timeouts("handshake = \"300ms\"")
        .start();
    for bytes in
        [b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".as_slice(), b"PROXY TCP4 x\r\n", b"PROXY TCP4 1.2"]
    {
        let mut stream = TcpStream::connect(server.http()).expect("it listens");
        stream.write_all(bytes).expect("it reads");
        let mut answer = Vec::new();
        // A reset when there was more than it read.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(upstream.connections(), 0);
    server.stop();
    assert_eq!(server.total("proxy_headers_refused"), 3);
}

#[test]
fn others_may_not_say_who_they_are() {
    let upstream = Upstream::saying("never");
    let server = Setup::new(&any_site(&upstream))
        .listen("http = [\"127.0.0.1:0\"], https = [], proxy_protocol = [\"192.0.2.0/24\"]")
        .start();
    let mut client = Client::http(server.http());
    client.send("PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.response().status(), 400);
    assert_eq!(client.end(), End::Clean);
}

#[test]
fn a_balancer_that_looks_whether_we_live_is_itself() {
    let upstream = Upstream::saying("ok");
    let server = Setup::new(&any_site(&upstream))
        .listen("http = [\"127.0.0.1:0\"], https = [], proxy_protocol = [\"127.0.0.1\"]")
        .start();
    let mut client = Client::http(server.http());
    client.send("PROXY UNKNOWN\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.response().text(), "ok");
    assert_eq!(upstream.only_request().field("x-forwarded-for"), Some("127.0.0.1"));
}

/// A site server that reads a header before each request, and answers with it.
fn reads_headers(length: fn(&mut Peer) -> std::io::Result<Vec<u8>>) -> Upstream {
    Upstream::script(move |peer| {
        let header = length(peer)?;
        peer.request()?;
        let shown = header.escape_ascii().to_string();
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{shown}", shown.len()).as_bytes())?;
        peer.rest().map(drop)
    })
}

fn site_with(upstream: &Upstream, version: &str) -> String {
    format!(
        "[[site]]\nname = \"any\"\nhosts = [\"a.test\", \"*\"]\nupstream = [{{ url = {:?}, proxy_protocol = {version:?} }}]\n",
        upstream.url()
    )
}

#[test]
fn a_site_server_is_told_of_the_visitor_before_the_request() {
    let upstream = reads_headers(|peer| {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            line.extend(peer.take(1)?);
        }
        Ok(line)
    });
    let server = Setup::new(&site_with(&upstream, "v1")).start();
    let http = server.http().port();
    for _ in 0..3 {
        let mut client = Client::http(server.http());
        let own = client.local_port();
        // Twice on one connection: each on a connection of its own behind.
        for _ in 0..2 {
            let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {own} {http}\\r\\n");
            assert_eq!(client.get("a.test", "/").text(), expected);
        }
    }
    assert_eq!(upstream.connections(), 6);
}

#[test]
fn version_2_tells_what_tls_settled() {
    let upstream = reads_headers(|peer| {
        let mut header = peer.take(16)?;
        let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
        header.extend(peer.take(length)?);
        Ok(header)
    });
    let server = Setup::new(&site_with(&upstream, "v2")).start();
    let text = Client::https(server.https(), "a.test").get("a.test", "/").text();
    assert!(text.starts_with("\\r\\n\\r\\n\\x00\\r\\nQUIT\\n!\\x11"), "{text}");
    for told in ["\\x02\\x00\\x06a.test", "TLSv1.3", "TLS13_"] {
        assert!(text.contains(told), "{told}: {text}");
    }
    let text = Client::http(server.http()).get("a.test", "/").text();
    assert!(text.starts_with("\\r\\n\\r\\n\\x00\\r\\nQUIT\\n!\\x11\\x00\\x0c"), "{text}");
}
