//! Clients and site servers that do anything: the program goes on, and everybody else is served.
//!
//! Each run prints its seed when it fails; `PORTCULLIS_SEED` replays it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::harness::{Client, Setup, Upstream, any_site, response_with};

/// A small generator: what counts is that a seed gives the same run again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }

    /// The bytes with a few changed, or cut off somewhere, or as they are.
    fn spoil(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut spoiled = bytes.to_vec();
        match self.roll(4) {
            0 => {}
            1 => spoiled.truncate(self.roll(bytes.len() + 1)),
            2 => {
                for _ in 0..=self.roll(3) {
                    let at = self.roll(spoiled.len());
                    spoiled[at] = [0, b'\n', b'\r', b' ', b':', b'9', b'f', 0xff, b','][self.roll(9)];
                }
            }
            _ => {
                let at = self.roll(spoiled.len() + 1);
                let piece = [
                    &b"\r\n"[..],
                    b"Content-Length: 9\r\n",
                    b"Transfer-Encoding: chunked\r\n",
                    b"0\r\n\r\n",
                    b"\x00",
                ];
                let piece = piece[self.roll(5)];
                spoiled.splice(at..at, piece.iter().copied());
            }
        }
        spoiled
    }
}

fn seed() -> u64 {
    let given = std::env::var("PORTCULLIS_SEED").ok().and_then(|seed| seed.parse().ok());
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64);
    let seed = given.unwrap_or(now | 1);
    println!("PORTCULLIS_SEED={seed}");
    seed
}

const REQUESTS: [&str; 6] = [
    "GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET /b HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n",
    "POST /c HTTP/1.1\r\nHost: a.test\r\nContent-Length: 11\r\n\r\nhello there",
    "POST /d HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n there\r\n0\r\nX: y\r\n\r\n",
    "HEAD /e HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    "GET /f HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
];

const RESPONSES: [&str; 7] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello there",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello",
    "HTTP/1.0 200 OK\r\n\r\nhello",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
];

#[test]
fn nothing_a_peer_does_stops_the_program() {
    let seed = seed();
    let rolls = Arc::new(AtomicU64::new(seed));
    // Answers for `/sane` are sound; every other may be anything. After one that is not sound the connection ends:
    // bytes that come when the next request is out cannot be told from its answer by anybody.
    let upstream = Upstream::script(move |peer| {
        let mut dice = Dice(rolls.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst) | 1);
        while let Some(request) = peer.request()? {
            if request.target() == "/sane" {
                peer.send(&response_with(b"sane"))?;
                continue;
            }
            let sound = RESPONSES[dice.roll(RESPONSES.len())].as_bytes();
            let response = dice.spoil(sound);
            let at = dice.roll(response.len() + 1);
            peer.send(&response[..at])?;
            peer.send(&response[at..])?;
            if response != sound || request.method() == "HEAD" || dice.roll(4) == 0 {
                if dice.roll(3) == 0 {
                    peer.reset();
                }
                return Ok(());
            }
        }
        Ok(())
    });
    let mut server = Setup::new(&any_site(&upstream))
        .workers(2)
        .timeouts("request_head = \"1s\", body_idle = \"1s\", response_head = \"3s\", tunnel_idle = \"1s\", handshake = \"1s\", keep_alive = \"2s\"")
        .start();
    let (http, https) = (server.http(), server.https());
    let threads: Vec<_> = (0..8u64)
        .map(|thread| {
            std::thread::spawn(move || {
                let mut dice = Dice((seed ^ (thread + 1).wrapping_mul(0x2545_f491_4f6c_dd1d)) | 1);
                for _ in 0..25 {
                    let mut client =
                        if dice.roll(2) == 0 { Client::http(http) } else { Client::https(https, "a.test") };
                    for _ in 0..=dice.roll(4) {
                        let which = dice.roll(REQUESTS.len());
                        let request = dice.spoil(REQUESTS[which].as_bytes());
                        let at = dice.roll(request.len() + 1);
                        if client
                            .try_send(&request[..at])
                            .and_then(|()| client.try_send(&request[at..]))
                            .is_err()
                        {
                            break;
                        }
                    }
                    match dice.roll(4) {
                        // Gone at once; gone after one answer; read to the end.
                        0 => {}
                        1 => drop(client.try_response_to("GET")),
                        _ => {
                            client.finish();
                            drop(client.read_to_any_end());
                        }
                    }
                }
            })
        })
        .collect();
    // Meanwhile, and afterwards, others are served.
    for _ in 0..20 {
        for mut client in [Client::http(http), Client::https(https, "a.test")] {
            client.send("GET /sane HTTP/1.1\r\nHost: a.test\r\n\r\n");
            assert_eq!(client.response().text(), "sane");
        }
    }
    for thread in threads {
        thread.join().expect("a client that does anything does not panic");
    }
    assert_eq!(Client::http(http).get("a.test", "/sane").text(), "sane");
    server.stop();
    assert_eq!(server.total("connections_open"), 0);
}

#[test]
fn hundreds_of_connections_at_once_are_all_served() {
    let upstream = Upstream::echo();
    let server = Setup::new(&any_site(&upstream)).workers(2).start();
    let (http, https) = (server.http(), server.https());
    let threads: Vec<_> = (0..4)
        .map(|thread: usize| {
            std::thread::spawn(move || {
                let mut clients: Vec<_> =
                    (0..60)
                        .map(|number| {
                            if number % 2 == 0 { Client::http(http) } else { Client::https(https, "a.test") }
                        })
                        .collect();
                for round in 0..5 {
                    for (number, client) in clients.iter_mut().enumerate() {
                        let body = format!("{thread}-{number}-{round}");
                        client.send(format!(
                            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n{body}",
                            body.len()
                        ));
                    }
                    for (number, client) in clients.iter_mut().enumerate() {
                        assert_eq!(client.response().text(), format!("{thread}-{number}-{round}"));
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("each gets its own answer");
    }
    assert_eq!(upstream.requests().len(), 4 * 60 * 5);
}
