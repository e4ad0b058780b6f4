//! The access log: a line for each request, whatever became of it, in the format asked for.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{
    Client, End, Server, Setup, Tls, Upstream, any_site, response_with, site, wait_until,
    with_one_worker_and_two,
};

const TO_FILE: &str = "to = \"access.log\"";

fn path(server: &mut Server) -> PathBuf {
    server.setup().directory().join("access.log")
}

/// The lines of the log, when there are so many.
#[track_caller]
fn lines(server: &mut Server, count: usize) -> Vec<String> {
    let path = path(server);
    let mut text = String::new();
    wait_until(&format!("{count} lines"), || {
        text = std::fs::read_to_string(&path).unwrap_or_default();
        text.lines().count() >= count
    });
    assert_eq!(text.lines().count(), count, "{text}");
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn objects(server: &mut Server, count: usize) -> Vec<Value> {
    let read = |line: &String| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    lines(server, count).iter().map(read).collect()
}

/// Some keys of an object, as JSON.
fn some(object: &Value, keys: &[&str]) -> String {
    let picked: Vec<String> = keys.iter().map(|key| object[key].to_string()).collect();
    picked.join(" ")
}

#[test]
fn what_was_asked_decided_and_answered_is_told() {
    with_one_worker_and_two(|workers| {
        let upstream = Upstream::script(|peer| {
            while let Some(request) = peer.request()? {
                let _ = request;
                peer.send(&response_with(b"hello"))?;
            }
            Ok(())
        });
        let sites = format!(
            "{}dispatch = [{{ name = \"page\", path = \"/page/*\" }}, {{ name = \"secure\", path = \"/secure\", ssl = true }}]\n",
            any_site(&upstream)
        );
        let mut server = Setup::new(&sites).workers(workers).table("access_log", TO_FILE).start();
        let mut client = Client::https(server.https(), "a.test");
        client.send("POST /page/1?q=%20 HTTP/1.1\r\nHost: a.test:8443\r\nReferer: https://b.test/\r\nUser-Agent: t \"1\"\r\nContent-Length: 3\r\n\r\nabc");
        let id = client.response_to("POST");
        assert_eq!(id.text(), "hello");
        client.get("a.test", "/other");
        Client::http(server.http()).get("a.test", "/secure");
        let told = objects(&mut server, 3);
        let [first, second, redirect] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(
            some(first, &["client", "scheme", "host", "method", "target", "http", "referer", "user_agent"]),
            r#""127.0.0.1" "https" "a.test:8443" "POST" "/page/1?q=%20" "1.1" "https://b.test/" "t \"1\"""#
        );
        let keys = [
            "tls", "resumed", "site", "rule", "decision", "status", "upstream", "reused", "retries", "reason",
        ];
        let address = upstream.url().trim_start_matches("http://").to_owned();
        assert_eq!(
            some(first, &keys),
            format!(r#""1.3" false "any" "page" "forward" 200 "{address}" false 0 null"#)
        );
        assert_eq!(
            some(second, &keys),
            format!(r#""1.3" false "any" null "forward" 200 "{address}" true 0 null"#)
        );
        assert_eq!(some(redirect, &keys), r#"null null "any" "secure" "redirect" 302 null null 0 null"#);
        // The handshake is told once.
        assert!(first["handshake_us"].as_u64() > Some(0) && second["handshake_us"].is_null(), "{told:?}");
        for told in [first, second] {
            let phases = ["head_us", "decision_us", "connect_us", "first_byte_us"];
            let sum: u64 = phases.iter().map(|key| told[key].as_u64().expect("a number")).sum();
            assert!(sum <= told["total_us"].as_u64().expect("a number"), "{told}");
        }
        let forwarded = upstream.requests();
        assert_eq!(first["id"].as_str(), forwarded[0].field("X-Request-Id"), "{first}");
        let head = "POST /page/1?q=%20 HTTP/1.1\r\nHost: a.test:8443\r\nReferer: https://b.test/\r\nUser-Agent: t \"1\"\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(first["bytes_in"], head.len() + 3);
        assert!(first["bytes_out"].as_u64() > Some(50));
        assert_ne!(first["id"], second["id"]);
    });
}

#[test]
fn what_went_wrong_has_a_reason() {
    let upstream = Upstream::script(|peer| {
        while let Some(request) = peer.request()? {
            match request.target() {
                "/cut" => {
                    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nabc")?;
                    return Ok(());
                }
                "/silent" => return Ok(()),
                "/nonsense" => peer.send(b"nonsense\r\n\r\n")?,
                _ => peer.send(&response_with(b"ok"))?,
            }
        }
        Ok(())
    });
    let sites = site("one", &["a.test"], &upstream);
    let timeouts = "request_head = \"300ms\", body_idle = \"300ms\"";
    let mut server = Setup::new(&sites).table("access_log", TO_FILE).timeouts(timeouts).start();
    let address = server.http();
    for (bytes, expected) in [
        ("nonsense\r\n\r\n", r#"null null null 400 "refuse" "request_line""#),
        ("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n", r#""GET" "/" null 404 "refuse" "no_site""#),
        ("GET /cut HTTP/1.1\r\nHost: a.test\r\n\r\n", r#""GET" "/cut" "one" 200 "forward" "upstream_cut""#),
        (
            "POST /silent HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx",
            r#""POST" "/silent" "one" 502 "forward" "upstream_closed_early""#,
        ),
        (
            "GET /nonsense HTTP/1.1\r\nHost: a.test\r\n\r\n",
            r#""GET" "/nonsense" "one" 502 "forward" "upstream_bad_response""#,
        ),
        ("GET / HT", r#"null null null 408 "refuse" "request_head_timed_out""#),
        (
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nx",
            r#""POST" "/" "one" 408 "forward" "body_timed_out""#,
        ),
    ] {
        let path = path(&mut server);
        let before = std::fs::read_to_string(&path).unwrap_or_default().lines().count();
        let mut client = Client::http(address);
        client.send(bytes);
        let told = objects(&mut server, before + 1);
        let told = told.last().expect("one");
        assert_eq!(
            some(told, &["method", "target", "site", "status", "decision", "reason"]),
            expected,
            "{told}"
        );
    }
    let mut left = Client::http(address);
    left.send("GET / HTTP/1.1\r\nHo");
    drop(left);
    let told = objects(&mut server, 8);
    assert_eq!(some(&told[7], &["status", "reason"]), r#"null "client_gone""#);
}

#[test]
fn a_tunnel_is_told_when_it_ends() {
    let upstream = Upstream::script(|peer| {
        peer.request()?;
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")?;
        let message = peer.take(4)?;
        peer.send(&message)
    });
    let mut server = Setup::new(&any_site(&upstream)).table("access_log", TO_FILE).start();
    let mut client = Client::http(server.http());
    client.send("GET /socket HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.response_head().status(), 101);
    client.send("ping");
    assert_eq!(client.take(4), b"ping");
    assert_eq!(client.end(), End::Clean);
    drop(client);
    let told = objects(&mut server, 1);
    assert_eq!(some(&told[0], &["target", "status", "decision"]), r#""/socket" 101 "forward""#);
    let octets = |key: &str| told[0][key].as_u64().expect("a number");
    assert!(octets("bytes_in") >= 4 && octets("bytes_out") >= 4, "{told:?}");
}

#[test]
fn the_combined_format_is_what_tools_read() {
    let upstream = Upstream::saying("ok");
    let mut server = Setup::new(&any_site(&upstream))
        .table("access_log", "to = \"access.log\", format = \"combined\"")
        .start();
    let mut client = Client::http(server.http());
    client.send(b"GET /a\xff HTTP/1.1\r\nHost: a.test\r\nUser-Agent: x \"y\"\r\n\r\n");
    let status = client.response().status();
    let lines = lines(&mut server, 1);
    let (front, back) = lines[0].split_once(" [").expect("a date");
    assert_eq!(front, "127.0.0.1 - -");
    let (_, back) = back.split_once(" +0000] ").expect("in UTC");
    let request = if status == 200 { "GET /a\\xFF HTTP/1.1" } else { "-" };
    let rest = back.strip_prefix(&format!("\"{request}\" {status} ")).unwrap_or_else(|| panic!("{back}"));
    if status == 200 {
        assert_eq!(rest, "2 \"-\" \"x \\x22y\\x22\"");
    }
}

#[test]
fn it_is_opened_anew_on_sigusr1_and_changed_by_a_reload() {
    let upstream = Upstream::saying("ok");
    let sites = any_site(&upstream);
    let mut server = Setup::new(&sites).workers(2).start();
    let path = path(&mut server);
    let get = |server: &Server, target: &str| {
        assert_eq!(Client::http(server.http()).get("a.test", target).status(), 200);
    };
    get(&server, "/before");
    server.reload(&format!("{sites}[access_log]\nto = \"access.log\"\n"));
    get(&server, "/one");
    assert_eq!(objects(&mut server, 1)[0]["target"], "/one");
    let moved = path.with_extension("log.1");
    std::fs::rename(&path, &moved).expect("movable");
    server.signal(Signal::USR1);
    server.wait_for_line("opened the access log");
    get(&server, "/two");
    assert_eq!(objects(&mut server, 1)[0]["target"], "/two");
    server.reload(&format!("{sites}[access_log]\nto = \"other.log\"\nformat = \"vhost_combined\"\n"));
    get(&server, "/three");
    server.reload(&sites);
    get(&server, "/four");
    assert!(server.stop().success());
    let read = |path: &PathBuf| std::fs::read_to_string(path).expect("it is there");
    assert_eq!(read(&moved).lines().count(), 1);
    assert_eq!(read(&path).lines().count(), 1);
    let other = read(&path.with_file_name("other.log"));
    assert!(other.starts_with("a.test:") && other.contains("\"GET /three HTTP/1.1\" 200 2 "), "{other}");
    assert_eq!(other.lines().count(), 1);
    // A log that cannot be is refused.
    let mut server = Server::start(&sites);
    server.reload_in_vain(&format!("{sites}[access_log]\nto = \"no/such/directory/access.log\"\n"));
    assert!(server.log_text().contains("cannot write the access log"), "{}", server.log_text());
}

#[test]
fn every_line_is_there_when_it_has_ended() {
    let upstream = Upstream::saying("ok");
    let mut server = Setup::new(&any_site(&upstream)).workers(2).table("access_log", TO_FILE).start();
    let address = server.https();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            std::thread::spawn(move || {
                let mut client = Client::https(address, "a.test");
                for request in 0..250 {
                    assert_eq!(client.get("a.test", &format!("/{thread}/{request}")).status(), 200);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    assert!(server.stop().success());
    let told = objects(&mut server, 1000);
    let mut targets: Vec<&str> = told.iter().map(|told| told["target"].as_str().expect("text")).collect();
    targets.sort_unstable();
    targets.dedup();
    assert_eq!(targets.len(), 1000);
    assert_eq!(server.total("access_log_lines_dropped"), 0);
}

#[test]
fn a_log_that_stalls_drops_lines_and_no_request_waits() {
    let upstream = Upstream::saying("ok");
    let setup = Setup::new(&any_site(&upstream));
    let fifo = setup.directory().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().expect("coreutils");
    assert!(made.success());
    // Opened for both, so that opening it for writing does not wait; nobody reads.
    let held = std::fs::OpenOptions::new().read(true).write(true).open(&fifo).expect("it is there");
    let setup = setup.table("access_log", "to = \"fifo\", buffer = \"128KiB\"");
    let mut server = setup.start();
    let mut client = Client::http(server.http());
    let target = format!("/{}", "x".repeat(4000));
    for _ in 0..200 {
        assert_eq!(client.get("a.test", &target).status(), 200);
    }
    drop(client);
    drop(held);
    assert!(server.stop().success());
    let dropped = server.total("access_log_lines_dropped");
    assert!(dropped > 100, "{dropped}");
}

#[test]
fn syslog_gets_a_message_a_request() {
    let upstream = Upstream::saying("ok");
    let setup = Setup::new(&any_site(&upstream));
    let daemon = UnixDatagram::bind(setup.directory().join("log")).expect("a path of our own");
    daemon.set_read_timeout(Some(crate::harness::PATIENCE)).expect("settable");
    let server = setup.table("access_log", "to = \"syslog:log\"").start();
    let session = Tls::new().sni("a.test");
    for _ in 0..2 {
        let mut client = session.connect(server.https()).expect("a handshake");
        assert_eq!(client.get("a.test", "/x").status(), 200);
    }
    let mut bytes = [0; 4096];
    for resumed in [false, true] {
        let length = daemon.recv(&mut bytes).expect("a datagram");
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        assert!(text.starts_with("<190>"), "{text}");
        let told: Value = serde_json::from_str(&text[text.find('{').expect("JSON")..]).expect("JSON");
        assert_eq!((&told["target"], &told["resumed"]), (&"/x".into(), &resumed.into()));
    }
}

#[test]
fn standard_output_has_lines_and_nothing_else() {
    let upstream = Upstream::saying("ok");
    let setup = Setup::new(&any_site(&upstream)).table("access_log", "to = \"stdout\"");
    let out = setup.directory().join("out");
    let file = std::fs::File::create(&out).expect("writable");
    let mut server = setup.start_with(|command| {
        command.stdout(file);
    });
    assert_eq!(Client::http(server.http()).get("a.test", "/x").status(), 200);
    wait_until("a line", || std::fs::read_to_string(&out).expect("there").ends_with("}\n"));
    assert!(server.stop().success());
    let text = std::fs::read_to_string(&out).expect("there");
    assert_eq!(serde_json::from_str::<Value>(&text).expect("one object")["target"], "/x");
}
