//! The books of quarantine, on a target that does not take their entries.

use std::collections::BTreeSet;

use strait_core::books::BOOKS_PARTITION;
use strait_core::{Event, PartitionKey};
use strait_sim::world::entries::BooksFault;
use strait_sim::world::target::OPERATE;

use super::*;

/// Virtual time without books, in seconds.
const CLOSED_S: u64 = 150;

/// How the books fail.
#[derive(Clone, Copy, Debug)]
enum Failure {
    /// The target says that they are not there.
    Missing,
    /// The target says that they are there, and takes no entry.
    Untold,
    /// The target does not tell whether it takes entries.
    Silent,
    /// Their partition takes neither entries nor markers.
    Stuck,
}

fn break_books(world: &mut World, failure: Failure) {
    match failure {
        Failure::Missing => world.books_fault = Some(BooksFault::Missing),
        Failure::Untold => world.books_fault = Some(BooksFault::Untold),
        Failure::Silent => world.books_fault = Some(BooksFault::Silent),
        Failure::Stuck => {
            let (topic, _) = world.open_target_topic(OPERATE, 2, false);
            let until = world.now() + CLOSED_S * 1000;
            if let Some(log) = world.target.log_mut(topic, BOOKS_PARTITION) {
                log.stuck_until = until;
            }
        }
    }
}

/// Appends records to partition 0 of which some are refused, and to partition 1 of which none is.
fn feed_with_rejects(world: &mut World) {
    let rules = world.rules;
    world.rules = Rules { reject: 700, ..rules };
    world.append("a", 0, 10, false);
    world.rules = rules;
    world.append("a", 1, 10, false);
}

fn entries(world: &World) -> usize {
    world.open_records().len()
}

#[test]
fn books_that_cannot_be_written_stop_the_partitions_that_need_them_and_no_others() {
    for failure in [Failure::Missing, Failure::Untold, Failure::Silent, Failure::Stuck] {
        let outcomes = play(lenient(), Rules::default(), move |mut cluster| async move {
            cluster.set_lanes(1);
            begin(&mut cluster).await;
            feed_with_rejects(&mut cluster.sim.lock());
            until(&cluster, "the first entries", |world| entries(world) > 0).await;
            let (before, restarts_before) = {
                let mut world = cluster.sim.lock();
                break_books(&mut world, failure);
                (entries(&world), restarts(&world))
            };
            let began = cluster.sim.lock().now();
            let mut slowest = 0;
            while cluster.sim.lock().now() < began + CLOSED_S * 1000 - 20_000 {
                let (end, fed_at) = {
                    let mut world = cluster.sim.lock();
                    feed_with_rejects(&mut world);
                    (world.source.log("a", 1).map_or(0, |log| log.end()), world.now())
                };
                let arrived = |world: &World| next(world, "a", 1).0 >= end;
                until(&cluster, "the partition without refused records goes on", arrived).await;
                slowest = slowest.max(cluster.sim.lock().now() - fed_at);
                wait_ms(500).await;
            }
            let mut world = cluster.sim.lock();
            let stopped = |event: &Event| match event {
                Event::QuarantineFailed { partition, .. } => Some(partition.clone()),
                _ => None,
            };
            let stopped: BTreeSet<PartitionKey> = world.events.iter().filter_map(|(_, _, e)| stopped(e)).collect();
            let stopped: Vec<i32> = stopped.iter().map(|key| key.partition).collect();
            assert_eq!(stopped, [0], "{failure:?}\n{}", world.trace.tail());
            // The last answer counts for a while.
            let is_same = entries(&world) == before || matches!(failure, Failure::Silent);
            assert!(is_same, "{failure:?}\n{}", world.trace.tail());
            // Each try of the books costs an attempt at the lane, and there are few of them.
            let tries = restarts(&world) - restarts_before;
            assert!(tries <= 6 && slowest < 25_000, "{failure:?}: {tries} restarts, {slowest} ms\n{}", told(&world));
            world.books_fault = None;
            drop(world);
            cluster
        });
        all_met(&outcomes, "quarantine_failed");
    }
}

/// Returns the events of the lane, in order.
fn told(world: &World) -> String {
    let is_other = |event: &Event| matches!(event, Event::Quarantined { .. } | Event::Coordinator(_));
    let lines = world.events.iter().filter(|(_, _, event)| !is_other(event));
    lines.map(|(at, _, event)| format!("{at} {}: {event}\n", event.name())).collect()
}

/// Returns how many attempts at the lane the books have ended.
fn restarts(world: &World) -> usize {
    let is_theirs =
        |event: &Event| matches!(event, Event::LaneRestarted { reason, .. } if reason.contains("the books"));
    world.events.iter().filter(|(_, _, event)| is_theirs(event)).count()
}

/// An entry that is too large for its topic stops its own partition only.
#[test]
fn an_entry_that_the_books_cannot_hold_stops_its_partition_alone() {
    let outcomes = play(lenient(), Rules::default(), |mut cluster| async move {
        cluster.set_lanes(1);
        begin(&mut cluster).await;
        {
            let mut world = cluster.sim.lock();
            // Smaller than an entry with its batch.
            world.books_bytes_max = 200;
            feed_with_rejects(&mut world);
        }
        let stopped = |world: &World| world.events.iter().any(|(_, _, event)| event.name() == "quarantine_failed");
        until(&cluster, "the partition stops", stopped).await;
        feed(&mut cluster.sim.lock());
        let end = cluster.sim.lock().source.log("a", 1).map_or(0, |log| log.end());
        until(&cluster, "the other goes on", |world| next(world, "a", 1).0 >= end).await;
        assert_eq!(restarts(&cluster.sim.lock()), 0, "found out before the transaction");
        cluster.sim.lock().books_bytes_max = 4 << 10;
        until(&cluster, "its entries", |world| entries(world) > 0).await;
        cluster
    });
    all_met(&outcomes, "quarantine_failed");
}
