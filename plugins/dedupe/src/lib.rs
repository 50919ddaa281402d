//! Drops a record if a recent record of its partition has the same key, header or field.
//!
//! Whether a record is dropped depends only on the records of that many offsets before it, so after
//! a restart and a warm-up the plugin judges as before. The last record with the same identity
//! counts, dropped or not: of a value that repeats without a pause, one record passes.

use std::collections::{HashMap, VecDeque};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use strait_plugin_common::{
    by::{By, Found},
    tally::Tally,
};
use strait_plugin_sdk::{
    About, Action, ConfigError, Counter, LinkInfo, Needs, Plugin, Record, TopicPlan, column, config_error, counter,
    effect, plugin,
};

const SCHEMA: &str = include_str!("../config.schema.json");
/// Additional lookback, because records are not always in the order of their timestamps.
const DISORDER_MS: u64 = 600_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default = "key")]
    by: String,
    #[serde(default = "hundred_thousand")]
    records: u32,
    within_ms: Option<u64>,
}

fn key() -> String {
    "key".into()
}

fn hundred_thousand() -> u32 {
    100_000
}

/// Long enough that nobody finds two texts with the same hash.
type Identity = [u8; 16];

struct Dedupe {
    by: By,
    records: u32,
    within_ms: Option<u64>,
    /// Offset and timestamp of the last record with each identity.
    last: HashMap<Identity, (u64, i64)>,
    /// All identities, oldest first.
    order: VecDeque<(u64, Identity)>,
    dropped: Tally,
}

impl Dedupe {
    fn identity(&self, record: &Record<'_>) -> Option<Identity> {
        match self.by.find(record) {
            Found::Bytes(bytes) => Some(hash(0, &bytes)),
            Found::Json(source) => Some(hash(1, source)),
            Found::Nothing | Found::NotJudged => None,
        }
    }

    /// Forgets records that are too far back.
    fn forget_before(&mut self, offset: u64) {
        while let Some((at, identity)) = self.order.front().copied() {
            if offset.saturating_sub(at) <= u64::from(self.records) {
                return;
            }
            self.order.pop_front();
            if self.last.get(&identity).is_some_and(|(last, _)| *last == at) {
                self.last.remove(&identity);
            }
        }
    }
}

fn hash(kind: u8, bytes: &[u8]) -> Identity {
    let digest = Sha256::new().chain_update([kind]).chain_update(bytes).finalize();
    digest.first_chunk().copied().unwrap_or_default()
}

impl Plugin for Dedupe {
    fn about() -> About {
        About {
            name: "dedupe".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            description: "Drops records with the same key, header or field as a recent record of the partition".into(),
            config_schema: SCHEMA.into(),
            effects: effect::DROP,
            ..About::default()
        }
    }

    fn configure(config: &str, _link: &LinkInfo) -> Result<Self, Vec<ConfigError>> {
        let config: Config = serde_json::from_str(config).map_err(|e| vec![config_error("", e.to_string())])?;
        let by = By::parse(&config.by).map_err(|e| vec![config_error("/by", e)])?;
        let mut dedupe = Self {
            by,
            records: config.records,
            within_ms: config.within_ms,
            last: HashMap::new(),
            order: VecDeque::new(),
            dropped: Tally::default(),
        };
        // Reserved at once: if the memory limit is too low, the plugin reports it when the link
        // starts.
        let room = config.records as usize + 1;
        if dedupe.last.try_reserve(room).is_err() || dedupe.order.try_reserve(room).is_err() {
            let needs = "these do not fit into the plugin's memory, about 100 bytes each; raise limits.memory_mib_max";
            return Err(vec![config_error("/records", needs)]);
        }
        Ok(dedupe)
    }

    fn counters(&self) -> Vec<Counter> {
        vec![counter("dropped")]
    }

    fn open_topic(&mut self, _topic: &str, _partitions: u32) -> Result<TopicPlan, String> {
        let back_ms = self.within_ms.map_or(0, |within_ms| within_ms.saturating_add(DISORDER_MS));
        let needs = Needs::columns(&[], effect::DROP).and(column::OFFSET).lookback(self.records, back_ms);
        let needs = if self.within_ms.is_some() { needs.and(column::TIMESTAMP) } else { needs };
        Ok(TopicPlan::reads(self.by.needs(needs)).lenient_shapes())
    }

    fn on_record(&mut self, record: &Record<'_>) -> Action {
        let offset = record.offset();
        self.forget_before(offset);
        let Some(identity) = self.identity(record) else { return Action::Pass };
        let timestamp_ms = if self.within_ms.is_some() { record.timestamp_ms() } else { 0 };
        let before = self.last.insert(identity, (offset, timestamp_ms));
        self.order.push_back((offset, identity));
        let near =
            |before_ms: i64| self.within_ms.is_none_or(|within_ms| timestamp_ms.abs_diff(before_ms) <= within_ms);
        match before {
            Some((_, before_ms)) if near(before_ms) => {
                self.dropped.add();
                Action::Drop
            }
            _ => Action::Pass,
        }
    }

    fn end_batch(&mut self) {
        self.dropped.report(0);
    }
}

plugin!(Dedupe);

#[cfg(test)]
mod tests {
    use strait_plugin_sdk::testing::{TestRecord, Tester, take_counts};

    use super::*;

    fn passed(config: serde_json::Value, records: &[TestRecord]) -> Vec<usize> {
        Tester::<Dedupe>::new(&config.to_string()).unwrap().passed(records).unwrap()
    }

    fn keys(keys: &[&str]) -> Vec<TestRecord> {
        keys.iter().map(|key| TestRecord::new().key(*key)).collect()
    }

    #[test]
    fn a_repeat_within_the_lookback_is_dropped() {
        let records = keys(&["a", "b", "a", "c", "b", "a", "a"]);
        assert_eq!(passed(serde_json::json!({}), &records), [0, 1, 3]);
        assert_eq!(take_counts().last(), Some(&(0, 4)));
        // Offsets advance by two: a repeats after 4, b after 6, a after 6 and 2. The last record
        // with the same identity counts, dropped or not.
        assert_eq!(passed(serde_json::json!({"records": 4}), &records), [0, 1, 3, 4, 5]);
        assert_eq!(passed(serde_json::json!({"records": 1}), &records), [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn records_without_identity_pass_and_within_ms_bounds_the_distance() {
        let records = vec![TestRecord::new(), TestRecord::new(), TestRecord::new().key(""), TestRecord::new().key("")];
        assert_eq!(passed(serde_json::json!({}), &records), [0, 1, 2]);
        let at = |timestamp_ms: i64| TestRecord::new().key("k").timestamp_ms(timestamp_ms);
        let records = [at(10_000), at(10_500), at(11_600), at(11_000), at(13_000)];
        assert_eq!(passed(serde_json::json!({"within_ms": 1_000}), &records), [0, 2, 4]);
        for (config, place) in [(r#"{"by":"x"}"#, "/by"), (r#"{"records":"x"}"#, "")] {
            let problem = Tester::<Dedupe>::new(config).err().unwrap();
            assert!(problem.starts_with(&format!("{place}: ")), "{problem}");
        }
    }
}
