//! The coverage of a required plugin: a reload must not reduce it silently.
//!
//! A guest of interface 0.1 makes no claims, so that all that is known is where it looks. Each
//! place counts by itself: a plugin that looks at all of the value may have stopped to redact a
//! field, and `$[*]` says nothing of a name.

use std::collections::BTreeSet;

use strait_core::json_path::Path;
use strait_core::protects::{Claim, Locator, Part, Protection, Unmade, loosened, read_claims};

use crate::api::options;
use crate::api::v0_2::exports::strait::plugin::transform::TopicPlan;

/// Columns that are parts of records, by the interface's numbers.
const PARTS: [(u32, Part); 3] = [(2, Part::Timestamp), (4, Part::Key), (6, Part::Value)];
/// Columns that are none, with names for an operator.
const OTHERS: [(u32, &str); 3] = [(7, "states of values"), (14, "header names"), (16, "header values")];
/// Option of a plan: the claims of the plugin.
const PROTECTS: u32 = 1;

/// Reads claims. One that this version does not know is not made.
fn claims(bytes: &[u8]) -> Result<Vec<Claim>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "its claims are not UTF-8".to_owned())?;
    let (claims, unmade) = read_claims(text).map_err(|error| format!("its claims: {error}"))?;
    for Unmade { index, why } in unmade {
        tracing::warn!(index, why, "a claim of a plugin is not known to this version and is not made");
    }
    Ok(claims)
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
    /// Reads the coverage from the plugin's plan for the topic. What it claims stands for what it
    /// looks at.
    ///
    /// # Errors
    /// Its claims, or the options of the plan, cannot be read.
    pub(super) fn of(plan: &TopicPlan) -> Result<Self, String> {
        let claims = options::find(&plan.options, &[PROTECTS], PROTECTS)?.map(claims).transpose()?;
        let Some(needs) = &plan.needs else {
            return Ok(Self::default());
        };
        if let Some(claims) = claims {
            let protection = Protection { claims, ..Protection::default() };
            return Ok(Self { sees: true, protection, others: BTreeSet::new() });
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
        Ok(Self {
            sees: true,
            protection: Protection { sights, ..Protection::default() },
            others: OTHERS.iter().filter(|(column, _)| asks(column)).map(|(_, name)| *name).collect(),
        })
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
