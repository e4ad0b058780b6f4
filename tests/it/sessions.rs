//! TLS sessions: when a handshake is short, and when it must not be.

use std::time::{Duration, Instant};

use rustls::HandshakeKind::{self, Full, Resumed};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::harness::{PATIENCE, Server, Setup, Tls, Upstream, any_site, site, with_one_worker_and_two};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// One connection with one exchange, in which tickets arrive.
#[track_caller]
fn visit(server: &Server, tls: &Tls, name: &str) -> HandshakeKind {
    let mut client = tls.connect_as(server.https(), name);
    assert_eq!(client.get(name, "/").status(), 200);
    client.handshake_kind()
}

#[test]
fn a_second_connection_resumes_on_any_worker() {
    with_one_worker_and_two(|workers| {
        for mode in ["cache", "tickets"] {
            let upstream = Upstream::saying("ok");
            let server = Setup::new(&any_site(&upstream))
                .workers(workers)
                .session_cache(&format!("mode = {mode:?}"))
                .start();
            for version in VERSIONS {
                let tls = Tls::new().sni("a.test").version(version);
                let kinds: Vec<_> = (0..12).map(|_| visit(&server, &tls, "a.test")).collect();
                assert_eq!(kinds[0], Full, "{mode} {version:?}");
                assert!(kinds[1..].iter().all(|kind| *kind == Resumed), "{mode} {version:?}: {kinds:?}");
            }
        }
    });
}

#[test]
fn resumed_connections_carry_data_as_full_ones_do() {
    let upstream = Upstream::echo();
    let mut server = Server::start(&any_site(&upstream));
    for version in VERSIONS {
        let tls = Tls::new().sni("a.test").version(version);
        for _ in 0..3 {
            let mut client = tls.connect(server.https()).expect("a handshake");
            assert_eq!(client.version(), version.version);
            client.send(format!(
                "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n{}",
                "x".repeat(100_000)
            ));
            assert_eq!(client.response().body.len(), 100_000);
        }
    }
    server.stop();
    assert_eq!((server.total("handshakes_full"), server.total("handshakes_resumed")), (2, 4));
}

#[test]
fn no_session_resumes_when_they_are_off() {
    let upstream = Upstream::saying("ok");
    let server = Setup::new(&any_site(&upstream)).session_cache("mode = \"off\"").start();
    for version in VERSIONS {
        let tls = Tls::new().sni("a.test").version(version);
        assert_eq!([(); 4].map(|()| visit(&server, &tls, "a.test")), [Full; 4]);
    }
}

#[test]
fn a_session_does_not_resume_on_another_site() {
    for mode in ["cache", "tickets"] {
        let upstream = Upstream::saying("ok");
        let sites =
            site("one", &["one.test", "also-one.test"], &upstream) + &site("two", &["two.test"], &upstream);
        let server = Setup::new(&sites).session_cache(&format!("mode = {mode:?}")).start();
        for version in VERSIONS {
            let tls = Tls::new().sni("one.test").version(version);
            assert_eq!(visit(&server, &tls, "one.test"), Full, "{mode} {version:?}");
            assert_eq!(visit(&server, &tls, "one.test"), Resumed, "{mode} {version:?}");
            assert_eq!(visit(&server, &tls, "two.test"), Full, "{mode} {version:?}");
            // And back: it is now a session of the other site that is offered.
            assert_eq!(visit(&server, &tls, "one.test"), Full, "{mode} {version:?}");
        }
    }
}

#[test]
fn no_session_resumes_after_its_lifetime_however_often_it_was_resumed() {
    const LIFETIME: Duration = Duration::from_secs(2);
    for mode in ["cache", "tickets"] {
        let upstream = Upstream::saying("ok");
        let keys = format!("mode = {mode:?}, lifetime = \"2s\"");
        let server = Setup::new(&any_site(&upstream)).session_cache(&keys).start();
        for version in VERSIONS {
            let tls = Tls::new().sni("a.test").version(version);
            assert_eq!(visit(&server, &tls, "a.test"), Full);
            let full = Instant::now();
            let mut resumed = 0;
            loop {
                let began = full.elapsed();
                match visit(&server, &tls, "a.test") {
                    Resumed => {
                        assert!(began <= LIFETIME, "{mode} {version:?}: resumed after {began:?}");
                        resumed += 1;
                    }
                    _ => break,
                }
                assert!(began < PATIENCE);
                std::thread::sleep(Duration::from_millis(20));
            }
            assert!(resumed > 0, "{mode} {version:?}: it never resumed");
            let ended = full.elapsed();
            assert!(
                ended + Duration::from_millis(1100) > LIFETIME,
                "{mode} {version:?}: over after {ended:?}"
            );
        }
    }
}

#[test]
fn the_cache_holds_so_many_sessions_and_drops_the_least_recently_used() {
    let upstream = Upstream::saying("ok");
    let server = Setup::new(&any_site(&upstream)).session_cache("mode = \"cache\", size = 4").start();
    let clients: Vec<_> = (0..20).map(|_| Tls::new().sni("a.test").version(&TLS12)).collect();
    for tls in &clients {
        assert_eq!(visit(&server, tls, "a.test"), Full);
    }
    let kinds: Vec<_> = clients.iter().rev().map(|tls| visit(&server, tls, "a.test")).collect();
    let resumed = kinds.iter().filter(|kind| **kind == Resumed).count();
    assert!((1..=4).contains(&resumed), "{kinds:?}");
    assert_eq!(kinds[0], Resumed, "the latest one is there");
}
