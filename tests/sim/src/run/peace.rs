//! The peace after the storm, in which everything must arrive.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strait_core::invariants::Fate;
use strait_core::{Event, PartitionKey, SourceOffset, lanes};
use strait_flow::{CoordinatorState, CoordinatorStatus, DeliveryMode, LinkStatus, OnGap};

use super::{Watch, groups};
use crate::cluster::Cluster;
use crate::world::plugins::LEVEL_MAX;
use crate::world::{Faults, World};

/// Virtual time within which everything must arrive once the faults have ended, in seconds.
const PEACE_SECS_MAX: u64 = 300;

/// Virtual time within which every process must have counted the open records, in seconds.
const COUNTED_SECS_MAX: u64 = 60;

/// Virtual time within which the link must have a coordinator, in seconds: the longest pause before
/// another attempt, and a few more.
const COORDINATED_SECS_MAX: u64 = 60;

/// Ends every fault, waits until everything has arrived, stops the lanes and checks the whole
/// target.
pub(super) async fn finish(mut cluster: Cluster) {
    let sim = cluster.sim.clone();
    if sim.lock().violation.is_some() {
        return;
    }
    calm(&mut cluster).await;
    let deadline = sim.lock().now() + PEACE_SECS_MAX * 1000;
    let mut waiting = None;
    let mut watch = Watch::default();
    while sim.lock().now() < deadline && sim.lock().violation.is_none() {
        cluster.check_alive().await;
        waiting = unfinished(&cluster);
        if let Some(key) = watch.look(&cluster).first() {
            sim.lock().wrong(format!("{key} stands without a word"));
        }
        if waiting.is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    if let Some(what) = waiting {
        sim.lock().wrong(format!("not everything arrived within {PEACE_SECS_MAX} s of peace: {what}"));
    }
    check_counts(&cluster).await;
    check_incarnations(&cluster);
    check_coordinator(&cluster).await;
    groups::check(&cluster).await;
    let mut stopped = sim.lock().source.partitions();
    stopped.retain(|key| cluster.is_stopped(key).is_some());
    cluster.stop_all().await;
    // Requests under way still arrive.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let mut world = sim.lock();
    if world.violation.is_some() {
        return;
    }
    world.check_whole_target();
    world.check_all_entries();
    world.check_whole_source(&stopped);
    for lane in 0..world.lanes {
        let read = world.read_progress(lane, 0);
        let positions = match read {
            Ok(progress) => progress.positions,
            Err(error) => return world.wrong(error),
        };
        for (key, position) in positions {
            let known = world.books.of.get(&key).and_then(|b| b.position.clone());
            if known.as_ref() != Some(&position) {
                world.wrong(format!("{key}: a reader finds progress {}, the books say {known:?}", position.next));
            }
        }
    }
}

/// Checks that every process comes to know how many records are open in quarantine.
async fn check_counts(cluster: &Cluster) {
    let mut told = Vec::new();
    for _ in 0..COUNTED_SECS_MAX {
        let open = Some(cluster.sim.lock().open_records().len() as u64);
        let records = |status: &Arc<LinkStatus>| status.quarantine().open.map(|open| open.records);
        told = cluster.statuses().iter().map(records).collect();
        if told.iter().all(|told| *told == open) {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut world = cluster.sim.lock();
    let open = world.open_records().len();
    world.wrong(format!("{open} records are open in quarantine, and the processes say {told:?}"));
}

/// Checks that no process still shows an earlier incarnation of a partition beside the present one.
fn check_incarnations(cluster: &Cluster) {
    for status in cluster.statuses() {
        let mut shown = BTreeMap::new();
        for (key, partition) in status.partitions() {
            if let Some(other) =
                shown.insert((Arc::clone(&key.topic), key.partition), (key.topic_id, partition.activity.clone()))
            {
                let now = (key.topic_id, partition.activity);
                cluster
                    .sim
                    .lock()
                    .wrong(format!("status shows {key} in more than one incarnation: {other:?} and {now:?}"));
            }
        }
    }
}

/// Checks that one process coordinates the link, and that every process hears of it.
async fn check_coordinator(cluster: &Cluster) {
    if !cluster.coordinated {
        return;
    }
    let mut known = Vec::new();
    for _ in 0..COORDINATED_SECS_MAX {
        known = cluster.statuses().iter().map(|status| status.coordinator()).collect();
        let now = Duration::from_millis(cluster.sim.lock().now());
        let hears = |status: &CoordinatorStatus| {
            status
                .heard_of
                .is_some_and(|heard| !heard.released && now.saturating_sub(heard.at) < Duration::from_secs(5))
        };
        let at_work = known.iter().filter(|status| status.state == CoordinatorState::Coordinating).count();
        if at_work == 1 && known.iter().all(hears) {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    cluster.sim.lock().wrong(format!("the link has no coordinator, or not every process hears of it: {known:?}"));
}

async fn calm(cluster: &mut Cluster) {
    let sim = cluster.sim.clone();
    {
        let mut world = sim.lock();
        world.note(format_args!("peace"));
        world.faults = Faults::default();
        world.hooks.clear();
        groups::calm(&mut world);
        world.books_fault = None;
        // Some operators repair what stopped their partitions, and others do not.
        world.mended |= world.rng.chance(500);
        // The operator agrees at last, so that every lane takes the plugins.
        world.deploy(LEVEL_MAX, true);
        for proc in 0..world.procs.len() {
            world.load_plugins(proc);
        }
        if world.rng.chance(500) {
            world.target.fixed.clear();
        }
        for proc in 0..world.procs.len() {
            world.resume(proc);
            world.procs[proc].outside_until = 0;
        }
        for topic in &mut world.target.topics {
            for log in &mut topic.logs {
                (log.stuck_until, log.unmarked_until) = (0, 0);
            }
        }
        for key in world.source.partitions() {
            world.end_source_transaction(&key.topic, key.partition, true);
        }
    }
    // Deleted topics have been created again by then.
    tokio::time::sleep(Duration::from_secs(9)).await;
    cluster.bury().await;
    if cluster.alive().is_empty() {
        cluster.start_process();
    }
    let alive = cluster.alive();
    for lane in 0..cluster.owner.len() {
        let owner = cluster.owner[lane].filter(|p| alive.contains(p)).unwrap_or(alive[lane % alive.len()]);
        for other in alive.iter().filter(|p| **p != owner) {
            cluster.give_up(lane as u32, *other).await;
        }
        cluster.assign(lane as u32, owner);
    }
    cluster.topics_are_known().await;
    // It takes a moment until status shows what they learn of the source.
    tokio::time::sleep(Duration::from_secs(2)).await;
}

/// Returns the first partition that has not arrived and is not stopped for a reason that an event
/// gave.
fn unfinished(cluster: &Cluster) -> Option<String> {
    let keys = cluster.sim.lock().source.partitions();
    for key in keys {
        let stopped = cluster.is_stopped(&key);
        let world = cluster.sim.lock();
        let Some(log) = world.source.log(&key.topic, key.partition) else { continue };
        let end = SourceOffset(log.end());
        let next = world.books.of.get(&key).and_then(|b| b.position.as_ref()).map(|p| p.next);
        // At-least-once: a process that has lost the lane without knowing can have written a larger
        // owner epoch than the owner. The owner's progress then counts only from its next take on.
        // What is copied is copied.
        let plain = world.delivery == DeliveryMode::AtLeastOnce;
        let copied = world.books.of.get(&key).filter(|_| plain).map(|b| b.verified);
        if next == Some(end) || copied == Some(end) {
            // An election may have put other records below progress, as many as it took.
            match world.unaccounted(&key).filter(|_| stopped.is_none()) {
                Some(missing) => return Some(format!("{key}: {missing}")),
                None => continue,
            }
        }
        let lane = lanes::lane_of(&key.topic, key.partition, world.lanes);
        let Some(proc) = stopped else {
            return Some(format!("{key} (lane {lane}) is at {next:?} of {end}"));
        };
        let told = world.events.iter().filter(|(_, p, _)| *p == proc);
        if !told.into_iter().any(|(_, _, event)| explains(&world, &key, event)) {
            return Some(format!("{key} (lane {lane}) is stopped at {next:?} of {end}, and no event explains it"));
        }
    }
    None
}

/// Returns whether an event is a good reason for a partition to be stopped where it is.
fn explains(world: &World, key: &PartitionKey, event: &Event) -> bool {
    let here = |other: &PartitionKey| other.topic == key.topic && other.partition == key.partition;
    let log_changed = world.policies.on_gap == OnGap::Stop;
    match event {
        Event::RecordStopped { partition, offset, .. } => {
            // Everything before the record has arrived, and the record is one that must stop.
            let next = world.books.of.get(partition).and_then(|b| b.position.as_ref()).map_or(0, |p| p.next.0);
            let plain = world.delivery == DeliveryMode::AtLeastOnce;
            let clear = (next..offset.0).all(|o| match world.fate(partition, SourceOffset(o)) {
                Fate::Nothing => true,
                // It is copied, although the progress of a process that had lost the lane hides
                // that.
                Fate::Copied | Fate::Quarantined => plain,
                _ => false,
            });
            here(partition) && clear && world.is_refused(partition, *offset)
        }
        // It is retried, and nothing is in its way any more.
        Event::QuarantineFailed { .. } => false,
        Event::PluginFailed { partition, first, .. } => here(partition) && world.is_refused(partition, *first),
        Event::RetentionOverrun { partition, .. } => here(partition) && log_changed,
        Event::Truncated { partition, expected, .. } => {
            here(partition) && log_changed && world.source.was_truncated_below(partition, *expected)
        }
        Event::TopicRecreated { partition, .. } | Event::SourceGone { partition, .. } => {
            here(partition) && log_changed && world.source.recreated.contains(&key.topic)
        }
        Event::EpochRegression { partition, .. } => here(partition) && world.source.recreated.contains(&key.topic),
        // Only a partition without its counterpart may stop.
        Event::TargetPartitionsMissing { partition, target_topic, found, .. } => {
            let lacks = u32::try_from(partition.partition).is_ok_and(|number| number >= *found);
            here(partition) && lacks && world.target.fixed.contains(target_topic)
        }
        _ => false,
    }
}
