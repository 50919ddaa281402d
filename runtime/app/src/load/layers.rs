//! The layers of a configuration, merged by figment: the file first, then each variable of the
//! environment.
//!
//! One rule holds at every depth: a table is merged into the table it overrides, entry by entry;
//! anything else, a whole list too, replaces what was there. figment merges tables but does not
//! reach into lists, so the layer of a variable that goes into a list carries that list, its one
//! entry merged by figment before.
//!
//! figment knows no line numbers: positions in the file are kept beside it, in
//! [`tree`](super::tree).

use std::collections::BTreeMap;

use figment::providers::Serialized;
use figment::value::{Dict, Map};
use figment::{Figment, Metadata, Profile, Provider};
use serde_json::Value;
use strait_core::config::structure::Shape;
use strait_core::config::{Path, Problem, Step};

use super::overrides;

/// One layer: a tree and the name of its origin.
struct Layer<'a> {
    name: String,
    tree: &'a Value,
}

impl Provider for Layer<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Serialized::defaults(self.tree).data()
    }
}

/// The merged layers.
#[derive(Debug)]
pub struct Merged {
    /// The configuration of all layers.
    pub tree: Value,
    /// The variable that set each entry.
    pub set: BTreeMap<Path, String>,
    /// Entries that a variable replaced as a whole: the file's positions inside of them are void.
    pub replaced: Vec<Path>,
    /// Variables that set nothing, each with the reason.
    pub problems: Vec<(String, Problem)>,
}

impl Merged {
    /// Records that a variable has set an entry and all that is in it.
    fn record(&mut self, at: &Path, value: &Value, variable: &str) {
        self.set.insert(at.clone(), variable.to_owned());
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, inner)| self.record(&at.key(key), inner, variable)),
            Value::Array(items) => {
                self.replaced.push(at.clone());
                items.iter().enumerate().for_each(|(index, item)| self.record(&at.index(index), item, variable));
            }
            // One text may stand for a list.
            _ => self.replaced.push(at.clone()),
        }
    }
}

/// Merges the overrides among `variables` into the tree of a file. A tree that is no table is
/// returned as it is.
///
/// # Errors
/// figment's, where a layer cannot be read back.
pub fn merge(file_name: &str, file: Value, variables: &[(String, String)]) -> Result<Merged, Box<figment::Error>> {
    let shape = Shape::default();
    let mut merged = Merged { tree: file, set: BTreeMap::new(), replaced: Vec::new(), problems: Vec::new() };
    if !merged.tree.is_object() {
        return Ok(merged);
    }
    let mut origin = file_name.to_owned();
    for variable in overrides::of_environment(variables) {
        match variable.resolve(&merged.tree, &shape) {
            Ok((at, value)) => {
                merged.record(&at, &value, variable.name);
                let layer = layer(Some(&merged.tree), at.steps(), value)?;
                merged.tree = merge_two((&origin, &merged.tree), (variable.name, &layer))?;
                origin = format!("{file_name} and the environment");
            }
            Err(problem) => merged.problems.push((variable.name.to_owned(), problem)),
        }
    }
    Ok(merged)
}

fn merge_two(below: (&str, &Value), above: (&str, &Value)) -> Result<Value, Box<figment::Error>> {
    let layer = |(name, tree): (&str, &Value)| Figment::from(Layer { name: name.to_owned(), tree });
    layer(below).merge(layer(above)).extract().map_err(Box::new)
}

/// Returns the layer that sets one entry of `tree`: `value` inside of the tables and lists around
/// it.
fn layer(tree: Option<&Value>, steps: &[Step], value: Value) -> Result<Value, Box<figment::Error>> {
    let Some((step, rest)) = steps.split_first() else { return Ok(value) };
    match step {
        Step::Key(key) => {
            let inner = layer(tree.and_then(|tree| tree.get(key)), rest, value)?;
            Ok(Value::Object(serde_json::Map::from_iter([(key.clone(), inner)])))
        }
        Step::Index(index) => {
            let mut items = tree.and_then(Value::as_array).cloned().unwrap_or_default();
            let inner = layer(items.get(*index), rest, value)?;
            match items.get_mut(*index) {
                Some(item) if item.is_object() && inner.is_object() => {
                    *item = merge_two(("a list's entry", &*item), ("the environment", &inner))?;
                }
                Some(item) => *item = inner,
                None => items.push(inner),
            }
            Ok(Value::Array(items))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use strait_core::config::Part;

    use super::*;

    fn merged(file: Value, variables: &[(&str, &str)]) -> Merged {
        let variables: Vec<_> = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        merge("f.toml", file, &variables).unwrap()
    }

    #[test]
    fn a_table_is_merged_entry_by_entry_also_inside_of_lists_and_all_else_is_replaced() {
        let plugin = json!({ "plugin": "p", "config": { "x": 1, "in": { "a": 1, "b": [1, 2] } } });
        let file = json!({
            "clusters": { "a": { "bootstrap_servers": "a", "kafka": { "x": "1", "y": "2" } } },
            "links": [{ "name": "l", "topics": ["t", "u"], "plugins": [plugin] }],
        });
        let merged = merged(
            file,
            &[
                ("STRAIT_CLUSTERS__A__KAFKA", r#"{"x":"9"}"#),
                ("STRAIT_LINKS__0__TOPICS", r#"["v"]"#),
                ("STRAIT_LINKS__0__PLUGINS__0__CONFIG", r#"{"x":2.5,"in":{"b":[3]}}"#),
                ("STRAIT_LINKS__0__PLUGINS__0__CONFIG__IN__C", "null"),
            ],
        );
        let plugin = json!({ "plugin": "p", "config": { "x": 2.5, "in": { "a": 1, "b": [3], "c": null } } });
        assert_eq!(
            merged.tree,
            json!({
                "clusters": { "a": { "bootstrap_servers": "a", "kafka": { "x": "9", "y": "2" } } },
                "links": [{ "name": "l", "topics": ["v"], "plugins": [plugin] }],
            })
        );
        let config = Path::default().key("links").index(0).key("plugins").index(0).key("config");
        assert_eq!(merged.set[&config.key("in").key("b").index(0)], "STRAIT_LINKS__0__PLUGINS__0__CONFIG");
        assert!(!merged.set.contains_key(&config.key("in").key("a")), "the file's own entries stay the file's");
    }

    #[test]
    fn values_keep_their_types_and_a_root_that_is_no_table_stays() {
        let file = json!({ "admin": { "listen": null }, "log": 1, "links": [1, 2.5, "t", -7, true] });
        assert_eq!(merged(file.clone(), &[("STRAIT_LOG", "\"x\"")]).tree["links"], file["links"]);
        assert_eq!(merged(json!([1]), &[("STRAIT_LOG", "1")]).tree, json!([1]));
    }

    #[test]
    fn variables_reach_lists_tables_and_dotted_properties() {
        let tree = json!({ "clusters": { "aws-eu": { "bootstrap_servers": "old" } }, "links": [{ "name": "x", "topics": ["a"] }] });
        let Merged { tree, set, problems, .. } = merged(
            tree,
            &[
                ("STRAIT_LINKS__10__NAME", "gap"),
                ("STRAIT_LINKS__1__NAME", "007"),
                ("STRAIT_LINKS__1__TOPICS__0", "b"),
                ("STRAIT_LINKS__0__TOPICS", r#"["c", "d,e"]"#),
                ("STRAIT_LINKS__0__LANES", "3"),
                ("STRAIT_LINKS__0__PLUGINS__0__PLUGIN", "redact"),
                ("STRAIT_LINKS__0__PLUGINS__0__CONFIG__RULES__0__KEY", "true"),
                ("STRAIT_CLUSTERS__AWS_EU__BOOTSTRAP_SERVERS", "new"),
                ("STRAIT_CLUSTERS__AWS_EU__KAFKA__SASL_PASSWORD", "5"),
                ("STRAIT_CLUSTERS__GCP__INSECURE", "true"),
                ("STRAIT_SERVICE_HOST", "10.0.0.1"),
                ("STRAIT_PLUGIN_TOOLS", "/tools"),
                ("UNRELATED", "x"),
            ],
        );
        assert_eq!(
            tree,
            json!({
                "clusters": {
                    "aws-eu": { "bootstrap_servers": "new", "kafka": { "sasl.password": "5" } },
                    "gcp": { "insecure": true },
                },
                "links": [
                    {
                        "name": "x", "topics": ["c", "d,e"], "lanes": 3,
                        "plugins": [{ "plugin": "redact", "config": { "rules": [{ "key": true }] } }],
                    },
                    { "name": "007", "topics": ["b"] },
                ],
            })
        );
        let codes: Vec<_> = problems.iter().map(|(name, p)| (name.as_str(), p.what.code())).collect();
        assert_eq!(codes, [("STRAIT_LINKS__10__NAME", "conflict"), ("STRAIT_SERVICE_HOST", "stray-variable")]);
        let name = Path::default().key("links").index(1).key("name");
        assert_eq!(set[&name], "STRAIT_LINKS__1__NAME");
    }

    #[test]
    fn the_file_has_no_positions_inside_of_a_list_that_a_variable_replaces() {
        let links = Path::default().key("links");
        let name = links.index(0).key("name");
        let mut places = super::super::tree::Places::default();
        places.set_value(&links, 0..9);
        places.set_value(&name, 3..4);
        let merged = merged(json!({ "links": [{ "name": "a" }] }), &[("STRAIT_LINKS", r#"[{ "source": "b" }]"#)]);
        assert_eq!(merged.replaced.first(), Some(&links));
        merged.replaced.iter().for_each(|list| places.forget_inside(list));
        assert_eq!(places.find(&name, Part::Value), None);
        assert_eq!(places.find(&links, Part::Value), Some(0..9));
    }
}
