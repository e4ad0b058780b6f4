//! Site servers known by a name: what happens when it means another address, or none.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Client, Server, Setup, skip, wait_until};

/// The program sees these files in place of the system's, which take a mount namespace of its own.
const IN_A_NAMESPACE: &str =
    "mount --bind \"$HOSTS\" /etc/hosts && mount --bind \"$RESOLV\" /etc/resolv.conf && exec \"$@\"";

fn can_have_a_namespace(directory: &Path) -> bool {
    let file = directory.join("hosts");
    let tried = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c"])
        .arg("mount --bind \"$0\" /etc/hosts && mount --bind \"$0\" /etc/resolv.conf && cat /etc/hosts")
        .arg(&file)
        .stderr(Stdio::null())
        .output();
    tried.is_ok_and(|output| output.status.success() && output.stdout.starts_with(b"127.0.0.1"))
}

/// Answers every connection with this text, for as long as the case runs.
fn saying_at(address: SocketAddr, text: &'static str) {
    let listener = TcpListener::bind(address).expect("a free port at another loopback address");
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            use std::io::Read as _;
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
                    text.len()
                )
                .as_bytes(),
            );
        }
    });
}

fn metric(server: &Server, result: &str) -> u64 {
    let socket = server.configuration().with_file_name("state").join("admin.sock");
    let Ok(mut stream) = std::os::unix::net::UnixStream::connect(socket) else { return 0 };
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text).expect("text");
    let line = text.lines().find(|line| {
        line.starts_with("portcullis_upstream_lookups_total{upstream=\"app.test:")
            && line.contains(&format!("result=\"{result}\""))
    });
    let line = line.unwrap_or_else(|| panic!("no such metric: {text}"));
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

#[test]
fn a_name_that_moves_is_followed_and_one_that_is_lost_stays_where_it_was() {
    let one = "127.0.0.1:0".parse::<SocketAddr>().expect("an address");
    // A port that is free at both addresses.
    let port = {
        let listener = TcpListener::bind(one).expect("a free port");
        listener.local_addr().expect("bound").port()
    };
    let site = format!(
        "[[site]]\nname = \"any\"\nhosts = [\"a.test\", \"*\"]\nupstream = [\"http://app.test:{port}\"]\n"
    );
    let setup = Setup::new(&site)
        .table("upstream_pool", "resolve_interval = \"1s\"")
        .file("hosts", "127.0.0.1 localhost app.test\n")
        // Nobody answers there, and that is known at once.
        .file("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
    if !can_have_a_namespace(setup.directory()) {
        return skip("a mount namespace cannot be had here");
    }
    saying_at(SocketAddr::new("127.0.0.1".parse().expect("IPv4"), port), "first");
    saying_at(SocketAddr::new("127.0.0.2".parse().expect("IPv4"), port), "second");
    let hosts = setup.directory().join("hosts");
    let resolv = setup.directory().join("resolv.conf");
    let mut server = setup
        .under(&["unshare", "--mount", "--map-root-user", "sh", "-c", IN_A_NAMESPACE, "sh"])
        .start_with(|command| {
            command.env("HOSTS", &hosts).env("RESOLV", resolv);
        });
    // In place: it is this file that is bound there.
    let becomes = |text: &str| std::fs::write(&hosts, text).expect("writable");
    let said = |server: &Server| Client::http(server.http()).get("a.test", "/").text();
    assert_eq!(said(&server), "first");

    becomes("127.0.0.1 localhost\n127.0.0.2 app.test\n");
    server.wait_for_line("a site server has moved");
    wait_until("it is asked at its new address", || said(&server) == "second");

    becomes("127.0.0.1 localhost\n");
    let line = server.wait_for_line("a lookup failed: the addresses before stay");
    assert!(line.contains("lookup_failed") && line.contains("app.test"), "{line}");
    assert_eq!(said(&server), "second");
    assert!(metric(&server, "failed") >= 1 && metric(&server, "ok") >= 1);

    becomes("127.0.0.1 localhost app.test\n");
    server.wait_for_line("a lookup succeeds again");
    wait_until("it is asked at its first address", || said(&server) == "first");

    // A name that cannot be had at a reload changes nothing.
    let other = site.replace("app.test", "nowhere.test");
    server.reload_in_vain(&other);
    assert_eq!(said(&server), "first");
    assert!(server.log_text().contains("nowhere.test"));
}
