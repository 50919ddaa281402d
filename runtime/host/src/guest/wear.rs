//! How the memory of an instance grows from batch to batch.
//!
//! A linear memory never shrinks, and the runtimes of some languages lose a few bytes with each
//! record. Such an instance is replaced between two batches, before it breaks at its limit.

/// Batches that an instance judges before it is replaced: a start can cost as much as many batches.
const BATCHES_MIN: u32 = 100;

/// The memory of an instance, as it was and as it is.
#[derive(Debug, Default)]
pub(crate) struct Wear {
    /// After the first batch, or after the first one behind a warm-up: what a fresh instance needs
    /// as well.
    settled_bytes: Option<usize>,
    batches: u32,
}

impl Wear {
    /// Counts a batch. Returns whether the instance is to be replaced before the next one.
    ///
    /// Only if it is near its limit and a fresh one is not: otherwise that would not help.
    pub(crate) fn after_batch(&mut self, bytes: usize, bytes_max: usize) -> bool {
        let settled_bytes = *self.settled_bytes.get_or_insert(bytes);
        self.batches = self.batches.saturating_add(1);
        self.batches >= BATCHES_MIN && bytes >= bytes_max / 8 * 7 && settled_bytes < bytes_max / 4 * 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the batch after which an instance is replaced that grows by so many bytes in each.
    fn replaced(start: usize, growth: usize, bytes_max: usize) -> Option<usize> {
        let mut wear = Wear::default();
        (0..10_000).find(|batch| wear.after_batch(start + growth * batch, bytes_max))
    }

    #[test]
    fn an_instance_is_replaced_before_its_limit_if_that_helps() {
        assert_eq!(replaced(100, 1, 800), Some(600));
        assert_eq!(replaced(100, 0, 800), None, "it does not grow");
        assert_eq!(replaced(600, 1, 800), None, "a fresh one needs as much");
        assert_eq!(replaced(100, 100, 800), Some(99), "not after each batch");
    }
}
