//! Topic ids that come and go, as on a cluster that is upgraded, or answers without them for once.

use strait_core::SourceOffset;
use strait_sim::run::lenient;
use strait_sim::world::World;
use strait_sim::world::source::Rules;

use crate::{begin, feed, next, play, until};

/// Returns whether both partitions have come this far, under any id.
fn reached(world: &World, offset: i64) -> bool {
    (0..2).all(|partition| next(world, "a", partition) >= SourceOffset(offset))
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
        let events: Vec<_> =
            outcome.events.iter().filter(|name| !name.starts_with("lane_") && **name != "fenced").collect();
        assert!(events.is_empty(), "seed {}: {events:?}", outcome.seed);
    }
}
