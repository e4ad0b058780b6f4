//! Certificates that are ordered when a client asks for their name: who may have one, and what a handshake gets meanwhile.
//!
//! ```text
//! handshake ─▶ allowed? ─ no ─▶ the next source
//!                │ yes
//!                ├─ kept, and good for long ─▶ served
//!                ├─ kept, a renewal is due ─▶ may it? ─ yes ─▶ whoever orders is told; what is kept is served
//!                └─ nothing kept ─▶ may it? ─ yes ─▶ ordered, within the budget ─ PATIENCE ─▶ served, or the next source
//! ```
//!
//! It runs on the threads that ask sources, never on a worker. Whether a name may have a certificate is asked again for each
//! renewal: a customer who has left is not renewed. Names that nobody asks for any more are not renewed either.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::AskFailure;
use super::http::{self, AskUrl, Trust};
use super::lookup::Lookups;
use crate::tls::ServedCertificate;

/// How long a handshake waits for an order: the client's patience is not endless, and neither is that of
/// `timeouts.handshake`.
pub const PATIENCE: Duration = Duration::from_secs(8);
/// For the answer whether a name may.
const ASK: Duration = Duration::from_secs(3);
/// After this it is looked again whether there is a certificate.
const SOON: Duration = Duration::from_secs(2);

/// Which names may be ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnDemandRule {
    /// Hosts and `*.rest`; empty: all, if there is somebody to ask.
    pub allow: Vec<String>,
    /// Answers 200 for names that may: `?domain=NAME` is appended.
    pub ask: Option<AskUrl>,
}

/// What is kept for a name.
pub struct KeptOnDemand {
    pub certificate: ServedCertificate,
    /// A new one should be ordered.
    pub is_due: bool,
}

/// Whoever orders.
pub trait OnDemandOrders: Send + Sync {
    /// What is kept for a name of a site.
    fn kept(&self, site: &str, name: &str) -> Option<KeptOnDemand>;

    /// The name may have a certificate and is asked for. Waits until an order that this causes, or that is under way, has
    /// ended, but no longer than `patience`. False: none is under way, and none will be soon.
    fn want(&self, site: &str, name: &str, patience: Duration) -> bool;
}

/// Set once, before anything is served.
pub type Orders = Arc<OnceLock<Arc<dyn OnDemandOrders>>>;

/// A rule with what it takes to follow it.
#[derive(Clone)]
pub(super) struct OnDemand {
    pub(super) rule: OnDemandRule,
    pub(super) trust: Option<Trust>,
    pub(super) orders: Orders,
}

/// What a handshake gets, and how long it may be remembered; `None`: as others.
pub(super) type Given = (Option<ServedCertificate>, Option<Duration>);

impl OnDemand {
    /// # Errors
    /// It could not be asked whether the name may have one.
    pub(super) fn certificate(&self, site: &str, name: &str, lookups: &Lookups) -> Result<Given, AskFailure> {
        let Some(orders) = self.orders.get() else { return Ok((None, Some(SOON))) };
        if !is_name(name) || !self.rule.allows(name) {
            return Ok((None, None));
        }
        match orders.kept(site, name) {
            Some(kept) if !kept.is_due => return Ok((Some(kept.certificate), None)),
            Some(kept) => {
                // What is kept is good for some time yet: whoever cannot be asked is asked again.
                if self.may(name, lookups).unwrap_or(false) {
                    orders.want(site, name, Duration::ZERO);
                }
                return Ok((Some(kept.certificate), None));
            }
            None => {}
        }
        if !self.may(name, lookups)? {
            return Ok((None, None));
        }
        let is_wanted = orders.want(site, name, PATIENCE);
        match orders.kept(site, name) {
            Some(kept) => Ok((Some(kept.certificate), None)),
            None => Ok((None, is_wanted.then_some(SOON))),
        }
    }

    fn may(&self, name: &str, lookups: &Lookups) -> Result<bool, AskFailure> {
        let Some(ask) = &self.rule.ask else { return Ok(true) };
        let joint = if ask.target.contains('?') { '&' } else { '?' };
        let url = AskUrl { target: format!("{}{joint}domain={name}", ask.target), ..ask.clone() };
        match http::get(&url, self.trust.as_ref(), ASK, lookups) {
            Ok(()) => Ok(true),
            Err(AskFailure::Status(status)) if status < 500 => {
                tracing::info!(name, status, "no certificate is ordered on demand: it may not have one");
                Ok(false)
            }
            Err(failure) => Err(failure),
        }
    }
}

impl OnDemandRule {
    fn allows(&self, name: &str) -> bool {
        let fits = |pattern: &String| match pattern.strip_prefix('*') {
            // `*.rest` any number of labels before the rest, at least one; `*`: all.
            Some(rest) => name.len() > rest.len() && name.ends_with(rest),
            None => name == pattern,
        };
        self.allow.iter().any(fits) || (self.allow.is_empty() && self.ask.is_some())
    }
}

/// A name that an authority could issue for: of the public DNS, lowercase, and no address.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let last = name.rsplit('.').next().unwrap_or("");
    name.len() <= 253
        && name.contains('.')
        && name.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_an_authority_could_issue_for() {
        for (name, good) in [
            ("a.example", true),
            ("xn--bcher-kva.example", true),
            ("a-b.c.example", true),
            ("localhost", false),
            ("192.0.2.1", false),
            ("a..example", false),
            (".example", false),
            ("a.example.", false),
            ("-a.example", false),
            ("a_b.example", false),
            ("A.example", false),
            ("../../etc.example", false),
            ("", false),
        ] {
            assert_eq!(is_name(name), good, "{name}");
        }
        assert!(!is_name(&format!("{}.example", "a".repeat(64))));
    }

    #[test]
    fn patterns_say_what_is_allowed_and_nothing_is_without_any() {
        let ask = AskUrl {
            server: http::AskServer::Tcp { host: "127.0.0.1".to_owned(), port: 1 },
            authority: "127.0.0.1:1".to_owned(),
            target: "/".to_owned(),
        };
        for (allow, ask, name, expected) in [
            (&["*.shops.example"][..], None, "a.shops.example", true),
            (&["*.shops.example"], None, "a.b.shops.example", true),
            (&["*.shops.example"], None, "shops.example", false),
            (&["*.shops.example"], None, "ashops.example", false),
            (&["a.example"], Some(ask.clone()), "a.example", true),
            (&["a.example"], Some(ask.clone()), "b.example", false),
            (&["*"], None, "b.example", true),
            (&[], Some(ask), "b.example", true),
            (&[], None, "b.example", false),
        ] {
            let rule = OnDemandRule { allow: allow.iter().map(|text| (*text).to_owned()).collect(), ask };
            assert_eq!(rule.allows(name), expected, "{rule:?} {name}");
        }
    }
}
