//! The bounds of the cache: number, bytes, age; alone and under two threads.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use super::super::Policy;
use super::*;

const LIFETIME: Duration = Duration::from_secs(300);

fn cache(size: usize) -> SessionCache {
    SessionCache::new(CacheLimits::new(size, LIFETIME))
}

/// A key like those of rustls: random looking, different for each `number`.
fn id(number: u64) -> [u8; 32] {
    let mut id = [0; 32];
    let mut state = number.wrapping_add(1);
    for chunk in id.chunks_mut(8) {
        // SplitMix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.copy_from_slice(&(word ^ (word >> 31)).to_be_bytes());
    }
    id
}

fn site(name: &str) -> Binding {
    Binding::of(name, &Policy::default())
}

fn put(cache: &SessionCache, number: u64, now_ms: u64) -> bool {
    cache.put(&id(number), site("a"), now_ms, vec![number as u8; 100], now_ms)
}

fn has(cache: &SessionCache, number: u64, now_ms: u64) -> bool {
    cache.get(&id(number), site("a"), now_ms).is_some()
}

#[test]
fn get_leaves_the_session_and_take_removes_it() {
    let cache = cache(10);
    assert!(put(&cache, 1, 0));
    for _ in 0..2 {
        assert_eq!(cache.get(&id(1), site("a"), 0), Some(vec![1; 100]));
    }
    assert_eq!(cache.take(&id(1), site("a"), 0), Some(vec![1; 100]));
    assert_eq!(cache.take(&id(1), site("a"), 0), None);
    let statistics = cache.statistics();
    assert_eq!((statistics.hits, statistics.misses), (3, 1));
    assert_eq!((statistics.size, statistics.bytes), (0, 0));
}

#[test]
fn another_site_misses_and_the_session_stays() {
    let cache = cache(10);
    put(&cache, 1, 0);
    assert_eq!(cache.get(&id(1), site("b"), 0), None);
    assert_eq!(cache.take(&id(1), site("b"), 0), None);
    assert_eq!(cache.statistics().misses, 2);
    assert!(cache.take(&id(1), site("a"), 0).is_some());
}

#[test]
fn keys_of_other_lengths_are_refused() {
    let cache = cache(10);
    for length in [0, 1, 31, 33, 255, 70_000] {
        let id = vec![7; length];
        assert!(!cache.put(&id, site("a"), 0, vec![1], 0));
        assert_eq!(cache.get(&id, site("a"), 0), None);
        assert_eq!(cache.take(&id, site("a"), 0), None);
    }
    assert_eq!(cache.statistics().misses, 12);
}

#[test]
fn the_least_recently_used_goes_first() {
    let cache = cache(3);
    for number in 1..=3 {
        put(&cache, number, 0);
    }
    assert!(has(&cache, 1, 0));
    put(&cache, 4, 0);
    let left: Vec<_> = (1..=4).filter(|number| has(&cache, *number, 0)).collect();
    assert_eq!(left, [1, 3, 4]);
    assert_eq!(cache.statistics().evictions, 1);
}

#[test]
fn never_more_than_size_whatever_the_size() {
    for size in [0, 1, 2, 7, 1000, 1023, 1024, 2047, 2048, 3000, 20_000] {
        let cache = cache(size);
        let shares: usize = cache.shards.iter().map(|shard| lock(shard).entries_max).sum();
        assert_eq!(shares, size);
        assert!(cache.shards.len().is_power_of_two());
        assert!(cache.shards.len() == 1 || size / cache.shards.len() >= SHARD_ENTRIES);
        for number in 0..(2 * size as u64 + 10) {
            assert_eq!(put(&cache, number, 0), size > 0);
            assert!(number % 500 != 0 || cache.statistics().size <= size);
        }
        assert_eq!(cache.statistics().size, size, "twice as many fill every share");
    }
}

#[test]
fn a_session_put_twice_is_one() {
    let cache = cache(2);
    put(&cache, 1, 0);
    put(&cache, 2, 0);
    put(&cache, 1, 0);
    assert_eq!(cache.statistics().size, 2);
    assert_eq!(cache.statistics().evictions, 0);
}

#[test]
fn bytes_are_bounded_too() {
    let mut limits = CacheLimits::new(100, LIFETIME);
    limits.bytes_max = 10 * (1000 + ENTRY_BYTES);
    let cache = SessionCache::new(limits);
    for number in 0..50 {
        assert!(cache.put(&id(number), site("a"), 0, vec![1; 1000], 0));
        assert!(cache.statistics().bytes <= limits.bytes_max);
    }
    assert_eq!(cache.statistics().size, 10);
    assert!(!cache.put(&id(99), site("a"), 0, vec![1; limits.bytes_max], 0));
    assert!(!cache.put(&id(99), site("a"), 0, vec![1; VALUE_BYTES_MAX + 1], 0));
    assert_eq!(cache.statistics().size, 10, "what cannot fit drives nobody out");
    put(&cache, 60, 0);
    assert!(cache.statistics().bytes <= limits.bytes_max);
}

#[test]
fn an_expired_session_is_gone_when_asked_for() {
    let cache = cache(10);
    put(&cache, 1, 0);
    assert!(has(&cache, 1, 300_000));
    assert!(!has(&cache, 1, 300_001));
    let statistics = cache.statistics();
    assert_eq!((statistics.expiries, statistics.size), (1, 0));
    assert!(!cache.put(&id(1), site("a"), 0, vec![1], 300_001));
}

#[test]
fn a_sweep_looks_at_no_more_than_it_may() {
    let cache = cache(4096);
    for number in 0..3500 {
        put(&cache, number, 0);
    }
    let later = 300_001;
    let mut removed = 0;
    for _ in 0..10 {
        let swept = cache.sweep(later, 300);
        assert!(swept <= 300);
        removed += swept;
    }
    assert_eq!(removed, 3000);
    assert_eq!(cache.sweep(later, 4096), 500);
    let statistics = cache.statistics();
    assert_eq!((statistics.expiries, statistics.size), (3500, 0));
    assert_eq!(cache.sweep(later, 4096), 0);
}

#[test]
fn a_sweep_finds_the_expired_among_the_alive() {
    let cache = cache(500);
    for number in 0..400 {
        put(&cache, number, if number % 2 == 0 { 0 } else { 1000 });
    }
    assert_eq!(cache.sweep(300_500, 500), 200);
    assert!((0..400).all(|number| has(&cache, number, 300_500) == (number % 2 == 1)));
}

#[test]
fn new_limits_hold_at_once() {
    let cache = cache(3000);
    for number in 0..3000 {
        put(&cache, number, 0);
    }
    cache.set_limits(CacheLimits::new(500, Duration::from_secs(10)));
    assert!(cache.statistics().size <= 500);
    assert_eq!(cache.sweep(10_001, 500), cache.statistics().expiries as usize);
    assert_eq!(cache.statistics().size, 0);
    cache.set_limits(CacheLimits::new(0, LIFETIME));
    assert!(!put(&cache, 1, 0));
}

#[test]
fn two_threads_never_break_the_bounds_nor_the_counts() {
    const SIZE: usize = 2500;
    const ROUNDS: u64 = 30_000;
    let cache = Arc::new(cache(SIZE));
    let done = Arc::new(AtomicBool::new(false));
    let watcher = thread::spawn({
        let (cache, done) = (Arc::clone(&cache), Arc::clone(&done));
        move || {
            while !done.load(Ordering::Relaxed) {
                assert!(cache.statistics().size <= SIZE);
                cache.sweep(0, 64);
            }
        }
    });
    let workers = [0, 1].map(|worker| {
        let cache = Arc::clone(&cache);
        thread::spawn(move || {
            let (mut put, mut taken, mut asked) = (0, 0, 0);
            for round in 0..ROUNDS {
                let number = round * 2 + worker;
                put += u64::from(cache.put(&id(number), site("a"), 0, vec![3; 90], 0));
                // The other thread's too, some of them long evicted.
                for number in [number ^ 1, number.saturating_sub(2000)] {
                    asked += 2;
                    cache.get(&id(number), site("a"), 0);
                    taken += u64::from(cache.take(&id(number), site("a"), 0).is_some());
                }
            }
            (put, taken, asked)
        })
    });
    let sums = workers.map(|worker| worker.join().expect("the worker found no fault"));
    done.store(true, Ordering::Relaxed);
    watcher.join().expect("the bounds held");
    let statistics = cache.statistics();
    let put: u64 = sums.iter().map(|sum| sum.0).sum();
    let taken: u64 = sums.iter().map(|sum| sum.1).sum();
    let asked: u64 = sums.iter().map(|sum| sum.2).sum();
    assert_eq!(put, 2 * ROUNDS);
    assert_eq!(statistics.hits + statistics.misses, asked);
    assert_eq!(put, taken + statistics.evictions + statistics.size as u64);
    assert_eq!(statistics.bytes, statistics.size * (90 + ENTRY_BYTES));
}
