//! The watchdog's rule on the simulated link: in peace no partition may stand without a word.

use std::collections::BTreeSet;
use std::time::Duration;

use strait_core::PartitionKey;
use strait_flow::LinkStatus;
use strait_flow::watch::standing::{LastBounds, StandingRule, Verdict};

use crate::cluster::Cluster;

/// Virtual time without a move that counts as a standstill here. In peace every retry of a healthy
/// lane takes less.
const AFTER: Duration = Duration::from_secs(15);

/// Follows the positions of all partitions, from outside of the lanes.
pub struct Watch {
    rule: StandingRule,
    standing: BTreeSet<PartitionKey>,
}

impl Default for Watch {
    fn default() -> Self {
        Self { rule: StandingRule::new(AFTER, AFTER), standing: BTreeSet::new() }
    }
}

impl Watch {
    /// Looks once. Returns the partitions whose standstill began and of which nothing says why.
    pub fn look(&mut self, cluster: &Cluster) -> Vec<PartitionKey> {
        let now = Duration::from_millis(cluster.sim.lock().now());
        let keys = cluster.sim.lock().source.partitions();
        let mut silent = Vec::new();
        for key in &keys {
            let status = cluster.status_of(key);
            let position = status.as_ref().and_then(|status| Some(status.partitions().get(key)?.committed));
            let bounds = cluster.sim.lock().source.bounds(&key.topic, key.partition);
            let last = bounds.map(|bounds| LastBounds { bounds, age: Duration::ZERO, is_gone: false });
            match self.rule.observe(key, position, last, now) {
                Verdict::Began(still) => {
                    self.standing.insert(key.clone());
                    let has_word = status.is_some_and(|status| has_word(&status, key));
                    cluster.sim.lock().note(format_args!("{key} has not moved for {still:?}, a word: {has_word}"));
                    if !has_word {
                        silent.push(key.clone());
                    }
                }
                Verdict::Ended(_) => drop(self.standing.remove(key)),
                Verdict::Well | Verdict::Slow(_) | Verdict::Stands(_) => {}
            }
        }
        self.rule.keep(|key| keys.contains(key), now);
        self.standing.retain(|key| keys.contains(key));
        silent
    }

    /// Returns the partitions at a standstill.
    #[must_use]
    pub fn standing(&self) -> &BTreeSet<PartitionKey> {
        &self.standing
    }
}

/// Returns whether an event of the partition, or the trouble of a lane, says why it does not move.
fn has_word(status: &LinkStatus, key: &PartitionKey) -> bool {
    let same = |other: &PartitionKey| other.topic == key.topic && other.partition == key.partition;
    status.reasons().keys().any(same) || status.lanes().values().any(|lane| !lane.trouble.is_empty())
}
