//! Topics that come, go, grow and are created again, told late and incompletely.

use strait_core::{Event, SourceOffset};
use strait_flow::{OnGap, Policies};
use strait_sim::run::lenient;
use strait_sim::world::source::Rules;
use strait_sim::world::{Faults, World};

use crate::{all_met, begin, feed, next, play, until, wait_ms};

fn create(world: &mut World, name: &str, partitions: usize) {
    world.create_source_topic(name, partitions);
    (0..partitions).for_each(|partition| world.append(name, partition as i32, 15, false));
}

#[test]
fn new_topics_and_partitions_are_copied_from_their_beginning() {
    play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        create(&mut cluster.sim.lock(), "b", 2);
        cluster.topics_are_known().await;
        {
            let mut world = cluster.sim.lock();
            world.grow_source_topic("b");
            world.append("b", 2, 15, false);
        }
        let copied = |world: &World| (0..3).all(|partition| next(world, "b", partition) >= SourceOffset(15));
        until(&cluster, "the new partitions are copied", copied).await;
        cluster
    });
}

/// Brokers that are behind tell earlier lists, and some lists have no ids.
#[test]
fn lists_of_topics_that_are_behind_do_no_harm() {
    let outcomes = play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        cluster.sim.lock().faults = Faults { stale_topics: 500, no_ids: 300, lost: 10, ..Faults::default() };
        for round in 0..4 {
            create(&mut cluster.sim.lock(), "b", 1 + round % 2);
            wait_ms(7_000).await;
            {
                let mut world = cluster.sim.lock();
                world.grow_source_topic("b");
                world.append("b", 1, 15, false);
            }
            feed(&mut cluster.sim.lock());
            wait_ms(7_000).await;
            // Another process begins with the list that it gets.
            cluster.give_up(0, round % 2).await;
            cluster.assign(0, (round + 1) % 2);
            cluster.sim.lock().delete_source_topic("b");
            wait_ms(if round == 1 { 0 } else { 6_000 }).await;
        }
        create(&mut cluster.sim.lock(), "b", 1);
        cluster
    });
    // A topic that is deleted before anybody has heard of it is no news.
    assert!(outcomes.iter().filter(|outcome| outcome.events.contains("topic_recreated")).count() > 30);
}

/// Partitions of new topics have no leader for a while, and their topics are created again
/// meanwhile: each incarnation is copied once.
#[test]
fn topics_created_again_before_they_could_be_placed_are_copied_once() {
    for on_gap in [OnGap::Continue, OnGap::Stop] {
        let policies = Policies { on_gap, ..lenient() };
        play(policies, Rules::default(), |mut cluster| async move {
            begin(&mut cluster).await;
            cluster.sim.lock().faults = Faults { no_start: 700, stale_topics: 200, ..Faults::default() };
            for round in 0..3 {
                create(&mut cluster.sim.lock(), "b", 2);
                wait_ms(6_000 + 700 * round).await;
                cluster.sim.lock().delete_source_topic("b");
                wait_ms(if round == 1 { 0 } else { 6_000 }).await;
                feed(&mut cluster.sim.lock());
                cluster.ask_for_retry("b", 0);
            }
            create(&mut cluster.sim.lock(), "c", 2);
            cluster
        });
    }
}

/// A source that does not describe topics holds up those that are new, and no others.
#[test]
fn a_list_that_the_source_does_not_describe_restarts_no_lane() {
    let outcomes = play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        cluster.sim.lock().faults = Faults { undescribed: 1000, ..Faults::default() };
        create(&mut cluster.sim.lock(), "b", 2);
        wait_ms(6_000).await;
        feed(&mut cluster.sim.lock());
        let before = next(&cluster.sim.lock(), "a", 0);
        until(&cluster, "the others continue", |world: &World| next(world, "a", 0) > before).await;
        cluster.sim.lock().faults = Faults::default();
        let copied = |world: &World| (0..2).all(|partition| next(world, "b", partition) >= SourceOffset(15));
        until(&cluster, "the new ones are copied", copied).await;
        cluster
    });
    for outcome in &outcomes {
        assert!(outcome.events.contains("source_unavailable"), "{:?}", outcome.events);
        assert!(!outcome.events.contains("lane_restarted"), "{:?}", outcome.events);
    }
}

/// Nobody could see the topic go, and its progress is all that is left of it.
#[test]
fn a_topic_that_was_deleted_while_nothing_ran_is_told() {
    let outcomes = play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        until(&cluster, "all is copied", |world| next(world, "a", 0).0 >= 20 && next(world, "a", 1).0 >= 20).await;
        cluster.stop(0).await;
        cluster.sim.lock().delete_source_topic("a");
        cluster.start_process();
        for lane in 0..cluster.owner.len() as u32 {
            cluster.assign(lane, 1);
        }
        let told = |world: &World| (0..2).all(|partition| is_told_gone(world, partition));
        until(&cluster, "it is told", told).await;
        // Nothing more is asked about it, whatever else comes and goes.
        let asked = |world: &World| world.asked_ids.get("a").copied();
        let before = asked(&cluster.sim.lock());
        for name in ["b", "c", "d"] {
            create(&mut cluster.sim.lock(), name, 2);
            let copied = move |world: &World| (0..2).all(|partition| next(world, name, partition).0 >= 15);
            until(&cluster, "the new topic is copied", copied).await;
        }
        assert_eq!(asked(&cluster.sim.lock()), before);
        cluster
    });
    all_met(&outcomes, "source_gone");
}

fn is_told_gone(world: &World, number: i32) -> bool {
    let of = |event: &Event| matches!(event, Event::SourceGone { partition, .. } if partition.partition == number);
    world.events.iter().any(|(_, _, event)| of(event))
}

/// One broker is behind, and does not know a topic that the others have: while it is read, and when
/// a lane is taken.
#[test]
fn a_topic_that_one_broker_does_not_know_is_not_gone() {
    play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        let copied = |count: i64| {
            move |world: &World| (0..2).all(|partition| next(world, "a", partition) >= SourceOffset(count))
        };
        until(&cluster, "all is copied", copied(20)).await;
        cluster.sim.lock().faults = Faults { unknown: 1000, ..Faults::default() };
        feed(&mut cluster.sim.lock());
        wait_ms(2_000).await;
        cluster.sim.lock().faults = Faults::default();
        until(&cluster, "they are read again", copied(40)).await;

        cluster.sim.lock().faults = Faults { unknown: 1000, stale_topics: 1000, ..Faults::default() };
        for lane in 0..cluster.owner.len() as u32 {
            cluster.give_up(lane, 0).await;
            cluster.assign(lane, 1);
        }
        feed(&mut cluster.sim.lock());
        wait_ms(2_000).await;
        cluster.sim.lock().faults = Faults::default();
        until(&cluster, "the next owner reads them", copied(60)).await;
        let told = (0..2).any(|partition| is_told_gone(&cluster.sim.lock(), partition));
        assert!(!told, "it was there all the time");
        cluster
    });
}

/// For so long that it is believed, every broker says that a topic does not exist, as after a
/// restore of the controller. Once they know it, it is read without anybody asking for that.
#[test]
fn a_topic_that_was_told_gone_and_is_there_again_is_copied() {
    let outcomes = play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        let copied = |count: i64| move |world: &World| (0..2).all(|number| next(world, "a", number).0 >= count);
        until(&cluster, "all is copied", copied(20)).await;
        cluster.sim.lock().faults = Faults { unknown: 1000, ..Faults::default() };
        feed(&mut cluster.sim.lock());
        wait_ms(10_000).await;
        let told = (0..2).all(|number| is_told_gone(&cluster.sim.lock(), number));
        assert!(told, "{}", cluster.sim.lock().trace.tail());
        cluster.sim.lock().faults = Faults::default();
        until(&cluster, "they are read again", copied(40)).await;
        cluster
    });
    all_met(&outcomes, "source_gone");
}
