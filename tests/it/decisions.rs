//! HTTP, HTTPS or either: what rules and switches decide, seen from outside.

use crate::harness::{Client, End, Server, Setup, Tls, Upstream, response_with, site};

const RULES: &str = r#"dispatch = [
  { name = "true",  path = "/true/*",  ssl = true },
  { name = "false", path = "/false/*", ssl = false },
  { name = "any",   path = "/any/*",   ssl = "any" },
  { name = "keep",  path = "/keep/*",  ssl = "keep" },
  { name = "unset", path = "/unset/*" },
]
"#;

fn connect(server: &Server, scheme: &str, name: &str) -> Client {
    match scheme {
        "http" => Client::http(server.http()),
        _ => Client::https(server.https(), name),
    }
}

/// The scheme the answer is served by or redirected to.
fn lands_on(server: &Server, scheme: &'static str, host: &str, target: &str) -> &'static str {
    let answer = connect(server, scheme, host).get(host, target);
    let other = if scheme == "http" { "https" } else { "http" };
    match answer.status() {
        200 => scheme,
        302 => {
            let port = if other == "http" { server.http().port() } else { server.https().port() };
            let expected = format!("{other}://{host}:{port}{target}");
            assert_eq!(answer.field("location"), Some(expected.as_str()));
            other
        }
        status => panic!("{status} for {scheme}://{host}{target}"),
    }
}

#[test]
fn rules_and_switches_decide_the_scheme() {
    let upstream = Upstream::saying("served");
    let neither = site("neither", &["neither.test"], &upstream) + "is_secure = false\n" + RULES;
    let secure = site("secure", &["secure.test"], &upstream) + RULES;
    let ssl = site("ssl", &["ssl.test"], &upstream) + "is_ssl = true\n" + RULES;
    let server = Server::start(&(neither + &secure + &ssl));
    // Rule; then where http and https land for: neither, is_secure, is_ssl.
    let table = [
        ("true", ["https", "https"], ["https", "https"], ["https", "https"]),
        ("false", ["http", "http"], ["http", "http"], ["http", "http"]),
        ("any", ["http", "https"], ["http", "https"], ["http", "https"]),
        ("keep", ["http", "https"], ["http", "https"], ["http", "https"]),
        ("unset", ["http", "http"], ["http", "https"], ["https", "https"]),
        ("matched-by-no-rule", ["http", "http"], ["http", "https"], ["https", "https"]),
    ];
    for (rule, neither, secure, ssl) in table {
        for (host, expected) in [("neither.test", neither), ("secure.test", secure), ("ssl.test", ssl)] {
            for (scheme, expected) in ["http", "https"].into_iter().zip(expected) {
                let landed = lands_on(&server, scheme, host, &format!("/{rule}/x?a=1&b=%20"));
                assert_eq!(landed, expected, "{rule} {host} {scheme}");
            }
        }
    }
}

#[test]
fn the_status_says_whether_the_method_may_change_and_for_how_long() {
    let upstream = Upstream::saying("served");
    let brief = site("brief", &["brief.test"], &upstream) + RULES;
    let permanent = site("permanent", &["permanent.test"], &upstream)
        + "is_permanent = true\naliases = [\"alias.test\"]\n"
        + RULES;
    let server = Server::start(&(brief + &permanent));
    for (host, scheme, rule, method, expected) in [
        ("brief.test", "http", "true", "GET", 302),
        ("brief.test", "http", "true", "HEAD", 302),
        ("brief.test", "http", "true", "POST", 307),
        ("brief.test", "http", "true", "PUT", 307),
        ("brief.test", "https", "false", "DELETE", 307),
        ("permanent.test", "http", "true", "GET", 301),
        ("permanent.test", "http", "true", "POST", 308),
        // The way back to http is never remembered.
        ("permanent.test", "https", "false", "GET", 302),
        ("permanent.test", "https", "false", "POST", 307),
        ("alias.test", "http", "any", "GET", 301),
        ("alias.test", "http", "any", "PATCH", 308),
    ] {
        let mut client = connect(&server, scheme, host);
        client.send(format!("{method} /{rule}/x HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let redirect = client.response_to(method);
        assert_eq!(redirect.status(), expected, "{method} {scheme}://{host}/{rule}");
        assert!(redirect.field("location").is_some());
        client.send(format!("GET /any/x HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let next = client.response();
        assert!(matches!(next.status(), 200 | 301), "the connection stays usable");
    }
}

#[test]
fn alias_and_scheme_are_settled_in_one_redirect() {
    let upstream = Upstream::saying("served");
    let server =
        Server::start(&(site("one", &["one.test"], &upstream) + "aliases = [\"www.one.test\"]\n" + RULES));
    let redirect = Client::http(server.http()).get("www.one.test", "/true/x");
    let expected = format!("https://one.test:{}/true/x", server.https().port());
    assert_eq!((redirect.status(), redirect.field("location")), (301, Some(expected.as_str())));
}

#[test]
fn redirects_name_the_ports_visitors_see() {
    let upstream = Upstream::saying("served");
    let sites = site("one", &["one.test"], &upstream) + RULES;
    let listen = "http = [\"127.0.0.1:0\"], https = [\"127.0.0.1:0\"], outside_http_port = 8000, outside_https_port = 443";
    let server = Setup::new(&sites).listen(listen).start();
    let redirect = Client::http(server.http()).get("one.test", "/true/x");
    assert_eq!(redirect.field("location"), Some("https://one.test/true/x"));
    let redirect = Client::https(server.https(), "one.test").get("one.test", "/false/x");
    assert_eq!(redirect.field("location"), Some("http://one.test:8000/false/x"));
}

#[test]
fn a_redirect_never_leads_to_another_host() {
    let upstream = Upstream::saying("served");
    let server = Server::start(&(site("one", &["one.test", "*"], &upstream) + "is_ssl = true\n"));
    for target in ["//evil.test/x", "///evil.test", "/\\evil.test", "//evil.test/../true"] {
        let redirect = Client::http(server.http()).get("one.test", target);
        if redirect.status() == 400 {
            continue;
        }
        let location = redirect.field("location").expect("a redirect").to_owned();
        let origin = format!("https://one.test:{}/", server.https().port());
        let path = location.strip_prefix(&origin).unwrap_or_else(|| panic!("{location}"));
        assert!(!path.starts_with('/'), "{location}");
    }
    let redirect = Client::http(server.http()).get("evil.test@one.test", "/");
    assert_eq!(redirect.status(), 400);
}

#[test]
fn a_path_no_rule_matches_may_be_not_found() {
    let upstream = Upstream::saying("served");
    let server =
        Server::start(&(site("one", &["one.test"], &upstream) + "unmatched = \"not_found\"\n" + RULES));
    let mut client = Client::http(server.http());
    assert_eq!(client.get("one.test", "/nowhere").status(), 404);
    assert_eq!(client.get("one.test", "/any/x").text(), "served");
    assert_eq!(upstream.only_request().target(), "/any/x");
}

#[test]
fn the_redirect_of_a_post_comes_before_its_body_and_the_connection_stays_usable() {
    let upstream = Upstream::saying("served");
    let server = Server::start(&(site("one", &["one.test"], &upstream) + RULES));
    let mut client = Client::http(server.http());
    client.send("POST /true/x HTTP/1.1\r\nHost: one.test\r\nContent-Length: 10\r\n\r\n");
    let redirect = client.response();
    assert_eq!(redirect.status(), 307);
    assert!(!redirect.closes());
    // The body, then the next request, in pieces that do not end where they do.
    client.send("01234");
    client.send("56789GET /any/x HT");
    client.send("TP/1.1\r\nHost: one.test\r\n\r\n");
    assert_eq!(client.response().text(), "served");
    assert_eq!(upstream.only_request().method(), "GET");
}

#[test]
fn the_redirect_of_an_upload_closes_the_connection() {
    let upstream = Upstream::saying("served");
    let server = Server::start(&(site("one", &["one.test"], &upstream) + RULES));
    for framing in [
        "Content-Length: 100000000",
        "Transfer-Encoding: chunked",
        "Expect: 100-continue\r\nContent-Length: 10",
    ] {
        let mut client = Client::http(server.http());
        client.send(format!("POST /true/x HTTP/1.1\r\nHost: one.test\r\n{framing}\r\n\r\n"));
        let redirect = client.response();
        assert_eq!(redirect.status(), 307, "{framing}");
        assert!(redirect.closes(), "{framing}");
        assert_eq!(client.end(), End::Clean, "{framing}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_large_body_that_is_refused_does_not_hide_the_answer() {
    let upstream = Upstream::saying("served");
    let server = Server::start(&(site("one", &["one.test"], &upstream) + RULES));
    let mut client = Client::http(server.http());
    let mut request = b"POST /true/x HTTP/1.1\r\nHost: one.test\r\nContent-Length: 300000\r\n\r\n".to_vec();
    request.resize(request.len() + 300_000, b'x');
    client.send(&request);
    client.finish();
    assert_eq!(client.response().status(), 307);
    assert_eq!(client.end(), End::Clean);
}

#[test]
fn hsts_is_sent_over_https_alone() {
    let upstream = Upstream::saying("served");
    let server = Server::start(
        &(site("one", &["one.test"], &upstream)
            + "hsts = { max_age = \"1d\", include_subdomains = true }\nis_ssl = true\n\
               dispatch = [{ name = \"any\", path = \"/any\", ssl = \"any\" }]\n"),
    );
    let page = Client::https(server.https(), "one.test").get("one.test", "/");
    assert_eq!(page.field("strict-transport-security"), Some("max-age=86400; includeSubDomains"));
    let mut client = Client::http(server.http());
    assert_eq!(client.get("one.test", "/").field("strict-transport-security"), None);
    assert_eq!(client.get("one.test", "/any").field("strict-transport-security"), None);
}

#[test]
fn session_cookies_gain_secure_over_https() {
    let upstream = Upstream::script(|peer| {
        while peer.request()?.is_some() {
            let mut response = response_with(b"served");
            let at = response.len() - "\r\n\r\nserved".len();
            let cookies = "\r\nSet-Cookie: z_sid=1; Path=/; HttpOnly\r\nSet-Cookie: other=2; Path=/";
            response.splice(at..at, cookies.bytes());
            peer.send(&response)?;
        }
        Ok(())
    });
    let server = Server::start(&(site("one", &["one.test"], &upstream) + "session_cookies = [\"z_sid\"]\n"));
    let mut secure = Tls::new().sni("one.test").connect(server.https()).expect("a handshake");
    let page = secure.get("one.test", "/");
    assert_eq!(page.all("set-cookie"), ["z_sid=1; Path=/; HttpOnly; Secure", "other=2; Path=/"]);
    let page = Client::http(server.http()).get("one.test", "/");
    assert_eq!(page.all("set-cookie"), ["z_sid=1; Path=/; HttpOnly", "other=2; Path=/"]);
}

#[test]
fn the_site_server_gets_the_path_as_received_or_as_rules_read_it() {
    let upstream = Upstream::saying("served");
    let raw = site("raw", &["raw.test"], &upstream) + RULES;
    let normalized =
        site("normalized", &["normalized.test"], &upstream) + "path_reading = \"normalized\"\n" + RULES;
    let server = Server::start(&(raw + &normalized));
    let mut client = Client::http(server.http());
    for (target, read) in [
        ("/any/x", "/any/x"),
        ("/any/%7ex/../%2e%2e/y+z%20?q=/../%7e", "/any/%2E%2E/y%20z%20?q=/../%7e"),
        ("/true/../any/caf%c3%a9//", "/any/caf%C3%A9//"),
        ("http://normalized.test/any/%61", "/any/a"),
    ] {
        for (host, expected) in [("raw.test", target), ("normalized.test", read)] {
            let target = target.replace("normalized.test", host);
            assert_eq!(client.get(host, &target).status(), 200, "{host} {target}");
            let seen = upstream.requests().pop().expect("a request");
            assert_eq!(
                seen.target(),
                expected.trim_start_matches("http://normalized.test"),
                "{host} {target}"
            );
        }
    }
    client.send("OPTIONS * HTTP/1.1\r\nHost: normalized.test\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    assert_eq!(upstream.requests().pop().expect("a request").target(), "*");
    // Redirects have the target as it was asked for.
    let redirect = client.get("normalized.test", "/any/../%74rue/x");
    let expected = format!("https://normalized.test:{}/any/../%74rue/x", server.https().port());
    assert_eq!(redirect.field("location"), Some(expected.as_str()));
}

#[test]
fn hsts_comes_with_answers_of_ours_too() {
    let upstream = Upstream::script(|_| Ok(()));
    let keys = "aliases = [\"www.one.test\"]\nhsts = { max_age = \"1d\" }\nrequest_body_bytes = \"1B\"\n\
                unmatched = \"not_found\"\ndispatch = [{ name = \"any\", path = \"/any\", ssl = \"any\" }]\n";
    let server = Server::start(&(site("one", &["one.test"], &upstream) + keys));
    let get = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let post = "POST /any HTTP/1.1\r\nHost: one.test\r\nContent-Length: 2\r\n\r\nxx".to_owned();
    for (request, status) in [
        (get("/any", "www.one.test"), 301),
        (get("/nowhere", "one.test"), 404),
        (get("/any", "one.test"), 502),
        (post, 413),
    ] {
        for (scheme, expected) in [("https", Some("max-age=86400")), ("http", None)] {
            let mut client = connect(&server, scheme, "one.test");
            client.send(&request);
            let answer = client.response();
            assert_eq!(answer.status(), status, "{request}");
            assert_eq!(answer.field("strict-transport-security"), expected, "{scheme} {request}");
        }
    }
    let misdirected = connect(&server, "https", "one.test").get("nobody.test", "/any");
    assert_eq!((misdirected.status(), misdirected.field("strict-transport-security")), (421, None));
}
