//! One seeded run: a link at work, faults for a while, then peace, in which everything must arrive.

mod groups;
mod peace;
mod storm;
mod watch;

use std::future::Future;

use strait_flow::{DeliveryMode, OnCorrupt, OnGap, OnRefused, OnTargetRecreated, OnTimestampZero, Policies};

use self::peace::finish;
use self::storm::storm;
pub use self::watch::Watch;
use crate::cluster::Cluster;
use crate::rng::Rng;
use crate::world::source::Rules;
use crate::world::{Bug, Sim};

/// The outcome of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The first violation.
    pub violation: Option<String>,
    /// Hash of the whole trace.
    pub hash: u64,
    /// The last lines of the trace.
    pub tail: String,
    /// Number of committed records.
    pub records: u64,
    /// Number of copies that were written more than once.
    pub repeated: u64,
    /// Number of committed transactions.
    pub transactions: u64,
    /// Names of the events that lanes emitted.
    pub events: std::collections::BTreeSet<&'static str>,
}

impl Outcome {
    /// Checks that the run found no violation.
    ///
    /// # Panics
    /// With the seed and the last lines of the trace, if there is a violation.
    pub fn assert_good(&self) {
        if let Some(violation) = &self.violation {
            panic!(
                "seed {}: {violation}\nlast events:\n{}\nrerun with STRAIT_SIM_SEED={}",
                self.seed, self.tail, self.seed
            );
        }
    }
}

/// Returns policies under which no partition stops.
#[must_use]
pub fn lenient() -> Policies {
    Policies {
        on_gap: OnGap::Continue,
        on_corrupt: OnCorrupt::Stop,
        on_target_recreated: OnTargetRecreated::Stop,
        on_refused: OnRefused::Quarantine,
        on_timestamp_zero: OnTimestampZero::Now,
    }
}

/// Runs a script in a new world on a paused clock, and checks everything at its end.
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

/// Runs a storm in which the seed chooses everything.
#[must_use]
pub fn run_seed(seed: u64, bug: Option<Bug>) -> Outcome {
    let mut rng = Rng::new(seed ^ 0xfeed);
    let delivery = if bug.is_none() && rng.chance(250) { DeliveryMode::AtLeastOnce } else { DeliveryMode::ExactlyOnce };
    let mut pick = |a, b| if rng.chance(700) { a } else { b };
    let policies = Policies {
        on_gap: if pick(true, false) { OnGap::Continue } else { OnGap::Stop },
        on_corrupt: OnCorrupt::Stop,
        on_target_recreated: OnTargetRecreated::Stop,
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
