//! Proxies in front: whose word on scheme and host counts, and for what.

use crate::harness::{Client, Server, Setup, Upstream, response_with, site};

const RULES: &str = "dispatch = [{ name = \"any\", path = \"/any/*\", ssl = \"any\" }]\nis_ssl = true\n\
    session_cookies = [\"z_sid\"]\nhsts = { max_age = \"1d\" }\n";

fn with_a_cookie() -> Upstream {
    Upstream::script(|peer| {
        while peer.request()?.is_some() {
            let mut response = response_with(b"served");
            let at = response.len() - "\r\n\r\nserved".len();
            response.splice(at..at, "\r\nSet-Cookie: z_sid=1".bytes());
            peer.send(&response)?;
        }
        Ok(())
    })
}

fn start(upstream: &Upstream, listen: &str) -> Server {
    let sites = site("one", &["one.test"], upstream) + RULES + &site("two", &["two.test"], upstream);
    Setup::new(&sites).listen(listen).start()
}

fn ask(server: &Server, host: &str, target: &str, fields: &str) -> crate::harness::Message {
    let mut client = Client::http(server.http());
    client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"));
    client.response()
}

#[test]
fn a_trusted_peer_says_how_the_visitor_came() {
    let upstream = with_a_cookie();
    let listen = "http = [{ address = \"127.0.0.1:0\", trusted_proxies = [\"127.0.0.0/8\"] }], https = [\"127.0.0.1:0\"]";
    let server = start(&upstream, listen);

    for fields in ["X-Forwarded-Proto: https\r\n", "Forwarded: for=192.0.2.7;proto=https\r\n"] {
        let page = ask(&server, "one.test", "/", fields);
        assert_eq!(page.status(), 200, "{fields}");
        assert_eq!(page.field("strict-transport-security"), Some("max-age=86400"));
        assert_eq!(page.field("set-cookie"), Some("z_sid=1; Secure"));
    }
    let seen = upstream.requests().remove(1);
    assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
    assert_eq!(
        seen.field("forwarded"),
        Some("for=192.0.2.7;proto=https, for=127.0.0.1;host=one.test;proto=http")
    );

    // Without its word, the listener's scheme holds.
    let redirect = ask(&server, "one.test", "/", "");
    assert_eq!(redirect.status(), 302);
    let page = ask(&server, "one.test", "/any/x", "X-Forwarded-Proto: http\r\n");
    assert_eq!(page.field("set-cookie"), Some("z_sid=1"));
    assert_eq!(page.field("strict-transport-security"), None);
}

#[test]
fn a_trusted_peer_chooses_the_site_and_the_site_server_sees_that_host() {
    let upstream = Upstream::saying("served");
    let server = start(
        &upstream,
        "http = [\"127.0.0.1:0\"], https = [\"127.0.0.1:0\"], trusted_proxies = [\"127.0.0.1\"]",
    );
    let fields = "X-Forwarded-Host: two.test:8443\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 8443\r\n\
                  X-Forwarded-For: 192.0.2.7\r\nX-Request-Id: theirs\r\nX-Real-IP: 192.0.2.7\r\n";
    assert_eq!(ask(&server, "inside.test", "/", fields).status(), 200);
    let seen = upstream.only_request();
    for (name, value) in [
        ("host", "two.test:8443"),
        ("x-forwarded-host", "two.test:8443"),
        ("x-forwarded-port", "8443"),
        ("x-forwarded-for", "192.0.2.7, 127.0.0.1"),
        ("x-request-id", "theirs"),
        ("x-real-ip", "192.0.2.7"),
        ("forwarded", "for=127.0.0.1;host=inside.test;proto=http"),
    ] {
        assert_eq!(seen.field(name), Some(value), "{name}");
    }
    assert_eq!(ask(&server, "two.test", "/", "X-Forwarded-Host: nobody.test\r\n").status(), 404);
    assert_eq!(ask(&server, "two.test", "/", "X-Forwarded-Host: a@two.test\r\n").status(), 400);
}

#[test]
fn the_word_of_a_trusted_peer_must_have_one_meaning() {
    let upstream = Upstream::saying("served");
    let server = start(
        &upstream,
        "http = [\"127.0.0.1:0\"], https = [\"127.0.0.1:0\"], trusted_proxies = [\"127.0.0.1\"]",
    );
    for fields in [
        "X-Forwarded-Proto: http\r\nForwarded: proto=https\r\n",
        "X-Forwarded-Host: one.test\r\nForwarded: host=two.test\r\n",
        "X-Forwarded-Proto: gopher\r\n",
        "Forwarded: for=\"_open;proto=https\r\n",
    ] {
        assert_eq!(ask(&server, "two.test", "/", fields).status(), 400, "{fields}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_stranger_says_nothing() {
    let upstream = Upstream::saying("served");
    // Trusted elsewhere, and at another listener.
    let listen = "http = [{ address = \"127.0.0.1:0\", trusted_proxies = [\"192.0.2.0/24\"] }], \
                  https = [\"127.0.0.1:0\"], trusted_proxies = [\"127.0.0.1\"]";
    let server = start(&upstream, listen);
    let fields = "X-Forwarded-Proto: https\r\nX-Forwarded-Host: two.test\r\nForwarded: \"\r\n";
    let redirect = ask(&server, "one.test", "/", fields);
    let expected = format!("https://one.test:{}/", server.https().port());
    assert_eq!((redirect.status(), redirect.field("location")), (302, Some(expected.as_str())));
    assert_eq!(ask(&server, "one.test", "/any/x", fields).status(), 200);
    assert_eq!(upstream.only_request().field("x-forwarded-proto"), Some("http"));
}

#[test]
fn a_reload_changes_whom_a_kept_listener_trusts() {
    let upstream = Upstream::saying("served");
    let sites = site("one", &["one.test"], &upstream) + RULES;
    let listen = |trusted: &str| {
        format!(
            "http = [{{ address = \"127.0.0.1:0\", trusted_proxies = {trusted} }}], https = [\"127.0.0.1:0\"]"
        )
    };
    let mut server = Setup::new(&sites).listen(&listen("[]")).start();
    let mut client = Client::http(server.http());
    let mut ask = |server: &Server| {
        let request = "GET / HTTP/1.1\r\nHost: one.test\r\nX-Forwarded-Proto: https\r\n\r\n";
        let mut other = Client::http(server.http());
        other.send(request);
        client.send(request);
        [client.response().status(), other.response().status()]
    };
    assert_eq!(ask(&server), [302, 302]);
    server.setup().set_listen(&listen("[\"127.0.0.1\"]"));
    server.reload(&sites);
    assert_eq!(ask(&server), [200, 200]);
    server.setup().set_listen(&listen("[]"));
    server.reload(&sites);
    assert_eq!(ask(&server), [302, 302]);
}

/// Behind a balancer with the PROXY protocol the visitor it tells of is the peer: trusted or not for itself.
#[test]
fn behind_a_balancer_it_is_the_visitor_who_is_trusted_or_not() {
    let upstream = Upstream::saying("served");
    let listen = "http = [\"127.0.0.1:0\"], https = [], proxy_protocol = [\"127.0.0.1\"], trusted_proxies = [\"10.0.0.0/8\", \"127.0.0.1\"]";
    let server = start(&upstream, listen);
    for (visitor, trusted) in [("10.1.2.3", true), ("203.0.113.7", false)] {
        let mut client = Client::http(server.http());
        client.send(format!(
            "PROXY TCP4 {visitor} 192.0.2.1 56324 80\r\nGET / HTTP/1.1\r\nHost: two.test\r\nX-Forwarded-For: 198.51.100.1\r\n\
             X-Forwarded-Host: two.test\r\nX-Forwarded-Proto: https\r\n\r\n"
        ));
        assert_eq!(client.response().text(), "served", "{visitor}");
        let request = upstream.requests().pop().expect("it was asked");
        let (chain, scheme) = match trusted {
            true => ("198.51.100.1, 10.1.2.3", "https"),
            false => ("203.0.113.7", "http"),
        };
        assert_eq!(request.field("x-forwarded-for"), Some(chain));
        assert_eq!(request.field("x-forwarded-proto"), Some(scheme));
    }
    // One that is only asked whether it lives is itself, and trusted by its own address.
    let mut client = Client::http(server.http());
    client.send("PROXY UNKNOWN\r\nGET / HTTP/1.1\r\nHost: two.test\r\nX-Forwarded-Proto: https\r\n\r\n");
    assert_eq!(client.response().text(), "served");
    assert_eq!(
        upstream
            .requests()
            .pop()
            .and_then(|seen| seen.field("x-forwarded-proto").map(str::to_owned))
            .as_deref(),
        Some("https")
    );
}
