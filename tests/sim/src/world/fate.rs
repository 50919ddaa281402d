//! The oracle of a run: the fate of each record that the source holds, or held.

use strait_core::invariants::Fate;
use strait_core::{Event, PartitionKey, SourceOffset};
use strait_flow::{OnRefused, OnTimestampZero};

use super::World;
use super::source::{Kind, Record};

impl World {
    fn is_copied(&self, id: u64, record: &Record) -> bool {
        self.copies(record).iter().all(|(topic, partition, copy)| {
            let Some(topic) = self.target.topic(topic) else { return false };
            let partitions = partition.map_or(i32::MIN..=i32::MAX, |p| p..=p);
            let range = (id, *copy, topic, *partitions.start())..=(id, *copy, topic, *partitions.end());
            self.books.copied.range(range).next().is_some()
        })
    }

    fn fate_of(&self, id: u64) -> Fate {
        let record = &self.source.records[id as usize];
        if !record.committed {
            return Fate::Nothing;
        }
        let refused = |stop: bool| match (stop, self.quarantine.contains(&id)) {
            (true, _) => Fate::Stops,
            (false, true) => Fate::Quarantined,
            (false, false) => Fate::Lost,
        };
        let stop = self.policies.on_refused == OnRefused::Stop;
        match record.kind {
            Kind::Drop => Fate::Nothing,
            Kind::Trap | Kind::Halt if !self.mended => Fate::Stops,
            Kind::Reject | Kind::Refused { .. } | Kind::TimestampFar => refused(stop),
            Kind::Split | Kind::Route if self.no_new_topics => refused(stop),
            Kind::TimestampZero => match self.policies.on_timestamp_zero {
                OnTimestampZero::Stop => Fate::Stops,
                OnTimestampZero::Quarantine => refused(false),
                OnTimestampZero::Now if self.is_copied(id, record) => Fate::Copied,
                OnTimestampZero::Now => Fate::Missing,
            },
            _ if self.is_copied(id, record) => Fate::Copied,
            _ => Fate::Missing,
        }
    }

    /// Returns the fate of a source offset that progress passes.
    ///
    /// Only what the log no longer holds may be missing: what retention deleted, if an event named
    /// it, and what an election took. A record that an election put in the place of one that was
    /// read may be missing here, as its reader need not know yet: `check_whole_source` looks for
    /// it at the end.
    #[must_use]
    pub fn fate(&self, key: &PartitionKey, offset: SourceOffset) -> Fate {
        let ids = self.source.ids_at(key, offset);
        if ids.is_empty() {
            return Fate::Nothing;
        }
        // After an unclean election an offset has had several records; one of them was read.
        let good = |f: &Fate| matches!(f, Fate::Nothing | Fate::Copied | Fate::Quarantined);
        if let Some(fate) = ids.iter().map(|id| self.fate_of(*id)).find(good) {
            return fate;
        }
        if self.is_overrun(key, offset) || self.source.was_emptied(key, offset) {
            return Fate::Nothing;
        }
        // Records that the election took before anyone read them need not be copied.
        let owed = |id: &&u64| self.still_stands(key, offset, **id);
        ids.iter().find(owed).map_or(Fate::Nothing, |id| self.fate_of(*id))
    }

    /// Returns whether somebody refuses the record that was read under `key` at an offset.
    /// Who reads by name while the topic is created again takes a record of the new topic for the
    /// old one at its offset, until the new id is seen.
    #[must_use]
    pub fn may_be_quarantined(&self, id: u64, key: &PartitionKey, offset: SourceOffset) -> bool {
        let is_other = self.source.records.get(id as usize).is_some_and(|record| record.partition != *key);
        self.is_refused_record(id)
            || is_other && self.source.ids_at(key, offset).iter().any(|old| self.is_refused_record(*old))
    }

    fn is_refused_record(&self, id: u64) -> bool {
        let kind = self.source.records.get(id as usize).map(|record| record.kind);
        kind.is_some_and(|kind| match kind {
            Kind::Reject | Kind::Refused { .. } | Kind::TimestampFar | Kind::TimestampZero => true,
            Kind::Split | Kind::Route => self.no_new_topics,
            _ => false,
        })
    }

    /// Returns whether a record that was ever at this offset is one that cannot pass.
    #[must_use]
    pub fn is_refused(&self, key: &PartitionKey, offset: SourceOffset) -> bool {
        let ids = self.source.ids_at(key, offset);
        ids.iter().any(|id| !matches!(self.fate_of(*id), Fate::Copied | Fate::Missing | Fate::Nothing))
    }

    /// Returns whether a record is where it was written, or its topic is gone with all it held.
    pub(super) fn still_stands(&self, key: &PartitionKey, offset: SourceOffset, id: u64) -> bool {
        let is_current = self.source.is_current(key);
        let Some(log) = self.source.log(&key.topic, key.partition).filter(|_| is_current) else { return true };
        log.entries.get(offset.0 as usize).is_some_and(|e| e.record == Some(id))
    }

    /// Returns whether retention has deleted the record at this offset and an event has said so.
    fn is_overrun(&self, key: &PartitionKey, offset: SourceOffset) -> bool {
        let log = self.source.log(&key.topic, key.partition).filter(|_| self.source.is_current(key));
        let told = |event: &Event| match event {
            Event::RetentionOverrun { partition, expected, log_start } => {
                partition == key && *expected <= offset && offset < *log_start
            }
            _ => false,
        };
        log.is_none_or(|log| offset.0 < log.log_start) && self.events.iter().any(|(_, _, event)| told(event))
    }

    /// Checks what an event says of the source, when it is emitted.
    pub fn check_event(&mut self, event: &Event) {
        match event {
            Event::Truncated { partition, expected, log_end } => {
                let known = self.source.recreated.contains(&partition.topic)
                    || self.source.was_truncated_below(partition, *expected);
                if !known {
                    self.wrong(format!("{partition}: reported as truncated at {log_end}, but no election took anything below {expected}"));
                }
            }
            Event::RetentionOverrun { partition, log_start, .. } => {
                let start = self.source.log_start(partition);
                if start.is_none_or(|start| start < log_start.0) {
                    self.wrong(format!(
                        "{partition}: retention is said to have reached {log_start}, the log starts at {start:?}"
                    ));
                }
            }
            _ => {}
        }
    }

    /// Checks, once everything has arrived, that each record that the source holds below progress
    /// is accounted for itself: not the one that was at its offset before an election. Partitions
    /// that are stopped are not looked at: nobody reads what has changed there since.
    pub fn check_whole_source(&mut self, stopped: &[PartitionKey]) {
        for key in self.source.partitions() {
            if let Some(wrong) = self.unaccounted(&key).filter(|_| !stopped.contains(&key)) {
                self.wrong(format!("{key}: {wrong}"));
            }
        }
    }

    /// Returns the first record that the source holds below the progress of a partition and that is
    /// not accounted for.
    #[must_use]
    pub fn unaccounted(&self, key: &PartitionKey) -> Option<String> {
        let book = self.books.of.get(key)?;
        let (next, start) = (book.position.as_ref()?.next, book.start?);
        let log = self.source.log(&key.topic, key.partition)?;
        (start.0.max(log.log_start)..next.0.min(log.end())).find_map(|offset| {
            let fate = self.fate_of(log.entries.get(usize::try_from(offset).ok()?)?.record?);
            let is_good = matches!(fate, Fate::Nothing | Fate::Copied | Fate::Quarantined);
            (!is_good).then(|| {
                format!("progress is {next}, and the source holds a record at {offset} that was not copied ({fate:?})")
            })
        })
    }
}
