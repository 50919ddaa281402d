//! What a new chain would protect less than the one that serves.

use std::collections::BTreeMap;
use std::sync::Arc;

use strait_flow::ports::{Chain, ChainError};

use crate::api::effects::effect_names;
use crate::chain::PluginChain;
use crate::factory::HostChains;
use crate::load::Loaded;

/// What is told of a long list.
const LOST_MAX: usize = 5;

/// In what `new` protects less than `old`, for people; empty where nothing is lost. A plugin that nobody requires may go: to
/// take it out of the configuration is the operator's word already. One that is required, or whose file does more than
/// before, needs a word of its own.
#[must_use]
pub(super) fn loosened(old: &HostChains, new: &HostChains) -> Vec<String> {
    let mut found = Vec::new();
    let (old, new) = (&old.set().plugins, &new.set().plugins);
    for (at, before) in old.iter().enumerate() {
        let Some(after) = counterpart(old, at, new) else {
            if before.required {
                found.push(format!("required plugin {} is not in the chain any more", before.name));
            }
            continue;
        };
        // Who pins or signs another file has looked at what that does; `required` is a word of the configuration.
        let vouched = after.is_vouched_change(before);
        if before.required && !after.required && !(vouched && before.manifest.fails_closed) {
            found.push(format!("plugin {} is not required any more (fails-closed)", after.name));
        }
        let more = after.manifest.effects & !before.manifest.effects;
        if more != 0 && !vouched {
            let effects = effect_names(more).join(", ");
            found.push(format!("plugin {} may do more than before: {effects}", after.name));
        }
    }
    found
}

/// Of what required plugins look at in these topics, what they would not look at any more. Blocks while instances start.
///
/// # Errors
/// [`ChainError`] of the new chain, which cannot serve then.
pub(crate) fn coverage_lost(
    old: &HostChains,
    new: &HostChains,
    topics: &BTreeMap<Arc<str>, u32>,
) -> Result<Vec<String>, ChainError> {
    if topics.is_empty() || old.set().plugins.iter().all(|plugin| !plugin.required) {
        return Ok(Vec::new());
    }
    let asked = |chains: &HostChains| -> Result<PluginChain, ChainError> {
        let mut chain = chains.plugin_chain()?;
        for (topic, partitions) in topics {
            chain.target_topic(topic, *partitions)?;
        }
        Ok(chain)
    };
    // One that cannot be asked any more has nothing to lose.
    let Ok(before) = asked(old) else { return Ok(Vec::new()) };
    let after = asked(new)?;
    let mut lost = Vec::new();
    for (at, plugin) in old.set().plugins.iter().enumerate().filter(|(_, plugin)| plugin.required) {
        // One that went is told apart from this.
        let Some(next) = counterpart(&old.set().plugins, at, &new.set().plugins) else { continue };
        if next.is_vouched_change(plugin) {
            continue;
        }
        let Some(next) = new.set().plugins.iter().position(|other| Arc::ptr_eq(other, next)) else { continue };
        for (topic, coverage) in before.coverage(at) {
            let now = after.coverage(next).find(|(other, _)| *other == topic).map(|(_, coverage)| coverage);
            let missing = coverage.missing_in(now);
            if !missing.is_empty() {
                lost.push(format!("plugin {} would not look at {} of topic {topic}", plugin.name, missing.join(", ")));
            }
        }
    }
    let more = lost.len().saturating_sub(LOST_MAX);
    lost.truncate(LOST_MAX);
    if more > 0 {
        lost.push(format!("and {more} more such"));
    }
    Ok(lost)
}

/// The plugin of the same name; of several, the one at the same place among them.
fn counterpart<'a>(old: &[Arc<Loaded>], at: usize, new: &'a [Arc<Loaded>]) -> Option<&'a Arc<Loaded>> {
    let name = &old.get(at)?.name;
    let nth = old.iter().take(at).filter(|plugin| plugin.name == *name).count();
    new.iter().filter(|plugin| plugin.name == *name).nth(nth)
}
