//! How slow a client may be in taking a response or in sending a body, once it is waited for.
//!
//! Patience is a purse of time. It is full at first, each octet that moves puts in what it may take, waiting takes out, and it
//! holds no more than when it was full: who was fast for an hour has earned no second hour. A client that moves nothing is
//! given up when a full purse is empty, one that moves an octet a second hardly later, and one that keeps to the rate never.
//! Time in which nobody waits for the client, because the site server is slow, costs it nothing.

use std::time::Duration;

/// Longer than anybody waits, and far from where sums overflow.
const FOREVER_MS: u64 = u32::MAX as u64;

/// One direction of one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Octets a second; 0: no least rate.
    rate: u64,
    full_ms: u64,
    // left_ms <= full_ms
    left_ms: u64,
}

impl Pace {
    /// `rate`: octets a second, 0 for any. `full`: how long a client may move nothing.
    pub fn new(rate: u64, full: Duration) -> Pace {
        let full_ms = millis(full);
        Pace { rate, full_ms, left_ms: full_ms }
    }

    /// How long may be waited for so many octets, whatever pieces they move in.
    pub fn allows(&self, octets: usize) -> Duration {
        if self.rate == 0 {
            return Duration::from_millis(FOREVER_MS);
        }
        Duration::from_millis(self.left_ms.saturating_add(self.earned_ms(octets)).min(FOREVER_MS))
    }

    /// So long was waited, in milliseconds, and so many octets moved.
    pub fn moved(&mut self, waited_ms: u64, octets: usize) {
        let left = self.left_ms.saturating_add(self.earned_ms(octets));
        self.left_ms = left.saturating_sub(waited_ms).min(self.full_ms);
    }

    fn earned_ms(&self, octets: usize) -> u64 {
        (octets as u64).saturating_mul(1000).checked_div(self.rate).unwrap_or(FOREVER_MS)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(FOREVER_MS).min(FOREVER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Duration = Duration::from_secs(30);

    /// Seconds until a client that moves `octets` every `every_ms` is given up; `None`: not within a day.
    fn given_up_after(rate: u64, octets: usize, every_ms: u64) -> Option<u64> {
        let mut pace = Pace::new(rate, FULL);
        let mut now = 0;
        while now < 86_400_000 {
            if pace.allows(0) < Duration::from_millis(every_ms) {
                return Some((now + pace.allows(0).as_millis() as u64) / 1000);
            }
            now += every_ms;
            pace.moved(every_ms, octets);
        }
        None
    }

    #[test]
    fn who_keeps_to_the_rate_is_never_given_up_and_who_does_not_soon() {
        for (rate, octets, every_ms, expected) in [
            (256, 256, 1000, None),
            (256, 2560, 10_000, None),
            (256, 1, 1000, Some(30)),
            (256, 128, 1000, Some(59)),
            (256, 1, 40_000, Some(30)),
            (256, 65_536, 40_000, Some(30)),
            (0, 1, 1000, None),
        ] {
            assert_eq!(given_up_after(rate, octets, every_ms), expected, "{rate} {octets} {every_ms}");
        }
    }

    #[test]
    fn nothing_is_earned_beyond_a_full_purse() {
        let mut pace = Pace::new(256, FULL);
        pace.moved(0, 1 << 40);
        assert_eq!(pace.allows(0), FULL);
        assert_eq!(pace.allows(2560), FULL + Duration::from_secs(10));
        pace.moved(40_000, 2560);
        assert_eq!(pace.allows(0), Duration::ZERO);
    }

    #[test]
    fn no_number_is_too_large() {
        for rate in [0, 1, u64::MAX] {
            let mut pace = Pace::new(rate, Duration::MAX);
            pace.moved(u64::MAX, usize::MAX);
            pace.moved(0, usize::MAX);
            assert!(pace.allows(usize::MAX) <= Duration::from_millis(FOREVER_MS));
        }
    }
}
