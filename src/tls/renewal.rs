//! When a certificate is ordered anew, from whom, and how long to wait after a failure. Pure.
//!
//! ```text
//! not_before ───────────────┬─ 2/3 ─┬──────────────── not_after
//!                           └ spread┘   without a word from the CA
//!        start ══ suggested window ══ end              with one (RFC 9773)
//! ```
//!
//! Times are seconds since 1970. A seed spreads machines and sites over time; it is the same for a certificate at
//! each look, so that the moment does not move.

/// The dates of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub not_before: i64,
    pub not_after: i64,
}

/// When the CA suggests to renew (RFC 9773 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub start: i64,
    pub end: i64,
}

/// Without a word from the CA the moment lies in this part of the lifetime behind two thirds.
const SPREAD_PART: i64 = 20;
/// A window is trusted up to so small a part of the lifetime before the end.
const LAST_PART: i64 = 20;

/// The moment from which on a certificate is ordered anew.
///
/// With a window: a moment in it, the same chance for each (RFC 9773 §4.2), but not in the last twentieth of the
/// lifetime; a window that ends before it starts says nothing.
#[must_use]
pub fn renew_at(validity: Validity, window: Option<Window>, seed: u64) -> i64 {
    let Validity { not_before, not_after } = validity;
    let lifetime = not_after.saturating_sub(not_before).max(0);
    match window.filter(|window| window.start <= window.end) {
        Some(Window { start, end }) => {
            let moment = start.saturating_add(part_of(end.saturating_sub(start), seed));
            moment.min(not_after.saturating_sub(lifetime / LAST_PART))
        }
        None => not_before.saturating_add(lifetime / 3 * 2 + part_of(lifetime / SPREAD_PART, seed)),
    }
}

/// When to ask the CA for its window again: as it says, but once a day at least and not more than once in a
/// minute (RFC 9773 §4.3.2). `asked_for`: seconds, from `Retry-After`.
#[must_use]
pub fn ask_window_again(now: i64, asked_for: u64) -> i64 {
    let seconds = i64::try_from(asked_for).unwrap_or(i64::MAX).clamp(60, 86_400);
    now.saturating_add(seconds)
}

/// Why an order failed, as far as it matters for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The CA was not reached or did not answer: nothing was counted against us.
    Unreachable,
    /// The CA said no, or could not validate.
    Refused,
    /// The CA said that it was asked too often.
    RateLimited,
}

impl Failure {
    /// The reason word in logs and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Failure::Unreachable => "unreachable",
            Failure::Refused => "refused",
            Failure::RateLimited => "rate_limited",
        }
    }

    /// First wait and longest wait, in seconds.
    ///
    /// Let's Encrypt lets five validations of a name fail in an hour: 2, 4, 8, 16 and 32 minutes stay below.
    const fn waits(self) -> (i64, i64) {
        match self {
            Failure::Unreachable => (10, 3_600),
            Failure::Refused => (120, 86_400),
            Failure::RateLimited => (3_600, 86_400),
        }
    }
}

/// Seconds to wait after the `count`th failure in a row (1: the first): doubled each time, and up to a quarter more.
#[must_use]
pub fn wait_after(failure: Failure, count: u32, seed: u64) -> i64 {
    let (first, longest) = failure.waits();
    let doubled =
        first.saturating_mul(1_i64.checked_shl(count.saturating_sub(1).min(30)).unwrap_or(i64::MAX));
    let wait = doubled.min(longest);
    wait + part_of(wait / 4, seed)
}

/// What happened with one CA of a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaHistory {
    /// Failures since the last certificate.
    pub failures: u32,
    /// It is not asked before this moment.
    pub not_before: i64,
}

impl CaHistory {
    /// After another failure.
    #[must_use]
    pub fn failed(self, failure: Failure, now: i64, seed: u64) -> CaHistory {
        let failures = self.failures.saturating_add(1);
        CaHistory { failures, not_before: now.saturating_add(wait_after(failure, failures, seed)) }
    }
}

/// Which CA to ask next and when: the first in order that may be asked at `due`; if none may, the one whose
/// wait ends first. `None` without CAs.
#[must_use]
pub fn next_ca(histories: &[CaHistory], due: i64) -> Option<(usize, i64)> {
    let free = histories.iter().position(|history| history.not_before <= due).map(|index| (index, due));
    free.or_else(|| {
        let waits = histories.iter().enumerate().map(|(index, history)| (index, history.not_before));
        waits.min_by_key(|(index, at)| (*at, *index))
    })
}

/// A store that is away for less is not done without. Seconds.
const AWAY_FOR_LONG: i64 = 600;
/// A machine alone orders when so small a part of the lifetime is left: half of what is left when a renewal is due.
const ALONE_PART: i64 = 6;

/// Whether a machine orders by itself although the store that its fleet shares certificates in is away.
///
/// All of them would, and they could not answer each other's challenges: so only when what is served comes near its end,
/// or when there is nothing to serve. `away`: seconds.
#[must_use]
pub fn orders_alone(validity: Option<Validity>, away: i64, now: i64) -> bool {
    let is_needed = validity.is_none_or(|Validity { not_before, not_after }| {
        not_after.saturating_sub(now) <= not_after.saturating_sub(not_before).max(0) / ALONE_PART
    });
    away >= AWAY_FOR_LONG && is_needed
}

/// How many names may be ordered on demand: so many at once, and as many again in an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    per_hour: u32,
    // In parts of 1/3600 of a name.
    left: u64,
    at: i64,
}

impl Budget {
    #[must_use]
    pub fn new(per_hour: u32, now: i64) -> Budget {
        Budget { per_hour, left: u64::from(per_hour) * 3_600, at: now }
    }

    /// Whether one more name may be ordered; it counts then.
    pub fn take(&mut self, now: i64) -> bool {
        let passed = u64::try_from(now.saturating_sub(self.at)).unwrap_or(0);
        let most = u64::from(self.per_hour) * 3_600;
        self.left = self.left.saturating_add(passed.saturating_mul(u64::from(self.per_hour))).min(most);
        // A clock that is set back must not give the same hour twice.
        self.at = self.at.max(now);
        if self.left < 3_600 {
            return false;
        }
        self.left -= 3_600;
        true
    }
}

/// A part of `length` that depends on the seed alone.
fn part_of(length: i64, seed: u64) -> i64 {
    let length = u64::try_from(length).unwrap_or(0);
    // The upper half of the product: every part has the same chance.
    let part = (u128::from(mixed(seed)) * u128::from(length)) >> 64;
    i64::try_from(part).unwrap_or(0)
}

/// Neighbouring seeds give distant parts (the finalizer of SplitMix64).
fn mixed(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;
    const SEEDS: std::ops::Range<u64> = 0..500;

    #[test]
    fn without_a_window_it_is_two_thirds_and_a_little() {
        for (not_before, not_after) in
            [(0, 90 * DAY), (1_000, 1_000 + 6 * DAY), (0, 60), (0, 30), (0, 2), (5, 5), (9, 1)]
        {
            let lifetime = i64::max(not_after - not_before, 0);
            for seed in SEEDS {
                let at = renew_at(Validity { not_before, not_after }, None, seed) - not_before;
                assert!(at >= lifetime / 3 * 2, "{lifetime} {seed} {at}");
                assert!(at <= lifetime / 3 * 2 + lifetime / 20, "{lifetime} {seed} {at}");
            }
        }
    }

    #[test]
    fn with_a_window_it_is_anywhere_inside_but_never_at_the_very_end() {
        let validity = Validity { not_before: 0, not_after: 90 * DAY };
        let moments =
            |start, end| SEEDS.map(move |seed| renew_at(validity, Some(Window { start, end }), seed));
        let inside: Vec<i64> = moments(50 * DAY, 52 * DAY).collect();
        assert!(inside.iter().all(|at| (50 * DAY..52 * DAY).contains(at)));
        assert!(inside.iter().any(|at| *at < 50 * DAY + DAY / 4) && inside.iter().any(|at| *at > 51 * DAY));
        assert!(moments(-5, -5).all(|at| at == -5), "one that has passed says: now");
        assert!(moments(100 * DAY, 200 * DAY).all(|at| at == 90 * DAY - 90 * DAY / 20));
        let turned = Some(Window { start: 7, end: 5 });
        assert_eq!(renew_at(validity, turned, 3), renew_at(validity, None, 3), "it says nothing");
    }

    #[test]
    fn a_window_is_asked_for_as_often_as_the_ca_says_within_bounds() {
        for (asked_for, seconds) in [(0, 60), (21_600, 21_600), (u64::MAX, 86_400)] {
            assert_eq!(ask_window_again(100, asked_for), 100 + seconds);
        }
    }

    #[test]
    fn waits_double_up_to_a_bound_and_are_spread() {
        for (failure, count, at_least) in [
            (Failure::Unreachable, 1, 10),
            (Failure::Unreachable, 2, 20),
            (Failure::Unreachable, 40, 3_600),
            (Failure::Refused, 0, 120),
            (Failure::Refused, 1, 120),
            (Failure::Refused, 5, 1_920),
            (Failure::Refused, u32::MAX, 86_400),
            (Failure::RateLimited, 1, 3_600),
            (Failure::RateLimited, 9, 86_400),
        ] {
            for seed in SEEDS {
                let wait = wait_after(failure, count, seed);
                assert!((at_least..=at_least + at_least / 4).contains(&wait), "{failure:?} {count} {wait}");
            }
        }
    }

    #[test]
    fn five_validations_at_most_fail_in_any_hour() {
        for seed in SEEDS {
            let (mut history, mut now) = (CaHistory::default(), 0);
            let mut failed_at = Vec::new();
            for _ in 0..12 {
                failed_at.push(now);
                history = history.failed(Failure::Refused, now, seed);
                now = history.not_before;
            }
            for window in failed_at.windows(6) {
                assert!(window[5] - window[0] > 3_600, "{failed_at:?}");
            }
        }
    }

    #[test]
    fn cas_are_asked_in_order_and_those_that_failed_wait() {
        let at = |not_before| CaHistory { failures: 1, not_before };
        let fresh = CaHistory::default();
        for (histories, due, expected) in [
            (&[][..], 5, None),
            (&[fresh], 5, Some((0, 5))),
            (&[fresh, fresh], 5, Some((0, 5))),
            (&[at(9), fresh], 5, Some((1, 5))),
            (&[at(9), at(7)], 5, Some((1, 7))),
            (&[at(7), at(7)], 5, Some((0, 7))),
            (&[at(5), at(3)], 5, Some((0, 5))),
        ] {
            assert_eq!(next_ca(histories, due), expected, "{histories:?}");
        }
    }

    #[test]
    fn a_machine_alone_orders_late_and_not_at_once() {
        let validity = |days| Some(Validity { not_before: 0, not_after: days * DAY });
        for (validity, away, now, expected) in [
            (None, 599, 0, false),
            (None, 600, 0, true),
            (validity(90), i64::MAX, 61 * DAY, false),
            (validity(90), i64::MAX, 75 * DAY, true),
            (validity(90), 599, 89 * DAY, false),
            (validity(90), 600, 100 * DAY, true),
            (validity(6), 600, 4 * DAY, false),
            (validity(6), 600, 5 * DAY, true),
            (Some(Validity { not_before: 9, not_after: 3 }), 600, i64::MIN, false),
        ] {
            assert_eq!(orders_alone(validity, away, now), expected, "{validity:?} {away} {now}");
        }
    }

    #[test]
    fn a_budget_gives_so_many_at_once_and_as_many_in_an_hour() {
        let mut budget = Budget::new(2, 1_000);
        assert!(budget.take(1_000) && budget.take(1_000));
        assert!(!budget.take(1_000) && !budget.take(2_799));
        assert!(budget.take(2_800) && !budget.take(2_800), "one in half an hour");
        assert!(!budget.take(0), "the clock was set back");
        assert!(budget.take(100_000) && budget.take(100_000) && !budget.take(100_000));
        assert!(!Budget::new(0, 0).take(i64::MAX));
    }
}
