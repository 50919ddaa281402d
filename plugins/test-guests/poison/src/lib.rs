//! A test plugin in Rust that marks every record and breaks on keys that begin with `panic` or
//! `spin`. With `{"lookback": N}` it is stateful: a header lists the keys of the previous N
//! offsets. Not bundled.

use std::collections::VecDeque;
use std::hint::black_box;

use strait_plugin_sdk::{
    About, Action, Change, ConfigError, LinkInfo, Needs, Plugin, Record, TopicPlan, column, config_error, effect,
    plugin,
};

#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Poison {
    lookback: u32,
    #[serde(skip)]
    seen: VecDeque<(u64, Vec<u8>)>,
}

impl Poison {
    /// Returns the keys of the previous `lookback` offsets, then adds this record's.
    fn before(&mut self, offset: u64, key: &[u8]) -> Vec<u8> {
        while self.seen.front().is_some_and(|(at, _)| at + u64::from(self.lookback) < offset) {
            self.seen.pop_front();
        }
        let keys: Vec<&[u8]> = self.seen.iter().map(|(_, key)| key.as_slice()).collect();
        let before = keys.join(&b',');
        self.seen.push_back((offset, key.to_vec()));
        before
    }
}

impl Plugin for Poison {
    fn about() -> About {
        About {
            name: "poison".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            description: "Breaks on keys that ask for it; for tests.".into(),
            effects: effect::HEADER,
            ..About::default()
        }
    }

    fn configure(config: &str, _link: &LinkInfo) -> Result<Self, Vec<ConfigError>> {
        serde_json::from_str(config).map_err(|e| vec![config_error("", e.to_string())])
    }

    fn open_topic(&mut self, _topic: &str, _partitions: u32) -> Result<TopicPlan, String> {
        // The values too, as a plugin that does real work sees them.
        let needs = Needs::columns(&[column::KEY, column::VALUE].concat(), effect::HEADER);
        if self.lookback == 0 {
            return Ok(TopicPlan::reads(needs));
        }
        Ok(TopicPlan::reads(needs.and(column::OFFSET).lookback(self.lookback, 0)))
    }

    fn on_record(&mut self, record: &Record<'_>) -> Action {
        let key = record.key().unwrap_or_default();
        if key.starts_with(b"panic") {
            panic!("a record with the key {}", String::from_utf8_lossy(key));
        }
        if key.starts_with(b"spin") {
            let mut turns = 0_u64;
            while black_box(turns) != u64::MAX {
                turns = black_box(turns).wrapping_add(2);
            }
        }
        let change = Change::new().add_header(b"seen", Some(b"1"));
        if self.lookback == 0 {
            return Action::Change(change);
        }
        let before = self.before(record.offset(), key);
        Action::Change(change.add_header(b"before", Some(&before)))
    }
}

plugin!(Poison);
