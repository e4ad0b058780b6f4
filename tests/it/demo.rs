//! `portcullis demo`: every line it prints does what it says.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use rustls::HandshakeKind;

use crate::harness::{Client, PROGRAM, Tls, run_to_end, skip_without};

/// The demo on free ports, and what it printed up to its last line.
struct Demo {
    child: Child,
    printed: Vec<String>,
}

impl Demo {
    fn start() -> Demo {
        let mut child = Command::new(PROGRAM)
            .args(["demo", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut printed = Vec::new();
        for line in lines {
            printed.push(line.expect("text"));
            if printed.last().is_some_and(|line| line.starts_with("Stop it")) {
                break;
            }
        }
        Demo { child, printed }
    }

    /// The port in the first URL of this scheme.
    fn port(&self, scheme: &str) -> u16 {
        let prefix = format!("{scheme}://localhost:");
        let line = self.printed.iter().find(|line| line.contains(&prefix)).expect("a URL");
        let rest = &line[line.find(&prefix).expect("found") + prefix.len()..];
        rest.split('/').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    fn http(&self) -> Client {
        Client::http(([127, 0, 0, 1], self.port("http")).into())
    }

    fn https(&self) -> Client {
        Client::https(([127, 0, 0, 1], self.port("https")).into(), "localhost")
    }

    /// The curl lines it printed, without their comments.
    fn commands(&self) -> Vec<&str> {
        self.printed.iter().map(|line| line.trim()).filter(|line| line.starts_with("curl ")).collect()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("a child of ours");
        let status = self.child.wait().expect("a child of ours");
        if !std::thread::panicking() {
            assert!(status.success(), "{status}");
        }
    }
}

#[test]
fn serves_each_rule_as_its_printed_line_says() {
    let demo = Demo::start();
    let (http, https) = (demo.port("http"), demo.port("https"));

    let page = demo.https().get("localhost", "/");
    assert_eq!((page.status(), page.text().contains("over https")), (200, true), "{page:?}");
    let page = demo.http().get("localhost", "/");
    assert_eq!((page.status(), page.text().contains("over http.")), (200, true), "{page:?}");

    let redirect = demo.http().get("localhost", "/logon");
    assert_eq!(redirect.status(), 302);
    assert_eq!(redirect.field("location"), Some(format!("https://localhost:{https}/logon").as_str()));
    let redirect = demo.https().get("localhost", "/video/1");
    assert_eq!(redirect.status(), 302);
    assert_eq!(redirect.field("location"), Some(format!("http://localhost:{http}/video/1").as_str()));

    for mut client in [demo.http(), demo.https()] {
        let style = client.get("localhost", "/lib/site.css");
        assert_eq!((style.status(), style.field("content-type")), (200, Some("text/css")));
    }

    let mut client = demo.https();
    client.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 17\r\n\r\nhello, portcullis");
    assert_eq!(client.response().text(), "hello, portcullis");
}

#[test]
fn resumes_the_session_of_a_second_connection() {
    let demo = Demo::start();
    let address = ([127, 0, 0, 1], demo.port("https")).into();
    let tls = Tls::new().sni("localhost");
    let kinds: Vec<_> = (0..2)
        .map(|_| {
            let mut client = tls.connect(address).expect("a handshake");
            assert_eq!(client.get("localhost", "/").status(), 200);
            client.handshake_kind()
        })
        .collect();
    assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
}

#[test]
fn its_curl_lines_work_when_typed_in() {
    if Command::new("curl").arg("--version").output().is_err() {
        return skip_without("curl");
    }
    let demo = Demo::start();
    let expected =
        ["over https", "302 Found", "HTTP/2 302", "200 OK", "HTTP/2 200", "over https", "hello, portcullis"];
    let commands = demo.commands();
    assert_eq!(commands.len(), expected.len(), "{commands:?}");
    for (command, expected) in commands.iter().zip(expected) {
        let ran = run_to_end(Command::new("sh").arg("-c").arg(command));
        let text = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success() && text.contains(expected), "{command}: {text}");
        if command.contains("-v") {
            let resumed = ["reusing session", "SSL session", "SSL reusing"];
            assert!(resumed.iter().any(|words| text.contains(words)), "{command}: {text}");
        }
    }
}

#[test]
fn says_which_port_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let ran = run_to_end(Command::new(PROGRAM).args(["demo", "--http", &address, "--https", "127.0.0.1:0"]));
    let text = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("cannot listen on {address}")), "{text}");
    assert!(text.contains("do: "), "{text}");
}
