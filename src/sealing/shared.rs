//! The keys of the process: replaced by whoever keeps the file, looked up by workers now and then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::keys::Keys;

/// One for the process; it outlives generations.
///
/// A worker keeps the [`Keys`] it got and asks [`newer`](Self::newer) from its timer: requests touch no lock and no
/// memory that another worker writes.
#[derive(Default)]
pub struct SharedKeys {
    current: Mutex<Arc<Keys>>,
    // Counts replacements.
    version: AtomicU64,
    sealed: AtomicU64,
}

impl SharedKeys {
    /// Puts other keys in the place of those there. `forget_count`: another key seals now.
    pub fn replace(&self, keys: Keys, forget_count: bool) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        if forget_count {
            self.sealed.store(0, Ordering::Relaxed);
        }
        self.version.fetch_add(1, Ordering::Release);
    }

    pub fn current(&self) -> Arc<Keys> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The keys, when they were replaced since `seen`, which then is up to date.
    pub fn newer(&self, seen: &mut u64) -> Option<Arc<Keys>> {
        let version = self.version.load(Ordering::Acquire);
        if version == *seen {
            return None;
        }
        *seen = version;
        Some(self.current())
    }

    /// So many values more were sealed.
    pub fn add_sealed(&self, count: u64) {
        self.sealed.fetch_add(count, Ordering::Relaxed);
    }

    /// Values sealed since another key began to seal, by this process.
    pub fn sealed(&self) -> u64 {
        self.sealed.load(Ordering::Relaxed)
    }
}
