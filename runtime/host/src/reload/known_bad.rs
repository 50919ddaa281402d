//! Plugins that broke, by name, digest and configuration: they are not loaded again by themselves.

use std::collections::BTreeSet;
use std::sync::Mutex;

use strait_core::edit::Generation;
use strait_flow::lock;

/// Entries kept. With more of them the first in alphabetical order is forgotten: any rule will do
/// for a bound.
const ENTRIES_MAX: usize = 256;

/// The plugins of a link that broke since the process began.
#[derive(Debug, Default)]
pub(super) struct KnownBad(Mutex<BTreeSet<String>>);

impl KnownBad {
    /// Returns the first plugin of a generation that broke before, with its digest and
    /// configuration.
    pub(super) fn find(&self, generation: &Generation) -> Option<String> {
        let bad = lock(&self.0);
        generation.0.split(',').find(|plugin| bad.contains(*plugin)).map(str::to_owned)
    }

    pub(super) fn clear(&self) {
        lock(&self.0).clear();
    }

    /// Adds every plugin of `broken` that `good` does not have.
    pub(super) fn add(&self, broken: &Generation, good: &Generation) {
        let good: BTreeSet<&str> = good.0.split(',').collect();
        self.insert(broken.0.split(',').filter(|identity| !good.contains(identity)));
    }

    /// Adds the plugin of this name that broke.
    pub(super) fn add_plugin(&self, broken: &Generation, good: &Generation, plugin: &str) {
        let start = format!("{plugin}@");
        match broken.0.split(',').find(|identity| identity.starts_with(&start)) {
            Some(identity) if !good.0.split(',').any(|other| other == identity) => self.insert([identity]),
            // The good chain has it too: another plugin made the difference.
            _ => self.add(broken, good),
        }
    }

    fn insert<'a>(&self, identities: impl IntoIterator<Item = &'a str>) {
        let mut bad = lock(&self.0);
        for identity in identities {
            if bad.len() >= ENTRIES_MAX {
                bad.pop_first();
            }
            bad.insert(identity.to_owned());
        }
    }
}
