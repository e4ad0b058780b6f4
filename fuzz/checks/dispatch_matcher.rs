//! The table finds the first rule that matches when asked alone, whatever the target.

use std::path::Path;

use portcullis::dispatch::{
    Alias, Element, Ports, Question, Rule, RuleId, Scheme, SiteId, SiteRules, Sites, Unmatched,
    write_normalized, written_path,
};

/// Every kind of element, first and last, rules that hide others, patterns with and without an automaton.
const PATHS: &[&str] = &[
    "/",
    "/a/b",
    "/a/{v}/c",
    "/a/{n:^[0-9]+$}",
    "/a/{same:^(.)\\1$}",
    "/a/{v:^(?!b)}/*",
    "/{z_language}/a",
    "/{z_language}/*",
    "/*/b",
    "/a b/%2Fc",
    "/%C3%A9/{v:\\W}",
    "//a",
    "/{n:[0-9]{2}}/{v:^x*$}/{w}",
    "/{v}/{w}/c",
    "/../*",
    "/lib/*",
    "/{v}",
];

/// Longest target asked: normalized it has at most three times the bytes, which are still a target.
const TARGET_BYTES_MAX: usize = 20_000;

struct Table {
    sites: Sites,
    /// The site with all rules; the site after it has the first of them alone, and so on.
    whole: SiteId,
    authority: &'static str,
}

thread_local! {
    static TABLES: [Table; 2] = [table("iso.example", &[]), table("two.example", &["en", "pt-br"])];
}

fn table(authority: &'static str, languages: &[&str]) -> Table {
    let rule = |path: &&str| Rule {
        name: (*path).to_owned(),
        path: written_path::parse_path(path).expect("a path that is written right"),
        ssl: None,
        place: portcullis::dispatch::Place { file: Path::new("rules").into(), line: 1, column: 1 },
    };
    let rules: Vec<Rule> = PATHS.iter().map(rule).collect();
    let site = |host: String, rules: Vec<Rule>| SiteRules {
        name: host.clone(),
        hosts: vec![host],
        aliases: vec![],
        alias: Alias::Serve,
        ssl: true,
        is_secure: true,
        is_ssl: false,
        is_permanent: false,
        languages: languages.iter().map(|&language| language.to_owned()).collect(),
        unmatched: Unmatched::Forward,
        rules: rules.into(),
        tls_policy: 0,
    };
    assert!(rules.iter().any(|rule| rule.path.contains(&Element::Language)));
    let alone =
        rules.iter().enumerate().map(|(at, rule)| site(format!("{at}.{authority}"), vec![rule.clone()]));
    let alone: Vec<_> = alone.collect();
    let mut sites = vec![site(authority.to_owned(), rules)];
    sites.extend(alone);
    let ports = Ports { http: Some(80), https: Some(443) };
    let sites = Sites::compile(sites, ports).expect("rules that compile");
    Table { sites, whole: SiteId(0), authority }
}

pub fn check(target: &[u8]) {
    if target.len() <= TARGET_BYTES_MAX {
        TABLES.with(|tables| tables.iter().for_each(|table| asked(table, target)));
    }
}

fn asked(table: &Table, target: &[u8]) {
    let Table { sites, whole, authority } = table;
    let found = sites.matches(*whole, target);
    let alone = (0..PATHS.len() as u32).find(|&rule| sites.matches(SiteId(rule + 1), target).is_some());
    assert_eq!(found, alone.map(RuleId), "each in a table of its own");

    let question = Question {
        scheme: Scheme::Http,
        handshake: None,
        authority: authority.as_bytes(),
        method: b"GET",
        target,
    };
    let explanation = sites.explain(&question);
    assert_eq!(explanation.decision, sites.decide(&question));
    assert_eq!(explanation.decision.rule, found);
    let tried = explanation.rules.iter().find(|tried| tried.outcome.is_ok()).map(|tried| tried.rule);
    assert_eq!(tried, found, "each asked in order");

    let mut bindings = Vec::new();
    if let Some(rule) = found {
        sites.bindings(*whole, rule, target, &mut bindings);
    }
    let mut normalized = Vec::new();
    if write_normalized(target, &mut normalized) {
        let shown = normalized.escape_ascii();
        assert_eq!(sites.matches(*whole, &normalized), found, "reads the same: {shown}");
        let mut again = Vec::new();
        assert!(write_normalized(&normalized, &mut again), "still a target: {shown}");
        assert_eq!(again, normalized, "normalized once");
        if let Some(rule) = found {
            let mut same = Vec::new();
            sites.bindings(*whole, rule, &normalized, &mut same);
            assert_eq!(same, bindings, "binds the same: {shown}");
        }
    } else {
        assert_eq!(found, None, "no target, no rule");
    }
}
