//! Certificates that change while they are served, and certificates that are asked for by name.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustls::AlertDescription;

use crate::harness::{
    Client, Issued, PATIENCE, PROGRAM, Server, Setup, Tls, Upstream, response_with, run_to_end, site,
    skip_without, wait_until,
};

/// Clients that come without a pause, each with a full handshake, until they are told to stop.
struct Crowd {
    stop: Arc<AtomicBool>,
    failed: Arc<AtomicUsize>,
    done: Arc<AtomicUsize>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Crowd {
    fn of(address: std::net::SocketAddr, name: &'static str) -> Crowd {
        let (stop, failed, done) = <(Arc<AtomicBool>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let threads = (0..2)
            .map(|_| {
                let (stop, failed, done) = (stop.clone(), failed.clone(), done.clone());
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let failure = Tls::new().sni(name).connect(address).is_err();
                        failed.fetch_add(usize::from(failure), Ordering::Relaxed);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        Crowd { stop, failed, done, threads }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert!(self.done.load(Ordering::Relaxed) > 0);
        assert_eq!(self.failed.load(Ordering::Relaxed), 0, "handshakes failed");
    }
}

fn shown(server: &Server, name: &str) -> Vec<u8> {
    Client::https(server.https(), name).certificate()
}

#[test]
fn files_are_renewed_and_broken_under_load_and_no_handshake_fails() {
    let upstream = Upstream::saying("one");
    let setup = Setup::new("");
    let first = Issued::for_names(&["one.test"]);
    let entry = first.write(setup.directory(), "one");
    let mut server = Setup::new(&(site("one", &["one.test"], &upstream) + &entry)).workers(2).start();
    let crowd = Crowd::of(server.https(), "one.test");
    assert_eq!(shown(&server, "one.test"), first.der);
    let mut old = Client::https(server.https(), "one.test");
    for number in 0..3 {
        fs::write(
            setup.directory().join("one.pem"),
            ["", "nonsense", "-----BEGIN CERTIFICATE-----\nMI"][number],
        )
        .expect("writable");
        wait_until("the broken file is seen", || {
            server.log_text().matches("what was served before stays").count() > number
        });
        let next = Issued::for_names(&["one.test"]);
        next.replace(setup.directory(), "one");
        wait_until("the new one is served", || shown(&server, "one.test") == next.der);
    }
    assert_eq!(old.get("one.test", "/").text(), "one", "open connections go on");
    server.wait_for_line("taken up: ecdsa certificate for one.test from source files");
    crowd.end();
}

/// A program that answers with the file of the name; each question is a line of `asked`.
fn program(directory: &Path) -> String {
    let script = "#!/bin/sh\n\
        cd \"$(dirname \"$0\")\"\n\
        name=$(sed -n 's/.*\"server_name\":\"\\([^\"]*\\)\".*/\\1/p')\n\
        echo \"$name\" >>asked\n\
        case $name in\n\
        slow*) sleep 60 ;;\n\
        broken*) echo nonsense; exit 0 ;;\n\
        fails*) exit 3 ;;\n\
        esac\n\
        if [ -e \"$name.json\" ]; then cat \"$name.json\"; else echo '{}'; fi\n";
    let path = directory.join("site-cert");
    fs::write(&path, script).expect("writable");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    format!("{{ source = \"command\", run = [{path:?}], timeout = \"3s\" }}")
}

fn asked(directory: &Path, name: &str) -> usize {
    let text = fs::read_to_string(directory.join("asked")).unwrap_or_default();
    text.lines().filter(|line| *line == name).count()
}

#[test]
fn names_are_asked_for_once_and_their_options_hold() {
    let upstream = Upstream::saying("shops");
    let setup = Setup::new("");
    let directory = setup.directory();
    let source = program(directory);
    let a = Issued::for_names(&["a.shop.test", "b.shop.test"]);
    fs::write(directory.join("a.shop.test.json"), a.answer("")).expect("writable");
    let b = Issued::for_names(&["b.shop.test"]);
    let options = ", \"options\": {\"versions\": [\"1.2\"], \"alpn\": []}, \"lifetime\": 600";
    fs::write(directory.join("b.shop.test.json"), b.answer(options)).expect("writable");
    let sites = site("shops", &["*.shop.test"], &upstream) + &format!("certificate = [{source}]\n");
    let server = Setup::new(&sites).workers(2).start();
    let https = server.https();

    let connect = |name: &'static str| move || Client::https(https, name).certificate();
    let crowd: Vec<_> = (0..8).map(|_| std::thread::spawn(connect("a.shop.test"))).collect();
    for thread in crowd {
        assert_eq!(thread.join().expect("no panic"), a.der);
    }
    assert_eq!(asked(directory, "a.shop.test"), 1, "for all who waited");

    let mut client = Tls::new().sni("b.shop.test").connect(https).expect("a handshake");
    assert_eq!(client.certificate(), b.der);
    assert_eq!(client.version(), rustls::ProtocolVersion::TLSv1_2);
    assert_eq!(client.get("b.shop.test", "/").text(), "shops");
    let new = Tls::new().sni("b.shop.test").version(&rustls::version::TLS13);
    assert_eq!(new.alert(https), AlertDescription::ProtocolVersion);

    // Covered by the certificate, and under another policy.
    let mut client = Client::https(https, "a.shop.test");
    assert_eq!(client.get("a.shop.test", "/").text(), "shops");
    assert_eq!(client.get("b.shop.test", "/").status(), 421);

    for _ in 0..3 {
        let nobody = Tls::new().sni("none.shop.test");
        assert_eq!(nobody.alert(https), AlertDescription::UnrecognisedName);
    }
    assert_eq!(asked(directory, "none.shop.test"), 1, "\"none\" is remembered");
    assert_eq!(asked(directory, "b.shop.test"), 1);
}

#[test]
fn what_a_source_fails_at_is_said_and_the_next_one_serves() {
    let upstream = Upstream::saying("shops");
    let setup = Setup::new("");
    let source = program(setup.directory());
    let sites = site("shops", &["*.shop.test"], &upstream)
        + &format!("certificate = [{source}, {{ source = \"self_signed\" }}]\n");
    let mut server = Server::start(&sites);
    let self_signed = shown(&server, "fails.shop.test");
    server.wait_for_line("reason=\"exit_status\"");
    assert_eq!(shown(&server, "broken.shop.test"), self_signed);
    server.wait_for_line("reason=\"not_json\"");
    // The slow one keeps nobody else waiting.
    let https = server.https();
    let slow = std::thread::spawn(move || Client::https(https, "slow.shop.test").certificate());
    wait_until("it is asked", || asked(setup.directory(), "slow.shop.test") == 1);
    assert_eq!(shown(&server, "other.shop.test"), self_signed);
    assert_eq!(shown(&server, "fails.shop.test"), self_signed);
    assert!(!slow.is_finished(), "within the timeout");
    assert_eq!(slow.join().expect("no panic"), self_signed);
    server.wait_for_line("reason=\"timed_out\"");
}

#[test]
fn a_server_is_asked_over_tcp_and_unix() {
    let upstream = Upstream::saying("shops");
    let issued = Issued::for_names(&["*.shop.test"]);
    let answer = issued.answer("");
    for asked in [
        Upstream::answering(response_with(answer.as_bytes())),
        Upstream::script_on_unix(move |peer| {
            while let Some(mut request) = peer.head()? {
                peer.body(&mut request)?;
                let chunk = format!("{:x}\r\n{answer}\r\n0\r\n\r\n", answer.len());
                peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                peer.send(chunk.as_bytes())?;
            }
            Ok(())
        }),
    ] {
        let url = asked.url();
        let source = format!("certificate = [{{ source = \"http\", url = {url:?} }}]\n");
        let server = Server::start(&(site("shops", &["*.shop.test"], &upstream) + &source));
        assert_eq!(shown(&server, "a.shop.test"), issued.der);
        assert_eq!(shown(&server, "a.shop.test"), issued.der);
        let question = asked.only_request();
        assert_eq!(question.text(), "{\"server_name\":\"a.shop.test\",\"site\":\"shops\"}\n");
        assert_eq!(question.field("content-type"), Some("application/json"));
    }
}

/// Runs openssl in a directory.
fn openssl(directory: &Path, arguments: &str) -> String {
    let mut command = Command::new("openssl");
    command.current_dir(directory).args(arguments.split(' '));
    let output = run_to_end(&mut command);
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn an_ocsp_response_is_stapled_while_it_is_good() {
    if Command::new("openssl").arg("version").output().is_err() {
        return skip_without("openssl");
    }
    let upstream = Upstream::saying("one");
    let setup = Setup::new("");
    let directory = setup.directory();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(directory, &format!("req -x509 {key} -subj /CN=authority -keyout ca.key -out ca.pem -days 30"));
    openssl(directory, &format!("req {key} -subj /CN=one.test -keyout one.key -out one.csr"));
    fs::write(directory.join("names"), "subjectAltName=DNS:one.test\n").expect("writable");
    openssl(
        directory,
        "x509 -req -in one.csr -CA ca.pem -CAkey ca.key -set_serial 77 -extfile names -out one.pem -days 30",
    );
    fs::write(directory.join("index"), "V\t391231235959Z\t\t4D\tunknown\t/CN=one.test\n").expect("writable");
    openssl(directory, "ocsp -issuer ca.pem -cert one.pem -no_nonce -reqout request");
    let respond = "ocsp -index index -CA ca.pem -rsigner ca.pem -rkey ca.key -reqin request -respout";
    openssl(directory, &format!("{respond} good.ocsp -ndays 1"));
    let path = |name: &str| directory.join(name);
    assert!(path("good.ocsp").exists(), "openssl answers");
    fs::copy(path("good.ocsp"), path("one.ocsp")).expect("writable");
    let entry = format!(
        "certificate = [{{ source = \"files\", certificate = {:?}, key = {:?}, ocsp = {:?} }}]\n",
        path("one.pem"),
        path("one.key"),
        path("one.ocsp")
    );
    let server = Server::start(&(site("one", &["one.test"], &upstream) + &entry));
    let status = || {
        let connect = server.https();
        openssl(
            directory,
            &format!("s_client -connect {connect} -servername one.test -status -CAfile ca.pem"),
        )
    };
    assert!(status().contains("OCSP Response Status: successful"), "{}", status());
    fs::write(path("index"), "R\t391231235959Z\t240101000000Z\t4D\tunknown\t/CN=one.test\n")
        .expect("writable");
    openssl(directory, &format!("{respond} revoked.ocsp -ndays 1"));
    fs::rename(path("revoked.ocsp"), path("one.ocsp")).expect("writable");
    wait_until("it is left out", || status().contains("OCSP response: no response sent"));
    assert!(server.log_text().contains("the OCSP response says that the certificate is revoked"));
    assert!(PATIENCE.as_secs() > 2);
}

#[test]
fn chains_are_compressed_where_a_site_says_so() {
    let upstream = Upstream::saying("one");
    let sites = site("one", &["one.test"], &upstream)
        + "certificate_compression = true\n"
        + &site("two", &["two.test"], &upstream);
    let server = Server::start(&sites);
    // The client of these tests takes compressed chains: it gets the same certificate either way.
    for name in ["one.test", "two.test"] {
        for version in rustls::ALL_VERSIONS {
            let client = Tls::new().sni(name).version(version).connect(server.https()).expect("a handshake");
            assert!(!client.certificate().is_empty());
        }
    }
}

#[test]
fn the_command_lists_what_the_process_serves_and_what_the_files_say_without_one() {
    let upstream = Upstream::saying("one");
    let setup = Setup::new("");
    let directory = setup.directory();
    let entry = Issued::for_names(&["one.test"]).write(directory, "one");
    let a = Issued::for_names(&["a.shop.test"]);
    fs::write(directory.join("a.shop.test.json"), a.answer("")).expect("writable");
    let sites = site("one", &["one.test"], &upstream)
        + &entry
        + &site("shops", &["*.shop.test"], &upstream)
        + &format!("certificate = [{}, {{ source = \"self_signed\" }}]\n", program(directory))
        + &site("plain", &["plain.test"], &upstream)
        + "ssl = false\nis_secure = false\n";
    let mut server = Server::start(&sites);
    let configuration = server.configuration();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        run_to_end(command.arg("certificates").arg("-c").arg(&configuration).args(arguments))
    };
    let list = |arguments: &[&str]| -> Vec<serde_json::Value> {
        let output = run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("a list")
    };
    let states = |list: &[serde_json::Value]| -> Vec<String> {
        list.iter()
            .map(|row| {
                let word = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
                let source = word("source").split(':').next().expect("a word").to_owned();
                [word("site"), source, word("name"), word("key"), word("state")].join(" ")
            })
            .collect()
    };
    assert_eq!(shown(&server, "a.shop.test"), a.der);
    let self_signed = shown(&server, "none.shop.test");
    assert_eq!(shown(&server, "fails.shop.test"), self_signed);
    let told = list(&[]);
    assert_eq!(
        states(&told),
        [
            "one files - ecdsa served",
            "shops command - - asked for each name",
            "shops self_signed - ecdsa served",
            "shops command a.shop.test ecdsa fresh",
            "shops command fails.shop.test - failed",
            "shops command none.shop.test - none",
            "plain  - - no HTTPS",
        ]
    );
    let again = told[3]["asked_again_seconds"].as_u64().expect("a time");
    assert!((1..=45).contains(&again), "three quarters of a minute: {again}");
    assert_eq!(told[3]["names"], serde_json::json!(["a.shop.test"]));
    fs::write(directory.join("one.pem"), "nonsense").expect("writable");
    server.wait_for_line("what was served before stays");
    let text = String::from_utf8(run(&[]).stdout).expect("text");
    assert!(text.contains("served; a change was refused: "), "{text}");
    assert!(text.contains("fresh, asked again in "), "{text}");
    assert_eq!(run(&["--within", "30000d"]).status.code(), Some(4));
    let files = states(&list(&["--files"]));
    assert!(files[0].starts_with("one files - - passed over: "), "{files:?}");
    server.stop();
    let output = run(&["--json"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("nobody serves with this configuration"));
    let told: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("a list");
    assert_eq!(states(&told), files);
    let nobody = run_to_end(Command::new(PROGRAM).args(["certificates", "--socket", "/nowhere.sock"]));
    assert_eq!(nobody.status.code(), Some(1));
}
