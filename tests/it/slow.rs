//! Clients that are slow on purpose: each is given up in time, and keeps nobody else waiting.

use std::io::Read as _;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{
    Client, End, PATIENCE, Server, Setup, Upstream, any_site, response_with, skip_without, wait_until,
};

fn both(server: &Server) -> [Client; 2] {
    [Client::http(server.http()), Client::https(server.https(), "a.test")]
}

/// Waits for a line of the access log with this reason.
#[track_caller]
fn wait_for_reason(server: &mut Server, reason: &str) {
    let path = server.setup().directory().join("access.log");
    wait_until(reason, || {
        std::fs::read_to_string(&path).is_ok_and(|text| text.contains(&format!("\"reason\":\"{reason}\"")))
    });
}

#[test]
fn a_body_that_trickles_is_answered_408() {
    let upstream = Upstream::echo();
    let mut server = Setup::new(&any_site(&upstream))
        .timeouts("body_idle = \"1s\"")
        .limits("body_rate = \"10KiB\"")
        .table("access_log", "to = \"access.log\"")
        .start();
    for (number, mut client) in both(&server).into_iter().enumerate() {
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n");
        // Never silent for as long as `body_idle`; it fails when the server has closed its side and we go on.
        let since = Instant::now();
        while client.try_send("x").is_ok() && since.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(50));
            if upstream.has_ended(number) {
                break;
            }
        }
        let response = client.response();
        assert!(response.status() == 408 && response.closes(), "{response:?}");
        upstream.wait_for_end_of(number);
    }
    assert!(upstream.requests().is_empty());
    wait_for_reason(&mut server, "body_too_slow");
}

#[test]
fn a_body_that_keeps_to_the_rate_may_take_its_time() {
    let upstream = Upstream::echo();
    let server = Setup::new(&any_site(&upstream))
        .timeouts("body_idle = \"1s\"")
        .limits("body_rate = \"1KiB\"")
        .start();
    let mut client = Client::http(server.http());
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 16000\r\n\r\n");
    for _ in 0..16 {
        std::thread::sleep(Duration::from_millis(125));
        client.send([b'x'; 1000]);
    }
    assert_eq!(client.response().body.len(), 16_000);
}

/// Both sides of a conversation may be slow once it has begun.
#[test]
fn a_body_beside_its_response_may_trickle() {
    let upstream = Upstream::script(|peer| {
        let Some(mut request) = peer.head()? else { return Ok(()) };
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n")?;
        peer.body(&mut request)?;
        peer.send(b"0\r\n\r\n")
    });
    let server = Setup::new(&any_site(&upstream))
        .timeouts("body_idle = \"1s\"")
        .limits("body_rate = \"10KiB\"")
        .start();
    let mut client = Client::http(server.http());
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    let mut response = client.response_head();
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(300));
        client.send("1\r\nb\r\n");
    }
    client.send("0\r\n\r\n");
    client.try_body(&mut response).expect("a whole response");
    assert_eq!(response.text(), "yes");
    assert_eq!(upstream.only_request().body, b"abbbbbbbb");
}

/// Sends for as long as it is read.
fn endless() -> Upstream {
    Upstream::script(|peer| {
        peer.request()?;
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
        loop {
            peer.send(&[b'x'; 65_536])?;
        }
    })
}

#[test]
fn a_client_that_reads_nothing_is_cut_and_its_site_server_let_go() {
    let upstream = endless();
    let mut server = Setup::new(&any_site(&upstream))
        .timeouts("body_idle = \"500ms\"")
        .table("access_log", "to = \"access.log\"")
        .start();
    for (number, mut client) in both(&server).into_iter().enumerate() {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        upstream.wait_for_end_of(number);
        let (bytes, end) = client.rest();
        assert!(bytes.len() < 100_000_000 && end != End::Clean, "{} {end:?}", bytes.len());
    }
    wait_for_reason(&mut server, "client_too_slow");
}

/// It takes something all the time, so that `body_idle` never passes, and less than it must.
#[test]
fn a_client_that_reads_too_slowly_is_cut() {
    let upstream = endless();
    let mut server = Setup::new(&any_site(&upstream))
        .timeouts("body_idle = \"3s\"")
        .limits("body_rate = \"1MiB\"")
        .table("access_log", "to = \"access.log\"")
        .start();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(64 * 1024).expect("a small window");
    socket.connect(&server.http().into()).expect("it listens");
    let mut client = Client::over(TcpStream::from(socket));
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.response_head();
    let since = Instant::now();
    let mut piece = [0; 25_000];
    // Some 500 kB a second.
    while !upstream.has_ended(0) {
        client.read_exact(&mut piece).expect("what is on the way comes first");
        std::thread::sleep(Duration::from_millis(50));
        assert!(since.elapsed() < PATIENCE, "it is never given up");
    }
    wait_for_reason(&mut server, "client_too_slow");
}

/// What a real attack does, in its three modes, while others are served.
#[test]
fn slowhttptest_keeps_nobody_waiting() {
    if Command::new("slowhttptest").arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        return skip_without("slowhttptest");
    }
    let large = response_with(&[b'x'; 1_000_000]);
    let upstream = Upstream::script(move |peer| {
        while let Some(request) = peer.request()? {
            if request.target() == "/large" { peer.send(&large)? } else { peer.send(&response_with(b"xx"))? }
        }
        Ok(())
    });
    let mut server = Setup::new(&any_site(&upstream))
        .timeouts("request_head = \"2s\", body_idle = \"2s\", keep_alive = \"2s\"")
        .start();
    for mode in [
        // Heads, bodies, readers.
        &["-H", "-i", "1"][..],
        &["-B", "-i", "1", "-s", "100000"],
        &["-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "32", "-k", "3"],
    ] {
        let url = format!("http://{}/large", server.http());
        let mut attack = Command::new("slowhttptest")
            .args(mode)
            .args(["-c", "200", "-r", "200", "-l", "6", "-p", "2", "-u", &url])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut slowest = Duration::ZERO;
        let mut served = 0;
        while attack.try_wait().expect("a child of ours").is_none() {
            let since = Instant::now();
            assert_eq!(Client::http(server.http()).get("a.test", "/small").text(), "xx");
            slowest = slowest.max(since.elapsed());
            served += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut said = String::new();
        attack.stdout.take().expect("piped").read_to_string(&mut said).expect("readable");
        println!("{mode:?}: {served} others were served, the slowest in {slowest:?}");
        // The machine has other things to do as well: alone, the slowest takes some hundred milliseconds.
        assert!(served > 5 && slowest < Duration::from_secs(5), "{mode:?}: {served} {slowest:?}\n{said}");
    }
    server.stop();
    assert_eq!(server.total("connections_open"), 0);
}
