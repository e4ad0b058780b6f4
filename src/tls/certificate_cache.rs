//! What sources said of names: certificates, "none" and failures, bounded in number and age.
//!
//! ```text
//! asked ─▶ fresh ──3/4 of its lifetime──▶ fresh, asked again in the background ─▶ expired
//! failed ─▶ fresh for a tenth of the lifetime, 1 s to 30 s; what was known before serves meanwhile
//! ```
//!
//! Sharded like the session cache, and locked for one look-up of a handshake whose site has such sources;
//! other sites never come here. Keys are digests of source and name, so that they are never the peer's bytes
//! and take the same room for any name.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use lru::LruCache;

use super::Moment;
use super::served::{Answer, ServedTls};
use super::time::milliseconds;

/// A share of this size keeps the imbalance of shards small.
const SHARD_ENTRIES: usize = 1024;
const SHARDS_MAX: usize = 16;
const FAILURE_MS: (u64, u64) = (1_000, 30_000);

/// Source and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NameKey([u8; 32]);

impl NameKey {
    /// `source`: what tells sources apart, their site and policy with them.
    pub fn new(source: &[u8; 32], name: &[u8]) -> NameKey {
        let mut all = digest::Context::new(&digest::SHA256);
        all.update(source);
        all.update(name);
        NameKey(all.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

/// What happened so far, and what is there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CertificateCacheStatistics {
    /// Looked for and found, fresh or good enough.
    pub hits: u64,
    /// Looked for and unknown, or too old.
    pub misses: u64,
    /// Removed to make room.
    pub evictions: u64,
    /// Names remembered now, those with "none" included.
    pub size: usize,
}

/// One name of the cache, for those who list them.
#[derive(Clone)]
pub struct CachedName {
    pub site: Arc<str>,
    pub source: &'static str,
    pub name: Box<str>,
    /// `"fresh"`, `"stale"`, `"none"` or `"failed"`.
    pub state: &'static str,
    /// What it is served with now.
    pub served: Option<Arc<ServedTls>>,
    /// Milliseconds until a handshake has it asked for again; 0 when that time has come.
    pub asked_in_ms: u64,
}

/// What a look-up says.
pub enum Cached {
    /// `refresh`: it is time to ask in the background, and this caller is the one to do it.
    Fresh {
        answer: Answer,
        refresh: bool,
    },
    /// Expired; serves if the source fails.
    Stale(Arc<ServedTls>),
    Unknown,
}

/// Whose certificate it is, for listings.
#[derive(Clone)]
pub struct NameOf {
    pub site: Arc<str>,
    pub source: &'static str,
    pub name: Box<str>,
}

/// See the module. One for the process; it outlives generations.
pub struct CertificateCache {
    shards: Box<[Mutex<Shard>]>,
    lifetime_ms: AtomicU64,
    size: AtomicUsize,
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: AtomicU64,
}

struct Shard {
    entries: LruCache<NameKey, Entry>,
    entries_max: usize,
}

struct Entry {
    of: NameOf,
    state: State,
    fresh_until_ms: u64,
    refresh_at_ms: u64,
    // Somebody was told to refresh it.
    refreshing: bool,
}

enum State {
    Served(Arc<ServedTls>),
    Nothing,
    Failed { before: Option<Arc<ServedTls>> },
}

impl State {
    fn served(&self) -> Option<&Arc<ServedTls>> {
        match self {
            State::Served(served) => Some(served),
            State::Failed { before } => before.as_ref(),
            State::Nothing => None,
        }
    }
}

impl CertificateCache {
    /// `size`: names; `lifetime`: how long an answer is good that does not say so itself.
    pub fn new(size: usize, lifetime: Duration) -> CertificateCache {
        let shards = (size / SHARD_ENTRIES).clamp(1, SHARDS_MAX);
        let cache = CertificateCache {
            shards: (0..shards)
                .map(|_| Mutex::new(Shard { entries: LruCache::unbounded(), entries_max: 0 }))
                .collect(),
            lifetime_ms: AtomicU64::new(0),
            size: AtomicUsize::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
        };
        cache.set_limits(size, lifetime);
        cache
    }

    /// Takes up new bounds; what no longer fits leaves, least recently used first. Answers in it keep the
    /// lifetime they came with.
    pub fn set_limits(&self, size: usize, lifetime: Duration) {
        self.lifetime_ms.store(milliseconds(lifetime), Ordering::Relaxed);
        self.size.store(size, Ordering::Relaxed);
        let count = self.shards.len();
        for (index, shard) in self.shards.iter().enumerate() {
            let mut shard = lock(shard);
            shard.entries_max = size / count + usize::from(index < size % count);
            while shard.entries.len() > shard.entries_max {
                shard.entries.pop_lru();
                self.evictions.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub fn look(&self, key: &NameKey, now: Moment) -> Cached {
        let mut shard = lock(self.shard(key));
        let cached = match shard.entries.get_mut(key) {
            None => Cached::Unknown,
            Some(entry) => {
                // A certificate past its dates is no answer, whatever its lifetime.
                let current = entry.state.served().filter(|served| is_current(served, now)).cloned();
                let fresh = now.monotonic < entry.fresh_until_ms;
                match (&entry.state, current, fresh) {
                    (State::Nothing, _, true) => Cached::Fresh { answer: Answer::Nothing, refresh: false },
                    (State::Failed { .. }, None, true) => {
                        Cached::Fresh { answer: Answer::Failed, refresh: false }
                    }
                    (_, Some(served), true) => {
                        let refresh = now.monotonic >= entry.refresh_at_ms && !entry.refreshing;
                        entry.refreshing |= refresh;
                        Cached::Fresh { answer: Answer::Served(served), refresh }
                    }
                    (_, Some(served), false) => Cached::Stale(served),
                    (_, None, _) => Cached::Unknown,
                }
            }
        };
        let counter = if matches!(cached, Cached::Fresh { .. }) { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        cached
    }

    /// Whether a certificate is known for the name, however old.
    pub fn knows(&self, key: &NameKey, now: Moment) -> bool {
        let shard = lock(self.shard(key));
        let served = shard.entries.peek(key).and_then(|entry| entry.state.served());
        served.is_some_and(|served| is_current(served, now))
    }

    /// Takes up an answer. `lifetime`: what the source said, in place of the configured one. Returns what the
    /// name is served with from now on: after a failure what was known before, if that is still good.
    pub fn put(
        &self,
        key: NameKey,
        of: NameOf,
        answer: Answer,
        lifetime: Option<Duration>,
        now: Moment,
    ) -> Answer {
        let lifetime_ms = lifetime.map_or(self.lifetime_ms.load(Ordering::Relaxed), milliseconds);
        let mut shard = lock(self.shard(&key));
        let before = shard.entries.pop(&key);
        let (state, lifetime_ms, refresh_ms) = match answer {
            Answer::Served(served) => {
                let left = served.certificates.not_after().saturating_mul(1000);
                let left = u64::try_from(left).unwrap_or(0).saturating_sub(now.unix);
                let lifetime_ms = lifetime_ms.min(left);
                (State::Served(served), lifetime_ms, lifetime_ms / 4 * 3)
            }
            Answer::Nothing => (State::Nothing, lifetime_ms, u64::MAX),
            Answer::Failed => {
                let before = before.and_then(|entry| entry.state.served().cloned());
                let before = before.filter(|served| is_current(served, now));
                let lifetime_ms = (lifetime_ms / 10).clamp(FAILURE_MS.0, FAILURE_MS.1);
                (State::Failed { before }, lifetime_ms, u64::MAX)
            }
        };
        let said = match &state {
            State::Served(served) | State::Failed { before: Some(served) } => {
                Answer::Served(Arc::clone(served))
            }
            State::Nothing => Answer::Nothing,
            State::Failed { before: None } => Answer::Failed,
        };
        if shard.entries_max == 0 {
            return said;
        }
        while shard.entries.len() >= shard.entries_max {
            shard.entries.pop_lru();
            self.evictions.fetch_add(1, Ordering::Relaxed);
        }
        let entry = Entry {
            of,
            state,
            fresh_until_ms: now.monotonic.saturating_add(lifetime_ms),
            refresh_at_ms: now.monotonic.saturating_add(refresh_ms),
            refreshing: false,
        };
        shard.entries.put(key, entry);
        said
    }

    /// Forgets what is past its use: expired answers without a good certificate, and those with one that
    /// nobody asked for within another lifetime. For a timer; looks at every entry, a shard at a time.
    pub fn sweep(&self, now: Moment) {
        let lifetime_ms = self.lifetime_ms.load(Ordering::Relaxed);
        for shard in &self.shards {
            let mut shard = lock(shard);
            let past: Vec<NameKey> = shard
                .entries
                .iter()
                .filter(|(_, entry)| {
                    let kept_ms = match entry.state.served() {
                        Some(served) if is_current(served, now) => lifetime_ms.max(3_600_000),
                        _ => 0,
                    };
                    now.monotonic >= entry.fresh_until_ms.saturating_add(kept_ms)
                })
                .map(|(key, _)| *key)
                .collect();
            for key in past {
                shard.entries.pop(&key);
            }
        }
    }

    pub fn statistics(&self) -> CertificateCacheStatistics {
        CertificateCacheStatistics {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            evictions: self.evictions.load(Ordering::Relaxed),
            size: self.shards.iter().map(|shard| lock(shard).entries.len()).sum(),
        }
    }

    /// What is in it: of each shard those used last, at most `most` names in all.
    pub fn names(&self, now: Moment, most: usize) -> Vec<CachedName> {
        let mut names = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            for (_, entry) in shard.entries.iter().take(most.div_ceil(self.shards.len())) {
                let until_ms = |ms: u64| ms.saturating_sub(now.monotonic);
                let state = match &entry.state {
                    State::Served(_) if until_ms(entry.fresh_until_ms) > 0 => "fresh",
                    State::Served(_) | State::Failed { before: Some(_) } => "stale",
                    State::Nothing => "none",
                    State::Failed { before: None } => "failed",
                };
                let NameOf { site, source, name } = entry.of.clone();
                let served = entry.state.served().filter(|served| is_current(served, now)).cloned();
                let asked_in_ms = until_ms(entry.fresh_until_ms.min(entry.refresh_at_ms));
                names.push(CachedName { site, source, name, state, served, asked_in_ms });
            }
        }
        names.truncate(most);
        names
    }

    /// How many names it may remember.
    pub fn size_max(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    fn shard(&self, key: &NameKey) -> &Mutex<Shard> {
        &self.shards[usize::from(key.0[31]) % self.shards.len()]
    }
}

fn is_current(served: &ServedTls, now: Moment) -> bool {
    let seconds = i64::try_from(now.unix / 1000).unwrap_or(i64::MAX);
    served.certificates.not_after() >= seconds
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
