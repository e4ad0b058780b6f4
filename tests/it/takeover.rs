//! An upgrade: a new process takes over the sockets, and no client notices.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use rustls::HandshakeKind;

use crate::harness::{Client, PROGRAM, Server, Setup, Tls, Upstream, any_site, run_to_end, wait_until};

/// A process that took over from one under test: nobody else would end it.
pub struct Successor(Pid);

impl Successor {
    pub fn numbered(process: i32) -> Successor {
        Successor(Pid::from_raw(process).expect("not zero"))
    }

    pub fn process(&self) -> u32 {
        self.0.as_raw_nonzero().get() as u32
    }

    /// Has the process that serves upgraded, and waits for the `nth` one that serves in its place.
    #[track_caller]
    fn of(server: &mut Server, process: Pid, nth: usize) -> Successor {
        let failures = |text: &str| text.matches("not upgraded").count();
        let before = failures(&server.log_text());
        kill_process(process, Signal::USR2).expect("it runs");
        let upgraded = |server: &Server| -> Vec<String> {
            let lines = server.lines().into_iter();
            lines.filter(|line| line.contains("upgraded: the new process serves")).collect()
        };
        wait_until("the new process serves", || {
            let text = server.log_text();
            assert_eq!(failures(&text), before, "{text}");
            upgraded(server).len() == nth && text.matches("INFO ready").count() == nth + 1
        });
        let line = upgraded(server).pop().expect("it was waited for");
        let number = line.rsplit("process=").next().and_then(|number| number.trim().parse().ok());
        Successor(Pid::from_raw(number.expect("a process number")).expect("not zero"))
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::TERM);
        let mut left = 1000;
        while left > 0 && test_kill_process(self.0).is_ok() {
            // Its parent has gone, so that somebody else collects it; a zombie of a container counts as gone.
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.as_raw_nonzero()));
            if stat.is_ok_and(|stat| stat.contains(") Z ")) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
            left -= 1;
        }
        if left == 0 {
            let _ = kill_process(self.0, Signal::KILL);
        }
    }
}

fn own(server: &Server) -> Pid {
    Pid::from_raw(server.process() as i32).expect("not zero")
}

/// Clients that make connection after connection, and some that keep theirs as long as they may.
pub struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    pub fn on(http: SocketAddr, https: SocketAddr) -> Load {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients = (0..8).map(|number| {
            let (stop, done) = (stop.clone(), done.clone());
            std::thread::spawn(move || {
                let tls = Tls::new().sni("a.test");
                while !stop.load(Ordering::Relaxed) {
                    let mut client = match number % 2 {
                        0 => Client::http(http),
                        _ => tls.connect(https).expect("a handshake"),
                    };
                    for _ in 0..if number < 4 { 1 } else { 1000 } {
                        let response = client.get("a.test", "/");
                        assert_eq!(response.text(), "ok");
                        done.fetch_add(1, Ordering::Relaxed);
                        if response.closes() || stop.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                }
            })
        });
        Load { clients: clients.collect(), stop, done }
    }

    pub fn more(&self, count: usize) {
        let until = self.done.load(Ordering::Relaxed) + count;
        wait_until("requests are answered", || {
            self.done.load(Ordering::Relaxed) >= until
                || self.clients.iter().any(|client| client.is_finished())
        });
    }

    #[track_caller]
    pub fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("no request fails");
        }
    }
}

#[test]
fn no_connection_is_refused_and_no_request_lost() {
    let upstream = Upstream::saying("ok");
    let mut server = Setup::new(&any_site(&upstream)).workers(2).start();
    let load = Load::on(server.http(), server.https());
    load.more(100);
    let first = own(&server);
    let second = Successor::of(&mut server, first, 1);
    load.more(100);
    assert!(server.wait_for_end_of_process().success());
    load.more(100);
    // The new process can be upgraded as well.
    let third = Successor::of(&mut server, second.0, 2);
    load.more(100);
    load.end();
    drop((second, third));
}

#[test]
fn another_number_of_workers_takes_up_every_queue() {
    let upstream = Upstream::saying("ok");
    let mut server = Setup::new(&any_site(&upstream)).workers(3).start();
    let load = Load::on(server.http(), server.https());
    load.more(50);
    let mut process = own(&server);
    let mut all = Vec::new();
    for (nth, workers) in [(1, 1), (2, 2)] {
        server.setup().set_workers(workers);
        let next = Successor::of(&mut server, process, nth);
        process = next.0;
        all.push(next);
        load.more(50);
    }
    load.end();
    let http = server.http();
    for _ in 0..50 {
        assert_eq!(Client::http(http).get("a.test", "/").status(), 200);
    }
}

#[test]
fn sessions_resume_in_the_new_process() {
    let upstream = Upstream::saying("ok");
    for mode in ["cache", "tickets"] {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let mut server =
                Setup::new(&any_site(&upstream)).session_cache(&format!("mode = \"{mode}\"")).start();
            let tls = Tls::new().sni("a.test").version(version);
            let mut client = tls.connect(server.https()).expect("a handshake");
            assert_eq!(client.handshake_kind(), HandshakeKind::Full);
            assert_eq!(client.get("a.test", "/").status(), 200);
            let process = own(&server);
            let _next = Successor::of(&mut server, process, 1);
            drop(client);
            assert!(server.wait_for_end_of_process().success());
            let mut client = tls.connect(server.https()).expect("a handshake");
            assert_eq!(client.handshake_kind(), HandshakeKind::Resumed, "{mode} {version:?}");
            assert_eq!(client.get("a.test", "/").status(), 200);
        }
    }
}

#[test]
fn the_new_process_has_the_listeners_and_nothing_else() {
    let upstream = Upstream::saying("ok");
    let mut server = Setup::new(&any_site(&upstream)).workers(2).drain_timeout("60s").start();
    let mut open: Vec<_> = (0..10).map(|_| Client::http(server.http())).collect();
    for client in &mut open {
        assert_eq!(client.get("a.test", "/").status(), 200);
    }
    let process = own(&server);
    // The old process is kept from going: what both have can be compared.
    let descriptors = |process: Pid| -> BTreeSet<String> {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", process.as_raw_nonzero())).expect("it runs");
        let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.map(|link| link.display().to_string()).filter(|link| link.starts_with("socket:")).collect()
    };
    let before = descriptors(process);
    let next = Successor::of(&mut server, process, 1);
    let shared: Vec<_> = before.intersection(&descriptors(next.0)).cloned().collect();
    // Two addresses, two workers.
    assert_eq!(shared.len(), 4, "{shared:?}");
    drop(open);
}

#[test]
fn when_the_new_process_cannot_serve_the_old_one_goes_on_and_says_why() {
    let upstream = Upstream::saying("ok");
    let mut server = Setup::new(&any_site(&upstream)).start();
    let file = server.configuration();
    let good = std::fs::read_to_string(&file).expect("readable");
    std::fs::write(&file, format!("{good}isecure = true\n")).expect("writable");
    server.signal(Signal::USR2);
    server.wait_for_line("not upgraded: this process keeps serving");
    assert!(server.log_text().contains("the new process cannot serve"), "{}", server.log_text());
    assert!(server.log_text().contains("unknown key `isecure`"), "{}", server.log_text());
    assert_eq!(Client::http(server.http()).get("a.test", "/").status(), 200);
    std::fs::write(&file, good).expect("writable");
    let process = own(&server);
    let next = Successor::of(&mut server, process, 1);
    assert_eq!(Client::http(server.http()).get("a.test", "/").status(), 200);
    drop(next);
}

#[test]
fn sockets_of_the_service_manager_are_used() {
    let upstream = Upstream::saying("ok");
    let ours = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = ours.local_addr().expect("bound");
    // A connection that came before the program: it is what activates a socket.
    let early = TcpStream::connect(address).expect("the kernel completes it");
    let setup = Setup::new(&any_site(&upstream)).workers(2).listen(&format!("http = [\"{address}\"]"));
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"";
    let server = setup.under(&["sh", "-c", script]).start_with(|command| {
        command.stdin(Stdio::from(OwnedFd::from(ours)));
    });
    assert_eq!(server.http(), address);
    assert_eq!(Client::over(early).get("a.test", "/").text(), "ok");
    for _ in 0..20 {
        assert_eq!(Client::http(address).get("a.test", "/").text(), "ok");
    }
}

/// The same socket under a number that a program started from here finds open.
fn inheritable(socket: &TcpListener) -> OwnedFd {
    let high = rustix::io::fcntl_dupfd_cloexec(socket, 200).expect("a descriptor");
    rustix::io::fcntl_setfd(&high, rustix::io::FdFlags::empty()).expect("an open socket");
    high
}

#[test]
fn a_socket_with_a_name_serves_its_scheme_alone() {
    let upstream = Upstream::saying("ok");
    let sockets: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    let address = |place: usize| sockets[place].local_addr().expect("bound");
    let high: Vec<_> = sockets.iter().map(inheritable).collect();
    let number = |place: usize| high[place].as_raw_fd();
    let setup = |names: &str| {
        let script = format!(
            "exec 3<&{} 4<&{} 5<&{}; LISTEN_PID=$$ LISTEN_FDS=3 LISTEN_FDNAMES={names} exec \"$0\" \"$@\"",
            number(0),
            number(1),
            number(2)
        );
        let listen = format!("http = [\"{}\"], https = [\"{}\"]", address(0), address(1));
        Setup::new(&any_site(&upstream)).listen(&listen).under(&["bash", "-c", &script])
    };
    // The third has no address in the configuration.
    let mut server = setup("http:https:https").start();
    assert_eq!(Client::http(address(0)).get("a.test", "/").text(), "ok");
    assert_eq!(Client::https(address(1), "a.test").get("a.test", "/").text(), "ok");
    let line = server.wait_for_line("nothing listens on");
    assert!(line.contains(&address(2).to_string()) && line.contains("`https` of [listen]"), "{line}");
    server.stop();
    // Where names say otherwise the addresses are opened anew, and they are taken.
    let refused = setup("https:http:x.socket").run_to_end();
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("cannot listen on {}", address(0))), "{text}");
}

#[test]
fn the_number_of_the_process_that_serves_is_in_its_file() {
    let upstream = Upstream::saying("ok");
    let setup = Setup::new(&any_site(&upstream)).top("pid_file = \"run/portcullis.pid\"");
    let mut server = setup.start();
    let file = server.setup().directory().join("run/portcullis.pid");
    let number =
        |file: &std::path::Path| -> Option<i32> { std::fs::read_to_string(file).ok()?.trim().parse().ok() };
    let own = own(&server);
    assert_eq!(number(&file), Some(own.as_raw_nonzero().get()));
    let next = Successor::of(&mut server, own, 1);
    assert!(server.wait_for_end_of_process().success());
    assert_eq!(number(&file), Some(next.process() as i32));
    drop(next);
    assert!(!file.exists());
}

#[test]
fn the_service_manager_hears_what_happens() {
    let upstream = Upstream::saying("ok");
    let setup = Setup::new(&any_site(&upstream)).workers(2);
    let path = setup.directory().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(Duration::from_secs(60))).expect("an open socket");
    let mut server = setup.start_with(|command| {
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "900000");
    });
    let hear = |wanted: &str| {
        let mut bytes = [0; 4096];
        loop {
            let length = manager.recv(&mut bytes).expect("a message in time");
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if text.contains(wanted) {
                return text;
            }
        }
    };
    assert!(hear("READY=1").contains("STATUS=generation 1 serves 1 site"));
    // Beats follow only after every worker was seen to turn.
    for _ in 0..3 {
        hear("WATCHDOG=1");
    }
    server.reload(&any_site(&upstream));
    assert!(hear("RELOADING=1").contains("MONOTONIC_USEC="));
    assert!(hear("READY=1").contains("STATUS=generation 2"));
    let process = own(&server);
    let next = Successor::of(&mut server, process, 1);
    hear(&format!("MAINPID={}", next.0.as_raw_nonzero()));
    hear("READY=1");
    drop(next);
    hear("STOPPING=1");
}

#[test]
fn the_admin_listener_follows_the_process_that_serves() {
    let upstream = Upstream::saying("hello");
    let token = "0123456789abcdef0123";
    let setup = Setup::new(&any_site(&upstream))
        .table("admin", "socket = \"admin.sock\", listen = [\"127.0.0.1:0\"], token_file = \"token\"")
        .file("token", token);
    let token_file = setup.directory().join("token");
    let only_ours = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&token_file, only_ours).expect("ours");
    let mut server = setup.start();
    let socket = server.setup().directory().join("admin.sock");
    let asked = || {
        let mut command = std::process::Command::new(PROGRAM);
        let output = run_to_end(command.args(["status", "--json", "--socket"]).arg(&socket));
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        told["pid"].as_i64()
    };
    let old = own(&server);
    assert_eq!(asked(), Some(i64::from(old.as_raw_nonzero().get())));
    let new = Successor::of(&mut server, old, 1);
    assert_eq!(asked(), Some(i64::from(new.0.as_raw_nonzero().get())));
    assert!(server.wait_for_end().success());
    // The process that ended left the socket of the other one alone.
    assert_eq!(asked(), Some(i64::from(new.0.as_raw_nonzero().get())));
}
