//! Machines of a fleet, and outside witnesses of what resumes where.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustls::HandshakeKind::{Full, Resumed};
use rustls::version::{TLS12, TLS13};

use crate::harness::{Authority, Server, Setup, Tls, Upstream, any_site, site, skip_without, wait_until};

fn write_secret(path: &Path, byte: u8) {
    let beside = path.with_extension("new");
    fs::write(&beside, [byte; 48]).expect("writable");
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).expect("ours");
    fs::rename(beside, path).expect("writable");
}

#[test]
fn machines_with_the_same_secret_resume_each_others_sessions() {
    let upstream = Upstream::saying("ok");
    let setup = Setup::new("");
    let secret = setup.directory().join("fleet.secret");
    let other = setup.directory().join("other.secret");
    write_secret(&secret, 1);
    write_secret(&other, 2);
    let machine = |path: &Path| {
        let cache = format!("mode = \"tickets\", lifetime = \"1h\", fleet_secret_file = {path:?}");
        Setup::new(&any_site(&upstream)).session_cache(&cache).start()
    };
    let fleet = [machine(&secret), machine(&secret), machine(&secret)];
    let stranger = machine(&other);
    let visit = |server: &Server, tls: &Tls| {
        let mut client = tls.connect(server.https()).expect("a handshake");
        assert_eq!(client.get("a.test", "/").status(), 200);
        client.handshake_kind()
    };
    for version in [&TLS12, &TLS13] {
        let tls = Tls::new().sni("a.test").version(version);
        assert_eq!(visit(&fleet[0], &tls), Full);
        for server in fleet.iter().cycle().take(7) {
            assert_eq!(visit(server, &tls), Resumed, "{version:?}");
        }
        assert_eq!(visit(&stranger, &tls), Full);
    }
    // Another secret is taken up; sessions of the old one resume, and new ones where it is known.
    let tls = Tls::new().sni("a.test");
    assert_eq!(visit(&fleet[0], &tls), Full);
    write_secret(&secret, 3);
    for server in &fleet {
        wait_until("the secret is taken up", || server.log_text().contains("another fleet secret"));
    }
    for server in &fleet {
        assert_eq!(visit(server, &tls), Resumed);
    }
    let late = machine(&secret);
    assert_eq!(visit(&late, &tls), Resumed, "sealed with the new one by now");
}

#[test]
fn a_secret_that_is_none_is_refused() {
    let upstream = Upstream::saying("ok");
    let setup = Setup::new("");
    let secret = setup.directory().join("fleet.secret");
    for (text, mode, expected) in [
        ("short", 0o600, "at least 32 bytes"),
        ("long enough to be a secret of a fleet", 0o644, "everybody can read this secret"),
    ] {
        fs::write(&secret, text).expect("writable");
        fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).expect("ours");
        let cache = format!("mode = \"tickets\", fleet_secret_file = {secret:?}");
        let output = Setup::new(&any_site(&upstream)).session_cache(&cache).run_to_end();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(expected), "{said}");
    }
}

/// One connection of openssl with one request; whether it resumed.
fn openssl(server: &Server, directory: &Path, name: &str, version: &str, sessions: &[&str]) -> bool {
    let mut command = Command::new("openssl");
    command
        .current_dir(directory)
        .args(["s_client", "-connect", &server.https().to_string(), "-servername", name, version, "-ign_eof"])
        .args(["-cert", "someone.pem", "-key", "someone.key"])
        .args(sessions);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    child.stdin.take().expect("piped").write_all(request.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("200 OK"), "{name}: {text}");
    match (text.contains("\nReused, "), text.contains("\nNew, ")) {
        (true, false) => true,
        (false, true) => false,
        _ => panic!("{text}"),
    }
}

#[test]
fn openssl_sees_sessions_resume_under_the_policy_they_began_under_alone() {
    if Command::new("openssl").arg("version").output().is_err() {
        return skip_without("openssl");
    }
    let upstream = Upstream::saying("ok");
    let authority = Authority::new();
    let someone = authority.issue("Some One", 7);
    let setup = Setup::new("")
        .file("clients.pem", &authority.pem())
        .file("someone.pem", &someone.certificate)
        .file("someone.key", &someone.key);
    let ca = setup.directory().join("clients.pem");
    let policies = [
        String::new(),
        "cipher_suites = [\"TLS_AES_128_GCM_SHA256\", \"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\"]\n"
            .to_owned(),
        format!("client_auth = {{ ca = {ca:?} }}\n"),
        format!("client_auth = {{ ca = {ca:?}, mode = \"request\" }}\n"),
        // The first one's, on another site.
        String::new(),
    ];
    let names: Vec<String> = (0..policies.len()).map(|number| format!("s{number}.test")).collect();
    let sites: String = names
        .iter()
        .zip(&policies)
        .map(|(name, policy)| site(name, &[name.as_str()], &upstream) + policy)
        .collect();
    // Each program takes a while: every pair is tried in memory, too, in both modes and versions.
    for (mode, versions) in [("cache", &["-tls1_2", "-tls1_3"][..]), ("tickets", &["-tls1_2"])] {
        let server = Setup::new(&sites).session_cache(&format!("mode = {mode:?}")).start();
        for version in versions.iter().copied() {
            let connect =
                |name: &str, sessions: &[&str]| openssl(&server, setup.directory(), name, version, sessions);
            for began in &names {
                assert!(!connect(began, &["-sess_out", "session"]));
                for tried in &names {
                    // A ticket of TLS 1.3 is used once.
                    if version == "-tls1_3" && tried == began {
                        continue;
                    }
                    let resumed = connect(tried, &["-sess_in", "session"]);
                    assert_eq!(resumed, began == tried, "{mode} {version}: {began} then {tried}");
                }
                if version == "-tls1_3" {
                    assert!(connect(began, &["-sess_in", "session"]), "{mode} {began}");
                }
            }
        }
    }
}

#[test]
fn gnutls_and_curl_are_served() {
    let upstream = Upstream::saying("ok");
    let server = Server::start(&any_site(&upstream));
    let https = server.https();
    if Command::new("gnutls-cli").arg("--version").output().is_err() {
        skip_without("gnutls-cli");
    } else {
        for priority in ["NORMAL:-VERS-ALL:+VERS-TLS1.2", "NORMAL:-VERS-ALL:+VERS-TLS1.3", "NORMAL"] {
            let mut command = Command::new("gnutls-cli");
            command.args(["--insecure", "--sni-hostname", "a.test"]);
            command.args(["--priority", priority, "--port", &https.port().to_string(), "127.0.0.1"]);
            let mut child =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
            let child = child.as_mut().expect("it starts");
            drop(child.stdin.take());
            let mut text = String::new();
            std::io::Read::read_to_string(&mut child.stdout.take().expect("piped"), &mut text).expect("text");
            child.wait().expect("it ends");
            assert!(text.contains("- Handshake was completed"), "{priority}: {text}");
        }
    }
    if Command::new("curl").arg("--version").output().is_err() {
        return skip_without("curl");
    }
    for version in ["--tls-max 1.2", "--tlsv1.3"] {
        let mut command = Command::new("curl");
        command.args(["-sk", "--resolve", &format!("a.test:{}:127.0.0.1", https.port())]);
        command.args(version.split(' ')).arg(format!("https://a.test:{}/", https.port()));
        let output = command.output().expect("it runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "ok", "{version}");
    }
}
