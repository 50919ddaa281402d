//! How a new chain would protect less than the active one.

use std::collections::BTreeMap;
use std::sync::Arc;

use strait_core::protects::reordered;
use strait_flow::ports::{Chain, ChainError};

use crate::api::effects::effect_names;
use crate::chain::PluginChain;
use crate::factory::HostChains;
use crate::load::LoadedPlugin;

/// Entries of a long list that are reported.
const LOST_MAX: usize = 5;

/// Describes, for the operator, how `new` protects less than `old`; empty where nothing is lost.
/// Blocks while instances start.
///
/// # Errors
/// [`ChainError`]: the new chain cannot become active.
pub(super) fn loosened(
    old: &HostChains,
    new: &HostChains,
    topics: &BTreeMap<Arc<str>, u32>,
) -> Result<Vec<String>, ChainError> {
    compared(old, new, topics, LoadedPlugin::is_vouched_change)
}

/// Returns whether `new` protects at least as much as `old`, whoever vouches for its files: they
/// vouch for them to come, not to be gone back to.
pub(super) fn protects_as_much(old: &HostChains, new: &HostChains, topics: &BTreeMap<Arc<str>, u32>) -> bool {
    compared(old, new, topics, |_, _| false).is_ok_and(|losses| losses.is_empty())
}

/// `vouched` tells whether an operator has looked at what a plugin loses to the one before.
fn compared(
    old: &HostChains,
    new: &HostChains,
    topics: &BTreeMap<Arc<str>, u32>,
    vouched: fn(&LoadedPlugin, &LoadedPlugin) -> bool,
) -> Result<Vec<String>, ChainError> {
    let mut found = declarations_lost(old, new, vouched);
    found.extend(coverage_lost(old, new, topics, vouched)?);
    Ok(found)
}

/// Tells of required plugins with another file, for which nobody vouches. Of the same file the word
/// is taken for what it protects; another one could say the same and do nothing.
pub(super) fn unknown_files(old: &HostChains, new: &HostChains) -> Vec<String> {
    let (old, new) = (&old.set().plugins, &new.set().plugins);
    let mut found = Vec::new();
    for (at, before) in old.iter().enumerate().filter(|(_, before)| before.required) {
        let after = counterpart(old, at, new).filter(|after| after.required && after.is_unknown_file(before));
        found.extend(after.map(|after| {
            let (name, digest) = (&after.name, &after.digest);
            format!(
                "plugin {name} has another file, and what it protects is its own word (pin it with \
                 digest = \"{digest}\", or sign it)"
            )
        }));
    }
    found
}

/// Returns whether the chains differ in nothing but files that are pinned.
pub(super) fn is_vouched(old: &HostChains, new: &HostChains) -> bool {
    let (old, new) = (&old.set().plugins, &new.set().plugins);
    let is_agreed = |(before, after): (&Arc<LoadedPlugin>, &Arc<LoadedPlugin>)| {
        before.name == after.name && (after.is_same_as(before) || after.is_vouched_change(before))
    };
    old.len() == new.len() && old.iter().zip(new).all(is_agreed)
}

/// Compares what the plugins declare. A plugin that is not required may go: the operator has
/// already removed it from the configuration. A required one, or one whose file may do more than
/// before, needs a confirmation.
fn declarations_lost(
    old: &HostChains,
    new: &HostChains,
    vouched: fn(&LoadedPlugin, &LoadedPlugin) -> bool,
) -> Vec<String> {
    let mut found = Vec::new();
    let (old, new) = (&old.set().plugins, &new.set().plugins);
    for (at, before) in old.iter().enumerate() {
        let Some(after) = counterpart(old, at, new) else {
            if before.required {
                found.push(format!("required plugin {} is not in the chain any more", before.name));
            }
            continue;
        };
        // Whoever pins another file has looked at what it does; `required` is set in the
        // configuration.
        let vouched = vouched(after, before);
        if before.required && !after.required && !(vouched && before.manifest.fails_closed) {
            found.push(format!("plugin {} is not required any more (fails-closed)", after.name));
        }
        let more = after.manifest.effects & !before.manifest.effects;
        if more != 0 && !vouched {
            let effects = effect_names(more).join(", ");
            found.push(format!("plugin {} may do more than before: {effects}", after.name));
        }
        if after.is_older_than(before) && !vouched {
            let (now, until_now) = (&after.manifest.version, &before.manifest.version);
            found.push(format!("plugin {} is version {now} again, and was {until_now}", after.name));
        }
    }
    found
}

/// Compares what required plugins look at in these topics.
fn coverage_lost(
    old: &HostChains,
    new: &HostChains,
    topics: &BTreeMap<Arc<str>, u32>,
    vouched: fn(&LoadedPlugin, &LoadedPlugin) -> bool,
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
    let mut after = asked(new)?;
    let mut before = match asked(old) {
        Ok(before) => before,
        // It judged until now, so that nobody can say that nothing is lost.
        Err(error) => {
            return Ok(vec![format!("the active plugins do not start to be compared with ({})", error.reason)]);
        }
    };
    let mut lost = Vec::new();
    for (at, plugin) in old.set().plugins.iter().enumerate().filter(|(_, plugin)| plugin.required) {
        // A plugin that was removed is reported by its declarations.
        let Some(next) = counterpart(&old.set().plugins, at, &new.set().plugins) else { continue };
        if vouched(next, plugin) {
            continue;
        }
        let Some(next) = new.set().plugins.iter().position(|other| Arc::ptr_eq(other, next)) else { continue };
        for (topic, coverage) in before.coverage(at) {
            let now = after.coverage(next).find(|(other, _)| *other == topic).map(|(_, coverage)| coverage);
            let missing = coverage.missing_in(now);
            if !missing.is_empty() {
                lost.push(format!("plugin {}, topic {topic}: {}", plugin.name, missing.join(", ")));
            }
        }
    }
    for (topic, partitions) in topics {
        let turned = reordered(&before.protection(topic, *partitions)?, &after.protection(topic, *partitions)?);
        lost.extend(turned.iter().map(|turned| format!("topic {topic}: {turned}")));
    }
    let more = lost.len().saturating_sub(LOST_MAX);
    lost.truncate(LOST_MAX);
    if more > 0 {
        lost.push(format!("and {more} more"));
    }
    Ok(lost)
}

/// Returns the plugin of the same name; of several, the one at the same position among them.
fn counterpart<'a>(
    old: &[Arc<LoadedPlugin>],
    at: usize,
    new: &'a [Arc<LoadedPlugin>],
) -> Option<&'a Arc<LoadedPlugin>> {
    let name = &old.get(at)?.name;
    let nth = old.iter().take(at).filter(|plugin| plugin.name == *name).count();
    new.iter().filter(|plugin| plugin.name == *name).nth(nth)
}
