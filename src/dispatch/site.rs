//! The sites: which host belongs to which, and what each of them says.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::host::{HOST_BYTES_MAX, Host, is_lookup_name, write_lookup_name};
use super::language::Languages;
use super::pattern::{PatternProblem, Patterns};
use super::rule::{Place, Rule};
use super::rules::Rules;
use super::table::{Table, Unfit};
use super::{RuleId, SiteId};

/// What happens at an alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alias {
    /// A permanent redirect to the canonical host.
    Redirect,
    /// The same as at any other host of the site.
    Serve,
}

/// What happens to a path that no rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmatched {
    /// As with a rule without `ssl`.
    Forward,
    NotFound,
}

/// A site as written.
#[derive(Clone, Debug)]
pub struct SiteRules {
    pub name: String,
    /// The first is canonical. `*.x` takes every name below x, one label or more, and not x itself
    /// (as in nginx; a certificate for `*.x` covers one label only). `*` takes what no other host takes.
    pub hosts: Vec<String>,
    pub aliases: Vec<String>,
    pub alias: Alias,
    /// Whether the site has HTTPS at all.
    pub ssl: bool,
    pub is_secure: bool,
    pub is_ssl: bool,
    pub is_permanent: bool,
    /// Language prefixes, and what `z_language` takes; when empty there are no prefixes and
    /// `z_language` takes any code of ISO 639-1.
    pub languages: Vec<String>,
    pub unmatched: Unmatched,
    /// Of the configuration, which has the same ones.
    pub rules: Rules,
    /// Sites with equal numbers have equal TLS policies.
    pub tls_policy: u32,
}

/// The ports visitors see; none where a scheme is not served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    pub http: Option<u16>,
    pub https: Option<u16>,
}

/// What is wrong with a site or one of its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleProblem {
    /// The name of the site.
    pub site: String,
    /// The rule and its place; none when the problem is the site's.
    pub rule: Option<(String, Place)>,
    pub kind: RuleProblemKind,
}

/// See [`RuleProblem`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleProblemKind {
    /// A site without hosts.
    NoHost,
    /// A host that is no name, address, `*.name` or `*`; a port among them.
    BadHost { host: String },
    /// A host that this site or another one has already.
    HostTwice { host: String, other_site: String },
    /// Aliases redirect to the first host, and that is a wildcard.
    NoCanonicalHost,
    /// More elements than [`RULE_ELEMENTS_MAX`](super::RULE_ELEMENTS_MAX).
    TooManyElements,
    /// A literal longer than [`LITERAL_BYTES_MAX`](super::LITERAL_BYTES_MAX); elements count from 0.
    LiteralTooLong { element: usize },
    /// A regular expression that does not compile.
    Pattern { element: usize, pattern: String, problem: PatternProblem },
    /// More rules or sites than there are numbers for.
    TooMany,
}

/// A site made ready.
pub struct Site {
    pub(super) written: SiteRules,
    /// Lower case; none when the first host is a wildcard.
    canonical: Option<Box<[u8]>>,
    pub(super) table: Table,
}

impl Site {
    pub fn name(&self) -> &str {
        &self.written.name
    }

    /// The first host, in lower case, when it is one host and no wildcard.
    pub fn canonical_host(&self) -> Option<&[u8]> {
        self.canonical.as_deref()
    }

    /// The site as written.
    pub fn written(&self) -> &SiteRules {
        &self.written
    }

    /// The rules in order; a [`RuleId`] is an index.
    pub fn rules(&self) -> &Rules {
        &self.written.rules
    }

    /// Allocates.
    pub fn rule(&self, rule: RuleId) -> Option<Rule> {
        self.written.rules.get(rule.index())
    }

    /// Allocates nothing.
    pub fn rule_name(&self, rule: RuleId) -> Option<&str> {
        self.written.rules.name(rule.index())
    }
}

/// How a host led to its site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundBy {
    Exact,
    /// The longest wildcard that takes the host.
    Wildcard,
    /// `*`
    Fallback,
}

/// A site for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub site: SiteId,
    /// The host is an alias that redirects.
    pub redirects: bool,
    pub by: FoundBy,
}

#[derive(Clone, Copy)]
struct Claim {
    site: SiteId,
    redirects: bool,
}

/// All sites: the immutable table behind every decision.
pub struct Sites {
    sites: Vec<Site>,
    pub(super) ports: Ports,
    exact: HashMap<Box<[u8]>, Claim, FixedState>,
    /// By what follows the `*`, its dot included.
    wildcards: HashMap<Box<[u8]>, Claim, FixedState>,
    /// Longest key of `wildcards`: longer ends of a host are not asked for.
    wildcard_bytes_max: usize,
    fallback: Option<Claim>,
}

impl Sites {
    /// Compiles all sites, or says everything that is wrong with them.
    ///
    /// Memory and time are bounded: a rule has a bounded number of elements, and what regular
    /// expressions take is bounded for each and for each site.
    ///
    /// # Errors
    /// Every problem, in the order of the sites and their rules.
    pub fn compile(sites: Vec<SiteRules>, ports: Ports) -> Result<Sites, Vec<RuleProblem>> {
        let mut compiled = Sites {
            sites: Vec::with_capacity(sites.len()),
            ports,
            exact: HashMap::default(),
            wildcards: HashMap::default(),
            wildcard_bytes_max: 0,
            fallback: None,
        };
        let mut problems = Vec::new();
        let mut patterns = Patterns::default();
        for written in sites {
            compiled.add(written, &mut patterns, &mut problems);
        }
        if problems.is_empty() { Ok(compiled) } else { Err(problems) }
    }

    fn add(&mut self, written: SiteRules, patterns: &mut Patterns, problems: &mut Vec<RuleProblem>) {
        let start = problems.len();
        let mut report = |kind| problems.push(RuleProblem { site: written.name.clone(), rule: None, kind });
        let Ok(number) = u32::try_from(self.sites.len()) else {
            return report(RuleProblemKind::TooMany);
        };
        if written.hosts.is_empty() {
            report(RuleProblemKind::NoHost);
        }
        let redirects = written.alias == Alias::Redirect;
        let hosts = written.hosts.iter().map(|host| (host, false));
        let aliases = written.aliases.iter().map(|host| (host, redirects));
        for (host, redirects) in hosts.chain(aliases) {
            if let Err(kind) = self.claim(host, Claim { site: SiteId(number), redirects }, &written.name) {
                report(kind);
            }
        }
        let canonical =
            written.hosts.first().filter(|host| !host.starts_with('*')).and_then(|host| lookup(host));
        if canonical.is_none() && redirects && !written.aliases.is_empty() && problems.len() == start {
            problems.push(RuleProblem {
                site: written.name.clone(),
                rule: None,
                kind: RuleProblemKind::NoCanonicalHost,
            });
        }
        let (table, unfit) = Table::compile(&written.rules, Languages::new(&written.languages), patterns);
        for (index, why) in unfit {
            let Some(rule) = written.rules.get(index) else { continue };
            let kind = match why {
                Unfit::TooManyElements => RuleProblemKind::TooManyElements,
                Unfit::LiteralTooLong { element } => RuleProblemKind::LiteralTooLong { element },
                Unfit::TooManyRules => RuleProblemKind::TooMany,
                Unfit::Pattern { element, problem } => {
                    let pattern = match rule.path.get(element) {
                        Some(super::Element::Pattern { pattern, .. }) => pattern.clone(),
                        _ => String::new(),
                    };
                    RuleProblemKind::Pattern { element, pattern, problem }
                }
            };
            let rule = Some((rule.name, rule.place));
            problems.push(RuleProblem { site: written.name.clone(), rule, kind });
        }
        self.sites.push(Site { written, canonical, table });
    }

    fn claim(&mut self, host: &str, claim: Claim, site_name: &str) -> Result<(), RuleProblemKind> {
        let bad_host = || RuleProblemKind::BadHost { host: host.to_owned() };
        let earlier = if host == "*" {
            let earlier = self.fallback;
            self.fallback = earlier.or(Some(claim));
            earlier
        } else {
            let (map, key) = match host.strip_prefix('*') {
                Some(rest) => {
                    let name =
                        rest.strip_prefix('.').filter(|name| !name.starts_with('[')).ok_or_else(bad_host)?;
                    let name = lookup(name).ok_or_else(bad_host)?;
                    let key: Box<[u8]> = [b".", &*name].concat().into();
                    self.wildcard_bytes_max = self.wildcard_bytes_max.max(key.len());
                    (&mut self.wildcards, key)
                }
                None => (&mut self.exact, lookup(host).ok_or_else(bad_host)?),
            };
            let earlier = map.get(&key).copied();
            map.entry(key).or_insert(claim);
            earlier
        };
        match earlier {
            None => Ok(()),
            Some(earlier) => {
                let other = self.sites.get(earlier.site.index()).map_or(site_name, Site::name);
                Err(RuleProblemKind::HostTwice { host: host.to_owned(), other_site: other.to_owned() })
            }
        }
    }

    /// How many sites there are; their numbers are below.
    pub fn len(&self) -> usize {
        self.sites.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sites.is_empty()
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (SiteId, &Site)> {
        // `add` gives no site a number beyond u32.
        self.sites.iter().enumerate().map(|(number, site)| (SiteId(number as u32), site))
    }

    pub fn get(&self, site: SiteId) -> Option<&Site> {
        self.sites.get(site.index())
    }

    /// The site with this number.
    ///
    /// # Panics
    /// When the number is of other [`Sites`], which have more of them.
    pub fn site(&self, site: SiteId) -> &Site {
        &self.sites[site.index()]
    }

    /// By its name in the configuration. Asks every site: not for requests.
    pub fn named(&self, name: &str) -> Option<SiteId> {
        self.iter().find(|(_, site)| site.name() == name).map(|(number, _)| number)
    }

    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// The site with the host `*`.
    pub fn fallback(&self) -> Option<SiteId> {
        self.fallback.map(|claim| claim.site)
    }

    /// [`fallback`](Self::fallback), as a host leads to it.
    pub(super) fn fallback_claim(&self) -> Option<Found> {
        let found =
            |claim: Claim| Found { site: claim.site, redirects: claim.redirects, by: FoundBy::Fallback };
        self.fallback.map(found)
    }

    /// The site for a host: the exact host, then the longest wildcard, then the fallback site.
    ///
    /// `host`: without port, any case, one trailing dot or none. Names longer than 255 bytes belong to no
    /// site. Takes the same time for any number of sites and allocates nothing.
    pub fn find(&self, host: &[u8]) -> Option<SiteId> {
        self.find_claim(host).map(|found| found.site)
    }

    /// [`find`](Self::find), and how.
    pub fn find_claim(&self, host: &[u8]) -> Option<Found> {
        let name = host.strip_suffix(b".").unwrap_or(host);
        if name.len() > HOST_BYTES_MAX {
            None
        } else if is_lookup_name(name) {
            self.find_name(name)
        } else {
            self.find_written(name)
        }
    }

    /// `name`: any bytes; only a host without port in the form names are looked up by is found.
    #[inline]
    pub(super) fn find_exact(&self, name: &[u8]) -> Option<Found> {
        let claim = self.exact.get(name)?;
        Some(Found { site: claim.site, redirects: claim.redirects, by: FoundBy::Exact })
    }

    #[cold]
    fn find_written(&self, name: &[u8]) -> Option<Found> {
        self.find_name(write_lookup_name(name, &mut [0; HOST_BYTES_MAX])?)
    }

    /// `name`: in the form names are looked up by.
    #[inline]
    fn find_name(&self, name: &[u8]) -> Option<Found> {
        if let Some(found) = self.find_exact(name) {
            return Some(found);
        }
        let found = |claim: &Claim, by| Found { site: claim.site, redirects: claim.redirects, by };
        if self.wildcard_bytes_max > 0 {
            for dot in memchr::memchr_iter(b'.', name) {
                // A wildcard takes a label at least, so the dot is never first.
                let end = &name[dot..];
                if dot > 0
                    && end.len() <= self.wildcard_bytes_max
                    && let Some(claim) = self.wildcards.get(end)
                {
                    return Some(found(claim, FoundBy::Wildcard));
                }
            }
        }
        self.fallback.as_ref().map(|claim| found(claim, FoundBy::Fallback))
    }
}

/// A configured name as it is looked up; none when it is no name or has a port.
fn lookup(host: &str) -> Option<Box<[u8]>> {
    let host = Host::parse(host.as_bytes()).ok().filter(|host| host.port.is_none())?;
    if is_lookup_name(host.name) {
        return Some(host.name.into());
    }
    write_lookup_name(host.name, &mut [0; HOST_BYTES_MAX]).map(Into::into)
}
