//! Started by root, the process becomes somebody else: all of it, for good, and with what it needs.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use rustls::HandshakeKind;

use crate::harness::{
    Client, Issued, PROGRAM, Server, Setup, Tls, Upstream, any_site, run_to_end, site, skip, wait_until,
};
use crate::takeover::Successor;

/// Every system has this one.
const USER: &str = "nobody";
/// `CAP_NET_BIND_SERVICE`
const PORTS: &str = "0000000000000400";
const NONE: &str = "0000000000000000";

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip("only root becomes somebody else");
    }
    root
}

/// A number of a user, as the system's list has it: the third field, or with it the fourth.
fn ids(user: &str) -> (u32, u32) {
    let list = std::fs::read_to_string("/etc/passwd").expect("every system has it");
    let line = list.lines().find(|line| line.starts_with(&format!("{user}:"))).expect("a user");
    let number =
        |place: usize| line.split(':').nth(place).and_then(|text| text.parse().ok()).expect("a number");
    (number(2), number(3))
}

/// With a program and a directory that others than root can reach.
fn setup(sites: &str) -> Setup {
    let setup = Setup::new(sites).top(&format!("user = {USER:?}"));
    let program = setup.directory().join("portcullis");
    std::fs::copy(PROGRAM, &program).expect("room for it");
    set_mode(&program, 0o755);
    set_mode(setup.directory(), 0o755);
    setup.program(program.to_str().expect("text"))
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("ours");
}

/// What the system says of each thread: its name, and the lines of its status.
fn threads(process: u32) -> Vec<(String, BTreeMap<String, String>)> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    // A thread may end meanwhile.
    let statuses = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok());
    statuses
        .map(|status| {
            let lines = status.lines().filter_map(|line| line.split_once(':'));
            let lines: BTreeMap<_, _> =
                lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
            (lines["Name"].clone(), lines)
        })
        .collect()
}

/// Every thread is this user's, and has these capabilities unless it is a worker.
#[track_caller]
fn assert_given_up(process: u32, kept: &str) {
    let (user, group) = ids(USER);
    let all = threads(process);
    assert!(all.len() > 4, "{all:?}");
    for (name, status) in all {
        for (field, id) in [("Uid", user), ("Gid", group)] {
            assert_eq!(status[field], vec![id.to_string(); 4].join("\t"), "{name}: {field}");
        }
        assert_eq!(status["Groups"], group.to_string(), "{name}");
        let own = if name.starts_with("worker") { NONE } else { kept };
        for field in ["CapEff", "CapPrm"] {
            assert_eq!(status[field], own, "{name}: {field}");
        }
        assert_eq!(status["CapAmb"], NONE, "{name}");
        assert_eq!(status["NoNewPrivs"], "1", "{name}");
    }
}

fn owners_below(directory: &Path, found: &mut Vec<(PathBuf, u32)>) {
    for entry in std::fs::read_dir(directory).expect("readable") {
        let path = entry.expect("readable").path();
        let about = std::fs::symlink_metadata(&path).expect("it is there");
        found.push((path.clone(), about.uid()));
        if about.is_dir() {
            owners_below(&path, found);
        }
    }
}

#[track_caller]
fn assert_owned(directory: &Path) {
    let (user, _) = ids(USER);
    let mut found = vec![(directory.to_owned(), std::fs::metadata(directory).expect("it is there").uid())];
    owners_below(directory, &mut found);
    assert!(found.len() > 2, "{found:?}");
    let others: Vec<_> = found.iter().filter(|(_, owner)| *owner != user).collect();
    assert!(others.is_empty(), "{others:?}");
}

fn upgrade(server: &mut Server) -> Successor {
    let socket = server.setup().directory().join("state/admin.sock");
    let output = run_to_end(Command::new(PROGRAM).args(["upgrade", "--json", "--socket"]).arg(socket));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let process = told["process"].as_u64().filter(|_| output.status.success());
    Successor::numbered(process.unwrap_or_else(|| panic!("{told}")) as i32)
}

#[test]
fn root_is_given_up_by_every_thread_and_stays_given_up() {
    if !is_root() {
        return;
    }
    let upstream = Upstream::saying("ok");
    let sealed = "session_cookies = [\"sid\"]\nsession_protection = \"sealed\"\n";
    let setup = setup(&format!("{}{sealed}", any_site(&upstream))).workers(2);
    let log = setup.directory().join("access.log");
    let mut server = setup.table("access_log", "to = \"access.log\"").start();
    let state = server.setup().directory().join("state");
    let own = server.process();
    assert!(server.log_text().contains("root is given up: the process runs as nobody"));
    assert_given_up(own, NONE);
    assert_owned(&state);
    assert_eq!(std::fs::metadata(&log).expect("it was opened").uid(), ids(USER).0);
    let tls = Tls::new().sni("a.test");
    assert_eq!(tls.connect(server.https()).expect("a handshake").get("a.test", "/").text(), "ok");
    // What was written by root is read again, and written, by the user.
    server.reload(&format!("{}{sealed}is_permanent = true\n", any_site(&upstream)));
    server.signal(Signal::USR1);
    assert_eq!(Client::http(server.http()).get("a.test", "/").text(), "ok");
    assert_given_up(own, NONE);
    let next = upgrade(&mut server);
    assert!(server.wait_for_end_of_process().success());
    assert_given_up(next.process(), NONE);
    assert_owned(&state);
    let mut client = tls.connect(server.https()).expect("a handshake");
    assert_eq!(client.handshake_kind(), HandshakeKind::Resumed);
    assert_eq!(client.get("a.test", "/").text(), "ok");
    assert!(!server.log_text().contains("ERROR"), "{}", server.log_text());
    wait_until("its lines are written", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.lines().count() >= 2)
    });
}

#[test]
fn ports_below_1024_can_be_opened_later_when_there_is_one_from_the_start() {
    if !is_root() {
        return;
    }
    let upstream = Upstream::saying("ok");
    // Of the loopback network, where nobody else listens.
    let listen = |more: &str| format!("http = [\"127.81.7.1:81\"{more}], https = [\"127.0.0.1:0\"]");
    let mut server = setup(&any_site(&upstream)).listen(&listen("")).start();
    assert_given_up(server.process(), PORTS);
    server.setup().set_listen(&listen(", \"127.81.7.2:82\""));
    server.reload(&any_site(&upstream));
    let mut address = "127.81.7.2:82".parse().expect("an address");
    assert_eq!(Client::http(address).get("a.test", "/").text(), "ok");
    // And so can the next process, whose programs get no such right either.
    server.setup().set_listen(&listen(", \"127.81.7.2:82\", \"127.81.7.3:83\""));
    server.setup().set_workers(1);
    let next = upgrade(&mut server);
    address = "127.81.7.3:83".parse().expect("an address");
    assert_eq!(Client::http(address).get("a.test", "/").text(), "ok");
    assert_given_up(next.process(), PORTS);
    drop(next);
}

#[test]
fn keys_of_root_are_read_once_and_a_warning_says_so() {
    if !is_root() {
        return;
    }
    let upstream = Upstream::saying("ok");
    let issued = Issued::for_names(&["a.test"]);
    let source = "certificate = [{ source = \"files\", certificate = \"a.pem\", key = \"a.key\" }]\n";
    let setup = setup(&format!("{}{source}", site("a", &["a.test"], &upstream)))
        .file("a.pem", &issued.certificate)
        .file("a.key", &issued.key);
    set_mode(&setup.directory().join("a.key"), 0o600);
    let mut server = setup.start();
    assert_eq!(Client::https(server.https(), "a.test").get("a.test", "/").text(), "ok");
    let line = server.wait_for_line("a.key was read by root, and cannot be read by the user nobody");
    assert!(line.contains("WARN"), "{line}");
    assert!(!server.log_text().contains("a.pem was read by root"), "{}", server.log_text());
    // What it has it goes on with; a new process would not have it.
    server.reload(&format!("{}{source}is_permanent = true\n", site("a", &["a.test"], &upstream)));
    assert_eq!(Client::https(server.https(), "a.test").certificate(), issued.der);
    let socket = server.setup().directory().join("state/admin.sock");
    let refused = run_to_end(Command::new(PROGRAM).args(["upgrade", "--socket"]).arg(socket));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains("a.key: Permission denied") && text.contains("keeps serving"), "{text}");
}

#[test]
fn who_cannot_be_is_told_with_what_to_do() {
    let upstream = Upstream::saying("ok");
    for (line, expected) in [
        ("user = \"no-such-user\"", "there is no user \"no-such-user\" on this system\n  do: make it"),
        (
            "user = \"nobody\"\ngroup = \"no-such-group\"",
            "there is no group \"no-such-group\" on this system\n  do: make it",
        ),
    ] {
        let setup = Setup::new(&any_site(&upstream)).top(line);
        let file = setup.directory().join("portcullis.toml");
        let ran = setup.run_to_end_in_place();
        let text = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(1), "{text}");
        assert!(text.contains(expected) && text.contains("portcullis.toml:"), "{text}");
        let checked = run_to_end(Command::new(PROGRAM).arg("check").arg("-c").arg(&file));
        let text = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert_eq!(checked.status.code(), Some(1), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn only_root_becomes_somebody_else_and_only_in_a_directory_of_its_own() {
    if !is_root() {
        return;
    }
    let upstream = Upstream::saying("ok");
    let setup = setup(&any_site(&upstream));
    let directory = setup.directory().to_owned();
    std::fs::create_dir(directory.join("state")).expect("writable");
    set_mode(&directory.join("state"), 0o755);
    let ran = setup.run_to_end_in_place();
    let text = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(
        text.contains("state belongs to root and is open to others\n  do: let `state_directory`"),
        "{text}"
    );
    let owner = std::fs::metadata(directory.join("state")).expect("it is there").uid();
    assert_eq!((ran.status.code(), owner), (Some(1), 0), "{text}");
    // As another user.
    let (user, group) = ids("daemon");
    let mut command = Command::new(directory.join("portcullis"));
    command.args(["run", "-c"]).arg(directory.join("portcullis.toml")).uid(user).gid(group);
    let ran = run_to_end(&mut command);
    let text = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(1), "{text}");
    assert!(
        text.contains("only root can become the user \"nobody\"\n  do: start as root, or as nobody"),
        "{text}"
    );
}
