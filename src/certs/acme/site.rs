//! What is known of one site's certificate, and what follows from it. Opens nothing, reads no clock.

use super::files::{History, Kept};
use super::settings::AcmeSite;
use super::status::{AcmeState, AcmeStatus};
use super::turn::Why;
use crate::tls::renewal::{next_ca, renew_at};

/// A site whose certificate is ordered here.
pub(super) struct Site {
    pub wanted: AcmeSite,
    pub history: History,
    pub certificate: Option<Kept>,
    pub is_ordering: bool,
    /// The operator asked for a new one.
    pub is_forced: bool,
    /// Until when no CA is asked, and why not.
    pub later: Option<(i64, Why)>,
}

impl Site {
    pub(super) fn new(wanted: AcmeSite, history: History, certificate: Option<Kept>) -> Site {
        Site { wanted, history, certificate, is_ordering: false, is_forced: false, later: None }
    }

    /// From when on the certificate should be another one.
    fn due(&self) -> i64 {
        let Some(kept) = &self.certificate else { return i64::MIN };
        if self.is_forced || !kept.is_for(&self.wanted) {
            return i64::MIN;
        }
        renew_at(kept.validity(), self.history.window, kept.seed())
    }

    /// The CA to ask next, and when.
    pub(super) fn next(&self) -> (usize, i64) {
        let histories: Vec<_> = self.wanted.cas.iter().map(|ca| self.history.of(&ca.directory_url)).collect();
        let (ca, at) = next_ca(&histories, self.due()).unwrap_or((0, i64::MAX));
        (ca, self.later.map_or(at, |(until, _)| at.max(until)))
    }

    /// When to ask the issuer for its window; `None`: it is asked no more, or there is nothing to ask for.
    pub(super) fn window_due(&self) -> Option<i64> {
        self.certificate.as_ref()?;
        (!self.is_ordering && self.history.window_again < i64::MAX).then_some(self.history.window_again)
    }

    pub(super) fn succeeded(&mut self, kept: Kept, now: i64) {
        self.history = History { window_again: now, ..History::default() };
        self.certificate = Some(kept);
        self.is_forced = false;
        self.later = None;
    }

    /// `history`: as an attempt left it.
    pub(super) fn failed(&mut self, history: History) {
        self.history.cas = history.cas;
        self.history.last_error = history.last_error;
        self.later = None;
    }

    /// As the operator sees it.
    pub(super) fn status(&self, now: i64) -> AcmeStatus {
        let (ca, next) = self.next();
        let state = match &self.certificate {
            _ if self.is_ordering => AcmeState::Ordering,
            _ if matches!(self.later, Some((until, Why::Elsewhere)) if until > now) => AcmeState::Elsewhere,
            Some(issued) if issued.certificate.is_current(now) => {
                if self.due() <= now {
                    AcmeState::Overdue
                } else {
                    AcmeState::Valid
                }
            }
            _ => AcmeState::Wanted,
        };
        AcmeStatus {
            site: self.wanted.site.clone(),
            names: self.wanted.names.clone(),
            state,
            issuer: self.certificate.as_ref().map(|kept| kept.directory_url.clone()),
            not_after: self.certificate.as_ref().map(|kept| kept.certificate.not_after()),
            next: next.max(now),
            next_ca: self.wanted.cas.get(ca).map_or_else(String::new, |ca| ca.directory_url.clone()),
            last_error: self.history.last_error.clone(),
        }
    }
}
