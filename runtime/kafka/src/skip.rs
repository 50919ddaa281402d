//! `strait partitions skip`: moves the position of a source partition, while its link runs or not.
//!
//! The position belongs to a lane, so the lane is taken as any owner takes it: all of its
//! transactional ids are initialised, which fences the process that runs it. Then progress is read,
//! and one transaction writes the new position together with who moved it. The fenced process takes
//! the lane again and goes on from there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use strait_core::books::ReadAgain;
use strait_core::progress::{
    LaneProgress, LinkIdentity, Position, ProgressRecord, ResumePoint, Skip, progress_topic, resume_point,
};
use strait_core::{LaneId, LeaderEpoch, PartitionKey, SourceOffset, TopicId, lanes};
use strait_flow::ports::{
    Class, ControlRecord, DeliveryReport, PortError, ProduceError, ProducerSlot, ProgressStore, Target, TargetEvent,
};

use crate::config::{ClusterConfig, TargetTuning, group};
use crate::error::{blocking, own};
use crate::ffi::{FfiError, OffsetSpec, Place};
use crate::lazy_client::{connect, fail};
use crate::probe::{self, ProbeError};
use crate::progress_store::KafkaProgressStore;
use crate::queries;
use crate::target::{KafkaTarget, mark_record};
use crate::topics::count;

/// How long taking the lane is retried where the process that runs it takes it back meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the producers may take to end.
const CLOSE: Duration = Duration::from_secs(5);

/// A partition whose position is to be moved.
#[derive(Clone, Debug)]
pub struct SkipRequest {
    /// Name of the link.
    pub link: String,
    /// Source topic.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
    /// The next offset to read.
    pub to: i64,
    /// Who moves it.
    pub by: String,
    /// Milliseconds since the Unix epoch.
    pub at: i64,
    /// A random number that stands for this process.
    pub process: u32,
    /// Whether the link delivers exactly once.
    pub exactly_once: bool,
    /// The ends of the link. The id of the source cluster is asked for.
    pub identity: LinkIdentity,
}

/// A position and where it would be, or is, moved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The committed position before.
    pub from: i64,
    /// The new position.
    pub to: i64,
    /// Offsets that are not copied.
    pub lost: i64,
}

/// Why a position was not moved.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SkipError {
    /// The link has no topics yet.
    #[error("link {link} has not been run yet: {topic} does not exist")]
    NeverRun {
        /// Name of the link.
        link: String,
        /// Its progress topic.
        topic: String,
    },
    /// The source has no such partition.
    #[error("the source has no partition {topic}-{partition}")]
    UnknownPartition {
        /// Source topic.
        topic: String,
        /// Partition number.
        partition: i32,
    },
    /// The link has committed nothing for the partition.
    #[error("link {link} has no position of {partition}: it does not copy it, or the topic was created again since")]
    NoPosition {
        /// Name of the link.
        link: String,
        /// The partition.
        partition: PartitionKey,
    },
    /// The offset is not in the log.
    #[error(
        "offset {to} is outside of the log: choose one from {start} (its first record) to {end} (its last stable offset)"
    )]
    Outside {
        /// The offset asked for.
        to: i64,
        /// The start of the log.
        start: i64,
        /// The last stable offset.
        end: i64,
    },
    /// Records would be copied again.
    #[error("offset {to} is not past the committed position {from}: what is copied already would be copied again")]
    Back {
        /// The offset asked for.
        to: i64,
        /// The committed position.
        from: i64,
    },
    /// A process runs a link that delivers at least once. Nothing would fence it.
    #[error("link {link} is being run and delivers at least once: stop every process of it first ({})", members.join(", "))]
    Running {
        /// Name of the link.
        link: String,
        /// Client ids of the group's members.
        members: Vec<String>,
    },
    /// The target cannot be used.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// A request failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// Returns what a skip would do. Changes nothing.
///
/// # Errors
/// [`SkipError`].
pub async fn plan_skip(
    source: &ClusterConfig,
    target: &ClusterConfig,
    request: &SkipRequest,
    timeout: Duration,
) -> Result<Skipped, SkipError> {
    locate(source, target, request, timeout).await?.plan(target, request, timeout).await
}

/// Moves the position of a partition, and fences the process that runs its lane.
///
/// # Errors
/// [`SkipError`]. After [`SkipError::Port`] the position may have been moved.
pub async fn skip_partition(
    source: &ClusterConfig,
    target: &ClusterConfig,
    request: &SkipRequest,
    timeout: Duration,
) -> Result<Skipped, SkipError> {
    // Also for its writer: the target may lack idempotence.
    let (target, _) = probe::reach(target, timeout).await?;
    let place = locate(source, &target, request, timeout).await?;
    // A refusal fences nobody.
    place.plan(&target, request, timeout).await?;
    let until = Instant::now() + PATIENCE;
    loop {
        let tuning =
            TargetTuning { exactly_once: request.exactly_once, request_timeout: timeout, ..TargetTuning::default() };
        let mut owner = KafkaTarget::new(&target, &request.link, place.lane.0, &tuning);
        let moved = move_position(&mut owner, &target, request, &place, timeout).await;
        owner.close(CLOSE).await;
        match moved {
            // The process that runs the lane has taken it back: it backs off longer each time.
            Err(SkipError::Port(PortError { class: Class::Fenced | Class::Retry, .. })) if Instant::now() < until => {}
            ended => return ended,
        }
    }
}

/// Where the partition is, on the source and in the link.
struct Location {
    key: PartitionKey,
    lane: LaneId,
    lanes: u32,
    identity: LinkIdentity,
    /// The first offset of the log, and its last stable offset.
    bounds: (i64, i64),
}

impl Location {
    /// Returns what a skip would do by what is committed now. Waits for no open transaction: the
    /// lane's own may hang, which is a reason to skip.
    async fn plan(
        &self,
        target: &ClusterConfig,
        request: &SkipRequest,
        timeout: Duration,
    ) -> Result<Skipped, SkipError> {
        let store = KafkaProgressStore::new(target, &request.link, timeout).committed_by_now();
        let (skipped, ..) = self.resolve(&store.read(self.lane).await?, request)?;
        Ok(skipped)
    }

    /// Returns what a skip does, and where the partition resumes until then.
    fn resolve<'a>(
        &self,
        known: &'a LaneProgress,
        request: &SkipRequest,
    ) -> Result<(Skipped, ResumePoint<'a>), SkipError> {
        let point = resume_point(&known.positions, &self.key);
        let (link, partition) = (&request.link, &self.key);
        let unknown = || SkipError::NoPosition { link: link.clone(), partition: partition.clone() };
        let point = point.ok_or_else(unknown)?;
        Ok((self.judge(point.position.next.0, request.to)?, point))
    }

    /// Returns what a skip does, and the records to write in transactions of these ids.
    fn records(
        &self,
        known: &LaneProgress,
        request: &SkipRequest,
        ids: Arc<str>,
    ) -> Result<(Skipped, [ProgressRecord; 2]), SkipError> {
        let (skipped, ResumePoint { key, position: old, .. }) = self.resolve(known, request)?;
        let position = Position {
            owner: known.next_owner(request.process),
            ids,
            lanes: self.lanes,
            ..moved(old, SourceOffset(request.to))
        };
        let skip = Skip {
            by: request.by.as_str().into(),
            at: request.at,
            from: old.next,
            to: position.next,
            owner: position.owner,
        };
        Ok((skipped, [ProgressRecord::Partition(key.clone(), position), ProgressRecord::Skipped(key, skip)]))
    }

    fn judge(&self, from: i64, to: i64) -> Result<Skipped, SkipError> {
        let (start, end) = self.bounds;
        if !(start..=end).contains(&to) {
            return Err(SkipError::Outside { to, start, end });
        }
        // A position behind the end is one of a log that was truncated.
        if to <= from && from <= end {
            return Err(SkipError::Back { to, from });
        }
        Ok(Skipped { from, to, lost: (to - from).max(0) })
    }
}

async fn locate(
    source: &ClusterConfig,
    target: &ClusterConfig,
    request: &SkipRequest,
    timeout: Duration,
) -> Result<Location, SkipError> {
    let context = format!("link {}: position of {}-{}", request.link, request.topic, request.partition);
    let (source, target, request) = (source.clone(), target.clone(), request.clone());
    blocking(&context.clone(), move || {
        let asked =
            connect(&target, &format!("{}/skip", request.link)).map_err(|error| fail(&context, &error, None))?;
        let port = |error: FfiError| fail(&context, &error, Some(&asked));
        let topic = progress_topic(&request.link);
        let lanes = count(&asked, &topic, timeout).map_err(port)?;
        if lanes == 0 {
            return Err(SkipError::NeverRun { link: request.link.clone(), topic });
        }
        if !request.exactly_once {
            let members = asked.group_members(&group(&request.link), timeout).map_err(port)?;
            if !members.is_empty() {
                return Err(SkipError::Running { link: request.link.clone(), members });
            }
        }
        let asked =
            connect(&source, &format!("{}/skip", request.link)).map_err(|error| fail(&context, &error, None))?;
        let port = |error: FfiError| fail(&context, &error, Some(&asked));
        let described = queries::describe_one(&asked, &request.topic, timeout).map_err(port)?;
        let unknown = || SkipError::UnknownPartition { topic: request.topic.clone(), partition: request.partition };
        let topic_id = TopicId(described.ok_or_else(unknown)?.id);
        let place = [Place::of(&request.topic, request.partition)];
        let list = |spec, committed| -> Result<i64, SkipError> {
            let found = queries::list(&asked, &place, spec, committed, timeout).map_err(port)?;
            found.values().next().copied().ok_or_else(unknown)
        };
        let bounds = (list(OffsetSpec::Earliest, false)?, list(OffsetSpec::Latest, true)?);
        let lane = lanes::lane_of(&request.topic, request.partition, lanes);
        let key = PartitionKey { topic: request.topic.as_str().into(), topic_id, partition: request.partition };
        let source_cluster = asked.cluster_id(timeout).map(Into::into);
        let identity = LinkIdentity { source_cluster, ..request.identity };
        Ok(Location { key, lane, lanes, identity, bounds })
    })
    .await?
}

async fn move_position(
    owner: &mut KafkaTarget,
    target: &ClusterConfig,
    request: &SkipRequest,
    place: &Location,
    timeout: Duration,
) -> Result<Skipped, SkipError> {
    let context = format!("link {}, lane {}: moving the position of {}", request.link, place.lane, place.key);
    let taken = owner.take().await?;
    if !taken.unfenced.is_empty() {
        // Another take would fence the process that runs the lane again, to no avail.
        let reason = format!(
            "transactional ids {:?} cannot be fenced: {}; mend the target partition that holds up their \
             transactions, then ask again",
            taken.unfenced, taken.unfenced_because
        );
        return Err(own(Class::Stop, context, reason).into());
    }
    // Nobody else can commit for this lane any more.
    let known = KafkaProgressStore::new(target, &request.link, timeout).read(place.lane).await?;
    if let Some(refusal) = known.lane.as_ref().and_then(|lane| lane.refusal(place.lanes, &place.identity)) {
        return Err(own(Class::Stop, context, refusal).into());
    }
    let (skipped, records) = place.records(&known, request, taken.ids_from(ProducerSlot::A))?;
    let mut all: Vec<ControlRecord> = records.iter().map(ControlRecord::from).collect();
    if skipped.to < skipped.from {
        let mark = ReadAgain { partition: place.key.clone(), read_again_from: SourceOffset(skipped.to) };
        all.insert(0, mark_record(owner, &mark, SourceOffset(skipped.from)).await?);
    }
    let write = write(owner, &all, request.exactly_once, &context);
    match tokio::time::timeout(timeout, write).await {
        Ok(written) => written?,
        Err(_) => return Err(own(Class::Retry, context, format!("not written within {timeout:?}")).into()),
    }
    Ok(skipped)
}

/// Returns the position at `to`. The tails and counts stay true, as nothing is copied. A partition
/// without a copied record begins there: otherwise its next owner would look for a truncation from
/// the old origin on, and read what is to be left out.
fn moved(old: &Position, to: SourceOffset) -> Position {
    let is_unread = old.totals.is_some_and(|totals| totals.seen == 0);
    let origin = if is_unread { old.origin.map(|_| to) } else { old.origin };
    Position { next: to, leader_epoch: LeaderEpoch::UNKNOWN, origin, ..old.clone() }
}

/// Writes the records, in one transaction where the link has transactions.
async fn write(
    owner: &mut KafkaTarget,
    records: &[ControlRecord],
    exactly_once: bool,
    context: &str,
) -> Result<(), PortError> {
    let failed = |reason: String| own(Class::Retry, context, reason);
    if exactly_once {
        owner.begin(ProducerSlot::A)?;
    }
    owner.produce_control(ProducerSlot::A, 0, 0, records).map_err(|error| match error {
        ProduceError::QueueFull => failed("the queue is full".to_owned()),
        ProduceError::Refused(reason) | ProduceError::Broken(reason) => failed(reason),
    })?;
    let mut missing = records.len();
    loop {
        match owner.event().await {
            TargetEvent::Delivered(reports) => {
                for report in reports {
                    match report {
                        DeliveryReport::Acknowledged { count, .. } => missing = missing.saturating_sub(count as usize),
                        DeliveryReport::Refused { reason, .. } | DeliveryReport::Failed { reason, .. } => {
                            return Err(failed(reason));
                        }
                    }
                }
                match (missing, exactly_once) {
                    (0, true) => owner.commit(ProducerSlot::A),
                    (0, false) => return Ok(()),
                    _ => {}
                }
            }
            TargetEvent::Committed(_) => return Ok(()),
            // No topic is open but the link's own.
            TargetEvent::TopicIds(_) => {}
            TargetEvent::Broken(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use strait_core::progress::{ProgressFold, Tail, Tails, Totals};
    use strait_core::{OwnerEpoch, TargetOffset};

    use super::*;

    #[test]
    fn a_moved_position_keeps_what_is_known_of_the_copies() {
        let mut tails = Tails::default();
        tails.set(Tail { topic: "t".into(), id: TopicId([1; 16]), partition: 0, end: TargetOffset(7) });
        let totals = Some(Totals { seen: 5, kept: 5, copies: 7, ..Totals::default() });
        let old = Position {
            next: SourceOffset(10),
            leader_epoch: LeaderEpoch(3),
            origin: Some(SourceOffset(2)),
            totals,
            tails,
            ..Position::default()
        };
        let (next, leader_epoch) = (SourceOffset(20), LeaderEpoch::UNKNOWN);
        assert_eq!(moved(&old, next), Position { next, leader_epoch, ..old.clone() });
        // Nothing was copied yet: it begins at the new place.
        let unread = Position { totals: Some(Totals::default()), ..old.clone() };
        assert_eq!(moved(&unread, next).origin, Some(next));
        // An earlier version began it.
        let unknown = Position { origin: None, totals: None, ..old };
        assert_eq!(moved(&unknown, next).origin, None);
    }

    /// Returns a lane with positions of partition 0 of `t` under these topic ids, each with owner
    /// count and offset.
    fn lane(stored: &[(u8, u64, i64)]) -> LaneProgress {
        let mut fold = ProgressFold::default();
        for (id, count, next) in stored {
            let key = PartitionKey { topic: "t".into(), topic_id: TopicId([*id; 16]), partition: 0 };
            let (owner, next) = (OwnerEpoch(count << 32), SourceOffset(*next));
            let (key, value) = ProgressRecord::Partition(key, Position { owner, next, ..Position::default() }).encode();
            fold.fold(0, &key, Some(&value));
        }
        fold.finish().unwrap()
    }

    #[test]
    fn a_position_is_found_where_a_lane_would_find_it() {
        let request = SkipRequest {
            link: "l".to_owned(),
            topic: "t".to_owned(),
            partition: 0,
            to: 80,
            by: "somebody".to_owned(),
            at: 1,
            process: 7,
            exactly_once: true,
            identity: LinkIdentity::default(),
        };
        // What is stored, the id that the source reports, and the id and offset that are written.
        for (stored, found, written) in [
            (&[(1, 1, 60)][..], 1, Some((1, 60))),
            // Written before the cluster reported ids, and the other way round.
            (&[(0, 1, 60)], 1, Some((1, 60))),
            (&[(1, 1, 60)], 0, Some((1, 60))),
            (&[(1, 1, 60), (0, 2, 70)], 1, Some((1, 70))),
            // Another incarnation of the topic.
            (&[(2, 1, 60)], 1, None),
            (&[(2, 1, 60), (0, 2, 70)], 1, None),
        ] {
            let known = lane(stored);
            let key = PartitionKey { topic: "t".into(), topic_id: TopicId([found; 16]), partition: 0 };
            let place = Location {
                key: key.clone(),
                lane: LaneId(0),
                lanes: 1,
                identity: LinkIdentity::default(),
                bounds: (50, 100),
            };
            let moved = place.records(&known, &request, "ab".into());
            let Some((id, from)) = written else {
                assert!(matches!(moved, Err(SkipError::NoPosition { .. })), "{stored:?}: {moved:?}");
                continue;
            };
            let (skipped, records) = moved.unwrap();
            assert_eq!(skipped, Skipped { from, to: 80, lost: 80 - from }, "{stored:?}");
            // A lane that reads this resumes at the new place.
            let mut fold = ProgressFold::default();
            let old = known.positions.into_iter().map(|(key, old)| ProgressRecord::Partition(key, old));
            for record in old.chain(records) {
                let (key, value) = record.encode();
                fold.fold(0, &key, Some(&value));
            }
            let now = fold.finish().unwrap();
            let point = resume_point(&now.positions, &key).unwrap();
            assert_eq!((point.key.topic_id, point.position.next), (TopicId([id; 16]), SourceOffset(80)), "{stored:?}");
            assert!(now.unseen_skips().contains_key(&point.key), "{stored:?}");
        }
    }

    #[test]
    fn a_position_moves_forward_within_the_log_only() {
        let key = PartitionKey { topic: "t".into(), topic_id: TopicId::UNKNOWN, partition: 0 };
        let place = Location { key, lane: LaneId(0), lanes: 1, identity: LinkIdentity::default(), bounds: (50, 100) };
        let lost = |from, to| place.judge(from, to).map(|skipped| skipped.lost);
        assert_eq!(lost(60, 70).unwrap(), 10);
        assert_eq!(lost(10, 50).unwrap(), 40);
        assert_eq!(lost(60, 100).unwrap(), 40);
        // The log was truncated below the position.
        assert_eq!(lost(120, 90).unwrap(), 0);
        assert!(matches!(lost(60, 49), Err(SkipError::Outside { start: 50, end: 100, .. })));
        assert!(matches!(lost(60, 101), Err(SkipError::Outside { .. })));
        assert!(matches!(lost(60, 60), Err(SkipError::Back { .. })));
        assert!(matches!(lost(60, 55), Err(SkipError::Back { .. })));
    }
}
