//! The coverage of a required plugin: a reload must not reduce it silently.

use std::collections::BTreeSet;

use crate::api::v0_1::exports::strait::plugin::transform::TopicPlan;
use crate::text::clean;

/// Columns whose loss is a loss of coverage, by the interface's numbers.
const COLUMNS: [(u32, &str); 6] =
    [(2, "timestamps"), (4, "keys"), (6, VALUES), (7, "states of values"), (14, "header names"), (16, "header values")];
const VALUES: &str = "values";
const ALL_HEADERS: &str = "all headers";
const THE_TOPIC: &str = "records";

/// The parts of a topic's records that a plugin looks at, by names for an operator.
#[derive(Debug, Default)]
pub(crate) struct Coverage(BTreeSet<String>);

impl Coverage {
    /// Reads the coverage from the plugin's plan for the topic.
    pub(super) fn of(plan: &TopicPlan) -> Self {
        let Some(needs) = &plan.needs else {
            return Self::default();
        };
        let mut names = BTreeSet::from([THE_TOPIC.to_owned()]);
        let columns = COLUMNS.iter().filter(|(column, _)| needs.columns.contains(column));
        names.extend(columns.map(|(_, name)| (*name).to_owned()));
        names.extend(needs.fields.iter().map(|field| format!("field {}", clean(field, 128))));
        if needs.all_headers {
            names.insert(ALL_HEADERS.to_owned());
        } else {
            let header = |name: &Vec<u8>| format!("header {}", clean(&String::from_utf8_lossy(name), 128));
            names.extend(needs.header_names.iter().map(header));
        }
        Self(names)
    }

    /// Returns the parts that `new` does not cover. `None` covers nothing.
    pub(crate) fn missing_in(&self, new: Option<&Self>) -> Vec<&str> {
        let none = BTreeSet::new();
        let new = new.map_or(&none, |new| &new.0);
        let covered = |name: &String| {
            new.contains(name)
                || name.starts_with("field ") && new.contains(VALUES)
                || name.starts_with("header ") && new.contains(ALL_HEADERS)
        };
        let missing: Vec<&str> = self.0.iter().filter(|name| !covered(name)).map(String::as_str).collect();
        if missing.contains(&THE_TOPIC) {
            return vec![THE_TOPIC];
        }
        missing
    }
}
