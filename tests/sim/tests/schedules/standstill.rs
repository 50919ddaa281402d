//! A standstill that no lane admits is seen from outside.

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
