//! The memory that plugins of this process may take: one sum, from the start to every reload.

use strait_flow::lock;

use std::collections::BTreeMap;
use std::sync::Mutex;

use strait_core::config::{Config, Link};

/// The plugins could need more memory than `plugin_memory_mib_max` allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the plugins may need {needed_mib} MiB of memory and plugin_memory_mib_max is {max_mib}: {}; lower memory_mib_max of the plugins or raise plugin_memory_mib_max",
    links.join(", ")
)]
pub struct PluginMemoryError {
    needed_mib: u64,
    max_mib: u32,
    /// The links that have plugins, each with its need.
    links: Vec<String>,
}

/// Sums the memory that plugins may take, over all lanes of all links.
///
/// How many lanes a link has is known for sure only once its topics were looked up. Until then the
/// number that it would be created with stands in.
#[derive(Debug, Default)]
pub struct PluginMemory {
    /// Lanes of the links that were looked up.
    lanes: Mutex<BTreeMap<String, u32>>,
}

impl PluginMemory {
    /// Records how many lanes a link has.
    pub fn set_lanes(&self, link: &str, lanes: u32) {
        lock(&self.lanes).insert(link.to_owned(), lanes);
    }

    /// Returns the memory that the plugins of `config` leave, in MiB. Stateful plugins share it.
    ///
    /// # Errors
    /// [`PluginMemoryError`] where they could need more than there is.
    pub fn admit(&self, config: &Config) -> Result<u64, PluginMemoryError> {
        let known = lock(&self.lanes);
        let mut needed_mib = 0_u64;
        let mut links = Vec::new();
        for link in &config.links {
            let per_lane: u64 = link.plugins.iter().map(|used| u64::from(used.limits.memory_mib_max)).sum();
            let lanes = known.get(&link.name).copied().unwrap_or_else(|| Link::lanes_to_create(link));
            let per_link = per_lane.saturating_mul(u64::from(lanes));
            if per_link > 0 {
                links.push(format!("{} {per_link} MiB ({per_lane} MiB for each of {lanes} lanes)", link.name));
            }
            needed_mib = needed_mib.saturating_add(per_link);
        }
        let max_mib = config.plugin_memory_mib_max;
        u64::from(max_mib).checked_sub(needed_mib).ok_or(PluginMemoryError { needed_mib, max_mib, links })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_that_could_need_more_memory_than_there_is_are_refused_with_the_sum() {
        let read = |memory_mib_max: u32| -> Config {
            let plugin = serde_json::json!({ "plugin": "p", "limits": { "memory_mib_max": memory_mib_max } });
            let link = |name: &str, lanes: u32| {
                serde_json::json!({
                    "name": name, "source": "a", "target": "b", "topics": ["t"], "lanes": lanes, "plugins": [plugin, plugin]
                })
            };
            serde_json::from_value(serde_json::json!({
                "plugin_memory_mib_max": 1000, "clusters": {}, "links": [link("one", 1), link("four", 4)]
            }))
            .unwrap()
        };
        let memory = PluginMemory::default();
        assert_eq!(memory.admit(&read(100)), Ok(0));
        let error = memory.admit(&read(101)).unwrap_err().to_string();
        for part in ["1010 MiB", "plugin_memory_mib_max is 1000", "four 808 MiB (202 MiB for each of 4 lanes)"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn the_lanes_that_a_link_turns_out_to_have_count_in_place_of_the_configured_ones() {
        let config: Config = serde_json::from_value(serde_json::json!({
            "plugin_memory_mib_max": 1000, "clusters": {}, "links": [{
                "name": "l", "source": "a", "target": "b", "topics": ["t"], "lanes": 2,
                "plugins": [{ "plugin": "p", "limits": { "memory_mib_max": 200 } }]
            }]
        }))
        .unwrap();
        let memory = PluginMemory::default();
        assert_eq!(memory.admit(&config), Ok(600));
        memory.set_lanes("l", 5);
        assert_eq!(memory.admit(&config), Ok(0));
        memory.set_lanes("l", 6);
        assert!(memory.admit(&config).is_err());
    }
}
