//! Large bodies through TLS: the right bytes, in bounded memory, at the reader's pace.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Client, PATIENCE, Server, Upstream, response_with, serve, sha256};

const SIZE: usize = 64 * 1024 * 1024;
const PIECE: usize = 256 * 1024;
/// What the kernel may hold on the way: two pairs of sockets with grown buffers.
const ON_THE_WAY_MAX: usize = 40 * 1024 * 1024;
/// The program itself, unoptimized, with its buffers.
const MEMORY_KIB_MAX: u64 = 64 * 1024;

/// A pattern without a short period, so that nothing can be lost, doubled or swapped unseen.
fn piece(number: usize) -> Vec<u8> {
    let mut state = number as u64 + 1;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 24).to_le_bytes()
    });
    words.take(PIECE / 8).flatten().collect()
}

fn digest() -> &'static [u8] {
    static DIGEST: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    DIGEST.get_or_init(|| sha256((0..SIZE / PIECE).map(piece)))
}

/// Reads so many bytes and returns their digest.
fn read_digest(from: &mut impl Read, count: usize) -> Vec<u8> {
    let mut left = count;
    let pieces = std::iter::from_fn(|| {
        let mut bytes = vec![0; left.min(PIECE)];
        from.read_exact(&mut bytes).expect("the body goes on");
        left -= bytes.len();
        (!bytes.is_empty()).then_some(bytes)
    });
    sha256(pieces)
}

/// Sends the body in answer to every request; counts what the socket took.
fn download() -> (Upstream, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let upstream = Upstream::script(move |peer| {
        while let Some(request) = peer.request()? {
            let chunked = request.target() == "/chunked";
            let framing = if chunked {
                "Transfer-Encoding: chunked".to_owned()
            } else {
                format!("Content-Length: {SIZE}")
            };
            peer.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n").as_bytes())?;
            for number in 0..SIZE / PIECE {
                if chunked {
                    peer.send(format!("{PIECE:x}\r\n").as_bytes())?;
                }
                peer.send(&piece(number))?;
                if chunked {
                    peer.send(b"\r\n")?;
                }
                counter.fetch_add(PIECE, Ordering::SeqCst);
            }
            if chunked {
                peer.send(b"0\r\n\r\n")?;
            }
        }
        Ok(())
    });
    (upstream, sent)
}

/// Reads the body to its end and answers with its digest; not before it is told to.
fn upload(go: Arc<AtomicUsize>) -> Upstream {
    Upstream::script(move |peer| {
        while peer.head()?.is_some() {
            while go.load(Ordering::SeqCst) == 0 {
                std::thread::sleep(Duration::from_millis(10));
            }
            let digest = peer.digest(SIZE)?;
            peer.send(&response_with(&digest))?;
        }
        Ok(())
    })
}

/// Waits until a count has stopped growing; returns it.
fn wait_until_it_stalls(count: &AtomicUsize) -> usize {
    let since = Instant::now();
    let mut last = (count.load(Ordering::SeqCst), Instant::now());
    loop {
        std::thread::sleep(Duration::from_millis(50));
        let now = count.load(Ordering::SeqCst);
        if now != last.0 {
            last = (now, Instant::now());
        } else if now > 0 && last.1.elapsed() > Duration::from_millis(700) {
            return now;
        }
        assert!(since.elapsed() < PATIENCE, "it goes on and on: {now}");
    }
}

#[track_caller]
fn assert_memory_is_bounded(server: &Server) {
    let (now, peak) = server.memory_kib();
    assert!(peak < MEMORY_KIB_MAX, "{now} KiB resident, {peak} KiB at the peak");
}

#[test]
fn a_download_of_64_mib_arrives_whole() {
    let (upstream, _) = download();
    let server = serve(&upstream);
    for mut client in [Client::https(server.https(), "a.test"), Client::http(server.http())] {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let head = client.response_head();
        assert_eq!(head.field("content-length"), Some(SIZE.to_string().as_str()));
        assert!(read_digest(&mut client.unread_first(), SIZE) == digest());
    }
    assert_memory_is_bounded(&server);
}

#[test]
fn a_chunked_download_of_64_mib_arrives_whole() {
    let (upstream, _) = download();
    let server = serve(&upstream);
    let mut client = Client::https(server.https(), "a.test");
    client.send("GET /chunked HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let response = client.response();
    assert!(response.chunked && response.body.len() == SIZE);
    assert!(sha256([response.body]) == digest());
    assert_memory_is_bounded(&server);
}

#[test]
fn an_upload_of_64_mib_arrives_whole() {
    let upstream = upload(Arc::new(AtomicUsize::new(1)));
    let server = serve(&upstream);
    for mut client in [Client::https(server.https(), "a.test"), Client::http(server.http())] {
        client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {SIZE}\r\n\r\n"));
        for number in 0..SIZE / PIECE {
            client.send(piece(number));
        }
        assert!(client.response().body == digest());
    }
    assert_memory_is_bounded(&server);
}

/// Numbered blocks in place of a pattern: most of the time goes into the program, not into the case.
#[test]
fn a_quarter_of_a_gibibyte_each_way_at_once_takes_no_more_memory() {
    const BLOCKS: u64 = 4096;
    const BLOCK: usize = 64 * 1024;
    let block = |number: u64| {
        let mut block = vec![b'x'; BLOCK];
        block[..8].copy_from_slice(&number.to_le_bytes());
        block
    };
    // Says everything back as it comes.
    let upstream = Upstream::script(|peer| {
        while let Some(request) = peer.head()? {
            let size: usize = request.field("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").as_bytes())?;
            peer.forward(size)?;
        }
        Ok(())
    });
    let server = serve(&upstream);
    for mut client in [Client::https(server.https(), "a.test"), Client::http(server.http())] {
        let size = BLOCKS as usize * BLOCK;
        client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {size}\r\n\r\n"));
        // A part is on its way all the time, less than sockets hold.
        const AHEAD: u64 = 4;
        let mut head = None;
        for number in 0..BLOCKS + AHEAD {
            if number < BLOCKS {
                client.send(block(number));
            }
            if let Some(number) = number.checked_sub(AHEAD) {
                head.get_or_insert_with(|| client.response_head());
                assert!(Client::take(&mut client, BLOCK) == block(number), "block {number}");
            }
        }
        assert_memory_is_bounded(&server);
    }
}

#[test]
fn a_slow_reader_slows_the_site_server() {
    let (upstream, sent) = download();
    let server = serve(&upstream);
    let mut client = Client::https(server.https(), "a.test");
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let stalled = wait_until_it_stalls(&sent);
    assert!(stalled < ON_THE_WAY_MAX, "{stalled} bytes were taken with nobody reading");
    assert_memory_is_bounded(&server);
    client.response_head();
    assert!(read_digest(&mut client.unread_first(), SIZE) == digest());
    assert_memory_is_bounded(&server);
}

#[test]
fn a_slow_site_server_slows_the_client() {
    let go = Arc::new(AtomicUsize::new(0));
    let upstream = upload(go.clone());
    let server = serve(&upstream);
    let mut client = Client::https(server.https(), "a.test");
    client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {SIZE}\r\n\r\n"));
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let writer = std::thread::spawn(move || {
        for number in 0..SIZE / PIECE {
            client.write_all(&piece(number)).expect("it is read in the end");
            counter.fetch_add(PIECE, Ordering::SeqCst);
        }
        client.flush().expect("it is read in the end");
        client
    });
    let stalled = wait_until_it_stalls(&sent);
    assert!(stalled < ON_THE_WAY_MAX, "{stalled} bytes were taken with nobody reading");
    assert_memory_is_bounded(&server);
    go.store(1, Ordering::SeqCst);
    let mut client = writer.join().expect("no panic");
    assert!(client.response().body == digest());
    assert_memory_is_bounded(&server);
}

#[test]
fn many_slow_readers_hold_little_memory() {
    let (upstream, sent) = download();
    let server = serve(&upstream);
    let mut clients: Vec<_> = (0..20).map(|_| Client::https(server.https(), "a.test")).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    }
    wait_until_it_stalls(&sent);
    assert_memory_is_bounded(&server);
}
