//! The counters of a configured plugin, checked.

use strait_core::text::clean;

use super::manifest::check_name;
use crate::api::options;
use crate::api::v0_2::exports::strait::plugin::transform::Ready;
use crate::error::LoadProblem;
use crate::guest::{COUNTERS_MAX, GuestLimits};

/// Bytes of the name of a rule.
const RULE_BYTES_MAX: usize = 64;

/// A counter of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counter {
    /// Its name. Counters of several rules may have the same.
    pub(crate) name: String,
    /// The rule that it is of; empty for the whole plugin.
    pub(crate) rule: String,
    /// It would be strange if nothing was ever counted.
    pub(crate) expected: bool,
}

/// Checks what a plugin gave when it was configured.
pub(super) fn check(ready: Ready, limits: &GuestLimits) -> Result<Vec<Counter>, LoadProblem> {
    options::check(&ready.options, &[]).map_err(LoadProblem::BadManifest)?;
    let counters_max = limits.counters_max.min(COUNTERS_MAX);
    if ready.counters.len() > counters_max {
        return Err(LoadProblem::BadManifest(format!("at most {counters_max} counters are allowed")));
    }
    let mut counters = Vec::new();
    for counter in ready.counters {
        check_name(&counter.name)?;
        if counter.rule.len() > RULE_BYTES_MAX {
            let message = format!("the rule of counter '{}' has more than {RULE_BYTES_MAX} bytes", counter.name);
            return Err(LoadProblem::BadManifest(message));
        }
        counters.push(Counter {
            name: counter.name,
            rule: clean(&counter.rule, RULE_BYTES_MAX),
            expected: counter.expected,
        });
    }
    Ok(counters)
}
