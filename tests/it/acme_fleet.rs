//! Machines that share certificates by way of a store: who orders, who answers, and what happens without it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::harness::{
    Client, Issued, PROGRAM, Pebble, Redis, Server, Setup, Tls, Upstream, run_to_end, site, wait_until,
};

const SECRET: &str = "all machines of the fleet have these bytes";

/// A directory for each machine, and the fleet's secret.
struct Fleet {
    upstream: Upstream,
    files: TempDir,
}

impl Fleet {
    fn new() -> Fleet {
        let files = TempDir::with_prefix("portcullis-fleet-").expect("a temporary directory");
        let fleet = Fleet { upstream: Upstream::saying("hello"), files };
        fleet.write("secret", SECRET);
        fleet
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.files.path().join(name);
        std::fs::write(&path, text).expect("writable");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("ours");
        path
    }

    /// A machine with a site for `host`, whose certificate comes from `source`.
    fn machine(&self, name: &str, host: &str, source: &str, store: &str) -> Setup {
        self.machine_with_secret(name, host, source, store, &self.files.path().join("secret"))
    }

    fn machine_with_secret(&self, name: &str, host: &str, source: &str, store: &str, secret: &Path) -> Setup {
        let sites = format!("{}certificate = [{source}]\n", site(host, &[host], &self.upstream));
        Setup::new(&sites)
            .state_directory(&self.files.path().join(name))
            .top(&format!("store = {store}"))
            .session_cache(&format!("fleet_secret_file = {secret:?}"))
    }
}

fn served(address: SocketAddr, name: &str) -> Option<Vec<u8>> {
    let der = Tls::new().sni(name).connect(address).ok()?.certificate();
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).expect("a certificate");
    certificate.issuer().to_string().contains("Pebble").then(|| der.clone())
}

#[track_caller]
fn wait_for_certificate(server: &Server, name: &str) -> Vec<u8> {
    let address = server.https();
    wait_until("a certificate that was ordered is served", || served(address, name).is_some());
    served(address, name).expect("it is served")
}

fn url(redis: &Redis) -> String {
    format!("{:?}", redis.url())
}

#[test]
fn a_challenge_is_answered_by_a_machine_that_did_not_order() {
    let Some(pebble) = Pebble::start() else { return };
    for challenge in ["http-01", "tls-alpn-01"] {
        let Some(redis) = Redis::start() else { return };
        let fleet = Fleet::new();
        let source = pebble.source(&format!("challenge = {challenge:?}"));
        // The CA comes to this one alone.
        let mut asked = fleet
            .machine("asked", "b.test", &source, &url(&redis))
            .workers(2)
            .listen(&pebble.listen())
            .start();
        wait_for_certificate(&asked, "b.test");
        let mut orders = fleet.machine("orders", "a.test", &source, &url(&redis)).start();
        wait_for_certificate(&orders, "a.test");
        orders.stop();
        asked.stop();
        assert_eq!(orders.total("acme_validations"), 0, "nobody came here");
        assert!(asked.total("acme_validations") > 0);
        assert!(!asked.log_text().contains("site=\"a.test\""), "{}", asked.log_text());
        assert!(!orders.log_text().contains("have not seen a challenge"), "{}", orders.log_text());
        assert!(redis.ask(&["HLEN", "portcullis:challenges"]).contains(":0"), "nothing is left");
    }
}

#[test]
fn one_orders_and_all_serve() {
    let (Some(pebble), Some(redis)) = (Pebble::start(), Redis::start()) else { return };
    let fleet = Fleet::new();
    let source = pebble.source("");
    let machine = |name| fleet.machine(name, "a.test", &source, &url(&redis));
    let one = machine("one").listen(&pebble.listen()).start();
    let two = machine("two").start();
    let three = machine("three").start();
    let certificates = [&one, &two, &three].map(|machine| wait_for_certificate(machine, "a.test"));
    assert!(certificates.iter().all(|certificate| *certificate == certificates[0]));
    let log = [&one, &two, &three].map(Server::log_text).concat();
    assert_eq!(log.matches("certificate issued").count(), 1, "{log}");
    assert_eq!(log.matches("ACME account made").count(), 1, "{log}");
    assert_eq!(log.matches("certificate of another machine taken up").count(), 2, "{log}");

    // Asked for on any of them, another one comes to all.
    let renew = |site: &str| {
        let configuration = two.configuration();
        let mut command = Command::new(PROGRAM);
        command.args(["certificates", "renew", site, "-c"]).arg(configuration);
        run_to_end(&mut command)
    };
    let output = renew("a.test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for machine in [&one, &two, &three] {
        wait_until("the new one is served", || {
            served(machine.https(), "a.test").is_some_and(|now| now != certificates[0])
        });
    }
    let renewed = [&one, &two, &three].map(|machine| served(machine.https(), "a.test"));
    assert!(renewed.iter().all(|certificate| *certificate == renewed[0]));
    let output = renew("b.test");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("no site \"b.test\""), "{said}");

    let list =
        run_to_end(Command::new(PROGRAM).args(["certificates", "--json", "-c"]).arg(three.configuration()));
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).expect("JSON");
    let order = &list[0]["order"];
    assert_eq!(order["state"], "valid", "{list}");
    assert!(order["next"].as_i64() < order["not_after"].as_i64(), "{list}");
    assert!(order["last_error"].is_null(), "{list}");
}

#[test]
fn a_machine_killed_in_its_turn_is_succeeded() {
    use std::os::unix::fs::PermissionsExt;
    let (Some(pebble), Some(redis)) = (Pebble::start(), Redis::start()) else { return };
    let fleet = Fleet::new();
    // It is in the middle of an order for as long as its program runs.
    let command = fleet.write("set-record", "#!/bin/sh\necho $$ > \"$0.process\"\nexec sleep 60\n");
    std::fs::set_permissions(&command, std::fs::Permissions::from_mode(0o700)).expect("ours");
    let slow = pebble.source(&format!("challenge = \"dns-01\", dns = {{ run = [{command:?}] }}"));
    let mut first = fleet.machine("first", "a.test", &slow, &url(&redis)).start();
    first.wait_for_line("step=\"present\"");
    wait_until("its program runs", || {
        std::fs::read_to_string(command.with_extension("process")).is_ok_and(|number| number.ends_with('\n'))
    });
    let mut second =
        fleet.machine("second", "a.test", &pebble.source(""), &url(&redis)).listen(&pebble.listen()).start();
    second.wait_for_line("reason=\"elsewhere\"");
    assert!(!second.log_text().contains("ordering a certificate"));
    first.kill();
    wait_for_certificate(&second, "a.test");
    assert!(second.log_text().contains("ordering a certificate"));
    let process = std::fs::read_to_string(command.with_extension("process")).expect("it ran");
    let process = process.trim().parse().ok().and_then(rustix::process::Pid::from_raw).expect("a number");
    let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
}

#[test]
fn a_lost_store_stops_nothing_and_gets_everything_back() {
    let (Some(pebble), Some(mut redis)) = (Pebble::start(), Redis::start()) else { return };
    let fleet = Fleet::new();
    let source = pebble.source("");
    let mut one = fleet.machine("one", "a.test", &source, &url(&redis)).listen(&pebble.listen()).start();
    let first = wait_for_certificate(&one, "a.test");
    redis.stop();
    one.wait_for_line("no fleet store");
    assert_eq!(served(one.https(), "a.test").as_ref(), Some(&first));
    // One that starts now serves what it has: the same machine, with the same state.
    one.stop();
    let mut one = fleet.machine("one", "a.test", &source, &url(&redis)).listen(&pebble.listen()).start();
    one.wait_for_line("no fleet store");
    assert_eq!(served(one.https(), "a.test").as_ref(), Some(&first));
    redis.run();
    one.wait_for_line("certificate put into the fleet's store");
    // The CA is not needed by those who come.
    drop(pebble);
    let mut two = fleet.machine("two", "a.test", &source, &url(&redis)).start();
    two.wait_for_line("certificate of another machine taken up");
    wait_until("it is served", || served(two.https(), "a.test").as_ref() == Some(&first));
    // Emptied while it runs.
    redis.ask(&["FLUSHALL"]);
    wait_until("it is put again", || !redis.keys("portcullis:set:").is_empty());
    assert_eq!(served(two.https(), "a.test").as_ref(), Some(&first));
}

#[test]
fn what_lies_in_the_store_is_of_no_use_without_the_secret() {
    let (Some(pebble), Some(redis)) = (Pebble::start(), Redis::start()) else { return };
    let fleet = Fleet::new();
    let source = pebble.source("");
    let one = fleet.machine("one", "a.test", &source, &url(&redis)).listen(&pebble.listen()).start();
    wait_for_certificate(&one, "a.test");
    wait_until("it is put", || !redis.keys("portcullis:set:").is_empty());
    let set = redis.keys("portcullis:set:").remove(0);
    let account = redis.keys("portcullis:account:").remove(0);
    for answer in [redis.ask(&["HGETALL", &set]), redis.ask(&["GET", &account])] {
        assert!(answer.len() > 100, "{answer:?}");
        assert!(
            ["PRIVATE", "BEGIN", "key_pkcs8", "http"].iter().all(|word| !answer.contains(word)),
            "{answer:?}"
        );
    }
    let other = fleet.write("other", &SECRET.to_uppercase());
    let mut two = fleet.machine_with_secret("two", "a.test", &source, &url(&redis), &other).start();
    let line = two.wait_for_line("no fleet store");
    assert!(line.contains("sealed with another secret") && line.contains("reason=\"secret\""), "{line}");
    assert_eq!(served(two.https(), "a.test"), None, "self-signed");
    assert!(!two.log_text().contains("ordering a certificate"));
    assert!(!one.log_text().contains("no fleet store"));
}

#[test]
fn a_store_has_a_password_and_tls() {
    let Some(pebble) = Pebble::start() else { return };
    let fleet = Fleet::new();
    let source = pebble.source("");
    let Some(redis) = Redis::start_with(&["--requirepass", "a p@ss"]) else { return };
    let address = redis.address;
    let mut without = fleet.machine("without", "a.test", &source, &url(&redis)).start();
    let line = without.wait_for_line("no fleet store");
    assert!(line.contains("NOAUTH") && line.contains("reason=\"refused\""), "{line}");
    drop(without);
    let with = format!("\"redis://:a%20p%40ss@{address}/2\"");
    let mut machine = fleet.machine("with", "a.test", &source, &with).start();
    let line = machine.wait_for_line("the fleet's store is reached");
    assert!(line.contains(&format!("redis://{address}/2")), "{line}");
    drop(machine);

    let issued = Issued::for_names(&["127.0.0.1"]);
    let (ca, key) = (fleet.write("store.pem", &issued.certificate), fleet.write("store.key", &issued.key));
    let Some(redis) = Redis::start_with_tls(&ca, &key) else { return };
    let mut stranger = fleet.machine("stranger", "a.test", &source, &url(&redis)).start();
    let line = stranger.wait_for_line("no fleet store");
    assert!(line.contains("UnknownIssuer"), "{line}");
    drop(stranger);
    let store = format!("{{ url = {}, ca = {ca:?} }}", url(&redis));
    let mut machine = fleet.machine("tls", "a.test", &source, &store).start();
    machine.wait_for_line("the fleet's store is reached");
}

/// What answers a connection is no store: it says nothing, something else, or too much.
#[test]
fn what_is_no_store_is_left_and_everything_serves() {
    use std::io::Write;
    let fleet = Fleet::new();
    // Nothing is asked of it: no order is made without the store.
    let source = "{ source = \"acme\", directory_url = \"https://127.0.0.1:9/directory\" }";
    for (says, reason) in [
        (&b""[..], "timeout"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "protocol"),
        (b"*99999999999999\r\n", "timeout"),
        (b"$99999999999999\r\n", "unreachable"),
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || {
                    let _ = stream.write_all(says);
                    let endless = [b'x'; 64 * 1024];
                    while reason == "unreachable" && stream.write_all(&endless).is_ok() {}
                    // Kept open for as long as the other side likes.
                    let _ = std::io::copy(&mut stream, &mut std::io::sink());
                });
            }
        });
        let store = format!("\"redis://{address}\"");
        let mut server = fleet.machine(reason, "a.test", source, &store).start();
        let line = server.wait_for_line("no fleet store");
        // Of one that is left because of what it says, it may be told that it cannot be reached.
        let left = reason == "protocol" && line.contains("reason=\"unreachable\"");
        assert!(left || line.contains(&format!("reason={reason:?}")), "{says:?}: {line}");
        assert_eq!(Client::https(server.https(), "a.test").get("a.test", "/").status(), 200);
        assert!(server.memory_kib().1 < 200 * 1024, "{:?}", server.memory_kib());
    }
}
