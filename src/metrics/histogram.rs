//! Durations, counted in fixed buckets: what Prometheus calls a histogram.

use super::Counter;

/// Upper bounds in microseconds, inclusive: from what a site server on the same machine takes to what a client gives
/// up on. The last bucket has none.
pub const BOUNDS_US: [u64; 16] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000,
];

/// What one worker measured.
#[derive(Default)]
pub struct Histogram {
    buckets: [Counter; BOUNDS_US.len() + 1],
    sum_us: Counter,
}

impl Histogram {
    pub fn observe(&self, duration_us: u64) {
        let bucket = BOUNDS_US.iter().position(|bound| duration_us <= *bound).unwrap_or(BOUNDS_US.len());
        self.buckets[bucket].add(1);
        self.sum_us.add(duration_us);
    }
}

/// Histograms added up, as they were at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// In each bucket alone.
    pub buckets: [u64; BOUNDS_US.len() + 1],
    pub sum_us: u64,
}

impl Durations {
    pub fn add(&mut self, histogram: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum += bucket.value();
        }
        self.sum_us += histogram.sum_us.value();
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_the_bucket_of_its_bound() {
        let histogram = Histogram::default();
        for duration in [0, 250, 251, 30_000_000, 30_000_001, u64::MAX / 4] {
            histogram.observe(duration);
        }
        let mut sum = Durations::default();
        sum.add(&histogram);
        assert_eq!((sum.buckets[0], sum.buckets[1], sum.buckets[15], sum.buckets[16]), (2, 1, 1, 2));
        assert_eq!(sum.count(), 6);
        sum.add(&histogram);
        assert_eq!(sum.count(), 12);
    }
}
