//! The loaded chains of a link, numbered, and what their plugins counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use strait_core::progress::Agreement;
use strait_flow::lock;

use crate::factory::{CounterValue, HostChains};

/// One loaded chain, by number.
pub(super) struct ChainVersion {
    pub(super) number: u64,
    pub(super) chains: Arc<HostChains>,
    /// An operator has agreed to it, whatever it loosens.
    agreement: Mutex<Option<Agreement>>,
    /// The chain that it replaces protects as much, and takes over if it breaks on probation.
    pub(super) falls_back: bool,
    retired: Arc<Counters>,
}

/// Most counters of versions that are gone: each change of a configuration may name new rules. The
/// further ones of a plugin are summed under [`OTHER_RULES`].
const RETIRED_MAX: usize = 1_000;
const OTHER_RULES: &str = "(others)";

/// Sums by plugin, counter and rule.
type Sums = BTreeMap<(Arc<str>, String, String), u64>;
type Counters = Mutex<Sums>;

/// All versions of a link's chain that are still in use.
#[derive(Default)]
pub(super) struct Versions {
    last: AtomicU64,
    in_use: Mutex<Vec<Weak<ChainVersion>>>,
    /// The counts of versions that are gone.
    retired: Arc<Counters>,
}

impl ChainVersion {
    /// An operator agrees to it, whatever it loosens.
    pub(super) fn agree(&self, agreement: Agreement) {
        *lock(&self.agreement) = Some(agreement);
    }

    pub(super) fn agreement(&self) -> Option<Agreement> {
        lock(&self.agreement).clone()
    }

    pub(super) fn generation(&self) -> String {
        self.chains.generation().0.to_string()
    }
}

impl Drop for ChainVersion {
    fn drop(&mut self) {
        let mut retired = lock(&self.retired);
        for value in self.chains.counters() {
            retire(&mut retired, value);
        }
    }
}

/// Adds a counter that counts no more.
fn retire(retired: &mut Sums, CounterValue { plugin, counter, rule, value }: CounterValue) {
    let mut key = (plugin, counter, rule);
    if retired.len() >= RETIRED_MAX && !retired.contains_key(&key) {
        key.2 = OTHER_RULES.to_owned();
    }
    *retired.entry(key).or_default() += value;
}

impl Versions {
    /// Numbers a loaded chain, from 1.
    pub(super) fn add(
        &self,
        chains: Arc<HostChains>,
        agreement: Option<Agreement>,
        falls_back: bool,
    ) -> Arc<ChainVersion> {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let version = Arc::new(ChainVersion {
            number,
            chains,
            agreement: Mutex::new(agreement),
            falls_back,
            retired: Arc::clone(&self.retired),
        });
        let mut in_use = lock(&self.in_use);
        in_use.retain(|version| version.strong_count() > 0);
        in_use.push(Arc::downgrade(&version));
        version
    }

    /// Returns the counters of all versions since the process began, summed.
    pub(super) fn counters(&self) -> Vec<CounterValue> {
        let mut sums = lock(&self.retired).clone();
        let in_use: Vec<Arc<ChainVersion>> = lock(&self.in_use).iter().filter_map(Weak::upgrade).collect();
        for version in &in_use {
            for CounterValue { plugin, counter, rule, value } in version.chains.counters() {
                *sums.entry((plugin, counter, rule)).or_default() += value;
            }
        }
        let value = |((plugin, counter, rule), value)| CounterValue { plugin, counter, rule, value };
        sums.into_iter().map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_of_rules_that_are_gone_are_bounded_and_none_is_lost() {
        let mut retired = Sums::new();
        let counted = 3 * RETIRED_MAX as u64;
        for rule in 0..counted {
            let value = CounterValue { plugin: "p".into(), counter: "c".into(), rule: rule.to_string(), value: 1 };
            retire(&mut retired, value.clone());
            retire(&mut retired, value);
        }
        assert_eq!((retired.len(), retired.values().sum::<u64>()), (RETIRED_MAX + 1, 2 * counted));
        assert_eq!(retired.get(&("p".into(), "c".into(), "7".into())), Some(&2));
    }
}
