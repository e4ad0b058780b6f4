//! Bounds of TLS that hold over time and load: handshakes at a time, the lifetime of a fleet's sessions.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use rustls::HandshakeKind::{Full, Resumed};
use rustls::version::{TLS12, TLS13};

use crate::harness::{Client, End, PATIENCE, Server, Setup, Tls, Upstream, any_site, wait_until};

#[test]
fn a_worker_runs_so_many_handshakes_at_a_time_and_no_more() {
    let upstream = Upstream::saying("ok");
    let server = Setup::new(&any_site(&upstream)).workers(1).limits("handshakes_per_worker = 3").start();
    let begin = || {
        let mut session = Tls::new().sni("a.test").session();
        let mut hello = Vec::new();
        session.write_tls(&mut hello).expect("memory takes it");
        let mut socket = TcpStream::connect(server.https()).expect("it accepts");
        socket.set_read_timeout(Some(PATIENCE)).expect("an open socket");
        socket.write_all(&hello).expect("the connection lives");
        // Its flight is there: the handshake runs, and waits for the client.
        let mut first = [0];
        socket.peek(&mut first).map(|_| socket)
    };
    let running: Vec<TcpStream> = (0..3).map(|_| begin().expect("an answer")).collect();
    let mut late = Client::over(TcpStream::connect(server.https()).expect("it accepts"));
    let mut session = Tls::new().sni("a.test").session();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).expect("memory takes it");
    late.send(&hello);
    let (bytes, end) = late.rest();
    assert!(bytes.is_empty(), "{}", bytes.escape_ascii());
    assert!(matches!(end, End::Clean | End::Reset), "{end:?}");
    // A connection that has not said its ClientHello is none, and keeps nobody out.
    let _silent: Vec<TcpStream> =
        (0..20).map(|_| TcpStream::connect(server.https()).expect("it accepts")).collect();
    drop(running);
    wait_until("there is room again", || Tls::new().sni("a.test").connect(server.https()).is_ok());
    assert!(Client::https(server.https(), "a.test").get("a.test", "/").status() == 200);
}

/// Moves the wall clock of a program that is linked with the system's C library; nothing else of it.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    int failed = (int)syscall(SYS_clock_gettime, clock, time);
    const char *ms = getenv("WALL_CLOCK_OFF_BY_MS");
    if (!failed && clock == CLOCK_REALTIME && ms) {
        long long all = (long long)time->tv_sec * 1000000000LL + time->tv_nsec + atoll(ms) * 1000000LL;
        time->tv_sec = all / 1000000000LL;
        time->tv_nsec = all % 1000000000LL;
    }
    return failed;
}
"#;

#[test]
fn machines_whose_clocks_differ_resume_each_others_sessions_and_never_after_the_lifetime() {
    let upstream = Upstream::saying("ok");
    let setup = Setup::new("").file("shim.c", SHIM);
    let (secret, shim) = (setup.directory().join("fleet.secret"), setup.directory().join("shim.so"));
    fs::write(&secret, [7; 48]).expect("writable");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("ours");
    let mut compile = Command::new("cc");
    compile.current_dir(setup.directory()).args(["-shared", "-fPIC", "-o", "shim.so", "shim.c"]);
    assert!(compile.status().is_ok_and(|status| status.success()), "a C compiler is there");
    const LIFETIME: Duration = Duration::from_secs(6);
    // They differ by a tenth of the lifetime at most, as documented.
    let machine = |off_by_ms: &str| {
        let cache = format!("mode = \"tickets\", lifetime = \"6s\", fleet_secret_file = {secret:?}");
        Setup::new(&any_site(&upstream)).session_cache(&cache).start_with(|command| {
            command.env("LD_PRELOAD", &shim).env("WALL_CLOCK_OFF_BY_MS", off_by_ms);
        })
    };
    let fleet = [machine("0"), machine("300"), machine("-300")];
    let visit = |server: &Server, tls: &Tls| {
        let mut client = tls.connect(server.https()).expect("a handshake");
        let response = client.get("a.test", "/");
        assert_eq!(response.status(), 200);
        client.handshake_kind()
    };
    // Each begins for the other two; all at once, for it takes as long as sessions live.
    std::thread::scope(|scope| {
        for first in 0..fleet.len() {
            for version in [&TLS12, &TLS13] {
                let (fleet, visit) = (&fleet, &visit);
                scope.spawn(move || {
                    let tls = Tls::new().sni("a.test").version(version);
                    assert_eq!(visit(&fleet[first], &tls), Full);
                    let full = Instant::now();
                    let mut resumed = [0; 3];
                    for at in (0..fleet.len()).cycle() {
                        let began = full.elapsed();
                        if visit(&fleet[at], &tls) != Resumed {
                            assert!(began >= LIFETIME / 2, "{first} {at} {version:?}: over after {began:?}");
                            break;
                        }
                        assert!(began <= LIFETIME, "{first} {at} {version:?}: resumed after {began:?}");
                        resumed[at] += 1;
                        std::thread::sleep(Duration::from_millis(40));
                    }
                    assert!(resumed.iter().all(|count| *count > 0), "{first} {version:?}: {resumed:?}");
                });
            }
        }
    });
}
