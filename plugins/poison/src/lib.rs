//! A plugin for tests: an ordinary guest in Rust that marks every record, and breaks on those whose key says so. Not bundled.

use std::hint::black_box;

use strait_plugin_sdk::{
    About, Action, Change, ConfigError, LinkInfo, Needs, Plugin, Record, TopicPlan, column, effect, plugin,
};

struct Poison;

impl Plugin for Poison {
    fn about() -> About {
        About {
            name: "poison".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            description: "Breaks on records whose key says so; for tests.".into(),
            effects: effect::HEADER,
            ..About::default()
        }
    }

    fn configure(_config: &str, _link: &LinkInfo) -> Result<Self, Vec<ConfigError>> {
        Ok(Self)
    }

    fn open_topic(&mut self, _topic: &str, _partitions: u32) -> Result<TopicPlan, String> {
        // The values too, as a plugin that does real work sees them.
        Ok(TopicPlan::reads(Needs::columns(&[column::KEY, column::VALUE].concat(), effect::HEADER)))
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
        Action::Change(Change::new().add_header(b"seen", Some(b"1")))
    }
}

plugin!(Poison);
