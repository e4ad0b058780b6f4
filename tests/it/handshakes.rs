//! TLS as it comes over the wire: in pieces, in one flight with a request, with keys that change, broken.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use rustls::version::{TLS12, TLS13};

use crate::harness::{
    Client, End, PATIENCE, Setup, Tls, Upstream, any_site, run_to_end, serve, site, skip_without,
};

#[test]
fn a_handshake_that_comes_byte_by_byte_goes_through() {
    let upstream = Upstream::echo();
    let server = serve(&upstream);
    for version in [&TLS12, &TLS13] {
        let tls = Tls::new().sni("a.test").version(version);
        let mut session = tls.session();
        let mut socket = TcpStream::connect(server.https()).expect("it accepts");
        socket.set_nodelay(true).expect("an open socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("an open socket");
        session.writer().write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").expect("buffered");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut flight = Vec::new();
            while session.wants_write() {
                session.write_tls(&mut flight).expect("memory takes it");
            }
            for byte in flight {
                socket.write_all(&[byte]).expect("the connection lives");
            }
            if session.wants_read() {
                assert!(session.read_tls(&mut socket).expect("the connection lives") > 0);
                session.process_new_packets().expect("sound TLS");
            }
            let mut piece = [0; 1024];
            while let Ok(read @ 1..) = session.reader().read(&mut piece) {
                answer.extend_from_slice(&piece[..read]);
            }
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", answer.escape_ascii());
    }
}

#[test]
fn a_request_in_one_flight_with_the_end_of_the_handshake_is_answered() {
    let upstream = Upstream::echo();
    let server = serve(&upstream);
    for version in [&TLS12, &TLS13] {
        let tls = Tls::new().sni("a.test").version(version);
        // The second one resumes, where flights are others.
        for _ in 0..2 {
            let mut client = tls
                .connect_with(
                    server.https(),
                    b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
                )
                .expect("a handshake");
            assert_eq!(client.response().text(), "hello");
            assert_eq!(client.get("a.test", "/").status(), 200);
        }
    }
}

#[test]
fn keys_may_be_updated_in_the_middle() {
    let upstream = Upstream::echo();
    let server = serve(&upstream);
    let mut client = Tls::new().sni("a.test").version(&TLS13).connect(server.https()).expect("a handshake");
    for _ in 0..5 {
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello");
        client.refresh_keys();
        client.send("world");
        assert_eq!(client.response().text(), "helloworld");
        client.refresh_keys();
    }
}

#[test]
fn broken_records_end_the_connection_with_an_alert_and_nothing_else() {
    let upstream = Upstream::echo();
    let server = Setup::new(&any_site(&upstream)).timeouts("handshake = \"2s\"").start();
    let cases: [&[u8]; 7] = [
        b"\x16\x03\x01\xff\xff\x01\x00\x00",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        b"\x17\x03\x03\x00\x05hello",
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"\x16\x03\x01\x00\x00",
        b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10",
        b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ];
    for case in cases {
        let mut client = Client::http(server.https());
        client.send(case);
        let (bytes, _) = client.rest();
        assert!(bytes.is_empty() || bytes.len() == 7 && bytes[0] == 21, "{}", bytes.escape_ascii());
    }
    // In the middle of a connection, too.
    let mut client = Client::https(server.https(), "a.test");
    assert_eq!(client.get("a.test", "/").status(), 200);
    client.send_below_tls(b"\x17\x03\x03\x00\x20this is not what the keys say...");
    let (bytes, end) = client.rest_after_alert();
    assert!(bytes.is_empty() && end != End::Reset, "{end:?}");
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn cipher_suites_are_taken_in_our_order_but_for_those_who_put_chacha20_first() {
    if Command::new("openssl").arg("version").output().is_err() {
        return skip_without("openssl");
    }
    let upstream = Upstream::saying("ok");
    let sites = any_site(&upstream)
        + &site("own", &["own.test"], &upstream)
        + "cipher_suites = [\"TLS_AES_256_GCM_SHA384\", \"TLS_AES_128_GCM_SHA256\", \"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384\", \
           \"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\"]\n";
    let server = Setup::new(&sites).start();
    let agreed = |name: &str, arguments: &str| {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &server.https().to_string(), "-servername", name]);
        let output = run_to_end(command.args(arguments.split(' ')).stdin(Stdio::null()));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let words = text.split("Cipher is ").nth(1).unwrap_or_else(|| panic!("{text}"));
        words.lines().next().unwrap_or_default().trim().to_owned()
    };
    let (aes128, aes256, chacha20) =
        ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256");
    let tls13 =
        |name: &str, suites: [&str; 3]| agreed(name, &format!("-tls1_3 -ciphersuites {}", suites.join(":")));
    assert_eq!(tls13("a.test", [aes128, aes256, chacha20]), aes128);
    assert_eq!(tls13("a.test", [aes256, chacha20, aes128]), aes128);
    assert_eq!(tls13("a.test", [chacha20, aes256, aes128]), chacha20);
    assert_eq!(tls13("own.test", [aes128, chacha20, aes256]), aes256);
    let tls12 = |suites: [&str; 3]| {
        let suites = suites.map(|suite| format!("ECDHE-ECDSA-{suite}"));
        agreed("a.test", &format!("-tls1_2 -cipher {}", suites.join(":")))
    };
    let (aes128, aes256, chacha20) = ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305");
    assert_eq!(tls12([aes256, aes128, chacha20]), format!("ECDHE-ECDSA-{aes128}"));
    assert_eq!(tls12([chacha20, aes256, aes128]), format!("ECDHE-ECDSA-{chacha20}"));
}
