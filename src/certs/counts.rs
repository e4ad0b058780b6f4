//! How often each reason was met, by threads that are not workers.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Counted since the start. Reasons are words of the code, so there are few.
#[derive(Default)]
pub struct ReasonCounts(Mutex<BTreeMap<&'static str, u64>>);

impl ReasonCounts {
    pub(super) fn add(&self, reason: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }

    pub fn all(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn sum(&self) -> u64 {
        self.all().values().sum()
    }
}
