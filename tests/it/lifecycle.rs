//! From ready to the end: draining, its bound, and leaving at once.

use std::net::TcpStream;
use std::sync::{Mutex, mpsc};
use std::time::Instant;

use rustix::process::Signal;

use crate::harness::{
    Client, End, Server, Setup, Upstream, any_site, response_with, serve, wait_until, with_one_worker_and_two,
};

fn both(server: &Server) -> [Client; 2] {
    [Client::http(server.http()), Client::https(server.https(), "a.test")]
}

/// Answers `/held` when it is told to, anything else at once.
fn holding() -> (Upstream, mpsc::Sender<()>) {
    let (release, released) = mpsc::channel();
    let released = Mutex::new(released);
    let upstream = Upstream::script(move |peer| {
        while let Some(request) = peer.request()? {
            if request.target() == "/held" {
                released.lock().expect("no panic").recv().map_err(std::io::Error::other)?;
            }
            peer.send(&response_with(b"answered"))?;
        }
        Ok(())
    });
    (upstream, release)
}

#[test]
fn a_drain_finishes_what_runs_and_ends() {
    with_one_worker_and_two(|workers| {
        for signal in [Signal::TERM, Signal::INT] {
            let (upstream, release) = holding();
            let mut server = Setup::new(&any_site(&upstream)).workers(workers).drain_timeout("60s").start();
            let mut idle = both(&server);
            for client in &mut idle {
                assert_eq!(client.get("a.test", "/").status(), 200);
            }
            let mut unused = both(&server);
            let mut busy = both(&server);
            for client in &mut busy {
                client.send("GET /held HTTP/1.1\r\nHost: a.test\r\n\r\n");
            }
            wait_until("both at the site server", || {
                upstream.requests().iter().filter(|request| request.target() == "/held").count() == 2
            });
            server.signal(signal);
            server.wait_for_line("draining");
            for client in idle.iter_mut().chain(&mut unused) {
                assert_eq!(client.end(), End::Clean);
            }
            let (http, https) = (server.http(), server.https());
            wait_until("new connections are refused", || {
                TcpStream::connect(http).is_err() && TcpStream::connect(https).is_err()
            });
            for _ in &busy {
                release.send(()).expect("it waits");
            }
            for client in &mut busy {
                let response = client.response();
                assert_eq!(response.text(), "answered");
                assert!(response.closes() || client.end() == End::Clean);
            }
            assert!(server.wait_for_end().success());
        }
    });
}

#[test]
fn a_response_begun_before_the_drain_arrives_whole() {
    let (go, went) = mpsc::channel();
    let went = Mutex::new(went);
    let upstream = Upstream::script(move |peer| {
        peer.request()?;
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n")?;
        peer.send(&vec![b'x'; 1_000_000])?;
        went.lock().expect("no panic").recv().map_err(std::io::Error::other)?;
        peer.send(&vec![b'x'; 1_000_000])
    });
    let mut server = serve(&upstream);
    let mut client = Client::https(server.https(), "a.test");
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let mut head = client.response_head();
    server.signal(Signal::TERM);
    server.wait_for_line("draining");
    go.send(()).expect("it waits");
    client.try_body(&mut head).expect("a whole body");
    assert_eq!(head.body.len(), 2_000_000);
    assert_eq!(client.end(), End::Clean);
    assert!(server.wait_for_end().success());
}

#[test]
fn a_request_that_comes_while_draining_on_a_busy_connection_is_the_last() {
    let (upstream, release) = holding();
    let mut server = Setup::new(&any_site(&upstream)).drain_timeout("60s").start();
    let mut client = Client::http(server.http());
    client.send("GET /held HTTP/1.1\r\nHost: a.test\r\n\r\n");
    wait_until("it is at the site server", || upstream.requests().len() == 1);
    server.signal(Signal::TERM);
    server.wait_for_line("draining");
    release.send(()).expect("it waits");
    let response = client.response();
    assert_eq!(response.text(), "answered");
    let (rest, _) = client.rest();
    assert!(rest.is_empty());
    assert!(server.wait_for_end().success());
}

#[test]
fn workers_without_connections_close_their_listeners_while_another_drains() {
    let (upstream, release) = holding();
    let mut server = Setup::new(&any_site(&upstream)).workers(8).drain_timeout("60s").start();
    let mut client = Client::http(server.http());
    client.send("GET /held HTTP/1.1\r\nHost: a.test\r\n\r\n");
    wait_until("it is at the site server", || upstream.requests().len() == 1);
    server.signal(Signal::TERM);
    server.wait_for_line("draining");
    let http = server.http();
    wait_until("new connections are refused", || TcpStream::connect(http).is_err());
    // The kernel deals connections out to all listeners that are left: none may be.
    // A socket may pick this very port for its own end and meet itself: a few do not count.
    let refused = (0..100).filter(|_| TcpStream::connect(http).is_err()).count();
    assert!(refused >= 90, "{refused} of 100");
    release.send(()).expect("it waits");
    assert_eq!(client.response().text(), "answered");
    assert!(server.wait_for_end().success());
}

/// Clients in the queue, whose request has come.
fn queued(server: &Server, count: usize) -> Vec<Client> {
    let clients = (0..count).map(|_| {
        let mut client = Client::http(server.http());
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        client
    });
    clients.collect()
}

/// As many clients as a full worker takes: one, and those of its accepts that were under way. All are held at the site
/// server.
fn filling(server: &Server, upstream: &Upstream) -> Vec<Client> {
    let mut busy: Vec<_> = (0..8).map(|_| Client::http(server.http())).collect();
    for client in &mut busy {
        client.send("GET /held HTTP/1.1\r\nHost: a.test\r\n\r\n");
    }
    wait_until("all at the site server", || upstream.requests().len() == 8);
    busy
}

#[test]
fn what_waits_in_the_queue_of_a_full_worker_is_answered_before_it_closes() {
    let (upstream, release) = holding();
    let setup = Setup::new(&any_site(&upstream)).drain_timeout("60s").table("limits", "connections = 1");
    let mut server = setup.start();
    let mut busy = filling(&server, &upstream);
    let mut waiting = queued(&server, 20);
    server.signal(Signal::TERM);
    server.wait_for_line("draining");
    for _ in &busy {
        release.send(()).expect("it waits");
    }
    for client in &mut busy {
        assert_eq!(client.response().text(), "answered");
        assert_eq!(client.end(), End::Clean);
    }
    for client in &mut waiting {
        let response = client.response();
        assert_eq!(response.text(), "answered");
        assert!(response.closes());
        assert_eq!(client.end(), End::Clean);
    }
    assert!(server.wait_for_end().success());
    assert_eq!(server.total("requests"), 28);
}

#[test]
fn what_comes_just_before_a_stop_is_answered() {
    let upstream = Upstream::saying("answered");
    with_one_worker_and_two(|workers| {
        let mut server = Setup::new(&any_site(&upstream)).workers(workers).start();
        // It finds the signal and all of these at once.
        server.signal(Signal::STOP);
        let mut clients = queued(&server, 60);
        server.signal(Signal::TERM);
        server.signal(Signal::CONT);
        for client in &mut clients {
            let response = client.response();
            assert_eq!(response.text(), "answered");
            assert!(response.closes() || client.end() == End::Clean);
        }
        assert!(server.wait_for_end().success());
    });
}

#[test]
fn a_queue_that_cannot_be_answered_in_time_closes_all_the_same() {
    let (upstream, _release) = holding();
    let setup = Setup::new(&any_site(&upstream)).drain_timeout("1s").table("limits", "connections = 1");
    let mut server = setup.start();
    let _busy = filling(&server, &upstream);
    let mut waiting = queued(&server, 5);
    server.signal(Signal::TERM);
    assert!(server.wait_for_end().success());
    for client in &mut waiting {
        assert!(client.try_response_to("GET").is_err());
    }
}

#[test]
fn the_drain_timeout_cuts_what_does_not_end() {
    let (upstream, _release) = holding();
    let mut server = Setup::new(&any_site(&upstream)).drain_timeout("500ms").start();
    let mut clients = both(&server);
    for client in &mut clients {
        client.send("GET /held HTTP/1.1\r\nHost: a.test\r\n\r\n");
    }
    wait_until("both at the site server", || upstream.requests().len() == 2);
    server.signal(Signal::TERM);
    assert!(server.wait_for_end().success());
    server.wait_for_line("left before these connections had ended connections=2");
    for client in &mut clients {
        assert!(client.try_response_to("GET").is_err());
    }
}

#[test]
fn a_second_signal_leaves_at_once() {
    let (upstream, _release) = holding();
    let mut server = Setup::new(&any_site(&upstream)).drain_timeout("1h").start();
    let mut client = Client::http(server.http());
    client.send("GET /held HTTP/1.1\r\nHost: a.test\r\n\r\n");
    wait_until("it is at the site server", || upstream.requests().len() == 1);
    server.signal(Signal::TERM);
    server.wait_for_line("draining");
    let since = Instant::now();
    server.signal(Signal::TERM);
    assert!(server.wait_for_end().success());
    assert!(since.elapsed().as_secs() < 10);
    server.wait_for_line("second signal: leaving at once");
}

#[test]
fn without_connections_it_ends_without_waiting() {
    let upstream = Upstream::saying("ok");
    let mut server = Setup::new(&any_site(&upstream)).workers(2).drain_timeout("1h").start();
    assert!(server.stop().success());
    server.wait_for_line("ended: ");
}

#[test]
fn a_tunnel_ends_with_the_drain_timeout() {
    let upstream = Upstream::script(|peer| {
        peer.head()?;
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")?;
        peer.rest().map(drop)
    });
    let mut server = Setup::new(&any_site(&upstream)).drain_timeout("300ms").start();
    let mut client = Client::http(server.http());
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
    assert_eq!(client.response().status(), 101);
    assert!(server.stop().success());
    upstream.wait_for_end_of(0);
}

#[test]
fn totals_are_the_last_word() {
    let upstream = Upstream::saying("ok");
    let mut server = serve(&upstream);
    for mut client in both(&server) {
        for _ in 0..3 {
            assert_eq!(client.get("a.test", "/").status(), 200);
        }
    }
    server.stop();
    for (name, expected) in [
        ("connections_accepted", 2),
        ("connections_open", 0),
        ("handshakes_full", 1),
        ("requests", 6),
        ("requests_forwarded", 6),
        ("upstream_connects", 1),
        ("upstream_reuses", 5),
        ("connections_panicked", 0),
    ] {
        assert_eq!(server.total(name), expected, "{name}");
    }
}
