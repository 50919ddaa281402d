//! Transactions that cannot end, because a partition that they touched takes no marker. Nobody can
//! initialise their ids.

use std::collections::BTreeSet;

use strait_core::Event;
use strait_flow::DeliveryMode;
use strait_sim::cluster::Cluster;
use strait_sim::run::{lenient, run_script};
use strait_sim::world::source::Rules;
use strait_sim::world::target::{ROUTED, State};
use strait_sim::world::{Bug, Point, World};

use crate::{SEEDS, all_met, begin, feed, fired, hook, next, play, until, wait_ms};

#[test]
fn a_stuck_target_partition_does_not_hold_up_the_others() {
    let outcomes = play(lenient(), Rules::default(), |mut cluster| async move {
        // One lane, so that they share its transactions.
        cluster.set_lanes(1);
        begin(&mut cluster).await;
        until(&cluster, "all is copied", |w| next(w, "a", 0).0 >= 20 && next(w, "a", 1).0 >= 20).await;
        {
            let mut world = cluster.sim.lock();
            let topic = world.target.topic("copy.a").unwrap();
            world.target.log_mut(topic, 0).unwrap().stuck_until = u64::MAX;
            feed(&mut world);
        }
        let before = next(&cluster.sim.lock(), "a", 0);
        until(&cluster, "the other partition goes on", |w| next(w, "a", 1).0 >= 40).await;
        assert_eq!(next(&cluster.sim.lock(), "a", 0), before);
        wait_ms(20_000).await;
        cluster
    });
    all_met(&outcomes, "target_stuck");
}

/// Records that plugins route wait for the partitions that they are routed to: neither for the one
/// with the number of their source partition nor for those of another topic.
#[test]
fn stuck_partitions_of_a_routed_topic_hold_up_only_those_that_feed_them() {
    let outcomes = play(lenient(), Rules::default(), |mut cluster| async move {
        let feed_routed = |world: &mut World| {
            world.rules = Rules { route: 1000, ..Rules::default() };
            world.append("a", 0, 20, false);
            world.rules = Rules::default();
            world.append("a", 1, 20, false);
        };
        cluster.set_lanes(1);
        begin(&mut cluster).await;
        feed_routed(&mut cluster.sim.lock());
        until(&cluster, "all is copied", |w| next(w, "a", 0).0 >= 40 && next(w, "a", 1).0 >= 40).await;
        {
            let mut world = cluster.sim.lock();
            let topic = world.target.topic(ROUTED).unwrap();
            world.target.topics[topic].logs.iter_mut().for_each(|log| log.stuck_until = u64::MAX);
            feed_routed(&mut world);
        }
        let before = next(&cluster.sim.lock(), "a", 0);
        until(&cluster, "the other partition goes on", |w| next(w, "a", 1).0 >= 60).await;
        assert_eq!(next(&cluster.sim.lock(), "a", 0), before);
        wait_ms(20_000).await;
        feed_routed(&mut cluster.sim.lock());
        until(&cluster, "it still goes on", |w| next(w, "a", 1).0 >= 80).await;
        let stuck = |event: &Event| match event {
            Event::TargetStuck { partition, reason, .. } => Some((partition.partition, reason.contains(ROUTED))),
            _ => None,
        };
        let stuck: BTreeSet<_> = cluster.sim.lock().events.iter().filter_map(|(_, _, event)| stuck(event)).collect();
        assert_eq!(stuck, [(0, true)].into(), "{}", cluster.sim.lock().trace.tail());
        cluster
    });
    all_met(&outcomes, "target_stuck");
}

#[test]
fn a_target_partition_that_is_lost_between_a_commit_and_its_markers_does_not_hold_up_the_others() {
    let outcomes = play(lenient(), Rules::default(), |mut cluster| async move {
        cluster.set_lanes(1);
        begin(&mut cluster).await;
        until(&cluster, "all is copied", |w| next(w, "a", 0).0 >= 20 && next(w, "a", 1).0 >= 20).await;
        // The committed transaction cannot end, and neither can the one after it: both ids of the
        // lane are lost to it.
        let lost = hook(&cluster, Point::CommitDecided, 0, |world, _| {
            let topic = world.target.topic("copy.a").unwrap();
            world.target.log_mut(topic, 0).unwrap().stuck_until = u64::MAX;
            feed(world);
        });
        feed(&mut cluster.sim.lock());
        fired(&cluster, &lost).await;
        until(&cluster, "the other partition goes on", |w| next(w, "a", 1).0 >= 60).await;
        feed(&mut cluster.sim.lock());
        until(&cluster, "it still goes on", |w| next(w, "a", 1).0 >= 80).await;
        // However often the lost partition looks as if it could be written.
        wait_ms(180_000).await;
        feed(&mut cluster.sim.lock());
        until(&cluster, "it goes on for long", |w| next(w, "a", 1).0 >= 100).await;
        // Another process finds the ids as they are, and that the last owner worked with others.
        cluster.crash(0).await;
        cluster.assign(0, 1);
        feed(&mut cluster.sim.lock());
        until(&cluster, "another process goes on", |w| next(w, "a", 1).0 >= 120).await;
        cluster
    });
    all_met(&outcomes, "target_stuck");
}

/// The transaction of an owner's next id is decided and cannot end, so nobody can fence that id:
/// together with the transaction of its other id, or alone, if the later one touched healthy
/// partitions only. The owner sleeps while another process is given its lane, and wakes when the
/// transactions can end.
async fn an_owner_that_cannot_be_fenced(mut cluster: Cluster, both: bool) -> Cluster {
    let markers = |world: &mut World, until: u64| {
        let topic = world.target.topic("copy.a").unwrap();
        (0..1 + i32::from(both)).for_each(|p| world.target.log_mut(topic, p).unwrap().unmarked_until = until);
    };
    let waits = |world: &World, id: u8| {
        let of = world.target.ids.get(&(0, id)).and_then(|id| id.current);
        of.is_some_and(|txn| world.target.txns[txn].state == State::Committed)
    };
    cluster.set_lanes(1);
    begin(&mut cluster).await;
    until(&cluster, "all is copied", |w| next(w, "a", 0).0 >= 20 && next(w, "a", 1).0 >= 20).await;
    until(&cluster, "all has ended", |w| !waits(w, 0) && !waits(w, 1)).await;
    markers(&mut cluster.sim.lock(), u64::MAX);
    cluster.sim.lock().append("a", 0, 1, false);
    until(&cluster, "one cannot end", |w| waits(w, 0) || waits(w, 1)).await;
    cluster.sim.lock().append("a", 1, 1, false);
    until(&cluster, "the other id was used", |w| next(w, "a", 1).0 > 20).await;
    until(&cluster, "what can end has", |w| (waits(w, 0) && waits(w, 1)) == both).await;
    cluster.sim.lock().pause(0);
    feed(&mut cluster.sim.lock());
    cluster.assign(0, 1);
    wait_ms(8_000).await;
    markers(&mut cluster.sim.lock(), 0);
    wait_ms(150).await;
    feed(&mut cluster.sim.lock());
    cluster.sim.lock().resume(0);
    wait_ms(3_000).await;
    cluster
}

#[test]
fn an_owner_that_cannot_be_fenced_is_waited_for() {
    for both in [true, false] {
        let script = move |cluster| an_owner_that_cannot_be_fenced(cluster, both);
        play(lenient(), Rules::default(), script);
        // In this schedule, not waiting does harm.
        let harmed = (0..SEEDS).filter_map(|seed| {
            let bug = Some(Bug::HiddenIds);
            run_script(seed, DeliveryMode::ExactlyOnce, lenient(), Rules::default(), bug, script).violation
        });
        let harmed: Vec<String> = harmed.collect();
        let speaks = |violation: &String| ["twice", "progress fell", "map"].iter().any(|s| violation.contains(s));
        assert!(harmed.len() > 10 && harmed.iter().all(speaks), "both {both}: {harmed:?}");
    }
}
