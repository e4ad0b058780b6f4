//! What is known of one site's certificate, and what follows from it. Opens nothing, reads no clock.

use super::files::History;
use super::settings::AcmeSite;
use super::status::{AcmeState, AcmeStatus};
use crate::tls::ServedCertificate;
use crate::tls::renewal::{Failure, Validity, next_ca, renew_at};

/// A site whose certificate is ordered here.
pub(super) struct Site {
    pub wanted: AcmeSite,
    pub history: History,
    pub certificate: Option<Issued>,
    pub is_ordering: bool,
    /// The operator asked for a new one.
    pub is_forced: bool,
}

/// The certificate that is kept.
pub(super) struct Issued {
    pub certificate: ServedCertificate,
    pub directory_url: String,
}

impl Issued {
    fn validity(&self) -> Validity {
        Validity { not_before: self.certificate.not_before(), not_after: self.certificate.not_after() }
    }

    /// The same at each look, another one for each certificate.
    fn seed(&self) -> u64 {
        let leaf = self.certificate.chain().first().map_or(&[][..], |leaf| leaf.as_ref());
        // The signature is its end.
        let end = leaf.last_chunk::<8>().copied().unwrap_or_default();
        u64::from_le_bytes(end)
    }
}

impl Site {
    pub(super) fn new(wanted: AcmeSite, history: History, certificate: Option<Issued>) -> Site {
        Site { wanted, history, certificate, is_ordering: false, is_forced: false }
    }

    /// From when on the certificate should be another one.
    fn due(&self) -> i64 {
        let Some(issued) = &self.certificate else { return i64::MIN };
        let covered = |name: &String| issued.certificate.names().covers_pattern(name.as_bytes());
        let is_ours = self.wanted.cas.iter().any(|ca| ca.directory_url == issued.directory_url);
        if self.is_forced || !is_ours || !self.wanted.names.iter().all(covered) {
            return i64::MIN;
        }
        renew_at(issued.validity(), self.history.window, issued.seed())
    }

    /// The CA to ask next, and when.
    pub(super) fn next(&self) -> (usize, i64) {
        let histories: Vec<_> = self.wanted.cas.iter().map(|ca| self.history.of(&ca.directory_url)).collect();
        next_ca(&histories, self.due()).unwrap_or((0, i64::MAX))
    }

    /// When to ask the issuer for its window; `None`: it is asked no more, or there is nothing to ask for.
    pub(super) fn window_due(&self) -> Option<i64> {
        self.certificate.as_ref()?;
        (!self.is_ordering && self.history.window_again < i64::MAX).then_some(self.history.window_again)
    }

    pub(super) fn succeeded(&mut self, certificate: ServedCertificate, directory_url: &str, now: i64) {
        self.history = History { window_again: now, ..History::default() };
        self.certificate = Some(Issued { certificate, directory_url: directory_url.to_owned() });
        self.is_forced = false;
    }

    pub(super) fn failed(&mut self, directory_url: &str, failure: Failure, why: String, now: i64, seed: u64) {
        let history = self.history.of(directory_url).failed(failure, now, seed);
        self.history.set(directory_url, history);
        self.history.last_error = Some((now, why));
    }

    /// As the operator sees it.
    pub(super) fn status(&self, now: i64) -> AcmeStatus {
        let (ca, next) = self.next();
        let state = match &self.certificate {
            _ if self.is_ordering => AcmeState::Ordering,
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
            issuer: self.certificate.as_ref().map(|issued| issued.directory_url.clone()),
            not_after: self.certificate.as_ref().map(|issued| issued.certificate.not_after()),
            next: next.max(now),
            next_ca: self.wanted.cas.get(ca).map_or_else(String::new, |ca| ca.directory_url.clone()),
            last_error: self.history.last_error.clone(),
        }
    }
}
