//! What a new chain would protect less than the one that serves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use strait_flow::ports::{Chain, ChainError};

use crate::api::effects::effect_names;
use crate::api::v0_1::exports::strait::plugin::transform::TopicPlan;
use crate::chain::PluginChain;
use crate::factory::HostChains;
use crate::load::Loaded;
use crate::text::clean;

/// Columns whose loss is a loss of sight, by the interface's numbers.
const SIGHTS: [(u32, &str); 6] =
    [(2, "timestamps"), (4, "keys"), (6, VALUES), (7, "states of values"), (14, "header names"), (16, "header values")];
const VALUES: &str = "values";
const ALL_HEADERS: &str = "all headers";
const THE_TOPIC: &str = "records";
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

/// What a plugin looks at in a topic, by names that can be told.
pub(crate) fn sights(plan: &TopicPlan) -> BTreeSet<String> {
    let Some(needs) = &plan.needs else {
        return BTreeSet::new();
    };
    let mut sights = BTreeSet::from([THE_TOPIC.to_owned()]);
    sights
        .extend(SIGHTS.iter().filter(|(column, _)| needs.columns.contains(column)).map(|(_, name)| (*name).to_owned()));
    sights.extend(needs.fields.iter().map(|field| format!("field {}", clean(field, 128))));
    if needs.all_headers {
        sights.insert(ALL_HEADERS.to_owned());
    } else {
        let header = |name: &Vec<u8>| format!("header {}", clean(&String::from_utf8_lossy(name), 128));
        sights.extend(needs.header_names.iter().map(header));
    }
    sights
}

/// Of what required plugins look at in these topics, what they would not look at any more. Blocks while instances start.
///
/// # Errors
/// [`ChainError`] of the new chain, which cannot serve then.
pub(crate) fn sights_lost(
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
        for (topic, seen) in before.sights(at) {
            let none = BTreeSet::new();
            let now = after.sights(next).find(|(other, _)| *other == topic).map_or(&none, |(_, seen)| seen);
            let covered = |sight: &String| {
                now.contains(sight)
                    || sight.starts_with("field ") && now.contains(VALUES)
                    || sight.starts_with("header ") && now.contains(ALL_HEADERS)
            };
            let mut missing: Vec<&str> = seen.iter().filter(|sight| !covered(sight)).map(String::as_str).collect();
            if missing.contains(&THE_TOPIC) {
                missing = vec![THE_TOPIC];
            }
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
