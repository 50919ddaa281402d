//! Under which leader epoch each record was read and which plugins judged it.
//!
//! Progress is behind the reader, and must carry the epoch and the plugins of its own last record.

use std::collections::VecDeque;
use std::sync::Arc;

use strait_core::progress::Border;
use strait_core::{LeaderEpoch, SourceOffset};

/// The leader epochs and plugin generations of the records between progress and the reader.
#[derive(Debug)]
pub(crate) struct Lineage {
    /// The largest leader epoch read.
    leader_epoch: LeaderEpoch,
    /// First offset and leader epoch of each run of records, in reading order. Never empty.
    epochs: VecDeque<(SourceOffset, LeaderEpoch)>,
    /// First offset and plugin generation of each run of records, in reading order.
    generations: VecDeque<(SourceOffset, Arc<str>)>,
    /// The plugins of the last record before progress.
    generation: Arc<str>,
    /// The newest border that is written, or `None` before the first.
    border: Option<Border>,
}

impl Lineage {
    /// Creates the lineage of a window that begins at `next`, after a record of this leader epoch.
    pub fn new(next: SourceOffset, leader_epoch: LeaderEpoch) -> Self {
        Self {
            leader_epoch,
            epochs: VecDeque::from([(SourceOffset(next.0.saturating_sub(1)), leader_epoch)]),
            generations: VecDeque::new(),
            generation: "none".into(),
            border: None,
        }
    }

    /// Takes over the plugins of the last committed record and the newest border.
    pub fn resume(&mut self, generation: Arc<str>, border: Option<Border>) {
        self.generation = generation;
        self.border = border;
    }

    /// Returns the largest leader epoch read.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// Records that the source records from `first` on were read under this leader epoch.
    pub fn read_under(&mut self, first: SourceOffset, leader_epoch: LeaderEpoch) {
        self.leader_epoch = leader_epoch;
        if self.epochs.back().is_none_or(|(_, last)| *last != leader_epoch) {
            self.epochs.push_back((first, leader_epoch));
        }
    }

    /// Records that these plugins judged the source records from `first` on.
    pub fn judged_by(&mut self, first: SourceOffset, generation: &Arc<str>) {
        // Batches that were judged before and read again.
        while self.generations.pop_back_if(|(from, _)| *from >= first).is_some() {}
        if self.generations.back().is_none_or(|(_, last)| last != generation) {
            self.generations.push_back((first, Arc::clone(generation)));
        }
    }

    /// Takes out the plugins of the last record before `next`, and the borders before `next` that
    /// are not written yet. The caller writes them.
    pub fn take_generation_before(&mut self, next: SourceOffset) -> (Arc<str>, Vec<Border>) {
        let mut borders = Vec::new();
        while let Some((from, generation)) = self.generations.pop_front_if(|(from, _)| *from < next) {
            let known = self.border.as_ref().map_or("none", |border| &border.generation);
            if *known != *generation {
                let number = self.border.as_ref().map_or(0, |border| border.number) + 1;
                let border = Border { number, from, generation: Arc::clone(&generation) };
                borders.push(border.clone());
                self.border = Some(border);
            }
            self.generation = generation;
        }
        (Arc::clone(&self.generation), borders)
    }

    /// Returns the leader epoch of the last record before `next`, and forgets those before it.
    pub fn take_epoch_before(&mut self, next: SourceOffset) -> LeaderEpoch {
        let at = self.epochs.iter().rposition(|(first, _)| *first < next).unwrap_or(0);
        self.epochs.drain(..at);
        self.epochs.front().map_or(LeaderEpoch::UNKNOWN, |(_, epoch)| *epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_names_the_plugins_of_its_own_last_record_and_every_border_once() {
        let mut lineage = Lineage::new(SourceOffset(5), LeaderEpoch(1));
        let write = |lineage: &mut Lineage, next: i64| {
            let (generation, borders) = lineage.take_generation_before(SourceOffset(next));
            let borders: Vec<(u64, i64, String)> =
                borders.iter().map(|b| (b.number, b.from.0, b.generation.to_string())).collect();
            (generation.to_string(), borders)
        };
        lineage.judged_by(SourceOffset(5), &"none".into());
        assert_eq!(write(&mut lineage, 8), ("none".to_owned(), vec![]));
        for (first, generation) in [(8, "a"), (10, "a"), (12, "b"), (14, "a")] {
            lineage.judged_by(SourceOffset(first), &generation.into());
        }
        assert_eq!(write(&mut lineage, 8), ("none".to_owned(), vec![]));
        // In the middle of a batch of a; then over two borders at once.
        assert_eq!(write(&mut lineage, 9), ("a".to_owned(), vec![(1, 8, "a".to_owned())]));
        assert_eq!(write(&mut lineage, 12), ("a".to_owned(), vec![]));
        assert_eq!(write(&mut lineage, 15), ("a".to_owned(), vec![(2, 12, "b".to_owned()), (3, 14, "a".to_owned())]));
        lineage.judged_by(SourceOffset(16), &"a".into());
        assert_eq!(write(&mut lineage, 20), ("a".to_owned(), vec![]));
        // Nothing that c and d judged was released: e has judged it again.
        for (first, generation) in [(20, "c"), (24, "d"), (20, "e")] {
            lineage.judged_by(SourceOffset(first), &generation.into());
        }
        assert_eq!(write(&mut lineage, 30), ("e".to_owned(), vec![(4, 20, "e".to_owned())]));
    }

    #[test]
    fn progress_has_the_epoch_of_its_own_last_record() {
        let mut lineage = Lineage::new(SourceOffset(5), LeaderEpoch(1));
        lineage.read_under(SourceOffset(7), LeaderEpoch(1));
        lineage.read_under(SourceOffset(9), LeaderEpoch(3));
        assert_eq!(lineage.leader_epoch(), LeaderEpoch(3));
        assert_eq!(lineage.take_epoch_before(SourceOffset(9)), LeaderEpoch(1));
        assert_eq!(lineage.take_epoch_before(SourceOffset(10)), LeaderEpoch(3));
        // Truncated, and continued at 10 by policy: nothing is known of the record before it.
        lineage.read_under(SourceOffset(9), LeaderEpoch::UNKNOWN);
        assert_eq!(lineage.take_epoch_before(SourceOffset(10)), LeaderEpoch::UNKNOWN);
    }
}
