//! Consumer groups in the storm: the link keeps their offsets on the target while everything else
//! goes wrong, too.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::rng::Rng;
use crate::world::{Hook, Point, Sim, World};

/// Cases of 1000 in which a link keeps groups: they cost time.
const SHARE: u64 = 250;
/// Their names.
const NAMES: [&str; 2] = ["billing", "search"];
/// Virtual time within which every group must be in its place, in seconds: the longest wait before
/// another coordinator, its first batch, and the pause after a refusal.
const PLACED_SECS_MAX: u64 = 120;

/// The events of the groups of a run.
pub(super) struct Groups {
    rng: Rng,
    names: &'static [&'static str],
}

impl Groups {
    /// Decides whether the link keeps groups. Call it before any process is started. The numbers
    /// are those of a generator of its own, so that all else in the run stays what it is.
    pub fn begin(sim: &Sim, rng: &Rng) -> Self {
        let mut rng = Rng::new(rng.clone().number() ^ 0x6709);
        let count = if rng.chance(SHARE) { rng.within(1, NAMES.len() as u64) as usize } else { 0 };
        let names = &NAMES[..count];
        let mut world = sim.lock();
        if count > 0 {
            world.groups.are_kept = true;
            world.groups.late = if rng.chance(500) { rng.below(80) } else { 0 };
            let copied = rng.below(60) as i64;
            world.groups.copy(copied);
            for name in names {
                let at = rng.below(60) as i64;
                world.groups.add(name, at);
            }
        }
        Self { rng, names }
    }

    /// Something happens to a group, or to a process that is about to write one.
    pub fn step(&mut self, sim: &Sim) {
        let rng = &mut self.rng;
        if self.names.is_empty() || !rng.chance(200) {
            return;
        }
        let name = self.names[rng.index(self.names.len())];
        let mut world = sim.lock();
        match rng.below(16) {
            0 => world.groups.expire(name),
            1 => {
                let (count, stays_ms) = (rng.index(9), rng.within(1, 15_000));
                world.join_on_target(name, count);
                world.after(stays_ms, move |world| world.groups.leave(name));
            }
            2 => {
                let point = Point::OF_GROUPS[rng.index(Point::OF_GROUPS.len())];
                let (skip, dies, long_ms) = (rng.below(4), rng.chance(300), rng.within(100, 16_000));
                let run = move |world: &mut World, proc: usize| {
                    if dies {
                        return world.kill(proc);
                    }
                    world.pause(proc);
                    world.after(long_ms, move |world| world.resume(proc));
                };
                world.hooks.push(Hook { point, skip, run: Box::new(run) });
            }
            3..=8 => world.groups.copy(rng.within(1, 12) as i64),
            _ => {
                let at = world.groups.at_source(name).unwrap_or(0);
                // Some go back, and some are ahead of the link.
                let by = if rng.chance(100) { -(rng.within(1, 20) as i64) } else { rng.within(1, 12) as i64 };
                world.groups.commit(name, at + by);
            }
        }
    }
}

/// Ends what goes on with the groups.
pub(super) fn calm(world: &mut World) {
    world.groups.late = 0;
    NAMES.iter().for_each(|name| world.groups.leave(name));
}

/// Returns the groups that are the target's as the control topic says.
fn taken(world: &World) -> BTreeSet<Arc<str>> {
    let control = world.control.control();
    let taken = control.groups().iter().filter(|(_, record)| record.taken.is_some());
    taken.map(|((group, _), _)| Arc::clone(group)).collect()
}

/// Checks that every group gets to its place, that none counts as the target's which nobody has
/// read there, and that readers who join now skip nothing.
pub(super) async fn check(cluster: &Cluster) {
    let sim = &cluster.sim;
    if !sim.lock().groups.are_kept || sim.lock().violation.is_some() {
        return;
    }
    let mut misplaced = None;
    for _ in 0..PLACED_SECS_MAX * 4 {
        {
            let world = sim.lock();
            misplaced = world.groups.misplaced(&taken(&world));
        }
        if misplaced.is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let mut world = sim.lock();
    if let Some(what) = misplaced {
        world.wrong(format!("{what} after {PLACED_SECS_MAX} s of peace"));
    }
    let taken = taken(&world);
    for name in world.groups.names() {
        if taken.contains(&name) && !world.groups.was_read(&name) {
            world.wrong(format!("group {name} counts as the target's, and nobody has read it there"));
        }
        world.join_on_target(&name, 3);
        world.groups.leave(&name);
    }
}
