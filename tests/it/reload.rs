//! A reload: a new configuration in the place of the old one, and nobody notices who need not.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Instant;

use rustix::process::Signal;
use rustls::HandshakeKind::{Full, Resumed};

use crate::harness::{
    Client, End, PATIENCE, Server, Setup, Tls, Upstream, any_site, response_with, serve, site, wait_until,
    with_one_worker_and_two,
};

const REQUEST: &str =
    "GET /socket HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

fn both(server: &Server) -> [Client; 2] {
    [Client::http(server.http()), Client::https(server.https(), "a.test")]
}

/// Switches protocols at `/socket` and sends back what comes; answers anything else with `ok`.
fn tunnelling() -> Upstream {
    Upstream::script(|peer| {
        while let Some(request) = peer.request()? {
            if request.target() == "/socket" {
                peer.send(SWITCH.as_bytes())?;
                loop {
                    let message = peer.take(4)?;
                    peer.send(&message)?;
                }
            }
            peer.send(&response_with(b"ok"))?;
        }
        Ok(())
    })
}

#[test]
fn open_connections_get_the_new_rules_at_their_next_request() {
    with_one_worker_and_two(|workers| {
        let upstream = Upstream::saying("ok");
        let sites = any_site(&upstream);
        let mut server = Setup::new(&sites).workers(workers).start();
        let [mut http, mut https] = both(&server);
        assert_eq!((http.get("a.test", "/x").status(), https.get("a.test", "/x").status()), (200, 200));
        server.reload(&format!(
            "{sites}dispatch = [{{ name = \"x\", path = \"/x\", ssl = true }}, {{ name = \"y\", path = \"/y\", ssl = false }}]\n"
        ));
        let moved = http.get("a.test", "/x");
        assert_eq!((moved.status(), https.get("a.test", "/x").status()), (302, 200));
        assert_eq!((http.get("a.test", "/y").status(), https.get("a.test", "/y").status()), (200, 302));
    });
}

#[test]
fn a_connection_to_a_site_server_that_stays_is_kept() {
    let upstream = Upstream::saying("ok");
    let other = Upstream::saying("other");
    let mut server = serve(&upstream);
    let [mut http, _] = both(&server);
    assert_eq!(http.get("a.test", "/").text(), "ok");
    server.reload(&format!("{}{}", site("other", &["other.test"], &other), any_site(&upstream)));
    assert_eq!(http.get("a.test", "/").text(), "ok");
    assert_eq!(http.get("other.test", "/").text(), "other");
    assert_eq!((upstream.connections(), other.connections()), (1, 1));
    // Site servers nobody names any more lose what waits.
    server.reload(&any_site(&upstream));
    other.wait_for_end_of(0);
    assert_eq!(http.get("a.test", "/").text(), "ok");
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn what_runs_ends_as_it_began() {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let upstream = Upstream::script(move |peer| {
        peer.request()?;
        released.lock().expect("no panic").recv().map_err(std::io::Error::other)?;
        peer.send(&response_with(b"of the old site server"))
    });
    let other = Upstream::saying("of the new one");
    let mut server = serve(&upstream);
    let mut clients = both(&server);
    for client in &mut clients {
        client.send("GET /held HTTP/1.1\r\nHost: a.test\r\n\r\n");
    }
    wait_until("both at the site server", || upstream.requests().len() == 2);
    server.reload(&any_site(&other));
    for _ in &clients {
        release.send(()).expect("it waits");
    }
    for client in &mut clients {
        assert_eq!(client.response().text(), "of the old site server");
        assert_eq!(client.get("a.test", "/").text(), "of the new one");
    }
}

#[test]
fn a_configuration_with_errors_changes_nothing_and_says_why() {
    let upstream = Upstream::saying("ok");
    let mut server = serve(&upstream);
    let mut clients = both(&server);
    let broken = format!("{}isecure = true\n", any_site(&upstream));
    server.reload_in_vain(&broken);
    let text = server.log_text();
    assert!(text.contains("unknown key `isecure`") && text.contains("do: write `is_secure`"), "{text}");
    assert!(text.contains("nothing was changed: generation 1 keeps serving"), "{text}");
    for client in &mut clients {
        assert_eq!(client.get("a.test", "/").status(), 200);
    }
    // What reads well and cannot be served is refused, too.
    let certificate = "certificate = [{ source = \"files\", certificate = \"no.pem\", key = \"no.key\" }]\n";
    server.reload_in_vain(&format!("{}{certificate}", any_site(&upstream)));
    assert!(server.log_text().contains("no.pem"), "{}", server.log_text());
    for client in both(&server).iter_mut().chain(&mut clients) {
        assert_eq!(client.get("a.test", "/").status(), 200);
    }
    // Mended, it is taken up: the attempts in between had no number.
    server.reload(&any_site(&upstream));
}

#[test]
fn sessions_resume_across_reloads_and_the_cache_gets_its_new_bounds() {
    for mode in ["cache", "tickets"] {
        let upstream = Upstream::saying("ok");
        let sites = any_site(&upstream);
        let mut server = Setup::new(&sites).session_cache(&format!("mode = {mode:?}")).start();
        let tls = Tls::new().sni("a.test");
        let visit = |server: &Server| {
            let mut client = tls.connect_as(server.https(), "a.test");
            assert_eq!(client.get("a.test", "/").status(), 200);
            client.handshake_kind()
        };
        assert_eq!(visit(&server), Full);
        server.reload(&sites);
        assert_eq!(visit(&server), Resumed, "{mode}");
        // Another policy for the site: its sessions are those of another site.
        server.reload(&format!("{sites}tls_versions = [\"1.3\"]\n"));
        assert_eq!(visit(&server), Full, "{mode}");
    }
}

#[test]
fn a_connection_made_under_another_tls_policy_is_sent_away() {
    let upstream = Upstream::saying("ok");
    let sites = any_site(&upstream);
    let mut server = serve(&upstream);
    let [mut http, mut https] = both(&server);
    assert_eq!(https.get("a.test", "/").status(), 200);
    server.reload(&format!("{sites}tls_versions = [\"1.3\"]\n"));
    let response = https.get("a.test", "/");
    assert_eq!(response.status(), 421);
    assert!(response.closes());
    assert_eq!(https.end(), End::Clean);
    // And one whose site is no more.
    let mut https = Client::https(server.https(), "a.test");
    assert_eq!(https.get("a.test", "/").status(), 200);
    server.reload(&site("b", &["b.test"], &upstream));
    assert_eq!(https.get("b.test", "/").status(), 421);
    assert_eq!(http.get("b.test", "/").status(), 200);
    assert_eq!(http.get("a.test", "/").status(), 404);
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

#[test]
fn listeners_come_and_go() {
    with_one_worker_and_two(|workers| {
        let upstream = Upstream::saying("ok");
        let sites = any_site(&upstream);
        let mut server = Setup::new(&sites).workers(workers).start();
        let (first, added) = (server.http(), free_address());
        let mut before = Client::http(first);
        server
            .setup()
            .set_listen(&format!("http = [\"127.0.0.1:0\", \"{added}\"], https = [\"127.0.0.1:0\"]"));
        server.reload(&sites);
        for address in [first, added] {
            assert_eq!(Client::http(address).get("a.test", "/").status(), 200);
        }
        server.setup().set_listen(&format!("http = [\"{added}\"], https = [\"127.0.0.1:0\"]"));
        server.reload(&sites);
        wait_until("the first address is given up", || TcpStream::connect(first).is_err());
        assert_eq!(Client::http(added).get("a.test", "/").status(), 200);
        // Its connections go on.
        assert_eq!(before.get("a.test", "/").status(), 200);
        // An address somebody else has: nothing changes.
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let taken = taken.local_addr().map(|address| (taken, address)).expect("bound");
        server.setup().set_listen(&format!("http = [\"{}\"], https = [\"127.0.0.1:0\"]", taken.1));
        server.reload_in_vain(&sites);
        assert!(server.log_text().contains("cannot listen on"), "{}", server.log_text());
        assert_eq!(Client::http(added).get("a.test", "/").status(), 200);
    });
}

#[test]
fn the_level_of_the_log_changes() {
    let upstream = Upstream::saying("ok");
    let mut server = serve(&upstream);
    let path = server.setup().directory().join("portcullis.toml");
    let refuse = |server: &Server| {
        assert_eq!(Client::http(server.http()).get("a.test:x", "/").status(), 400);
    };
    let lines = |server: &Server| server.log_text().matches("refused a request").count();
    refuse(&server);
    wait_until("the refusal is logged", || lines(&server) == 1);
    let text = std::fs::read_to_string(&path).expect("written").replace("\"debug\"", "\"info\"");
    std::fs::write(&path, text).expect("writable");
    server.signal(Signal::HUP);
    server.wait_for_line("reloaded: generation 2 serves");
    refuse(&server);
    // Lines come in order: when this one is there, all before it are.
    server.signal(Signal::HUP);
    server.wait_for_line("reloaded: generation 3 serves");
    assert_eq!(lines(&server), 1);
}

fn ping(tunnels: &mut [Client]) {
    for tunnel in tunnels {
        tunnel.send(b"ping");
        assert_eq!(tunnel.take(4), b"ping");
    }
}

#[test]
fn memory_taken_for_a_reload_goes_back_to_the_system() {
    let upstream = Upstream::saying("ok");
    let rules: String = (0..2_000)
        .map(|number| {
            format!("[[site.dispatch]]\nname = \"rule{number}\"\npath = \"/part{number}/{{id}}/more\"\n")
        })
        .collect();
    let sites: String = (0..20)
        .map(|number| site(&format!("s{number}"), &[&format!("s{number}.test")], &upstream) + &rules)
        .collect::<String>()
        + &any_site(&upstream);
    let mut server = Setup::new(&sites).start();
    server.reload(&sites);
    // Two generations and what one of them is read by, at the peak; one afterwards, in a process at rest.
    let mut seen = (0, 0);
    wait_until("memory is back", || {
        seen = server.memory_kib();
        seen.0 < seen.1 * 3 / 4
    });
    println!("resident memory {} KiB, {} KiB at the peak", seen.0, seen.1);
}

/// A thousand of each take minutes: `PORTCULLIS_RELOADS` and `PORTCULLIS_SOCKETS` say how many.
#[test]
fn many_reloads_under_load_drop_nothing_and_keep_no_memory() {
    let of = |name: &str, default: usize| {
        std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
    };
    let (reloads, sockets) = (of("PORTCULLIS_RELOADS", 60), of("PORTCULLIS_SOCKETS", 60));
    let upstream = tunnelling();
    let sites: String = (0..50)
        .map(|number| {
            format!(
                "{}[[site.dispatch]]\nname = \"x\"\npath = \"/x/{number}\"\n",
                site(&format!("s{number}"), &[&format!("s{number}.test")], &upstream)
            )
        })
        .collect::<String>()
        + &any_site(&upstream);
    let mut server = Setup::new(&sites).workers(2).limits("connections = 20000").start();
    let tls = Tls::new().sni("a.test");
    let mut tunnels: Vec<Client> = (0..sockets)
        .map(|number| {
            let mut client = if number % 2 == 0 {
                Client::http(server.http())
            } else {
                tls.connect(server.https()).expect("a handshake")
            };
            client.send(REQUEST);
            assert_eq!(client.response().status(), 101);
            client
        })
        .collect();
    for _ in 0..5 {
        server.reload(&sites);
    }
    let (before, _) = server.memory_kib();

    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let visitors: Vec<_> = [(server.http(), false), (server.https(), true)]
        .into_iter()
        .map(|(address, secure)| {
            let (stop, answered) = (stop.clone(), answered.clone());
            std::thread::spawn(move || {
                let connect = || match secure {
                    true => Client::https(address, "a.test"),
                    false => Client::http(address),
                };
                let mut kept = connect();
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(kept.get("a.test", "/").text(), "ok");
                    assert_eq!(connect().get("a.test", "/").text(), "ok");
                    answered.fetch_add(2, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut pinged = Instant::now();
    for _ in 0..reloads {
        server.reload(&sites);
        // Neither our site server nor a tunnel waits for ever.
        if pinged.elapsed() > PATIENCE / 6 {
            ping(&mut tunnels);
            pinged = Instant::now();
        }
    }
    stop.store(true, Ordering::Relaxed);
    for visitor in visitors {
        visitor.join().expect("every request was answered");
    }
    ping(&mut tunnels);
    println!("{reloads} reloads, {sockets} tunnels, {} requests answered", answered.load(Ordering::Relaxed));
    // Old generations go within a second; what is left over is the allocator's.
    let mut after = 0;
    wait_until("memory is back", || {
        after = server.memory_kib().0;
        after < before + before / 4 + 8 * 1024
    });
    println!("resident memory before {before} KiB, after {after} KiB");
    drop(tunnels);
}
