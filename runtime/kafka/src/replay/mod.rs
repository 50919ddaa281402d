//! Works on the books of quarantine: reads them, replays records from the source, closes entries.
//!
//! Whoever closes entries does it under one transactional id of the link. Initialising it fences
//! any other such job and ends its transaction, and the books are read after that. So a job that is
//! killed anywhere and run again goes on where its last commit was: copies, offset map and books
//! are committed together.

mod books;
mod compare;
mod decide;
mod facts;
mod marks;
mod places;
mod show;
mod topics;
mod trim;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use strait_core::books::{BookFilter, BookKey, HeldBack, KeptAt, StoredEntry, TooManyEntries};
use strait_core::{Batch, BatchBuilder, LeaderEpoch, PartitionKey, SourceOffset, TimestampType};
use strait_flow::ports::{Class, PortError};

use crate::config::{ClusterConfig, TargetTuning};
use crate::error::is_topic_denied;
use crate::ffi::Stamp;
use crate::probe::ProbeError;
use crate::topics::maker::TopicMaker;

use books::{Books, Reach};
pub use books::{BooksRead, read_books};
use compare::KeptDigests;
pub use decide::{Blocked, Judged, Outcome, Work};
pub use facts::{SourceFacts, source_facts};
use marks::Marks;
use places::{Next, Places};
pub use show::{Kept, kept_record, kept_sizes};
pub use topics::ReplayTopics;
pub use trim::{Trimmed, trim_quarantine};
use writer::Writer;
pub use writer::{Replayed, Written};

/// Most records of one transaction.
pub const RECORDS_MAX: usize = 500;
/// Bytes of source records from which on a transaction takes no more.
const BYTES_MAX: usize = 8 << 20;

/// Why a job on the books ends.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReplayError {
    /// There are no books.
    #[error(
        "link {link} has no books of its quarantine: topic {topic} does not exist on cluster {cluster}, or has no second partition; run the link first"
    )]
    NoBooks {
        /// Name of the link.
        link: String,
        /// The topic that holds them.
        topic: String,
        /// Name of the target cluster.
        cluster: String,
    },
    /// There are too many entries.
    #[error(transparent)]
    TooMany(#[from] TooManyEntries),
    /// The target has no transactions.
    #[error(
        "cluster {cluster} has no transactions, without which a record could be replayed twice: entries can be listed and shown only"
    )]
    NoTransactions {
        /// Name of the target cluster.
        cluster: String,
    },
    /// Another job has begun.
    #[error(
        "another replay or discard of link {link} has begun, which ends this one. What this one has committed stays; run it again after the other one"
    )]
    Fenced {
        /// Name of the link.
        link: String,
    },
    /// A replay would put an older value over a newer one.
    #[error(
        "target topic {topic} {why}: a replayed record lands behind newer ones, and an older value would then count for its key; replay all the same with --accept-late, or discard the record"
    )]
    Late {
        /// The target topic.
        topic: Arc<str>,
        /// The danger.
        why: String,
    },
    /// The target topic is not the one that the link wrote.
    #[error(
        "target topic {topic} is missing, or was deleted and created again since the link wrote it: let the link run first (see on_target_recreated)"
    )]
    TargetChanged {
        /// The target topic.
        topic: Arc<str>,
    },
    /// A cluster cannot be used.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// A request failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

impl ReplayError {
    /// Returns whether this ends a job as a whole, and not only the work on one source partition.
    #[must_use]
    pub fn ends_all(&self) -> bool {
        match self {
            Self::Late { .. } | Self::TargetChanged { .. } => false,
            Self::Port(error) => error.class != Class::Retry && !is_topic_denied(error),
            _ => true,
        }
    }
}

/// A link, for a job on its books.
#[derive(Clone)]
pub struct ReplaySpec {
    /// Name of the link.
    pub link: String,
    /// The source cluster.
    pub source: ClusterConfig,
    /// The target cluster.
    pub target: ClusterConfig,
    /// How the target is written.
    pub tuning: TargetTuning,
    /// How long one request may take.
    pub timeout: Duration,
}

/// Records that were read from the source.
#[derive(Debug, Default)]
pub struct Fetched {
    /// The records, by source partition as the books name it.
    pub batches: Vec<(PartitionKey, Batch)>,
    /// Records that are not there, and why.
    pub held_back: Vec<(BookKey, HeldBack)>,
    /// Number of keys that this is the answer to, from the first on.
    pub done: usize,
}

impl Fetched {
    /// Returns the number of records.
    #[must_use]
    pub fn records(&self) -> usize {
        self.batches.iter().map(|(_, batch)| batch.len()).sum()
    }
}

/// The job that may close entries of a link's books. Its calls block, each for a bounded time.
pub struct ReplayJob {
    spec: ReplaySpec,
    writer: Writer,
    places: Places,
    kept: KeptDigests,
    marks: Marks,
}

impl ReplayJob {
    /// Initialises the link's transactional id for such jobs, which ends any other one.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub fn begin(spec: ReplaySpec, maker: Option<Arc<TopicMaker>>) -> Result<Self, ReplayError> {
        if !spec.target.has_idempotence() {
            return Err(ReplayError::NoTransactions { cluster: spec.target.name });
        }
        let writer = Writer::begin(&spec, maker)?;
        let places = Places::new(&spec.source, &spec.link, spec.timeout)?;
        let marks = Marks::new(&spec.target, &spec.link, spec.timeout);
        Ok(Self { spec, writer, places, kept: KeptDigests::default(), marks })
    }

    /// Reads the books to the end of their log. Nobody else can close an entry any more.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub fn books(&mut self, filter: BookFilter) -> Result<BooksRead, ReplayError> {
        // A lane that died may have left a transaction open, which the broker ends after a while.
        let timeout = self.spec.timeout + self.spec.tuning.transaction_timeout;
        let read = Books { target: &self.spec.target, link: &self.spec.link, timeout }.read(filter, Reach::End)?;
        self.marks.begin(read.end);
        Ok(read)
    }

    /// Reads the records of the first of these entries from the source: as many as one transaction
    /// takes, and at most `most`. The keys ascend. It ends before a partition that the source does
    /// not give. A record that differs from the one that quarantine keeps at the place of
    /// `place_of` is held back.
    ///
    /// # Errors
    /// [`ReplayError`], of the partition of the first key.
    pub fn fetch(
        &mut self,
        keys: &[BookKey],
        place_of: &dyn Fn(&BookKey) -> Option<KeptAt>,
        most: usize,
    ) -> Result<Fetched, ReplayError> {
        let keys = keys.get(..most.min(RECORDS_MAX)).unwrap_or(keys);
        self.kept.read(&mut self.places, &self.spec.link, keys, place_of);
        let (mut fetched, mut bytes) = (Fetched::default(), 0);
        for of_partition in keys.chunk_by(|one, other| one.partition == other.partition) {
            let Some(first) = of_partition.first() else { continue };
            let partition = &first.partition;
            let offsets: Vec<i64> = of_partition.iter().map(|key| key.offset.0).collect();
            let (mut taken, mut changed) = (Taken::new(partition), Vec::new());
            let kept = self.kept.of_partition(partition);
            let read = self.places.read(&partition.topic, partition.partition, &offsets, |message| {
                bytes += message.bytes();
                if compare::is_other(&kept, message) {
                    changed.push(message.offset());
                } else {
                    taken.add(message);
                }
                Ok(if bytes < BYTES_MAX { Next::More } else { Next::Enough })
            });
            let missing = match read.and_then(|missing| self.places.check_id(partition).map(|()| missing)) {
                Ok(missing) => missing,
                Err(_) if fetched.done > 0 => break,
                Err(error) => return Err(error.into()),
            };
            let key = |offset: i64| BookKey { partition: partition.clone(), offset: SourceOffset(offset) };
            let missing = missing.into_iter().map(|offset| (key(offset), HeldBack::Deleted));
            let damaged = taken.damaged.iter().map(|offset| (key(*offset), HeldBack::Damaged));
            let answered = missing.len() + taken.records + taken.damaged.len() + changed.len();
            let changed = changed.iter().map(|offset| (key(*offset), HeldBack::Changed));
            fetched.held_back.extend(missing.chain(damaged).chain(changed));
            fetched.done += answered;
            fetched.batches.extend(taken.finish().into_iter().map(|batch| (partition.clone(), batch)));
            if bytes >= BYTES_MAX {
                break;
            }
        }
        Ok(fetched)
    }

    /// Reads the records of a source partition from `from` up to `until`, in batches, to warm up
    /// stateful plugins.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub fn log_before(
        &mut self,
        partition: &PartitionKey,
        (from, until): (i64, i64),
        mut show: impl FnMut(Batch) -> Result<(), PortError>,
    ) -> Result<(), ReplayError> {
        let mut taken = Taken::new(partition);
        self.places.read_range(&partition.topic, partition.partition, (from, until), |message| {
            taken.add(message);
            if taken.records >= RECORDS_MAX {
                std::mem::replace(&mut taken, Taken::new(partition)).finish().into_iter().try_for_each(&mut show)?;
            }
            Ok(())
        })?;
        self.places.check_id(partition)?;
        Ok(taken.finish().into_iter().try_for_each(show)?)
    }

    /// Writes the copies of judged records, the offset map and the closed entries, in one
    /// transaction. Just before it is committed, it looks whether a lane has gone back since the
    /// books were read, and whether the target topics are the same ones.
    ///
    /// # Errors
    /// [`ReplayError`]. After [`ReplayError::Port`] it may have been committed: the books say.
    pub fn write(&mut self, work: &Work<'_>, topics: &mut ReplayTopics) -> Result<Written, ReplayError> {
        self.writer.write(work, topics, &mut self.marks)
    }

    /// Writes closed entries, in one transaction.
    ///
    /// # Errors
    /// As [`ReplayJob::write`].
    pub fn close(&mut self, entries: &[(BookKey, StoredEntry)]) -> Result<(), ReplayError> {
        self.writer.close(entries)
    }
}

/// Records of a partition on their way into batches.
struct Taken<'a> {
    partition: &'a PartitionKey,
    batches: Vec<Batch>,
    open: Option<(BatchBuilder, (i32, Stamp))>,
    records: usize,
    damaged: Vec<i64>,
}

impl<'a> Taken<'a> {
    fn new(partition: &'a PartitionKey) -> Self {
        Self { partition, batches: Vec::new(), open: None, records: 0, damaged: Vec::new() }
    }

    /// Copies a record out of librdkafka's memory. A batch has one leader epoch and one kind of
    /// timestamp.
    fn add(&mut self, message: &crate::ffi::ConsumedMessage<'_>) {
        let mut headers = Vec::new();
        if message.headers(|name, value| headers.push((name, value))).is_err() {
            self.damaged.push(message.offset());
            return;
        }
        let (timestamp_ms, stamp) = message.timestamp();
        let kind = (message.leader_epoch(), stamp);
        if self.open.as_ref().is_none_or(|(_, of)| *of != kind) {
            self.close();
            let of = if stamp == Stamp::Append { TimestampType::Append } else { TimestampType::Create };
            let (topic, epoch) = (Arc::clone(&self.partition.topic), LeaderEpoch(kind.0));
            self.open = Some((BatchBuilder::new(topic, self.partition.partition, of, epoch), kind));
        }
        if let Some((builder, _)) = &mut self.open {
            builder.push(SourceOffset(message.offset()), timestamp_ms, message.key(), message.value());
            headers.iter().for_each(|(name, value)| builder.push_header(name, *value));
            self.records += 1;
        }
    }

    fn close(&mut self) {
        self.batches.extend(self.open.take().map(|(builder, _)| builder.build()));
    }

    fn finish(mut self) -> Vec<Batch> {
        self.close();
        self.batches
    }
}
