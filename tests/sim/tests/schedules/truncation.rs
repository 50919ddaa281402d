//! Source logs that an election truncated, and those that only look like it.

use strait_core::{PartitionKey, SourceOffset};
use strait_flow::{OnGap, Policies};
use strait_sim::cluster::Cluster;
use strait_sim::run::lenient;
use strait_sim::world::World;
use strait_sim::world::source::{Log, Rules};

use crate::{all_met, begin, feed, next, play, until, wait_ms};

fn end(world: &World) -> SourceOffset {
    world.source.log("a", 0).map_or(SourceOffset(0), |log| SourceOffset(log.end()))
}

async fn all_is_copied(cluster: &Cluster) {
    until(cluster, "all is copied", |world| next(world, "a", 0) == end(world)).await;
}

/// Gives both lanes to process 1.
async fn hand_over(cluster: &mut Cluster) {
    for lane in 0..2 {
        cluster.give_up(lane, 0).await;
        cluster.assign(lane, 1);
    }
}

/// The leader changes while a transaction is open, as at any restart of a broker, and its marker is
/// the first entry of the new leader epoch. Progress passes the marker and has no record of that
/// epoch yet when the lanes get another owner.
#[test]
fn a_marker_of_a_newer_leader_epoch_is_not_taken_for_a_truncation() {
    for commits in [true, false] {
        let policies = Policies { on_gap: OnGap::Stop, ..lenient() };
        let outcomes = play(policies, Rules::default(), move |mut cluster| async move {
            begin(&mut cluster).await;
            all_is_copied(&cluster).await;
            {
                let mut world = cluster.sim.lock();
                world.append("a", 0, 5, true);
                world.elect("a", 0, None);
                world.end_source_transaction("a", 0, commits);
            }
            all_is_copied(&cluster).await;
            hand_over(&mut cluster).await;
            wait_ms(3_000).await;
            feed(&mut cluster.sim.lock());
            all_is_copied(&cluster).await;
            cluster
        });
        for outcome in outcomes {
            assert!(!outcome.events.contains("truncated"), "seed {}: {:?}", outcome.seed, outcome.events);
        }
    }
}

/// The new leader lacks records that are copied already. What it writes in their place has never
/// been read, whether its log is still shorter than progress or longer again.
#[test]
fn records_written_in_the_place_of_lost_ones_are_copied() {
    for (regrown, runs) in [(4, false), (4, true), (120, false), (120, true)] {
        let outcomes = play(lenient(), Rules::default(), move |mut cluster| async move {
            begin(&mut cluster).await;
            all_is_copied(&cluster).await;
            if !runs {
                hand_over(&mut cluster).await;
                cluster.give_up(0, 1).await;
                cluster.give_up(1, 1).await;
            }
            {
                let mut world = cluster.sim.lock();
                let keep = end(&world).0 - 12;
                world.elect("a", 0, Some(keep));
                world.append("a", 0, regrown, false);
            }
            if !runs {
                cluster.assign(0, 1);
                cluster.assign(1, 1);
            }
            // `play` ends with a look at every record that the source holds.
            wait_ms(6_000).await;
            cluster
        });
        all_met(&outcomes, "truncated");
    }
}

/// A broker that comes back without its last records led many partitions. Each is found by itself,
/// and what was found before is not forgotten.
#[test]
fn partitions_that_are_truncated_together_go_back_together() {
    const PARTITIONS: usize = 12;
    let outcomes = play(lenient(), Rules::default(), |mut cluster| async move {
        cluster.sim.lock().create_source_topic("many", PARTITIONS);
        begin(&mut cluster).await;
        (0..PARTITIONS as i32).for_each(|partition| cluster.sim.lock().append("many", partition, 9, false));
        let is_whole = |world: &World| {
            let keys = world.source.partitions();
            let is_copied = |key: &PartitionKey| {
                let end = world.source.log(&key.topic, key.partition).map_or(0, Log::end);
                world.unaccounted(key).is_none() && next(world, &key.topic, key.partition).0 == end
            };
            keys.iter().all(is_copied)
        };
        until(&cluster, "all is copied", is_whole).await;
        {
            let mut world = cluster.sim.lock();
            for key in world.source.partitions() {
                let end = world.source.log(&key.topic, key.partition).map_or(0, Log::end);
                world.elect(&key.topic, key.partition, Some(end - 4));
                world.append(&key.topic, key.partition, 3, false);
            }
        }
        let began = cluster.sim.lock().now();
        until(&cluster, "what came in their places is copied", is_whole).await;
        let took_ms = cluster.sim.lock().now() - began;
        assert!(took_ms < 10_000, "it took {took_ms} ms");
        cluster
    });
    all_met(&outcomes, "truncated");
}

/// The lost part of the log had refused records. What was written in their place is copied, so no
/// replay may take it for what is in quarantine.
#[test]
fn refused_records_of_a_lost_part_of_the_log_are_not_open_any_more() {
    let outcomes = play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        all_is_copied(&cluster).await;
        let keep = {
            let mut world = cluster.sim.lock();
            let (keep, rules) = (end(&world).0, world.rules);
            world.rules = Rules { reject: 1_000, ..rules };
            world.append("a", 0, 6, false);
            world.rules = rules;
            keep
        };
        until(&cluster, "the entries", |world| world.open_records().len() == 6).await;
        {
            let mut world = cluster.sim.lock();
            world.elect("a", 0, Some(keep));
            world.append("a", 0, 9, false);
        }
        let is_done = |world: &World| next(world, "a", 0) == end(world) && world.open_records().is_empty();
        until(&cluster, "what came in their place is copied, and nothing is open", is_done).await;
        cluster
    });
    all_met(&outcomes, "truncated");
}
