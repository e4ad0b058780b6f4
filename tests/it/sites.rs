//! Several sites on one address: chosen by SNI and by host.

use rustls::AlertDescription;

use crate::harness::{Client, Issued, Server, Setup, Tls, Upstream, site};

/// One site by name, one by wildcard, one for the rest.
fn three() -> (Server, [Upstream; 3]) {
    let upstreams = ["one", "wild", "rest"].map(Upstream::saying);
    let sites = site("one", &["one.test"], &upstreams[0])
        + "aliases = [\"www.one.test\", \"ONE.example\"]\n"
        + &site("wild", &["*.wild.test"], &upstreams[1])
        + &site("rest", &["rest.test", "*"], &upstreams[2]);
    (Server::start(&sites), upstreams)
}

#[test]
fn the_host_chooses_the_site() {
    let (server, _upstreams) = three();
    for (host, expected) in [
        ("one.test", "one"),
        ("ONE.test", "one"),
        ("one.test.", "one"),
        ("one.test:8080", "one"),
        ("a.wild.test", "wild"),
        ("a.b.wild.test", "wild"),
        ("wild.test", "rest"),
        ("rest.test", "rest"),
        ("unknown.test", "rest"),
        ("192.0.2.7", "rest"),
        ("[2001:db8::1]:80", "rest"),
    ] {
        assert_eq!(Client::http(server.http()).get(host, "/").text(), expected, "{host}");
    }
}

#[test]
fn the_name_in_the_handshake_chooses_the_certificate() {
    let (server, _upstreams) = three();
    let of = |name| Client::https(server.https(), name).certificate();
    let (one, wild, rest) = (of("one.test"), of("a.wild.test"), of("rest.test"));
    assert!(one != wild && one != rest && wild != rest);
    assert_eq!(of("b.wild.test"), wild);
    assert_eq!(of("www.one.test"), one);
    assert_eq!(of("unknown.test"), rest);
    assert_eq!(Tls::new().connect(server.https()).expect("the fallback site").certificate(), rest);
}

#[test]
fn a_certificate_of_files_is_the_one_shown() {
    let upstream = Upstream::saying("one");
    let issued = Issued::for_names(&["one.test"]);
    let setup = Setup::new("");
    let entry = issued.write(setup.directory(), "one");
    let server = Setup::new(&(site("one", &["one.test"], &upstream) + &entry)).start();
    let mut client = Client::https(server.https(), "one.test");
    assert_eq!(client.certificate(), issued.der);
    assert_eq!(client.get("one.test", "/").text(), "one");
}

#[test]
fn an_alias_is_redirected_for_good_and_keeps_what_was_asked_for() {
    let (server, _upstreams) = three();
    let (http, https) = (server.http(), server.https());
    for alias in ["www.one.test", "one.example", "WWW.one.test:99"] {
        let redirect = Client::http(http).get(alias, "/a/b?c=d&e");
        assert_eq!(redirect.status(), 301, "{alias}");
        let expected = format!("http://one.test:{}/a/b?c=d&e", http.port());
        assert_eq!(redirect.field("location"), Some(expected.as_str()));
    }
    let mut client = Client::https(https, "www.one.test");
    let redirect = client.get("www.one.test", "/x");
    let expected = format!("https://one.test:{}/x", https.port());
    assert_eq!((redirect.status(), redirect.field("location")), (301, Some(expected.as_str())));
}

#[test]
fn an_alias_may_be_served_instead() {
    let upstream = Upstream::saying("one");
    let server = Server::start(
        &(site("one", &["one.test"], &upstream) + "aliases = [\"www.one.test\"]\nalias = \"serve\"\n"),
    );
    assert_eq!(Client::http(server.http()).get("www.one.test", "/").text(), "one");
    assert_eq!(upstream.only_request().field("host"), Some("www.one.test"));
}

#[test]
fn without_a_fallback_unknown_names_are_refused() {
    let upstream = Upstream::saying("one");
    let server = Server::start(&site("one", &["one.test"], &upstream));
    let unrecognized = AlertDescription::UnrecognisedName;
    assert_eq!(u8::from(unrecognized), 112);
    assert_eq!(Tls::new().sni("other.test").alert(server.https()), unrecognized);
    assert_eq!(Tls::new().alert(server.https()), unrecognized);
    assert_eq!(Client::http(server.http()).get("other.test", "/").status(), 404);
    let mut client = Client::https(server.https(), "one.test");
    assert_eq!(client.get("other.test", "/").status(), 421);
    assert_eq!(client.get("one.test", "/").text(), "one");
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_site_without_https_fails_its_handshake() {
    let upstream = Upstream::saying("plain");
    let server = Server::start(
        &(site("plain", &["plain.test"], &upstream)
            + "ssl = false\n"
            + &site("one", &["one.test"], &upstream)),
    );
    assert_eq!(Tls::new().sni("plain.test").alert(server.https()), AlertDescription::UnrecognisedName);
    assert_eq!(Client::http(server.http()).get("plain.test", "/").text(), "plain");
    assert_eq!(Client::https(server.https(), "one.test").get("plain.test", "/").status(), 421);
}

#[test]
fn another_site_on_the_same_connection_is_misdirected() {
    let (server, upstreams) = three();
    let mut client = Client::https(server.https(), "one.test");
    assert_eq!(client.get("a.wild.test", "/").status(), 421);
    assert_eq!(client.get("rest.test", "/").status(), 421);
    assert_eq!(client.get("one.test", "/").text(), "one");
    assert!(upstreams[1].requests().is_empty() && upstreams[2].requests().is_empty());
}

#[test]
fn another_site_is_served_when_the_certificate_covers_it_and_the_policy_is_the_same() {
    let upstreams = ["one", "two", "strict"].map(Upstream::saying);
    let issued = Issued::for_names(&["one.test", "two.test", "strict.test"]);
    let setup = Setup::new("");
    let entry = issued.write(setup.directory(), "all");
    let sites = site("one", &["one.test"], &upstreams[0])
        + &entry
        + &site("two", &["two.test"], &upstreams[1])
        + &entry
        + &site("strict", &["strict.test"], &upstreams[2])
        + &entry
        + "tls_versions = [\"1.3\"]\n";
    let server = Server::start(&sites);
    let mut client = Client::https(server.https(), "one.test");
    assert_eq!(client.get("two.test", "/").text(), "two");
    assert_eq!(client.get("strict.test", "/").status(), 421);
    assert_eq!(client.get("one.test", "/").text(), "one");
}

#[test]
fn a_policy_of_versions_holds() {
    let upstream = Upstream::saying("strict");
    let server = Server::start(&(site("strict", &["strict.test"], &upstream) + "tls_versions = [\"1.3\"]\n"));
    let tls = Tls::new().sni("strict.test");
    let old = tls.clone().version(&rustls::version::TLS12);
    assert_eq!(old.alert(server.https()), AlertDescription::ProtocolVersion);
    let mut client = tls.version(&rustls::version::TLS13).connect(server.https()).expect("TLS 1.3");
    assert_eq!(client.get("strict.test", "/").text(), "strict");
}

#[test]
fn http_1_1_is_agreed_on() {
    let upstream = Upstream::saying("one");
    let server = Server::start(&site("one", &["one.test"], &upstream));
    let tls = Tls::new().sni("one.test");
    for version in rustls::ALL_VERSIONS {
        let tls = tls.clone().version(version);
        let client = tls.clone().alpn(&["http/1.1"]).connect(server.https()).expect("a handshake");
        assert_eq!((client.alpn().as_deref(), client.version()), (Some(&b"http/1.1"[..]), version.version));
        assert_eq!(tls.connect(server.https()).expect("without ALPN").alpn(), None);
        let unknown = tls.alpn(&["spdy/1"]).alert(server.https());
        assert_eq!(unknown, AlertDescription::NoApplicationProtocol);
    }
}

#[test]
fn a_request_that_names_no_host_is_for_the_fallback_site() {
    let (server, upstreams) = three();
    let ask = |request: &str| {
        let mut client = Client::http(server.http());
        client.send(request);
        client.response()
    };
    let page = ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((page.status(), page.text()), (200, "rest".to_owned()));
    let seen = upstreams[2].only_request();
    assert_eq!((seen.field("host"), seen.field("x-forwarded-host")), (Some("rest.test"), Some("rest.test")));
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\nHost:\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: one.test\r\nHost: one.test\r\n\r\n",
    ] {
        assert_eq!(ask(request).status(), 400, "{request}");
    }
    assert_eq!(ask("GET http://one.test/ HTTP/1.0\r\n\r\n").text(), "one");
}

#[test]
fn without_a_name_nothing_is_redirected_to() {
    let upstream = Upstream::saying("any");
    let rules = "dispatch = [{ name = \"logon\", path = \"/logon\", ssl = true }]\n";
    let ask = |server: &Server, target: &str| {
        let mut client = Client::http(server.http());
        client.send(format!("GET {target} HTTP/1.0\r\n\r\n"));
        client.response()
    };
    let server = Server::start(&(site("any", &["*"], &upstream) + rules));
    assert_eq!(ask(&server, "/").status(), 200);
    assert_eq!(upstream.only_request().field("host"), Some(""));
    assert_eq!(ask(&server, "/logon").status(), 400);
    drop(server);

    let server = Server::start(&(site("any", &["any.test", "*"], &upstream) + rules));
    let expected = format!("https://any.test:{}/logon", server.https().port());
    assert_eq!(ask(&server, "/logon").field("location"), Some(expected.as_str()));
    drop(server);

    let server = Server::start(&site("one", &["one.test"], &upstream));
    assert_eq!(ask(&server, "/").status(), 404);
}
