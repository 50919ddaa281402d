//! Topic ids that come and go, as on a cluster that is upgraded, or answers without them for once.

use strait_core::SourceOffset;
use strait_sim::run::lenient;
use strait_sim::world::World;
use strait_sim::world::source::Rules;

use crate::{begin, feed, next, play, until, wait_ms};

/// Returns whether both partitions have come this far, under any id.
fn reached(world: &World, offset: i64) -> bool {
    (0..2).all(|partition| next(world, "a", partition) >= SourceOffset(offset))
}

/// Returns whether an event comes with processes that take over from each other, or with lanes
/// that are taken again after the operator has agreed to the plugins of the end.
fn is_ordinary(name: &str) -> bool {
    name.starts_with("lane_") || name.starts_with("coordinator_") || ["fenced", "border_changed"].contains(&name)
}

#[test]
fn nothing_is_copied_again_when_the_ids_of_topics_vanish_and_return() {
    let outcomes = play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        until(&cluster, "all is copied", |world| reached(world, 20)).await;
        // Another process takes the lanes while the cluster reports no ids, and a third one when it
        // does again.
        for (hides, from, to, end) in [(true, 0, 1, 40), (false, 1, 2, 60)] {
            {
                let mut world = cluster.sim.lock();
                world.source.hides_ids = hides;
                feed(&mut world);
            }
            cluster.crash(from).await;
            cluster.start_process();
            for lane in 0..cluster.owner.len() as u32 {
                cluster.assign(lane, to);
            }
            until(&cluster, "the other process goes on", |world| reached(world, end)).await;
            cluster.topics_are_known().await;
        }
        cluster
    });
    for outcome in outcomes {
        let events: Vec<_> = outcome.events.iter().filter(|name| !is_ordinary(name)).collect();
        assert!(events.is_empty(), "seed {}: {events:?}", outcome.seed);
    }
}

/// A topic is created again and its new incarnation is copied. Then the lanes are taken anew while
/// the source tells no ids, once before the process lists the topics again and once after that. The
/// new incarnation must not be copied a second time under the id of the former one.
#[test]
fn a_topic_that_was_created_again_waits_for_its_id() {
    let outcomes = play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        until(&cluster, "all is copied", |world| reached(world, 20)).await;
        {
            let mut world = cluster.sim.lock();
            world.delete_source_topic("a");
            world.create_source_topic("a", 2);
            feed(&mut world);
        }
        let copied = |world: &World| {
            let done =
                |key| world.books.of.get(&key).and_then(|book| book.position.clone()).is_some_and(|p| p.next.0 > 10);
            world.source.partitions().into_iter().all(done)
        };
        until(&cluster, "the new incarnation is copied", copied).await;
        for wait in [1_000, 8_000] {
            cluster.sim.lock().source.hides_ids = true;
            for lane in 0..cluster.owner.len() as u32 {
                cluster.lose(lane, 0);
                cluster.run_lane(lane, 0);
            }
            feed(&mut cluster.sim.lock());
            wait_ms(wait).await;
            cluster.sim.lock().source.hides_ids = false;
            wait_ms(6_000).await;
        }
        cluster
    });
    for outcome in outcomes {
        assert!(outcome.events.contains("source_unavailable"), "seed {}: {:?}", outcome.seed, outcome.events);
    }
}
