//! How far each certificate is and what was counted, for those who ask.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::store::StoreCounts;
use crate::tls::renewal::Failure;

/// What happens with a site's certificate now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcmeState {
    /// There is none, and an order waits for its turn or for the end of a wait.
    Wanted,
    /// An order is under way.
    Ordering,
    /// Another machine of the fleet has an order under way.
    Elsewhere,
    /// There is one, and it is not yet time for the next.
    Valid,
    /// There is one, and the next was due and failed.
    Overdue,
}

impl AcmeState {
    pub fn word(self) -> &'static str {
        match self {
            AcmeState::Wanted => "wanted",
            AcmeState::Ordering => "ordering",
            AcmeState::Elsewhere => "elsewhere",
            AcmeState::Valid => "valid",
            AcmeState::Overdue => "overdue",
        }
    }
}

/// Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeStatus {
    pub site: String,
    pub names: Vec<String>,
    pub state: AcmeState,
    /// Directory URL of the CA that issued what is kept.
    pub issuer: Option<String>,
    pub not_after: Option<i64>,
    /// When the next order is due.
    pub next: i64,
    /// Directory URL of the CA that is asked then.
    pub next_ca: String,
    /// The last failure, and when; none since the last certificate.
    pub last_error: Option<(i64, String)>,
}

/// Read by anyone, written by the thread.
#[derive(Clone, Default)]
pub(super) struct Statuses(Arc<Mutex<BTreeMap<String, AcmeStatus>>>);

impl Statuses {
    pub(super) fn put(&self, status: AcmeStatus) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(status.site.clone(), status);
    }

    pub(super) fn keep_only(&self, wanted: impl Fn(&str) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|site, _| wanted(site));
    }

    pub(super) fn has(&self, site: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(site)
    }

    pub(super) fn all(&self) -> Vec<AcmeStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// What the thread tells. Clones are the same.
#[derive(Clone, Default)]
pub struct AcmeSeen {
    pub(super) statuses: Statuses,
    pub(super) counts: Arc<Counts>,
    pub(super) store: Arc<StoreCounts>,
}

impl AcmeSeen {
    /// How far each certificate is, by site.
    pub fn statuses(&self) -> Vec<AcmeStatus> {
        self.statuses.all()
    }

    /// How orders ended, each with how often.
    pub fn results(&self) -> [(&'static str, u64); 5] {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counts { ordered, found, unreachable, refused, rate_limited } = &*self.counts;
        [
            ("ordered", value(ordered)),
            ("found", value(found)),
            (Failure::Unreachable.word(), value(unreachable)),
            (Failure::Refused.word(), value(refused)),
            (Failure::RateLimited.word(), value(rate_limited)),
        ]
    }

    /// `None`: there is no store.
    pub fn store(&self) -> Option<&StoreCounts> {
        Some(&*self.store).filter(|store| store.is_wanted())
    }
}

/// What was counted since the start.
#[derive(Default)]
pub(super) struct Counts {
    ordered: AtomicU64,
    found: AtomicU64,
    unreachable: AtomicU64,
    refused: AtomicU64,
    rate_limited: AtomicU64,
}

impl Counts {
    pub(super) fn ordered(&self) {
        self.ordered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn found(&self) {
        self.found.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, failure: Failure) {
        let counter = match failure {
            Failure::Unreachable => &self.unreachable,
            Failure::Refused => &self.refused,
            Failure::RateLimited => &self.rate_limited,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
