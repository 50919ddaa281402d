//! Taking a lane: initialise its transactional ids, then read progress, then seek. In that order: a
//! transaction of the previous owner could otherwise commit after its progress was read.

use std::sync::Arc;
use std::time::Duration;

use strait_core::progress::{HeldBorder, Position};
use strait_core::{Event, Generation};

use super::books::Books;
use super::border::Border;
use super::pauses::Timers;
use super::place::UnplacedPartitions;
use super::quarantine;
use super::release::Release;
use super::{Lane, LaneDeps};
use crate::caution::Caution;
use crate::clock::millis;
use crate::error::LaneError;
use crate::partitions::{InFlight, Partitions};
use crate::ports::{Class, PortError, SourceTopic, Taken};
use crate::progress::Progress;
use crate::spec::{DeliveryMode, LaneSpec};
use crate::target_topics::TargetTopics;
use crate::transaction::Transactions;

/// How long an attempt that failed may take to abort its open transactions. The next attempt aborts
/// them in any case; if the target cannot, waiting only holds up the partitions that it could
/// write.
pub(crate) const ABORT_MAX: Duration = Duration::from_secs(1);

/// Checks that no previous owner can still commit.
///
/// One could if the id of its *next* transaction is not fenced. But then it has already written
/// progress, with a larger owner epoch than any that it had read. So there is no such owner if this
/// process wrote the newest progress, or if the next id of the last writer is fenced (decision 7).
fn check_sole_owner(taken: &Taken, last: Option<&Position>, spec: &LaneSpec) -> Result<(), PortError> {
    let other = |last: &&Position| !taken.unfenced.is_empty() && last.owner.process() != spec.process;
    let Some(last) = last.filter(other) else {
        return Ok(());
    };
    if last.ids.chars().nth(1).is_some_and(|next| !taken.unfenced.contains(next)) {
        return Ok(());
    }
    let context = format!("taking lane {} of link {}", spec.lane, spec.link);
    let reason = format!(
        "its transactional ids {:?} are not fenced, and the process that used them could still be at work: {}",
        taken.unfenced, taken.unfenced_because
    );
    Err(PortError::new(Class::Retry, context, reason))
}

impl<'a> Lane<'a> {
    /// Makes the clients, takes the lane and puts every partition at its committed position.
    pub async fn take(spec: &'a LaneSpec, deps: &'a LaneDeps, caution: &'a mut Caution) -> Result<Lane<'a>, LaneError> {
        let chain = deps.chains.chain().map_err(|error| {
            let context = "making an instance of the plugin chain";
            PortError::new(Class::Retry, context, error.to_string()).caused_by(error)
        })?;
        let mut target = deps.connector.target(spec.lane).await?;
        let mut quarantine = deps.connector.quarantine(spec.lane).await?;
        // Beside taking the target, which takes longer. Without plugins hardly any record is
        // refused.
        let has_plugins = chain.generation() != Generation::default();
        let ready = async {
            if has_plugins {
                quarantine::prepare(&mut *quarantine, &spec.link).await;
            }
        };
        let began = deps.clock.now();
        let (taken, ()) = tokio::join!(target.take(), ready);
        let taken = taken?;
        let ids_at = deps.clock.now();
        let read = deps.progress.read(spec.lane).await?;
        let read_at = deps.clock.now();
        let owner = read.next_owner(spec.process);
        if let Err(error) = check_sole_owner(&taken, read.newest.as_ref(), spec) {
            target.close(ABORT_MAX).await;
            return Err(error.into());
        }
        let refused = read.lane.as_ref().and_then(|lane| {
            let refusal = || lane.refusal(spec.lanes, &spec.identity).map(LaneError::Unusable);
            lane.closing().map(LaneError::Closed).or_else(refusal)
        });
        if let Some(refused) = refused {
            target.close(ABORT_MAX).await;
            return Err(refused);
        }
        if let Some(before) = read.lane.as_ref().and_then(|lane| lane.other_delivery(spec.delivery)) {
            let (before, now) = (Arc::clone(before), spec.delivery.name().into());
            deps.emit(&spec.link, Event::DeliveryChanged { lane: spec.lane.0, before, now });
        }
        let source = deps.connector.source(spec.lane).await?;
        let topics = Arc::clone(&deps.topics.borrow());
        let now = deps.clock.now();
        caution.lane_taken(taken.unfenced.is_empty(), now);
        let mut lane = Lane {
            spec,
            deps,
            caution,
            source,
            target,
            quarantine,
            chain,
            partitions: Partitions::default(),
            topics: TargetTopics::default(),
            transactions: Transactions::new(),
            in_flight: InFlight::default(),
            border: Border::new(HeldBorder::of(&read)),
            books: Books::default(),
            progress: Progress::new(read, owner, taken, &topics, spec, now),
            timers: Timers::new(now),
            release: Release::default(),
            unplaced: UnplacedPartitions::default(),
        };
        let placed = match lane.restore_border().and_then(|()| lane.judge_chain(&topics)) {
            Ok(()) => lane.place_mine(&topics, now).await,
            Err(error) => Err(error),
        };
        if let Err(error) = placed {
            lane.close_clients(ABORT_MAX).await;
            return Err(error);
        }
        // The first transaction only records the new owner. Later ones carry records and can get
        // stuck; the next owner must be able to tell who wrote them.
        if spec.delivery == DeliveryMode::ExactlyOnce {
            lane.partitions.claim();
        }
        tracing::debug!(
            link = %spec.link,
            lane = %spec.lane,
            ids_ms = millis(ids_at.saturating_sub(began)),
            progress_ms = millis(read_at.saturating_sub(ids_at)),
            places_ms = millis(deps.clock.now().saturating_sub(read_at)),
            "lane taken"
        );
        Ok(lane)
    }

    /// Puts every partition at its committed position, and opens the topics that they go to.
    async fn place_mine(&mut self, topics: &[SourceTopic], now: Duration) -> Result<(), LaneError> {
        let mine = self.mine(topics).await?;
        self.place(mine, now).await?;
        self.report_gone(topics).await;
        self.open_existing_topics().await
    }

    /// Ends every client of this attempt. Open transactions are aborted, as far as that goes within
    /// `deadline`.
    pub async fn close_clients(mut self, deadline: Duration) {
        self.target.close(deadline).await;
        self.source.close().await;
    }
}
