//! Drops test orders, redacts the customer's e-mail, routes by region.

use serde::Deserialize;
use strait_plugin_sdk::{
    About, Action, Change, ConfigError, LinkInfo, Needs, Plugin, Record, TopicPlan, column, config_error, effect, plugin,
};

/// Indexes of the requested fields in `Needs`.
const EMAIL: u32 = 0;
const REGION: u32 = 1;
const EFFECTS: u32 = effect::DROP | effect::FIELD | effect::TOPIC;

#[derive(Deserialize)]
struct Config {
    #[serde(default = "test_prefix")]
    test_prefix: String,
}

fn test_prefix() -> String {
    "test-".into()
}

struct TidyOrders {
    test_prefix: String,
}

impl Plugin for TidyOrders {
    fn about() -> About {
        About {
            name: "tidy-orders".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            description: "Drops test orders, redacts the customer's e-mail, routes by region".into(),
            config_schema: r#"{
                "type": "object",
                "properties": { "test_prefix": { "type": "string", "minLength": 1 } },
                "additionalProperties": false
            }"#
            .into(),
            effects: EFFECTS,
            // A plugin that redacts must not pass what it cannot read.
            fails_closed: true,
            ..About::default()
        }
    }

    fn configure(config: &str, _link: &LinkInfo) -> Result<Self, Vec<ConfigError>> {
        let config: Config = serde_json::from_str(config).map_err(|e| vec![config_error("", e.to_string())])?;
        Ok(Self { test_prefix: config.test_prefix })
    }

    fn open_topic(&mut self, topic: &str, _partitions: u32) -> Result<TopicPlan, String> {
        if !topic.starts_with("orders") {
            return Ok(TopicPlan::ignore());
        }
        let needs = Needs::columns(column::KEY, EFFECTS)
            .fields(["$.customer.email", "$.region"])
            .output_topics(["orders-eu", "orders-us"]);
        Ok(TopicPlan::reads(needs))
    }

    fn on_record(&mut self, record: &Record<'_>) -> Action {
        if record.key().is_some_and(|key| key.starts_with(self.test_prefix.as_bytes())) {
            return Action::Drop;
        }
        let mut change = Change::new();
        for email in record.field(EMAIL) {
            change = change.field(email.occurrence, br#""***""#);
        }
        match record.field_text(REGION).as_deref() {
            Some("eu") => change = change.topic("orders-eu"),
            Some("us") => change = change.topic("orders-us"),
            _ => {}
        }
        change.into()
    }
}

plugin!(TidyOrders);

#[cfg(test)]
mod tests {
    use super::*;
    use strait_plugin_sdk::testing::{TestRecord, Tester};

    #[test]
    fn the_e_mail_does_not_leave() {
        let record = TestRecord::new()
            .key(b"customer-1")
            .field(EMAIL, "/customer/email", r#""anna@example.com""#)
            .field(REGION, "/region", r#""eu""#);
        let mut tester = Tester::<TidyOrders>::new("{}").unwrap();
        assert_eq!(tester.process(&[record]).unwrap(), [r#"0 field 0 = "***""#, "0 topic = orders-eu"]);
    }
}
