//! The coverage of a required plugin: a reload must not reduce it silently.
//!
//! A guest of interface 0.1 makes no claims, so that all that is known is where it looks. Each
//! place counts by itself: a plugin that looks at all of the value may have stopped to redact a
//! field, and `$[*]` says nothing of a name.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use strait_core::json_path::Path;
use strait_core::protects::{Claim, Locator, Part, Protection, Unmade, loosened, read_claims};

use crate::api::options;
use crate::api::v0_2::exports::strait::plugin::transform::TopicPlan;
use crate::load::{LoadedPlugin, PluginSet};

/// Columns that are parts of records, by the interface's numbers.
const PARTS: [(u32, Part); 3] = [(2, Part::Timestamp), (4, Part::Key), (6, Part::Value)];
/// Columns that are none, with names for an operator.
const OTHERS: [(u32, &str); 3] = [(7, "states of values"), (14, "header names"), (16, "header values")];
/// Option of a plan: the claims of the plugin.
const PROTECTS: u32 = 1;

/// Stands for the reason why a claim is not made, which can quote the plugin.
const WITHHELD: &str = "withheld (reveal_messages = true in the link shows it)";

/// Reads claims, and those that this version does not know, which are not made.
fn claims(bytes: &[u8]) -> Result<(Vec<Claim>, Vec<Unmade>), String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "its claims are not UTF-8".to_owned())?;
    read_claims(text).map_err(|error| format!("its claims: {error}"))
}

/// Reports claims that are not made: once for a plugin of a generation, as there can be many for
/// each of many topics.
pub(super) fn report(unmade: &[Unmade], plugin: &LoadedPlugin, set: &PluginSet) {
    let Some(Unmade { index, why }) = unmade.first() else { return };
    if plugin.told_unmade.swap(true, Ordering::Relaxed) {
        return;
    }
    let why = if plugin.hides_data { WITHHELD } else { why.as_str() };
    tracing::warn!(
        link = set.link.link,
        plugin = &*plugin.name,
        generation = &*set.generation.0,
        claims = unmade.len(),
        index,
        why,
        "claims of a plugin are not known to this version and are not made; a newer version of Strait may know them"
    );
}

/// The parts of a topic's records that a plugin looks at, or its claims about them.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    /// It sees the topic at all.
    sees: bool,
    protection: Protection,
    others: BTreeSet<&'static str>,
}

impl Coverage {
    /// Reads the coverage from the plugin's plan for the topic, with the claims that are not made.
    /// Its claims stand for all that it looks at.
    ///
    /// # Errors
    /// Its claims, or the options of the plan, cannot be read.
    pub(super) fn of(plan: &TopicPlan) -> Result<(Self, Vec<Unmade>), String> {
        let claims = options::find(&plan.options, &[PROTECTS], PROTECTS)?.map(claims).transpose()?;
        let Some(needs) = &plan.needs else {
            return Ok((Self::default(), claims.map(|(_, unmade)| unmade).unwrap_or_default()));
        };
        if let Some((claims, unmade)) = claims {
            let protection = Protection { claims, ..Protection::default() };
            return Ok((Self { sees: true, protection, others: BTreeSet::new() }, unmade));
        }
        let asks = |column: &u32| needs.columns.contains(column);
        let mut sights: BTreeSet<Locator> =
            PARTS.iter().filter(|(column, _)| asks(column)).map(|(_, part)| Locator::of(part.clone())).collect();
        // A path that cannot be read is refused with the plan.
        sights.extend(needs.fields.iter().filter_map(|field| Path::parse(field).ok()).map(Locator::field));
        if needs.all_headers {
            sights.insert(Locator::of(Part::Headers));
        } else {
            let name = |name: &Vec<u8>| String::from_utf8_lossy(name).into_owned();
            sights.extend(needs.header_names.iter().map(|header| Locator::of(Part::Header(name(header).into()))));
        }
        let coverage = Self {
            sees: true,
            protection: Protection { sights, ..Protection::default() },
            others: OTHERS.iter().filter(|(column, _)| asks(column)).map(|(_, name)| *name).collect(),
        };
        Ok((coverage, Vec::new()))
    }

    /// Returns the protection that follows from it.
    pub(super) fn protection(&self) -> &Protection {
        &self.protection
    }

    /// Returns the ways in which `new` covers less, in words. `None` covers nothing.
    pub(crate) fn missing_in(&self, new: Option<&Self>) -> Vec<String> {
        let nothing = Self::default();
        let new = new.unwrap_or(&nothing);
        if self.sees && !new.sees {
            return vec!["records are not looked at any more".to_owned()];
        }
        let lost = loosened(&self.protection, &new.protection);
        let others = self.others.difference(&new.others).map(|name| format!("{name} are not looked at any more"));
        lost.iter().map(ToString::to_string).chain(others).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;
    use crate::guest::HostEngine;
    use crate::load::{ChainSpec, LinkInfo, PluginSource, PluginSpec, TopicNaming};

    /// The fields of all log lines.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            self.0.push_str(&format!("{field}={value:?} "));
        }
    }

    impl Subscriber for Lines {
        fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _span: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _span: &Id, _values: &Record<'_>) {}

        fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut line = Line(String::new());
            event.record(&mut line);
            if line.0.contains("not made") {
                self.0.lock().unwrap().push(line.0);
            }
        }

        fn enter(&self, _span: &Id) {}

        fn exit(&self, _span: &Id) {}
    }

    #[test]
    fn claims_that_are_not_made_are_told_once_and_not_quoted_unless_an_operator_reveals_them() {
        let (_, unmade) = claims(br#"[{"alice@example.org":1},{"alice":2}]"#).unwrap();
        assert!(unmade.len() == 2 && unmade[0].why.contains("alice"), "{}", unmade[0].why);
        for reveals in [false, true] {
            let mut plugin = PluginSpec::new("rename", PluginSource::Bundled("rename".into()), serde_json::Value::Null);
            plugin.config = serde_json::json!({ "prefix": "a." });
            plugin.show_guest_messages = reveals;
            let link = LinkInfo { link: "eu-to-us".into(), ..LinkInfo::default() };
            let spec = ChainSpec { plugins: vec![plugin], link, naming: TopicNaming::Identity };
            let set = PluginSet::load(&HostEngine::new().unwrap(), spec).unwrap();
            let lines = Lines::default();
            tracing::subscriber::with_default(lines.clone(), || {
                for unmade in [&[], &unmade[..], &unmade[..1]] {
                    report(unmade, &set.plugins[0], &set);
                }
            });
            let lines = lines.0.lock().unwrap();
            assert!(lines.len() == 1 && lines[0].contains("claims=2") && lines[0].contains("eu-to-us"), "{lines:?}");
            assert!(lines[0].contains("rename@") && lines[0].contains("alice") == reveals, "{lines:?}");
        }
    }
}
