//! The plugins of a link as the admin API shows them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use strait_flow::millis;
use strait_host::{BreakerState, CounterValue, PluginHealth};

use crate::board::{LinkBoard, Work};

/// A plugin of the active chain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plugin {
    /// Name of the plugin in the link.
    pub name: String,
    /// Version that its author gave it.
    pub version: String,
    /// `sha256:` and 64 hexadecimal digits, of its file.
    pub digest: String,
    /// Whether only records that it judged may pass.
    pub fails_closed: bool,
    /// Calls that ended since the process began, failed ones included.
    pub calls: u64,
    /// Records in these calls.
    pub records: u64,
    /// Time of these calls, in milliseconds.
    pub time_ms: u64,
    /// Failed calls by kind. Kinds without a failure are left out.
    pub failures: BTreeMap<String, u64>,
    /// Records that made it fail.
    pub guilty_records: u64,
    /// Records of failed calls for which there was no time to find the guilty one.
    pub unjudged_records: u64,
    /// `closed`, `open` or `half-open`.
    pub breaker: String,
    /// How often its breaker opened.
    pub breaker_opened: u64,
    /// Why its breaker opened last.
    pub breaker_reason: String,
    /// Its counters.
    pub counters: Vec<Counter>,
}

/// A counter of a plugin of the active chain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counter {
    /// Name of the counter.
    pub name: String,
    /// The rule that it is of; empty for the whole plugin.
    pub rule: String,
    /// The sum since the process began, over all versions of the plugin.
    pub value: u64,
    /// Whether the plugin says that it would be strange if nothing was counted.
    pub expected: bool,
    /// Whether nothing was counted for so many records that this was reported (`rule_silent`).
    pub silent: bool,
}

/// Returns the active plugins of a link, in order.
#[must_use]
pub fn of(link: &LinkBoard, work: &Work) -> Vec<Plugin> {
    let chains = work.slot.chains();
    let mut counters = counters(link, work);
    let plugins = chains.manifests().zip(chains.health());
    let plugins = plugins.map(|((name, manifest), health)| Plugin {
        counters: counters.remove(&**name).unwrap_or_default(),
        ..plugin(link, &manifest.version, manifest.fails_closed, health)
    });
    plugins.collect()
}

/// Returns the counters of the active plugins, by name of plugin.
fn counters(link: &LinkBoard, work: &Work) -> BTreeMap<String, Vec<Counter>> {
    let key = |counter: CounterValue| (counter.plugin.to_string(), counter.counter, counter.rule);
    let active: BTreeSet<_> = work.slot.chains().counters().into_iter().map(key).collect();
    let expected = work.slot.expected_counters().into_iter();
    let expected: BTreeMap<_, bool> =
        expected.map(|c| ((c.plugin.to_string(), c.counter, c.rule), c.is_silent)).collect();
    let mut counters: BTreeMap<String, Vec<Counter>> = BTreeMap::new();
    for counter in work.slot.counters() {
        let value = counter.value;
        let key = key(counter);
        if !active.contains(&key) {
            continue;
        }
        let silent = expected.get(&key);
        let (plugin, name, rule) = key;
        let (expected, silent) = (silent.is_some(), silent.copied().unwrap_or(false));
        counters.entry(plugin).or_default().push(Counter { name, rule: link.mask(&rule), value, expected, silent });
    }
    counters
}

fn plugin(link: &LinkBoard, version: &str, fails_closed: bool, health: PluginHealth) -> Plugin {
    let failures = health.failures.iter().filter(|(_, count)| *count > 0);
    Plugin {
        name: health.plugin.clone(),
        version: link.mask(version),
        digest: health.digest.to_string(),
        fails_closed,
        calls: health.calls,
        records: health.records,
        time_ms: millis(health.time),
        failures: failures.map(|(kind, count)| (kind.name().to_owned(), *count)).collect(),
        guilty_records: health.guilty,
        unjudged_records: health.unjudged,
        breaker: breaker(health.breaker).to_owned(),
        breaker_opened: health.opened,
        breaker_reason: link.mask(&health.reason),
        counters: Vec::new(),
    }
}

/// Returns `closed`, `open` or `half-open`.
#[must_use]
pub fn breaker(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "closed",
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "half-open",
    }
}
