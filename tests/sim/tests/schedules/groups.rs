//! Consumer groups that the link keeps on the target: none skips a record, and one that reads there
//! is not moved.

use std::collections::BTreeSet;
use std::sync::Arc;

use strait_core::groups::State;
use strait_flow::DeliveryMode;
use strait_sim::cluster::Cluster;
use strait_sim::rng::Rng;
use strait_sim::run::{lenient, run_script};
use strait_sim::world::source::Rules;
use strait_sim::world::{Bug, Faults, Hook, Point, World};

use crate::{SEEDS, begin, feed, fired, hook, until, wait_ms};

const NAMES: [&str; 3] = ["billing", "search", "mail"];

/// Seeds of each script: its many steps make up for few latencies.
const SOME: u64 = 8;

/// Plays a script under some latencies, in exactly-once mode.
fn play_some<F: Future<Output = Cluster>>(script: impl Fn(Cluster) -> F + Copy) {
    for seed in 0..SOME {
        run_script(seed, DeliveryMode::ExactlyOnce, lenient(), Rules::default(), None, script).assert_good();
    }
}

/// Returns the groups that are the target's as the control topic says.
fn taken(world: &World) -> BTreeSet<Arc<str>> {
    let control = world.control.control();
    let taken = control.groups().iter().filter(|(_, record)| record.taken.is_some());
    taken.map(|((group, _), _)| Arc::clone(group)).collect()
}

async fn begin_groups(cluster: &mut Cluster) {
    {
        let mut world = cluster.sim.lock();
        world.groups.are_kept = true;
        world.groups.copy(60);
        for (number, name) in NAMES.iter().enumerate() {
            world.groups.add(name, 10 * number as i64);
        }
    }
    begin(cluster).await;
}

/// Waits until every group of the link is where it belongs on the target.
async fn in_place(cluster: &Cluster) {
    until(cluster, "the groups are in their places", |world| world.groups.misplaced(&taken(world)).is_none()).await;
}

/// S1: the coordinator dies around each step of a write, and its successor knows the offset again.
#[test]
fn a_coordinator_that_dies_at_any_step_leaves_no_group_behind() {
    for point in Point::OF_GROUPS {
        for skip in 0..3 {
            play_some(move |mut cluster| async move {
                begin_groups(&mut cluster).await;
                in_place(&cluster).await;
                if matches!(point, Point::CoordinatorTaken | Point::ControlRead) {
                    cluster.lose(0, 0);
                    wait_ms(500).await;
                }
                let skip = if matches!(point, Point::CoordinatorTaken | Point::ControlRead) { 0 } else { skip };
                let died = hook(&cluster, point, skip, |world, proc| world.kill(proc));
                cluster.run_lane(0, 0);
                NAMES.iter().for_each(|name| cluster.sim.lock().groups.commit(name, 45));
                fired(&cluster, &died).await;
                cluster.bury().await;
                (0..2).for_each(|lane| cluster.assign(lane, 1));
                wait_ms(3_000).await;
                NAMES.iter().for_each(|name| cluster.sim.lock().groups.commit(name, 50));
                in_place(&cluster).await;
                assert!(taken(&cluster.sim.lock()).is_empty(), "at {point:?}, {skip}");
                feed(&mut cluster.sim.lock());
                cluster
            });
        }
    }
}

/// S2, S3: a coordinator sleeps between its comparison and its write. Meanwhile a group is read on
/// the target, by members that have left when it wakes.
#[test]
fn a_coordinator_that_sleeps_moves_no_group_that_was_read_meanwhile() {
    for (point, sleeps) in [(Point::GroupCompared, 60_000), (Point::GroupCompared, 9_000), (Point::Announced, 9_000)] {
        for skip in [0, 1, 4] {
            play_some(move |mut cluster| async move {
                begin_groups(&mut cluster).await;
                in_place(&cluster).await;
                let asleep = hook(&cluster, point, skip, move |world, proc| {
                    world.pause(proc);
                    world.after(sleeps, move |world| world.resume(proc));
                });
                NAMES.iter().for_each(|name| cluster.sim.lock().groups.commit(name, 45));
                fired(&cluster, &asleep).await;
                // What was sent has arrived.
                wait_ms(500).await;
                {
                    let mut world = cluster.sim.lock();
                    world.join_on_target("billing", 7);
                    world.groups.leave("billing");
                }
                if sleeps > 10_000 {
                    cluster.owner[0] = Some(1);
                    cluster.run_lane(0, 1);
                }
                wait_ms(sleeps + 10_000).await;
                cluster.lose(0, 0);
                cluster.assign(0, 1);
                NAMES.iter().for_each(|name| cluster.sim.lock().groups.commit(name, 55));
                until(&cluster, "it is the target's", |world| taken(world).contains("billing")).await;
                in_place(&cluster).await;
                let world = cluster.sim.lock();
                assert_eq!((taken(&world).len(), world.groups.overtaken), (1, 0));
                drop(world);
                feed(&mut cluster.sim.lock());
                cluster
            });
        }
    }
}

/// Another link writes to the target topic as well, from some time on, and for a while.
#[test]
fn a_topic_that_another_link_writes_to_has_its_groups_left_as_they_are() {
    play_some(|mut cluster| async move {
        begin_groups(&mut cluster).await;
        in_place(&cluster).await;
        cluster.sim.lock().groups.is_shared = true;
        wait_ms(3_000).await;
        let written = cluster.sim.lock().groups.written;
        NAMES.iter().for_each(|name| cluster.sim.lock().groups.commit(name, 45));
        // Nor what has expired.
        cluster.sim.lock().groups.expire("mail");
        wait_ms(60_000).await;
        let states = cluster.statuses().iter().map(|status| status.groups().states).find(|states| !states.is_empty());
        assert_eq!(states, Some([(State::Shared, 3)].into()));
        {
            let mut world = cluster.sim.lock();
            assert_eq!(world.groups.written, written);
            let told = world.events.iter().filter(|(_, _, event)| event.name() == "shared_target").count();
            assert_eq!(told, 1);
            world.groups.is_shared = false;
        }
        in_place(&cluster).await;
        assert!(taken(&cluster.sim.lock()).is_empty());
        feed(&mut cluster.sim.lock());
        cluster
    });
}

/// S4, S5 and all of it at random: readers on both clusters, sources that go back, offsets that
/// expire, requests that come a minute late, and processes that freeze, die and lose lane 0.
async fn struggle(mut cluster: Cluster, seed: u64) -> Cluster {
    let (sim, mut rng) = (cluster.sim.clone(), Rng::new(seed ^ 0x6709));
    begin_groups(&mut cluster).await;
    wait_ms(15_000).await;
    sim.lock().faults = Faults { lost: rng.below(30), ..Faults::default() };
    sim.lock().groups.late = rng.below(60);
    let end = sim.lock().now() + 150_000;
    while sim.lock().now() < end && sim.lock().violation.is_none() {
        wait_ms(rng.within(100, 4_000)).await;
        cluster.bury().await;
        while cluster.alive().len() < 2 {
            cluster.start_process();
        }
        let alive = cluster.alive();
        let (proc, name) = (alive[rng.index(alive.len())], NAMES[rng.index(NAMES.len())]);
        let long_ms = rng.within(500, 16_000);
        let freeze = move |world: &mut World, proc: usize| {
            world.pause(proc);
            world.after(long_ms, move |world| world.resume(proc));
        };
        match rng.below(12) {
            0 => cluster.crash(proc).await,
            1 => freeze(&mut sim.lock(), proc),
            2 | 3 => {
                let point = Point::OF_GROUPS[rng.index(Point::OF_GROUPS.len())];
                sim.lock().hooks.push(Hook { point, skip: rng.below(4), run: Box::new(freeze) });
            }
            4 => cluster.assign(0, proc),
            5 => cluster.run_lane(0, proc),
            6 => sim.lock().groups.expire(name),
            7 => {
                let mut world = sim.lock();
                world.join_on_target(name, rng.index(9));
                world.after(rng.within(1, 20_000), move |world| world.groups.leave(name));
            }
            _ => {
                let mut world = sim.lock();
                world.groups.copy(rng.within(0, 20) as i64);
                for name in NAMES {
                    let at = world.groups.at_source(name).unwrap_or(0);
                    let by = rng.within(0, 24) as i64 - 6;
                    world.groups.commit(name, at + by);
                }
            }
        }
        if cluster.owner[0].is_none_or(|owner| !cluster.alive().contains(&owner)) {
            let alive = cluster.alive();
            cluster.assign(0, alive[rng.index(alive.len())]);
        }
        feed(&mut sim.lock());
    }
    if sim.lock().violation.is_some() {
        return cluster;
    }
    {
        let mut world = sim.lock();
        (world.faults, world.groups.late) = (Faults::default(), 0);
        world.hooks.clear();
    }
    // What is late arrives, readers leave, and the groups that are the link's find their places.
    wait_ms(70_000).await;
    cluster.bury().await;
    let alive = cluster.alive();
    for lane in 0..2 {
        // One that does not know that it has lost the lane would fence the other one for ever.
        alive.iter().skip(1).for_each(|proc| cluster.lose(lane, *proc));
        cluster.assign(lane, alive[0]);
    }
    wait_ms(90_000).await;
    {
        let mut world = sim.lock();
        let misplaced = world.groups.misplaced(&taken(&world));
        misplaced.into_iter().for_each(|what| world.wrong(what));
    }
    cluster
}

fn struggles(seed: u64, bug: Option<Bug>) -> (Option<String>, [u64; 3]) {
    let counts = std::sync::Mutex::new([0; 3]);
    let counted = &counts;
    let outcome = run_script(seed, DeliveryMode::ExactlyOnce, lenient(), Rules::default(), bug, |cluster| async move {
        let cluster = struggle(cluster, seed).await;
        {
            let world = cluster.sim.lock();
            *counted.lock().unwrap() = [world.groups.written, world.groups.joined, world.groups.overtaken];
        }
        cluster
    });
    if bug.is_none() {
        outcome.assert_good();
    }
    (outcome.violation, counts.into_inner().unwrap())
}

#[test]
fn groups_skip_nothing_and_stay_where_they_read_whatever_happens() {
    let mut sums = [0; 3];
    for seed in 0..SEEDS {
        let counts = struggles(seed, None).1;
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let [written, joined, overtaken] = sums;
    println!("{written} offsets written, {joined} readers joined, {overtaken} writes overtaken by a reader");
    assert!(written > SEEDS * 8 && joined > SEEDS * 2, "{sums:?}");
}

/// The checks above can fail.
#[test]
fn a_link_that_moves_groups_or_skips_for_them_is_found() {
    for (bug, says) in [(Bug::GroupBlind, "reads on the target"), (Bug::GroupSkips, "skips source record")] {
        let found = (0..60).find_map(|seed| struggles(seed, Some(bug)).0.map(|violation| (seed, violation)));
        let (seed, violation) = found.unwrap_or_else(|| panic!("{bug:?} was not found"));
        assert!(violation.contains(says), "{bug:?} with seed {seed}: found something else: {violation}");
    }
}
