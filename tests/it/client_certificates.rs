//! Certificates of clients: who is let in, and what the site's server is told.

use std::fs;

use rustls::AlertDescription;
use rustls::HandshakeKind::{Full, Resumed};

use crate::harness::{Authority, Client, Issued, Setup, Tls, Upstream, site, wait_until};

#[test]
fn who_shows_no_certificate_is_let_in_where_that_is_fine() {
    let upstreams = ["strict", "polite", "open"].map(Upstream::saying);
    let authority = Authority::new();
    let setup = Setup::new("").file("clients.pem", &authority.pem());
    let ca = setup.directory().join("clients.pem");
    let auth = |mode: &str| format!("client_auth = {{ ca = {ca:?}, mode = {mode:?} }}\n");
    let sites = site("strict", &["strict.test"], &upstreams[0])
        + &auth("require")
        + &site("polite", &["polite.test"], &upstreams[1])
        + &auth("request")
        + &site("open", &["open.test"], &upstreams[2]);
    let mut server = Setup::new(&sites).start();
    let https = server.https();
    let someone = authority.issue("Some One", 7);
    let stranger = Authority::new().issue("Some One", 7);
    for version in rustls::ALL_VERSIONS {
        let tls = || Tls::new().sni("strict.test").version(version);
        let none = tls().alert_at_first_request(https);
        // RFC 8446 §4.4.2.4. The library says so in TLS 1.2, too, where RFC 5246 §7.4.6 leaves it to the server.
        assert_eq!(none, AlertDescription::CertificateRequired);
        let unknown = tls().identity(&stranger).alert_at_first_request(https);
        assert_eq!(unknown, AlertDescription::UnknownCA);
        let unknown = tls().sni("polite.test").identity(&stranger).alert_at_first_request(https);
        assert_eq!(unknown, AlertDescription::UnknownCA, "one that is shown must verify");

        let tls = tls().identity(&someone);
        for kind in [Full, Resumed] {
            let mut client = tls.connect(https).expect("a handshake");
            let forged = "GET / HTTP/1.1\r\nHost: strict.test\r\nX-Client-Identity: CN=Root\r\n\r\n";
            client.send(forged);
            assert_eq!(client.response().text(), "strict");
            assert_eq!(client.handshake_kind(), kind);
            let requests = upstreams[0].requests();
            let told = requests.last().expect("one came");
            assert_eq!(told.all("x-client-identity"), ["CN=Some One"]);
            // Another site's rules are other rules.
            assert_eq!(client.get("polite.test", "/").status(), 421);
        }
    }
    let forged = "GET / HTTP/1.1\r\nHost: HOST\r\nX-Client-Identity: CN=Root\r\nx-client-identity: b\r\n\r\n";
    for (upstream, host) in upstreams.iter().zip(["strict.test", "polite.test", "open.test"]) {
        let mut clients = vec![Client::http(server.http())];
        if host != "strict.test" {
            clients.push(Client::https(https, host));
        }
        for mut client in clients {
            client.send(forged.replace("HOST", host));
            assert_eq!(client.response().status(), 200);
            let requests = upstream.requests();
            let told = requests.last().expect("one came");
            assert!(told.all("x-client-identity").is_empty(), "{host}");
        }
    }
    server.wait_for_line("reason=\"client_certificate_missing\"");
    server.wait_for_line("reason=\"client_certificate_refused\"");
}

#[test]
fn a_revoked_certificate_is_refused_and_its_session_does_not_resume() {
    let upstream = Upstream::saying("strict");
    let authority = Authority::new();
    let setup =
        Setup::new("").file("clients.pem", &authority.pem()).file("clients.crl", &authority.revoking(&[9]));
    let path = |name: &str| setup.directory().join(name);
    let auth = format!(
        "client_auth = {{ ca = {:?}, crl = [{:?}], header = \"X-Visitor\", identity = \"fingerprint\" }}\n",
        path("clients.pem"),
        path("clients.crl")
    );
    let server = Setup::new(&(site("strict", &["strict.test"], &upstream) + &auth)).start();
    let https = server.https();
    let revoked = Tls::new().sni("strict.test").identity(&authority.issue("Nine", 9));
    assert_eq!(revoked.alert_at_first_request(https), AlertDescription::CertificateRevoked);
    let eight = authority.issue("Eight", 8);
    let tls = Tls::new().sni("strict.test").identity(&eight);
    for kind in [Full, Resumed] {
        let mut client = tls.connect(https).expect("a handshake");
        assert_eq!(client.get("strict.test", "/").text(), "strict");
        assert_eq!(client.handshake_kind(), kind);
    }
    let told = upstream.requests().last().expect("one came").all("x-visitor").join(",");
    assert_eq!(told.len(), 64, "{told}");
    // Taken up without a reload.
    fs::write(path("clients.new"), authority.revoking(&[8, 9])).expect("writable");
    fs::rename(path("clients.new"), path("clients.crl")).expect("writable");
    wait_until("the list is taken up", || server.log_text().contains("other rules for client certificates"));
    assert_eq!(tls.alert_at_first_request(https), AlertDescription::CertificateRevoked);
}

#[test]
fn a_source_may_ask_for_client_certificates_of_a_name() {
    let upstream = Upstream::saying("shops");
    let authority = Authority::new();
    let issued = Issued::for_names(&["*.shop.test"]);
    let ca = authority.pem().replace('\n', "\\n");
    let options = format!(",\"options\":{{\"client_auth\":{{\"ca\":\"{ca}\",\"mode\":\"require\"}}}}");
    let setup =
        Setup::new("").file("closed.json", &issued.answer(&options)).file("open.json", &issued.answer(""));
    let directory = setup.directory();
    let script = format!(
        "if grep -q closed; then cat {0}/closed.json; else cat {0}/open.json; fi",
        directory.display()
    );
    let source = format!("certificate = [{{ source = \"command\", run = [\"sh\", \"-c\", {script:?}] }}]\n");
    let server = Setup::new(&(site("shops", &["*.shop.test"], &upstream) + &source)).start();
    let https = server.https();
    let mut open = Client::https(https, "open.shop.test");
    assert_eq!(open.get("open.shop.test", "/").text(), "shops");
    assert_eq!(
        open.get("closed.shop.test", "/").status(),
        421,
        "the certificate covers it, the rules do not"
    );
    let closed = Tls::new().sni("closed.shop.test");
    assert_eq!(closed.alert_at_first_request(https), AlertDescription::CertificateRequired);
    let mut client = closed.identity(&authority.issue("Some One", 7)).connect(https).expect("a handshake");
    assert_eq!(client.get("closed.shop.test", "/").text(), "shops");
    let told = upstream.requests().last().expect("one came").all("x-client-identity").join(",");
    assert_eq!(told, "CN=Some One");
}
