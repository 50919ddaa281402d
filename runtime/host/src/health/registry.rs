//! The health of every plugin of a process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use strait_flow::lock;
use strait_flow::ports::Clock;

use super::breaker::{Health, Key};
use super::report::PluginHealth;
use super::saved::StateDir;

/// The health of every plugin of a process.
pub(crate) struct HealthRegistry {
    clock: Arc<dyn Clock>,
    state: Arc<StateDir>,
    all: Mutex<HashMap<Key, Arc<Health>>>,
}

/// Entries kept: a process that reloads for months must not keep every version.
const HEALTHS_MAX: usize = 1_024;

impl HealthRegistry {
    pub(crate) fn new(clock: Arc<dyn Clock>, state: Arc<StateDir>) -> Self {
        Self { clock, state, all: Mutex::default() }
    }

    /// Returns the health of a plugin. A breaker that an earlier process left open is open.
    pub(crate) fn of(&self, key: Key) -> Arc<Health> {
        let mut all = lock(&self.all);
        if let Some(health) = all.get(&key) {
            return Arc::clone(health);
        }
        if all.len() >= HEALTHS_MAX {
            all.retain(|_, health| Arc::strong_count(health) > 1);
        }
        let health = Arc::new(Health::new(key.clone(), Arc::clone(&self.clock), Arc::clone(&self.state)));
        all.insert(key, Arc::clone(&health));
        health
    }

    /// Returns the health of every plugin that this process has loaded, in no order.
    pub(crate) fn snapshots(&self) -> Vec<PluginHealth> {
        let all = lock(&self.all);
        all.values().map(|health| health.snapshot()).collect()
    }
}
