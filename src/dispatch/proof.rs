//! What can be proved about sites from their rules, before any request: what `check` says.
//!
//! Proved are rules that no path reaches ([`reach`]), rules that want a scheme nobody serves, rules that
//! send browsers to http where HSTS sends them back for ever, and pages on http that sessions begun on https do
//! not reach. What is not certain is not said.
//!
//! Two things need no search here. Hosts claimed twice keep [`Sites`] from compiling. And a loop
//! between two schemes cannot be made of rules: which rule matches depends on the host and the path alone, a
//! redirect changes neither but for extra leading slashes, which are gone after the first, and a scheme
//! that a site or the listeners do not have is never redirected to. What remains is a browser that comes back by
//! itself (HSTS), and one port written for both schemes.

mod finding;
mod reach;
mod shape;

pub use finding::{Finding, Proved, Severity};
pub use reach::{Reach, reach};

use super::rule::{Element, Place, Rule, Ssl};
use super::site::{FoundBy, Site, Sites, Unmatched};
use super::{RuleId, SiteId};

/// What proofs need to know of a site beside its rules.
#[derive(Clone, Debug)]
pub struct SiteFacts<'a> {
    /// Where the site is written.
    pub place: Place,
    /// None: no `Strict-Transport-Security` is sent.
    pub hsts: Option<Hsts>,
    /// Cookies that `is_secure` keeps to https.
    pub session_cookies: &'a [String],
}

/// The `Strict-Transport-Security` of a site (RFC 6797).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hsts {
    pub include_subdomains: bool,
}

/// Everything that can be proved, in the order of sites and their rules. `facts`: for each site, in the
/// order of [`Sites::compile`].
///
/// Takes time with the square of the rules that start alike, up to a bound. Allocates; not for requests.
pub fn prove(sites: &Sites, facts: &[SiteFacts<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ((id, site), facts_here) in sites.iter().zip(facts) {
        let hsts = match sends_hsts(sites, site, facts_here) {
            Some(_) => Some(Strict::Own),
            None => of_another(id, site, sites, facts),
        };
        let prover = Prover { sites, facts, id, site, facts_here, hsts };
        let reaches = reach(site);
        prover.site(&reaches, &mut findings);
        for (index, reach) in reaches.iter().enumerate() {
            prover.rule(index, reach, &mut findings);
        }
    }
    findings.extend(one_port(sites, facts));
    findings
}

/// Whose HSTS holds for a site.
enum Strict {
    Own,
    Other { site: SiteId, host: String },
}

/// Only what is served on https sends it.
fn sends_hsts(sites: &Sites, site: &Site, facts: &SiteFacts<'_>) -> Option<Hsts> {
    facts.hsts.filter(|_| site.written.ssl && sites.ports.https.is_some())
}

/// The HSTS that another site sends for a host of this one, from a name above it.
fn of_another(id: SiteId, site: &Site, sites: &Sites, facts: &[SiteFacts<'_>]) -> Option<Strict> {
    let includes = |other: SiteId| {
        let facts = facts.get(other.index());
        sites.get(other).zip(facts).and_then(|(site, facts)| sends_hsts(sites, site, facts))
    };
    site.written.hosts.iter().chain(&site.written.aliases).find_map(|host| {
        let name = host.strip_prefix("*.").unwrap_or(host).to_ascii_lowercase();
        let itself = host.starts_with("*.").then_some(name.as_str());
        let above = name.match_indices('.').filter_map(|(dot, _)| name.get(dot + 1..));
        let other = itself.into_iter().chain(above).find_map(|name| {
            // Whether visitors come to a name that only the fallback site takes is not known.
            let found = sites.find_claim(name.as_bytes()).filter(|found| found.by != FoundBy::Fallback)?;
            let other = Some(found.site).filter(|&other| other != id)?;
            includes(other).filter(|hsts| hsts.include_subdomains).map(|_| other)
        })?;
        Some(Strict::Other { site: other, host: host.clone() })
    })
}

struct Prover<'a> {
    sites: &'a Sites,
    facts: &'a [SiteFacts<'a>],
    id: SiteId,
    site: &'a Site,
    facts_here: &'a SiteFacts<'a>,
    hsts: Option<Strict>,
}

impl Prover<'_> {
    fn site(&self, reaches: &[Reach], findings: &mut Vec<Finding>) {
        let written = &self.site.written;
        let place = self.facts_here.place.clone();
        if let (false, Some(Strict::Other { site, host })) = (written.ssl, &self.hsts) {
            let of = self.name(*site);
            let proved = Proved::CutOffByHsts { site: written.name.clone(), host: host.clone(), of };
            findings.push(self.finding(Severity::Error, place, self.place_of(*site), proved));
        } else if let (true, Some(hsts)) = (self.default_is_http(), &self.hsts)
            && let Some(other) = self.default_page(reaches)
        {
            let proved = Proved::SiteLoopsUnderHsts { site: written.name.clone(), of: self.of(hsts) };
            findings.push(self.finding(Severity::Error, place, other, proved));
        }
    }

    fn rule(&self, index: usize, reach: &Reach, findings: &mut Vec<Finding>) {
        let Some(rule) = self.site.rules().get(index) else {
            return;
        };
        if let Reach::Shadowed { by } = reach {
            findings.push(self.shadowed(&rule, by));
            return;
        }
        let written = &self.site.written;
        let name = rule.name.clone();
        let ports = self.sites.ports;
        let (severity, other, proved) = match rule.ssl {
            Some(Ssl::Https) if !written.ssl => {
                let proved = Proved::SiteWithoutHttps { rule: name, site: written.name.clone() };
                (Severity::Error, Some(self.facts_here.place.clone()), proved)
            }
            Some(Ssl::Https) if ports.https.is_none() => {
                (Severity::Error, None, Proved::NoHttpsListener { rule: name })
            }
            // Without https nobody is sent to http.
            Some(Ssl::Http) if !written.ssl || ports.https.is_none() => return,
            Some(Ssl::Http) if ports.http.is_none() => {
                (Severity::Warning, None, Proved::NoHttpListener { rule: name })
            }
            Some(Ssl::Http) => match &self.hsts {
                Some(hsts) => {
                    let other = match hsts {
                        Strict::Own => Some(self.facts_here.place.clone()),
                        Strict::Other { site, .. } => self.place_of(*site),
                    };
                    (Severity::Error, other, Proved::LoopUnderHsts { rule: name, of: self.of(hsts) })
                }
                None if written.is_secure && !self.facts_here.session_cookies.is_empty() => {
                    let cookies = self.facts_here.session_cookies.to_vec();
                    (Severity::Warning, None, Proved::SessionDoesNotReach { rule: name, cookies })
                }
                None => return,
            },
            Some(Ssl::Https | Ssl::Any) | None => return,
        };
        findings.push(self.finding(severity, rule.place.clone(), other, proved));
    }

    fn shadowed(&self, rule: &Rule, by: &[RuleId]) -> Finding {
        let by: Vec<Rule> = by.iter().filter_map(|&by| self.site.rule(by)).collect();
        let proved = Proved::Shadowed {
            rule: rule.name.clone(),
            by: by.iter().map(|by| by.name.clone()).collect(),
            ssl: rule.ssl.filter(|_| by.iter().any(|by| by.ssl != rule.ssl)),
        };
        let other = by.first().map(|by| by.place.clone());
        self.finding(Severity::Warning, rule.place.clone(), other, proved)
    }

    /// Whether pages without `ssl` are sent from https to http.
    fn default_is_http(&self) -> bool {
        let written = &self.site.written;
        let ports = self.sites.ports;
        written.ssl && !written.is_secure && !written.is_ssl && ports.http.is_some() && ports.https.is_some()
    }

    /// The place of a rule without `ssl`, or none when only paths without a rule have none either; none at
    /// all when there is no such page.
    fn default_page(&self, reaches: &[Reach]) -> Option<Option<Place>> {
        let is_live = |reach: &Reach| matches!(reach, Reach::Live { .. });
        let mut rules = self.site.rules().iter().zip(reaches);
        let rule = rules.find(|(rule, reach)| rule.ssl.is_none() && is_live(reach));
        match rule {
            Some((rule, _)) => Some(Some(rule.place)),
            None if self.site.written.unmatched == Unmatched::Forward && self.leaves_paths() => Some(None),
            None => None,
        }
    }

    /// Whether there are paths that no rule takes: a last rule for all that is left would be reached.
    fn leaves_paths(&self) -> bool {
        let mut written = self.site.written.clone();
        let place = self.facts_here.place.clone();
        let rest = Rule { name: String::new(), path: vec![Element::Rest], ssl: None, place };
        written.rules = written.rules.iter().chain([rest]).collect();
        let Ok(sites) = Sites::compile(vec![written], self.sites.ports) else { return false };
        let last = sites.iter().next().and_then(|(_, site)| reach(site).pop());
        matches!(last, Some(Reach::Live { .. }))
    }

    fn of(&self, hsts: &Strict) -> Option<String> {
        match hsts {
            Strict::Own => None,
            Strict::Other { site, .. } => Some(self.name(*site)),
        }
    }

    fn name(&self, site: SiteId) -> String {
        self.sites.get(site).map(|site| site.name().to_owned()).unwrap_or_default()
    }

    fn place_of(&self, site: SiteId) -> Option<Place> {
        self.facts.get(site.index()).map(|facts| facts.place.clone())
    }

    fn finding(&self, severity: Severity, place: Place, other: Option<Place>, proved: Proved) -> Finding {
        Finding { severity, site: self.id, place, other, proved }
    }
}

/// Said once, at the first site.
fn one_port(sites: &Sites, facts: &[SiteFacts<'_>]) -> Option<Finding> {
    let port = sites.ports.http.filter(|_| sites.ports.http == sites.ports.https)?;
    let ((site, _), facts) = sites.iter().zip(facts).find(|((_, site), _)| site.written.ssl)?;
    let place = facts.place.clone();
    Some(Finding { severity: Severity::Error, site, place, other: None, proved: Proved::OnePort { port } })
}

#[cfg(test)]
mod browsing;
#[cfg(test)]
mod tests;
