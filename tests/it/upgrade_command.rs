//! `portcullis upgrade`: a new process takes over, or the command says why not.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::process::Signal;
use rustls::HandshakeKind;
use serde_json::Value;

use crate::harness::{
    Client, PROGRAM, Server, Setup, Tls, Upstream, any_site, response_with, run_to_end, wait_until,
};
use crate::takeover::{Load, Successor};

fn socket(server: &mut Server) -> PathBuf {
    server.setup().directory().join("state/admin.sock")
}

fn upgrade(socket: &Path, arguments: &[&str]) -> Output {
    run_to_end(Command::new(PROGRAM).arg("upgrade").arg("--socket").arg(socket).args(arguments))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The threads of a process, by name.
fn threads(process: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).collect()
}

/// A script beside the configuration.
fn script(server: &mut Server, name: &str, text: &str) -> PathBuf {
    let path = server.setup().directory().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("writable");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("ours");
    path
}

#[test]
fn the_command_returns_when_the_new_process_serves() {
    let upstream = Upstream::saying("ok");
    let mut server = Setup::new(&any_site(&upstream)).workers(2).start();
    let tls = Tls::new().sni("a.test");
    assert_eq!(tls.connect(server.https()).expect("a handshake").get("a.test", "/").status(), 200);
    let load = Load::on(server.http(), server.https());
    load.more(50);
    let socket = socket(&mut server);
    let upgraded = upgrade(&socket, &[]);
    let text = said(&upgraded);
    assert_eq!(upgraded.status.code(), Some(0), "{text}");
    let number = text.strip_prefix("upgraded: process ").and_then(|rest| rest.split(' ').next());
    let second = Successor::numbered(number.and_then(|number| number.parse().ok()).expect("a number"));
    let version = env!("CARGO_PKG_VERSION");
    assert!(text.contains(&format!("(version {version}) serves")), "{text}");
    load.more(50);
    // Another file, named from where the command is typed; the old process goes while it answers.
    let copy = server.setup().directory().join("portcullis of next week");
    std::fs::copy(PROGRAM, &copy).expect("room for it");
    let mut command = Command::new(PROGRAM);
    command.args(["upgrade", "--json", "--program", "./portcullis of next week", "--socket"]).arg(&socket);
    let upgraded = run_to_end(command.current_dir(server.setup().directory()));
    assert_eq!(upgraded.status.code(), Some(0), "{}", said(&upgraded));
    let told: Value = serde_json::from_slice(&upgraded.stdout).expect("JSON");
    assert_eq!(told["version"], version);
    let process = told["process"].as_u64().expect("a number");
    let third = Successor::numbered(process as i32);
    let running = std::fs::read_link(format!("/proc/{process}/exe")).expect("it runs");
    assert_eq!(running, copy.canonicalize().expect("it is there"));
    load.more(50);
    load.end();
    let client = tls.connect(server.https()).expect("a handshake");
    assert_eq!(client.handshake_kind(), HandshakeKind::Resumed);
    assert!(server.wait_for_end_of_process().success());
    drop((second, third));
}

#[test]
fn an_idle_process_answers_before_it_goes() {
    let upstream = Upstream::saying("ok");
    for _ in 0..5 {
        let mut server = Setup::new(&any_site(&upstream)).start();
        let upgraded = upgrade(&socket(&mut server), &["--json"]);
        assert_eq!(upgraded.status.code(), Some(0), "{}", said(&upgraded));
        let told: Value = serde_json::from_slice(&upgraded.stdout).expect("JSON");
        let next = Successor::numbered(told["process"].as_u64().expect("a number") as i32);
        assert!(server.wait_for_end_of_process().success());
        assert_eq!(Client::http(server.http()).get("a.test", "/").status(), 200);
        drop(next);
    }
}

#[test]
fn the_command_says_why_the_old_process_goes_on() {
    let upstream = Upstream::saying("ok");
    let mut server = Setup::new(&any_site(&upstream)).start();
    let socket = socket(&mut server);
    let own = server.process();
    let file = server.configuration();
    let good = std::fs::read_to_string(&file).expect("readable");
    std::fs::write(&file, format!("{good}isecure = true\n")).expect("writable");
    let refused = upgrade(&socket, &[]);
    let text = said(&refused);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains("do: write `is_secure`"), "{text}");
    assert!(text.ends_with(&format!("not upgraded: process {own} keeps serving\n")), "{text}");
    let refused = upgrade(&socket, &["--json"]);
    assert_eq!(refused.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&refused.stdout).expect("JSON");
    assert_eq!(told["process"], own);
    assert!(told["problems"].as_str().expect("text").contains("unknown key `isecure`"), "{told}");
    std::fs::write(&file, good).expect("writable");
    let ends = script(&mut server, "ends", "exit 7");
    for (program, expected) in [
        (ends.to_str().expect("text"), "ended with status 7 before it could serve"),
        ("/nowhere/portcullis", "cannot start /nowhere/portcullis: No such file"),
    ] {
        let refused = upgrade(&socket, &["--program", program]);
        let text = said(&refused);
        assert_eq!(refused.status.code(), Some(1), "{text}");
        assert!(text.contains(expected) && text.contains("keeps serving"), "{text}");
    }
    assert_eq!(Client::http(server.http()).get("a.test", "/").status(), 200);
}

#[test]
fn one_upgrade_at_a_time_and_none_in_a_process_that_stops() {
    let upstream = Upstream::script(|peer| {
        while let Some(request) = peer.request()? {
            if request.target() == "/held" {
                return peer.rest().map(drop);
            }
            peer.send(&response_with(b"ok"))?;
        }
        Ok(())
    });
    let mut server = Setup::new(&any_site(&upstream)).drain_timeout("2s").start();
    let socket = socket(&mut server);
    let waits = script(&mut server, "waits", "exec sleep 600");
    let asking = {
        let (socket, waits) = (socket.clone(), waits.to_str().expect("text").to_owned());
        std::thread::spawn(move || upgrade(&socket, &["--program", &waits]))
    };
    server.wait_for_line("upgrading: ");
    let second = upgrade(&socket, &[]);
    assert_eq!(second.status.code(), Some(1));
    assert!(said(&second).contains("an upgrade is under way already"), "{}", said(&second));
    // Something keeps the drain from its end.
    let mut client = Client::http(server.http());
    client.send("GET /held HTTP/1.1\r\nHost: a.test\r\n\r\n");
    wait_until("it is at the site server", || upstream.requests().len() == 1);
    server.signal(Signal::TERM);
    let first = asking.join().expect("no panic");
    assert_eq!(first.status.code(), Some(1));
    assert!(said(&first).contains("the process is draining"), "{}", said(&first));
    let third = upgrade(&socket, &[]);
    assert!(said(&third).contains("the process is draining"), "{}", said(&third));
    assert!(server.wait_for_end().success());
}

#[test]
fn only_ourselves_name_a_program() {
    use std::io::{Read, Write};
    let upstream = Upstream::saying("ok");
    let token = "0123456789abcdef0123";
    let setup = Setup::new(&any_site(&upstream))
        .table("admin", "listen = [\"127.0.0.1:0\"], token_file = \"token\"")
        .file("token", token);
    let only_ours = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(setup.directory().join("token"), only_ours).expect("ours");
    let mut server = setup.start();
    let line = server.wait_for_line("administration on http://");
    let address = line.rsplit("http://").next().expect("an address").trim().to_owned();
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    let request = format!(
        "POST /upgrade?program=/bin/true HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("it takes a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let mut stream = UnixStream::connect(socket(&mut server)).expect("it listens");
    stream
        .write_all(b"POST /upgrade?program=true HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("it takes a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

/// Nobody else orders while the new process does: see `certs::acme`.
#[test]
#[cfg(feature = "acme")]
fn the_old_process_orders_no_certificates_any_more() {
    let upstream = Upstream::script(|peer| {
        peer.request()?;
        peer.rest().map(drop)
    });
    let source = "certificate = [{ source = \"acme\", directory_url = \"https://127.0.0.1:1/directory\" }]\n";
    let site = any_site(&upstream).replace("\"a.test\", \"*\"", "\"a.test\"");
    let mut server = Setup::new(&format!("{site}{source}")).drain_timeout("60s").start();
    let own = server.process();
    wait_until("certificates are ordered", || threads(own).contains(&"acme".to_owned()));
    let mut client = Client::https(server.https(), "a.test");
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    wait_until("it is at the site server", || upstream.connections() == 1);
    let upgraded = upgrade(&socket(&mut server), &["--json"]);
    let told: Value = serde_json::from_slice(&upgraded.stdout).expect("JSON");
    let next = Successor::numbered(told["process"].as_u64().expect("a number") as i32);
    wait_until("the old process drains without the thread", || !threads(own).contains(&"acme".to_owned()));
    wait_until("the new process has one", || threads(next.process()).contains(&"acme".to_owned()));
    drop(client);
    assert!(server.wait_for_end_of_process().success());
}
