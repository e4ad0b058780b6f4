//! Clients of HTTP/2 that keep us busy for nothing, frame by frame: they are sent away, and nobody else notices.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use http::Request;

use crate::harness::http2::{PREFACE, begin, frame, get_fields, goaway, http2, read};
use crate::harness::{Client, PATIENCE, Server, Setup, Tls, Upstream, any_site, response_with, serve};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const PROTOCOL_ERROR: u32 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;

fn connect(server: &Server) -> Client {
    let mut client = Tls::new().sni("a.test").alpn(&["h2"]).connect(server.https()).expect("a handshake");
    client.send(PREFACE);
    client
}

/// Sends it all, or as much as is taken, and returns what GOAWAY said.
#[track_caller]
fn sent_away(server: &Server, bytes: &[u8]) -> Option<u32> {
    let mut client = connect(server);
    for piece in bytes.chunks(16 * 1024) {
        if client.try_send(piece).is_err() {
            break;
        }
    }
    goaway(&client.read_to_any_end())
}

#[test]
fn floods_are_answered_with_goaway() {
    let upstream = Upstream::saying("ok");
    let mut server = serve(&upstream);
    let reset = |number: u32| {
        let stream = number * 2 + 1;
        let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, &get_fields("a.test"));
        [head, frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())].concat()
    };
    let mut head_in_pieces = frame(HEADERS, END_STREAM, 1, &get_fields("a.test"));
    for _ in 0..40 {
        head_in_pieces.extend(frame(CONTINUATION, 0, 1, b""));
    }
    let floods: [(&str, Vec<u8>); 5] = [
        ("resets", (0..1000).flat_map(reset).collect()),
        ("pings", frame(PING, 0, 0, &[0; 8]).repeat(500)),
        ("settings", frame(SETTINGS, 0, 0, b"").repeat(500)),
        ("priorities", frame(PRIORITY, 0, 1, &[0; 5]).repeat(500)),
        ("continuations", head_in_pieces),
    ];
    for (name, bytes) in floods {
        assert_eq!(sent_away(&server, &bytes), Some(ENHANCE_YOUR_CALM), "{name}");
    }
    // Others are served as ever.
    assert_eq!(Client::https(server.https(), "a.test").get("a.test", "/").text(), "ok");
    server.stop();
    assert_eq!(server.total("http2_floods"), 5);
}

#[test]
fn broken_frames_end_the_connection() {
    let upstream = Upstream::saying("ok");
    let server = serve(&upstream);
    for (name, bytes) in [
        ("data on no stream", frame(DATA, 0, 0, b"x")),
        ("a window of nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("a stream of the server's", frame(HEADERS, END_HEADERS, 2, &get_fields("a.test"))),
    ] {
        assert_eq!(sent_away(&server, &bytes), Some(PROTOCOL_ERROR), "{name}");
    }
    // No preface at all.
    let mut client = Tls::new().sni("a.test").alpn(&["h2"]).connect(server.https()).expect("a handshake");
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.read_to_any_end();
}

/// A bomb of HPACK: a large field kept in the table, then named again and again.
#[test]
fn a_head_that_unpacks_without_end_is_refused() {
    let upstream = Upstream::saying("ok");
    let server = serve(&upstream);
    let (before, _) = server.memory_kib();
    let mut fields = get_fields("a.test");
    // Literal with indexing, a new name `b` and a value of 4,000 octets; then the entry 62, 20,000 times.
    fields.extend([0x40, 1, b'b', 0x7f]);
    let mut left = 4000 - 127;
    while left >= 128 {
        fields.push((left % 128 + 128) as u8);
        left /= 128;
    }
    fields.push(left as u8);
    fields.extend(vec![b'v'; 4000]);
    fields.extend(vec![0xbe; 10_000]);
    let mut client = connect(&server);
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields));
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, &get_fields("a.test")));
    client.send(frame(7, 0, 0, &[0; 8]));
    client.read_to_any_end();
    let (after, _) = server.memory_kib();
    assert!(after < before + 8 * 1024, "{before} KiB before, {after} KiB after 40 MB of fields");
    assert!(!upstream.requests().iter().any(|request| request.field("b").is_some()));
    assert_eq!(Client::https(server.https(), "a.test").get("a.test", "/").text(), "ok");
}

#[test]
fn a_head_that_does_not_come_to_its_end_is_not_waited_for() {
    let upstream = Upstream::saying("ok");
    let mut server =
        Setup::new(&any_site(&upstream)).timeouts("request_head = \"1s\", keep_alive = \"60s\"").start();
    // The preface, half a frame's head, and half a request's head.
    let halves = [Vec::new(), vec![0, 0, 8, PING], frame(HEADERS, END_STREAM, 1, &get_fields("a.test"))];
    let clients: Vec<Client> = halves
        .iter()
        .enumerate()
        .map(|(number, half)| {
            let mut client =
                Tls::new().sni("a.test").alpn(&["h2"]).connect(server.https()).expect("a handshake");
            client.send(if number == 0 { &PREFACE[..10] } else { PREFACE });
            client.send(half);
            client
        })
        .collect();
    for mut client in clients {
        client.read_to_any_end();
    }
    server.stop();
    assert_eq!(server.total("requests_timed_out"), 3);
}

/// A hundred streams, each with a large response, and a window that is never opened.
#[test]
fn windows_of_nothing_hold_a_bounded_amount() {
    let upstream = Upstream::answering(
        [b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n".to_vec(), vec![b'x'; 2_000_000]].concat(),
    );
    let mut server = Setup::new(&any_site(&upstream)).timeouts("body_idle = \"1s\"").start();
    let (before, _) = server.memory_kib();
    let mut client = connect(&server);
    // SETTINGS_INITIAL_WINDOW_SIZE = 0.
    client.send(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    for number in 0..100u32 {
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, number * 2 + 1, &get_fields("a.test")));
    }
    crate::harness::wait_until("all are at the site server", || upstream.requests().len() == 100);
    let (_, peak) = server.memory_kib();
    println!(
        "resident memory: {before} KiB before, {peak} KiB at its peak with 100 streams that are not read"
    );
    assert!(peak < before + 32 * 1024, "{before} KiB before, {peak} KiB at its peak");
    // Each stream is given up after `body_idle`; the connection lives.
    client.send(frame(PING, 0, 0, &[7; 8]));
    server.stop();
}

/// A hundred whole responses and a window of one octet: what was begun has a deadline, too.
#[test]
fn windows_of_one_octet_are_not_waited_for_for_ever() {
    let body = vec![b'x'; 60_000];
    let upstream = Upstream::answering(response_with(&body));
    let timeouts = "body_idle = \"1s\", keep_alive = \"2s\"";
    let server = Setup::new(&any_site(&upstream)).timeouts(timeouts).start();
    let (before, _) = server.memory_kib();
    let mut client = connect(&server);
    // SETTINGS_INITIAL_WINDOW_SIZE = 1.
    client.send(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1]));
    for number in 0..100u32 {
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, number * 2 + 1, &get_fields("a.test")));
    }
    let received = client.read_to_any_end();
    let (_, peak) = server.memory_kib();
    assert!(peak < before + 32 * 1024, "{before} KiB before, {peak} KiB at its peak");
    assert_eq!(frames(&received, RST_STREAM), 100, "each is taken back");
    // The octet each of them had room for.
    assert_eq!(frames(&received, DATA), 100);
}

/// Uploads that the site server does not read, as many as streams may be open: each has its own window, and one more finds
/// room on the connection. What they hold is bounded.
#[test]
fn uploads_that_stand_still_hold_a_bounded_amount_and_keep_no_other_waiting() {
    let over = Arc::new(AtomicBool::new(false));
    let is_over = over.clone();
    // A unix socket: what the system holds of a connection is little there.
    let upstream = Upstream::script_on_unix(move |peer| {
        while let Some(mut request) = peer.head()? {
            if request.target() == "/stands" {
                while !is_over.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(20));
                }
                return Ok(());
            }
            peer.body(&mut request)?;
            peer.send(&response_with(request.body.len().to_string().as_bytes()))?;
        }
        Ok(())
    });
    let server = Setup::new(&any_site(&upstream)).limits("request_body_bytes = \"unlimited\"").start();
    let (before, _) = server.memory_kib();
    let client = Tls::new().sni("a.test").alpn(&["h2"]).connect(server.https()).expect("a handshake");
    let answered = http2(client, async |send| {
        let mut standing = Vec::new();
        for _ in 0..99 {
            let request = Request::post("https://a.test/stands").body(()).expect("a request");
            let (response, mut body) = begin(&send, request, false).await;
            body.reserve_capacity(1024 * 1024);
            standing.push((response, body));
        }
        // Each sends as long as there is a window for it.
        let mut quiet = Instant::now();
        poll_fn(|context| {
            for (_, body) in &mut standing {
                while matches!(body.poll_capacity(context), Poll::Ready(Some(Ok(_)))) {}
                while body.capacity() > 0 {
                    let piece = vec![b'x'; body.capacity().min(16 * 1024)];
                    body.send_data(piece.into(), false).expect("an open stream");
                    body.reserve_capacity(1024 * 1024);
                    quiet = Instant::now();
                }
            }
            match quiet.elapsed() > Duration::from_millis(500) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        let request = Request::post("https://a.test/").body(()).expect("a request");
        let (response, mut body) = begin(&send, request, false).await;
        body.send_data(vec![b'y'; 300_000].into(), true).expect("an open stream");
        read(response).await.expect("an answer")
    });
    assert_eq!(answered.text(), "300000");
    over.store(true, Ordering::SeqCst);
    let (_, peak) = server.memory_kib();
    println!("resident memory: {before} KiB before, {peak} KiB at its peak with 99 uploads that stand still");
    assert!(peak < before + 56 * 1024, "{before} KiB before, {peak} KiB at its peak");
}

/// PINGs keep a connection busy, not in use.
#[test]
fn pings_do_not_keep_an_idle_connection() {
    let upstream = Upstream::saying("ok");
    let mut server = Setup::new(&any_site(&upstream)).timeouts("keep_alive = \"1s\"").start();
    let mut client = connect(&server);
    let since = Instant::now();
    while client.try_send(frame(PING, 0, 0, &[7; 8])).is_ok() {
        assert!(since.elapsed() < PATIENCE, "it is kept for as long as PINGs come");
        std::thread::sleep(Duration::from_millis(150));
    }
    assert!(since.elapsed() >= Duration::from_millis(900), "it is kept for as long as it may be");
    server.stop();
    assert_eq!(server.total("http2_floods"), 0);
}

/// How many frames of this type there are.
fn frames(mut bytes: &[u8], kind: u8) -> usize {
    let mut count = 0;
    while let Some((head, rest)) = bytes.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        count += usize::from(head[3] == kind);
        bytes = rest.get(length..).unwrap_or_default();
    }
    count
}
