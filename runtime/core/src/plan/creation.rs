//! The settings that target topics are created with.

use std::collections::BTreeMap;

use super::Excluded;
use crate::config::Replication;

/// Settings that decide how long records live and how large they may be. A target topic has the
/// values in force at its source topic.
pub const CARRIED: [&str; 5] =
    ["cleanup.policy", "retention.ms", "retention.bytes", "delete.retention.ms", "max.message.bytes"];
/// The setting by which a target topic keeps the timestamps of the source.
pub const TIMESTAMP_TYPE: &str = "message.timestamp.type";
/// The value of [`TIMESTAMP_TYPE`] at the target.
pub(super) const CREATE_TIME: &str = "CreateTime";

/// One setting: name and value.
pub type Setting = (&'static str, String);

/// The settings of a topic that is to be created.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicSettings {
    /// All of them.
    pub all: Vec<Setting>,
    /// Those that the topic may do without, the most dispensable one first.
    pub dispensable: &'static [&'static str],
}

impl TopicSettings {
    /// Returns the settings of a target topic, from those in force at its source topic, but for
    /// those that the link's configuration excludes. `None` if it is not known how long records
    /// live there.
    #[must_use]
    pub fn like_source(configs: &BTreeMap<String, String>, excluded: &Excluded) -> Option<Self> {
        let wanted = CARRIED.into_iter().filter(|name| !excluded.is_named(name));
        let carried: Vec<Setting> = wanted.filter_map(|name| Some((name, configs.get(name)?.clone()))).collect();
        let mut decides = ["cleanup.policy", "retention.ms"].into_iter().filter(|name| !excluded.is_named(name));
        let is_complete = decides.all(|name| carried.iter().any(|(found, _)| *found == name));
        is_complete.then(|| Self::of_target(carried, excluded))
    }

    /// Returns the settings of a target topic that nothing is deleted from.
    #[must_use]
    pub fn keeping_everything(excluded: &Excluded) -> Self {
        let all = vec![("cleanup.policy", "delete".to_owned()), ("retention.ms", "-1".to_owned())];
        Self::of_target(all, excluded)
    }

    fn of_target(mut all: Vec<Setting>, excluded: &Excluded) -> Self {
        if !excluded.is_named(TIMESTAMP_TYPE) {
            all.push((TIMESTAMP_TYPE, CREATE_TIME.to_owned()));
        }
        Self {
            all,
            // Never those without which the target would delete what was copied.
            dispensable: &["delete.retention.ms", "retention.bytes", TIMESTAMP_TYPE, "max.message.bytes"],
        }
    }
}

/// Returns how many replicas a target topic is created with; `None` for the broker's default.
#[must_use]
pub fn replicas(wanted: Replication, source: u32, brokers: usize) -> Option<u32> {
    let brokers = u32::try_from(brokers).unwrap_or(u32::MAX).max(1);
    match wanted {
        Replication::Default => None,
        Replication::Number(count) => Some(count),
        Replication::Source => (source > 0).then(|| source.min(brokers)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sync;

    fn configs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_decides_how_long_records_live_is_carried_and_timestamps_are_kept() {
        let all = configs(&[
            ("cleanup.policy", "compact"),
            ("retention.ms", "2592000000"),
            ("retention.bytes", "-1"),
            ("delete.retention.ms", "86400000"),
            ("max.message.bytes", "20971520"),
            ("segment.bytes", "1073741824"),
            ("message.timestamp.type", "LogAppendTime"),
        ]);
        let names = |settings: &TopicSettings| settings.all.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        let plain = TopicSettings::like_source(&all, &Excluded::default()).unwrap();
        assert_eq!(names(&plain), [&CARRIED[..], &[TIMESTAMP_TYPE]].concat());
        assert!(plain.all.contains(&(TIMESTAMP_TYPE, "CreateTime".to_owned())));
        assert!(plain.all.contains(&("cleanup.policy", "compact".to_owned())));
        let half = configs(&[("cleanup.policy", "delete"), ("max.message.bytes", "1")]);
        assert_eq!(TopicSettings::like_source(&half, &Excluded::default()), None);
        // Where the operator says so, the target's own retention counts.
        let patterns = ["retention\\..*", "delete.retention.ms"].map(str::to_owned).to_vec();
        let excluded = Excluded::of(&Sync { configs_exclude: patterns, ..Sync::default() });
        let own = TopicSettings::like_source(&half, &excluded).unwrap();
        assert_eq!(names(&own), ["cleanup.policy", "max.message.bytes", TIMESTAMP_TYPE]);
    }

    #[test]
    fn replicas_follow_the_source_up_to_the_targets_brokers() {
        assert_eq!(replicas(Replication::Source, 3, 1), Some(1));
        assert_eq!(replicas(Replication::Source, 2, 3), Some(2));
        assert_eq!(replicas(Replication::Source, 0, 3), None, "not known");
        assert_eq!(replicas(Replication::Number(4), 3, 1), Some(4));
        assert_eq!(replicas(Replication::Default, 3, 3), None);
    }
}
