//! Records of which one is refused, and the target does not say which.

use strait_sim::run::lenient;
use strait_sim::world::World;
use strait_sim::world::source::{Kind, Rules};

use crate::{all_met, begin, next, play, until};

/// Appends records to partition 0, of which the one in the middle is refused by a broker that does
/// not name it.
fn feed_with_one_unnamed(world: &mut World, count: u64) {
    world.append("a", 0, count, false);
    world.source.records.last_mut().unwrap().kind = Kind::Refused { named: false };
    world.append("a", 0, count, false);
}

fn restarts(world: &World) -> usize {
    world.events.iter().filter(|(_, _, event)| event.name() == "lane_restarted").count()
}

/// Each attempt at a lane interrupts all its partitions.
#[test]
fn a_refusal_that_names_nobody_costs_few_attempts() {
    let outcomes = play(lenient(), Rules::default(), |mut cluster| async move {
        cluster.set_lanes(1);
        begin(&mut cluster).await;
        feed_with_one_unnamed(&mut cluster.sim.lock(), 100);
        let end = cluster.sim.lock().source.log("a", 0).unwrap().end();
        until(&cluster, "all is copied", |world| next(world, "a", 0).0 >= end).await;
        let world = cluster.sim.lock();
        assert!(world.quarantine.len() == 1 && restarts(&world) <= 2, "{}", world.trace.tail());
        drop(world);
        cluster
    });
    all_met(&outcomes, "quarantined");
}

/// Records that plugins drop cost no round trip and no turn of the loop each, where those that are
/// sent go one at a time.
#[test]
fn dropped_records_among_suspects_wait_for_nothing() {
    let outcomes = play(lenient(), Rules { drop: 950, ..Rules::default() }, |mut cluster| async move {
        cluster.set_lanes(1);
        begin(&mut cluster).await;
        let (began, end) = {
            let mut world = cluster.sim.lock();
            world.latency_ms = (50, 50);
            feed_with_one_unnamed(&mut world, 200);
            (world.now(), world.source.log("a", 0).unwrap().end())
        };
        until(&cluster, "all is copied", |world| next(world, "a", 0).0 >= end).await;
        let took_ms = cluster.sim.lock().now() - began;
        assert!(took_ms < 20_000, "it took {took_ms} ms\n{}", cluster.sim.lock().trace.tail());
        cluster
    });
    all_met(&outcomes, "quarantined");
}
