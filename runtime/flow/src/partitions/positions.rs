//! The nine positions of a partition's window and the order between them.

use strait_core::SourceOffset;

/// A snapshot of the positions of one partition. Each is a source offset: everything below it has
/// come that far. In the order of the fields, from the end of the path to its beginning:
///
/// `committed <= written <= settled <= released <= queue_start <= queue_end <= passed <= expected`
///
/// Two exceptions. After a truncation that policy lets pass, the window begins below the committed
/// position, until the next commit. A warm-up ends where reading resumes, so `warm_up_end` is
/// `expected`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Positions {
    /// Progress that is committed on the target.
    pub committed: SourceOffset,
    /// Progress in the newest transaction that carries progress of this partition.
    pub written: SourceOffset,
    /// Acknowledged by the target, dropped, or in quarantine. This may be written as progress.
    pub settled: SourceOffset,
    /// Given to the target, dropped, or in quarantine. While a record is sent in part, its offset.
    pub released: SourceOffset,
    /// The first queued record, or `released` where nothing is queued.
    pub queue_start: SourceOffset,
    /// The end of the last queued record, or `released` where nothing is queued.
    pub queue_end: SourceOffset,
    /// The reader was here, and no record lies between the queue and this offset.
    pub passed: SourceOffset,
    /// The smallest offset that the source may give next. Beyond `passed` while a batch is judged,
    /// and until a batch that could not be judged is read again.
    pub expected: SourceOffset,
    /// End of the warm-up that is under way.
    pub warm_up_end: Option<SourceOffset>,
}

impl Positions {
    /// Checks the order, with the committed position only if `is_rewound` is not set.
    pub fn check(&self, is_rewound: bool) -> Result<(), String> {
        let committed = if is_rewound { self.written } else { self.committed };
        let ordered = [
            committed,
            self.written,
            self.settled,
            self.released,
            self.queue_start,
            self.queue_end,
            self.passed,
            self.expected,
        ]
        .is_sorted();
        if ordered && self.warm_up_end.is_none_or(|end| end == self.expected) {
            return Ok(());
        }
        Err(format!("the positions are out of order: {self:?}"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use strait_core::{LeaderEpoch, PartitionKey, TopicId};

    use super::*;
    use crate::partitions::{PartitionWindow, Pause};
    use crate::ports::ReadEpoch;

    #[test]
    fn positions_out_of_order_are_found() {
        let [committed, written, settled, released, queue_start, queue_end, passed, expected] =
            [1, 2, 3, 4, 5, 6, 7, 8].map(SourceOffset);
        let good = Positions {
            committed,
            written,
            settled,
            released,
            queue_start,
            queue_end,
            passed,
            expected,
            warm_up_end: Some(expected),
        };
        assert_eq!(good.check(false), Ok(()));
        assert!(Positions { settled: SourceOffset(5), ..good }.check(false).is_err());
        assert!(Positions { warm_up_end: Some(passed), ..good }.check(false).is_err());
        let rewound = Positions { committed: SourceOffset(9), ..good };
        assert!(rewound.check(false).is_err());
        assert_eq!(rewound.check(true), Ok(()));
    }

    #[test]
    fn a_warm_up_behind_a_gap_that_a_stop_ends_leaves_them_in_order() {
        let key = PartitionKey { topic: "orders".into(), topic_id: TopicId::UNKNOWN, partition: 0 };
        let mut window = PartitionWindow::new(key, 1, SourceOffset(10), LeaderEpoch::UNKNOWN);
        // A control record at offset 10: the batch behind it is fetched, and is to be read again.
        window.read_again(SourceOffset(11));
        window.start_warm_up(ReadEpoch(1), SourceOffset(0), Duration::ZERO);
        assert!(window.check().is_ok());
        window.stop(Pause::Stopped);
        assert!(window.check().is_ok(), "{:?}", window.positions());
    }
}
