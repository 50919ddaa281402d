//! What a plugin gets to see of a value: as a document, as a plain value, or not at all.

use std::sync::Arc;

use strait_core::edit::Reject;
use strait_flow::ports::ChainError;

use crate::chain::{PluginChain, Stage, TOPICS_MAX, Work, error};
use crate::fields::{Lens, share};
use crate::patch::Fate;
use crate::plan::Needs;

/// Code of the host's own reject: a value above `value-max-bytes` of a required plugin.
const VALUE_TOO_LARGE: &str = "value-too-large";

/// One for each stage; `None` where it reads no fields.
pub(crate) type Lenses = Arc<[Option<Lens>]>;

impl PluginChain {
    /// How the stages see the values of a topic, through one set of paths.
    pub(crate) fn lenses(&mut self, topic: &Arc<str>, partitions: u32) -> Result<Lenses, ChainError> {
        if let Some(lenses) = self.lenses.get(topic) {
            return Ok(lenses.clone());
        }
        let (mut plans, mut name) = (Vec::new(), topic.clone());
        for stage in &mut self.stages {
            let plan = stage.plan(&name, partitions, &self.set);
            let plan = plan.map_err(|e| error(&self.set, stage.plugin.name.clone(), e))?;
            name = plan.name.clone().unwrap_or(name);
            plans.push(plan);
        }
        let own: Vec<Option<&Lens>> =
            plans.iter().map(|plan| plan.needs.as_ref().and_then(|needs| needs.lens.as_ref())).collect();
        let lenses: Lenses = share(&own).into();
        if self.lenses.len() >= TOPICS_MAX {
            self.lenses.clear();
        }
        self.lenses.insert(topic.clone(), lenses.clone());
        Ok(lenses)
    }
}

impl Stage {
    /// Reads a record's value, if the plugin wants that, and says whether the plugin gets to see the record. A required
    /// plugin's record that it cannot judge is rejected here.
    pub(crate) fn admit(&self, needs: &Needs, lens: Option<&Lens>, row: usize, work: &mut Work<'_>) -> bool {
        let Some(value) = work.slots.view(row, work.batch).map(|view| view.value()) else {
            return false;
        };
        if needs.value_bytes_max.is_some_and(|max| value.is_some_and(|v| v.len() > max)) {
            if self.plugin.required {
                let text = "the value is larger than the plugin takes (value-max-bytes)";
                self.refuse(row, (VALUE_TOO_LARGE, text), work);
            }
            return false;
        }
        let Some(lens) = lens else {
            return true;
        };
        let known = work.slots.get(row).map(|slot| slot.doc).unwrap_or_default();
        let id = work.docs.read(known, value, lens);
        let unjudged = work.docs.get(id).and_then(|doc| doc.state(lens).unjudged());
        if let Some(slot) = work.slots.get_mut(row) {
            slot.doc = id;
        }
        match unjudged {
            Some(why) if self.plugin.required && !lens.fields.is_empty() => {
                self.refuse(row, why, work);
                false
            }
            _ => true,
        }
    }

    /// A reject by the host: what was not judged does not pass.
    fn refuse(&self, row: usize, (code, text): (&str, &str), work: &mut Work<'_>) {
        if let Some(slot) = work.slots.get_mut(row) {
            let (plugin, digest) = (self.plugin.name.clone(), self.plugin.digest.clone());
            slot.fate = Fate::Reject(Box::new(Reject { plugin, digest, code: code.into(), text: text.into() }));
        }
    }
}
