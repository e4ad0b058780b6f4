//! How often each reason was met. Reasons are words of the code, so there are few; the table is bounded all the same.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::Counter;

/// Reasons told apart; others are counted together.
const REASONS_MAX: usize = 64;

/// Counted by one worker; looked up on the way of what failed only.
#[derive(Default)]
pub struct Reasons {
    // Filled from the front, each slot once.
    known: Slots,
    other: Counter,
}

struct Slots([(OnceLock<&'static str>, Counter); REASONS_MAX]);

impl Default for Slots {
    fn default() -> Self {
        Slots(std::array::from_fn(|_| Default::default()))
    }
}

impl Reasons {
    pub fn add(&self, reason: &'static str) {
        for (known, count) in &self.known.0 {
            // One writer: nobody else fills the slot.
            if *known.get_or_init(|| reason) == reason {
                return count.add(1);
            }
        }
        self.other.add(1);
    }

    /// Adds the counts to `sums`, by words with `_` between them.
    pub fn add_to(&self, sums: &mut BTreeMap<String, u64>) {
        for (known, count) in &self.known.0 {
            let Some(reason) = known.get() else { break };
            *sums.entry(reason.replace('-', "_")).or_default() += count.value();
        }
        if self.other.value() > 0 {
            *sums.entry("other".to_owned()).or_default() += self.other.value();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_and_bounded() {
        let reasons = Reasons::default();
        for number in 0..REASONS_MAX + 3 {
            reasons.add(Box::leak(format!("reason-{number}").into_boxed_str()));
        }
        reasons.add("reason-1");
        let mut sums = BTreeMap::new();
        reasons.add_to(&mut sums);
        assert_eq!(sums.len(), REASONS_MAX + 1);
        assert_eq!((sums["reason_1"], sums["other"]), (2, 3));
    }
}
