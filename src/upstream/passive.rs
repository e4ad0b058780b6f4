//! What one worker has found out about a site server by asking it.
//!
//! ```text
//! well --eject_after failures in a row--> out for `ejection` --its time is over--> one request tries it
//!   ▲                                        ▲                                       │        │
//!   │                                        └──── out twice as long ── it failed ───┘        │
//!   └────────────── slow start ◀──────────────────────────────────────────── it answered ────┘
//! ```
//!
//! Each worker finds out for itself: nothing is shared, and a worker that is wrong is one among several.

use std::cell::Cell;
use std::time::Duration;

/// The operator's rules.
#[derive(Clone, Copy, Debug)]
pub struct HealthRules {
    /// Failures in a row.
    pub eject_after: u32,
    pub ejection: Duration,
    pub ejection_max: Duration,
    pub slow_start: Duration,
}

/// The full share of a site server.
pub(super) const WARM: u64 = 256;

/// Times are milliseconds of the worker's clock.
#[derive(Default)]
pub(super) struct Passive {
    // In a row.
    failures: Cell<u32>,
    // In a row; 0: it is well.
    ejections: Cell<u32>,
    out_until: Cell<u64>,
    // When it came back; 0: it was never away.
    back_at: Cell<u64>,
}

/// What a failure or an answer changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    None,
    Ejected(Duration),
    Back,
}

impl Passive {
    pub(super) fn is_out(&self, now: u64) -> bool {
        self.ejections.get() > 0 && now < self.out_until.get()
    }

    /// A request is about to try it. One that was out has to prove itself: the others wait for that.
    pub(super) fn tried(&self, rules: &HealthRules, now: u64) {
        if self.ejections.get() > 0 {
            self.out_until.set(now + self.pause(rules).as_millis() as u64);
        }
    }

    pub(super) fn failed(&self, rules: &HealthRules, now: u64) -> Change {
        let failures = self.failures.get().saturating_add(1);
        self.failures.set(failures);
        if self.ejections.get() == 0 && failures < rules.eject_after {
            return Change::None;
        }
        let pause = self.pause(rules);
        self.ejections.set(self.ejections.get().saturating_add(1));
        self.out_until.set(now + pause.as_millis() as u64);
        Change::Ejected(pause)
    }

    pub(super) fn answered(&self, now: u64) -> Change {
        self.failures.set(0);
        if self.ejections.replace(0) == 0 {
            return Change::None;
        }
        self.came_back(now);
        Change::Back
    }

    /// Its share begins small.
    pub(super) fn came_back(&self, now: u64) {
        self.back_at.set(now.max(1));
    }

    /// Its share of [`WARM`]: less while it warms up, never nothing.
    pub(super) fn warmth(&self, rules: &HealthRules, now: u64) -> u64 {
        let (back_at, takes) = (self.back_at.get(), rules.slow_start.as_millis() as u64);
        if back_at == 0 || takes == 0 {
            return WARM;
        }
        let since = now.saturating_sub(back_at);
        if since >= takes {
            self.back_at.set(0);
            return WARM;
        }
        (WARM * since / takes).max(WARM / 16)
    }

    fn pause(&self, rules: &HealthRules) -> Duration {
        let doublings = self.ejections.get().min(20);
        rules.ejection.saturating_mul(1 << doublings).min(rules.ejection_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: HealthRules = HealthRules {
        eject_after: 3,
        ejection: Duration::from_secs(1),
        ejection_max: Duration::from_secs(5),
        slow_start: Duration::from_secs(10),
    };

    #[test]
    fn failures_in_a_row_eject_for_longer_and_longer_and_an_answer_ends_it() {
        let passive = Passive::default();
        assert_eq!((passive.failed(&RULES, 0), passive.failed(&RULES, 0)), (Change::None, Change::None));
        assert_eq!(passive.answered(0), Change::None);
        assert_eq!((passive.failed(&RULES, 0), passive.failed(&RULES, 0)), (Change::None, Change::None));
        let seconds = Duration::from_secs;
        assert_eq!(passive.failed(&RULES, 1000), Change::Ejected(seconds(1)));
        assert!(passive.is_out(1999) && !passive.is_out(2000));
        let mut now = 2000;
        for pause in [2, 4, 5, 5] {
            assert!(!passive.is_out(now));
            passive.tried(&RULES, now);
            assert!(passive.is_out(now), "the others wait for the one that tries");
            assert_eq!(passive.failed(&RULES, now), Change::Ejected(seconds(pause)));
            now += pause * 1000;
        }
        passive.tried(&RULES, now);
        assert_eq!(passive.answered(now), Change::Back);
        assert!(!passive.is_out(now));
        assert_eq!(passive.failed(&RULES, now), Change::None, "it begins anew");
    }

    #[test]
    fn one_that_came_back_gets_its_share_little_by_little() {
        let passive = Passive::default();
        assert_eq!(passive.warmth(&RULES, 0), WARM);
        passive.came_back(1000);
        assert_eq!(passive.warmth(&RULES, 1000), WARM / 16);
        assert_eq!(passive.warmth(&RULES, 6000), WARM / 2);
        assert_eq!(passive.warmth(&RULES, 11_000), WARM);
        let at_once = HealthRules { slow_start: Duration::ZERO, ..RULES };
        passive.came_back(20_000);
        assert_eq!(passive.warmth(&at_once, 20_000), WARM);
    }
}
