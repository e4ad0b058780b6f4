//! Requests a second, by address.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{WAYS, place};

/// Slots in the table.
const SLOTS: usize = 128 * 1024;
const SECOND_NS: u64 = 1_000_000_000;

/// How often an address may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Not 0.
    pub per_second: u32,
    /// So many at once, after a silence; not 0.
    pub burst: u32,
}

#[derive(Default)]
pub(super) struct Requests(OnceLock<Box<[Slot]>>);

/// Two addresses that take over one slot in the same moment may share a debt for as long as that lasts.
#[derive(Default)]
struct Slot {
    tag: AtomicU64,
    // When, in nanoseconds, the address has paid for all it asked; past: it owes nothing.
    paid_at: AtomicU64,
}

impl Requests {
    fn slots(&self) -> &[Slot] {
        self.0.get_or_init(|| (0..SLOTS).map(|_| Slot::default()).collect())
    }

    /// `now`: nanoseconds.
    pub(super) fn admit(&self, hash: u64, rate: Rate, now: u64) -> Result<(), u32> {
        let slots = self.slots();
        let (first, tag) = place(hash, slots.len());
        let slot = find(&slots[first..first + WAYS], tag, now);
        let price = SECOND_NS / u64::from(rate.per_second.max(1));
        let credit = price * u64::from(rate.burst.max(1));
        let mut paid_at = slot.paid_at.load(Ordering::Relaxed);
        loop {
            let debt = paid_at.saturating_sub(now) + price;
            if debt > credit {
                return Err(u32::try_from((debt - credit).div_ceil(SECOND_NS)).unwrap_or(u32::MAX));
            }
            let next = now + debt;
            match slot.paid_at.compare_exchange_weak(paid_at, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(meanwhile) => paid_at = meanwhile,
            }
        }
    }
}

/// The slot of a tag, or the one of its set that owes least, taken over.
fn find(set: &[Slot], tag: u64, now: u64) -> &Slot {
    loop {
        let mut least = (&set[0], u64::MAX);
        for slot in set {
            if slot.tag.load(Ordering::Relaxed) == tag {
                return slot;
            }
            let paid_at = slot.paid_at.load(Ordering::Relaxed);
            if paid_at < least.1 {
                least = (slot, paid_at);
            }
        }
        let (slot, paid_at) = least;
        let before = slot.tag.load(Ordering::Relaxed);
        if before == tag {
            return slot;
        }
        if slot.tag.compare_exchange(before, tag, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            // The debt of another is not ours.
            let _ = slot.paid_at.compare_exchange(paid_at, now, Ordering::Relaxed, Ordering::Relaxed);
            return slot;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::AddressLimits;
    use super::*;
    use std::net::IpAddr;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    const RATE: Rate = Rate { per_second: 10, burst: 5 };

    #[test]
    fn a_burst_passes_and_then_so_many_a_second() {
        let began = Instant::now();
        let limits = AddressLimits::new(began);
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        let asks = |ms: u64| limits.request(client, RATE, began + Duration::from_millis(ms));
        assert_eq!((0..20).filter(|_| asks(1000).is_ok()).count(), 5);
        assert_eq!(asks(1000), Err(1));
        // One for each tenth of a second.
        assert_eq!((1001..=2000).filter(|ms| asks(*ms).is_ok()).count(), 10);
        assert_eq!((0..20).filter(|_| asks(60_000).is_ok()).count(), 5, "a silence earns a burst, no more");
        assert!(limits.request("192.0.2.2".parse().unwrap(), RATE, began + Duration::from_secs(60)).is_ok());
    }

    #[test]
    fn the_rate_holds_over_threads() {
        let began = Instant::now();
        let limits = Arc::new(AddressLimits::new(began));
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let limits = limits.clone();
                let now = began + Duration::from_secs(1);
                std::thread::spawn(move || {
                    let rate = Rate { per_second: 100, burst: 100 };
                    (0..1000).filter(|_| limits.request(client, rate, now).is_ok()).count()
                })
            })
            .collect();
        assert_eq!(threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>(), 100);
    }

    #[test]
    fn a_flood_of_addresses_takes_no_memory_and_stops_nobody() {
        let began = Instant::now();
        let limits = AddressLimits::new(began);
        let now = began + Duration::from_secs(1);
        for address in 0..300_000u32 {
            assert!(limits.request(IpAddr::from(address.to_be_bytes()), RATE, now).is_ok());
        }
        assert_eq!(limits.requests.slots().len(), SLOTS);
    }
}
