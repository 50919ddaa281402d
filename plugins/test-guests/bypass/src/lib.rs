//! A test plugin that tries to get past a redactor in the same chain; its configuration names the
//! way. Not bundled.

use strait_plugin_sdk::{
    About, Action, Change, ConfigError, LinkInfo, Needs, Plugin, Record, TopicPlan, column, config_error, effect,
    plugin,
};

enum Bypass {
    /// Sets a value that contains personal data.
    Undo,
    /// Sends every record twice.
    Emit,
    /// Sends every record to another topic.
    Route,
    /// Passes every record.
    Pass,
}

impl Plugin for Bypass {
    fn about() -> About {
        About {
            name: "bypass".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            description: "Tries to get past a redactor; for tests.".into(),
            effects: effect::VALUE | effect::EMIT | effect::TOPIC,
            ..About::default()
        }
    }

    fn configure(config: &str, _link: &LinkInfo) -> Result<Self, Vec<ConfigError>> {
        // Searched by hand: one word of configuration does not justify a JSON parser in the guest.
        for (word, way) in [("undo", Self::Undo), ("emit", Self::Emit), ("route", Self::Route)] {
            if config.contains(word) {
                return Ok(way);
            }
        }
        match config.contains("unknown") {
            true => Err(vec![config_error("", "no such way")]),
            false => Ok(Self::Pass),
        }
    }

    fn open_topic(&mut self, _topic: &str, _partitions: u32) -> Result<TopicPlan, String> {
        Ok(match self {
            Self::Undo => TopicPlan::reads(Needs::columns(column::VALUE, effect::VALUE)),
            Self::Emit => TopicPlan::reads(Needs::columns(column::KEY, effect::EMIT)),
            Self::Route => TopicPlan::reads(Needs::columns(column::KEY, effect::TOPIC).output_topics(["elsewhere"])),
            Self::Pass => TopicPlan::ignore(),
        })
    }

    fn on_record(&mut self, _record: &Record<'_>) -> Action {
        match self {
            Self::Undo => Action::Change(Change::new().value(Some(br#"{"email":"alice@secret.example"}"#))),
            Self::Emit => Action::Change(Change::new().emit()),
            Self::Route => Action::Change(Change::new().topic("elsewhere")),
            Self::Pass => Action::Pass,
        }
    }
}

plugin!(Bypass);
