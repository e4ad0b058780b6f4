//! What was counted of the store since the start.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::failure::StoreFailure;

/// Read by anyone, written by the thread.
#[derive(Default)]
pub struct StoreCounts {
    is_wanted: AtomicBool,
    is_up: AtomicBool,
    failures: [AtomicU64; StoreCounts::REASONS.len()],
}

impl StoreCounts {
    /// The words of [`StoreFailure::word`].
    pub const REASONS: [&'static str; 7] =
        ["unreachable", "timeout", "refused", "protocol", "emptied", "secret", "setting"];

    /// Whether it was another before.
    pub(super) fn set_up(&self, is_up: bool) -> bool {
        self.is_up.swap(is_up, Ordering::Relaxed) != is_up
    }

    /// There is one from here on, or none any more.
    pub(in crate::certs::acme) fn set_wanted(&self, is_wanted: bool) {
        self.is_wanted.store(is_wanted, Ordering::Relaxed);
        self.is_up.store(false, Ordering::Relaxed);
    }

    pub(in crate::certs::acme) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }

    pub(super) fn failed(&self, failure: &StoreFailure) {
        if let Some(at) = Self::REASONS.iter().position(|reason| *reason == failure.word()) {
            self.failures[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// Reasons with how often each was met.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Self::REASONS
            .iter()
            .zip(&self.failures)
            .map(|(reason, count)| (*reason, count.load(Ordering::Relaxed)))
    }
}
