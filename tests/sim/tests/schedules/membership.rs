//! Lanes that the group moves, with processes that hear of it late.

use strait_core::lanes;
use strait_sim::run::lenient;
use strait_sim::world::source::Rules;

use crate::{all_met, begin, feed, next, play, until, wait_ms};

/// Process 0 is frozen while the group revokes a lane from it, assigns the lane again and revokes
/// it again. It hears of all that at once. Its answer to the second revocation must wait for the
/// lane, which is still stopping because of the first one (`Cluster::give_up` checks it).
#[test]
fn a_revoked_lane_is_answered_for_only_once_it_has_ended() {
    play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        feed(&mut cluster.sim.lock());
        cluster.sim.lock().pause(0);
        cluster.give_up(0, 0).await;
        cluster.run_lane(0, 0);
        cluster.sim.lock().after(1_000, |world| world.resume(0));
        cluster.give_up(0, 0).await;
        cluster.assign(0, 1);
        feed(&mut cluster.sim.lock());
        wait_ms(1_000).await;
        cluster
    });
}

/// A lane that is assigned again while it stops runs again afterwards.
#[test]
fn a_lane_that_returns_while_it_stops_starts_again() {
    play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        for _ in 0..4 {
            feed(&mut cluster.sim.lock());
            for lane in 0..2 {
                cluster.lose(lane, 0);
                cluster.run_lane(lane, 0);
            }
            wait_ms(300).await;
        }
        // The group has never given them to another process, and all must arrive by this one.
        cluster
    });
}

/// Lanes go on while the coordinator of the group is away, and the process says that it is no
/// member.
#[test]
fn a_process_outside_of_its_group_copies_on_and_reports_it() {
    let outcomes = play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        cluster.sim.lock().procs[0].outside_until = 60_000;
        wait_ms(50_000).await;
        let before = cluster.sim.lock().books.records;
        feed(&mut cluster.sim.lock());
        until(&cluster, "it copies on", |world| world.books.records >= before + 30).await;
        wait_ms(25_000).await;
        cluster
    });
    all_met(&outcomes, "not_in_group");
    all_met(&outcomes, "in_group_again");
}

/// A right that is taken away for a minute ends no link that has worked, also where the lane that
/// meets it has just moved and has not written yet.
#[test]
fn a_right_that_is_away_while_a_lane_moves_ends_no_link_that_has_worked() {
    let outcomes = play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        cluster.start_process();
        cluster.give_up(1, 0).await;
        cluster.assign(1, 1);
        feed(&mut cluster.sim.lock());
        until(&cluster, "it copies", |world| next(world, "a", 0).0 >= 40 && next(world, "a", 1).0 >= 40).await;
        cluster.sim.lock().faults.denied = 1_000;
        cluster.give_up(0, 0).await;
        cluster.assign(0, 1);
        wait_ms(60_000).await;
        cluster.sim.lock().faults.denied = 0;
        cluster
    });
    all_met(&outcomes, "lane_restarted");
}

/// A lane is given up while its target partition takes no records, so that its drain (4 s) ends
/// with nothing. A lane that its process gets meanwhile does not wait for that.
#[test]
fn a_lane_begins_while_another_one_drains() {
    play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        let [drains, begins] = [0, 1].map(|partition| lanes::lane_of("a", partition, 2).0);
        cluster.give_up(begins, 0).await;
        cluster.assign(begins, 1);
        let copied = |count: i64| move |world: &_| (0..2).all(|partition| next(world, "a", partition).0 >= count);
        until(&cluster, "all is copied", copied(20)).await;
        {
            let mut world = cluster.sim.lock();
            let until = world.now() + 10_000;
            let topic = world.target.topic("copy.a").unwrap();
            world.target.log_mut(topic, 0).unwrap().stuck_until = until;
            world.append("a", 0, 20, false);
        }
        wait_ms(200).await;
        let revoked = cluster.revoke(&[drains], 0);
        cluster.give_up(begins, 1).await;
        cluster.assign(begins, 0);
        let (end, began) = {
            let mut world = cluster.sim.lock();
            world.append("a", 1, 20, false);
            (world.source.log("a", 1).unwrap().end(), world.now())
        };
        until(&cluster, "the other lane copies", |world| next(world, "a", 1).0 >= end).await;
        let took_ms = cluster.sim.lock().now() - began;
        assert!(took_ms < 2_500 && cluster.runs(drains, 0), "the lane began after {took_ms} ms");
        cluster.answered(revoked).await;
        cluster.assign(drains, 1);
        cluster
    });
}

#[test]
fn processes_stop_and_others_take_their_lanes() {
    play(lenient(), Rules { twice: 100, ..Rules::default() }, |mut cluster| async move {
        begin(&mut cluster).await;
        for old in 0..4 {
            feed(&mut cluster.sim.lock());
            wait_ms(40).await;
            cluster.stop(old).await;
            cluster.start_process();
            for lane in 0..2 {
                cluster.assign(lane, old + 1);
            }
            wait_ms(400).await;
        }
        cluster
    });
}

/// A process is told to stop while its queue has room for one copy of a record and not for the
/// other. It finishes the record as soon as it can, and does not wait for the end of its drain
/// (4 s).
#[test]
fn a_record_that_is_sent_in_part_is_finished_before_its_process_stops() {
    play(lenient(), Rules { twice: 1_000, ..Rules::default() }, |mut cluster| async move {
        begin(&mut cluster).await;
        cluster.sim.lock().faults.queue_full = 800;
        for _ in 0..5 {
            feed(&mut cluster.sim.lock());
        }
        wait_ms(100).await;
        let began = {
            let mut world = cluster.sim.lock();
            world.faults.queue_full = 1_000;
            world.after(1_000, |world| world.faults.queue_full = 0);
            world.now()
        };
        cluster.stop(0).await;
        let took_ms = cluster.sim.lock().now() - began;
        assert!(took_ms < 3_000, "it stopped after {took_ms} ms");
        cluster.start_process();
        for lane in 0..2 {
            cluster.assign(lane, 1);
        }
        cluster
    });
}

/// A panic of its own code takes a link of one process down. Its lanes do not run on without a
/// group.
#[test]
fn lanes_end_with_their_link() {
    play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        cluster.break_link(0).await;
        for lane in 0..cluster.owner.len() as u32 {
            cluster.assign(lane, 1);
        }
        feed(&mut cluster.sim.lock());
        cluster
    });
}
