//! Keeps a fraction of the records, always the same ones.

use serde::Deserialize;
use strait_plugin_common::{
    by::{By, Found},
    hash::salted,
    tally::Tally,
};
use strait_plugin_sdk::{
    About, Action, ConfigError, Counter, LinkInfo, Needs, Plugin, Record, TopicPlan, column, config_error, counter,
    effect, plugin,
};

const SCHEMA: &str = include_str!("../config.schema.json");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    fraction: f64,
    #[serde(default = "key")]
    by: String,
    #[serde(default)]
    salt: String,
    #[serde(default)]
    missing: Missing,
}

fn key() -> String {
    "key".into()
}

/// The action for records without the key, header or field.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Missing {
    #[default]
    Offset,
    Keep,
    Drop,
}

struct Sample {
    /// `None` means by offset.
    by: Option<By>,
    /// Records with a hash below this are kept; larger than the largest hash keeps all.
    below: u128,
    salt: Vec<u8>,
    missing: Missing,
    dropped: Tally,
}

impl Sample {
    fn keeps(&self, bytes: &[u8]) -> bool {
        u128::from(salted(&self.salt, bytes)) < self.below
    }

    fn by_offset(&self, record: &Record<'_>) -> bool {
        let mut place = [0; 12];
        place[..4].copy_from_slice(&record.partition().to_le_bytes());
        place[4..].copy_from_slice(&record.offset().to_le_bytes());
        self.keeps(&place)
    }

    fn needs_offset(&self) -> bool {
        self.by.is_none() || self.missing == Missing::Offset
    }
}

impl Plugin for Sample {
    fn about() -> About {
        About {
            name: "sample".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            description: "Keeps a fraction of the records, by key or offset, always the same ones".into(),
            config_schema: SCHEMA.into(),
            effects: effect::DROP,
            ..About::default()
        }
    }

    fn configure(config: &str, _link: &LinkInfo) -> Result<Self, Vec<ConfigError>> {
        let config: Config = serde_json::from_str(config).map_err(|e| vec![config_error("", e.to_string())])?;
        if !(0.0..=1.0).contains(&config.fraction) {
            return Err(vec![config_error("/fraction", "expected a number from 0 to 1")]);
        }
        let by = match config.by.as_str() {
            "offset" => None,
            by => Some(By::parse(by).map_err(|e| vec![config_error("/by", format!("{e}; or offset"))])?),
        };
        Ok(Self {
            by,
            // Exact enough: a double has 53 of the 64 bits.
            below: (config.fraction * 2_f64.powi(64)) as u128,
            salt: config.salt.into_bytes(),
            missing: config.missing,
            dropped: Tally::default(),
        })
    }

    fn counters(&self) -> Vec<Counter> {
        vec![counter("dropped")]
    }

    fn open_topic(&mut self, _topic: &str, _partitions: u32) -> Result<TopicPlan, String> {
        let mut needs = Needs::columns(&[], effect::DROP);
        if self.needs_offset() {
            needs = needs.and(column::OFFSET);
        }
        if let Some(by) = &self.by {
            needs = by.needs(needs);
        }
        Ok(TopicPlan::reads(needs).lenient_shapes())
    }

    fn on_record(&mut self, record: &Record<'_>) -> Action {
        let found = self.by.as_ref().map(|by| by.find(record));
        let keeps = match (&found, self.missing) {
            (Some(Found::Bytes(bytes)), _) => self.keeps(bytes),
            (Some(Found::Json(source)), _) => self.keeps(source),
            (None, _) | (Some(_), Missing::Offset) => self.by_offset(record),
            (Some(_), missing) => missing == Missing::Keep,
        };
        if keeps {
            return Action::Pass;
        }
        self.dropped.add();
        Action::Drop
    }

    fn end_batch(&mut self) {
        self.dropped.report(0);
    }
}

plugin!(Sample);

#[cfg(test)]
mod tests {
    use strait_plugin_sdk::testing::{TestRecord, Tester, take_counts};

    use super::*;

    fn kept(config: serde_json::Value, records: &[TestRecord]) -> Vec<usize> {
        Tester::<Sample>::new(&config.to_string()).unwrap().passed(records).unwrap()
    }

    #[test]
    fn about_the_fraction_is_kept_and_always_the_same_records() {
        let records: Vec<_> = (0..2_000).map(|n| TestRecord::new().key(format!("k{}", n % 1_000))).collect();
        let config = |fraction: f64| serde_json::json!({"fraction": fraction});
        let tenth = kept(config(0.1), &records);
        let of_keys = tenth.iter().filter(|index| **index < 1_000).count();
        assert!((70..=130).contains(&of_keys), "{of_keys}");
        assert!(tenth.iter().all(|index| tenth.contains(&((index + 1_000) % 2_000))), "a key is kept or is not");
        let half = kept(config(0.5), &records);
        assert!(tenth.iter().all(|index| half.contains(index)), "a larger fraction holds the smaller one");
        let salted = kept(serde_json::json!({"fraction": 0.1, "salt": "x"}), &records);
        assert!(salted != tenth && !salted.is_empty());
        assert_eq!((kept(config(0.0), &records).len(), kept(config(1.0), &records).len()), (0, 2_000));
        assert_eq!(take_counts().last(), Some(&(0, 2_000)));
        let by_offset = kept(serde_json::json!({"fraction": 0.1, "by": "offset"}), &records).len();
        assert!((140..=260).contains(&by_offset), "{by_offset}");
    }

    #[test]
    fn records_without_the_key_are_sampled_by_offset_unless_configured() {
        let records: Vec<_> = (0..100).map(|_| TestRecord::new()).collect();
        let by = |missing: &str| kept(serde_json::json!({"fraction": 0.5, "missing": missing}), &records).len();
        assert_eq!((by("keep"), by("drop")), (100, 0));
        assert!((25..=75).contains(&by("offset")));
        for (config, place) in [(r#"{"fraction":1.5}"#, "/fraction"), (r#"{"fraction":1,"by":"x"}"#, "/by"), ("{}", "")]
        {
            let problem = Tester::<Sample>::new(config).err().unwrap();
            assert!(problem.starts_with(&format!("{place}: ")), "{problem}");
        }
    }
}
