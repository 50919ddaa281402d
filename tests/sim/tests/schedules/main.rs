//! Schedules that have broken replicators, each played on purpose. Every script ends in peace, in
//! which everything must arrive and every promise is checked.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a simulation ends where it fails"
)]

mod books;
mod control;
mod coordinator;
mod discovery;
mod gaps;
mod groups;
mod ids;
mod membership;
mod standstill;
mod suspects;
mod topics;
mod truncation;
mod unfenced;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use strait_core::{Event, SourceOffset};
use strait_flow::{DeliveryMode, OnRefused, Policies};
use strait_sim::cluster::Cluster;
use strait_sim::run::{Outcome, lenient, run_script};
use strait_sim::world::source::Rules;
use strait_sim::world::{Faults, Hook, Point, World};

const SEEDS: u64 = 40;

/// Plays a script under many latencies, in exactly-once mode.
fn play<F: Future<Output = Cluster>>(
    policies: Policies,
    rules: Rules,
    script: impl Fn(Cluster) -> F + Copy,
) -> Vec<Outcome> {
    let run = |seed| run_script(seed, DeliveryMode::ExactlyOnce, policies, rules, None, script);
    let outcomes: Vec<Outcome> = (0..SEEDS).map(run).collect();
    outcomes.iter().for_each(Outcome::assert_good);
    assert!(outcomes.iter().map(|o| o.records).sum::<u64>() > SEEDS * 10, "little was copied");
    outcomes
}

fn all_met(outcomes: &[Outcome], event: &str) {
    for outcome in outcomes {
        assert!(outcome.events.contains(event), "seed {}: no {event}, but {:?}", outcome.seed, outcome.events);
    }
}

async fn wait_ms(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// Waits for a condition, for at most a minute of virtual time.
async fn until(cluster: &Cluster, what: &str, condition: impl Fn(&World) -> bool) {
    for _ in 0..60_000 {
        if condition(&cluster.sim.lock()) {
            return;
        }
        wait_ms(1).await;
    }
    panic!("never: {what}\n{}", cluster.sim.lock().trace.tail());
}

fn next(world: &World, topic: &str, partition: i32) -> SourceOffset {
    let of = world.books.of.iter().find(|(k, _)| &*k.topic == topic && k.partition == partition);
    of.and_then(|(_, b)| b.position.as_ref()).map_or(SourceOffset(0), |p| p.next)
}

/// Creates a topic of two partitions with some records. Process 0 owns the lanes, and process 1
/// waits.
async fn begin(cluster: &mut Cluster) {
    {
        let mut world = cluster.sim.lock();
        world.latency_ms = (1, 12);
        world.create_source_topic("a", 2);
        feed(&mut world);
    }
    cluster.start_process();
    cluster.start_process();
    for lane in 0..cluster.owner.len() as u32 {
        cluster.assign(lane, 0);
    }
    let moves = |world: &World, partition| {
        next(world, "a", partition).0 > 0
            || world.events.iter().any(|(_, _, event)| !matches!(event, Event::Coordinator(_)))
    };
    until(cluster, "the first records", |world| moves(world, 0) && moves(world, 1)).await;
}

fn feed(world: &mut World) {
    world.append("a", 0, 20, false);
    world.append("a", 1, 20, false);
}

type Flag = Arc<AtomicBool>;

fn hook(cluster: &Cluster, point: Point, skip: u64, run: impl FnOnce(&mut World, usize) + Send + 'static) -> Flag {
    let flag = Flag::default();
    let set = Arc::clone(&flag);
    let run = move |world: &mut World, proc: usize| {
        set.store(true, Ordering::Relaxed);
        run(world, proc);
    };
    cluster.sim.lock().hooks.push(Hook { point, skip, run: Box::new(run) });
    flag
}

async fn fired(cluster: &Cluster, flag: &Flag) {
    until(cluster, "the hook", |_| flag.load(Ordering::Relaxed)).await;
}

/// Rules under which a lane reaches this point.
fn rules_for(point: Point) -> Rules {
    let reject = if matches!(point, Point::Quarantined | Point::BooksWritten) { 300 } else { 0 };
    Rules { reject, ..Rules::default() }
}

#[test]
fn a_process_dies_at_every_point_of_the_protocol() {
    for point in Point::ALL {
        play(lenient(), rules_for(point), move |mut cluster| async move {
            begin(&mut cluster).await;
            // The lanes are taken again, so that a takeover's points are reached too.
            cluster.sim.lock().init(0, 0, 0).ok();
            cluster.sim.lock().init(1, 0, 0).ok();
            let died = hook(&cluster, point, 0, |world, proc| world.kill(proc));
            feed(&mut cluster.sim.lock());
            fired(&cluster, &died).await;
            cluster.bury().await;
            cluster.assign(0, 1);
            cluster.assign(1, 1);
            feed(&mut cluster.sim.lock());
            wait_ms(2_000).await;
            cluster
        });
    }
}

#[test]
fn a_zombie_wakes_at_every_point_of_the_protocol_after_another_took_its_lanes() {
    for point in Point::ALL {
        play(lenient(), rules_for(point), move |mut cluster| async move {
            begin(&mut cluster).await;
            cluster.sim.lock().init(0, 0, 0).ok();
            cluster.sim.lock().init(1, 0, 0).ok();
            let asleep = hook(&cluster, point, 0, |world, proc| world.pause(proc));
            feed(&mut cluster.sim.lock());
            fired(&cluster, &asleep).await;
            cluster.assign(0, 1);
            cluster.assign(1, 1);
            let before = cluster.sim.lock().books.records;
            until(&cluster, "the new owner copies", |world| world.books.records > before + 5).await;
            cluster.sim.lock().resume(0);
            feed(&mut cluster.sim.lock());
            // It fights for the lane until it hears that it has lost it.
            wait_ms(1_500).await;
            cluster
        });
    }
}

#[test]
fn inits_of_two_owners_interleave_in_every_way() {
    // The first owner sleeps after its first or second init. The second one goes on to its first or
    // second, then the first one wakes: A1 B1 A2 B2, A1 B1 B2 A2, A1 A2 B1 B2.
    for (first, second) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        play(lenient(), Rules::default(), move |mut cluster| async move {
            begin(&mut cluster).await;
            cluster.give_up(0, 0).await;
            cluster.give_up(1, 0).await;
            feed(&mut cluster.sim.lock());
            let asleep = hook(&cluster, Point::Init(first), 0, |world, proc| world.pause(proc));
            cluster.assign(0, 0);
            fired(&cluster, &asleep).await;
            let woken = hook(&cluster, Point::Init(second), 0, |world, _| world.resume(0));
            cluster.run_lane(0, 1);
            fired(&cluster, &woken).await;
            wait_ms(3_000).await;
            cluster.assign(1, 1);
            feed(&mut cluster.sim.lock());
            wait_ms(500).await;
            cluster
        });
    }
}

#[test]
fn a_lane_that_is_fenced_while_the_group_still_assigns_it_is_taken_again() {
    for slot in [0, 1] {
        let outcomes = play(lenient(), Rules::default(), move |mut cluster| async move {
            begin(&mut cluster).await;
            for _ in 0..3 {
                cluster.sim.lock().init(0, slot, 1).ok();
                cluster.sim.lock().init(1, slot, 1).ok();
                feed(&mut cluster.sim.lock());
                wait_ms(400).await;
            }
            cluster
        });
        all_met(&outcomes, "fenced");
    }
}

#[test]
fn commits_with_an_unknown_result_lose_and_repeat_nothing() {
    let outcomes = play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        cluster.sim.lock().faults = Faults { commit: 400, ..Faults::default() };
        for _ in 0..10 {
            feed(&mut cluster.sim.lock());
            wait_ms(2_000).await;
        }
        cluster
    });
    all_met(&outcomes, "lane_restarted");
}

#[test]
fn failed_deliveries_missing_offsets_and_full_queues_lose_and_repeat_nothing() {
    let rules = Rules { twice: 200, split: 200, route: 100, drop: 100, ..Rules::default() };
    play(lenient(), rules, |mut cluster| async move {
        begin(&mut cluster).await;
        cluster.sim.lock().faults =
            Faults { produce: 30, no_offset: 30, queue_full: 200, lost: 20, ..Faults::default() };
        for _ in 0..10 {
            feed(&mut cluster.sim.lock());
            wait_ms(500).await;
        }
        cluster
    });
}

#[test]
fn refused_records_are_quarantined_or_stop_their_partition_and_no_others_do() {
    let rules = Rules { refused: 100, reject: 50, timestamp_far: 50, timestamp_zero: 50, ..Rules::default() };
    let outcomes = play(lenient(), rules, |mut cluster| async move {
        begin(&mut cluster).await;
        feed(&mut cluster.sim.lock());
        wait_ms(3_000).await;
        cluster
    });
    assert!(outcomes.iter().filter(|o| o.events.contains("quarantined")).count() > 30);
    let stop = Policies { on_refused: OnRefused::Stop, ..lenient() };
    let outcomes = play(stop, Rules { refused: 30, ..Rules::default() }, |mut cluster| async move {
        begin(&mut cluster).await;
        cluster
    });
    assert!(outcomes.iter().any(|o| o.events.contains("record_stopped")));
}

#[test]
fn a_quarantine_that_fails_stops_the_partition_only_until_it_can_be_written() {
    let outcomes = play(lenient(), Rules { reject: 60, ..Rules::default() }, |mut cluster| async move {
        cluster.sim.lock().faults = Faults { quarantine: 1_000, ..Faults::default() };
        begin(&mut cluster).await;
        // It is retried more than once, also when a lane is taken again meanwhile.
        wait_ms(40_000).await;
        cluster.sim.lock().faults.commit = 1_000;
        wait_ms(5_000).await;
        cluster
    });
    assert!(outcomes.iter().filter(|o| o.events.contains("quarantine_failed")).count() > 20);
}

#[test]
fn a_plugin_that_asks_for_a_retry_judges_its_batch_later() {
    let outcomes = play(lenient(), Rules { hesitate: 20, drop: 50, ..Rules::default() }, |mut cluster| async move {
        begin(&mut cluster).await;
        feed(&mut cluster.sim.lock());
        wait_ms(5_000).await;
        cluster
    });
    assert!(outcomes.iter().filter(|o| o.events.contains("plugin_waiting")).count() > 20);
}

#[test]
fn a_partition_that_plugins_stopped_resumes_under_another_version() {
    let rules = Rules { halt: 10, trap: 10, twice: 50, ..Rules::default() };
    let outcomes = play(lenient(), rules, |mut cluster| async move {
        begin(&mut cluster).await;
        wait_ms(2_000).await;
        cluster.sim.lock().mended = true;
        feed(&mut cluster.sim.lock());
        // The next attempt at a lane must also know that the plugins have changed.
        cluster.sim.lock().faults.commit = 200;
        wait_ms(2_000).await;
        cluster
    });
    for event in ["record_stopped", "plugin_failed"] {
        assert!(outcomes.iter().any(|o| o.events.contains(event)), "no run met {event}");
    }
}

#[test]
fn stateful_plugins_are_warmed_up_however_often_they_lose_their_state() {
    let rules = Rules { memory: true, hesitate: 30, drop: 50, ..Rules::default() };
    play(lenient(), rules, |mut cluster| async move {
        begin(&mut cluster).await;
        cluster.sim.lock().faults = Faults { read: 50, read_broken: 20, produce: 10, commit: 30, ..Faults::default() };
        for round in 0..8 {
            feed(&mut cluster.sim.lock());
            wait_ms(700).await;
            cluster.assign(round % 2, (round as usize / 2) % 2);
        }
        let moved = next(&cluster.sim.lock(), "a", 0).0;
        cluster.sim.lock().retain("a", 0, moved / 2);
        feed(&mut cluster.sim.lock());
        wait_ms(2_000).await;
        cluster
    });
}

#[test]
fn failed_reads_are_retried() {
    play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        cluster.sim.lock().faults = Faults { read: 100, read_broken: 50, lost: 50, ..Faults::default() };
        for _ in 0..10 {
            feed(&mut cluster.sim.lock());
            wait_ms(500).await;
        }
        cluster
    });
}

#[test]
fn lanes_move_between_three_processes_and_nothing_is_copied_twice() {
    play(lenient(), Rules { twice: 100, ..Rules::default() }, |mut cluster| async move {
        begin(&mut cluster).await;
        cluster.start_process();
        for round in 0..6usize {
            for lane in 0..2u32 {
                let (old, new) = ((round + lane as usize) % 3, (round + 1 + lane as usize) % 3);
                if let Some(owner) = cluster.owner[lane as usize] {
                    cluster.give_up(lane, owner).await;
                }
                cluster.assign(lane, if old == new { 0 } else { new });
            }
            feed(&mut cluster.sim.lock());
            wait_ms(300).await;
        }
        cluster
    });
}

#[test]
fn a_new_owner_with_an_older_list_of_topics_begins_at_progress() {
    play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        // Process 1 sleeps while process 0 learns of a new partition and copies it.
        cluster.sim.lock().pause(1);
        {
            let mut world = cluster.sim.lock();
            world.grow_source_topic("a");
            world.append("a", 2, 20, false);
        }
        cluster.topics_are_known().await;
        until(&cluster, "the new partition is copied", |w| next(w, "a", 2).0 >= 20).await;
        cluster.sim.lock().resume(1);
        cluster.give_up(0, 0).await;
        cluster.give_up(1, 0).await;
        cluster.assign(0, 1);
        cluster.assign(1, 1);
        wait_ms(1_000).await;
        cluster.topics_are_known().await;
        wait_ms(1_000).await;
        cluster
    });
}

#[test]
fn open_source_transactions_are_waited_for_and_aborted_ones_are_passed() {
    play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        let copied = {
            let mut world = cluster.sim.lock();
            world.append("a", 0, 5, true);
            world.append("a", 0, 5, false);
            world.source.log("a", 0).unwrap().last_stable()
        };
        wait_ms(3_000).await;
        assert!(next(&cluster.sim.lock(), "a", 0).0 <= copied);
        cluster.sim.lock().end_source_transaction("a", 0, false);
        wait_ms(1_000).await;
        cluster
    });
}

#[test]
fn at_least_once_loses_nothing_and_repeats_nothing_without_a_failure() {
    for (faults, rules) in [
        (Faults::default(), Rules { twice: 100, drop: 100, ..Rules::default() }),
        (
            Faults { produce: 30, no_offset: 30, lost: 20, queue_full: 100, ..Faults::default() },
            Rules { twice: 100, ..Rules::default() },
        ),
    ] {
        for seed in 0..SEEDS {
            let outcome =
                run_script(seed, DeliveryMode::AtLeastOnce, lenient(), rules, None, |mut cluster| async move {
                    cluster.sim.lock().faults = faults;
                    begin(&mut cluster).await;
                    for _ in 0..5 {
                        feed(&mut cluster.sim.lock());
                        wait_ms(500).await;
                    }
                    // A handover without a failure repeats nothing.
                    cluster.give_up(0, 0).await;
                    cluster.assign(0, 1);
                    cluster
                });
            outcome.assert_good();
            assert!(faults.produce > 0 || outcome.repeated == 0, "seed {seed}: {} records twice", outcome.repeated);
        }
    }
}
