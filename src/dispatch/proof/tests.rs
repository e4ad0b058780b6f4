//! The proof against a brute-force reading of small rule sets, and what is said about sites.

use proptest::prelude::*;

use super::super::path::Room;
use super::super::site::{Ports, SiteRules};
use super::super::tests::{PORTS, literal, pattern, place, rule, site, variable};
use super::*;

fn compiled(written: SiteRules) -> Sites {
    Sites::compile(vec![written], PORTS).expect("sites")
}

/// The outcome for each rule, its path in the string form.
fn reaches(languages: &[&str], paths: &[&str]) -> Vec<Reach> {
    let mut written = site("s", &["s.example"]);
    written.languages = languages.iter().map(|code| (*code).to_owned()).collect();
    let parse = |path: &&str| super::super::written_path::parse_path(path).expect("a path");
    written.rules = paths.iter().map(|path| rule(path, parse(path), None)).collect();
    let sites = compiled(written);
    reach(sites.site(SiteId(0)))
}

/// Whether the last rule is shadowed, and by which.
#[track_caller]
fn last(languages: &[&str], paths: &[&str], by: Option<&[u32]>) {
    let found = reaches(languages, paths).pop().expect("a rule");
    let found = match found {
        Reach::Shadowed { by } => Some(by.into_iter().map(|rule| rule.0).collect::<Vec<_>>()),
        Reach::Live { .. } => None,
        Reach::Unknown => panic!("undecided: {paths:?}"),
    };
    assert_eq!(found.as_deref(), by, "{languages:?} {paths:?}");
}

#[test]
fn finds_rules_that_can_never_match() {
    last(&[], &["/a", "/a"], Some(&[0]));
    last(&[], &["/{x}", "/a"], Some(&[0]));
    last(&[], &["/a", "/{x}"], None);
    last(&[], &["/*", "/"], Some(&[0]));
    last(&[], &["/*", "/{x}/*"], Some(&[0]));
    last(&[], &["/{x}/*", "/*"], None);
    last(&[], &["/", "/{x}/*", "/*"], Some(&[0, 1]));
    last(&[], &["/", "/x/*", "/{x}/*", "/*"], Some(&[0, 2]));
    last(&[], &["/a", "/a/{x}/*", "/a/*"], Some(&[0, 1]));
    last(&[], &["/a", "/a/{x}", "/a/*"], None);
    last(&[], &["/*/a", "/{x}/a"], Some(&[0]));
    last(&[], &["/*/a", "/b/{x}"], None);
    last(&[], &["/a/*", "/a"], Some(&[0]));
    last(&[], &["//", "/{x}"], None);
    last(&[], &["/x", "/x1", "/{x}"], None);
}

#[test]
fn knows_what_languages_take() {
    last(&["en", "nl"], &["/en", "/{z_language}"], None);
    last(&["en", "nl"], &["/en", "/nl", "/{z_language}"], Some(&[0, 1]));
    last(&["en", "nl"], &["/{z_language}", "/nl"], Some(&[0]));
    last(&["en", "nl"], &["/{z_language}", "/de"], None);
    last(&["en", "nl"], &["/en/*", "/nl/{x}/*", "/{z_language}/*"], Some(&[0, 1]));
    last(&["en", "nl"], &["/{z_language}/{x}/*", "/en/*"], None);
    // With a language in it a final star takes one segment at least.
    last(&["en"], &["/{z_language}/*", "/en"], None);
    last(&["en"], &["/{z_language}/*", "/en/{x}"], Some(&[0]));
    last(&["en", "nl"], &["/en/{x}", "/{x}/en", "/nl/nl", "/{z_language}/{z_language}"], Some(&[0, 1, 2]));
    last(&["en", "nl"], &["/en/{x}", "/nl/nl", "/{z_language}/{z_language}"], None);
    // Those of ISO 639-1.
    last(&[], &["/{z_language}", "/nl"], Some(&[0]));
    last(&[], &["/{z_language}", "/zz"], None);
}

#[test]
fn asks_regular_expressions_only_what_they_can_tell() {
    last(&[], &["/{id:^[0-9]+$}", "/12"], Some(&[0]));
    last(&[], &["/{id:^[0-9]+$}", "/x"], None);
    last(&[], &["/{id:^[0-9]+$}", "/{other:^[0-9]+$}"], Some(&[0]));
    last(&[], &["/{x}", "/{id:^[0-9]+$}"], Some(&[0]));
    last(&[], &["/{id:^[0-9]+$}", "/{x}"], None);
    last(&[], &["/{id:^[0-9]+$}/*", "/12/*"], None);
    last(&[], &["/12", "/{id:^[0-9]+$}/*", "/12/*"], Some(&[0, 1]));
    last(&["en", "nl"], &["/{id:^..$}", "/{z_language}"], Some(&[0]));
    last(&["en", "nl"], &["/{id:n}", "/{z_language}"], Some(&[0]));
    last(&["en", "nl"], &["/{id:e}", "/{z_language}"], None);
    last(&[], &["/{id:()}", "/a"], Some(&[0]));
    // Certain to a reader, not to the proof.
    assert_eq!(reaches(&[], &["/{id:()}", "/{x}"])[1], Reach::Unknown);
    assert_eq!(reaches(&[], &["/{id:^[0-9]$}", "/{id:^[0-9]{1}$}"])[1], Reach::Unknown);
}

#[test]
fn gives_a_target_that_leads_to_the_rule() {
    let found = reaches(
        &["en"],
        &["/", "/a", "//", "/en/x", "/en", "/{x}/..", "/a%2Fb", "/%FF", "/v/{id:^[0-9]+$}", "/v/*"],
    );
    let targets: Vec<_> = found
        .iter()
        .map(|reach| match reach {
            Reach::Live { target } => String::from_utf8_lossy(target).into_owned(),
            _ => panic!("{reach:?}"),
        })
        .collect();
    let expected = ["/", "/a", "//", "/en/en/x", "/en", "/x1/%2E%2E", "/a%2Fb", "/%FF", "/v/1", "/v"];
    assert_eq!(targets, expected);
}

/// Whether the rule takes the segments, read from product.md's words and nothing else of ours.
fn takes(path: &[Element], segments: &[&str], languages: &[String], minimum: bool) -> bool {
    match (path, segments) {
        ([], []) => true,
        ([Element::Rest], rest) => !(minimum && rest.is_empty()),
        ([element, path @ ..], [segment, segments @ ..]) => {
            let fits = match element {
                Element::Literal(text) => text == segment.as_bytes(),
                Element::Variable(_) | Element::Rest => true,
                Element::Language => languages.iter().any(|code| code == segment),
                Element::Pattern { pattern, .. } => match pattern.as_str() {
                    "^[ab]$" => matches!(*segment, "a" | "b"),
                    "a" => segment.contains('a'),
                    "n" => segment.contains('n'),
                    other => panic!("no reading for {other}"),
                },
            };
            fits && takes(path, segments, languages, minimum)
        }
        _ => false,
    }
}

fn first(rules: &[Rule], segments: &[&str], languages: &[String]) -> Option<usize> {
    rules.iter().position(|rule| {
        let minimum =
            rule.path.iter().any(|element| matches!(element, Element::Pattern { .. } | Element::Language));
        takes(&rule.path, segments, languages, minimum)
    })
}

/// Every path of up to four segments over all texts in use and one that no rule knows.
fn all_paths() -> Vec<Vec<&'static str>> {
    let alphabet = ["a", "b", "", "en", "nl", "?"];
    let mut paths = vec![vec![]];
    let mut from = 0;
    for _ in 0..4 {
        let to = paths.len();
        for index in from..to {
            for text in alphabet {
                let mut longer = paths[index].clone();
                longer.push(text);
                paths.push(longer);
            }
        }
        from = to;
    }
    paths
}

fn any_path(patterns: bool) -> impl Strategy<Value = Vec<Element>> {
    let element = prop_oneof![
        4 => prop_oneof![Just("a"), Just("b"), Just(""), Just("en"), Just("nl")].prop_map(literal),
        3 => Just(variable("x")),
        2 => Just(Element::Rest),
        2 => Just(Element::Language),
        if patterns { 3 } else { 0 } => prop_oneof![Just("^[ab]$"), Just("a"), Just("n")].prop_map(|text| pattern("p", text)),
    ];
    proptest::collection::vec(element, 0..4)
}

/// What the proof says of random rules, held against every path.
fn holds(paths: Vec<Vec<Element>>, languages: usize, exact: bool) {
    let mut written = site("s", &["s.example"]);
    written.languages = ["en", "nl"].iter().take(languages).map(|code| (*code).to_owned()).collect();
    written.rules = paths.into_iter().map(|path| rule("r", path, None)).collect();
    let (rules, languages) = (written.rules.iter().collect::<Vec<_>>(), written.languages.clone());
    let sites = compiled(written);
    let site = sites.site(SiteId(0));
    let found = reach(site);
    let mut reached = vec![None; rules.len()];
    for path in all_paths() {
        if let Some(index) = first(&rules, &path, &languages) {
            reached[index].get_or_insert(path);
        }
    }
    for (index, reach) in found.iter().enumerate() {
        match reach {
            Reach::Shadowed { by } => {
                assert_eq!(reached[index], None, "rule {index} of {rules:?}");
                assert!(by.iter().all(|by| by.index() < index) && by.is_sorted() && !by.is_empty());
                // The named rules alone do it, and none of them is idle.
                let alone = |skipped: Option<RuleId>| {
                    let kept: Vec<_> = by
                        .iter()
                        .filter(|&&by| Some(by) != skipped)
                        .map(|by| rules[by.index()].clone())
                        .collect();
                    all_paths().iter().all(|path| {
                        first(std::slice::from_ref(&rules[index]), path, &languages).is_none()
                            || first(&kept, path, &languages).is_some()
                    })
                };
                assert!(alone(None), "{by:?} do not cover rule {index} of {rules:?}");
                if exact {
                    assert!(
                        by.iter().all(|&by| !alone(Some(by))),
                        "{by:?} is more than needed for {index} of {rules:?}"
                    );
                }
            }
            Reach::Live { target } => {
                let mut room = Room::new();
                let reading = site.read(target, &mut room).expect("a target");
                assert_eq!(site.table.first_match(&reading), Some(index), "rule {index} of {rules:?}");
            }
            Reach::Unknown => assert!(!exact, "rule {index} of {rules:?} is undecided"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn is_exact_without_regular_expressions(
        paths in proptest::collection::vec(any_path(false), 1..7),
        languages in 1..3_usize,
    ) {
        holds(paths, languages, true);
    }

    #[test]
    fn is_right_with_regular_expressions(
        paths in proptest::collection::vec(any_path(true), 1..7),
        languages in 1..3_usize,
    ) {
        holds(paths, languages, false);
    }
}

#[test]
fn gives_up_on_what_takes_too_long() {
    // Two languages in a row of 24 are the same, or they alternate: all is taken, and to see it takes 2^24 looks.
    let row = vec![Element::Language; 24];
    let mut paths = Vec::new();
    for position in 0..24 {
        for code in ["en", "nl"] {
            let mut path = row.clone();
            path[position] = literal(code);
            path[(position + 1) % 24] = literal(code);
            paths.push(rule("r", path, None));
        }
    }
    for (even, odd) in [("en", "nl"), ("nl", "en")] {
        let path = (0..24).map(|position| literal(if position % 2 == 0 { even } else { odd }));
        paths.push(rule("r", path.collect(), None));
    }
    paths.push(rule("last", row, None));
    paths.push(rule("next", vec![literal("next")], None));
    let mut written = site("s", &["s.example"]);
    written.languages = vec!["en".into(), "nl".into()];
    written.rules = paths.into();
    let sites = compiled(written);
    let found = reach::reach_within(sites.site(SiteId(0)), 100_000);
    assert_eq!(found.get(50), Some(&Reach::Unknown));
}

#[test]
fn thousands_of_rules_take_few_steps() {
    let mut written = site("s", &["s.example"]);
    let mut rules = Vec::new();
    for number in 0..5_000 {
        let start = literal(&format!("part{}", number / 10));
        let path = match number % 10 {
            0 => vec![start],
            9 => vec![start, Element::Rest],
            page => vec![start, literal(&format!("page{page}")), variable("id")],
        };
        rules.push(rule("r", path, None));
    }
    rules.push(rule("page", vec![variable("id"), variable("slug")], None));
    rules.push(rule("rest", vec![Element::Rest], None));
    written.rules = rules.into();
    let sites = compiled(written);
    let found = reach::reach_within(sites.site(SiteId(0)), 1_000_000);
    assert!(found.iter().all(|reach| matches!(reach, Reach::Live { .. })));
}

fn facts(hsts: Option<bool>, cookies: &[String]) -> SiteFacts<'_> {
    let hsts = hsts.map(|include_subdomains| Hsts { include_subdomains });
    SiteFacts { place: place(100), hsts, session_cookies: cookies }
}

#[track_caller]
fn says(sites: Vec<SiteRules>, ports: Ports, facts: &[SiteFacts<'_>], expected: &[&str]) {
    let sites = Sites::compile(sites, ports).expect("sites");
    let found: Vec<_> = prove(&sites, facts).iter().map(Finding::to_string).collect();
    assert_eq!(found, expected);
}

fn with_rules(mut written: SiteRules, rules: &[(&str, &[Element], Option<Ssl>)]) -> SiteRules {
    let numbered = |(index, (name, path, ssl)): (usize, &(&str, &[Element], Option<Ssl>))| Rule {
        name: (*name).to_owned(),
        path: path.to_vec(),
        ssl: *ssl,
        place: place(index as u32 + 1),
    };
    written.rules = rules.iter().enumerate().map(numbered).collect();
    written
}

#[test]
fn says_nothing_where_all_is_well() {
    let written = with_rules(
        site("s", &["s.example"]),
        &[
            ("logon", &[literal("logon")], Some(Ssl::Https)),
            ("lib", &[literal("lib"), Element::Rest], Some(Ssl::Any)),
            ("page", &[literal("page"), variable("id")], None),
        ],
    );
    says(vec![written], PORTS, &[facts(Some(true), &["z_sid".to_owned()])], &[]);
}

#[test]
fn says_which_rules_are_never_reached() {
    let written = with_rules(
        site("s", &["s.example"]),
        &[
            ("home", &[], None),
            ("all", &[variable("x"), Element::Rest], None),
            ("logon", &[literal("logon")], Some(Ssl::Https)),
            ("rest", &[Element::Rest], None),
            // Not said a second time for its ssl.
            ("video", &[literal("video")], Some(Ssl::Http)),
        ],
    );
    says(
        vec![written],
        PORTS,
        &[facts(Some(false), &[])],
        &[
            "rules.toml:3:1: warning: rule \"logon\" is never reached: rule \"all\" before it takes every path it matches, \
             and its ssl = true does nothing; move it up, or remove it (see rules.toml:2:1)",
            "rules.toml:4:1: warning: rule \"rest\" is never reached: the rules \"home\" and \"all\" before it together \
             take every path it matches; move it up, or remove it (see rules.toml:1:1)",
            "rules.toml:5:1: warning: rule \"video\" is never reached: rule \"all\" before it takes every path it matches, \
             and its ssl = false does nothing; move it up, or remove it (see rules.toml:2:1)",
        ],
    );
}

#[test]
fn says_which_schemes_nobody_serves() {
    let rules: &[(&str, &[Element], Option<Ssl>)] =
        &[("logon", &[literal("logon")], Some(Ssl::Https)), ("video", &[literal("video")], Some(Ssl::Http))];
    let mut without = with_rules(site("s", &["s.example"]), rules);
    without.ssl = false;
    says(
        vec![without],
        PORTS,
        &[facts(None, &["z_sid".to_owned()])],
        &[
            "rules.toml:1:1: error: rule \"logon\" wants https, and site \"s\" has ssl = false: its pages stay on http; \
           write ssl = true for the site, or take ssl from the rule (see rules.toml:100:1)",
        ],
    );
    let written = with_rules(site("s", &["s.example"]), rules);
    says(
        vec![written.clone()],
        Ports { http: Some(80), https: None },
        &[facts(None, &[])],
        &[
            "rules.toml:1:1: error: rule \"logon\" wants https, and nothing listens for it: its pages stay on http; \
           add listen.https, or take ssl from the rule",
        ],
    );
    says(
        vec![written],
        Ports { http: None, https: Some(443) },
        &[facts(Some(false), &[])],
        &[
            "rules.toml:2:1: warning: rule \"video\" wants http, and nothing listens for it: its pages stay on https; \
           add listen.http, or write ssl = \"any\"",
        ],
    );
    says(
        vec![site("s", &["s.example"])],
        Ports { http: Some(8080), https: Some(8080) },
        &[facts(None, &[])],
        &[
            "rules.toml:100:1: error: redirects to http and to https both lead to port 8080, which can be only one of them; \
           write outside_http_port and outside_https_port as visitors see them",
        ],
    );
}

#[test]
fn says_where_hsts_and_rules_send_browsers_round() {
    let video: &[(&str, &[Element], Option<Ssl>)] = &[("video", &[literal("video")], Some(Ssl::Http))];
    let parent = site("parent", &["example.com", "*.other.example"]);
    let child = with_rules(site("child", &["x.y.EXAMPLE.com"]), video);
    let wild = with_rules(site("wild", &["*.a.other.example"]), video);
    let mut plain = site("plain", &["plain.example.com"]);
    plain.ssl = false;
    let apart = with_rules(site("apart", &["example.org", "notexample.com"]), video);
    let none = facts(None, &[]);
    says(
        vec![parent, child, wild, plain, apart],
        PORTS,
        &[facts(Some(true), &[]), none.clone(), none.clone(), none.clone(), none],
        &[
            "rules.toml:1:1: error: rule \"video\" sends visitors to http, and HSTS of site \"parent\", which includes subdomains, \
             sends their browsers back to https, for ever; write ssl = \"any\" for the rule, or remove hsts (see rules.toml:100:1)",
            "rules.toml:1:1: error: rule \"video\" sends visitors to http, and HSTS of site \"parent\", which includes subdomains, \
             sends their browsers back to https, for ever; write ssl = \"any\" for the rule, or remove hsts (see rules.toml:100:1)",
            "rules.toml:100:1: error: site \"plain\" has ssl = false, and browsers that were at site \"parent\" use https alone \
             for \"plain.example.com\", because hsts includes subdomains there; write ssl = true, or include_subdomains = false \
             for \"parent\" (see rules.toml:100:1)",
        ],
    );
    let own = with_rules(site("s", &["s.example"]), video);
    says(
        vec![own.clone()],
        PORTS,
        &[facts(Some(false), &["z_sid".to_owned()])],
        &[
            "rules.toml:1:1: error: rule \"video\" sends visitors to http, and the site's own HSTS sends their browsers back \
           to https, for ever; write ssl = \"any\" for the rule, or remove hsts (see rules.toml:100:1)",
        ],
    );
    let mut neither = with_rules(site("s", &["s.example"]), &[("page", &[literal("page")], None)]);
    neither.is_secure = false;
    says(
        vec![neither.clone()],
        PORTS,
        &[facts(Some(false), &[])],
        &[
            "rules.toml:100:1: error: site \"s\" sends pages without ssl of their own to http (is_secure and is_ssl are off), \
           and the site's own HSTS sends browsers back to https, for ever; write is_secure = true, or remove hsts \
           (see rules.toml:1:1)",
        ],
    );
    neither.unmatched = Unmatched::NotFound;
    neither.rules = [].into();
    says(vec![neither], PORTS, &[facts(Some(false), &[])], &[]);
}

#[test]
fn says_where_sessions_do_not_reach() {
    let cookies = ["z_sid".to_owned(), "z_logon".to_owned()];
    let mut written =
        with_rules(site("s", &["s.example"]), &[("video", &[literal("video")], Some(Ssl::Http))]);
    says(
        vec![written.clone()],
        PORTS,
        &[facts(None, &cookies)],
        &[
            "rules.toml:1:1: warning: the pages of rule \"video\" are on http alone, where sessions begun on https do not come \
           (z_sid and z_logon are kept to https by is_secure): visitors look logged off there; write ssl = \"any\" if they \
           need the session",
        ],
    );
    written.is_secure = false;
    says(vec![written], PORTS, &[facts(None, &cookies)], &[]);
}
