//! Latencies, counted in buckets of at most 3 % width.

use std::time::Duration;

const STEPS_PER_OCTAVE: u64 = 32;
const BUCKETS: usize = 64 * STEPS_PER_OCTAVE as usize;

pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: vec![0; BUCKETS], total: 0 }
    }
}

impl Histogram {
    pub fn add(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanoseconds)] += 1;
        self.total += 1;
    }

    /// The latency that this share (0..=1) of all stays at or below; zero when there are none.
    pub fn quantile(&self, share: f64) -> Duration {
        let due = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= due && *count > 0 {
                return Duration::from_nanos(upper(index));
            }
        }
        Duration::ZERO
    }
}

fn bucket(value: u64) -> usize {
    if value < STEPS_PER_OCTAVE {
        return value as usize;
    }
    let octave = u64::from(value.ilog2()) - 5;
    (octave * STEPS_PER_OCTAVE + (value >> octave)) as usize
}

fn upper(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * STEPS_PER_OCTAVE {
        return index;
    }
    let octave = index / STEPS_PER_OCTAVE - 1;
    ((index % STEPS_PER_OCTAVE + STEPS_PER_OCTAVE + 1) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_at_most_a_step_below_the_end_of_its_bucket() {
        for value in (0..200).chain([1_000, 12_345, 1_000_000, 987_654_321, 60_000_000_000]) {
            let end = upper(bucket(value));
            assert!(end >= value && end <= value + value / 31, "{value} in a bucket that ends at {end}");
        }
    }

    #[test]
    fn quantiles_of_a_hundred_values() {
        let mut histogram = Histogram::default();
        for millisecond in 1..=100 {
            histogram.add(Duration::from_millis(millisecond));
        }
        let near = |share, due: f64| {
            let got = histogram.quantile(share).as_secs_f64() * 1e3;
            assert!(got >= due && got <= due * 1.04, "{share}: {got}");
        };
        near(0.5, 50.0);
        near(0.99, 99.0);
        assert_eq!(Histogram::default().quantile(0.5), Duration::ZERO);
    }
}
