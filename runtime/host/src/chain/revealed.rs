//! Finds plugins that would write into names of topics what a required plugin behind them removes.

use std::sync::Arc;

use strait_core::protects::{Claim, Locator, Protection};

use crate::api::effects::TOPIC;
use crate::load::LoadedPlugin;

/// Looks at the plugins of a chain in their order.
#[derive(Default)]
pub(super) struct Revealed {
    /// Plugins that choose topics by what they see, each with that.
    choosers: Vec<(Arc<str>, Vec<Locator>)>,
    /// The first fault.
    pub fault: Option<Fault>,
}

/// A plugin that would reveal what another one protects.
pub(super) struct Fault {
    /// Name of the plugin.
    pub by: Arc<str>,
    /// The fault: the field, whose it is, and the remedy.
    pub reason: String,
}

impl Revealed {
    /// Takes the next required plugin with its protection of the topic.
    pub(super) fn look(&mut self, plugin: &LoadedPlugin, own: &Protection) {
        if self.fault.is_none() {
            self.fault = self.choosers.iter().find_map(|(by, sights)| {
                let sight = sights.iter().find(|sight| own.claims.iter().any(|claim| protects(claim, sight)))?;
                let (name, by) = (&plugin.name, Arc::clone(by));
                let reason = format!(
                    "it chooses topics by {sight}, which plugin {name} behind it protects, and names of topics pass (residency = true): put it behind {name}, or choose by something else"
                );
                Some(Fault { by, reason })
            });
        }
        if plugin.manifest.effects & TOPIC != 0 {
            self.choosers.push((Arc::clone(&plugin.name), own.sights.iter().cloned().collect()));
        }
    }
}

/// Returns whether a claim is about something of this place.
fn protects(claim: &Claim, sight: &Locator) -> bool {
    claim.at.may_meet(sight) && !claim.except.iter().any(|kept| kept.covers(sight))
}
