//! Final names of topics: the link's naming applied to the names from the plugins.

use std::collections::HashMap;
use std::sync::Arc;

use strait_core::edit::OutRecord;
use strait_core::topic::validate_target_name;

use super::TOPICS_MAX;
use crate::load::PluginSet;

/// Cache of final names by the name from the plugins.
pub(super) struct Names {
    set: Arc<PluginSet>,
    known: HashMap<Arc<str>, Arc<str>>,
}

impl Names {
    pub(super) fn new(set: &Arc<PluginSet>) -> Self {
        Self { set: Arc::clone(set), known: HashMap::new() }
    }

    pub(super) fn of(&mut self, topic: &Arc<str>) -> Result<Arc<str>, String> {
        if let Some(name) = self.known.get(topic) {
            return Ok(Arc::clone(name));
        }
        let name = self.set.naming.apply(topic);
        validate_target_name(&name).map_err(|e| e.to_string())?;
        let name: Arc<str> = name.into();
        if self.known.len() >= TOPICS_MAX {
            self.known.clear();
        }
        self.known.insert(Arc::clone(topic), Arc::clone(&name));
        Ok(name)
    }

    /// Gives a record its final topic and its final route, at the end of the chain.
    pub(super) fn finish(&mut self, record: &mut OutRecord, original_key: Option<&[u8]>) -> Result<(), String> {
        if let Some(topic) = &record.topic {
            record.topic = Some(self.of(topic)?);
        }
        record.resolve_route(original_key);
        Ok(())
    }
}
