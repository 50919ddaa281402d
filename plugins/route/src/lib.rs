//! Sends records to topics or partitions by their key, a header or a field.

mod config;

use std::borrow::Cow;

use config::{Config, Rule};
use serde::Deserialize;
use strait_plugin_common::{
    by::{By, Found},
    hash::place,
    tally::Tally,
};
use strait_plugin_sdk::{
    About, Action, Change, ConfigError, Counter, LinkInfo, Needs, Plugin, Record, TopicPlan, config_error, counter,
    effect, plugin,
};
use strait_scheme::names::is_writable;

const SCHEMA: &str = include_str!("../config.schema.json");

const UNMATCHED: u32 = 0;
const NOT_JUDGED: u32 = 1;

struct Route {
    by: By,
    rule: Rule,
    default: Option<Place>,
    unmatched: Unmatched,
    /// Unmatched records in the current batch.
    without_place: Tally,
}

/// The destination of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// A topic name, in which `{topic}` stands for the record's own topic.
    Topic(String),
    /// A topic name that was made from data: nothing in it stands for anything.
    Made(String),
    Partition(u32),
    /// The partition that Kafka's hash of these bytes selects.
    Hash(Vec<u8>),
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Unmatched {
    Keep,
    Drop,
    #[default]
    Quarantine,
}

impl Rule {
    fn place(&self, found: &[u8], topic: &str) -> Option<Cow<'_, Place>> {
        match self {
            Self::Table(table) => table.get(found).map(Cow::Borrowed),
            Self::Topics(topics) => topics.get(place(found, topics.len() as u32) as usize).map(Cow::Borrowed),
            Self::Partitions => Some(Cow::Owned(Place::Hash(found.to_vec()))),
            Self::ToTopic(rewrite) => {
                let literal = |text: &str| config::in_topic(text, topic).into_owned();
                let name = rewrite.apply_with(std::str::from_utf8(found).ok()?, literal)?;
                Some(Cow::Owned(Place::Made(name)))
            }
            Self::ToPartition(rewrite) => {
                let number = rewrite.apply(std::str::from_utf8(found).ok()?)?;
                // A number that no Kafka partition can have does not match.
                let partition = number.parse().ok().filter(|n| i32::try_from(*n).is_ok())?;
                Some(Cow::Owned(Place::Partition(partition)))
            }
        }
    }
}

impl Place {
    /// Returns the edit; `None` if no link may write to a topic of the name.
    fn of(&self, topic: &str) -> Option<Action> {
        match self {
            Self::Topic(name) => to_topic(&config::in_topic(name, topic), topic),
            Self::Made(name) => to_topic(name, topic),
            Self::Partition(partition) => Some(Change::new().partition(*partition).into()),
            Self::Hash(bytes) => Some(Change::new().partition_by(bytes).into()),
        }
    }
}

fn to_topic(name: &str, own: &str) -> Option<Action> {
    // The record's own topic: it goes there anyway, to its own partition.
    if name == own {
        return Some(Action::Pass);
    }
    is_writable(name).then(|| Change::new().topic(name).into())
}

impl Route {
    fn without_place(&mut self, record: &Record<'_>, code: u32) -> Action {
        self.without_place.add();
        if let Some(action) = self.default.as_ref().and_then(|place| place.of(record.topic())) {
            return action;
        }
        match self.unmatched {
            Unmatched::Keep => Action::Pass,
            Unmatched::Drop => Action::Drop,
            // The reason leaves the value out: it may be personal data.
            Unmatched::Quarantine if code == NOT_JUDGED => {
                Action::Reject { code, reason: "the value is not one well-formed JSON document".into() }
            }
            Unmatched::Quarantine => Action::Reject { code, reason: "no destination matches the value".into() },
        }
    }
}

impl Plugin for Route {
    fn about() -> About {
        About {
            name: "route".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            description: "Sends records to topics or partitions by key, header or field".into(),
            config_schema: SCHEMA.into(),
            effects: effect::TOPIC | effect::PARTITION | effect::DROP | effect::REJECT,
            reject_codes: vec!["unmatched".into(), "not-judged".into()],
            ..About::default()
        }
    }

    fn configure(config: &str, _link: &LinkInfo) -> Result<Self, Vec<ConfigError>> {
        let config: Config = serde_json::from_str(config).map_err(|e| vec![config_error("", e.to_string())])?;
        config.route()
    }

    fn counters(&self) -> Vec<Counter> {
        vec![counter("unmatched")]
    }

    fn open_topic(&mut self, topic: &str, _partitions: u32) -> Result<TopicPlan, String> {
        let topics = self.rule.output_topics(self.default.as_ref(), topic);
        let mut effects = match self.rule.is_to_topic() {
            true => effect::TOPIC,
            false => effect::PARTITION,
        };
        effects |= match (&self.default, self.unmatched) {
            (Some(_), _) | (None, Unmatched::Keep) => 0,
            (None, Unmatched::Drop) => effect::DROP,
            (None, Unmatched::Quarantine) => effect::REJECT,
        };
        Ok(TopicPlan::reads(self.by.needs(Needs::columns(&[], effects).output_topics(topics))).lenient_shapes())
    }

    fn on_record(&mut self, record: &Record<'_>) -> Action {
        let found = self.by.find(record);
        let topic = record.topic();
        let place = match &found {
            Found::Bytes(bytes) => self.rule.place(bytes, topic),
            Found::Json(source) if self.rule.is_hash() => self.rule.place(source, topic),
            Found::Json(_) | Found::Nothing => None,
            Found::NotJudged => return self.without_place(record, NOT_JUDGED),
        };
        match place.and_then(|place| place.of(topic)) {
            Some(action) => action,
            None => self.without_place(record, UNMATCHED),
        }
    }

    fn end_batch(&mut self) {
        self.without_place.report(0);
    }
}

plugin!(Route);

#[cfg(test)]
mod tests;
