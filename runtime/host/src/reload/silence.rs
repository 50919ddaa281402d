//! Finds counters at rest of which their plugin says that this would be strange.
//!
//! A rule of a redactor that finds nothing is no error: the records pass as they are. It is also
//! what happens when a producer renames a field.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strait_core::ChainEvent;

use super::version::ChainVersion;
use crate::load::LoadedPlugin;

/// Records without a count after which a counter that has never counted is silent.
const FIRST_RECORDS: u64 = 10_000;
/// The same for one that has counted, and the time that must have passed too: what is rare does not
/// come with every ten thousandth record.
const RECORDS: u64 = 100_000;
const TIME: Duration = Duration::from_secs(3_600);

/// A counter of the active chain that is expected to count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExpectedCounter {
    /// Name of the plugin in the link.
    pub plugin: Arc<str>,
    /// Name of the counter.
    pub counter: String,
    /// The rule that it is of; empty for the whole plugin.
    pub rule: String,
    /// It has counted nothing for so many records that this was reported.
    pub is_silent: bool,
}

/// The expected counters of a link's active chain.
#[derive(Default)]
pub(super) struct Silence {
    /// Number of the version that was looked at last, and the largest so far.
    version: u64,
    version_max: u64,
    plugins: Vec<Watched>,
}

/// A plugin.
struct Watched {
    name: Arc<str>,
    /// Its file and all that is set for it: with another one it has other rules.
    identity: String,
    /// Records that it had been shown.
    shown: u64,
    counters: Vec<Counted>,
}

/// An expected counter.
struct Counted {
    /// Its places among the counters of the plugin: several rules may have one name.
    indexes: Vec<usize>,
    name: String,
    rule: String,
    rest: Rest,
}

/// How long a counter has been at rest.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rest {
    value: u64,
    has_counted: bool,
    /// Since when, and the records since then.
    since: Duration,
    records: u64,
    is_silent: bool,
}

impl Rest {
    /// Takes note of the value after the plugin was shown more records. Returns whether the counter
    /// is silent from now on.
    fn falls_silent(&mut self, value: u64, records: u64, now: Duration) -> bool {
        if value != self.value {
            *self = Self { value, has_counted: true, since: now, ..Self::default() };
            return false;
        }
        self.records += records;
        let is_long = match self.has_counted {
            false => self.records >= FIRST_RECORDS,
            true => self.records >= RECORDS && now.saturating_sub(self.since) >= TIME,
        };
        if !is_long || self.is_silent {
            return false;
        }
        self.is_silent = true;
        true
    }
}

impl Silence {
    /// Looks at the active chain. Returns an event for each counter that falls silent.
    pub(super) fn look(&mut self, active: &ChainVersion, now: Duration) -> Vec<ChainEvent> {
        let plugins = &active.chains.set().plugins;
        if self.version != active.number {
            self.take(active.number, plugins, now);
        }
        let mut events = Vec::new();
        for (watched, plugin) in self.plugins.iter_mut().zip(plugins) {
            let shown = plugin.shown.load(Ordering::Relaxed);
            let records = shown.saturating_sub(std::mem::replace(&mut watched.shown, shown));
            for counted in &mut watched.counters {
                if counted.rest.falls_silent(counted.value(plugin), records, now) {
                    events.push(counted.event(&watched.name));
                }
            }
        }
        events
    }

    /// Takes up another version. A plugin that stays as it was keeps what is known of its counters.
    fn take(&mut self, number: u64, plugins: &[Arc<LoadedPlugin>], now: Duration) {
        // One that is active again has counted before.
        let is_new = number > self.version_max;
        let mut before = std::mem::take(&mut self.plugins);
        for plugin in plugins {
            let kept = before.iter().position(|known| known.identity == plugin.identity);
            let mut watched = kept.map_or_else(|| Watched::new(plugin, now), |at| before.swap_remove(at));
            watched.shown = if is_new { 0 } else { plugin.shown.load(Ordering::Relaxed) };
            for counted in &mut watched.counters {
                counted.rest.value = if is_new { 0 } else { counted.value(plugin) };
                counted.rest.has_counted |= counted.rest.value > 0;
            }
            self.plugins.push(watched);
        }
        self.version = number;
        self.version_max = self.version_max.max(number);
    }

    /// Returns the expected counters, each once.
    pub(super) fn counters(&self) -> BTreeSet<ExpectedCounter> {
        let of = |watched: &Watched| {
            let plugin = Arc::clone(&watched.name);
            let expected = move |counted: &Counted| ExpectedCounter {
                plugin: Arc::clone(&plugin),
                counter: counted.name.clone(),
                rule: counted.rule.clone(),
                is_silent: counted.rest.is_silent,
            };
            watched.counters.iter().map(expected).collect::<Vec<_>>()
        };
        self.plugins.iter().flat_map(of).collect()
    }
}

impl Watched {
    fn new(plugin: &LoadedPlugin, now: Duration) -> Self {
        let mut counters: Vec<Counted> = Vec::new();
        for (index, counter) in plugin.counters.iter().enumerate().filter(|(_, counter)| counter.expected) {
            match counters.iter_mut().find(|known| known.name == counter.name && known.rule == counter.rule) {
                Some(known) => known.indexes.push(index),
                None => counters.push(Counted {
                    indexes: vec![index],
                    name: counter.name.clone(),
                    rule: counter.rule.clone(),
                    rest: Rest { since: now, ..Rest::default() },
                }),
            }
        }
        Self { name: Arc::clone(&plugin.name), identity: plugin.identity.clone(), shown: 0, counters }
    }
}

impl Counted {
    fn value(&self, plugin: &LoadedPlugin) -> u64 {
        let values = self.indexes.iter().filter_map(|index| plugin.counts.get(*index));
        values.fold(0, |sum, value| sum.saturating_add(value.load(Ordering::Relaxed)))
    }

    fn event(&self, plugin: &Arc<str>) -> ChainEvent {
        ChainEvent::RuleSilent {
            plugin: Arc::clone(plugin),
            rule: self.rule.as_str().into(),
            counter: self.name.as_str().into(),
            records: self.rest.records,
            has_counted: self.rest.has_counted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_counter_that_never_counts_falls_silent_once_after_ten_thousand_records() {
        let mut rest = Rest::default();
        assert!(!rest.falls_silent(0, 9_999, at(9_999)));
        assert!(rest.falls_silent(0, 1, at(9_999)));
        assert!(!rest.falls_silent(0, 1_000_000, at(99_999)) && rest.is_silent);
        // It counts again: a new silence is reported again, and later.
        assert!(!rest.falls_silent(1, 5, at(100_000)) && !rest.is_silent);
        assert!(!rest.falls_silent(1, 50_000, at(200_000)));
        assert!(rest.falls_silent(1, 50_000, at(200_001)) && rest.records == 100_000);
    }

    #[test]
    fn a_counter_that_has_counted_needs_records_and_an_hour() {
        let counted = || Rest { value: 3, has_counted: true, since: at(60), ..Rest::default() };
        assert!(!counted().falls_silent(3, 99_999, at(60 + 3_600)));
        assert!(!counted().falls_silent(3, 100_000, at(59 + 3_600)));
        assert!(counted().falls_silent(3, 100_000, at(60 + 3_600)));
        assert!(!counted().falls_silent(4, 1_000_000, at(99_999)));
    }
}
