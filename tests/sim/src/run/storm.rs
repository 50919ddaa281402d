//! The storm: traffic and faults, chosen by the seed.

use std::time::Duration;

use strait_core::PartitionKey;
use strait_core::books::BOOKS_PARTITION;
use strait_flow::DeliveryMode;

use super::groups::Groups;
use crate::cluster::Cluster;
use crate::rng::Rng;
use crate::world::entries::BooksFault;
use crate::world::plugins::LEVEL_MAX;
use crate::world::target::{OPERATE, ROUTED, target_name};
use crate::world::{Faults, Hook, Point, Sim, World};

/// Number of kinds of trouble.
const TROUBLES: usize = 20;

/// The weight of each kind of trouble in a run.
struct Troubles {
    each: [u64; TROUBLES],
}

pub(super) async fn storm(mut cluster: Cluster, mut rng: Rng) -> Cluster {
    let sim = cluster.sim.clone();
    let often = |rng: &mut Rng, most: u64| if rng.chance(400) { rng.below(most) } else { 0 };
    {
        let mut world = sim.lock();
        world.latency_ms = if rng.chance(200) { (20, 60) } else { (1, rng.within(2, 20)) };
        world.faults = Faults {
            lost: often(&mut rng, 30),
            produce: often(&mut rng, 15),
            no_offset: often(&mut rng, 5),
            commit: often(&mut rng, 60),
            read: often(&mut rng, 10),
            read_broken: often(&mut rng, 5),
            quarantine: if rng.chance(100) { 20 } else { 0 },
            books: if rng.chance(100) { 50 } else { 0 },
            queue_full: often(&mut rng, 50),
            stale_topics: often(&mut rng, 400),
            no_ids: often(&mut rng, 200),
            no_start: often(&mut rng, 400),
            undescribed: often(&mut rng, 300),
            ..Faults::default()
        };
        world.create_source_topic("a", rng.within(1, 3) as usize);
        world.create_source_topic("b", rng.within(1, 2) as usize);
        if rng.chance(50) {
            world.target.fixed.insert("copy.a".into());
            world.open_target_topic("copy.a", 1, false);
        }
        for key in world.source.partitions() {
            let before = rng.below(20);
            world.append(&key.topic, key.partition, before, false);
            if rng.chance(300) {
                let start = rng.below(before + 1) as i64;
                world.retain(&key.topic, key.partition, start);
            }
        }
    }
    // Few runs have rare troubles, and fewer those that delete data.
    let mut troubles = Troubles { each: [0; TROUBLES] };
    for (index, weight) in troubles.each.iter_mut().enumerate() {
        let share = if (9..=11).contains(&index) { 120 } else { 450 };
        *weight = if rng.chance(share) { rng.within(1, 10) } else { 0 };
    }
    let deploys = rng.chance(300);
    let mut groups = Groups::begin(&sim, &rng);
    for _ in 0..rng.within(2, 3) {
        cluster.start_process();
    }
    for lane in 0..cluster.owner.len() as u32 {
        let proc = lane as usize % cluster.alive().len();
        cluster.assign(lane, proc);
    }
    let until = rng.within(10_000, 40_000);
    if rng.chance(300) {
        sim.lock().after(rng.within(5_000, 40_000), |world| world.mended = true);
    }
    while sim.lock().now() < until {
        traffic(&sim, &mut rng);
        groups.step(&sim);
        if rng.chance(120) {
            trouble(&mut cluster, &mut rng, &troubles).await;
        }
        tokio::time::sleep(Duration::from_millis(rng.within(20, 250))).await;
        cluster.bury().await;
        replace_dead(&mut cluster, &mut rng);
        let keys = sim.lock().source.partitions();
        if deploys && rng.chance(15) {
            deploy(&cluster, &mut rng);
        }
        if rng.chance(10) && !keys.is_empty() {
            let key = &keys[rng.index(keys.len())];
            cluster.ask_for_retry(&key.topic, key.partition);
        }
        if sim.lock().violation.is_some() {
            break;
        }
    }
    cluster
}

/// An operator replaces the plugins. Some processes load them later, and others when they restart.
fn deploy(cluster: &Cluster, rng: &mut Rng) {
    let alive = cluster.alive();
    let mut world = cluster.sim.lock();
    let (level, agreed) = (rng.index(LEVEL_MAX + 1), rng.chance(300));
    world.deploy(level, agreed);
    for proc in alive {
        if rng.chance(800) {
            world.after(rng.below(3_000), move |world| world.load_plugins(proc));
        }
    }
}

fn traffic(sim: &Sim, rng: &mut Rng) {
    let mut world = sim.lock();
    let keys = world.source.partitions();
    if keys.is_empty() {
        return;
    }
    let key = &keys[rng.index(keys.len())];
    let count = rng.below(10);
    let open = world.source.log(&key.topic, key.partition).is_some_and(|log| log.last_stable() < log.end());
    if open && rng.chance(300) {
        let commit = rng.chance(500);
        world.end_source_transaction(&key.topic, key.partition, commit);
    } else if rng.chance(30) {
        world.append_control(&key.topic, key.partition);
    } else {
        let in_transaction = rng.chance(60);
        world.append(&key.topic, key.partition, count, in_transaction);
    }
}

/// Makes the group notice dead processes and give their lanes to others. Starts new processes.
fn replace_dead(cluster: &mut Cluster, rng: &mut Rng) {
    let alive = cluster.alive();
    if alive.len() < 2 && rng.chance(300) {
        cluster.start_process();
    }
    for lane in 0..cluster.owner.len() {
        let orphan = cluster.owner[lane].is_none_or(|p| !alive.contains(&p));
        if orphan && !alive.is_empty() && rng.chance(200) {
            let proc = alive[rng.index(alive.len())];
            cluster.assign(lane as u32, proc);
        }
    }
}

async fn trouble(cluster: &mut Cluster, rng: &mut Rng, troubles: &Troubles) {
    let sim = cluster.sim.clone();
    let total: u64 = troubles.each.iter().sum();
    let mut left = rng.below(total.max(1));
    let Some(which) = troubles.each.iter().position(|weight| {
        let here = left < *weight;
        left = left.saturating_sub(*weight);
        here
    }) else {
        return;
    };
    let alive = cluster.alive();
    if alive.is_empty() {
        return;
    }
    let proc = alive[rng.index(alive.len())];
    let lane = rng.index(cluster.owner.len());
    let keys = sim.lock().source.partitions();
    if keys.is_empty() {
        return;
    }
    let key = keys[rng.index(keys.len())].clone();
    let long_ms = rng.within(100, 20_000);
    let hit = Hit { alive, proc, lane, keys, key, long_ms };
    match which {
        0..=5 | 14 | 17 | 18 => trouble_with_lanes(cluster, rng, which, &hit).await,
        6 => stick(&sim, rng, &hit),
        7 => stop_at_a_point(&sim, rng, &hit, true),
        8 => stop_at_a_point(&sim, rng, &hit, false),
        19 => close_books(&sim, rng, hit.long_ms),
        _ => trouble_at_the_source(&sim, rng, which, hit),
    }
}

/// Where trouble strikes.
struct Hit {
    /// Processes that are not dead.
    alive: Vec<usize>,
    /// One of them.
    proc: usize,
    lane: usize,
    /// All source partitions.
    keys: Vec<PartitionKey>,
    /// One of them.
    key: PartitionKey,
    /// Duration of what lasts, in milliseconds.
    long_ms: u64,
}

/// Trouble between processes and the lanes that they own, or believe to own.
async fn trouble_with_lanes(cluster: &mut Cluster, rng: &mut Rng, which: usize, hit: &Hit) {
    let sim = cluster.sim.clone();
    let Hit { alive, proc, lane, long_ms, .. } = hit;
    let (proc, lane, long_ms) = (*proc, *lane, *long_ms);
    match which {
        // A rebalance takes a lane from one process and gives it to another.
        0 => {
            if let Some(old) = cluster.owner[lane].filter(|p| alive.contains(p)) {
                cluster.owner[lane] = None;
                cluster.give_up(lane as u32, old).await;
            }
            cluster.assign(lane as u32, proc);
        }
        1 => cluster.crash(proc).await,
        // A process freezes. If for long, the group gives its lanes away, and it wakes as a zombie.
        2 => {
            sim.lock().pause(proc);
            sim.lock().after(long_ms, move |world| world.resume(proc));
            if long_ms > 8_000 {
                let others: Vec<usize> = alive.iter().copied().filter(|p| *p != proc).collect();
                for lane in cluster.lanes_of(proc) {
                    if !others.is_empty() {
                        cluster.assign(lane, others[rng.index(others.len())]);
                    }
                }
            }
        }
        // Two processes believe that they own a lane, and take it from each other.
        3 => {
            // Without fencing there is nothing but the group.
            if sim.lock().delivery == DeliveryMode::ExactlyOnce {
                cluster.run_lane(lane as u32, proc);
            }
        }
        // A former owner learns at last that it has lost its lanes.
        4 => {
            for lane in cluster.lanes_of(proc) {
                if cluster.owner[lane as usize] == Some(proc) {
                    continue;
                }
                if rng.chance(500) {
                    cluster.lose(lane, proc);
                } else {
                    cluster.give_up(lane, proc).await;
                }
            }
        }
        // A rebalance takes all lanes of a process at once, and gives most of them back.
        17 => {
            let mut lanes = cluster.lanes_of(proc);
            cluster.give_all_up(&lanes, proc).await;
            lanes.retain(|lane| cluster.owner[*lane as usize] == Some(proc));
            for lane in lanes {
                let to = if rng.chance(700) { proc } else { alive[rng.index(alive.len())] };
                cluster.assign(lane, to);
            }
        }
        // The coordinator of the group does not answer a process.
        18 => {
            let mut world = sim.lock();
            world.procs[proc].outside_until = world.now() + long_ms * 3;
        }
        // A process is told to stop.
        14 => cluster.stop(proc).await,
        // Someone else fences the lane, while the group still gives it to its owner.
        _ => {
            let slot = rng.below(2) as u8;
            sim.lock().init(lane as u32, slot, usize::from(proc == usize::MAX)).ok();
        }
    }
}

/// A target partition takes no records, or no markers, for a while.
fn stick(sim: &Sim, rng: &mut Rng, hit: &Hit) {
    let Hit { key, long_ms, .. } = hit;
    let mut world = sim.lock();
    let (until, markers_only) = (world.now() + long_ms, rng.chance(400));
    // Sometimes where routed records go, whichever partition they come from.
    let (name, partition) = match rng.below(10) {
        0 | 1 => (ROUTED.to_owned(), key.partition),
        2 => (OPERATE.to_owned(), BOOKS_PARTITION),
        _ => (target_name(&key.topic), key.partition),
    };
    if let Some(topic) = world.target.topic(&name)
        && let Some(log) = world.target.log_mut(topic, partition)
    {
        if markers_only {
            log.unmarked_until = until;
        } else {
            log.stuck_until = until;
        }
        world.note(format_args!("{name}-{partition} is stuck until {until}, only for markers: {markers_only}"));
    }
}

/// The target does not take entries of the books for a while.
fn close_books(sim: &Sim, rng: &mut Rng, long_ms: u64) {
    let faults = [BooksFault::Missing, BooksFault::Untold, BooksFault::Silent];
    let fault = faults[rng.below(3) as usize];
    let mut world = sim.lock();
    world.note(format_args!("the books cannot be written for {long_ms} ms: {fault:?}"));
    world.books_fault = Some(fault);
    world.after(long_ms, |world| world.books_fault = None);
}

/// A process dies or freezes exactly at a point of the protocol.
fn stop_at_a_point(sim: &Sim, rng: &mut Rng, hit: &Hit, dies: bool) {
    let point = Point::ALL[rng.index(Point::ALL.len())];
    let skip = rng.below(10);
    let long_ms = hit.long_ms;
    let run = move |world: &mut World, proc: usize| {
        if dies {
            return world.kill(proc);
        }
        world.pause(proc);
        world.after(long_ms, move |world| world.resume(proc));
    };
    sim.lock().hooks.push(Hook { point, skip, run: Box::new(run) });
}

/// Retention, elections, deleted topics, new partitions.
fn trouble_at_the_source(sim: &Sim, rng: &mut Rng, which: usize, hit: Hit) {
    let Hit { keys, key, .. } = hit;
    match which {
        9 => {
            let mut world = sim.lock();
            let end = world.source.log(&key.topic, key.partition).map_or(0, |log| log.end());
            let start = rng.below(end as u64 + 1) as i64;
            world.retain(&key.topic, key.partition, start);
        }
        10 => {
            let mut world = sim.lock();
            let end = world.source.log(&key.topic, key.partition).map_or(0, |log| log.last_stable());
            let keep = end.saturating_sub(rng.below(20) as i64).max(0);
            world.elect(&key.topic, key.partition, Some(keep));
            // The new leader takes records before anyone hears of the election.
            let more = if world.rng.chance(500) { world.rng.below(40) } else { 0 };
            world.append(&key.topic, key.partition, more, false);
        }
        // A topic is deleted, and created again at once or later. In some runs it is longer than
        // the old position before anyone polls it.
        11 => {
            let wait = if rng.chance(500) { 0 } else { rng.below(8_000) };
            let filled = if rng.chance(500) { rng.within(20, 200) } else { 0 };
            let partitions = keys.iter().filter(|k| k.topic == key.topic).count();
            sim.lock().delete_source_topic(&key.topic);
            sim.lock().after(wait, move |world| {
                world.create_source_topic(&key.topic, partitions);
                for partition in 0..partitions {
                    world.append(&key.topic, partition as i32, filled, false);
                }
            });
        }
        15 => {
            let name = ["c", "d", "e"][rng.index(3)];
            let mut world = sim.lock();
            if !world.source.topics.contains_key(name) {
                world.create_source_topic(name, rng.within(1, 2) as usize);
            }
        }
        // One of those topics is deleted for good.
        16 => {
            if ["c", "d", "e"].contains(&&*key.topic) {
                sim.lock().delete_source_topic(&key.topic);
            }
        }
        12 => sim.lock().elect(&key.topic, key.partition, None),
        _ => {
            let mut world = sim.lock();
            if keys.len() < 8 {
                world.grow_source_topic(&key.topic);
            }
        }
    }
}
