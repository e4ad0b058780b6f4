//! The configuration as operators meet it: `check`, mistakes, flags, several files, ports.

use std::path::Path;
use std::process::{Command, Output};

use rustls::HandshakeKind;

use crate::harness::{Client, PROGRAM, Server, Setup, Tls, Upstream, any_site, run_to_end, site};

fn check(path: &Path) -> Output {
    run_to_end(Command::new(PROGRAM).arg("check").arg("-c").arg(path))
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const MISTAKES: &str = r#"log = "verbose"

[timeouts]
handshake = "soon"
keep_alife = "1s"

[[site]]
name = "one"
hosts = ["a b"]
upstream = ["127.0.0.1:8000"]
"#;

#[test]
fn all_mistakes_are_shown_at_once_with_their_places() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("wrong.toml");
    std::fs::write(&path, MISTAKES).expect("writable");
    for command in ["check", "run"] {
        let output = run_to_end(Command::new(PROGRAM).arg(command).arg("-c").arg(&path));
        let text = errors(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        for place in ["1:7", "4:13", "5:1", "9:10", "10:13"] {
            assert!(text.contains(&format!("wrong.toml:{place}: ")), "{place} is missing:\n{text}");
        }
        assert!(text.contains("do: write `keep_alive`"), "{text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
fn mistakes_are_printed_for_programs() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("wrong.toml");
    std::fs::write(&path, MISTAKES).expect("writable");
    let output = run_to_end(Command::new(PROGRAM).args(["check", "--json", "-c"]).arg(&path));
    assert_eq!(output.status.code(), Some(1));
    let problems: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let problems = problems.as_array().expect("an array");
    assert_eq!(problems.len(), 5, "{problems:#?}");
    let lines: Vec<_> = problems.iter().filter_map(|problem| problem["line"].as_u64()).collect();
    assert_eq!(lines, [1, 4, 5, 9, 10]);
}

#[test]
fn a_good_configuration_is_called_good() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("good.toml");
    let upstream = Upstream::saying("ok");
    std::fs::write(&path, any_site(&upstream)).expect("writable");
    let output = check(&path);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", errors(&output));
    assert!(text.contains("good.toml: good: 1 site, 0 rules"), "{text}");
    assert_eq!(upstream.connections(), 0, "check asks no site server");
    assert!(std::fs::read_dir(&directory).expect("ours").count() == 1, "check leaves nothing behind");
}

#[test]
fn every_example_is_good() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut count = 0;
    for entry in std::fs::read_dir(examples).expect("there are examples") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let output = if path.ends_with("fleet.toml") { check_with_secrets(&path) } else { check(&path) };
            assert!(output.status.success(), "{}: {}", path.display(), errors(&output));
            count += 1;
        }
    }
    assert!(count >= 5);
}

/// Checks a copy of it, beside files that are nobody's business.
fn check_with_secrets(path: &Path) -> std::process::Output {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let copy = directory.path().join("fleet.toml");
    std::fs::copy(path, &copy).expect("it is there");
    for name in ["fleet.secret", "store.password"] {
        let secret = directory.path().join(name);
        std::fs::write(&secret, "of these there are more than 32 bytes").expect("writable");
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("ours");
    }
    check(&copy)
}

#[test]
fn the_configuration_of_the_package_is_good() {
    let output = check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/debian/portcullis.toml"));
    assert!(output.status.success(), "{}", errors(&output));
}

#[test]
fn every_command_has_a_man_page() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let output = run_to_end(Command::new(PROGRAM).args(["man", "--directory"]).arg(directory.path()));
    assert!(output.status.success(), "{}", errors(&output));
    for page in ["portcullis.1", "portcullis-run.1", "portcullis-check.1", "portcullis-import-zotonic.1"] {
        assert!(directory.path().join(page).exists(), "{page}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    for command in ["check", "run"] {
        let output = run_to_end(Command::new(PROGRAM).args([command, "-c", "/nowhere/portcullis.toml"]));
        assert_eq!(output.status.code(), Some(1));
        assert!(errors(&output).contains("/nowhere/portcullis.toml"), "{}", errors(&output));
    }
}

#[test]
fn a_command_line_that_cannot_be_understood_exits_with_2() {
    for arguments in [
        &["serve"][..],
        &["run"],
        &["run", "-c", "x", "--worker", "2"],
        &["run", "-c", "x", "--ring", "fast"],
    ] {
        let output = run_to_end(Command::new(PROGRAM).args(arguments));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", errors(&output));
        assert!(errors(&output).contains("error: "), "{arguments:?}");
    }
}

#[test]
fn flags_take_the_place_of_what_the_file_says() {
    let upstream = Upstream::saying("ok");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().expect("bound");
    let server = Setup::new(&any_site(&upstream))
        .listen(&format!("http = [\"{taken}\"], https = [\"{taken}\"]"))
        .session_cache("mode = \"cache\"")
        .flags(&["--workers", "2", "--session-mode", "off", "--log", "info"])
        .flags(&["--http", "127.0.0.1:0", "--http", "[::1]:0", "--https", "127.0.0.1:0"])
        .start();
    let text = server.log_text();
    assert_eq!(text.matches("worker started").count(), 2, "{text}");
    assert_eq!(text.matches("listening on http://").count(), 2, "{text}");
    let tls = Tls::new().sni("a.test");
    for _ in 0..2 {
        let mut client = tls.connect(server.https()).expect("a handshake");
        assert_eq!(client.get("a.test", "/").text(), "ok");
        assert_eq!(client.handshake_kind(), HandshakeKind::Full);
    }
    assert!(!server.log_text().contains("DEBUG"));
}

#[test]
fn a_mistake_in_a_flag_names_the_flag() {
    let upstream = Upstream::saying("ok");
    for (flag, value) in [
        ("--workers", "none"),
        ("--session-lifetime", "long"),
        ("--session-cache-size", "-1"),
        ("--session-mode", "maybe"),
        ("--http", "here"),
        ("--log", "loud"),
    ] {
        let output = Setup::new(&any_site(&upstream)).flags(&[&format!("{flag}={value}")]).run_to_end();
        assert_eq!(output.status.code(), Some(1), "{flag}: {}", errors(&output));
        assert!(errors(&output).contains(flag), "{flag}: {}", errors(&output));
    }
}

#[test]
fn included_files_add_sites() {
    let [one, two, three] = ["one", "two", "three"].map(Upstream::saying);
    let setup = Setup::new(&site("one", &["one.test"], &one))
        .top("include = [\"sites/*.toml\"]")
        .file("sites/b.toml", &site("two", &["two.test"], &two))
        .file(
            "sites/c.toml",
            &(site("three", &["three.test"], &three) + "certificate = [{ source = \"self_signed\" }]\n"),
        );
    let server = setup.start();
    for name in ["one", "two", "three"] {
        let host = format!("{name}.test");
        assert_eq!(Client::https(server.https(), &host).get(&host, "/").text(), name);
    }
}

#[test]
fn a_mistake_in_an_included_file_names_that_file() {
    let upstream = Upstream::saying("ok");
    let output = Setup::new(&any_site(&upstream))
        .top("include = [\"sites/*.toml\"]")
        .file("sites/b.toml", &(site("two", &["a.test"], &upstream) + "nmae = 1\n"))
        .run_to_end();
    let text = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("sites/b.toml:5:1: "), "{text}");
    assert!(text.contains("a.test"), "the host claimed twice: {text}");
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let upstream = Upstream::saying("ok");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound");
    let output = Setup::new(&any_site(&upstream))
        .listen(&format!("http = [\"127.0.0.1:0\", \"{address}\"], https = [\"127.0.0.1:0\"]"))
        .run_to_end();
    let text = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("cannot listen on {address}")), "{text}");
    assert!(text.contains("portcullis.toml:5:"), "with its place: {text}");
    assert!(text.contains("do: stop what listens there"), "{text}");
}

#[test]
fn a_second_process_does_not_share_the_port_of_the_first() {
    let upstream = Upstream::saying("first");
    let first = Setup::new(&any_site(&upstream)).start();
    let address = first.http();
    let output = Setup::new(&any_site(&upstream))
        .listen(&format!("http = [\"{address}\"], https = []"))
        .run_or_serve();
    let output = output.expect("it serves beside the first: half of the visitors meet an old configuration");
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    assert!(errors(&output).contains("cannot listen on"), "{}", errors(&output));
}

#[test]
fn a_name_without_an_address_is_a_mistake_with_a_place() {
    let output = Setup::new(
        "[[site]]\nname = \"one\"\nhosts = [\"*\"]\nupstream = [\"http://no-such-host.invalid:8000\"]\n",
    )
    .run_to_end();
    let text = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("no-such-host.invalid") && text.contains("do: "), "{text}");
}

#[test]
fn ipv6_is_listened_on() {
    let upstream = Upstream::saying("ok");
    let server = Setup::new(&any_site(&upstream)).listen("http = [\"[::]:0\"], https = []").start();
    let port = server.http().port();
    for ip in ["127.0.0.1", "::1"] {
        let address = std::net::SocketAddr::new(ip.parse().expect("an address"), port);
        assert_eq!(Client::http(address).get("a.test", "/").text(), "ok");
    }
    let clients: Vec<_> = upstream
        .requests()
        .iter()
        .map(|request| request.field("x-forwarded-for").expect("set").to_owned())
        .collect();
    assert_eq!(clients, ["127.0.0.1", "::1"]);
}

#[test]
fn completions_and_the_man_page_are_printed() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run_to_end(Command::new(PROGRAM).args(["completions", shell]));
        assert!(output.status.success() && output.stdout.len() > 1000, "{shell}");
    }
    let output = run_to_end(Command::new(PROGRAM).arg("man"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains(".TH portcullis"), "{text}");
}

/// What `check` proves is said at the start and after a reload; it keeps nothing from serving.
#[test]
fn what_is_proved_is_said_beside_serving() {
    let upstream = Upstream::saying("served");
    let one = site("one", &["one.test"], &upstream);
    let rules = |names: [&str; 2]| {
        let rule = |name: &str| format!("{{ name = \"{name}\", path = \"/x/*\" }}");
        format!("{one}dispatch = [{}, {}]\n", rule(names[0]), rule(names[1]))
    };
    let mut server = Server::start(&rules(["first", "second"]));
    let line = server.wait_for_line("never reached");
    assert!(line.contains("WARN") && line.contains("rule \"second\" is never reached"), "{line}");
    server.reload(&rules(["third", "fourth"]));
    server.wait_for_line("rule \"fourth\" is never reached");
}
