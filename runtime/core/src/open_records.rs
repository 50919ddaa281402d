//! The records that are open in the books, as somebody who reads the books from the beginning knows
//! them: how many there are, and since when the oldest is.

use std::collections::BTreeMap;

use crate::books::{BookEntry, BookKey, BookLine, BookState, ReadAgain};
use crate::offset::SourceOffset;
use crate::topic::PartitionKey;

/// Most memory of the places, in bytes. That is two million records of few partitions, and some
/// hundred thousand that are scattered.
const MEMORY_MAX: usize = 16 << 20;
/// Memory of a block and of its place in the tree, in bytes.
const BLOCK_BYTES: usize = 96;
/// Memory of a record in its block, in bytes.
const RECORD_BYTES: usize = size_of::<(u16, u32)>();
/// Bits of an offset that tell records of one block apart.
const LOW_BITS: u32 = 16;

/// Open records of neighbouring offsets, ascending: the low bits of the offset, and since when it
/// is open, in seconds since the Unix epoch.
type Block = Vec<(u16, u32)>;

/// The records that are open in the books.
#[derive(Debug, Default)]
pub struct OpenRecords {
    blocks: BTreeMap<PartitionKey, BTreeMap<i64, Block>>,
    count: usize,
    block_count: usize,
    is_over: bool,
}

fn place_of(offset: SourceOffset) -> (i64, u16) {
    let low = u16::try_from(offset.0 & ((1 << LOW_BITS) - 1)).unwrap_or_default();
    (offset.0 >> LOW_BITS, low)
}

impl OpenRecords {
    /// Takes a record of the books, written at this time. One that this version cannot read says
    /// nothing of any record.
    pub fn take(&mut self, key: &[u8], value: Option<&[u8]>, time_ms: i64) {
        let key = match BookLine::decode(key) {
            Some(BookLine::Entry(key)) => key,
            Some(BookLine::ReadAgain(mark)) => return value.iter().for_each(|_| self.read_again(&mark)),
            None => return,
        };
        match value.map(serde_json::from_slice::<BookEntry>) {
            Some(Ok(BookEntry { state: BookState::Open, .. })) => self.open(key, time_ms),
            Some(Ok(_)) | None => self.close(&key),
            Some(Err(_)) => {}
        }
    }

    fn open(&mut self, key: BookKey, time_ms: i64) {
        let (high, low) = place_of(key.offset);
        let since = u32::try_from(time_ms / 1000).unwrap_or_default();
        let blocks = self.blocks.entry(key.partition).or_default();
        let is_new = !blocks.contains_key(&high);
        let block = blocks.entry(high).or_default();
        // Without transactions an entry may be written twice.
        let Err(at) = block.binary_search_by_key(&low, |(low, _)| *low) else { return };
        block.insert(at, (low, since));
        self.count += 1;
        self.block_count += usize::from(is_new);
        if self.held_bytes() > MEMORY_MAX {
            *self = Self { is_over: true, ..Self::default() };
        }
    }

    fn close(&mut self, key: &BookKey) {
        let (high, low) = place_of(key.offset);
        let Some(blocks) = self.blocks.get_mut(&key.partition) else { return };
        let Some(block) = blocks.get_mut(&high) else { return };
        let Ok(at) = block.binary_search_by_key(&low, |(low, _)| *low) else { return };
        block.remove(at);
        self.count -= 1;
        if block.is_empty() {
            blocks.remove(&high);
            self.block_count -= 1;
        }
        if blocks.is_empty() {
            self.blocks.remove(&key.partition);
        }
    }

    /// Closes the records that a lane has read again since.
    fn read_again(&mut self, mark: &ReadAgain) {
        let (high, low) = place_of(mark.read_again_from);
        for (_, blocks) in self.blocks.iter_mut().filter(|(key, _)| key.may_be(&mark.partition)) {
            let mut ended = blocks.split_off(&high);
            self.block_count -= ended.len();
            if let Some(mut block) = ended.remove(&high) {
                let at = block.partition_point(|(of, _)| *of < low);
                self.count -= block.len() - at;
                block.truncate(at);
                if !block.is_empty() {
                    blocks.insert(high, block);
                    self.block_count += 1;
                }
            }
            self.count -= ended.values().map(Vec::len).sum::<usize>();
        }
        self.blocks.retain(|_, blocks| !blocks.is_empty());
    }

    fn held_bytes(&self) -> usize {
        // A vector may have twice the room that it needs.
        self.count * RECORD_BYTES * 2 + self.block_count * BLOCK_BYTES
    }

    /// Returns how many records are open; `None` if there were more than this can hold.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        (!self.is_over).then_some(self.count as u64)
    }

    /// Returns since when the oldest of them is open, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn oldest_ms(&self) -> Option<i64> {
        let all = self.blocks.values().flat_map(BTreeMap::values).flatten();
        all.map(|(_, since)| i64::from(*since) * 1000).min()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::books::KeptAt;
    use crate::topic::TopicId;

    fn key(partition: i32, offset: i64) -> BookKey {
        let partition = PartitionKey { topic: "t".into(), topic_id: TopicId([1; 16]), partition };
        BookKey { partition, offset: SourceOffset(offset) }
    }

    fn entry(state: BookState) -> BookEntry {
        let place = KeptAt { partition: 0, offset: SourceOffset(0) };
        let (code, plugin, generation) = ("no".into(), "p".into(), "g".into());
        BookEntry { state, place, code, rule: None, plugin, generation, border: 0 }
    }

    proptest! {
        #[test]
        fn what_is_open_is_counted_as_a_map_counts_it(
            steps in prop::collection::vec((0..3, 0_i64..200_000, 0_u8..6), 0..200)
        ) {
            let (mut open, mut model) = (OpenRecords::default(), BTreeMap::new());
            for (time, (partition, offset, what)) in (1_i64..).zip(steps) {
                // Few offsets, some of them at the edges of blocks.
                let key = key(partition, (offset % 7) * 32_768 - (offset & 1));
                if what == 5 {
                    if offset % 3 == 0 {
                        let mark = ReadAgain { partition: key.partition.clone(), read_again_from: key.offset };
                        let (bytes, value) = mark.encode(SourceOffset(0));
                        open.take(&bytes, Some(&value), time * 1000);
                        model.retain(|key, _| !mark.ends(key));
                        prop_assert_eq!(open.count(), Some(model.len() as u64));
                    }
                    continue;
                }
                let state = match what {
                    0..3 => BookState::Open,
                    3 => BookState::Replayed,
                    _ => BookState::Other("parked".into()),
                };
                let is_open = state == BookState::Open;
                let (bytes, value) = entry(state).encode(&key);
                let value = if what == 4 && offset % 2 == 0 { None } else { Some(&*value) };
                open.take(&bytes, value, time * 1000);
                match is_open {
                    true => drop(model.entry(key).or_insert(time * 1000)),
                    false => drop(model.remove(&key)),
                }
                prop_assert_eq!(open.count(), Some(model.len() as u64));
                prop_assert_eq!(open.oldest_ms(), model.values().min().copied());
            }
            prop_assert_eq!(open.block_count, open.blocks.values().map(BTreeMap::len).sum::<usize>());
            open.take(b"{}", Some(b"nonsense"), 1);
            prop_assert_eq!(open.count(), Some(model.len() as u64));
        }
    }

    #[test]
    fn more_than_it_can_hold_is_unknown_and_not_a_smaller_number() {
        let mut open = OpenRecords::default();
        for offset in 0..200_000 {
            open.open(key(0, offset << 20), 0);
        }
        assert_eq!((open.count(), open.blocks.len() <= 1), (None, true));
        assert!(open.held_bytes() <= MEMORY_MAX);
    }
}
