//! Two threads at the session cache, ours beside the one that rustls brings.
//!
//! Each round is what one handshake asks of a full cache of 20,000 sessions: TLS 1.3 takes a
//! session and puts a new one, TLS 1.2 gets one, or puts one after a full handshake.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use portcullis::tls::{Binding, CacheLimits, Moment, Policy, SessionCache, Sessions, origin};
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};

const SIZE: usize = 20_000;
const THREADS: u64 = 2;

fn id(number: u64) -> Vec<u8> {
    let mut id = Vec::with_capacity(32);
    let mut state = number;
    for _ in 0..4 {
        // SplitMix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        id.extend_from_slice(&(word ^ (word >> 31)).to_be_bytes());
    }
    id
}

fn ours() -> Arc<dyn StoresServerSessions> {
    let limits = CacheLimits::new(SIZE, Duration::from_secs(300));
    let sessions =
        Sessions::Cache { cache: Arc::new(SessionCache::new(limits)), clock: Arc::new(Moment::default) };
    let binding = Binding::of("bench", &Policy::default());
    sessions.for_site(binding).storage()
}

/// One handshake of the thread that has done `done` of them so far.
type Round = fn(&dyn StoresServerSessions, value: &[u8], thread: u64, done: u64);

/// The number that `thread` stores in its round `done`; they differ for all threads and rounds.
fn number(thread: u64, done: u64) -> u64 {
    done * THREADS + thread + SIZE as u64
}

fn tls13_resumed(cache: &dyn StoresServerSessions, value: &[u8], thread: u64, done: u64) {
    // The session of 1,000 rounds ago: a client comes back after others.
    let old = number(thread, done).saturating_sub(1000 * THREADS);
    black_box(cache.take(&id(old)));
    cache.put(id(number(thread, done)), value.to_vec());
}

fn tls12_resumed(cache: &dyn StoresServerSessions, _: &[u8], thread: u64, done: u64) {
    black_box(cache.get(&id((done * 7 + thread) % SIZE as u64)));
}

fn full_handshake(cache: &dyn StoresServerSessions, value: &[u8], thread: u64, done: u64) {
    cache.put(id(number(thread, done)), value.to_vec());
}

fn hammer(cache: &Arc<dyn StoresServerSessions>, rounds: u64, from: u64, round: Round) -> Duration {
    let start = Arc::new(Barrier::new(THREADS as usize));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (cache, start) = (Arc::clone(cache), Arc::clone(&start));
            thread::spawn(move || {
                let value = origin::example_value(Moment::default(), &[7; 90]);
                start.wait();
                let began = Instant::now();
                for done in from..from + rounds {
                    round(&*cache, &value, thread, done);
                }
                began.elapsed()
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().expect("a round does not panic")).max().unwrap_or_default()
}

fn two_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("session_cache");
    group.throughput(Throughput::Elements(THREADS));
    group.sample_size(20);
    for (name, round) in [
        ("full_handshake", full_handshake as Round),
        ("tls12_resumed", tls12_resumed),
        ("tls13_resumed", tls13_resumed),
    ] {
        for (whose, cache) in [
            ("portcullis", ours()),
            ("rustls", ServerSessionMemoryCache::new(SIZE) as Arc<dyn StoresServerSessions>),
        ] {
            let value = origin::example_value(Moment::default(), &[7; 90]);
            for number in 0..SIZE as u64 {
                cache.put(id(number), value.clone());
            }
            let mut from = 0;
            group.bench_function(BenchmarkId::new(name, whose), |bencher| {
                bencher.iter_custom(|rounds| {
                    let took = hammer(&cache, rounds, from, round);
                    from += rounds;
                    took
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, two_threads);
criterion_main!(benches);
