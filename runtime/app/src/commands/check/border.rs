//! Whether the border of the link's lanes lets its plugins come into force.

use std::collections::BTreeMap;
use std::sync::Arc;

use strait_core::LaneId;
use strait_core::progress::{Agreement, ChainBorder, HeldBorder, Judged};
use strait_flow::ports::{Chain as _, ProgressStore, SourceTopic};
use strait_host::HostChains;
use strait_kafka::KafkaProgressStore;

use super::steps::{Sides, TIMEOUT, shorten};
use super::{Outcome, Step};

/// Judges the plugins against what the lanes hold, as a run does.
pub async fn border(sides: &Sides<'_>, chains: &HostChains, names: &[(SourceTopic, Arc<str>)], steps: &mut Vec<Step>) {
    let name = format!("border of {}", sides.link.name);
    match judged(sides, chains, names).await {
        Ok(Some((outcome, text))) => steps.push(Step::new(name, outcome, text)),
        Ok(None) => {}
        Err(reason) => steps.push(Step::new(name, Outcome::Failed, reason)),
    }
}

/// Says what was compared and found to be no less than before, and what nobody can compare.
fn protects(chains: &HostChains, digest: &str) -> String {
    let chooses = |effects: &[&str]| effects.contains(&"drop") || effects.contains(&"reject");
    let choosing = chains.manifests().filter(|(_, manifest)| chooses(&manifest.effect_names));
    let choosing: Vec<&str> = choosing.map(|(name, _)| &**name).collect();
    let not_compared = match choosing.is_empty() {
        true => String::new(),
        false => format!(
            "; not compared: which records {} lets pass (a changed rule, also its opposite, counts as no less)",
            choosing.join(", ")
        ),
    };
    format!(
        "what the plugins say that they remove or change is at least as much as before (generation {digest}){not_compared}"
    )
}

/// Returns the outcome; nothing where neither the link nor its lanes have plugins.
async fn judged(
    sides: &Sides<'_>,
    chains: &HostChains,
    names: &[(SourceTopic, Arc<str>)],
) -> Result<Option<(Outcome, String)>, String> {
    let link = sides.link;
    let mut chain = chains.plugin_chain().map_err(|error| error.to_string())?;
    let mut protection = BTreeMap::new();
    for (topic, _) in names {
        let found = chain.protection(&topic.topic, topic.partitions.unsigned_abs());
        protection.insert(Arc::clone(&topic.topic), found.map_err(|error| error.to_string())?);
    }
    let accepts = link.accept.as_deref() == Some(&**chains.digest());
    let agreement = accepts.then(|| Agreement { why: Arc::default(), by: Arc::default() });
    let chain = ChainBorder { protection, agreement, ..chain.border() };
    let store = KafkaProgressStore::new(&sides.target.config, &link.name, TIMEOUT).committed_by_now();
    let (mut lane, mut lanes) = (LaneId(0), 1);
    let (mut has_border, mut losses) = (false, Vec::new());
    while lane.0 < lanes {
        let progress = store.read(lane).await.map_err(|error| error.to_string())?;
        let record = progress.lane.as_ref();
        lanes = lanes.max(record.map_or(0, |record| record.lanes));
        has_border |= record.is_some_and(|record| record.border.is_some());
        let found = match HeldBorder::of(&progress).judge(&chain, 0) {
            Judged::Passes(change) => change.loosened,
            Judged::Looser(losses) | Judged::TrialLooser(losses) => losses,
        };
        losses.extend(found.into_iter().map(|(topic, loosening)| format!("{loosening} (topic {topic}, lane {lane})")));
        lane = LaneId(lane.0 + 1);
    }
    let digest = &chain.generation;
    Ok(match (losses.is_empty(), accepts) {
        (true, _) if !chain.has_plugins && !has_border => None,
        (true, _) => Some((Outcome::Ok, protects(chains, digest))),
        (false, true) => {
            Some((Outcome::Warning, format!("accepted, although they protect less than before: {}", shorten(losses))))
        }
        (false, false) => Some((
            Outcome::Failed,
            format!(
                "the plugins protect less than before, so that nothing would be copied: {}; put them back, or agree with accept = \"{digest}\" in the link",
                shorten(losses)
            ),
        )),
    })
}
