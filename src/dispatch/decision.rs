//! The decision: which site, which rule, which scheme, and what follows from them.

use super::host::{BadHost, Host};
use super::path::{BadTarget, Reading, Room};
use super::redirect::{self, Redirect, RedirectReason};
use super::rule::Ssl;
use super::site::{Found, Site, Sites, Unmatched};
use super::{RuleId, SiteId};
pub use crate::http::Scheme;

/// Asks the certificate in use whether it is good for a host.
pub trait Covers {
    /// `host`: as received, any case, without port and trailing dot.
    fn covers(&self, host: &[u8]) -> bool;
}

/// What the TLS handshake settled.
#[derive(Clone, Copy)]
pub struct Handshake<'a> {
    /// The site the SNI chose; without SNI the fallback site. None: a reload took the site away, or changed
    /// its TLS policy, after the handshake.
    pub site: Option<SiteId>,
    pub certificate: &'a dyn Covers,
}

/// All a decision depends on besides the sites.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The listener's, or what a trusted proxy says.
    pub scheme: Scheme,
    /// None when TLS did not end here.
    pub handshake: Option<Handshake<'a>>,
    /// `:authority`, the host of an absolute-form target, or `Host`: `host [ ":" port ]` as received. Empty where a
    /// request of HTTP/1.0 names none: it is for the fallback site then, by its canonical host.
    pub authority: &'a [u8],
    pub method: &'a [u8],
    /// Origin form, path and query as received (RFC 9112 §3.2.1), `/` where it was empty; or `*` for OPTIONS.
    pub target: &'a [u8],
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// None only when refused.
    pub site: Option<SiteId>,
    /// None when no rule matches or none was looked for.
    pub rule: Option<RuleId>,
    pub action: Action<'a>,
}

/// See [`Decision`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    Forward,
    Redirect(Redirect<'a>),
    /// 404: no rule matches and the site forwards nothing else.
    NotFound,
    Refuse(Refusal),
}

/// Why a request is refused before any rule is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400
    BadHost(BadHost),
    /// 400: no origin form, or a space or control byte in it.
    BadTarget,
    /// 414: longer than 65,535 bytes.
    TargetTooLong,
    /// 404: no site has the host.
    NoSite,
    /// 421: no site has the host, on HTTPS.
    NoSiteHere,
    /// 421: the certificate of this connection does not cover the host (RFC 9110 §15.5.20).
    NotCovered,
    /// 421: the host's site has another TLS policy than the one this connection was made under.
    OtherPolicy,
    /// 421: the host's site has no HTTPS.
    NoHttps,
}

impl Refusal {
    pub fn status(self) -> u16 {
        match self {
            Refusal::BadHost(_) | Refusal::BadTarget => 400,
            Refusal::TargetTooLong => 414,
            Refusal::NoSite => 404,
            Refusal::NoSiteHere | Refusal::NotCovered | Refusal::OtherPolicy | Refusal::NoHttps => 421,
        }
    }

    /// A word for logs and `explain`.
    pub fn reason(self) -> &'static str {
        match self {
            Refusal::BadHost(why) => why.reason(),
            Refusal::BadTarget => "bad-target",
            Refusal::TargetTooLong => "target-too-long",
            Refusal::NoSite | Refusal::NoSiteHere => "no-site",
            Refusal::NotCovered => "not-covered",
            Refusal::OtherPolicy => "other-tls-policy",
            Refusal::NoHttps => "no-https",
        }
    }
}

/// Where the wanted scheme comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantedBy {
    /// The rule's own `ssl`.
    Rule(Ssl),
    /// No `ssl`, and the site says `is_ssl`.
    IsSsl,
    /// No `ssl`, and the site says `is_secure`.
    IsSecure,
    /// No `ssl`, and the site says neither.
    Neither,
    /// The site forwards no path without a rule, so the scheme is left alone.
    NotFound,
}

impl WantedBy {
    /// What decided, in the words of the configuration.
    pub fn reason(self) -> &'static str {
        match self {
            WantedBy::Rule(Ssl::Https) => "ssl = true",
            WantedBy::Rule(Ssl::Http) => "ssl = false",
            WantedBy::Rule(Ssl::Any) => "ssl = \"any\"",
            WantedBy::IsSsl => "is_ssl = true",
            WantedBy::IsSecure => "is_secure = true",
            WantedBy::Neither => "is_secure = false",
            WantedBy::NotFound => "unmatched = \"not_found\"",
        }
    }
}

/// The wanted scheme and why; `scheme` is none where it stays as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub scheme: Option<Scheme>,
    pub by: WantedBy,
    /// The scheme wanted is one that the site or the listeners do not have, so it stays as it came.
    pub unavailable: bool,
}

/// Sees the steps of a decision; every method does nothing unless it is written.
pub(super) trait Trace {
    fn host(&mut self, _host: Host<'_>, _found: Option<Found>) {}
    fn path(&mut self, _site: &Site, _reading: &Reading<'_>, _matched: Option<usize>) {}
    fn wanted(&mut self, _wanted: Wanted) {}
}

/// Sees nothing, costs nothing.
struct Blind;

impl Trace for Blind {}

impl Sites {
    /// Decides one request. A pure function of the sites and the question: allocates nothing,
    /// reads no clock, takes no lock.
    pub fn decide<'a>(&'a self, question: &Question<'a>) -> Decision<'a> {
        self.decide_seen(question, &mut Blind)
    }

    /// [`decide`](Self::decide) with somebody looking.
    #[inline]
    pub(super) fn decide_seen<'a>(&'a self, question: &Question<'a>, trace: &mut impl Trace) -> Decision<'a> {
        let mut decision = Decision { site: None, rule: None, action: Action::Forward };
        decision.action = match self.choose_site(question, &mut decision.site, trace) {
            Ok((host, found)) => self.choose_action(question, host, found, &mut decision.rule, trace),
            Err(refusal) => Action::Refuse(refusal),
        };
        decision
    }

    #[inline]
    fn choose_site<'a>(
        &'a self,
        question: &Question<'a>,
        chosen: &mut Option<SiteId>,
        trace: &mut impl Trace,
    ) -> Result<(Host<'a>, Found), Refusal> {
        let (host, found) = if let Some(found) = self.find_exact(question.authority) {
            // The table's own form of a host: it reads as it is written.
            (Host { name: question.authority, port: None }, Some(found))
        } else if question.authority.is_empty() {
            self.unnamed()
        } else {
            let host = Host::parse(question.authority).map_err(Refusal::BadHost)?;
            (host, self.find_claim(host.name))
        };
        trace.host(host, found);
        let Some(found) = found else {
            return Err(match question.scheme {
                Scheme::Http => Refusal::NoSite,
                Scheme::Https => Refusal::NoSiteHere,
            });
        };
        *chosen = Some(found.site);
        if let Some(handshake) = &question.handshake {
            let site = &self.site(found.site).written;
            if !site.ssl {
                return Err(Refusal::NoHttps);
            }
            if handshake.site != Some(found.site) {
                let other = handshake.site.and_then(|site| self.get(site));
                if other.is_none_or(|other| other.written.tls_policy != site.tls_policy) {
                    return Err(Refusal::OtherPolicy);
                }
                if !handshake.certificate.covers(host.name) {
                    return Err(Refusal::NotCovered);
                }
            }
        }
        Ok((host, found))
    }

    /// The site of a request that names no host.
    #[cold]
    fn unnamed(&self) -> (Host<'_>, Option<Found>) {
        let found = self.fallback_claim();
        let name = found.and_then(|found| self.site(found.site).canonical_host()).unwrap_or_default();
        (Host { name, port: None }, found)
    }

    #[inline]
    fn choose_action<'a>(
        &'a self,
        question: &Question<'a>,
        host: Host<'a>,
        found: Found,
        rule: &mut Option<RuleId>,
        trace: &mut impl Trace,
    ) -> Action<'a> {
        let site = self.site(found.site);
        if question.target == b"*" {
            // The whole server is asked (RFC 9112 §3.2.4): there is no path to have a rule or a URL.
            let options = question.method == b"OPTIONS";
            return if options { Action::Forward } else { Action::Refuse(Refusal::BadTarget) };
        }
        let mut room = Room::new();
        let reading = match site.read(question.target, &mut room) {
            Ok(reading) => reading,
            Err(BadTarget::Form) => return Action::Refuse(Refusal::BadTarget),
            Err(BadTarget::TooLong) => return Action::Refuse(Refusal::TargetTooLong),
        };
        let matched = site.table.first_match(&reading);
        trace.path(site, &reading, matched);
        // Rules are fewer than u32::MAX, or the table would not have compiled.
        *rule = matched.map(|index| RuleId(index as u32));
        let matched = matched.and_then(|index| site.written.rules.ssl(index));
        let wanted = self.wanted(site, matched, question.scheme);
        trace.wanted(wanted);
        match self.redirect(question, host, found, site, wanted) {
            None => {}
            // Nobody said which host, and the fallback site has no name: there is no URL to send to.
            Some(redirect) if redirect.host.is_empty() => {
                return Action::Refuse(Refusal::BadHost(BadHost::Empty));
            }
            Some(redirect) => return Action::Redirect(redirect),
        }
        match (matched, site.written.unmatched) {
            (None, Unmatched::NotFound) => Action::NotFound,
            _ => Action::Forward,
        }
    }

    /// The table of wanted schemes. `rule`: the `ssl` of the rule that matched, which may have none.
    #[inline]
    fn wanted(&self, site: &Site, rule: Option<Option<Ssl>>, came: Scheme) -> Wanted {
        let written = &site.written;
        let (scheme, by) = match rule.flatten() {
            Some(ssl) => {
                let scheme = match ssl {
                    Ssl::Https => Some(Scheme::Https),
                    Ssl::Http => Some(Scheme::Http),
                    Ssl::Any => None,
                };
                (scheme, WantedBy::Rule(ssl))
            }
            None if rule.is_none() && written.unmatched == Unmatched::NotFound => (None, WantedBy::NotFound),
            None if written.is_ssl => (Some(Scheme::Https), WantedBy::IsSsl),
            None if written.is_secure => (None, WantedBy::IsSecure),
            None => (Some(Scheme::Http), WantedBy::Neither),
        };
        // A redirect to where nobody listens helps nobody; `check` reports rules that want it.
        let available = match scheme {
            Some(scheme) if scheme == came => true,
            Some(Scheme::Https) => written.ssl && self.ports.https.is_some(),
            Some(Scheme::Http) => self.ports.http.is_some(),
            None => true,
        };
        Wanted { scheme: scheme.filter(|_| available), by, unavailable: !available }
    }

    #[inline]
    fn redirect<'a>(
        &'a self,
        question: &Question<'a>,
        host: Host<'a>,
        found: Found,
        site: &'a Site,
        wanted: Wanted,
    ) -> Option<Redirect<'a>> {
        let mut scheme = wanted.scheme.unwrap_or(question.scheme);
        let canonical = if found.redirects { site.canonical_host() } else { None };
        let reason = match (canonical.is_some(), scheme != question.scheme) {
            (false, false) => return None,
            (true, false) => RedirectReason::Alias,
            (false, true) => RedirectReason::Scheme,
            (true, true) => RedirectReason::AliasAndScheme,
        };
        let target = redirect::one_slash(question.target);
        if target.len() < question.target.len() {
            scheme = self.wanted_there(site, target, scheme);
        }
        let permanent = canonical.is_some() || (scheme == Scheme::Https && site.written.is_permanent);
        let port = match scheme {
            Scheme::Http => self.ports.http,
            Scheme::Https => self.ports.https,
        };
        Some(Redirect {
            status: redirect::status(permanent, question.method),
            scheme,
            host: canonical.unwrap_or(host.name),
            port: port.filter(|&port| port != scheme.default_port()),
            target,
            reason,
        })
    }

    /// The scheme that a path wants once its slashes in front are one: it is another path, perhaps of another
    /// rule, and must not redirect again. `or`: where it wants none.
    #[cold]
    fn wanted_there(&self, site: &Site, target: &[u8], or: Scheme) -> Scheme {
        let mut room = Room::new();
        // What was a target stays one.
        let Ok(reading) = site.read(target, &mut room) else {
            return or;
        };
        let rule = site.table.first_match(&reading).and_then(|index| site.written.rules.ssl(index));
        self.wanted(site, rule, or).scheme.unwrap_or(or)
    }
}
