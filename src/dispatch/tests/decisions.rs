//! Site, scheme and redirect, case by case.

use super::*;

struct Certificate(&'static [&'static str]);

impl Covers for Certificate {
    fn covers(&self, host: &[u8]) -> bool {
        self.0.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(host))
    }
}

fn ask<'a>(scheme: Scheme, authority: &'a str, method: &'a str, target: &'a str) -> Question<'a> {
    Question {
        scheme,
        handshake: None,
        authority: authority.as_bytes(),
        method: method.as_bytes(),
        target: target.as_bytes(),
    }
}

/// The decision in one line: `forward`, `not_found`, `refuse 421 no-https` or `301 https://…`.
fn answer(sites: &Sites, question: &Question<'_>) -> String {
    let decision = sites.decide(question);
    let explained = sites.explain(question);
    assert_eq!(explained.decision, decision, "explain decides the same");
    match decision.action {
        Action::Forward => "forward".into(),
        Action::NotFound => "not_found".into(),
        Action::Refuse(why) => format!("refuse {} {}", why.status(), why.reason()),
        Action::Redirect(redirect) => {
            let mut location = Vec::new();
            redirect.write_location(&mut location);
            format!("{} {}", redirect.status, String::from_utf8(location).expect("ASCII"))
        }
    }
}

fn compile(sites: Vec<SiteRules>) -> Sites {
    Sites::compile(sites, PORTS).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn four_rules() -> Rules {
    Rules::from([
        rule("https", vec![literal("https")], Some(Ssl::Https)),
        rule("http", vec![literal("http")], Some(Ssl::Http)),
        rule("any", vec![literal("any"), Element::Rest], Some(Ssl::Any)),
        rule("none", vec![literal("none")], None),
    ])
}

#[test]
fn wants_the_scheme_of_the_table() {
    // Rule's ssl; then neither, is_secure, is_ssl, is_ssl with is_secure.
    let table = [
        ("/https", ["https"; 4]),
        ("/http", ["http"; 4]),
        ("/any", ["as it came"; 4]),
        ("/any/x", ["as it came"; 4]),
        ("/none", ["http", "as it came", "https", "https"]),
        ("/no/rule", ["http", "as it came", "https", "https"]),
    ];
    let switches = [(false, false), (true, false), (false, true), (true, true)];
    for (column, (is_secure, is_ssl)) in switches.into_iter().enumerate() {
        let sites = compile(vec![SiteRules {
            is_secure,
            is_ssl,
            rules: four_rules(),
            ..site("a", &["example.com"])
        }]);
        for (target, row) in table {
            for came in [Scheme::Http, Scheme::Https] {
                let wanted = row[column];
                let expected = if wanted == "as it came" || wanted == came.as_str() {
                    "forward".to_owned()
                } else {
                    format!("302 {wanted}://example.com{target}")
                };
                let about = format!("{target} by {came:?}, is_secure {is_secure}, is_ssl {is_ssl}");
                assert_eq!(answer(&sites, &ask(came, "example.com", "GET", target)), expected, "{about}");
            }
        }
    }
}

#[test]
fn a_redirect_is_permanent_only_where_it_is_said() {
    let permanent = |is_permanent, is_ssl| {
        let aliases = vec!["www.example.com".to_owned()];
        let rules = four_rules();
        compile(vec![SiteRules { is_permanent, is_ssl, aliases, rules, ..site("a", &["example.com"]) }])
    };
    let (plain, permanent, all_ssl) =
        (permanent(false, false), permanent(true, false), permanent(true, true));
    let cases = [
        (&plain, Scheme::Http, "example.com", "GET", "/https", "302 https://example.com/https"),
        (&plain, Scheme::Http, "example.com", "POST", "/https", "307 https://example.com/https"),
        (&plain, Scheme::Https, "example.com", "HEAD", "/http", "302 http://example.com/http"),
        (&permanent, Scheme::Http, "example.com", "GET", "/https", "301 https://example.com/https"),
        (&permanent, Scheme::Http, "example.com", "POST", "/https", "308 https://example.com/https"),
        (&permanent, Scheme::Https, "example.com", "GET", "/http", "302 http://example.com/http"),
        (&permanent, Scheme::Https, "example.com", "DELETE", "/http", "307 http://example.com/http"),
        (&permanent, Scheme::Http, "example.com", "GET", "/none", "forward"),
        (&all_ssl, Scheme::Http, "example.com", "GET", "/none", "301 https://example.com/none"),
        (&all_ssl, Scheme::Http, "example.com", "GET", "/else", "301 https://example.com/else"),
        // Alias and scheme in one step, permanent because of the alias.
        (&plain, Scheme::Http, "www.example.com", "GET", "/https", "301 https://example.com/https"),
        (&plain, Scheme::Https, "WWW.Example.com.:443", "GET", "/http", "301 http://example.com/http"),
        (&plain, Scheme::Http, "www.example.com", "GET", "/any/x?y", "301 http://example.com/any/x?y"),
        (&plain, Scheme::Https, "www.example.com", "PUT", "/any/x?y", "308 https://example.com/any/x?y"),
        (&plain, Scheme::Http, "www.example.com", "OPTIONS", "*", "forward"),
    ];
    for (sites, scheme, host, method, target, expected) in cases {
        assert_eq!(
            answer(sites, &ask(scheme, host, method, target)),
            expected,
            "{scheme:?} {host} {method} {target}"
        );
    }
}

#[test]
fn an_alias_may_be_served() {
    let aliases = vec!["www.example.com".to_owned()];
    let sites = compile(vec![SiteRules {
        alias: Alias::Serve,
        aliases,
        rules: four_rules(),
        ..site("a", &["example.com"])
    }]);
    assert_eq!(answer(&sites, &ask(Scheme::Http, "www.example.com", "GET", "/any")), "forward");
    let wrong_scheme = ask(Scheme::Http, "WWW.example.com", "GET", "/https");
    assert_eq!(answer(&sites, &wrong_scheme), "302 https://www.example.com/https");
}

#[test]
fn a_site_may_answer_404_itself() {
    let aliases = vec!["www.example.com".to_owned()];
    let strict = SiteRules {
        unmatched: Unmatched::NotFound,
        is_ssl: true,
        aliases,
        rules: four_rules(),
        ..site("a", &["example.com"])
    };
    let sites = compile(vec![strict]);
    for (host, target, expected) in [
        ("example.com", "/else", "not_found"),
        ("example.com", "/none", "302 https://example.com/none"),
        ("example.com", "/any", "forward"),
        ("www.example.com", "/else", "301 http://example.com/else"),
    ] {
        assert_eq!(answer(&sites, &ask(Scheme::Http, host, "GET", target)), expected, "{host}{target}");
    }
}

#[test]
fn never_redirects_to_a_scheme_that_is_not_there() {
    let rules = four_rules();
    let no_https =
        compile(vec![SiteRules { ssl: false, is_ssl: true, rules, ..site("a", &["example.com"]) }]);
    for target in ["/https", "/none", "/else", "/any"] {
        assert_eq!(
            answer(&no_https, &ask(Scheme::Http, "example.com", "GET", target)),
            "forward",
            "{target}"
        );
    }
    let rules = || vec![SiteRules { rules: four_rules(), ..site("a", &["example.com"]) }];
    let http_only = Sites::compile(rules(), Ports { http: Some(80), https: None }).expect("compiles");
    assert_eq!(answer(&http_only, &ask(Scheme::Http, "example.com", "GET", "/https")), "forward");
    let https_only = Sites::compile(rules(), Ports { http: None, https: Some(443) }).expect("compiles");
    assert_eq!(answer(&https_only, &ask(Scheme::Https, "example.com", "GET", "/http")), "forward");
}

#[test]
fn writes_the_outside_port_unless_it_is_the_schemes_own() {
    let sites = |ports| {
        let aliases = vec!["www.example.com".to_owned()];
        Sites::compile(vec![SiteRules { aliases, rules: four_rules(), ..site("a", &["example.com"]) }], ports)
            .expect("compiles")
    };
    let odd = sites(Ports { http: Some(8080), https: Some(8443) });
    for (scheme, host, target, expected) in [
        (Scheme::Http, "example.com:8080", "/https", "302 https://example.com:8443/https"),
        (Scheme::Https, "example.com:8443", "/http", "302 http://example.com:8080/http"),
        (Scheme::Http, "www.example.com:8080", "/any", "301 http://example.com:8080/any"),
        (Scheme::Https, "www.example.com", "/any", "301 https://example.com:8443/any"),
    ] {
        assert_eq!(answer(&odd, &ask(scheme, host, "GET", target)), expected, "{host}{target}");
    }
    let crossed = sites(Ports { http: Some(443), https: Some(80) });
    let question = ask(Scheme::Http, "example.com", "GET", "/https");
    assert_eq!(answer(&crossed, &question), "302 https://example.com:80/https");
    let plain = sites(PORTS);
    let question = ask(Scheme::Http, "example.com:12345", "GET", "/https");
    assert_eq!(answer(&plain, &question), "302 https://example.com/https");
}

#[test]
fn finds_the_exact_host_then_the_longest_wildcard_then_the_fallback() {
    let sites = compile(vec![
        site("shop", &["shop.example.com", "*.shop.example.com"]),
        site("deep", &["*.deep.shop.example.com", "[2001:db8::1]"]),
        site("rest", &["*.example.com"]),
        site("all", &["all.example", "*"]),
    ]);
    for (host, expected, by) in [
        ("shop.example.com", "shop", FoundBy::Exact),
        ("SHOP.example.COM.", "shop", FoundBy::Exact),
        ("a.shop.example.com", "shop", FoundBy::Wildcard),
        ("a.b.shop.example.com", "shop", FoundBy::Wildcard),
        ("x.deep.shop.example.com", "deep", FoundBy::Wildcard),
        ("deep.shop.example.com", "shop", FoundBy::Wildcard),
        ("www.example.com", "rest", FoundBy::Wildcard),
        ("example.com", "all", FoundBy::Fallback),
        ("xexample.com", "all", FoundBy::Fallback),
        ("127.0.0.1", "all", FoundBy::Fallback),
        ("[2001:DB8:0::1]", "deep", FoundBy::Exact),
        ("[::1]", "all", FoundBy::Fallback),
    ] {
        let found = sites.find_claim(host.as_bytes()).expect(host);
        assert_eq!((sites.site(found.site).name(), found.by), (expected, by), "{host}");
    }
    assert_eq!(sites.find(&[b'a'; 256]), None);
    assert_eq!(sites.fallback(), sites.named("all"));
    assert_eq!(compile(vec![site("a", &["example.com"])]).find(b"other.example"), None);
}

#[test]
fn keeps_the_requested_host_at_wildcards_and_the_fallback() {
    let mut wild = site("wild", &["*.example.com", "*"]);
    wild.rules = four_rules();
    let mut named = site("named", &["first.example", "second.example"]);
    named.rules = four_rules();
    let sites = compile(vec![wild, named]);
    assert_eq!(sites.site(SiteId(0)).canonical_host(), None);
    for (host, expected) in [
        ("A.Example.com:81", "302 https://a.example.com/https"),
        ("elsewhere.test.", "302 https://elsewhere.test/https"),
        ("[::1]:80", "302 https://[::1]/https"),
        ("second.example", "302 https://second.example/https"),
    ] {
        assert_eq!(answer(&sites, &ask(Scheme::Http, host, "GET", "/https")), expected, "{host}");
    }
}

#[test]
fn refuses_hosts_that_are_none_or_nobodys() {
    let sites = compile(vec![site("a", &["example.com"])]);
    for (scheme, host, expected) in [
        (Scheme::Http, "other.example", "refuse 404 no-site"),
        (Scheme::Https, "other.example", "refuse 421 no-site"),
        // Nobody is asked for by HTTP/1.0, and there is no fallback site.
        (Scheme::Http, "", "refuse 404 no-site"),
        (Scheme::Https, "", "refuse 421 no-site"),
        (Scheme::Http, ":80", "refuse 400 host-empty"),
        (Scheme::Https, "a b", "refuse 400 host-byte"),
        (Scheme::Http, "example.com@evil.com", "refuse 400 host-byte"),
        (Scheme::Http, "example.com/evil", "refuse 400 host-byte"),
        (Scheme::Http, "example.com:x", "refuse 400 host-port"),
        (Scheme::Http, "example..com", "refuse 400 host-empty-label"),
        (Scheme::Http, "[::1", "refuse 400 host-address"),
    ] {
        assert_eq!(answer(&sites, &ask(scheme, host, "GET", "/")), expected, "{host}");
    }
}

#[test]
fn serves_another_site_on_a_connection_only_when_it_could_have_been_its_own() {
    let sites = compile(vec![
        site("first", &["first.example", "also.first.example"]),
        site("second", &["second.example"]),
        SiteRules { tls_policy: 1, ..site("strict", &["strict.example"]) },
        SiteRules { ssl: false, ..site("plain", &["plain.example"]) },
    ]);
    let certificate = Certificate(&["first.example", "second.example", "strict.example", "plain.example"]);
    let narrow = Certificate(&["first.example"]);
    for (covers, host, expected) in [
        (&certificate, "first.example", "forward"),
        (&narrow, "also.first.example", "forward"),
        (&certificate, "Second.Example.:443", "forward"),
        (&narrow, "second.example", "refuse 421 not-covered"),
        (&certificate, "strict.example", "refuse 421 other-tls-policy"),
        (&certificate, "plain.example", "refuse 421 no-https"),
        (&certificate, "nobody.example", "refuse 421 no-site"),
    ] {
        let handshake = Some(Handshake { site: Some(SiteId(0)), certificate: covers });
        let question = Question { handshake, ..ask(Scheme::Https, host, "GET", "/") };
        assert_eq!(answer(&sites, &question), expected, "{host}");
    }
    // A number of other sites than these is no site, and no policy equals its.
    let handshake = Some(Handshake { site: Some(SiteId(9)), certificate: &certificate });
    let question = Question { handshake, ..ask(Scheme::Https, "first.example", "GET", "/") };
    assert_eq!(answer(&sites, &question), "refuse 421 other-tls-policy");
}

#[test]
fn a_target_never_chooses_where_a_redirect_goes() {
    let sites = compile(vec![SiteRules { is_ssl: true, ..site("a", &["example.com"]) }]);
    for (target, expected) in [
        ("//evil.com", "302 https://example.com/evil.com"),
        ("///evil.com/..//x", "302 https://example.com/evil.com/..//x"),
        ("/\\evil.com", "302 https://example.com/\\evil.com"),
        ("/%0d%0aLocation:%20x", "302 https://example.com/%0d%0aLocation:%20x"),
        ("/@evil.com", "302 https://example.com/@evil.com"),
        ("/.evil.com", "302 https://example.com/.evil.com"),
        ("/a?next=//evil.com", "302 https://example.com/a?next=//evil.com"),
        ("/a#b", "302 https://example.com/a#b"),
        ("http://evil.com/", "refuse 400 bad-target"),
        ("evil.com", "refuse 400 bad-target"),
        (".evil.com/", "refuse 400 bad-target"),
        ("@evil.com/", "refuse 400 bad-target"),
        ("", "refuse 400 bad-target"),
        ("*", "refuse 400 bad-target"),
        ("?x", "refuse 400 bad-target"),
        ("/a\r\nLocation: x", "refuse 400 bad-target"),
        ("/a?b\nc", "refuse 400 bad-target"),
        ("/a b", "refuse 400 bad-target"),
        ("/a\t", "refuse 400 bad-target"),
        ("/\0", "refuse 400 bad-target"),
        ("/\x7f", "refuse 400 bad-target"),
    ] {
        assert_eq!(answer(&sites, &ask(Scheme::Http, "example.com", "GET", target)), expected, "{target:?}");
    }
    let long = "/a".repeat(40_000);
    assert_eq!(answer(&sites, &ask(Scheme::Http, "example.com", "GET", &long)), "refuse 414 target-too-long");
}

#[test]
fn says_everything_that_is_wrong() {
    let mut first = site("first", &["example.com", "*.example.com", "*"]);
    first.rules = Rules::from([
        rule("ok", vec![literal("a")], None),
        Rule { place: place(7), ..rule("bad", vec![variable("x"), pattern("id", "^[0-9")], None) },
        rule("big", vec![pattern("id", "((a{1000}){1000}){1000}")], None),
        rule("long", vec![literal(&"x".repeat(256))], None),
        rule("deep", vec![variable("x"); 61], None),
    ]);
    let mut second =
        site("second", &["EXAMPLE.com.", "*.example.com", "*", "example.com:80", "*x.com", "a b", "", "*."]);
    second.aliases = vec!["second.example".into(), "second.example".into()];
    let mut third = site("third", &["*.third.example"]);
    third.aliases = vec!["www.third.example".into()];
    let problems =
        Sites::compile(vec![first, second, third, site("fourth", &[])], PORTS).err().expect("problems");
    let twice =
        |host: &str, other: &str| RuleProblemKind::HostTwice { host: host.into(), other_site: other.into() };
    let bad = |host: &str| RuleProblemKind::BadHost { host: host.into() };
    let kinds: Vec<_> =
        problems.iter().map(|problem| (problem.site.as_str(), problem.kind.clone())).collect();
    let at = |start, end, kind| PatternProblem { start, end, kind };
    assert_eq!(
        kinds,
        [
            (
                "first",
                RuleProblemKind::Pattern {
                    element: 1,
                    pattern: "^[0-9".into(),
                    problem: at(1, 5, PatternProblemKind::Bracket),
                }
            ),
            (
                "first",
                RuleProblemKind::Pattern {
                    element: 0,
                    pattern: "((a{1000}){1000}){1000}".into(),
                    problem: at(0, 23, PatternProblemKind::TooBig),
                }
            ),
            ("first", RuleProblemKind::LiteralTooLong { element: 0 }),
            ("first", RuleProblemKind::TooManyElements),
            ("second", twice("EXAMPLE.com.", "first")),
            ("second", twice("*.example.com", "first")),
            ("second", twice("*", "first")),
            ("second", bad("example.com:80")),
            ("second", bad("*x.com")),
            ("second", bad("a b")),
            ("second", bad("")),
            ("second", bad("*.")),
            ("second", twice("second.example", "second")),
            ("third", RuleProblemKind::NoCanonicalHost),
            ("fourth", RuleProblemKind::NoHost),
        ]
    );
    assert_eq!(problems[0].rule, Some(("bad".into(), place(7))));
    assert_eq!(problems[4].rule, None);
}

#[test]
fn explains_each_rule_and_the_scheme() {
    let mut written = site("a", &["example.com"]);
    written.languages = vec!["en".into()];
    written.rules = Rules::from([
        rule("home", vec![], None),
        rule("long", vec![variable("a"), variable("b"), variable("c")], None),
        rule("other", vec![literal("x"), Element::Rest], None),
        rule("language", vec![Element::Language, Element::Rest], None),
        rule("number", vec![variable("a"), pattern("id", "^[0-9]+$")], None),
        Rule { place: place(6), ..rule("page", vec![literal("a b"), variable("id")], Some(Ssl::Https)) },
        rule("never", vec![Element::Rest], None),
    ]);
    let sites = compile(vec![written]);
    let explained = sites.explain(&ask(Scheme::Http, "EXAMPLE.com:80", "GET", "/en/a+b%20/../a%20b/%22?q"));
    assert_eq!(explained.host.as_deref(), Some("example.com"));
    assert_eq!(explained.found, Some(Found { site: SiteId(0), redirects: false, by: FoundBy::Exact }));
    assert_eq!(
        (explained.language_cut, explained.segments),
        (true, vec!["a b".to_owned(), "%22".to_owned()])
    );
    let outcomes: Vec<_> = explained.rules.iter().map(|tried| (tried.name.as_str(), tried.outcome)).collect();
    assert_eq!(
        outcomes,
        [
            ("home", Err(Mismatch::TooLong { segments: 2 })),
            ("long", Err(Mismatch::TooShort { element: 2 })),
            ("other", Err(Mismatch::Literal { element: 0 })),
            ("language", Err(Mismatch::Language { element: 0 })),
            ("number", Err(Mismatch::Pattern { element: 1 })),
            ("page", Ok(())),
        ]
    );
    assert_eq!(explained.rules[5].place, place(6));
    let by = WantedBy::Rule(Ssl::Https);
    assert_eq!(explained.wanted, Some(Wanted { scheme: Some(Scheme::Https), by, unavailable: false }));
    assert_eq!((explained.decision.site, explained.decision.rule), (Some(SiteId(0)), Some(RuleId(5))));
    assert!(matches!(explained.decision.action, Action::Redirect(_)));
}

#[test]
fn workers_share_the_sites() {
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<Sites>();
}

/// Extra slashes in front become one in a redirect, which is another path: where it leads is settled at once.
#[test]
fn slashes_in_front_cost_no_second_redirect() {
    let mut written = site("s", &["s.example"]);
    written.aliases = vec!["www.s.example".into()];
    written.rules = Rules::from([
        rule("odd-secure", vec![literal(""), literal("a")], Some(Ssl::Https)),
        rule("odd-any", vec![literal(""), literal("b")], Some(Ssl::Any)),
        rule("odd-plain", vec![literal(""), literal("c")], Some(Ssl::Http)),
        rule("a", vec![literal("a")], Some(Ssl::Http)),
        rule("b", vec![literal("b")], Some(Ssl::Https)),
        rule("c", vec![literal("c")], Some(Ssl::Any)),
    ]);
    let sites = Sites::compile(vec![written], PORTS).expect("sites");
    for (scheme, host, target, expected) in [
        (Scheme::Http, "s.example", "//a", Some("http://s.example/a")),
        (Scheme::Https, "s.example", "//a", None),
        (Scheme::Http, "www.s.example", "//b", Some("https://s.example/b")),
        (Scheme::Http, "s.example", "//b", None),
        (Scheme::Https, "s.example", "//c", Some("http://s.example/c")),
        (Scheme::Https, "www.s.example", "///c", Some("https://s.example/c")),
    ] {
        let question = |scheme, host: &'static str, target: &'static str| Question {
            scheme,
            handshake: None,
            authority: host.as_bytes(),
            method: b"GET",
            target: target.as_bytes(),
        };
        let location = match sites.decide(&question(scheme, host, target)).action {
            Action::Redirect(redirect) => {
                let again = question(redirect.scheme, "s.example", target.trim_start_matches('/'));
                let target = format!("/{}", String::from_utf8_lossy(again.target));
                let again = Question { target: target.as_bytes(), ..again };
                assert_eq!(sites.decide(&again).action, Action::Forward, "{target}");
                let mut location = Vec::new();
                redirect.write_location(&mut location);
                Some(String::from_utf8(location).expect("ASCII"))
            }
            _ => None,
        };
        assert_eq!(location.as_deref(), expected, "{host}{target}");
    }
}
