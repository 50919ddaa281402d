//! The metrics of plugins. Figures continue through reloads: they are sums over all versions of a
//! link's plugin that this process has loaded.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use strait_host::{FailureKind, PluginHealth, TrialPhase};

use super::{Labels, LinkView, Page, working};
use crate::admin::plugins::breaker;
use crate::admin::status::standing;

/// All phases of a chain.
const PHASES: [TrialPhase; 4] = [TrialPhase::Steady, TrialPhase::Probation, TrialPhase::Shadow, TrialPhase::Canary];

/// The figures of a link's plugin, over all its versions.
#[derive(Default)]
struct Sums {
    calls: u64,
    records: u64,
    time: Duration,
    guilty: u64,
    unjudged: u64,
    opened: u64,
    failures: BTreeMap<&'static str, u64>,
}

impl Sums {
    fn add(&mut self, health: &PluginHealth) {
        self.calls += health.calls;
        self.records += health.records;
        self.time += health.time;
        self.guilty += health.guilty;
        self.unjudged += health.unjudged;
        self.opened += health.opened;
        for (kind, count) in &health.failures {
            *self.failures.entry(kind.name()).or_default() += count;
        }
    }
}

/// Writes all families.
pub(super) fn write(page: &mut Page<'_>, links: &[LinkView<'_>]) -> fmt::Result {
    active(page, links)?;
    let mut all = Vec::new();
    for (view, work) in working(links) {
        let mut sums: BTreeMap<String, Sums> = BTreeMap::new();
        for health in work.engine.plugin_health().iter().filter(|health| health.link == view.link.name) {
            sums.entry(health.plugin.clone()).or_default().add(health);
        }
        all.extend(sums.into_iter().map(|(plugin, sums)| (view, plugin, sums)));
    }
    let labels = |view: &LinkView<'_>, plugin: &str| view.labels(&[("plugin", plugin)]);
    type OfSums = fn(&Sums) -> u64;
    let counts: [(&str, &str, OfSums); 5] = [
        ("strait_plugin_calls", "Calls of plugins that ended, failed ones included.", |s| s.calls),
        ("strait_plugin_records", "Records that plugins were called with.", |s| s.records),
        ("strait_plugin_guilty_records", "Records that made a plugin fail.", |s| s.guilty),
        ("strait_plugin_unjudged_records", "Records for which there was no time to find the guilty one.", |s| {
            s.unjudged
        }),
        ("strait_plugin_breaker_opened", "How often a plugin's breaker opened.", |s| s.opened),
    ];
    for (name, help, value) in counts {
        page.counter(name, help, all.iter().map(|(view, plugin, sums)| (labels(view, plugin), value(sums))))?;
    }
    let times = all.iter().map(|(view, plugin, sums)| (labels(view, plugin), sums.time.as_secs_f64()));
    page.counter("strait_plugin_duration_seconds", "Time in calls of plugins, columns and edits included.", times)?;
    let mut errors = Vec::new();
    for (view, plugin, sums) in &all {
        for kind in FailureKind::ALL.map(FailureKind::name) {
            let count = sums.failures.get(kind).copied().unwrap_or(0);
            errors.push((view.labels(&[("plugin", plugin), ("kind", kind)]), count));
        }
    }
    page.counter("strait_plugin_errors", "Calls of plugins that failed, by kind.", errors)
}

/// Returns the labels of a counter; the rule is empty for one of the whole plugin. A plugin could
/// name its rules by its secrets.
fn of_counter(view: &LinkView<'_>, plugin: &str, counter: &str, rule: &str) -> Labels {
    view.labels(&[("plugin", plugin), ("counter", counter), ("rule", &view.link.mask(rule))])
}

/// Writes the families of the active chain.
fn active(page: &mut Page<'_>, links: &[LinkView<'_>]) -> fmt::Result {
    let mut generations = Vec::new();
    // A chain may hold a plugin twice under one name. Both share a series.
    let (mut infos, mut breakers, mut counters) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut silent = BTreeMap::new();
    for (view, work) in working(links) {
        let chains = work.slot.chains();
        generations.push((view.labels(&[("generation", &chains.generation().0)]), 1.0));
        for ((_, manifest), health) in chains.manifests().zip(chains.health()) {
            let plugin = health.plugin.as_str();
            let version = view.link.mask(&manifest.version);
            let info = [("plugin", plugin), ("digest", &*health.digest), ("version", &*version)];
            infos.insert(view.labels(&info), 1.0);
            let now = breaker(health.breaker);
            for state in ["closed", "open", "half-open"] {
                let value: &mut f64 = breakers.entry(view.labels(&[("plugin", plugin), ("state", state)])).or_default();
                *value = value.max(if state == now { 1.0 } else { 0.0 });
            }
        }
        for counter in work.slot.counters() {
            let labels = of_counter(view, &counter.plugin, &counter.counter, &counter.rule);
            *counters.entry(labels).or_insert(0_u64) += counter.value;
        }
        for counter in work.slot.expected_counters() {
            let labels = of_counter(view, &counter.plugin, &counter.counter, &counter.rule);
            let value: &mut f64 = silent.entry(labels).or_default();
            *value = value.max(if counter.is_silent { 1.0 } else { 0.0 });
        }
    }
    let mut outcomes = Vec::new();
    let mut phases = Vec::new();
    for (view, work) in working(links) {
        let counts = work.slot.outcomes();
        outcomes
            .extend(counts.into_iter().map(|(outcome, count)| (view.labels(&[("outcome", outcome.name())]), count)));
        let now = work.slot.state().standing;
        for state in PHASES {
            phases.push((view.labels(&[("state", standing(state))]), if state == now { 1.0 } else { 0.0 }));
        }
    }
    page.counter("strait_plugin_reloads", "Reloads and rollbacks of plugin chains, by outcome.", outcomes)?;
    page.gauge("strait_plugin_chain", "1 for the phase of a link's plugin chain.", phases)?;
    page.gauge("strait_plugin_generation_info", "The active plugins; always 1.", generations)?;
    page.gauge("strait_plugin_info", "An active plugin, with its file; always 1.", infos)?;
    page.gauge("strait_plugin_breaker", "1 for the state of a plugin's breaker.", breakers)?;
    page.gauge("strait_plugin_counter_silent", "1 for a counter that is expected to count and does not.", silent)?;
    page.counter("strait_plugin_counter", "Counters of the plugins' own, in accepted batches.", counters)
}
