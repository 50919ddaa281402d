//! A standstill that no lane admits is seen from outside.

use std::collections::BTreeSet;

use strait_core::Event;
use strait_flow::OnGap;
use strait_sim::run::Watch;

use super::*;

/// A process freezes with its lanes while the group still gives them to it: its loop does nothing,
/// reports nothing and fails nothing.
#[test]
fn partitions_of_a_lane_whose_loop_hangs_are_at_a_standstill_until_it_moves() {
    play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        let mut watch = Watch::default();
        assert!(watch.look(&cluster).is_empty());
        cluster.sim.lock().pause(0);
        feed(&mut cluster.sim.lock());
        let mut silent = 0;
        for _ in 0..40 {
            wait_ms(500).await;
            silent += watch.look(&cluster).len();
        }
        assert_eq!((silent, watch.standing().len()), (2, 2), "both partitions of the topic");
        cluster.sim.lock().resume(0);
        let end = cluster.sim.lock().source.log("a", 0).map(|log| SourceOffset(log.last_stable()));
        until(&cluster, "it moves again", |world| Some(next(world, "a", 0)) == end).await;
        wait_ms(2_000).await;
        watch.look(&cluster);
        assert!(watch.standing().is_empty(), "{:?}", watch.standing());
        cluster
    });
}

/// The watchdog of another process tells of the lanes of a process that hangs, until they move.
#[test]
fn another_process_reports_lanes_that_nobody_moves() {
    let outcomes = play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        cluster.sim.lock().pause(0);
        feed(&mut cluster.sim.lock());
        let told = |world: &World, name: &str| {
            let of = |(_, proc, event): &&(u64, usize, Event)| *proc == 1 && event.name() == name;
            let partitions = world.events.iter().filter(of).filter_map(|(_, _, event)| event.partition());
            partitions.collect::<BTreeSet<_>>().len()
        };
        // Its open transaction is aborted meanwhile, which looks like progress.
        wait_ms(60_000).await;
        until(&cluster, "both are reported", |world| told(world, "standing_still") == 2).await;
        cluster.sim.lock().resume(0);
        until(&cluster, "both leave its watch", |world| told(world, "unwatched") == 2).await;
        cluster
    });
    all_met(&outcomes, "standing_still");
}

/// A partition that a lane has stopped says why.
#[test]
fn a_stopped_partition_is_at_a_standstill_with_a_word() {
    let policies = Policies { on_gap: OnGap::Stop, ..lenient() };
    play(policies, Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        let end = {
            let mut world = cluster.sim.lock();
            world.resume(0);
            world.pause(0);
            feed(&mut world);
            let end = world.source.log("a", 0).map_or(0, |log| log.end());
            world.retain("a", 0, end);
            feed(&mut world);
            end
        };
        assert!(end > 0);
        cluster.sim.lock().resume(0);
        let mut watch = Watch::default();
        for _ in 0..40 {
            wait_ms(500).await;
            assert!(watch.look(&cluster).is_empty(), "{}", cluster.sim.lock().trace.tail());
        }
        assert_eq!(watch.standing().len(), 1, "the other continues: {:?}", watch.standing());
        cluster
    });
}
