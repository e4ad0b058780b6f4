//! Whole logs against configurations held in memory.

use super::*;
use crate::cli::explain::tests::decider_of;

const OLD: &str = r#"
[listen]
http = ["127.0.0.1:8080"]
https = ["127.0.0.1:8443"]

[[site]]
name = "example"
hosts = ["example.com"]
upstream = ["http://127.0.0.1:8000"]
dispatch = [
  { name = "logon", path = "/logon" },
  { name = "page", path = "/page/{id}" },
]
"#;

fn sides(old: Option<&str>, new: &str) -> Sides {
    let new = decider_of(new);
    let old = old.map(|old| {
        let old = decider_of(old);
        let counterparts = Counterparts::new(&old, &new);
        (old, counterparts)
    });
    Sides { new, old }
}

fn line(request: &str) -> String {
    format!("192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] \"{request} HTTP/1.1\" 200 2326 \"-\" \"-\"\n")
}

const TOLD: Told<'_> = Told { scheme: Some(Scheme::Http), host: Some("example.com") };

fn outcome(sides: &Sides, told: Told<'_>, log: &str) -> Outcome {
    replay(sides, told, log.as_bytes()).expect("memory").expect("flags say it")
}

fn text(sides: &Sides, outcome: &Outcome) -> String {
    let mut out = Vec::new();
    outcome.write_text(sides, &mut out).expect("memory");
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn changes_are_grouped_the_most_frequent_first() {
    let new = OLD.replace("\"/logon\"", "\"/logon\", ssl = true").replace("unmatched", "");
    let new = new.replace("upstream", "unmatched = \"not_found\"\nupstream");
    let sides = sides(Some(OLD), &new);
    let mut log = String::new();
    for request in ["GET /other", "GET /logon", "GET /page/1", "POST /logon", "GET /logon?a", "-"] {
        log.push_str(&line(request));
    }
    log.push_str("hello\u{1b}[31m\n");
    let outcome = outcome(&sides, TOLD, &log);
    assert_eq!((outcome.requests, outcome.changed, outcome.unreadable), (5, 4, 2));
    let expected = "5 requests decided, 4 get something else, in 3 ways

        2  forward: site \"example\", rule \"logon\"
       →   redirect 302 to https at :8443: site \"example\", rule \"logon\"
           line 2: GET http://example.com/logon

        1  forward: site \"example\", no rule
       →   404 not found: site \"example\"
           line 1: GET http://example.com/other

        1  forward: site \"example\", rule \"logon\"
       →   redirect 307 to https at :8443: site \"example\", rule \"logon\"
           line 4: POST http://example.com/logon

2 lines without a request
           line 6: the client sent no request: 192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] \"- HTTP/1.1\" 200 2326 \"-\" \"-\"
           line 7: neither the combined format nor JSON: hello\u{fffd}[31m
";
    assert_eq!(text(&sides, &outcome), expected);
    let json = outcome.to_json();
    assert_eq!(json["changed"], 4);
    assert_eq!(json["groups"][0]["count"], 2);
    assert_eq!(json["groups"][0]["old"]["action"], "forward");
    assert_eq!(json["groups"][0]["new"]["location"], "https://example.com:8443/logon");
    assert_eq!(json["unreadable"]["first"][1]["line"], 7);
}

#[test]
fn what_the_visitor_does_not_see_is_no_change() {
    let renamed = OLD.replace("name = \"logon\"", "name = \"sign_in\"");
    let more = format!(
        "{OLD}\n[[site]]\nname = \"other\"\nhosts = [\"other.example\"]\nupstream = [\"http://127.0.0.1:1\"]\n"
    );
    for new in [OLD, &renamed, &more] {
        let sides = sides(Some(OLD), new);
        let log = line("GET /logon") + &line("GET /page/1") + &line("OPTIONS *");
        let outcome = outcome(&sides, TOLD, &log);
        assert_eq!(text(&sides, &outcome), "3 requests decided, nothing changes\n");
    }
}

#[test]
fn other_servers_and_another_site_are_changes() {
    let moved = sides(Some(OLD), &OLD.replace("127.0.0.1:8000", "127.0.0.1:9000"));
    let outcome = outcome(&moved, TOLD, &line("GET /page/1"));
    let text = text(&moved, &outcome);
    assert!(text.contains("rule \"page\", to http://127.0.0.1:8000\n"), "{text}");
    assert!(text.contains("rule \"page\", to http://127.0.0.1:9000\n"), "{text}");
    let renamed = sides(Some(OLD), &OLD.replace("name = \"example\"", "name = \"sample\""));
    assert_eq!(self::outcome(&renamed, TOLD, &line("GET /page/1")).changed, 1);
    let gone = sides(Some(OLD), &OLD.replace("\"example.com\"", "\"example.org\""));
    let outcome = self::outcome(&gone, TOLD, &line("GET /page/1"));
    assert!(self::text(&gone, &outcome).contains("→   refuse 404 no-site\n"));
}

#[test]
fn one_configuration_alone_is_summed_up() {
    let sides = sides(None, OLD);
    let log = line("GET /page/1") + &line("GET /page/2") + &line("GET /logon");
    let outcome = outcome(&sides, TOLD, &log);
    assert_eq!(outcome.changed, 0);
    let text = text(&sides, &outcome);
    assert!(
        text.starts_with("3 requests decided\n\n        2  forward: site \"example\", rule \"page\"\n"),
        "{text}"
    );
}

#[test]
fn the_line_is_believed_before_the_flags() {
    let sides = sides(None, OLD);
    let scheme = |front: &str| {
        let log = format!("{front} 192.0.2.1 - - [d] \"GET /page/1 HTTP/1.1\" 200 1\n");
        let outcome = outcome(&sides, TOLD, &log);
        let (_, group) = outcome.groups.sorted()[0];
        (group.example.scheme, group.example.host.clone())
    };
    // Ports of listeners, then those of the schemes, then the flag.
    assert_eq!(scheme("a.example:8443"), ("https", "a.example".to_owned()));
    assert_eq!(scheme("a.example:8080"), ("http", "a.example".to_owned()));
    assert_eq!(scheme("a.example:443"), ("https", "a.example".to_owned()));
    assert_eq!(scheme("a.example:9999"), ("http", "a.example".to_owned()));
    let json = r#"{"scheme":"https","host":"b.example","method":"GET","target":"/"}"#;
    let outcome = outcome(&sides, TOLD, json);
    let (_, group) = outcome.groups.sorted()[0];
    assert_eq!((group.example.scheme, group.example.host.as_str()), ("https", "b.example"));
}

#[test]
fn what_neither_line_nor_flag_says_is_asked_for() {
    let sides = sides(None, OLD);
    let ask = |told: Told<'_>, log: &str| {
        replay(&sides, told, log.as_bytes()).expect("memory").err().unwrap_or_default()
    };
    let log = line("GET /");
    assert!(ask(Told::default(), &log).contains("line 1 does not say the host: give it with --host"));
    let host = Told { host: Some("example.com"), scheme: None };
    assert!(ask(host, &log).contains("line 1 does not say the scheme"));
    assert_eq!(ask(TOLD, &log), "");
}
