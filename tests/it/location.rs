//! `Location` of site servers, as visitors get it.

use crate::harness::{Client, Server, Setup, Upstream};

const RULES: &str = "dispatch = [{ name = \"logon\", path = \"/logon\", ssl = true }, { name = \"any\", path = \"/*\", ssl = \"any\" }]\n";

fn redirecting(location: &str) -> Upstream {
    Upstream::answering(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"))
}

#[test]
fn inside_addresses_are_mended() {
    // A site server that names its own address, which it only knows when it is asked.
    let upstream = Upstream::script(|peer| {
        while peer.request()?.is_some() {
            let own = peer.own_address();
            peer.send(
                format!("HTTP/1.1 302 Found\r\nLocation: http://{own}/page?x=1\r\nContent-Length: 0\r\n\r\n")
                    .as_bytes(),
            )?;
        }
        Ok(())
    });
    let server = Server::start(&(crate::harness::site("one", &["one.test", "two.test"], &upstream) + RULES));
    let (http, https) = (server.http().port(), server.https().port());
    for host in ["one.test", "two.test"] {
        let response = Client::http(server.http()).get(host, "/");
        assert_eq!(response.field("location"), Some(format!("http://{host}:{http}/page?x=1").as_str()));
        let response = Client::https(server.https(), host).get(host, "/");
        assert_eq!(response.field("location"), Some(format!("https://{host}:{https}/page?x=1").as_str()));
    }
    let off = crate::harness::site("one", &["one.test"], &upstream) + "rewrite_location = false\n";
    let server = Server::start(&off);
    let response = Client::http(server.http()).get("one.test", "/");
    assert!(response.field("location").is_some_and(|location| location.starts_with("http://127.0.0.1:")));
}

#[test]
fn the_scheme_is_the_one_the_rules_want() {
    let upstream = redirecting("http://one.test/logon");
    let server = Setup::new(&(crate::harness::site("one", &["one.test"], &upstream) + RULES))
        .listen("http = [\"127.0.0.1:0\"], https = [\"127.0.0.1:0\"], outside_http_port = 80, outside_https_port = 443")
        .start();
    for mut client in [Client::http(server.http()), Client::https(server.https(), "one.test")] {
        let response = client.get("one.test", "/");
        assert_eq!(response.field("location"), Some("https://one.test/logon"));
    }
}

#[test]
fn other_places_stay_as_they_are() {
    for location in ["/page", "https://elsewhere.test/", "http://127.0.0.1:1/", "page?x#y"] {
        let upstream = redirecting(location);
        let server = Server::start(&(crate::harness::site("one", &["one.test"], &upstream) + RULES));
        let response = Client::http(server.http()).get("one.test", "/");
        assert_eq!(response.field("location"), Some(location));
    }
}
