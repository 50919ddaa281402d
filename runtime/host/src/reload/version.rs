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

/// Sums by plugin and counter.
type Counters = Mutex<BTreeMap<(Arc<str>, String), u64>>;

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
        for CounterValue { plugin, counter, value } in self.chains.counters() {
            *retired.entry((plugin, counter)).or_default() += value;
        }
    }
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
            for CounterValue { plugin, counter, value } in version.chains.counters() {
                *sums.entry((plugin, counter)).or_default() += value;
            }
        }
        sums.into_iter().map(|((plugin, counter), value)| CounterValue { plugin, counter, value }).collect()
    }
}
