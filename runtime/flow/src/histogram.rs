//! Counts of durations by size, cheap enough to keep beside the totals.

use std::time::Duration;

/// Upper bounds of the buckets, in seconds. Longer durations are only in the count.
pub const BOUNDS_S: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0];

/// Counts of durations by bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    buckets: [u64; BOUNDS_S.len()],
    count: u64,
    sum_s: f64,
}

impl Histogram {
    /// Counts a duration.
    pub fn observe(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        self.count += 1;
        self.sum_s += seconds;
        if let Some((_, bucket)) = BOUNDS_S.iter().zip(&mut self.buckets).find(|(bound, _)| seconds <= **bound) {
            *bucket += 1;
        }
    }

    /// Returns the upper bound in seconds of each bucket and how many durations are in it. The last
    /// bound is infinite.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let within: u64 = self.buckets.iter().sum();
        let finite = BOUNDS_S.iter().copied().zip(self.buckets.iter().copied());
        finite.chain([(f64::INFINITY, self.count.saturating_sub(within))])
    }

    /// Returns the number of durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the sum of the durations, in seconds.
    #[must_use]
    pub fn sum_s(&self) -> f64 {
        self.sum_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_one_bucket_and_the_longest_in_the_last() {
        let mut histogram = Histogram::default();
        for millis in [5, 6, 1_000, 601_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let filled: Vec<(f64, u64)> = histogram.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.005, 1), (0.01, 1), (1.0, 1), (f64::INFINITY, 1)]);
        assert_eq!((histogram.count(), histogram.sum_s()), (4, 602.011));
    }
}
