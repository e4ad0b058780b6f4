//! Site servers that break off at every byte, and descriptors that run out: nothing is left behind, nobody is left waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Client, Server, Setup, Upstream, any_site, response_with, wait_until};

fn descriptors(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.process())).expect("it runs").count()
}

#[test]
fn a_site_server_that_resets_at_any_byte_leaves_nothing_behind() {
    const RESPONSES: [&str; 3] = [
        "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello there",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\nto the end",
    ];
    let upstream = Upstream::script(|peer| {
        let Some(request) = peer.request()? else { return Ok(()) };
        let mut words = request.target().split('/').skip(1);
        let mut number = || words.next().and_then(|word| word.parse::<usize>().ok()).unwrap_or(0);
        let (which, at, how) = (number(), number(), number());
        peer.send(&RESPONSES[which].as_bytes()[..at])?;
        if how == 1 {
            peer.reset();
        }
        Ok(())
    });
    let server = Setup::new(&any_site(&upstream)).timeouts("body_idle = \"5s\"").start();
    let mut warm = Client::https(server.https(), "a.test");
    assert!(warm.get("a.test", "/0/49/0").status() > 0);
    drop(warm);
    let before = (descriptors(&server), server.memory_kib().0);
    for (which, response) in RESPONSES.iter().enumerate() {
        for at in 0..=response.len() {
            for how in 0..2 {
                let mut client = match at % 2 {
                    0 => Client::http(server.http()),
                    _ => Client::https(server.https(), "a.test"),
                };
                client.send(format!(
                    "GET /{which}/{at}/{how} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
                ));
                let (bytes, end) = client.rest();
                let text = String::from_utf8_lossy(&bytes);
                let about = format!("{which} at {at}, {how}: {text} {end:?}");
                let final_head = text.rfind("HTTP/1.1 ").map(|from| &text[from..]);
                let is_502 = final_head.is_some_and(|head| head.starts_with("HTTP/1.1 502"));
                // Whole, or an error of ours, or seen to be cut: never half a response that looks whole.
                let whole = final_head.is_some_and(|head| {
                    head.ends_with("hello there") && at == response.len()
                        || head.ends_with("0\r\nX: y\r\n\r\n") && at == response.len()
                        || which == 2 && how == 0 && head.ends_with("0\r\n\r\n")
                        || which == 2 && head.ends_with("0\r\n\r\n")
                });
                let cut = end != crate::harness::End::Clean;
                assert!(is_502 || whole || cut, "{about}");
            }
        }
    }
    wait_until("all descriptors are given back", || descriptors(&server) <= before.0);
    assert!(server.memory_kib().0 < before.1 + 20_000, "{before:?} {:?}", server.memory_kib());
}

#[test]
fn accepting_pauses_when_descriptors_run_out_and_goes_on_when_there_are_some() {
    let upstream = Upstream::saying("ok");
    let mut server =
        Setup::new(&any_site(&upstream)).under(&["sh", "-c", "ulimit -n 48; exec \"$0\" \"$@\""]).start();
    let mut clients: Vec<_> = (0..80).map(|_| Client::http(server.http())).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    }
    // Those that were accepted are answered, with a page of ours when there was no descriptor for the site server.
    let first = clients[0].response();
    assert!([200, 502, 503].contains(&first.status()), "{first:?}");
    // Each that goes makes room for another.
    let mut answered = 0;
    for mut client in clients {
        let status = if answered == 0 { first.status() } else { client.response().status() };
        assert!([200, 502, 503].contains(&status), "{status}");
        answered += 1;
    }
    assert_eq!(answered, 80);
    assert!(
        server.log_text().contains("accepting pauses until connections end reason=\"descriptors\""),
        "{}",
        server.log_text()
    );
    wait_until("it serves as before", || Client::http(server.http()).get("a.test", "/").status() == 200);
    server.stop();
    assert!(server.total("accepts_paused") > 0);
    assert_eq!(server.total("connections_open"), 0);
}

#[test]
fn one_slow_server_does_not_keep_others_waiting() {
    let slow_count = Arc::new(AtomicUsize::new(0));
    let counted = slow_count.clone();
    let slow = Upstream::script(move |peer| {
        peer.request()?;
        counted.fetch_add(1, Ordering::SeqCst);
        peer.rest().map(drop)
    });
    let quick = Upstream::script(|peer| {
        while peer.request()?.is_some() {
            peer.send(&response_with(b"quick"))?;
        }
        Ok(())
    });
    let sites =
        crate::harness::site("slow", &["slow.test"], &slow) + &crate::harness::site("quick", &["*"], &quick);
    let server = Setup::new(&sites).start();
    let mut waiting: Vec<_> = (0..100).map(|_| Client::http(server.http())).collect();
    for client in &mut waiting {
        client.send("GET / HTTP/1.1\r\nHost: slow.test\r\n\r\n");
    }
    // Slow heads and slow readers, too.
    let mut dripping = Client::http(server.http());
    dripping.send("GET / HT");
    wait_until("all wait", || slow_count.load(Ordering::SeqCst) == 100);
    for _ in 0..20 {
        assert_eq!(Client::http(server.http()).get("quick.test", "/").text(), "quick");
    }
}
