//! One seeded run: a link at work, faults for a while, then peace, in which everything must arrive.

use std::future::Future;
use std::time::Duration;

use strait_core::invariants::Fate;
use strait_core::{Event, PartitionKey, SourceOffset, lanes};
use strait_flow::{DeliveryMode, OnGap, OnRefused, OnTimestampZero, Policies};

use crate::cluster::Cluster;
use crate::rng::Rng;
use crate::source::Rules;
use crate::world::{Bug, Faults, Hook, Point, Sim};

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// What was found wrong first.
    pub violation: Option<String>,
    /// Hash of all that happened.
    pub hash: u64,
    /// The last lines of it.
    pub tail: String,
    /// Records committed.
    pub records: u64,
    /// Copies that were there already.
    pub repeated: u64,
    /// Transactions committed.
    pub transactions: u64,
    /// Names of the events seen.
    pub events: std::collections::BTreeSet<&'static str>,
}

impl Outcome {
    /// Panics with the seed and the last events if something was wrong.
    ///
    /// # Panics
    /// When the run found a violation.
    pub fn assert_good(&self) {
        if let Some(violation) = &self.violation {
            panic!(
                "seed {}: {violation}\nlast events:\n{}\nrerun with STRAIT_SIM_SEED={}",
                self.seed, self.tail, self.seed
            );
        }
    }
}

/// Virtual time within which everything must have arrived once the faults have ended, in seconds.
const PEACE_SECS_MAX: u64 = 300;

/// Policies that keep everything going.
#[must_use]
pub fn lenient() -> Policies {
    Policies { on_gap: OnGap::Continue, on_refused: OnRefused::Quarantine, on_timestamp_zero: OnTimestampZero::Now }
}

/// Runs a script in a world of its own, on a paused clock, and checks everything at its end.
pub fn run_script<S, F>(
    seed: u64,
    delivery: DeliveryMode,
    policies: Policies,
    rules: Rules,
    bug: Option<Bug>,
    script: S,
) -> Outcome
where
    S: FnOnce(Cluster) -> F,
    F: Future<Output = Cluster>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let Ok(runtime) = runtime else { panic!("no runtime") };
    runtime.block_on(async {
        let sim = Sim::new(seed, delivery, policies, rules);
        sim.lock().bug = bug;
        let driver = tokio::spawn(sim.clone().drive());
        let cluster = script(Cluster::new(sim.clone())).await;
        finish(cluster).await;
        driver.abort();
        driver.await.ok();
        let world = sim.lock();
        Outcome {
            seed,
            violation: world.violation.clone(),
            hash: world.trace.hash(),
            tail: world.trace.tail(),
            records: world.books.records,
            repeated: world.books.repeated,
            transactions: world.books.transactions,
            events: world.events.iter().map(|(_, _, e)| e.name()).collect(),
        }
    })
}

/// A run with everything chosen by the seed.
#[must_use]
pub fn run_seed(seed: u64, bug: Option<Bug>) -> Outcome {
    let mut rng = Rng::new(seed ^ 0xfeed);
    let delivery = if bug.is_none() && rng.chance(250) { DeliveryMode::AtLeastOnce } else { DeliveryMode::ExactlyOnce };
    let mut pick = |a, b| if rng.chance(700) { a } else { b };
    let policies = Policies {
        on_gap: if pick(true, false) { OnGap::Continue } else { OnGap::Stop },
        on_refused: if pick(true, false) { OnRefused::Quarantine } else { OnRefused::Stop },
        on_timestamp_zero: match (pick(true, false), pick(true, false)) {
            (true, _) => OnTimestampZero::Now,
            (false, true) => OnTimestampZero::Quarantine,
            (false, false) => OnTimestampZero::Stop,
        },
    };
    let bad = |rng: &mut Rng, most: u64| if rng.chance(500) { rng.below(most) } else { 0 };
    let rules = Rules {
        drop: rng.below(150),
        change: rng.below(100),
        twice: rng.below(60),
        split: rng.below(60),
        route: rng.below(60),
        reject: bad(&mut rng, 30),
        refused: bad(&mut rng, 15),
        timestamp_zero: bad(&mut rng, 30),
        timestamp_far: bad(&mut rng, 10),
        trap: if rng.chance(100) { 2 } else { 0 },
        halt: if rng.chance(100) { 2 } else { 0 },
        hesitate: if rng.chance(300) { 5 } else { 0 },
        memory: rng.chance(300),
    };
    run_script(seed, delivery, policies, rules, bug, |cluster| storm(cluster, rng))
}

/// Which troubles a run meets.
struct Troubles {
    each: [u64; 14],
}

async fn storm(mut cluster: Cluster, mut rng: Rng) -> Cluster {
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
            queue_full: often(&mut rng, 50),
        };
        world.create_source_topic("a", rng.within(1, 3) as usize);
        world.create_source_topic("b", rng.within(1, 2) as usize);
        if rng.chance(50) {
            world.target.fixed.insert("copy.a".into());
            world.open_target_topic("copy.a", 1);
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
    // Rare troubles are met by few runs, and those that take data away by fewer.
    let mut troubles = Troubles { each: [0; 14] };
    for (index, weight) in troubles.each.iter_mut().enumerate() {
        let share = if (9..=11).contains(&index) { 120 } else { 450 };
        *weight = if rng.chance(share) { rng.within(1, 10) } else { 0 };
    }
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
    let mut refreshed = 0;
    while sim.lock().now() < until {
        traffic(&sim, &mut rng);
        if rng.chance(120) {
            trouble(&mut cluster, &mut rng, &troubles).await;
        }
        tokio::time::sleep(Duration::from_millis(rng.within(20, 250))).await;
        cluster.bury().await;
        replace_dead(&mut cluster, &mut rng);
        let now = sim.lock().now();
        if now > refreshed + 5_000 {
            refreshed = now;
            cluster.refresh_topics();
        }
        if sim.lock().violation.is_some() {
            break;
        }
    }
    cluster
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

/// The group notices dead processes and gives their lanes to others; new ones are started.
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
        // A process stands still. If for long, the group gives its lanes away; it wakes as a zombie.
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
            // Without fencing the group is all there is.
            if sim.lock().delivery == DeliveryMode::ExactlyOnce {
                cluster.run_lane(lane as u32, proc);
            }
        }
        // A former owner learns at last that it lost its lanes.
        4 => {
            for lane in cluster.lanes_of(proc) {
                if cluster.owner[lane as usize] != Some(proc) {
                    cluster.give_up(lane, proc).await;
                }
            }
        }
        // Fenced by someone else while the group still gives the lane.
        5 => {
            let slot = rng.below(2) as u8;
            sim.lock().init(lane as u32, slot, usize::from(proc == usize::MAX)).ok();
        }
        6 => {
            let mut world = sim.lock();
            let (until, markers_only) = (world.now() + long_ms, rng.chance(400));
            if let Some(topic) = world.target.topic(&crate::chain::target_name(&key.topic))
                && let Some(log) = world.target.log_mut(topic, key.partition)
            {
                if markers_only {
                    log.unmarked_until = until;
                } else {
                    log.stuck_until = until;
                }
                world.note(format_args!("copy.{key} is stuck until {until}, only for markers: {markers_only}"));
            }
        }
        // Something happens exactly at a point of the protocol.
        7 | 8 => {
            let points = [
                Point::Init(0),
                Point::Init(1),
                Point::ProgressRead,
                Point::Produce,
                Point::ProgressWritten,
                Point::CommitArrives,
                Point::CommitDecided,
                Point::Kept,
            ];
            let point = points[rng.index(points.len())];
            let (skip, dies) = (rng.below(10), which == 7);
            let run = move |world: &mut crate::world::World, proc: usize| {
                if dies {
                    return world.kill(proc);
                }
                world.pause(proc);
                world.after(long_ms, move |world| world.resume(proc));
            };
            sim.lock().hooks.push(Hook { point, skip, run: Box::new(run) });
        }
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
        }
        // Deleted, and created again at once or later; sometimes filled beyond the old position before anyone looks.
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
        12 => sim.lock().elect(&key.topic, key.partition, None),
        _ => {
            let mut world = sim.lock();
            if keys.len() < 8 {
                world.grow_source_topic(&key.topic);
            }
        }
    }
}

/// Ends every fault, waits until everything has arrived, stops in peace and looks at the whole.
async fn finish(mut cluster: Cluster) {
    let sim = cluster.sim.clone();
    if sim.lock().violation.is_some() {
        return;
    }
    calm(&mut cluster).await;
    let deadline = sim.lock().now() + PEACE_SECS_MAX * 1000;
    let mut waiting = None;
    let mut round = 0u32;
    while sim.lock().now() < deadline && sim.lock().violation.is_none() {
        cluster.check_alive();
        waiting = unfinished(&cluster);
        if waiting.is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        round += 1;
        if round.is_multiple_of(10) {
            cluster.refresh_topics();
        }
    }
    if let Some(what) = waiting {
        sim.lock().wrong(format!("not everything arrived within {PEACE_SECS_MAX} s of peace: {what}"));
    }
    cluster.stop_all().await;
    // What is on its way still lands.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let mut world = sim.lock();
    if world.violation.is_some() {
        return;
    }
    world.check_whole_target();
    for lane in 0..world.lanes {
        let read = world.read_progress(lane, 0);
        let positions = match read {
            Ok(progress) => progress.positions,
            Err(error) => return world.wrong(error),
        };
        for (key, position) in positions {
            let known = world.books.of.get(&key).and_then(|b| b.position.clone());
            if known.as_ref() != Some(&position) {
                world.wrong(format!("{key}: a reader finds progress {}, the books say {known:?}", position.next));
            }
        }
    }
}

async fn calm(cluster: &mut Cluster) {
    let sim = cluster.sim.clone();
    {
        let mut world = sim.lock();
        world.note(format_args!("peace"));
        world.faults = Faults::default();
        world.hooks.clear();
        // Some operators mend what their partitions stand still for, and others do not.
        world.mended |= world.rng.chance(500);
        if world.rng.chance(500) {
            world.target.fixed.clear();
        }
        for proc in 0..world.procs.len() {
            world.resume(proc);
        }
        for topic in &mut world.target.topics {
            for log in &mut topic.logs {
                (log.stuck_until, log.unmarked_until) = (0, 0);
            }
        }
        for key in world.source.partitions() {
            world.end_source_transaction(&key.topic, key.partition, true);
        }
    }
    // Topics that are away come back by then.
    tokio::time::sleep(Duration::from_secs(9)).await;
    cluster.bury().await;
    if cluster.alive().is_empty() {
        cluster.start_process();
    }
    let alive = cluster.alive();
    for lane in 0..cluster.owner.len() {
        let owner = cluster.owner[lane].filter(|p| alive.contains(p)).unwrap_or(alive[lane % alive.len()]);
        for other in alive.iter().filter(|p| **p != owner) {
            cluster.give_up(lane as u32, *other).await;
        }
        cluster.assign(lane as u32, owner);
    }
    cluster.refresh_topics();
    // What they learn of the source takes a moment to be told.
    tokio::time::sleep(Duration::from_secs(2)).await;
}

/// The first partition that has not arrived and does not stand still for a reason that was told.
fn unfinished(cluster: &Cluster) -> Option<String> {
    let keys = cluster.sim.lock().source.partitions();
    for key in keys {
        let stopped = cluster.is_stopped(&key);
        let world = cluster.sim.lock();
        let Some(log) = world.source.log(&key.topic, key.partition) else { continue };
        let end = SourceOffset(log.end());
        let next = world.books.of.get(&key).and_then(|b| b.position.as_ref()).map(|p| p.next);
        // At-least-once: a process that lost the lane and did not know can have written a larger owner epoch than the one
        // that has it. Its own progress then counts from its next takeover on; what is copied is copied.
        let plain = world.delivery == DeliveryMode::AtLeastOnce;
        let copied = world.books.of.get(&key).filter(|_| plain).map(|b| b.verified);
        if next == Some(end) || copied == Some(end) {
            continue;
        }
        let lane = lanes::lane_of(&key.topic, key.partition, world.lanes);
        let Some(proc) = stopped else {
            return Some(format!("{key} (lane {lane}) is at {next:?} of {end}"));
        };
        let told = world.events.iter().filter(|(_, p, _)| *p == proc);
        if !told.into_iter().any(|(_, _, event)| explains(&world, &key, event)) {
            return Some(format!("{key} (lane {lane}) is stopped at {next:?} of {end}, and no event explains it"));
        }
    }
    None
}

/// Whether an event is a good reason for a partition to stand still where it is.
fn explains(world: &crate::world::World, key: &PartitionKey, event: &Event) -> bool {
    let here = |other: &PartitionKey| other.topic == key.topic && other.partition == key.partition;
    let log_changed = world.policies.on_gap == OnGap::Stop;
    match event {
        Event::RecordStopped { partition, offset, .. } => {
            // Everything before it has arrived, and it is a record that cannot go on.
            let next = world.books.of.get(partition).and_then(|b| b.position.as_ref()).map_or(0, |p| p.next.0);
            let plain = world.delivery == DeliveryMode::AtLeastOnce;
            let clear = (next..offset.0).all(|o| match world.fate(partition, SourceOffset(o)) {
                Fate::Nothing => true,
                // Copied, though the progress of a process that had lost the lane hides it.
                Fate::Copied | Fate::Quarantined => plain,
                _ => false,
            });
            here(partition) && clear && world.is_refused(partition, *offset)
        }
        // It is tried again, and nothing is in its way any more.
        Event::QuarantineFailed { .. } => false,
        Event::PluginFailed { partition, first, .. } => here(partition) && world.is_refused(partition, *first),
        Event::RetentionOverrun { partition, .. } => here(partition) && log_changed,
        Event::Truncated { partition, .. } => {
            here(partition) && log_changed && world.source.log(&key.topic, key.partition).is_some_and(|l| l.epoch > 0)
        }
        Event::TopicRecreated { partition, .. } | Event::SourceGone { partition, .. } => {
            here(partition) && log_changed && world.source.recreated.contains(&key.topic)
        }
        Event::EpochRegression { partition, .. } => here(partition) && world.source.recreated.contains(&key.topic),
        Event::TargetPartitionsMissing { partition, target_topic, .. } => {
            here(partition) && world.target.fixed.contains(target_topic)
        }
        _ => false,
    }
}
