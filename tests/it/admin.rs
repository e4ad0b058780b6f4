//! The admin listener, the commands that speak to it, and what it tells.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::{
    Client, PATIENCE, PROGRAM, Server, Setup, Tls, Upstream, any_site, run_to_end, site, skip_without,
    wait_until, with_one_worker_and_two,
};

fn socket(server: &mut Server) -> PathBuf {
    server.setup().directory().join("state/admin.sock")
}

/// Status and body of an answer that ends with its connection.
#[track_caller]
fn ask(stream: &mut (impl Read + Write), request: &str) -> (u16, String) {
    stream.write_all(request.as_bytes()).expect("it takes a request");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an answer");
    let text = String::from_utf8(bytes).expect("text");
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let body = text.split_once("\r\n\r\n").expect("a head").1.to_owned();
    (status, body)
}

#[track_caller]
fn get(server: &mut Server, target: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(socket(server)).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("settable");
    ask(&mut stream, &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

#[track_caller]
fn status(server: &mut Server) -> Value {
    let (status, body) = get(server, "/status");
    assert_eq!(status, 200);
    serde_json::from_str(&body).expect("JSON")
}

fn command(server: &mut Server, arguments: &[&str]) -> Output {
    let socket = socket(server);
    run_to_end(Command::new(PROGRAM).args(arguments).arg("--socket").arg(socket))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A sample: its name, its labels as written, its value.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

/// Reads the text as Prometheus does, and fails where it is not what its format asks for.
#[track_caller]
fn families(text: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut families: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    let mut current = String::new();
    let mut helped = BTreeSet::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("words");
            assert!(help.ends_with('.') && helped.insert(name.to_owned()), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(helped.contains(name), "{line}");
            current = name.to_owned();
            let before = families.insert(current.clone(), (kind.to_owned(), BTreeSet::new()));
            assert!(before.is_none(), "{name} comes twice");
        } else {
            let name = line.split(['{', ' ']).next().expect("a name");
            let (kind, samples) = families.get_mut(&current).expect("a family before its samples");
            let suffixes: &[&str] = match kind.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                "summary" => &["_sum", "_count"],
                _ => &[""],
            };
            assert!(suffixes.iter().any(|suffix| name == format!("{current}{suffix}")), "{line}");
            assert_eq!(kind == "counter", current.ends_with("_total"), "{line}");
            let (series, value) = line.rsplit_once(' ').expect("a value");
            assert!(samples.insert(series.to_owned()), "{series} comes twice");
            assert!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{line}");
        }
    }
    families
}

#[test]
fn counts_are_those_of_all_workers() {
    with_one_worker_and_two(|workers| {
        let upstream = Upstream::saying("hello");
        let sites = format!(
            "{}dispatch = [{{ name = \"page\", path = \"/page\" }}, {{ name = \"secure\", path = \"/secure\", ssl = true }}]\n{}",
            site("one", &["a.test"], &upstream),
            site("two", &["b.test"], &upstream)
        );
        let mut server = Setup::new(&sites).workers(workers).start();
        let tls = Tls::new().sni("a.test");
        for _ in 0..3 {
            let mut client = tls.connect(server.https()).expect("a handshake");
            assert_eq!(client.get("a.test", "/page").status(), 200);
            assert_eq!(client.get("a.test", "/secure").status(), 200);
        }
        assert_eq!(Client::http(server.http()).get("a.test", "/secure").status(), 302);
        assert_eq!(Client::http(server.http()).get("b.test", "/").status(), 200);
        assert_eq!(Client::http(server.http()).get("c.test", "/").status(), 404);
        assert!(Tls::new().sni("c.test").connect(server.https()).is_err());
        // Counted when the alert has left.
        wait_until("all are counted", || status(&mut server)["totals"]["handshakes_failed"] == 1);
        let (_, text) = get(&mut server, "/metrics");
        families(&text);
        let samples = samples(&text);
        for (name, expected) in [
            ("portcullis_workers", workers as f64),
            ("portcullis_generation", 1.0),
            ("portcullis_requests_total", 9.0),
            ("portcullis_site_requests_total{site=\"one\",code=\"2xx\"}", 6.0),
            ("portcullis_site_requests_total{site=\"one\",code=\"3xx\"}", 1.0),
            ("portcullis_site_requests_total{site=\"two\",code=\"2xx\"}", 1.0),
            ("portcullis_rule_requests_total{site=\"one\",rule=\"page\",code=\"2xx\"}", 3.0),
            ("portcullis_rule_requests_total{site=\"one\",rule=\"secure\",code=\"3xx\"}", 1.0),
            ("portcullis_rule_request_duration_seconds_count{site=\"one\",rule=\"secure\"}", 4.0),
            ("portcullis_site_request_duration_seconds_count{site=\"one\"}", 7.0),
            ("portcullis_site_request_duration_seconds_bucket{site=\"one\",le=\"+Inf\"}", 7.0),
            ("portcullis_handshake_duration_seconds_count{kind=\"full\"}", 1.0),
            ("portcullis_handshake_duration_seconds_count{kind=\"resumed\"}", 2.0),
            ("portcullis_session_cache_hits_total", 2.0),
            ("portcullis_session_cache_sessions_max", 20000.0),
            ("portcullis_requests_failed_total{reason=\"no_site\"}", 1.0),
            ("portcullis_handshake_failures_total{reason=\"unknown_name\"}", 1.0),
            ("portcullis_certificate_changes_taken_up_total", 0.0),
            ("portcullis_certificate_cache_names_max", 10000.0),
            ("portcullis_access_log_lines_lost_total", 0.0),
        ] {
            assert_eq!(samples.get(name), Some(&expected), "{name}");
        }
        assert!(samples["portcullis_site_sent_bytes_total{site=\"one\"}"] > 100.0);
        assert!(samples["process_resident_memory_bytes"] > 1e6);
        let ends: Vec<_> =
            samples.keys().filter(|name| name.starts_with("portcullis_certificate_not_after")).collect();
        assert_eq!(ends.len(), 2, "{ends:?}");
    });
}

#[test]
fn counts_go_on_over_a_reload() {
    let upstream = Upstream::saying("hello");
    let one = site("one", &["a.test"], &upstream);
    let mut server = Setup::new(&one).start();
    let mut client = Client::http(server.http());
    client.get("a.test", "/");
    server.reload(&format!("{}{one}", site("two", &["b.test"], &upstream)));
    client.get("a.test", "/");
    client.get("b.test", "/");
    // Counted when the response has left, which the client may see first.
    wait_until("both generations are counted", || {
        let told = status(&mut server);
        let totals: Vec<_> = told["sites"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|site| (site["name"].as_str(), site["requests"]["2xx"].as_u64()))
            .collect();
        totals == [(Some("two"), Some(1)), (Some("one"), Some(2))]
    });
    let told = status(&mut server);
    assert_eq!(told["generation"]["number"], 2);
    server.reload_in_vain("[[site]]\n");
    let told = status(&mut server);
    assert_eq!((&told["reloads"]["succeeded"], &told["reloads"]["failed"]), (&1.into(), &1.into()));
    assert!(told["reloads"]["last_failure"].as_str().expect("text").contains("is missing"), "{told}");
    let (_, text) = get(&mut server, "/metrics");
    assert_eq!(samples(&text)["portcullis_last_reload_successful"], 0.0);
}

#[test]
fn an_earlier_generation_is_freed_when_nobody_serves_with_it() {
    with_one_worker_and_two(|workers| {
        let upstream = Upstream::saying("hello");
        let sites = any_site(&upstream);
        let mut server = Setup::new(&sites).workers(workers).start();
        // The first one and a later one are held in different ways. Nobody asks for anything meanwhile.
        for number in [2, 3] {
            server.reload(&sites);
            wait_until("the one before is gone", || status(&mut server)["generation"]["outdated"] == 0);
            assert_eq!(status(&mut server)["generation"]["number"], number);
        }
    });
}

/// Every metric is in the documentation with its help, and there is no other one in it.
#[test]
fn every_metric_is_documented() {
    let upstream = Upstream::saying("hello");
    let mut server = Setup::new(&any_site(&upstream)).start();
    Client::http(server.http()).get("a.test", "/");
    let (_, text) = get(&mut server, "/metrics");
    let root = env!("CARGO_MANIFEST_DIR");
    let documented = std::fs::read_to_string(format!("{root}/docs/metrics.md")).expect("it is there");
    let rows: BTreeSet<&str> =
        documented.lines().filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next()).collect();
    let told = families(&text);
    let names: BTreeSet<&str> = told.keys().map(String::as_str).collect();
    let wrong: Vec<_> = rows.symmetric_difference(&names).collect();
    assert!(wrong.is_empty(), "in docs/metrics.md or in /metrics alone: {wrong:?}");
    for line in text.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
        let (name, help) = line.split_once(' ').expect("words");
        assert!(documented.contains(&format!("| {help} |")), "{name}: {help}");
    }
    // The dashboard asks for nothing else.
    let dashboard =
        std::fs::read_to_string(format!("{root}/dist/grafana/portcullis.json")).expect("it is there");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
    let mut asked = BTreeSet::new();
    expressions(&dashboard, &mut asked);
    assert!(asked.len() > 10);
    for expression in &asked {
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| word.starts_with("portcullis_") || word.starts_with("process_")) {
            let bare = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| word.strip_suffix(suffix))
                .unwrap_or(word);
            assert!(names.contains(word) || names.contains(bare), "{word} in {expression}");
        }
    }
}

fn expressions(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match value.as_str() {
                    Some(text) if key == "expr" || key == "query" => drop(found.insert(text.to_owned())),
                    _ => expressions(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

#[test]
fn prometheus_takes_the_text() {
    if Command::new("promtool").arg("--version").output().is_err() {
        return skip_without("promtool");
    }
    let upstream = Upstream::saying("hello");
    let mut server = Setup::new(&any_site(&upstream)).start();
    Client::http(server.http()).get("a.test", "/");
    let (_, text) = get(&mut server, "/metrics");
    let path = server.setup().directory().join("metrics");
    std::fs::write(&path, text).expect("writable");
    let file = std::fs::File::open(path).expect("written");
    let checked = Command::new("promtool").args(["check", "metrics"]).stdin(file).output().expect("it runs");
    assert!(checked.status.success(), "{}", said(&checked));
}

#[test]
fn the_socket_is_the_owners_and_goes_with_the_process() {
    let upstream = Upstream::saying("hello");
    for (settings, mode) in [("", 0o600), ("socket_access = \"group\"", 0o660)] {
        let setup = Setup::new(&any_site(&upstream)).table("admin", settings);
        // What a process that was killed left behind.
        let state = setup.directory().join("state");
        std::fs::create_dir_all(&state).expect("writable");
        drop(std::os::unix::net::UnixListener::bind(state.join("admin.sock")).expect("a path of our own"));
        let mut server = setup.start();
        let path = socket(&mut server);
        let found = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(found & 0o777, mode);
        assert_eq!(get(&mut server, "/health"), (200, "ok\n".to_owned()));
        // A second process on the same socket is told so, and leaves it alone.
        let other = Setup::new(&any_site(&upstream)).table("admin", &format!("socket = {path:?}"));
        let refused = other.run_to_end();
        assert!(said(&refused).contains("another process answers on the admin socket"), "{}", said(&refused));
        assert_eq!(get(&mut server, "/ready").0, 200);
        assert!(server.stop().success());
        assert!(!path.exists());
    }
}

#[test]
fn over_tcp_a_token_is_asked_for() {
    let upstream = Upstream::saying("hello");
    let token = "0123456789abcdef0123";
    let tables = "listen = [\"127.0.0.1:0\"], token_file = \"token\"";
    let with_token = |mode: u32, token: &str| {
        let setup =
            Setup::new(&any_site(&upstream)).table("admin", tables).file("token", &format!("{token}\n"));
        let path = setup.directory().join("token");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("ours");
        setup
    };
    for (mode, token, expected) in
        [(0o600, "short", "shorter than 16 bytes"), (0o644, token, "others may read it")]
    {
        let refused = with_token(mode, token).run_to_end();
        assert!(!refused.status.success() && said(&refused).contains(expected), "{}", said(&refused));
    }
    let mut server = with_token(0o600, token).start();
    let line = server.wait_for_line("administration on http://");
    let address: SocketAddr = line.rsplit("http://").next().expect("a URL").parse().expect("an address");
    let asked = |field: &str| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        ask(&mut stream, &format!("GET /status HTTP/1.1\r\nHost: x\r\n{field}\r\n")).0
    };
    assert_eq!(asked(&format!("Authorization: Bearer {token}\r\n")), 200);
    assert_eq!(asked("Authorization: Bearer 0123456789abcdef0124\r\n"), 401);
    assert_eq!(asked(""), 401);
    // A new token counts from the next reload on.
    let path = server.setup().directory().join("token");
    std::fs::write(&path, "another-token-of-some-length").expect("writable");
    assert_eq!(command(&mut server, &["reload"]).status.code(), Some(0));
    // Port 0 is another port now.
    let text = server.log_text();
    let line = text.lines().rfind(|line| line.contains("administration on http://")).expect("again");
    let address: SocketAddr = line.rsplit("http://").next().expect("a URL").parse().expect("an address");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request =
        "GET /status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer another-token-of-some-length\r\n\r\n";
    assert_eq!(ask(&mut stream, request).0, 200);
}

#[test]
fn strangers_and_nonsense_are_turned_away() {
    let upstream = Upstream::saying("hello");
    let mut server = Setup::new(&any_site(&upstream)).start();
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        ("POST /reload HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\r\n", 403),
        ("GET /reload HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        ("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("nonsense\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
    ] {
        let mut stream = UnixStream::connect(socket(&mut server)).expect("it listens");
        assert_eq!(ask(&mut stream, request).0, expected, "{request}");
    }
    let mut stream = UnixStream::connect(socket(&mut server)).expect("it listens");
    assert_eq!(
        ask(&mut stream, &format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(9000))).0,
        400
    );
    // Clients that say nothing do not keep others out for long, and are few.
    let silent: Vec<_> =
        (0..40).map(|_| UnixStream::connect(socket(&mut server)).expect("it listens")).collect();
    drop(silent);
    wait_until("others are answered again", || {
        let mut stream = UnixStream::connect(socket(&mut server)).expect("it listens");
        let _ = stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text.starts_with("HTTP/1.1 200 OK")
    });
}

#[test]
fn a_reload_by_command_says_how_it_ended() {
    with_one_worker_and_two(|workers| {
        let upstream = Upstream::saying("hello");
        let mut server = Setup::new(&any_site(&upstream)).workers(workers).start();
        let reloaded = command(&mut server, &["reload"]);
        assert_eq!(
            (reloaded.status.code(), said(&reloaded).as_str()),
            (Some(0), "reloaded: generation 2 serves\n")
        );
        let file = server.setup().directory().join("portcullis.toml");
        let good = std::fs::read_to_string(&file).expect("it is there");
        std::fs::write(&file, format!("{good}isecure = true\n")).expect("writable");
        let refused = command(&mut server, &["reload"]);
        assert_eq!(refused.status.code(), Some(1));
        let text = said(&refused);
        assert!(
            text.contains("do: write `is_secure`") && text.contains("generation 2 keeps serving"),
            "{text}"
        );
        let json = command(&mut server, &["reload", "--json"]);
        assert_eq!(json.status.code(), Some(1));
        let told: Value = serde_json::from_slice(&json.stdout).expect("JSON");
        assert_eq!(told["generation"], 2);
        std::fs::write(&file, good).expect("writable");
        // Many at once: each is answered.
        let path = socket(&mut server);
        let asking: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || {
                    run_to_end(Command::new(PROGRAM).arg("reload").arg("--socket").arg(path))
                })
            })
            .collect();
        for asked in asking {
            let ended = asked.join().expect("no panic");
            assert!(ended.status.success(), "{}", said(&ended));
        }
    });
}

#[test]
fn a_drain_by_command_ends_the_process() {
    let upstream = Upstream::saying("hello");
    let mut server = Setup::new(&any_site(&upstream)).start();
    let mut client = Client::http(server.http());
    client.get("a.test", "/");
    let drained = command(&mut server, &["drain", "--wait"]);
    assert_eq!((drained.status.code(), said(&drained).as_str()), (Some(0), "draining: 1 connections open\n"));
    assert!(server.wait_for_end().success());
    let gone = command(&mut server, &["status"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(said(&gone).contains("there is no admin socket"), "{}", said(&gone));
}

#[test]
fn status_is_for_people_and_for_programs() {
    let upstream = Upstream::saying("hello");
    let mut server = Setup::new(&site("shop", &["a.test"], &upstream)).start();
    Client::https(server.https(), "a.test").get("a.test", "/");
    let text = said(&command(&mut server, &["status"]));
    for expected in [
        "serving for",
        "generation 1 of",
        "handshakes   1, 0.0 % resumed",
        "shop",
        "self_signed",
        "CERTIFICATE OF",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let json = command(&mut server, &["status", "--json"]);
    let told: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(told["sites"][0]["hosts"][0], "a.test");
    // By its configuration.
    let file = server.setup().directory().join("portcullis.toml");
    let by_file = run_to_end(Command::new(PROGRAM).arg("status").arg("-c").arg(file));
    assert!(by_file.status.success(), "{}", said(&by_file));
    let no_terminal = command(&mut server, &["top"]);
    assert!(said(&no_terminal).contains("`top` needs a terminal"), "{}", said(&no_terminal));
}

#[test]
fn without_a_place_for_its_socket_it_serves_all_the_same() {
    let upstream = Upstream::saying("hello");
    // A directory stands where the socket would.
    let setup = Setup::new(&any_site(&upstream)).file("state/admin.sock/x", "");
    let server = setup.start();
    assert!(server.log_text().contains("cannot make the admin socket"), "{}", server.log_text());
    assert_eq!(Client::http(server.http()).get("a.test", "/").status(), 200);
    let written = Setup::new(&any_site(&upstream)).table("admin", "socket = \"no\\u0000where\"");
    assert!(!written.run_to_end().status.success());
    let off = Setup::new(&any_site(&upstream)).table("admin", "socket = \"off\"").start();
    assert_eq!(Client::http(off.http()).get("a.test", "/").status(), 200);
}

/// In a browser: the script runs under its policy, and what it shows is what happened.
#[test]
fn the_status_page_shows_what_happens() {
    let Some(browser) = ["chromium", "chromium-browser"].into_iter().find(|name| {
        Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success())
    }) else {
        return skip_without("chromium");
    };
    let upstream = Upstream::saying("hello");
    let token = "0123456789abcdef0123";
    let setup = Setup::new(&site("shop-1", &["a.test"], &upstream))
        .table("admin", "listen = [\"127.0.0.1:0\"], token_file = \"token\"")
        .file("token", token);
    let token_file = setup.directory().join("token");
    std::fs::set_permissions(&token_file, std::fs::Permissions::from_mode(0o600)).expect("ours");
    let mut server = setup.start();
    let line = server.wait_for_line("administration on http://");
    let address = line.rsplit("http://").next().expect("a URL");
    Client::https(server.https(), "a.test").get("a.test", "/");
    Client::http(server.http()).get("nowhere.test", "/");
    let profile = server.setup().directory().join("profile");
    // A browser takes its time on a busy machine.
    let mut command = Command::new("timeout");
    command
        .args([
            "120",
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(["--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("http://operator:{token}@{address}/"));
    let shown = command.output().expect("coreutils have it");
    let page = String::from_utf8_lossy(&shown.stdout).into_owned();
    for expected in ["class=\"pill serving\"", "shop-1", "a.test", "no site", "self signed", "polyline"] {
        assert!(page.contains(expected), "{expected}: {}", said(&shown));
    }
    let log = String::from_utf8_lossy(&shown.stderr).into_owned();
    assert!(!log.contains("Content Security Policy") && !log.contains("Uncaught"), "{log}");
}
