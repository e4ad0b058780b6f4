//! Whole explanations of one configuration, held in memory.

use std::path::Path;

use super::account::{Account, Request, account, shake};
use super::decider::Decider;
use super::json::json;
use super::url::Url;
use crate::config::{self, FilesInMemory, Overrides};

const CONFIG: &str = r#"
state_directory = "/nonexistent"

[listen]
http = ["127.0.0.1:8080"]
https = ["127.0.0.1:8443"]
outside_http_port = 80

[[site]]
name = "example"
hosts = ["example.com", "*.shop.example.com"]
aliases = ["www.example.com"]
languages = ["en", "nl"]
upstream = ["http://127.0.0.1:8000", "unix:/run/example.sock"]
dispatch = [
  { name = "logon", path = "/logon", ssl = true },
  { name = "lib", path = "/lib/*", ssl = "any" },
  { name = "video", path = "/video/{id:^[0-9]+$}", ssl = false },
  { name = "page", path = ["page", "{id}", "{slug}"] },
]

[[site]]
name = "closed"
hosts = ["closed.example"]
unmatched = "not_found"
is_permanent = true
upstream = ["http://127.0.0.1:8001"]
dispatch = [{ name = "in", path = "/in", ssl = true }]

[[site]]
name = "plain"
hosts = ["plain.example"]
ssl = false
upstream = ["http://127.0.0.1:8002"]

[[site]]
name = "old"
hosts = ["old.example", "192.0.2.1", "a.shop.old.example"]
tls_versions = ["1.2"]
is_secure = false
upstream = ["http://127.0.0.1:8003"]
"#;

pub(in crate::cli) fn decider_of(text: &str) -> Decider {
    let mut files = FilesInMemory::default().with("site.toml", text);
    let config = config::read(Path::new("site.toml"), &mut files, &Overrides::default());
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    Decider::new(config).expect("it compiles")
}

pub(in crate::cli) fn decider() -> Decider {
    decider_of(CONFIG)
}

fn request(url: &str) -> Request {
    Request {
        url: Url::parse(url).expect(url),
        method: "GET".to_owned(),
        host: None,
        sni: None,
        peer: None,
        forwarded: Vec::new(),
    }
}

fn with<T>(decider: &Decider, request: &Request, see: impl FnOnce(&Account<'_>) -> T) -> T {
    let handshake = shake(decider, request);
    see(&account(decider, request, handshake.as_ref()))
}

#[track_caller]
fn says(request: &Request, parts: &[&str]) {
    let decider = decider();
    let text = with(&decider, request, |account| account.to_string());
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn every_step_is_told_with_its_place() {
    let decider = decider();
    let mut request = request("http://WWW.example.com/nl/video/abc?q=1");
    request.method = "POST".to_owned();
    let text = with(&decider, &request, |account| account.to_string());
    let expected = r#"request     POST http://WWW.example.com/nl/video/abc?q=1
listener    http 127.0.0.1:8080 (site.toml:5:9)
            reached by the outside port
host        www.example.com → site "example" (site.toml:9:1)
            by exact host in aliases (site.toml:12:12)
path        "video" "abc" (a language in front is cut)
rules       logon  /logon                site.toml:16:3: no: segment 1 is "video", not "logon"
            lib    /lib/*                site.toml:17:3: no: segment 1 is "video", not "lib"
            video  /video/{id:^[0-9]+$}  site.toml:18:3: no: segment 2, "abc", does not fit {id:^[0-9]+$}
            page   /page/{id}/{slug}     site.toml:19:3: no: segment 1 is "video", not "page"
            none matches
scheme      no rule matches, which counts as a rule without ssl, and the site has is_secure = true without is_ssl
            → as it came, http
settings    languages = ["en", "nl"] (site.toml:13:1)
            unmatched = "forward" (default)
            is_ssl = false (default)
            is_secure = true (default)
            alias = "redirect" (default)
            outside_http_port = 80 (site.toml:7:1)
decision    redirect 308 to http://example.com/nl/video/abc?q=1
            because the host is an alias
            permanent, as from every alias; POST stays POST
"#;
    assert_eq!(text, expected);
}

#[test]
fn a_redirect_is_told_with_its_reason() {
    says(
        &request("http://example.com/logon"),
        &[
            "logon  /logon  site.toml:16:3: matches",
            "the rule says ssl = true",
            "→ https",
            "outside_https_port = 8443 (default)",
            "redirect 302 to https://example.com:8443/logon",
            "because it came by http and belongs on https",
            "\n            temporary\n",
        ],
    );
    says(
        &request("http://closed.example/in"),
        &["is_permanent = true (site.toml:26:1)", "permanent: is_permanent"],
    );
    let of_old =
        "no rule matches, which counts as a rule without ssl, and the site has neither is_secure nor is_ssl";
    says(&request("https://old.example/"), &[of_old, "is_secure = false (site.toml:40:1)", "→ http\n"]);
}

#[test]
fn what_is_forwarded_names_its_servers_and_variables() {
    says(
        &request("https://a.shop.example.com:8443/page/1/%C3%A9"),
        &[
            "listener    https 127.0.0.1:8443",
            "asks for \"a.shop.example.com\" → site \"example\"",
            "certificate self_signed (site.toml:9:1): answers; made and kept by the server",
            "by longest wildcard \"*.shop.example.com\" in hosts (site.toml:11:25)",
            "variables   id = \"1\", slug = \"%C3%A9\"",
            "decision    forward",
            "upstream    http://127.0.0.1:8000 (site.toml:14:13)",
            "            unix:/run/example.sock (site.toml:14:38)",
            "            balance = \"round_robin\" (default)",
            "            no health_check: ",
        ],
    );
}

#[test]
fn how_servers_are_chosen_and_known_to_be_well_is_told() {
    let config = CONFIG.replace(
        "upstream = [\"http://127.0.0.1:8000\", \"unix:/run/example.sock\"]\n",
        "upstream = [{ url = \"http://127.0.0.1:8000\", weight = 3, proxy_protocol = \"v2\" }, \"unix:/run/example.sock\"]\n\
         balance = \"hash\"\nhealth_check = { path = \"/health\", interval = \"10s\" }\n",
    );
    let decider = decider_of(&config);
    let asked = request("http://example.com/page/1/a");
    let said = with(&decider, &asked, |account| account.to_string());
    for part in [
        "upstream    http://127.0.0.1:8000, weight 3, proxy_protocol = \"v2\" (site.toml:14:21)\n",
        "            unix:/run/example.sock, weight 1 (site.toml:14:",
        "            balance = \"hash\" (site.toml:15:1)\n",
        "            health_check = { path = \"/health\", host = \"example.com\", interval = \"10s\", timeout = \"2s\", \
         unhealthy_after = 3, healthy_after = 2 } (site.toml:16:1)\n",
    ] {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    let object = with(&decider, &asked, |account| json(account, &decider));
    assert_eq!(object["upstream"][0]["weight"], 3);
    assert_eq!(object["upstream"][1]["proxy_protocol"], "off");
    assert_eq!((&object["balance"]["value"], &object["balance"]["line"]), (&"hash".into(), &15.into()));
    assert_eq!(object["health_check"]["timeout"], "2s");
}

#[test]
fn a_handshake_that_fails_ends_it() {
    let fails = "no request is read: the handshake fails with unrecognized_name";
    says(&request("https://nobody.example/"), &["asks for \"nobody.example\": no site has it", fails]);
    says(
        &request("https://plain.example/"),
        &["site \"plain\" has no https, ssl = false (site.toml:33:1)", fails],
    );
    // Clients send no name for an address.
    says(&request("https://192.0.2.1/"), &["asks for no name", fails]);
}

#[test]
fn a_host_of_another_site_is_judged_by_certificate_and_policy() {
    let mut other = request("https://example.com/");
    other.host = Some("old.example".to_owned());
    says(&other, &["Host: old.example", "refuse 421 other-tls-policy", "not the site the handshake chose"]);
    other.host = Some("closed.example".to_owned());
    says(&other, &["refuse 421 not-covered", "taken to cover the site's hosts and aliases"]);
    other.host = Some("plain.example".to_owned());
    says(&other, &["refuse 421 no-https", "ssl = false (site.toml:33:1)"]);
    let mut named = request("https://closed.example/");
    named.sni = Some("example.com".to_owned());
    says(&named, &["asks for \"example.com\" → site \"example\"", "refuse 421 not-covered"]);
}

#[test]
fn what_is_refused_or_not_found_is_told_in_words() {
    says(&request("http://nobody.example/"), &["no site has it", "refuse 404 no-site"]);
    says(&request("http://a..b/"), &["\"a..b\" is no host", "refuse 400 host-empty-label"]);
    says(&request("http://example.com/a b"), &["refuse 400 bad-target"]);
    says(
        &request("http://closed.example/out"),
        &["unmatched = \"not_found\" (site.toml:25:1)", "404 not found: no rule matches"],
    );
    says(&request("http://example.com:99/"), &["no address has the port of this URL"]);
}

#[test]
fn json_says_the_same() {
    let decider = decider();
    let request = request("http://example.com/logon");
    let value = with(&decider, &request, |account| json(account, &decider));
    assert_eq!(value["decision"]["location"], "https://example.com:8443/logon");
    assert_eq!(value["decision"]["reason"], "scheme");
    assert_eq!(value["rules"][0]["line"], 16);
    assert_eq!(value["rules"][0]["matches"], true);
    assert_eq!(value["site"]["found_by"], "exact");
    assert_eq!(value["scheme"]["by"], "rule");
    assert_eq!(value["listener"]["address"], "127.0.0.1:8080");
    let request = self::request("https://plain.example/");
    let value = with(&decider, &request, |account| json(account, &decider));
    assert_eq!(value["handshake"]["fails"], "no-https");
    assert_eq!(value["decision"]["reason"], "unrecognized-name");
}

#[test]
fn a_port_the_system_chooses_is_said_to_be_one() {
    let decider = decider_of(&CONFIG.replace("127.0.0.1:8443", "127.0.0.1:0"));
    let text = with(&decider, &request("http://example.com/logon"), |account| account.to_string());
    for part in [
        "https://example.com:0/logon",
        "port 0 stands for",
        "outside_https_port = the one the system chooses",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

fn header(text: &str) -> super::url::Header {
    super::url::Header::parse(text).expect(text)
}

#[test]
fn the_word_of_a_trusted_peer_decides() {
    let config = CONFIG
        .replace("outside_http_port = 80\n", "outside_http_port = 80\ntrusted_proxies = [\"10.0.0.0/8\"]\n");
    let decider = decider_of(&config);
    let text = |request: &Request| with(&decider, request, |account| account.to_string());
    let mut asked = request("http://inside:8080/logon");
    asked.peer = "10.1.2.3".parse().ok();
    asked.forwarded = vec![header("X-Forwarded-Proto: https"), header("x-forwarded-host: example.com")];
    let said = text(&asked);
    for part in [
        "peer        10.1.2.3 is in trusted_proxies (site.toml:8:1)",
        "→ the visitor came by https and asked for example.com",
        "example.com → site \"example\"",
        "→ https, as it came",
        "decision    forward",
    ] {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    let object = with(&decider, &asked, |account| json(account, &decider));
    assert_eq!(object["peer"]["trusted"], true);
    assert_eq!(object["request"]["scheme"], "https");
    assert_eq!(object["decision"]["rule"], "logon");

    asked.forwarded.push(header("Forwarded: proto=http"));
    assert!(text(&asked).contains("decision    refuse 400 forwarded_conflict"), "{}", text(&asked));
    asked.peer = "192.0.2.1".parse().ok();
    let said = text(&asked);
    assert!(said.contains("192.0.2.1 is not in trusted_proxies"), "{said}");
    assert!(said.contains("inside: no site has it"), "{said}");
}

#[test]
fn the_target_that_is_forwarded_is_shown_where_it_is_another_one() {
    let config = CONFIG.replace("name = \"closed\"\n", "name = \"closed\"\npath_reading = \"normalized\"\n");
    let decider = decider_of(&config.replace("unmatched = \"not_found\"\n", ""));
    let asked = request("http://closed.example:8080/a/../%62+%20?c=+");
    let said = with(&decider, &asked, |account| account.to_string());
    assert!(said.contains("path_reading = \"normalized\" (site.toml:"), "{said}");
    assert!(said.contains("\n            as /b%20%20?c=+\n"), "{said}");
    let object = with(&decider, &asked, |account| json(account, &decider));
    assert_eq!(object["forwarded_target"], "/b%20%20?c=+");
}
