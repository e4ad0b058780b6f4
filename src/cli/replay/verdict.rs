//! What a request gets, as far as it is counted: decisions that differ in nothing but the request are one verdict.

use std::fmt::Write as _;

use crate::cli::explain::decider::Decider;
use crate::cli::explain::object;
use crate::config;
use crate::dispatch::{Action, Decision, RedirectReason, RuleId, SiteId};

/// See the module. Numbers are those of one configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Verdict {
    what: What,
    site: Option<SiteId>,
    rule: Option<RuleId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    Forward,
    Redirect { status: u16, scheme: &'static str, port: Option<u16>, to_canonical: bool },
    NotFound,
    Refuse { status: u16, reason: &'static str },
}

impl Verdict {
    pub fn of(decision: &Decision<'_>) -> Verdict {
        let what = match &decision.action {
            Action::Forward => What::Forward,
            Action::Redirect(redirect) => What::Redirect {
                status: redirect.status,
                scheme: redirect.scheme.as_str(),
                port: redirect.port,
                to_canonical: redirect.reason != RedirectReason::Scheme,
            },
            Action::NotFound => What::NotFound,
            Action::Refuse(refusal) => What::Refuse { status: refusal.status(), reason: refusal.reason() },
        };
        Verdict { what, site: decision.site, rule: decision.rule }
    }

    /// In words, such as `redirect 302 to https: site "example", rule "logon"`. `with_upstream`: also where what
    /// is forwarded goes.
    pub fn describe(&self, decider: &Decider, with_upstream: bool) -> String {
        let site = self.site.and_then(|site| decider.config.sites.get(site.index()));
        let mut text = match self.what {
            What::Forward => "forward".to_owned(),
            What::Redirect { status, scheme, port, to_canonical } => {
                let host = site.and_then(config::Site::canonical_host).filter(|_| to_canonical);
                let port = port.map(|port| format!(":{port}")).unwrap_or_default();
                match (host, port.as_str()) {
                    (Some(host), port) => format!("redirect {status} to {scheme}://{host}{port}"),
                    (None, "") => format!("redirect {status} to {scheme}"),
                    (None, port) => format!("redirect {status} to {scheme} at {port}"),
                }
            }
            What::NotFound => "404 not found".to_owned(),
            What::Refuse { status, reason } => format!("refuse {status} {reason}"),
        };
        // Writing to a string does not fail.
        if let Some(site) = site {
            let _ = write!(text, ": site \"{}\"", site.name);
            if let Some(rule) = self.rule.and_then(|rule| site.rules().name(rule.index())) {
                let _ = write!(text, ", rule \"{rule}\"");
            } else if matches!(self.what, What::Forward | What::Redirect { .. }) {
                text.push_str(", no rule");
            }
            if with_upstream {
                let upstream: Vec<&str> = site.upstream.iter().map(|one| one.text.as_str()).collect();
                let _ = write!(text, ", to {}", upstream.join(", "));
            }
        }
        text
    }
}

/// Which site of one configuration has the name of which of another.
pub struct Counterparts {
    /// By the old site's number: the new one's, and whether both have the same servers.
    of: Vec<Option<(SiteId, bool)>>,
}

impl Counterparts {
    pub fn new(old: &Decider, new: &Decider) -> Counterparts {
        let of = old.config.sites.iter().map(|site| {
            let number = new.sites.named(&site.name)?;
            let other = new.config.sites.get(number.index())?;
            let upstream = |site: &config::Site| -> Vec<_> {
                site.upstream.iter().map(|one| one.upstream.clone()).collect()
            };
            Some((number, upstream(site) == upstream(other)))
        });
        Counterparts { of: of.collect() }
    }

    fn get(&self, old: Option<SiteId>) -> Option<(SiteId, bool)> {
        *self.of.get(old?.index())?
    }

    /// The site's servers are others now.
    pub fn moved(&self, old: &Verdict) -> bool {
        matches!(self.get(old.site), Some((_, false)))
    }

    /// Whether the visitor gets something else: another status, another `Location`, the site of another name or
    /// other servers. The same from another rule is the same.
    pub fn differ(&self, old: &Decision<'_>, new: &Decision<'_>) -> bool {
        match (&old.action, &new.action) {
            (Action::Forward, Action::Forward) => {
                !matches!(self.get(old.site), Some((site, true)) if Some(site) == new.site)
            }
            (Action::Redirect(old), Action::Redirect(new)) => {
                let same_host = old.host.eq_ignore_ascii_case(new.host);
                !same_host
                    || (old.status, old.scheme, old.port, old.target)
                        != (new.status, new.scheme, new.port, new.target)
            }
            (old, new) => {
                object::action_word(old) != object::action_word(new)
                    || object::status(old) != object::status(new)
            }
        }
    }
}
