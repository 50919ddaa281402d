//! Keeps or drops records by a CEL expression or a simple rule. Requests only what the rule reads.

mod calculate;
mod case;
mod code;
mod compile;
mod config;
mod function;
mod node;
mod number;
mod shared;
mod time;
mod trouble;
mod val;
mod work;

use case::{Case, Missing};
use config::{Config, Verdict};
use node::{Node, Reads};
use strait_plugin_common::tally::Tally;
use strait_plugin_sdk::{
    About, Action, ConfigError, Counter, LinkInfo, Plugin, Record, TopicPlan, config_error, counter, demands_residency,
    effect, plugin,
};
use trouble::Trouble;
use work::Work;

const SCHEMA: &str = include_str!("../config.schema.json");

struct Filter {
    rule: Node,
    reads: Reads,
    /// Whether matching records continue, or all others.
    keeps: bool,
    unmatched: Verdict,
    tombstones: Verdict,
    missing: Missing,
    /// A value in which a path meets another shape is not judged; otherwise its field is missing.
    strict_shapes: bool,
    dropped: Tally,
}

impl Filter {
    fn reject(trouble: Trouble) -> Action {
        // The reason leaves the value out: it may contain personal data.
        let (code, reason) = match trouble {
            Trouble::NotJudged => (
                0,
                "the value is not one well-formed JSON document, a name on the path occurs twice, or the path meets \
                     another shape",
            ),
            Trouble::Tombstone => (0, "the record has no value"),
            Trouble::Evaluation => {
                (1, "the expression has no result: incompatible types, a number out of range, or a missing field")
            }
            Trouble::TooMuch => (1, "the expression takes too many steps for this record"),
        };
        Action::Reject { code, reason: reason.into() }
    }
}

impl Plugin for Filter {
    fn about() -> About {
        About {
            name: "filter".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            description: "Keeps or drops records by an expression over key, headers, JSON fields, time and place"
                .into(),
            config_schema: SCHEMA.into(),
            effects: effect::DROP | effect::REJECT,
            reject_codes: vec!["not-judged".into(), "evaluation".into()],
            ..About::default()
        }
    }

    fn configure(config: &str, link: &LinkInfo) -> Result<Self, Vec<ConfigError>> {
        let config: Config = serde_json::from_str(config).map_err(|e| vec![config_error("", e.to_string())])?;
        let residency = demands_residency(link);
        let (missing, tombstones) = (config.missing(residency), config.tombstones(residency));
        let (rule, keeps, at) = match (config.keep, config.drop) {
            (Some(rule), None) => (rule, true, "/keep"),
            (None, Some(rule)) => (rule, false, "/drop"),
            _ => return Err(vec![config_error("", "expected either keep or drop")]),
        };
        let (rule, reads) = rule.compile(at, missing).map_err(|e| vec![e])?;
        Ok(Self {
            rule,
            reads,
            keeps,
            unmatched: config.unmatched,
            tombstones,
            missing,
            strict_shapes: residency && missing == Missing::Error,
            dropped: Tally::default(),
        })
    }

    fn counters(&self) -> Vec<Counter> {
        vec![counter("dropped")]
    }

    fn open_topic(&mut self, _topic: &str, _partitions: u32) -> Result<TopicPlan, String> {
        let plan = TopicPlan::reads(self.reads.needs(effect::DROP | effect::REJECT));
        Ok(if self.strict_shapes { plan } else { plan.lenient_shapes() })
    }

    fn on_record(&mut self, record: &Record<'_>) -> Action {
        let case = Case {
            record: Some(record),
            missing: self.missing,
            tombstones: self.reads.tombstones,
            fields: self.reads.fields(),
            work: Work::new(),
        };
        let (verdict, trouble) = match self.rule.judge(&case) {
            Ok(matches) if matches == self.keeps => return Action::Pass,
            Ok(_) => (Verdict::Drop, None),
            Err(Trouble::Tombstone) => (self.tombstones, Some(Trouble::Tombstone)),
            Err(trouble) => (self.unmatched, Some(trouble)),
        };
        match (verdict, trouble) {
            (Verdict::Keep, _) => Action::Pass,
            (Verdict::Reject, Some(trouble)) => Self::reject(trouble),
            _ => {
                self.dropped.add();
                Action::Drop
            }
        }
    }

    fn end_batch(&mut self) {
        self.dropped.report(0);
    }
}

plugin!(Filter);

#[cfg(test)]
mod tests;
