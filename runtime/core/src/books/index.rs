//! The index of the books: the last value of each key, in bounded memory.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::{BookEntry, BookKey, BookLine, BookState, Closing, ReadAgain, StoredEntry};
use crate::offset::SourceOffset;
use crate::topic::{PartitionKey, TopicId};

/// Most entries of an index.
pub const OPEN_MAX: usize = 200_000;
/// Most entries that are held while the books are read: those that are closed further on in the log
/// are among them.
const READ_MAX: usize = 2 * OPEN_MAX;

/// An entry as the books have it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booked {
    /// The entry.
    pub entry: BookEntry,
    /// How it was closed.
    pub closed: Option<Closing>,
    /// When this was written, by the time of the target's broker; milliseconds since the Unix
    /// epoch.
    pub written_ms: i64,
    /// When the record was refused, by the same time. Not known of an entry that was closed without
    /// it, and whose first value the log no longer has.
    pub refused_ms: Option<i64>,
}

impl Booked {
    /// Returns the entry as it is stored when it is closed.
    #[must_use]
    pub fn closing(&self, state: BookState, closed: Closing) -> StoredEntry {
        let entry = BookEntry { state, ..self.entry.clone() };
        StoredEntry { entry, refused_at: self.refused_ms, closed: Some(closed) }
    }
}

/// The states that are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StateFilter {
    /// Those that can be replayed.
    #[default]
    Open,
    /// Another word, known or not.
    Is(BookState),
    /// All that is neither replayed nor discarded nor superseded: it may still be needed.
    NotClosed,
    /// All.
    Any,
}

impl StateFilter {
    fn takes(&self, state: &BookState) -> bool {
        match self {
            Self::Open => *state == BookState::Open,
            Self::Is(wanted) => state == wanted,
            Self::NotClosed => !is_closed(state),
            Self::Any => true,
        }
    }

    /// Returns whether an entry of this state must be held until the end: a mark behind it may make
    /// it one that is asked for.
    fn may_take(&self, state: &BookState) -> bool {
        self.takes(state) || (!is_closed(state) && self.takes(&BookState::Superseded))
    }
}

fn is_closed(state: &BookState) -> bool {
    matches!(state, BookState::Replayed | BookState::Discarded | BookState::Superseded)
}

/// The entries that are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookFilter {
    /// Name of the source topic.
    pub topic: Option<Arc<str>>,
    /// Number of the source partition.
    pub partition: Option<i32>,
    /// Ranges of source offsets; empty for all.
    pub offsets: Vec<RangeInclusive<i64>>,
    /// Code of the reason.
    pub code: Option<Arc<str>>,
    /// The state.
    pub state: StateFilter,
}

impl BookFilter {
    fn takes_key(&self, key: &BookKey) -> bool {
        let partition = &key.partition;
        self.topic.as_ref().is_none_or(|topic| *topic == partition.topic)
            && self.partition.is_none_or(|number| number == partition.partition)
            && (self.offsets.is_empty() || self.offsets.iter().any(|range| range.contains(&key.offset.0)))
    }

    fn may_take(&self, entry: &BookEntry) -> bool {
        self.state.may_take(&entry.state) && self.code.as_ref().is_none_or(|code| *code == entry.code)
    }
}

/// More entries than an index holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the books have more than {OPEN_MAX} such entries, which is the most that one command handles: take fewer with --topic, --partition or --code, and close those (replay or discard) before the others"
)]
pub struct TooManyEntries;

/// The entries of the books that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookIndex {
    /// The entries, by source partition and offset.
    pub entries: BTreeMap<BookKey, Booked>,
    /// Values and keys that cannot be decoded. Their records are in no list.
    pub unreadable: u64,
    /// By partition of the quarantine topic: the offset after the last place of a closed entry.
    closed_up_to: BTreeMap<i32, i64>,
}

impl BookIndex {
    /// Returns up to where each partition of the quarantine topic can be trimmed: below every entry
    /// that is not closed, and not beyond the closed ones. What the books do not know may be about
    /// to be entered. To be asked of an index of [`StateFilter::NotClosed`].
    #[must_use]
    pub fn trim_points(&self) -> BTreeMap<i32, i64> {
        let mut points = self.closed_up_to.clone();
        for booked in self.entries.values() {
            let place = booked.entry.place;
            if let Some(point) = points.get_mut(&place.partition) {
                *point = (*point).min(place.offset.0);
            }
        }
        points
    }

    /// The place of this entry is needed no more.
    fn close(&mut self, entry: &BookEntry) {
        let up_to = self.closed_up_to.entry(entry.place.partition).or_default();
        *up_to = (*up_to).max(entry.place.offset.0.saturating_add(1));
    }

    /// Returns when the first of the records was refused, as far as that is known.
    #[must_use]
    pub fn oldest_ms(&self) -> Option<i64> {
        self.entries.values().filter_map(|booked| booked.refused_ms).min()
    }
}

/// The fold of the books, record by record.
#[derive(Debug)]
pub struct IndexFold {
    filter: BookFilter,
    index: BookIndex,
}

impl IndexFold {
    /// Begins an index.
    #[must_use]
    pub fn new(filter: BookFilter) -> Self {
        Self { filter, index: BookIndex::default() }
    }

    /// Applies one record of the books, in log order: the last one of a key counts.
    ///
    /// # Errors
    /// [`TooManyEntries`].
    pub fn fold(&mut self, key: &[u8], value: Option<&[u8]>, written_ms: i64) -> Result<(), TooManyEntries> {
        let key = match BookLine::decode(key) {
            Some(BookLine::Entry(key)) => key,
            Some(BookLine::ReadAgain(mark)) => {
                // A mark that somebody deletes is none.
                value.iter().for_each(|_| self.read_again(&mark));
                return Ok(());
            }
            None => {
                self.index.unreadable += 1;
                return Ok(());
            }
        };
        let stored = match value.map(StoredEntry::decode) {
            Some(Ok(stored)) => stored,
            other => {
                // A state that cannot be read is not open, whatever it was before.
                self.index.unreadable += u64::from(other.is_some());
                self.index.entries.remove(&key);
                return Ok(());
            }
        };
        let StoredEntry { entry, refused_at, closed } = stored;
        if is_closed(&entry.state) {
            self.index.close(&entry);
        }
        if !self.filter.takes_key(&key) || !self.filter.may_take(&entry) {
            self.index.entries.remove(&key);
            return Ok(());
        }
        let refused_ms = if is_closed(&entry.state) {
            refused_at.or_else(|| self.index.entries.get(&key).and_then(|before| before.refused_ms))
        } else {
            Some(refused_at.unwrap_or(written_ms))
        };
        self.index.entries.insert(key, Booked { entry, closed, written_ms, refused_ms });
        if self.index.entries.len() > READ_MAX { Err(TooManyEntries) } else { Ok(()) }
    }

    /// Ends the entries before a mark that it is about.
    fn read_again(&mut self, mark: &ReadAgain) {
        let first = PartitionKey { topic_id: TopicId::UNKNOWN, partition: i32::MIN, ..mark.partition.clone() };
        let first = BookKey { partition: first, offset: SourceOffset(i64::MIN) };
        let of_topic = self.index.entries.range(first..).map(|(key, _)| key);
        let of_topic = of_topic.take_while(|key| key.partition.topic == mark.partition.topic);
        let ended: Vec<BookKey> = of_topic.filter(|key| mark.ends(key)).cloned().collect();
        for key in ended {
            let Some(mut booked) = self.index.entries.remove(&key) else { continue };
            if !is_closed(&booked.entry.state) {
                self.index.close(&booked.entry);
                booked.entry.state = BookState::Superseded;
            }
            if self.filter.may_take(&booked.entry) {
                self.index.entries.insert(key, booked);
            }
        }
    }

    /// Returns the index.
    ///
    /// # Errors
    /// [`TooManyEntries`].
    pub fn finish(mut self) -> Result<BookIndex, TooManyEntries> {
        let state = &self.filter.state;
        self.index.entries.retain(|_, booked| state.takes(&booked.entry.state));
        if self.index.entries.len() > OPEN_MAX { Err(TooManyEntries) } else { Ok(self.index) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::books::KeptAt;

    fn key(partition: i32, offset: i64) -> BookKey {
        let partition = PartitionKey { topic: "orders".into(), topic_id: TopicId([1; 16]), partition };
        BookKey { partition, offset: SourceOffset(offset) }
    }

    fn stored(state: &str, place: i64) -> StoredEntry {
        let state = BookState::from(Arc::<str>::from(state));
        let closed = is_closed(&state).then(|| Closing {
            by: "ann".into(),
            at: 7,
            generation: None,
            outcome: None,
            reason: Some("old".into()),
        });
        let entry = BookEntry {
            state,
            place: KeptAt { partition: 0, offset: SourceOffset(place) },
            code: "value-not-json".into(),
            rule: None,
            plugin: "redact".into(),
            generation: "redact@1+2".into(),
            border: 3,
        };
        StoredEntry { entry, refused_at: None, closed }
    }

    fn fold(filter: BookFilter, writes: &[(i64, Option<&str>)]) -> BookIndex {
        let mut fold = IndexFold::new(filter);
        for (at, (offset, state)) in (0..).zip(writes) {
            let (key, value) = stored(state.unwrap_or("open"), 100 + offset).encode(&key(0, *offset));
            fold.fold(&key, state.map(|_| &*value), at).unwrap();
        }
        fold.finish().unwrap()
    }

    #[test]
    fn a_closed_entry_reads_back_and_is_pinned() {
        let stored = stored("discarded", 5);
        let (_, value) = stored.encode(&key(0, 70));
        assert_eq!(
            std::str::from_utf8(&value).unwrap(),
            r#"{"state":"discarded","place":{"partition":0,"offset":5},"code":"value-not-json","plugin":"redact","generation":"redact@1+2","border":3,"closed":{"by":"ann","at":7,"reason":"old"}}"#
        );
        assert_eq!(StoredEntry::decode(&value).unwrap(), stored);
        // Whoever knows only what is open reads the same entry.
        let (k, v) = stored.encode(&key(0, 70));
        assert_eq!(BookEntry::decode(&k, &v).unwrap(), (key(0, 70), stored.entry));
    }

    #[test]
    fn a_closed_entry_keeps_the_time_at_which_its_record_was_refused() {
        let any = || BookFilter { state: StateFilter::Any, ..BookFilter::default() };
        let of = |index: &BookIndex| index.entries.values().map(|booked| booked.refused_ms).collect::<Vec<_>>();
        let open = fold(any(), &[(9, Some("open")), (1, Some("open"))]);
        assert_eq!((of(&open), open.oldest_ms()), (vec![Some(1), Some(0)], Some(0)));
        // The topic is compacted: the closing value is what is left.
        let closing = stored("discarded", 101).closed.unwrap();
        let last = open.entries[&key(0, 1)].closing(BookState::Discarded, closing);
        let (k, v) = last.encode(&key(0, 1));
        let mut alone = IndexFold::new(any());
        alone.fold(&k, Some(&v), 70).unwrap();
        let alone = alone.finish().unwrap();
        assert_eq!((of(&alone), alone.oldest_ms()), (vec![Some(1)], Some(1)));
        assert_eq!(alone.entries[&key(0, 1)].written_ms, 70);
        // Closed by a version that did not write it: as long as the log has the first value.
        assert_eq!(of(&fold(any(), &[(1, Some("open")), (1, Some("replayed"))])), [Some(0)]);
        assert_eq!(of(&fold(any(), &[(1, Some("replayed"))])), [None]);
    }

    #[test]
    fn what_cannot_be_read_is_counted_and_is_not_open() {
        let mut fold = IndexFold::new(BookFilter::default());
        let (key, value) = stored("open", 1).encode(&key(0, 1));
        fold.fold(&key, Some(&value), 0).unwrap();
        fold.fold(&key, Some(b"{\"state\":5}"), 1).unwrap();
        fold.fold(b"no key", Some(&value), 2).unwrap();
        let index = fold.finish().unwrap();
        assert_eq!((index.entries.len(), index.unreadable), (0, 2));
    }

    #[test]
    fn unknown_states_are_kept_and_hold_the_place() {
        let writes = [(1, Some("replayed")), (2, Some("parked")), (3, Some("discarded")), (4, Some("open"))];
        let parked = BookFilter { state: StateFilter::Is(BookState::Other("parked".into())), ..BookFilter::default() };
        let index = fold(parked, &writes);
        assert_eq!(index.entries.values().map(|booked| booked.entry.state.word()).collect::<Vec<_>>(), ["parked"]);
        assert_eq!(fold(BookFilter::default(), &writes).entries.len(), 1);
        let rest = fold(BookFilter { state: StateFilter::NotClosed, ..BookFilter::default() }, &writes);
        assert_eq!(rest.trim_points(), [(0, 102)].into(), "below the one that is parked");
        let closed = fold(BookFilter { state: StateFilter::NotClosed, ..BookFilter::default() }, &writes[..1]);
        assert_eq!(closed.trim_points(), [(0, 102)].into(), "after the closed one, and no further");
        assert_eq!(fold(BookFilter::default(), &writes[3..]).trim_points(), BTreeMap::new());
    }

    #[test]
    fn an_index_is_bounded() {
        let mut fold = IndexFold::new(BookFilter::default());
        let value = stored("open", 1).encode(&key(0, 1)).1;
        let mut add = |offset: i64| {
            let text = serde_json::to_vec(&key(0, offset)).unwrap();
            fold.fold(&text, Some(&value), 0)
        };
        for offset in 0..i64::try_from(READ_MAX).unwrap() {
            add(offset).unwrap();
        }
        assert_eq!(add(-1), Err(TooManyEntries));
        assert_eq!(fold.finish(), Err(TooManyEntries));
    }

    /// A step of the books: an entry of this offset and state is written, or deleted, or the
    /// partition is read again from there.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Entry(i64, Option<&'static str>),
        ReadAgain(i64),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let words = ["open", "replayed", "discarded", "parked"];
        prop_oneof![
            4 => (0i64..6, 0usize..4).prop_map(move |(offset, word)| Step::Entry(offset, Some(words[word]))),
            1 => (0i64..6).prop_map(|offset| Step::Entry(offset, None)),
            1 => (0i64..6).prop_map(Step::ReadAgain),
        ]
    }

    /// Returns the records of the steps, without those that compaction may have taken.
    fn log_of(steps: &[Step], is_left: impl Fn(usize) -> bool) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let records = steps.iter().map(|step| match *step {
            Step::Entry(offset, state) => {
                let (key, value) = stored(state.unwrap_or("open"), 100 + offset).encode(&key(0, offset));
                (key, state.map(|_| value))
            }
            Step::ReadAgain(from) => {
                let partition = key(0, 0).partition;
                let mark = ReadAgain { partition, read_again_from: SourceOffset(from) };
                let (key, value) = mark.encode(SourceOffset(9));
                (key, Some(value))
            }
        });
        let records: Vec<_> = records.collect();
        let is_last = |at: usize| records.iter().skip(at + 1).all(|(key, _)| *key != records[at].0);
        let kept = (0..records.len()).filter(|at| is_last(*at) || is_left(*at));
        kept.map(|at| records[at].clone()).collect()
    }

    proptest! {
        #[test]
        fn an_entry_counts_as_last_written_unless_its_offset_was_read_again(
            steps in prop::collection::vec(any_step(), 0..40),
            left in prop::collection::vec(any::<bool>(), 40),
            from in 0i64..6,
        ) {
            // The model: what each offset has, step by step.
            let mut model: BTreeMap<i64, &str> = BTreeMap::new();
            for step in &steps {
                match *step {
                    Step::Entry(offset, Some(state)) => drop(model.insert(offset, state)),
                    Step::Entry(offset, None) => drop(model.remove(&offset)),
                    Step::ReadAgain(from) => model.range_mut(from..).for_each(|(_, state)| {
                        *state = if ["open", "parked"].contains(state) { "superseded" } else { *state };
                    }),
                }
            }
            let log = log_of(&steps, |at| left[at]);
            for (filter, takes) in [
                (StateFilter::Open, &["open"][..]),
                (StateFilter::NotClosed, &["open", "parked"]),
                (StateFilter::Is(BookState::Superseded), &["superseded"]),
                (StateFilter::Any, &["open", "parked", "replayed", "discarded", "superseded"]),
            ] {
                let filter = BookFilter { state: filter, offsets: vec![from..=from + 2], ..BookFilter::default() };
                let mut fold = IndexFold::new(filter);
                for (key, value) in &log {
                    fold.fold(key, value.as_deref(), 0).unwrap();
                }
                let index = fold.finish().unwrap();
                let found: Vec<(i64, &str)> =
                    index.entries.iter().map(|(key, booked)| (key.offset.0, booked.entry.state.word())).collect();
                let wanted = model.range(from..=from + 2).map(|(offset, state)| (*offset, *state));
                prop_assert_eq!(found, wanted.filter(|(_, state)| takes.contains(state)).collect::<Vec<_>>());
            }
        }
    }
}
