//! The coordinator of a link: who it is, what it may change and when, and what the others do
//! without it.

use std::time::Duration;

use strait_core::{LaneId, SourceOffset, lanes};
use strait_flow::{CoordinatorState, DeliveryMode};
use strait_sim::cluster::Cluster;
use strait_sim::rng::Rng;
use strait_sim::run::{lenient, run_script};
use strait_sim::world::source::Rules;
use strait_sim::world::{Bug, Faults, Hook, Point, World};

use crate::{SEEDS, all_met, begin, feed, fired, hook, next, play, until, wait_ms};

/// Waits until a process has changed something as the link's coordinator.
async fn changes(cluster: &Cluster, proc: u32) {
    let by = move |world: &World| world.control.changed_by().is_some_and(|owner| owner.process() == proc);
    until(cluster, "it changes something", by).await;
}

fn state_of(cluster: &Cluster, proc: usize) -> CoordinatorState {
    cluster.statuses()[proc].coordinator().state
}

/// Whoever has lane 0 coordinates the link. What it has listed is news for the others at once.
#[test]
fn the_process_with_lane_0_lists_the_topics_for_all() {
    play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        cluster.assign(1, 1);
        changes(&cluster, 0).await;
        assert_eq!(state_of(&cluster, 0), CoordinatorState::Coordinating);
        assert_eq!(state_of(&cluster, 1), CoordinatorState::Elsewhere);
        let heard = |cluster: &Cluster| cluster.statuses()[1].coordinator().heard_of.map(|heard| heard.process);
        assert_eq!(heard(&cluster), Some(0));
        let lists = cluster.sim.lock().source_lists[1];
        for number in 0..4 {
            let (mut world, name) = (cluster.sim.lock(), format!("new{number}"));
            world.create_source_topic(&name, 2);
            (0..2).for_each(|partition| world.append(&name, partition, 5, false));
        }
        let began = cluster.sim.lock().now();
        let copied =
            |world: &World| (0..4).all(|n| (0..2).all(|p| next(world, &format!("new{n}"), p) >= SourceOffset(5)));
        until(&cluster, "the new topics are copied", copied).await;
        let took = cluster.sim.lock().now() - began;
        assert!(took < 5_000, "{took} ms");
        assert_eq!(cluster.sim.lock().source_lists[1], lists, "the other process lists nothing");
        // The lane moves, and the coordinator with it; the one before has said that it ends.
        cluster.owner[0] = None;
        cluster.give_up(0, 0).await;
        let released = |world: &World| world.control.control().tick().is_some_and(|tick| tick.released);
        until(&cluster, "it says that it ends", released).await;
        cluster.assign(0, 1);
        let moved = cluster.sim.lock().now();
        changes(&cluster, 1).await;
        let took = cluster.sim.lock().now() - moved;
        assert!(took < 8_000, "{took} ms, although nobody has to be waited for");
        assert_eq!(state_of(&cluster, 0), CoordinatorState::Elsewhere);
        cluster
    });
}

#[test]
fn a_coordinator_dies_at_every_point_and_another_one_follows() {
    for point in Point::OF_COORDINATOR {
        play(lenient(), Rules::default(), move |mut cluster| async move {
            begin(&mut cluster).await;
            changes(&cluster, 0).await;
            cluster.owner[0] = None;
            cluster.lose(0, 0);
            wait_ms(500).await;
            let died = hook(&cluster, point, 0, |world, proc| world.kill(proc));
            cluster.assign(0, 1);
            fired(&cluster, &died).await;
            cluster.bury().await;
            cluster.assign(0, 0);
            changes(&cluster, 0).await;
            feed(&mut cluster.sim.lock());
            cluster.start_process();
            cluster
        });
    }
}

/// A coordinator sleeps at a point while another one follows it, and wakes as a zombie. It changes
/// nothing after the other one has (`World::change` checks it), whether or not it has heard that it
/// has lost the lane.
#[test]
fn a_coordinator_that_sleeps_changes_nothing_after_its_successor() {
    for point in Point::OF_COORDINATOR {
        for sleeps in [2_000, 4_500, 9_000, 60_000] {
            play(lenient(), Rules::default(), move |mut cluster| async move {
                begin(&mut cluster).await;
                changes(&cluster, 0).await;
                if matches!(point, Point::CoordinatorTaken | Point::ControlRead) {
                    cluster.lose(0, 0);
                    wait_ms(500).await;
                    cluster.run_lane(0, 0);
                }
                let asleep = hook(&cluster, point, 0, move |world, proc| {
                    world.pause(proc);
                    world.after(sleeps, move |world| world.resume(proc));
                });
                fired(&cluster, &asleep).await;
                cluster.owner[0] = Some(1);
                cluster.run_lane(0, 1);
                wait_ms(sleeps + 500).await;
                cluster.lose(0, 0);
                changes(&cluster, 1).await;
                feed(&mut cluster.sim.lock());
                wait_ms(3_000).await;
                assert_eq!(state_of(&cluster, 0), CoordinatorState::Elsewhere);
                cluster
            });
        }
    }
}

/// Without a coordinator, processes list the topics themselves, lanes go on, and it is said.
#[test]
fn nobody_waits_for_a_coordinator_that_does_not_come() {
    let outcomes = play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        cluster.assign(1, 1);
        changes(&cluster, 0).await;
        // Its writer hangs: nothing else of the process does.
        cluster.sim.lock().control_hangs = true;
        wait_ms(70_000).await;
        assert_ne!(state_of(&cluster, 0), CoordinatorState::Coordinating);
        {
            let mut world = cluster.sim.lock();
            world.create_source_topic("new", 2);
            (0..2).for_each(|partition| world.append("new", partition, 5, false));
        }
        let copied = |world: &World| (0..2).all(|p| next(world, "new", p) >= SourceOffset(5));
        until(&cluster, "the new topic is copied", copied).await;
        cluster.sim.lock().control_hangs = false;
        wait_ms(45_000).await;
        assert_eq!(state_of(&cluster, 0), CoordinatorState::Coordinating);
        cluster
    });
    for event in ["coordinator_lost", "coordinator_stuck", "no_coordinator", "coordinator_back"] {
        all_met(&outcomes, event);
    }
}

/// A coordinator that is at work and cannot list the source hides no new topics from the others.
#[test]
fn the_list_of_a_coordinator_that_does_not_reach_the_source_is_not_relied_on() {
    let outcomes = play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        cluster.assign(1, 1);
        changes(&cluster, 0).await;
        cluster.sim.lock().unlisted = Some(0);
        wait_ms(5_000).await;
        let lanes = {
            let mut world = cluster.sim.lock();
            world.create_source_topic("new", 8);
            (0..8).for_each(|partition| world.append("new", partition, 5, false));
            world.lanes
        };
        let others: Vec<i32> = (0..8).filter(|p| lanes::lane_of("new", *p, lanes) == LaneId(1)).collect();
        assert!(!others.is_empty());
        let copied = |world: &World| others.iter().all(|p| next(world, "new", *p) >= SourceOffset(5));
        until(&cluster, "the other process copies the new topic", copied).await;
        assert_eq!(state_of(&cluster, 0), CoordinatorState::Coordinating);
        assert!(cluster.statuses()[0].topics_not_listed().is_some());
        assert!(cluster.statuses()[0].unreachable().is_empty(), "the source answers everything else");
        cluster.sim.lock().unlisted = None;
        wait_ms(10_000).await;
        assert_eq!(cluster.statuses()[0].topics_not_listed(), None);
        cluster
    });
    all_met(&outcomes, "topics_not_listed");
    all_met(&outcomes, "topics_listed_again");
}

/// Processes with other settings do not take each other's lists, and say that they disagree.
#[test]
fn settings_that_take_turns_are_reported() {
    let outcomes = play(lenient(), Rules::default(), |mut cluster| async move {
        begin(&mut cluster).await;
        cluster.settings = "others".to_owned();
        cluster.start_process();
        for proc in [2, 0, 2] {
            let from = cluster.owner[0].unwrap();
            cluster.give_up(0, from).await;
            cluster.assign(0, proc);
            changes(&cluster, proc as u32).await;
            wait_ms(2_000).await;
        }
        cluster.sim.lock().create_source_topic("b", 1);
        cluster.topics_are_known().await;
        cluster
    });
    all_met(&outcomes, "settings_disagree");
}

/// Two or three processes that freeze, die, lose lane 0 with and without hearing of it, beside lost
/// requests: enough of each that every rule of the coordinator matters.
async fn struggle(mut cluster: Cluster, seed: u64) -> Cluster {
    let (sim, mut rng) = (cluster.sim.clone(), Rng::new(seed ^ 0xc0de));
    begin(&mut cluster).await;
    if rng.chance(500) {
        cluster.start_process();
    }
    sim.lock().faults = Faults { lost: rng.below(30), ..Faults::default() };
    let until = sim.lock().now() + 150_000;
    while sim.lock().now() < until && sim.lock().violation.is_none() {
        wait_ms(rng.within(200, 6_000)).await;
        cluster.bury().await;
        while cluster.alive().len() < 2 {
            cluster.start_process();
        }
        let alive = cluster.alive();
        let proc = alive[rng.index(alive.len())];
        let long_ms = rng.within(500, 16_000);
        match rng.below(7) {
            0 => cluster.crash(proc).await,
            1 => {
                let mut world = sim.lock();
                world.pause(proc);
                world.after(long_ms, move |world| world.resume(proc));
            }
            2 | 3 => {
                let point = Point::OF_COORDINATOR[rng.index(Point::OF_COORDINATOR.len())];
                let run = move |world: &mut World, proc: usize| {
                    world.pause(proc);
                    world.after(long_ms, move |world| world.resume(proc));
                };
                sim.lock().hooks.push(Hook { point, skip: rng.below(3), run: Box::new(run) });
            }
            // Another process gets the lane, and the one before hears of it later, if at all.
            4 => cluster.run_lane(0, proc),
            5 => {
                let others: Vec<usize> = alive.iter().copied().filter(|p| cluster.owner[0] != Some(*p)).collect();
                for other in others {
                    cluster.lose(0, other);
                }
            }
            _ => cluster.assign(0, proc),
        }
        if cluster.owner[0].is_none_or(|owner| !cluster.alive().contains(&owner)) {
            let alive = cluster.alive();
            if let Some(next) = alive.get(rng.index(alive.len().max(1))) {
                cluster.assign(0, *next);
            }
        }
        feed(&mut sim.lock());
    }
    cluster
}

fn struggles(seed: u64, bug: Option<Bug>) -> (Option<String>, u64) {
    let changes = std::sync::atomic::AtomicU64::new(0);
    let counted = &changes;
    let outcome = run_script(seed, DeliveryMode::ExactlyOnce, lenient(), Rules::default(), bug, |cluster| async move {
        let cluster = struggle(cluster, seed).await;
        counted.store(cluster.sim.lock().control.changes, std::sync::atomic::Ordering::Relaxed);
        cluster
    });
    if bug.is_none() {
        outcome.assert_good();
    }
    (outcome.violation, changes.into_inner())
}

#[test]
fn of_processes_that_struggle_for_the_link_one_at_a_time_changes_it() {
    let changes: u64 = (0..SEEDS * 3).map(|seed| struggles(seed, None).1).sum();
    assert!(changes > SEEDS * 3 * 10, "{changes} changes show little");
}

/// The check above can fail.
#[test]
fn a_coordinator_without_one_of_its_rules_is_found() {
    let bugs = [
        (Bug::ControlUnfenced, "take turns"),
        (Bug::ControlReleased, "take turns"),
        (Bug::PermitIgnored, "after its announcement"),
    ];
    for (bug, says) in bugs {
        let found = (0..600).find_map(|seed| struggles(seed, Some(bug)).0.map(|violation| (seed, violation)));
        let (seed, violation) = found.unwrap_or_else(|| panic!("{bug:?} was not found"));
        assert!(violation.contains(says), "{bug:?} with seed {seed}: found something else: {violation}");
    }
}

/// The coordinator holds up no lane, however long its transactions take.
#[test]
fn lanes_do_not_wait_for_the_coordinator() {
    play(lenient(), Rules::default(), |mut cluster| async move {
        cluster.sim.lock().control_hangs = true;
        begin(&mut cluster).await;
        let began = cluster.sim.lock().now();
        feed(&mut cluster.sim.lock());
        let copied = |world: &World| (0..2).all(|p| next(world, "a", p) >= SourceOffset(40));
        until(&cluster, "all is copied", copied).await;
        assert!(cluster.sim.lock().now() - began < 5_000);
        let stopping = tokio::time::Instant::now();
        cluster.stop(0).await;
        assert!(stopping.elapsed() < Duration::from_secs(12), "{:?}", stopping.elapsed());
        cluster.sim.lock().control_hangs = false;
        cluster.assign(0, 1);
        cluster.assign(1, 1);
        cluster
    });
}

/// On a target without transactions nobody coordinates the link, and every process finds what is
/// new.
#[test]
fn a_link_without_a_coordinator_by_design_says_nothing_of_one() {
    let outcomes = play(lenient(), Rules::default(), |mut cluster| async move {
        cluster.coordinated = false;
        begin(&mut cluster).await;
        cluster.assign(1, 1);
        wait_ms(90_000).await;
        {
            let mut world = cluster.sim.lock();
            world.create_source_topic("new", 2);
            (0..2).for_each(|partition| world.append("new", partition, 5, false));
        }
        let began = cluster.sim.lock().now();
        let copied = |world: &World| (0..2).all(|p| next(world, "new", p) >= SourceOffset(5));
        until(&cluster, "the new topic is copied", copied).await;
        assert!(cluster.sim.lock().now() - began < 8_000);
        cluster
    });
    assert!(outcomes.iter().all(|outcome| outcome.events.iter().all(|event| !event.contains("coordinator"))));
}
