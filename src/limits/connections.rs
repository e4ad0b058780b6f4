//! Connections open, by address.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::{AddressLimits, WAYS, place};

/// Words in the table.
const WORDS: usize = 128 * 1024;
const COUNT_BITS: u32 = 16;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// A word is 0, or holds a tag and a count that is not 0.
#[derive(Default)]
pub(super) struct Connections(OnceLock<Box<[AtomicU64]>>);

/// One connection that is counted.
pub struct Counted {
    limits: Arc<AddressLimits>,
    // None: its set was full.
    word: Option<usize>,
}

impl Connections {
    fn words(&self) -> &[AtomicU64] {
        self.0.get_or_init(|| (0..WORDS).map(|_| AtomicU64::new(0)).collect())
    }

    pub(super) fn enter(limits: &Arc<AddressLimits>, hash: u64, most: u16) -> Option<Counted> {
        let words = limits.connections.words();
        let (first, tag) = place(hash, words.len());
        let set = &words[first..first + WAYS];
        let counted = |way: usize| Some(Counted { limits: limits.clone(), word: Some(first + way) });
        loop {
            let mut free = None;
            let mut own = None;
            for (way, word) in set.iter().enumerate() {
                let value = word.load(Ordering::Relaxed);
                if value == 0 {
                    free = free.or(Some(way));
                } else if value >> COUNT_BITS == tag {
                    own = Some((way, value));
                    break;
                }
            }
            // A failed exchange: another worker was here, so look again.
            match (own, free) {
                (Some((_, value)), _) if value & COUNT_MASK >= u64::from(most) => return None,
                (Some((way, value)), _) if exchange(&set[way], value, value + 1) => return counted(way),
                (None, Some(_)) if most == 0 => return None,
                (None, Some(way)) if exchange(&set[way], 0, tag << COUNT_BITS | 1) => {
                    // Another worker may have put the same address elsewhere meanwhile: the first place counts.
                    let twice =
                        set[..way].iter().any(|word| word.load(Ordering::Relaxed) >> COUNT_BITS == tag);
                    if !twice {
                        return counted(way);
                    }
                    limits.connections.leave(first + way);
                }
                (None, None) => return Some(Counted { limits: limits.clone(), word: None }),
                _ => {}
            }
        }
    }

    fn leave(&self, word: usize) {
        let word = &self.words()[word];
        let mut value = word.load(Ordering::Relaxed);
        loop {
            let left = if value & COUNT_MASK <= 1 { 0 } else { value - 1 };
            match word.compare_exchange_weak(value, left, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => value = now,
            }
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(word) = self.word {
            self.limits.connections.leave(word);
        }
    }
}

fn exchange(word: &AtomicU64, from: u64, to: u64) -> bool {
    word.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::time::Instant;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_and_its_neighbours_have_their_own() {
        let limits = Arc::new(AddressLimits::new(Instant::now()));
        let mut held: Vec<_> = (0..3).map(|_| limits.connect(address("192.0.2.1"), 3).unwrap()).collect();
        assert!(limits.connect(address("192.0.2.1"), 3).is_none());
        assert!(limits.connect(address("::ffff:192.0.2.1"), 3).is_none(), "the same client");
        assert!(limits.connect(address("192.0.2.2"), 3).is_some());
        held.pop();
        assert!(limits.connect(address("192.0.2.1"), 3).is_some());
        let _six = limits.connect(address("2001:db8::1"), 1).unwrap();
        assert!(limits.connect(address("2001:db8::2"), 1).is_none(), "the same /64");
        assert!(limits.connect(address("2001:db8:0:1::1"), 1).is_some());
    }

    #[test]
    fn nothing_is_left_when_all_are_gone() {
        let limits = Arc::new(AddressLimits::new(Instant::now()));
        let held: Vec<_> =
            (0..5000u32).map(|n| limits.connect(IpAddr::from(n.to_be_bytes()), 2).unwrap()).collect();
        drop(held);
        assert!(limits.connections.words().iter().all(|word| word.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn the_limit_holds_over_threads() {
        let limits = Arc::new(AddressLimits::new(Instant::now()));
        let client = address("192.0.2.9");
        let first = limits.connect(client, 100).unwrap();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let limits = limits.clone();
                std::thread::spawn(move || {
                    (0..1000).filter_map(|_| limits.connect(client, 100)).collect::<Vec<_>>()
                })
            })
            .collect();
        let held: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(held.len(), 99);
        drop((held, first));
        assert!(limits.connections.words().iter().all(|word| word.load(Ordering::Relaxed) == 0));
    }
}
