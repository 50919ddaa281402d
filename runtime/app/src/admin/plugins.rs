//! The plugins of a link as the admin API shows them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strait_flow::millis;
use strait_host::{BreakerState, PluginHealth};

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
}

/// Returns the active plugins of a link, in order.
#[must_use]
pub fn of(link: &LinkBoard, work: &Work) -> Vec<Plugin> {
    let chains = work.slot.chains();
    let plugins = chains.manifests().zip(chains.health());
    plugins.map(|((_, manifest), health)| plugin(link, &manifest.version, manifest.fails_closed, health)).collect()
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
