//! Things that a flow takes over besides records: settings, access lists, numbers of replicas.

use serde_json::{Map, Value, json};

use super::flows::Flow;
use super::properties::Property;

/// Settings that MirrorMaker 2 leaves out by default, and Strait always.
const NEVER: [&str; 6] = [
    r"follower\.replication\.throttled\.replicas",
    r"leader\.replication\.throttled\.replicas",
    r"message\.timestamp\.difference\.max\.ms",
    r"message\.timestamp\.type",
    r"unclean\.leader\.election\.enable",
    r"min\.insync\.replicas",
];

impl Flow<'_> {
    pub(super) fn sync(&mut self, link: &mut Map<String, Value>) {
        let mut sync = Map::new();
        self.replication(&mut sync);
        self.configs(&mut sync);
        self.acls(&mut sync);
        if !sync.is_empty() {
            link.insert("sync".to_owned(), Value::Object(sync));
        }
    }

    fn replication(&mut self, sync: &mut Map<String, Value>) {
        let Some(property) = self.get("replication.factor") else { return };
        let replication = match property.value.trim() {
            "-1" => json!("default"),
            value => value.parse::<u32>().map_or_else(|_| json!(value), |count| json!(count)),
        };
        self.report.option(&property, format!("sync.replication = {replication}"));
        sync.insert("replication".to_owned(), replication);
    }

    fn configs(&mut self, sync: &mut Map<String, Value>) {
        let defaults = self.get("use.defaults.from");
        let enabled = self.get("sync.topic.configs.enabled");
        let is_off = enabled.as_ref().is_some_and(|property| !property.is_true());
        let is_effective = defaults.as_ref().is_some_and(|property| property.value.trim() == "source");
        let configs = match (is_off, is_effective) {
            (true, _) => "none",
            (_, true) => "effective",
            _ => "overrides",
        };
        sync.insert("configs".to_owned(), json!(configs));
        let option = format!("sync.configs = \"{configs}\"");
        if let Some(property) = &enabled {
            self.report.option(property, &*option);
        }
        if let Some(property) = &defaults {
            self.report.option(property, option);
        }
        let Some(property) = self.get_either("config.properties.exclude", "config.properties.blacklist") else {
            return;
        };
        let excluded: Vec<String> =
            property.list().into_iter().filter(|pattern| !NEVER.contains(&pattern.as_str())).collect();
        self.report.option(&property, "sync.configs_exclude, less those that Strait never takes over");
        if !excluded.is_empty() {
            sync.insert("configs_exclude".to_owned(), json!(excluded));
        }
    }

    /// Access lists are synced unless that is switched off.
    fn acls(&mut self, sync: &mut Map<String, Value>) {
        let enabled = self.get("sync.topic.acls.enabled");
        let is_on = enabled.as_ref().is_none_or(Property::is_true);
        sync.insert("acls".to_owned(), json!(is_on));
        match &enabled {
            Some(property) => self.report.option(property, format!("sync.acls = {is_on}")),
            None => self.report.note(
                &Property::missing("sync.topic.acls.enabled"),
                "sync.acls = true: MirrorMaker 2 copies access lists by default",
            ),
        }
    }
}
