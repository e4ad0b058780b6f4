//! Certificates ordered from a CA: every challenge, renewal, failures, and death at every step.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use rustix::process::Signal;

use crate::harness::{
    Client, FakeAuthority, PROGRAM, Pebble, PebbleSetup, Server, Setup, Tls, Upstream, is_installed,
    run_to_end, site, skip_without, wait_until,
};

/// Who issued what is served for a name, until when, and for how many names; `None`: the name is refused.
fn try_served(address: SocketAddr, name: &str) -> Option<(String, i64, usize, Vec<u8>)> {
    let der = Tls::new().sni(name).connect(address).ok()?.certificate();
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).expect("a certificate");
    let names = certificate.subject_alternative_name().expect("readable").expect("there are some");
    let count = names.value.general_names.len();
    let until = certificate.validity().not_after.timestamp();
    Some((certificate.issuer().to_string(), until, count, der))
}

fn served(address: SocketAddr, name: &str) -> (String, i64, Vec<u8>) {
    let (issuer, until, _, der) = try_served(address, name).expect("a handshake");
    (issuer, until, der)
}

fn is_ordered(address: SocketAddr, name: &str) -> bool {
    served(address, name).0.contains("Pebble")
}

fn wait_for_certificate(server: &Server, name: &str) {
    let address = server.https();
    wait_until("the certificate ordered is served", || is_ordered(address, name));
}

fn sites(hosts: &[&str], upstream: &Upstream, sources: &[String]) -> String {
    format!("{}certificate = [{}]\n", site("a", hosts, upstream), sources.join(", "))
}

fn setup(pebble: &Pebble, hosts: &[&str], upstream: &Upstream, keys: &str) -> Setup {
    Setup::new(&sites(hosts, upstream, &[pebble.source(keys)])).listen(&pebble.listen())
}

#[test]
fn http_01_gets_a_certificate_and_serving_does_not_wait_for_it() {
    let Some(pebble) = Pebble::start() else { return };
    let upstream = Upstream::saying("hello");
    let mut server = setup(&pebble, &["a.test", "b.test", "127.0.0.1"], &upstream, "").workers(2).start();
    assert_eq!(Client::https(server.https(), "a.test").get("a.test", "/").status(), 200, "self-signed");
    wait_for_certificate(&server, "a.test");
    assert!(is_ordered(server.https(), "b.test"));
    assert_eq!(Client::https(server.https(), "a.test").get("a.test", "/").status(), 200);
    // Nothing is pending any more: the path is the site's again.
    let response = Client::http(server.http()).get("a.test", "/.well-known/acme-challenge/x");
    assert_eq!(response.body, b"hello");
    server.stop();
    assert!(server.total("acme_validations") > 0);

    // The next process has it at once and asks nobody.
    drop(pebble);
}

#[test]
fn what_was_ordered_serves_at_the_next_start_without_the_ca() {
    let Some(pebble) = Pebble::start() else { return };
    let upstream = Upstream::saying("hello");
    let state = tempfile::tempdir().expect("a directory");
    let mut server = setup(&pebble, &["a.test"], &upstream, "").state_directory(state.path()).start();
    wait_for_certificate(&server, "a.test");
    let (_, _, first) = served(server.https(), "a.test");
    server.stop();
    for path in files(&state.path().join("acme")) {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{path:?}");
    }
    let again = setup(&pebble, &["a.test"], &upstream, "").state_directory(state.path());
    drop(pebble);
    let server = again.start();
    assert_eq!(served(server.https(), "a.test").2, first);
    assert!(!server.log_text().contains("ordering a certificate"));
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            all.extend(files(&path));
        }
        all.push(path);
    }
    all
}

#[test]
fn tls_alpn_01_is_answered_by_the_https_listener() {
    let Some(pebble) = Pebble::start() else { return };
    let upstream = Upstream::saying("hello");
    let mut server =
        setup(&pebble, &["a.test", "b.test", "127.0.0.1"], &upstream, "challenge = \"tls-alpn-01\"").start();
    wait_for_certificate(&server, "a.test");
    assert!(is_ordered(server.https(), "b.test"));
    server.stop();
    assert!(server.total("acme_validations") > 0);
}

#[test]
fn dns_01_proves_wildcards_and_cleans_up() {
    let Some(pebble) = Pebble::start() else { return };
    if !is_installed("curl") {
        return skip_without("curl");
    }
    let upstream = Upstream::saying("hello");
    let directory = tempfile::tempdir().expect("a directory");
    let command = pebble.dns_command(directory.path());
    let keys = format!("challenge = \"dns-01\", dns = {{ run = [{command:?}] }}");
    let server = setup(&pebble, &["a.test", "*.a.test"], &upstream, &keys).start();
    wait_for_certificate(&server, "x.a.test");
    let records = std::fs::read_to_string(directory.path().join("records")).expect("it was run");
    let count =
        |act: &str| records.lines().filter(|line| *line == format!("{act} _acme-challenge.a.test")).count();
    assert_eq!(count("present"), 2, "{records}");
    assert_eq!(count("cleanup"), 2, "{records}");
}

#[test]
fn certificates_are_renewed_before_they_end() {
    let Some(pebble) = (PebbleSetup { validity: 30, ..PebbleSetup::default() }).start() else { return };
    let upstream = Upstream::saying("hello");
    let server = setup(&pebble, &["a.test"], &upstream, "").start();
    wait_for_certificate(&server, "a.test");
    let (_, until, first) = served(server.https(), "a.test");
    wait_until("it is renewed", || served(server.https(), "a.test").2 != first);
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    assert!(i64::try_from(now).expect("a date") <= until, "before its end");
}

#[test]
fn a_ca_that_refuses_or_is_not_there_gives_way_to_the_next() {
    let Some(pebble) = Pebble::start() else { return };
    let upstream = Upstream::saying("hello");
    let nobody = crate::harness::free_address();
    let absent = pebble.source("").replace(&pebble.directory_url(), &format!("https://{nobody}/dir"));
    let sources =
        [absent, pebble.source("profile = \"none-such\""), pebble.source("challenge = \"tls-alpn-01\"")];
    let mut server = Setup::new(&sites(&["a.test"], &upstream, &sources)).listen(&pebble.listen()).start();
    server.wait_for_line("reason=\"unreachable\"");
    server.wait_for_line("the CA has no profile");
    drop(server);
    let sources = [sources[0].clone(), sources[2].clone()];
    let server = Setup::new(&sites(&["a.test"], &upstream, &sources)).listen(&pebble.listen()).start();
    wait_for_certificate(&server, "a.test");
}

#[test]
fn a_failed_validation_is_told_with_the_words_of_the_ca_and_waits() {
    let Some(pebble) = Pebble::start() else { return };
    let upstream = Upstream::saying("hello");
    // Nobody listens where the CA looks.
    let mut server = Setup::new(&sites(&["a.test"], &upstream, &[pebble.source("")])).start();
    let line = server.wait_for_line("no certificate: the CA could not validate a.test");
    assert!(line.contains("reason=\"refused\""), "{line}");
    assert!(line.contains("onnection"), "{line}");
    assert_eq!(Client::https(server.https(), "a.test").get("a.test", "/").status(), 200);
}

/// The authority looks at port 80; but wherever the path is asked for while it is pending, it is answered, before any
/// rule: over TLS, and over HTTP/2.
#[test]
fn a_pending_challenge_is_answered_over_every_version() {
    use crate::harness::http2::{get, http2};
    let Some(pebble) = Pebble::start() else { return };
    // The authority connects, and hears nothing.
    let silent = TcpListener::bind(pebble.http).expect("it is free");
    let upstream = Upstream::saying("hello");
    let mut server = Setup::new(&sites(&["a.test"], &upstream, &[pebble.source("")])).start();
    let line = server.wait_for_line("a challenge is answered");
    let path = line.split("path=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a path");
    let token = path.rsplit('/').next().expect("a token");
    let begins = |text: &str| text.starts_with(&format!("{token}."));
    let plain = Client::http(server.http()).get("a.test", path);
    assert!(plain.status() == 200 && begins(&plain.text()), "{}", plain.text());
    let tls = Client::https(server.https(), "a.test").get("a.test", path);
    assert!(tls.status() == 200 && begins(&tls.text()), "{}", tls.text());
    let client = Tls::new().sni("a.test").alpn(&["h2"]).connect(server.https()).expect("a handshake");
    let answered = http2(client, async |send| get(&send, &format!("https://a.test{path}")).await);
    assert!(answered.status() == 200 && begins(&answered.text()), "{}", answered.text());
    assert!(upstream.requests().is_empty());
    drop(silent);
}

/// Pebble of Debian knows neither profiles nor renewal information.
#[test]
fn the_authority_says_when_to_renew_and_knows_profiles() {
    // The first certificate should have been renewed already, the second has time.
    let authority = FakeAuthority::start(&[(-600, -300), (30 * 86_400, 31 * 86_400)]);
    let upstream = Upstream::saying("hello");
    let source = authority.source("profile = \"shortlived\"");
    let mut server = Setup::new(&sites(&["a.test"], &upstream, &[source])).start();
    wait_until("it is renewed as the authority says", || authority.orders().len() == 2);
    wait_until("it is asked when to renew the second", || authority.asked().len() == 2);
    let orders = authority.orders();
    assert!(orders.iter().all(|order| order["profile"] == "shortlived"), "{orders:?}");
    assert!(orders[0].get("replaces").is_none_or(serde_json::Value::is_null), "{orders:?}");
    assert_eq!(orders[1]["replaces"], authority.asked()[0].as_str(), "{orders:?}");
    assert_eq!(served(server.https(), "a.test").0, "CN=Fake Authority");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    wait_until("the moment it chose lies in the window", || {
        let mut command = std::process::Command::new(PROGRAM);
        command.args(["certificates", "--json", "-c"]).arg(server.configuration());
        let list: serde_json::Value = serde_json::from_slice(&run_to_end(&mut command).stdout).expect("JSON");
        let next = list[0]["order"]["next"].as_u64().expect("a moment");
        (29..=31).contains(&(next.saturating_sub(now.as_secs()) / 86_400))
    });
    server.stop();
    assert_eq!(authority.orders().len(), 2);

    let source = authority.source("profile = \"classic\"");
    let mut server = Setup::new(&sites(&["b.test"], &upstream, &[source])).start();
    server.wait_for_line("the CA has no profile \"classic\"; it has: shortlived");
}

#[test]
fn an_external_account_is_bound() {
    const SECRET: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let setup_of_ca = PebbleSetup { binding: Some(("kid-1", SECRET)), ..PebbleSetup::default() };
    let Some(pebble) = setup_of_ca.start() else { return };
    let upstream = Upstream::saying("hello");
    let server =
        setup(&pebble, &["a.test"], &upstream, "eab = { key_id = \"kid-1\", key_file = \"eab.key\" }")
            .file("eab.key", SECRET)
            .start();
    wait_for_certificate(&server, "a.test");
}

#[test]
fn a_reload_keeps_what_is_ordered_and_orders_what_is_new() {
    let Some(pebble) = Pebble::start() else { return };
    let upstream = Upstream::saying("hello");
    let mut server = setup(&pebble, &["a.test"], &upstream, "").start();
    server.signal(Signal::HUP);
    wait_for_certificate(&server, "a.test");
    let more = sites(&["a.test", "c.test"], &upstream, &[pebble.source("")]);
    server.setup().set_sites(&more);
    server.signal(Signal::HUP);
    wait_until("the new name is covered", || {
        try_served(server.https(), "c.test")
            .is_some_and(|(issuer, _, names, _)| issuer.contains("Pebble") && names == 2)
    });
}

#[test]
fn a_ca_that_has_forgotten_the_account_gets_another() {
    let Some(pebble) = Pebble::start() else { return };
    let upstream = Upstream::saying("hello");
    let state = tempfile::tempdir().expect("a directory");
    let mut server = setup(&pebble, &["a.test"], &upstream, "").state_directory(state.path()).start();
    wait_for_certificate(&server, "a.test");
    server.stop();
    std::fs::remove_dir_all(state.path().join("acme/certificates")).expect("it is there");
    // Another CA at the same address knows nothing of the first.
    let pebble = pebble.restart();
    let server = setup(&pebble, &["a.test"], &upstream, "").state_directory(state.path()).start();
    wait_for_certificate(&server, "a.test");
}

/// Killed at each step of an order, the next process ends with a certificate.
#[test]
fn a_process_killed_at_any_step_recovers() {
    let Some(pebble) = Pebble::start() else { return };
    let upstream = Upstream::saying("hello");
    for step in [
        "ordering a certificate",
        "ACME account made",
        "order",
        "present",
        "validate",
        "finalize",
        "download",
        "keep",
    ] {
        let state = tempfile::tempdir().expect("a directory");
        let line = if step.contains(' ') { step.to_owned() } else { format!("step={step:?}") };
        let mut server = setup(&pebble, &["a.test"], &upstream, "").state_directory(state.path()).start();
        server.wait_for_line(&line);
        server.kill();
        // The kernel takes operations of a ring back after its process is gone.
        wait_until("the listeners are closed", || {
            [pebble.http, pebble.https].iter().all(|address| TcpListener::bind(address).is_ok())
        });
        let server = setup(&pebble, &["a.test"], &upstream, "").state_directory(state.path()).start();
        wait_for_certificate(&server, "a.test");
        let left: Vec<_> = files(&state.path().join("acme/certificates"));
        assert!(!left.iter().any(|path| path.ends_with("order.pem")), "{step}: {left:?}");
    }
}
