//! Transforms of records, which become plugins where they can.

use serde_json::{Map, Value, json};

use super::flows::Flow;
use super::properties::Property;

/// A transform or predicate: its properties by the rest of their names.
struct Parts(Vec<(String, Property)>);

impl Parts {
    fn get(&self, wanted: &str) -> Option<&Property> {
        self.0.iter().find(|(name, _)| name == wanted).map(|(_, property)| property)
    }

    /// Returns the class without its package and without the part of the record that it is for.
    fn class(&self) -> &str {
        let class = self.get("type").map_or("", |kind| kind.value.trim());
        class.rsplit('.').next().unwrap_or_default().split('$').next().unwrap_or_default()
    }
}

/// A transform in Strait's terms.
enum Made {
    /// A plugin.
    Plugin(Value),
    /// A pattern of `topics_exclude`.
    Excluded(String),
    /// Why there is none.
    Refused(String),
}

impl Flow<'_> {
    /// Transforms become plugins or exclusions, where they see the names that those see.
    pub(super) fn transforms(&mut self, link: &mut Map<String, Value>, is_identity: bool) {
        let Some(property) = self.get("transforms") else { return };
        let predicates = self.get("predicates").map(|predicates| predicates.list()).unwrap_or_default();
        let predicates: Vec<(String, Parts)> =
            predicates.into_iter().map(|name| (name.clone(), self.parts("predicates", &name))).collect();
        let mut plugins = Vec::new();
        for name in property.list() {
            let parts = self.parts("transforms", &name);
            let made = match parts.class() {
                "RegexRouter" => router(&parts, is_identity),
                "Filter" => filter(&parts, &predicates, is_identity),
                class => Made::Refused(format!(
                    "write what {class} does as a plugin: strait plugin new, or a rule of filter, redact, rename or route"
                )),
            };
            let (said, is_made) = match made {
                Made::Plugin(plugin) => {
                    let said = format!("plugin {}", plugin.get("plugin").and_then(Value::as_str).unwrap_or_default());
                    plugins.push(plugin);
                    (said, true)
                }
                Made::Excluded(pattern) => {
                    let said = format!("topics_exclude: '{pattern}'");
                    if let Some(excluded) = link.get_mut("topics_exclude").and_then(Value::as_array_mut) {
                        excluded.push(json!(pattern));
                    }
                    (said, true)
                }
                Made::Refused(why) => {
                    // A plugin that does not exist: without the transform the link would copy what
                    // it removes.
                    plugins.push(json!({ "plugin": format!("todo-{name}") }));
                    (why, false)
                }
            };
            for (_, property) in &parts.0 {
                match is_made {
                    true => self.report.option(property, &*said),
                    false => self.report.refuse(property, &*said),
                }
            }
        }
        for (_, property) in predicates.iter().flat_map(|(_, parts)| &parts.0) {
            self.report.note(property, "part of the transforms that name it");
        }
        self.report.note(&property, "each by its own lines");
        if !plugins.is_empty() {
            link.insert("plugins".to_owned(), Value::Array(plugins));
        }
    }

    fn parts(&self, kind: &str, name: &str) -> Parts {
        Parts(self.file.take_all(&format!("{}{kind}.{name}.", self.start)))
    }
}

fn router(parts: &Parts, is_identity: bool) -> Made {
    match (parts.get("regex"), parts.get("replacement"), parts.get("predicate")) {
        (Some(regex), Some(replacement), None) if is_identity => Made::Plugin(
            json!({ "plugin": "rename", "config": { "pattern": regex.value, "replacement": replacement.value } }),
        ),
        (_, _, Some(_)) => Made::Refused("plugin rename has no condition: write it by hand".to_owned()),
        _ => Made::Refused(
            "plugin rename sees the names of the source, before the prefix: write its pattern by hand".to_owned(),
        ),
    }
}

/// Records for which a filter's condition holds are left out; with `negate` all others.
fn filter(parts: &Parts, predicates: &[(String, Parts)], is_identity: bool) -> Made {
    let wanted = parts.get("predicate").map_or("", |property| property.value.trim());
    let is_negated = parts.get("negate").is_some_and(Property::is_true);
    let Some((_, predicate)) = predicates.iter().find(|(name, _)| name == wanted) else {
        return Made::Refused(format!("it names no predicate of the file ('{wanted}')"));
    };
    let rule = |condition: String| {
        let how = if is_negated { "keep" } else { "drop" };
        Made::Plugin(json!({ "plugin": "filter", "config": { how: condition } }))
    };
    match (predicate.class(), predicate.get("name"), predicate.get("pattern")) {
        ("RecordIsTombstone", ..) => rule("value == null".to_owned()),
        ("HasHeaderKey", Some(name), _) => {
            let name = name.value.trim().replace('\\', "\\\\").replace('\'', "\\'");
            rule(format!("'{name}' in header"))
        }
        ("TopicNameMatches", _, Some(pattern)) if is_identity && !is_negated => {
            Made::Excluded(pattern.value.trim().to_owned())
        }
        ("TopicNameMatches", ..) => Made::Refused(
            "it goes by the names on the target: write the source's names into topics or topics_exclude".to_owned(),
        ),
        (class, ..) => Made::Refused(format!("write the condition of {class} into a rule of plugin filter")),
    }
}
