//! The session cache: every session of every worker, bounded in number, bytes and age.
//!
//! TLS 1.2 sessions stay until they end (`get`); TLS 1.3 tickets are used once (`take`). Keys are
//! the 32 random bytes rustls makes; those that peers send are checked for length only and
//! compared.
//!
//! Sharded by key, since a client comes back to another core: each shard is a mutex around a list
//! in order of use. Shards have their own share of `size`, and the shares add up to it: no
//! counter is common to all. A share is about a thousand sessions or more, so that by chance
//! one shard is full while another is not only within a few percent of `size`; below 2,048
//! sessions there is one shard and the order of use is exact.
//!
//! Nothing on the request path looks at more than one entry. What has expired goes when it is
//! asked for, when its place is needed, or by [`SessionCache::sweep`].

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use zeroize::{Zeroize, Zeroizing};

use super::Binding;
use super::time::milliseconds;

/// A share of this size keeps the imbalance of shards small.
const SHARD_ENTRIES: usize = 1024;
/// Enough that 64 cores rarely meet: the lock is held well under a microsecond of a handshake's 70 and more.
const SHARDS_MAX: usize = 64;
/// What an entry costs beside its value: key, binding, times, list, table and two allocations.
const ENTRY_BYTES: usize = 192;
/// A session without client certificates has 100 to 200 bytes, a long chain a few thousand.
const VALUE_BYTES_MAX: usize = 16 * 1024;
/// Expired keys found in one pass under the lock.
const SWEEP_BATCH: usize = 64;

/// The bounds of the cache; all of them can be changed while it is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Sessions over all workers; 0 stores none.
    pub size: usize,
    /// From the full handshake to the last resumption.
    pub lifetime: Duration,
    /// Bytes of memory over all sessions. At the bound the least recently used go first.
    pub bytes_max: usize,
}

impl CacheLimits {
    /// 2 KiB for each of `size` sessions: six times what a session without client certificate
    /// takes, one of the size of usual client certificates.
    pub fn new(size: usize, lifetime: Duration) -> CacheLimits {
        CacheLimits { size, lifetime, bytes_max: size.saturating_mul(2048).max(64 * 1024) }
    }
}

/// What happened so far, and what is there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStatistics {
    /// Questions answered with a session.
    pub hits: u64,
    /// Questions without an answer: unknown, expired, or another site's.
    pub misses: u64,
    /// Sessions removed before their time, to make room.
    pub evictions: u64,
    /// Sessions removed because their lifetime had ended.
    pub expiries: u64,
    /// Sessions stored now.
    pub size: usize,
    /// Estimated bytes they take, at most `bytes_max`.
    pub bytes: usize,
}

/// See the module. One for the process, given to each new generation: sessions survive reloads.
pub struct SessionCache {
    shards: Box<[Mutex<Shard>]>,
    lifetime_ms: AtomicU64,
    /// The shard the next sweep begins with.
    sweep_at: AtomicUsize,
}

struct Shard {
    entries: LruCache<Key, Entry, BuildHasherDefault<KeyHasher>>,
    // entries.len() <= entries_max and bytes <= bytes_max after every call
    entries_max: usize,
    bytes: usize,
    bytes_max: usize,
    hits: u64,
    misses: u64,
    evictions: u64,
    expiries: u64,
}

struct Entry {
    value: Zeroizing<Box<[u8]>>,
    binding: Binding,
    /// Of the full handshake, on the monotonic clock.
    origin_ms: u64,
}

impl Entry {
    fn bytes(&self) -> usize {
        self.value.len() + ENTRY_BYTES
    }

    fn expired(&self, now_ms: u64, lifetime_ms: u64) -> bool {
        now_ms.saturating_sub(self.origin_ms) > lifetime_ms
    }
}

impl SessionCache {
    /// An empty cache. The number of shards follows `limits.size` and stays for good.
    pub fn new(limits: CacheLimits) -> SessionCache {
        let shards = (limits.size / SHARD_ENTRIES).clamp(1, SHARDS_MAX).next_power_of_two();
        // 1,024 to 2,047 would round up to two shares of less than a thousand.
        let shards = if limits.size / shards < SHARD_ENTRIES { (shards / 2).max(1) } else { shards };
        let cache = SessionCache {
            shards: (0..shards).map(|_| Mutex::new(Shard::empty())).collect(),
            lifetime_ms: AtomicU64::new(0),
            sweep_at: AtomicUsize::new(0),
        };
        cache.set_limits(limits);
        cache
    }

    /// Takes up new bounds; what no longer fits leaves at once, least recently used first.
    ///
    /// For the thread that reloads: it holds each shard while it shrinks.
    pub fn set_limits(&self, limits: CacheLimits) {
        self.lifetime_ms.store(milliseconds(limits.lifetime), Ordering::Relaxed);
        let count = self.shards.len();
        for (index, shard) in self.shards.iter().enumerate() {
            let mut shard = lock(shard);
            shard.entries_max = share(limits.size, count, index);
            shard.bytes_max = share(limits.bytes_max, count, index);
            shard.make_room(0, 0);
        }
    }

    /// Stores a session; `origin_ms`: when its full handshake was, on the monotonic clock.
    ///
    /// False when it is not stored: `id` has not 32 bytes, the value is over 16 KiB or over the
    /// shard's bytes, the lifetime is over, or the size is 0. The memory of `value` is wiped either way.
    pub fn put(&self, id: &[u8], binding: Binding, origin_ms: u64, mut value: Vec<u8>, now_ms: u64) -> bool {
        let lifetime_ms = self.lifetime_ms.load(Ordering::Relaxed);
        // A copy of the exact size: shrinking in place could leave the secret in freed memory.
        let entry = Entry { value: Zeroizing::new(Box::from(value.as_slice())), binding, origin_ms };
        value.zeroize();
        let Some(key) = Key::new(id) else {
            return false;
        };
        if entry.value.len() > VALUE_BYTES_MAX || entry.expired(now_ms, lifetime_ms) {
            return false;
        }
        let mut shard = lock(self.shard(&key));
        if shard.entries_max == 0 || entry.bytes() > shard.bytes_max {
            return false;
        }
        shard.remove(&key);
        while shard.entries.len() >= shard.entries_max || shard.bytes + entry.bytes() > shard.bytes_max {
            shard.pop_oldest(now_ms, lifetime_ms);
        }
        shard.bytes += entry.bytes();
        shard.entries.put(key, entry);
        true
    }

    /// A copy of the session, which stays and counts as used (TLS 1.2).
    ///
    /// `id` is what the peer sent. A session of another binding is a miss and stays where it is.
    pub fn get(&self, id: &[u8], binding: Binding, now_ms: u64) -> Option<Vec<u8>> {
        self.look_up(id, binding, now_ms, |shard, key| {
            shard.entries.get(key).map(|entry| entry.value.to_vec())
        })
    }

    /// The session, which is gone afterwards (TLS 1.3: a ticket is used once).
    pub fn take(&self, id: &[u8], binding: Binding, now_ms: u64) -> Option<Vec<u8>> {
        self.look_up(id, binding, now_ms, |shard, key| {
            let mut entry = shard.remove(key)?;
            Some(std::mem::take(&mut *entry.value).into_vec())
        })
    }

    fn look_up(
        &self,
        id: &[u8],
        binding: Binding,
        now_ms: u64,
        found: impl FnOnce(&mut Shard, &Key) -> Option<Vec<u8>>,
    ) -> Option<Vec<u8>> {
        let lifetime_ms = self.lifetime_ms.load(Ordering::Relaxed);
        let Some(key) = Key::new(id) else {
            // Counted somewhere: the statistics are sums.
            lock(&self.shards[0]).misses += 1;
            return None;
        };
        let mut shard = lock(self.shard(&key));
        let known = shard
            .entries
            .peek(&key)
            .map(|entry| (entry.binding == binding, entry.expired(now_ms, lifetime_ms)));
        let value = match known {
            Some((_, true)) => {
                shard.remove(&key);
                shard.expiries += 1;
                None
            }
            Some((true, false)) => found(&mut shard, &key),
            Some((false, false)) | None => None,
        };
        match &value {
            Some(_) => shard.hits += 1,
            None => shard.misses += 1,
        }
        value
    }

    /// Removes expired sessions among the least recently used, looking at `entries_max` at most;
    /// returns how many went. The next sweep goes on with the next shard.
    ///
    /// With `entries_max` of at least `size` everything expired goes. With less, an expired
    /// session may be hidden behind ones used less recently, for one more lifetime at most:
    /// those were begun before its last use. It does not resume in either case.
    pub fn sweep(&self, now_ms: u64, entries_max: usize) -> usize {
        let lifetime_ms = self.lifetime_ms.load(Ordering::Relaxed);
        let count = self.shards.len();
        let mut left = entries_max;
        let mut removed = 0;
        for _ in 0..count {
            if left == 0 {
                break;
            }
            let at = self.sweep_at.fetch_add(1, Ordering::Relaxed) % count;
            let mut shard = lock(&self.shards[at]);
            let looked_at = left.min(shard.entries.len());
            left -= looked_at;
            removed += shard.remove_expired(now_ms, lifetime_ms, looked_at);
        }
        removed
    }

    /// Every session that is alive, least recently used first in each shard, a shard at a time. `each` is called
    /// with a shard locked; it must only copy.
    pub(super) fn export(
        &self,
        now_ms: u64,
        mut each: impl FnMut(&[u8; 32], Binding, u64, &[u8]),
        mut shard_ends: impl FnMut() -> bool,
    ) {
        let lifetime_ms = self.lifetime_ms.load(Ordering::Relaxed);
        for shard in &self.shards {
            for (key, entry) in lock(shard).entries.iter().rev() {
                if !entry.expired(now_ms, lifetime_ms) {
                    each(&key.0, entry.binding, entry.origin_ms, &entry.value);
                }
            }
            if !shard_ends() {
                return;
            }
        }
    }

    /// The sums over all shards; each is locked in turn.
    pub fn statistics(&self) -> CacheStatistics {
        let mut all = CacheStatistics::default();
        for shard in &self.shards {
            let shard = lock(shard);
            all.hits += shard.hits;
            all.misses += shard.misses;
            all.evictions += shard.evictions;
            all.expiries += shard.expiries;
            all.size += shard.entries.len();
            all.bytes += shard.bytes;
        }
        all
    }

    fn shard(&self, key: &Key) -> &Mutex<Shard> {
        // The table hashes by the first bytes, the shard goes by the last.
        &self.shards[usize::from(key.0[31]) % self.shards.len()]
    }
}

impl Shard {
    fn empty() -> Shard {
        Shard {
            // Unbounded: a bounded one would allocate its whole table at once. `put` keeps the bound.
            entries: LruCache::unbounded_with_hasher(BuildHasherDefault::default()),
            entries_max: 0,
            bytes: 0,
            bytes_max: 0,
            hits: 0,
            misses: 0,
            evictions: 0,
            expiries: 0,
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.entries.pop(key)?;
        self.bytes -= entry.bytes();
        Some(entry)
    }

    fn make_room(&mut self, now_ms: u64, lifetime_ms: u64) {
        while self.entries.len() > self.entries_max || self.bytes > self.bytes_max {
            self.pop_oldest(now_ms, lifetime_ms);
        }
    }

    fn pop_oldest(&mut self, now_ms: u64, lifetime_ms: u64) {
        let Some((_, entry)) = self.entries.pop_lru() else {
            debug_assert_eq!(self.bytes, 0, "an empty shard has no bytes");
            self.bytes = 0;
            return;
        };
        self.bytes -= entry.bytes();
        if entry.expired(now_ms, lifetime_ms) {
            self.expiries += 1;
        } else {
            self.evictions += 1;
        }
    }

    /// Of the `looked_at` least recently used.
    fn remove_expired(&mut self, now_ms: u64, lifetime_ms: u64, looked_at: usize) -> usize {
        let mut expired = Vec::new();
        let mut removed = 0;
        // Those a batch leaves behind are alive, and come first in the next look.
        let mut alive = 0;
        while alive + removed < looked_at {
            let mut seen = 0;
            for (key, entry) in self.entries.iter().rev().skip(alive).take(looked_at - alive - removed) {
                seen += 1;
                if entry.expired(now_ms, lifetime_ms) {
                    expired.push(*key);
                    if expired.len() == SWEEP_BATCH {
                        break;
                    }
                }
            }
            if seen == 0 {
                break;
            }
            alive += seen - expired.len();
            removed += expired.len();
            for key in expired.drain(..) {
                self.remove(&key);
                self.expiries += 1;
            }
        }
        removed
    }
}

/// The part of `whole` that shard `index` of `count` has; the parts add up to `whole`.
fn share(whole: usize, count: usize, index: usize) -> usize {
    whole / count + usize::from(index < whole % count)
}

/// A panic of another thread inside the lock would be a bug of ours; the table stays whole.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Key([u8; 32]);

impl Key {
    fn new(id: &[u8]) -> Option<Key> {
        <[u8; 32]>::try_from(id).ok().map(Key)
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0[..8]);
        state.write_u64(u64::from_ne_bytes(first));
    }
}

/// Keys in the table are random bytes of our own, so their first eight are a hash already. Those
/// that peers make up are looked for, never stored: they cannot crowd a bucket.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, first: u64) {
        self.0 = first;
    }
}

#[cfg(test)]
mod tests;
