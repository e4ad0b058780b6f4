//! How far each certificate is, for those who ask.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What happens with a site's certificate now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcmeState {
    /// There is none, and an order waits for its turn or for the end of a wait.
    Wanted,
    /// An order is under way.
    Ordering,
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

    pub(super) fn all(&self) -> Vec<AcmeStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
