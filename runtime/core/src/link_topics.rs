//! The topics that a link keeps for itself on the target: the settings that they need, and the harm
//! of others.

use std::collections::BTreeMap;

use crate::books::OPERATE_PARTITIONS;
use crate::control::control_topic;
use crate::progress::{map_topic, operate_topic, progress_topic, quarantine_topic};

/// Bytes that the marker of one transaction takes in a log.
const MARKER_BYTES: u64 = 81;
/// Most transactions a second of a lane without a backlog.
const TRANSACTIONS_PER_S: u64 = 40;

/// A topic of a link on its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkTopic {
    /// The positions. One partition per lane.
    Progress,
    /// The offset map. One partition per lane.
    Map,
    /// For the books, and for what processes tell each other. Nothing writes the latter yet.
    Operate,
    /// For the coordinator of the link. One partition.
    Control,
}

/// A setting that a topic should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    name: &'static str,
    value: Value,
    /// Without it the link must not run.
    is_needed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Text(&'static str),
    /// At most this number.
    Most(u64),
    /// At least this number, or -1 for no limit.
    Least(i64),
}

/// The faults of a topic that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFaults {
    /// The link must not run with the topic as it is.
    pub is_fatal: bool,
    /// The faults, their harm, and the arguments of the command that mends them.
    pub text: String,
}

impl Value {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text.to_owned(),
            Self::Most(number) => number.to_string(),
            Self::Least(number) => number.to_string(),
        }
    }

    fn is_met(self, found: &str) -> bool {
        match self {
            Self::Text(text) => text == found,
            Self::Most(most) => found.parse::<u64>().is_ok_and(|found| found <= most),
            Self::Least(least) => {
                found.parse::<i64>().is_ok_and(|found| found == -1 || (least != -1 && found >= least))
            }
        }
    }
}

const fn wanted(name: &'static str, value: Value, is_needed: bool) -> Wanted {
    Wanted { name, value, is_needed }
}

impl LinkTopic {
    /// All topics of a link.
    pub const ALL: [Self; 4] = [Self::Progress, Self::Map, Self::Operate, Self::Control];

    /// Returns the name of the topic.
    #[must_use]
    pub fn name(self, link: &str) -> String {
        match self {
            Self::Progress => progress_topic(link),
            Self::Map => map_topic(link),
            Self::Operate => operate_topic(link),
            Self::Control => control_topic(link),
        }
    }

    /// Returns the number of partitions that the topic needs.
    #[must_use]
    pub fn partitions(self, lanes: u32) -> u32 {
        match self {
            Self::Progress | Self::Map => lanes,
            Self::Operate => OPERATE_PARTITIONS,
            Self::Control => 1,
        }
    }

    /// Returns the settings; `map_retention_ms` is -1 to keep the map for ever.
    ///
    /// Each transaction leaves a marker in a compacted topic, which every take reads. The cleaner
    /// removes it `delete.retention.ms` after it has cleaned the segment, and never from the last
    /// segment.
    fn wanted(self, map_retention_ms: i64) -> Vec<Wanted> {
        let compacted = |timestamps, is_needed| {
            vec![
                wanted("cleanup.policy", Value::Text("compact"), is_needed),
                wanted("segment.bytes", Value::Most(4 << 20), false),
                wanted("delete.retention.ms", Value::Most(60_000), false),
                wanted("max.compaction.lag.ms", Value::Most(3_600_000), false),
                wanted("message.timestamp.type", Value::Text(timestamps), false),
            ]
        };
        match self {
            Self::Progress => compacted("CreateTime", true),
            Self::Control => compacted("CreateTime", false),
            Self::Operate => compacted("LogAppendTime", false),
            Self::Map => vec![
                wanted("cleanup.policy", Value::Text("delete"), true),
                wanted("retention.ms", Value::Least(map_retention_ms), false),
                wanted("retention.bytes", Value::Least(-1), false),
                wanted("message.timestamp.type", Value::Text("CreateTime"), false),
            ],
        }
    }

    /// Returns the settings to create the topic with.
    #[must_use]
    pub fn settings(self, map_retention_ms: i64) -> Vec<(&'static str, String)> {
        self.wanted(map_retention_ms).into_iter().map(|wanted| (wanted.name, wanted.value.text())).collect()
    }

    /// Returns the names of the settings that the topic can do without, the most dispensable first.
    #[must_use]
    pub fn dispensable(self) -> &'static [&'static str] {
        match self {
            Self::Progress | Self::Operate | Self::Control => {
                &["segment.bytes", "delete.retention.ms", "max.compaction.lag.ms", "message.timestamp.type"]
            }
            Self::Map => &["retention.bytes", "message.timestamp.type"],
        }
    }

    /// Judges the settings of a topic that exists, on the cluster with these bootstrap servers.
    /// Those that the cluster does not report are taken for right.
    #[must_use]
    pub fn faults(
        self,
        (link, servers): (&str, &str),
        found: &BTreeMap<String, String>,
        map_retention_ms: i64,
    ) -> Option<TopicFaults> {
        let harm = |setting: &str, found: &str| self.harm(setting, found);
        faults(self.wanted(map_retention_ms), (&self.name(link), servers), found, &harm)
    }

    fn harm(self, setting: &str, found: &str) -> String {
        match (self, setting) {
            (Self::Progress, "cleanup.policy") => {
                "the positions of partitions at rest would expire, and they would be copied again or skipped".to_owned()
            }
            (Self::Map, "cleanup.policy") => "only the newest commit of each partition would stay mapped".to_owned(),
            (Self::Map, "retention.ms" | "retention.bytes") => {
                "offsets are forgotten earlier than the records that they map".to_owned()
            }
            (Self::Control, "cleanup.policy") => {
                "what the coordinator knows of the topics is forgotten, or never is what it knew before".to_owned()
            }
            (Self::Control, _) => "the processes of the link read more than they need when they begin".to_owned(),
            (_, "delete.retention.ms") => {
                let kept = found.parse::<u64>().unwrap_or(u64::MAX) / 1_000;
                let bytes = kept.saturating_mul(TRANSACTIONS_PER_S * MARKER_BYTES);
                format!("with {TRANSACTIONS_PER_S} transactions a second, taking a lane reads {}", mib(bytes))
            }
            (_, "segment.bytes") => {
                format!("taking a lane reads up to {} more", mib(found.parse().unwrap_or(u64::MAX)))
            }
            (_, "max.compaction.lag.ms") => "taking a lane reads records that are replaced for long".to_owned(),
            (Self::Operate, "message.timestamp.type") => "its times are those of the processes".to_owned(),
            (Self::Operate, "cleanup.policy") => "records in quarantine are forgotten, or never are".to_owned(),
            _ => "the times of its records are not those of the commits".to_owned(),
        }
    }
}

fn faults(
    wanted: Vec<Wanted>,
    (name, servers): (&str, &str),
    found: &BTreeMap<String, String>,
    harm: &dyn Fn(&str, &str) -> String,
) -> Option<TopicFaults> {
    let wrong: Vec<(Wanted, &str)> = wanted
        .into_iter()
        .filter_map(|wanted| Some((wanted, found.get(wanted.name)?.as_str())))
        .filter(|(wanted, found)| !wanted.value.is_met(found))
        .collect();
    let is_fatal = wrong.iter().any(|(wanted, _)| wanted.is_needed);
    let harms = wrong.iter().map(|(wanted, found)| {
        let setting = wanted.name;
        format!("{setting} is {found} ({})", harm(setting, found))
    });
    let harms = harms.collect::<Vec<_>>().join("; ");
    let configs = wrong.iter().map(|(wanted, _)| format!("{}={}", wanted.name, wanted.value.text()));
    let configs = configs.collect::<Vec<_>>().join(",");
    let text = format!(
        "{harms}: kafka-configs.sh --bootstrap-server {servers} --alter --entity-type topics --entity-name {name} --add-config {configs}"
    );
    (!wrong.is_empty()).then_some(TopicFaults { is_fatal, text })
}

/// Refused records wait for a person, so they must not expire.
const QUARANTINE: [Wanted; 3] = [
    wanted("cleanup.policy", Value::Text("delete"), false),
    wanted("retention.ms", Value::Least(-1), false),
    wanted("retention.bytes", Value::Least(-1), false),
];

/// Returns the settings to create a quarantine topic with, those that decide how long records live.
#[must_use]
pub fn quarantine_settings() -> Vec<(&'static str, String)> {
    QUARANTINE.into_iter().map(|wanted| (wanted.name, wanted.value.text())).collect()
}

/// Judges the settings of a quarantine topic that exists, on the cluster with these bootstrap
/// servers. Returns the faults, their harm, and the command that mends them. Settings that the
/// cluster does not report are taken for right.
#[must_use]
pub fn quarantine_faults(link: &str, servers: &str, found: &BTreeMap<String, String>) -> Option<String> {
    let harm = |_: &str, _: &str| "refused records are deleted before anybody has looked at them".to_owned();
    let faults = faults(QUARANTINE.to_vec(), (&quarantine_topic(link), servers), found, &harm);
    faults.map(|faults| faults.text)
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(topic: LinkTopic, changed: &[(&str, &str)]) -> BTreeMap<String, String> {
        let own = topic.settings(86_400_000).into_iter().map(|(name, value)| (name.to_owned(), value));
        own.chain(changed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).collect()
    }

    fn faults(topic: LinkTopic, changed: &[(&str, &str)]) -> Option<TopicFaults> {
        topic.faults(("l", "b:9092"), &found(topic, changed), 86_400_000)
    }

    #[test]
    fn a_topic_as_it_is_created_has_no_fault_and_unknown_settings_are_no_fault() {
        for topic in LinkTopic::ALL {
            assert_eq!(faults(topic, &[]), None, "{topic:?}");
            assert_eq!(topic.faults(("l", "b:9092"), &BTreeMap::new(), -1), None);
            let names: Vec<&str> = topic.settings(-1).into_iter().map(|(name, _)| name).collect();
            assert!(topic.dispensable().iter().all(|name| names.contains(name) && *name != "cleanup.policy"));
        }
        assert_eq!(faults(LinkTopic::Map, &[("retention.ms", "-1")]), None, "longer than asked for");
        assert_eq!(faults(LinkTopic::Map, &[("retention.ms", "86400001")]), None);
        assert_eq!(faults(LinkTopic::Progress, &[("segment.bytes", "1048576")]), None);
    }

    #[test]
    fn a_quarantine_topic_that_forgets_is_told_with_the_command() {
        let found = |changed: &[(&str, &str)]| -> BTreeMap<String, String> {
            let own = quarantine_settings().into_iter().map(|(name, value)| (name.to_owned(), value));
            own.chain(changed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).collect()
        };
        assert_eq!(quarantine_faults("l", "b:9092", &found(&[])), None);
        assert_eq!(quarantine_faults("l", "b:9092", &BTreeMap::new()), None);
        for (setting, value) in [("retention.ms", "604800000"), ("retention.bytes", "0"), ("cleanup.policy", "compact")]
        {
            let text = quarantine_faults("l", "b:9092", &found(&[(setting, value)])).unwrap();
            let command = format!("--entity-name strait.l.quarantine --add-config {setting}=");
            assert!(text.contains(&format!("{setting} is {value} (")) && text.contains(&command), "{text}");
        }
    }

    #[test]
    fn what_loses_positions_is_fatal_and_the_rest_is_told_with_the_command() {
        let fatal = [
            (LinkTopic::Progress, "cleanup.policy", "delete"),
            (LinkTopic::Progress, "cleanup.policy", "compact,delete"),
            (LinkTopic::Map, "cleanup.policy", "compact"),
        ];
        for (topic, setting, value) in fatal {
            let found = faults(topic, &[(setting, value)]).unwrap();
            assert!(found.is_fatal && found.text.contains("--add-config cleanup.policy="), "{}", found.text);
        }
        let told = [
            (LinkTopic::Map, "retention.bytes", "1000000", "retention.bytes=-1"),
            (LinkTopic::Map, "retention.ms", "3600000", "retention.ms=86400000"),
            (LinkTopic::Progress, "delete.retention.ms", "86400000", "delete.retention.ms=60000"),
            (LinkTopic::Operate, "cleanup.policy", "delete", "cleanup.policy=compact"),
            (LinkTopic::Control, "cleanup.policy", "delete", "cleanup.policy=compact"),
            (LinkTopic::Operate, "message.timestamp.type", "CreateTime", "LogAppendTime"),
        ];
        for (topic, setting, value, part) in told {
            let found = faults(topic, &[(setting, value)]).unwrap();
            assert!(!found.is_fatal && found.text.contains(part), "{}", found.text);
        }
        let day = faults(LinkTopic::Progress, &[("delete.retention.ms", "86400000"), ("segment.bytes", "16777216")]);
        let text = day.unwrap().text;
        for part in ["reads 267 MiB", "16 MiB more", "segment.bytes=4194304,delete.retention.ms=60000"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
