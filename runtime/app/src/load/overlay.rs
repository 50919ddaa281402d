//! Overrides from the environment: `STRAIT_LINKS__0__NAME=orders` sets `links[0].name`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use strait_core::config::structure::{Expected, Shape};
use strait_core::config::{Part, Path, Problem, Step, What, nearest};

const PREFIX: &str = "STRAIT_";

/// What the environment changed.
#[derive(Debug, Default)]
pub struct Overlay {
    /// Which variable set which place.
    pub set: BTreeMap<Path, String>,
    /// Variables that set nothing, or cannot.
    pub problems: Vec<(String, Problem)>,
}

/// Writes the overrides among `variables` into a tree.
pub fn overlay(tree: &mut Value, variables: &[(String, String)]) -> Overlay {
    let shape = Shape::default();
    let mut result = Overlay::default();
    let mut overrides: Vec<(Vec<&str>, &str, &str)> = variables
        .iter()
        .filter_map(|(name, value)| {
            let steps = name.strip_prefix(PREFIX)?.split("__").collect();
            Some((steps, name.as_str(), value.as_str()))
        })
        .collect();
    // By number, so that entry 9 is there before entry 10 is added.
    overrides.sort_by_key(|(steps, ..)| {
        let key = |step: &&str| (step.parse::<usize>().ok(), (*step).to_owned());
        steps.iter().map(key).collect::<Vec<_>>()
    });
    for (steps, variable, value) in overrides {
        match set(tree, &shape, &steps, variable, value) {
            Ok(at) => {
                result.set.insert(at, variable.to_owned());
            }
            Err(problem) => result.problems.push((variable.to_owned(), problem)),
        }
    }
    result
}

fn set(tree: &mut Value, shape: &Shape, steps: &[&str], variable: &str, value: &str) -> Result<Path, Problem> {
    let mut at = Path::default();
    let mut place = tree;
    for step in steps {
        let index = step.parse::<usize>().ok();
        if place.is_null() {
            // Not there yet: a list where the model has one.
            let list = index.is_some_and(|index| shape.expected(&at.index(index)) != Expected::Unknown);
            *place = if list { Value::Array(Vec::new()) } else { Value::Object(Map::new()) };
        }
        place = match place {
            Value::Array(items) => {
                let length = items.len();
                if index == Some(length) {
                    items.push(Value::Null);
                }
                let Some((index, item)) = index.and_then(|index| Some((index, items.get_mut(index)?))) else {
                    let text = format!(
                        "environment variable {variable}: this list has {length} entries, so {step} is none of it (the next is {length})"
                    );
                    return Err(problem(&at, What::Conflict(text)));
                };
                at.push_index(index);
                item
            }
            Value::Object(fields) => {
                let key = key(fields, shape, &at, step);
                at.push_key(&key);
                if at.steps().len() == 1 && shape.expected(&at) == Expected::Unknown {
                    return Err(stray(shape, variable, step));
                }
                fields.entry(key).or_insert(Value::Null)
            }
            _ => {
                let text =
                    format!("environment variable {variable} goes into a value that is neither a table nor a list");
                return Err(problem(&at, What::Conflict(text)));
            }
        };
    }
    *place = match shape.expected(&at) {
        Expected::Text => Value::String(value.to_owned()),
        // JSON where text is not wanted or not certain; what is not JSON stays text, and is judged as such.
        Expected::Other | Expected::Any | Expected::Unknown => {
            serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()))
        }
    };
    Ok(at)
}

fn problem(at: &Path, what: What) -> Problem {
    Problem { at: at.clone(), part: Part::Value, what }
}

fn stray(shape: &Shape, variable: &str, step: &str) -> Problem {
    let key = step.to_ascii_lowercase();
    let known = shape.keys(&Path::default());
    let what = What::StrayVariable {
        name: variable.to_owned(),
        nearest: nearest(&key, known.iter().map(String::as_str)),
        key,
    };
    problem(&Path::default(), what)
}

/// The key that a step means: one that is there, then one that can be. Variables have neither case nor `-` nor `.`.
fn key(fields: &Map<String, Value>, shape: &Shape, at: &Path, step: &str) -> String {
    let known = shape.keys(at);
    if let Some(key) = fields.keys().chain(&known).find(|key| folded(key) == folded(step)) {
        return key.clone();
    }
    let key = step.to_ascii_lowercase();
    match at.steps() {
        // librdkafka's properties have dots where variables have '_'.
        [Step::Key(clusters), _, Step::Key(kafka)] if clusters == "clusters" && kafka == "kafka" => {
            key.replace('_', ".")
        }
        _ => key,
    }
}

fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace(['-', '.'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn overlaid(mut tree: Value, variables: &[(&str, &str)]) -> (Value, Overlay) {
        let variables: Vec<_> = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let overlay = overlay(&mut tree, &variables);
        (tree, overlay)
    }

    #[test]
    fn variables_reach_lists_tables_and_dotted_properties() {
        let tree = json!({ "clusters": { "aws-eu": { "bootstrap_servers": "old" } }, "links": [{ "name": "x", "topics": ["a"] }] });
        let (tree, overlay) = overlaid(
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
        let codes: Vec<_> = overlay.problems.iter().map(|(name, p)| (name.as_str(), p.what.code())).collect();
        assert_eq!(codes, [("STRAIT_LINKS__10__NAME", "conflict"), ("STRAIT_SERVICE_HOST", "stray-variable")]);
        let name = Path::default().key("links").index(1).key("name");
        assert_eq!(overlay.set[&name], "STRAIT_LINKS__1__NAME");
    }
}
