//! What is proved, against a browser: every path of small random sites is asked for by every way there is, redirects
//! are followed as a browser follows them, and what becomes of it is what must have been said, no less and no more.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::decision::{Action, Covers, Decision, Handshake, Question, Scheme};
use super::super::site::{Alias, Ports, SiteRules};
use super::super::tests::{literal, place, rule, site, variable};
use super::shape::target;
use super::*;

/// The certificate of each site is its own.
struct Own;

impl Covers for Own {
    fn covers(&self, _host: &[u8]) -> bool {
        false
    }
}

/// Where a visitor ends up.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// A page, by this scheme; of which rule.
    Page(Scheme, Option<RuleId>),
    /// Sent round for ever, from the page of this rule.
    Round(Option<RuleId>),
    /// The browser uses https alone, and the site has none.
    CutOff,
}

struct Browser<'a> {
    sites: &'a Sites,
    facts: &'a [SiteFacts<'a>],
    /// It has been everywhere by https before, so it knows every HSTS there is.
    knows_hsts: bool,
}

impl Browser<'_> {
    /// RFC 6797 §8.2 and §8.3, read anew: `host` itself, or one above it that includes its subdomains.
    fn is_strict(&self, host: &str) -> bool {
        self.sites.iter().zip(self.facts).any(|((_, site), facts)| {
            let sends = site.written.ssl && self.sites.ports.https.is_some();
            let Some(hsts) = facts.hsts.filter(|_| sends) else { return false };
            let mut names = site.written.hosts.iter().chain(&site.written.aliases);
            names.any(|name| host == name || hsts.include_subdomains && host.ends_with(&format!(".{name}")))
        })
    }

    fn decide<'a>(&'a self, scheme: Scheme, host: &'a str, target: &'a [u8]) -> Decision<'a> {
        let found = self.sites.find(host.as_bytes()).expect("a host of a site");
        let handshake =
            (scheme == Scheme::Https).then_some(Handshake { site: Some(found), certificate: &Own });
        let (authority, method) = (host.as_bytes(), &b"GET"[..]);
        self.sites.decide(&Question { scheme, handshake, authority, method, target })
    }

    fn visit(&self, scheme: Scheme, host: &str, target: &[u8]) -> End {
        let (mut scheme, mut host, mut target) = (scheme, host.to_owned(), target.to_vec());
        let mut seen = BTreeSet::new();
        let mut redirects = 0;
        loop {
            if scheme == Scheme::Http && self.knows_hsts && self.is_strict(&host) {
                scheme = Scheme::Https;
            }
            let has_https = |host: &str| {
                let found = self.sites.find(host.as_bytes()).expect("a host of a site");
                self.sites.site(found).written.ssl && self.sites.ports.https.is_some()
            };
            if scheme == Scheme::Https && !has_https(&host) {
                return End::CutOff;
            }
            let here = (scheme == Scheme::Https, host.clone(), target.clone());
            let decision = self.decide(scheme, &here.1, &here.2);
            if !seen.insert(here.clone()) {
                return End::Round(decision.rule);
            }
            match decision.action {
                Action::Redirect(redirect) => {
                    redirects += 1;
                    assert!(self.knows_hsts || redirects == 1, "one redirect at most");
                    scheme = redirect.scheme;
                    host = String::from_utf8(redirect.host.to_vec()).expect("ASCII");
                    target = redirect.target.to_vec();
                }
                Action::Forward | Action::NotFound => return End::Page(scheme, decision.rule),
                Action::Refuse(refusal) => panic!("{refusal:?}"),
            }
        }
    }
}

fn paths() -> Vec<Vec<Vec<u8>>> {
    let alphabet = ["a", "b", "", "?"];
    let mut paths: Vec<Vec<Vec<u8>>> = vec![vec![]];
    let mut from = 0;
    for _ in 0..3 {
        let to = paths.len();
        for index in from..to {
            // Extra slashes in front are another path until a redirect makes them one.
            for text in alphabet.into_iter().filter(|text| index > 0 || !text.is_empty()) {
                let mut longer = paths[index].clone();
                longer.push(text.as_bytes().to_vec());
                paths.push(longer);
            }
        }
        from = to;
    }
    paths
}

/// What a look at everything found, in the terms of [`Proved`]: sites and rules by number.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    loops: BTreeSet<(u32, u32)>,
    site_loops: BTreeSet<u32>,
    cut_off: BTreeSet<u32>,
    sessions_lost: BTreeSet<(u32, u32)>,
    unserved: BTreeSet<(u32, u32)>,
    never: BTreeSet<(u32, u32)>,
}

fn look(sites: &Sites, facts: &[SiteFacts<'_>]) -> Seen {
    let mut seen = Seen::default();
    for ((id, site), facts_here) in sites.iter().zip(facts) {
        let written = &site.written;
        let has_https = written.ssl && sites.ports.https.is_some();
        if !has_https && sites.ports.http.is_none() {
            // Nobody gets to it, so nothing is seen of it.
            continue;
        }
        seen.never.extend((0..site.rules().len()).map(|rule| (id.0, rule as u32)));
        for path in paths() {
            let target = target(site, &path);
            let matched = sites.matches(id, &target);
            let ssl = matched.and_then(|rule| written.rules.ssl(rule.index())).flatten();
            if let Some(rule) = matched {
                seen.never.remove(&(id.0, rule.0));
            }
            for host in written.hosts.iter().chain(&written.aliases) {
                for (scheme, served) in
                    [(Scheme::Http, sites.ports.http.is_some()), (Scheme::Https, has_https)]
                {
                    if !served {
                        continue;
                    }
                    let new = Browser { sites, facts, knows_hsts: false };
                    let end = new.visit(scheme, host, &target);
                    let End::Page(landed, by) = end else { panic!("{end:?} without HSTS") };
                    assert_eq!(by, matched, "redirects lead to the page that was asked for");
                    let wanted = match ssl {
                        Some(Ssl::Https) => Some(Scheme::Https),
                        Some(Ssl::Http) => Some(Scheme::Http),
                        Some(Ssl::Any) => None,
                        None if matched.is_none() && written.unmatched == Unmatched::NotFound => None,
                        None if written.is_ssl => Some(Scheme::Https),
                        None if written.is_secure => None,
                        None => Some(Scheme::Http),
                    };
                    if let (Some(wanted), Some(rule), true) = (wanted, matched, ssl.is_some())
                        && wanted != landed
                    {
                        seen.unserved.insert((id.0, rule.0));
                    }
                    let knowing = Browser { sites, facts, knows_hsts: true };
                    match knowing.visit(scheme, host, &target) {
                        End::Page(landed, Some(by)) => {
                            let has_session =
                                written.is_secure && !facts_here.session_cookies.is_empty() && has_https;
                            if has_session && ssl == Some(Ssl::Http) && landed == Scheme::Http {
                                seen.sessions_lost.insert((id.0, by.0));
                            }
                        }
                        End::Page(_, None) => {}
                        End::Round(by) => {
                            let says = |by: &RuleId| written.rules.ssl(by.index()).flatten().is_some();
                            match by.filter(says) {
                                Some(by) => drop(seen.loops.insert((id.0, by.0))),
                                None => drop(seen.site_loops.insert(id.0)),
                            }
                        }
                        End::CutOff => drop(seen.cut_off.insert(id.0)),
                    }
                }
            }
        }
    }
    seen
}

/// Findings in the terms of [`Seen`]. Rules have their numbers for names.
fn said(sites: &Sites, findings: &[Finding]) -> Seen {
    let mut seen = Seen::default();
    for finding in findings {
        let site = finding.site.0;
        let has_https = sites.site(finding.site).written.ssl && sites.ports.https.is_some();
        if !has_https && sites.ports.http.is_none() {
            continue;
        }
        let by_rule = |rule: &str| (site, rule.parse().expect("a number"));
        match &finding.proved {
            Proved::Shadowed { rule, .. } => drop(seen.never.insert(by_rule(rule))),
            Proved::SiteWithoutHttps { rule, .. }
            | Proved::NoHttpsListener { rule }
            | Proved::NoHttpListener { rule } => drop(seen.unserved.insert(by_rule(rule))),
            Proved::LoopUnderHsts { rule, .. } => drop(seen.loops.insert(by_rule(rule))),
            Proved::SiteLoopsUnderHsts { .. } => drop(seen.site_loops.insert(site)),
            Proved::CutOffByHsts { .. } => drop(seen.cut_off.insert(site)),
            Proved::SessionDoesNotReach { rule, .. } => drop(seen.sessions_lost.insert(by_rule(rule))),
            Proved::OnePort { .. } => {}
        }
    }
    seen
}

fn any_rules() -> impl Strategy<Value = Vec<Rule>> {
    let element = prop_oneof![
        3 => prop_oneof![Just("a"), Just("b")].prop_map(literal),
        2 => Just(variable("x")),
        2 => Just(Element::Rest),
    ];
    let ssl = prop_oneof![Just(None), Just(Some(Ssl::Https)), Just(Some(Ssl::Http)), Just(Some(Ssl::Any))];
    let rules = proptest::collection::vec((proptest::collection::vec(element, 0..3), ssl), 0..5);
    rules.prop_map(|rules| {
        let numbered = rules.into_iter().enumerate();
        numbered.map(|(number, (path, ssl))| rule(&number.to_string(), path, ssl)).collect()
    })
}

fn any_site(name: &'static str) -> impl Strategy<Value = (SiteRules, Option<Hsts>, bool)> {
    let switches = proptest::array::uniform7(any::<bool>());
    let hsts = prop_oneof![
        Just(None),
        any::<bool>().prop_map(|include_subdomains| Some(Hsts { include_subdomains }))
    ];
    (any_rules(), switches, hsts).prop_map(move |(rules, switches, hsts)| {
        let [ssl, is_secure, is_ssl, is_permanent, not_found, alias, cookies] = switches;
        let mut written = site(name, &[name]);
        (written.ssl, written.is_secure, written.is_permanent) = (ssl, is_secure, is_permanent);
        // The reader refuses both where there is no https.
        written.is_ssl = is_ssl && ssl;
        let hsts = hsts.filter(|_| ssl);
        if not_found {
            written.unmatched = Unmatched::NotFound;
        }
        if alias {
            written.aliases = vec![format!("www.{name}")];
            written.alias = if is_permanent { Alias::Redirect } else { Alias::Serve };
        }
        written.rules = rules.into();
        (written, hsts, cookies)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn what_is_said_is_what_a_browser_meets(
        parts in (any_site("a.example"), any_site("sub.a.example")),
        ports in prop_oneof![
            6 => Just((Some(80), Some(443))),
            1 => Just((Some(80), None)),
            1 => Just((None, Some(443))),
        ],
    ) {
        let ports = Ports { http: ports.0, https: ports.1 };
        let parts = [parts.0, parts.1];
        let cookies = ["z_sid".to_owned()];
        let facts: Vec<SiteFacts<'_>> = parts
            .iter()
            .map(|(_, hsts, has_cookies)| SiteFacts {
                place: place(100),
                hsts: *hsts,
                session_cookies: if *has_cookies { &cookies } else { &[] },
            })
            .collect();
        let sites = Sites::compile(parts.iter().map(|(site, ..)| site.clone()).collect(), ports).expect("sites");
        let findings = prove(&sites, &facts);
        prop_assert_eq!(said(&sites, &findings), look(&sites, &facts), "{:?}", findings);
    }
}
