//! Options about discovery, consumer groups and the records for MirrorMaker 2's clients.

use serde_json::{Map, Value, json};

use super::flows::Flow;
use super::known::GROUPS;
use super::properties::Property;

/// Groups that MirrorMaker 2 leaves out where the file sets none.
const GROUPS_EXCLUDED: [&str; 3] = ["console-consumer-.*", "connect-.*", "__.*"];
/// Said of groups whose offsets MirrorMaker 2 neither writes nor has checkpoints of.
const UNUSED: &str = "MirrorMaker 2 does nothing with groups (emit.checkpoints.enabled and sync.group.offsets.enabled); the option groups makes the link keep their offsets on the target";
/// Longest interval at which new topics are looked for, in seconds.
const DISCOVER_S_MAX: u64 = 5;

/// Sets an option in a table of the link.
fn set_in(link: &mut Map<String, Value>, table: &str, key: &str, value: Value) {
    let table = link.entry(table).or_insert_with(|| json!({}));
    if let Some(table) = table.as_object_mut() {
        table.insert(key.to_owned(), value);
    }
}

impl Flow<'_> {
    /// Takes over how often new topics are looked for.
    pub(super) fn discovery(&mut self, link: &mut Map<String, Value>) {
        let Some(property) = self.get("refresh.topics.interval.seconds") else { return };
        let seconds = property.value.trim().parse::<u64>().unwrap_or(DISCOVER_S_MAX).clamp(1, DISCOVER_S_MAX);
        link.insert("discover_s".to_owned(), json!(seconds));
        self.report.option(&property, format!("discover_s = {seconds}"));
    }

    /// Takes over the consumer groups, where their offsets are written or have checkpoints.
    pub(super) fn groups(&mut self, link: &mut Map<String, Value>) {
        let groups = self.get("groups");
        let excluded = self.get_either("groups.exclude", "groups.blacklist");
        let synced = self.get("sync.group.offsets.enabled");
        let is_synced = synced.as_ref().is_some_and(Property::is_true);
        let list = groups.as_ref().map_or_else(|| vec![".*".to_owned()], Property::list);
        let all = [&groups, &excluded, &synced];
        let has_checkpoints = self.get("emit.checkpoints.enabled").as_ref().is_none_or(Property::is_true);
        let unused = match (list.is_empty(), is_synced || has_checkpoints) {
            (true, _) => Some(GROUPS),
            (_, false) => Some(UNUSED),
            _ => None,
        };
        if let Some(note) = unused {
            all.into_iter().flatten().for_each(|property| self.report.note(property, note));
            return;
        }
        link.insert("groups".to_owned(), json!(list));
        let left_out = match &excluded {
            Some(property) => property.list(),
            None => GROUPS_EXCLUDED.map(str::to_owned).to_vec(),
        };
        link.insert("groups_exclude".to_owned(), json!(left_out));
        // MirrorMaker 2 writes offsets only if that is switched on, and so must a link.
        if !is_synced {
            set_in(link, "sync", "groups", json!(false));
        }
        let written = format!("sync.groups = {is_synced}");
        for (property, said) in all
            .into_iter()
            .zip(["groups", "groups_exclude", &written])
            .filter_map(|(p, said)| Some((p.as_ref()?, said)))
        {
            self.report.option(property, said);
        }
    }

    /// Takes over the records that MirrorMaker 2 writes for its clients.
    pub(super) fn mirror_records(&mut self, link: &mut Map<String, Value>) {
        let heartbeats = self.get("emit.heartbeats.enabled");
        let written = if heartbeats.as_ref().is_none_or(Property::is_true) { "both" } else { "off" };
        set_in(link, "mm2", "heartbeats", json!(written));
        if let Some(property) = &heartbeats {
            self.report.option(property, format!("mm2.heartbeats = \"{written}\""));
        }
        if let Some(property) = self.get("offset-syncs.topic.location") {
            if property.value.trim() == "target" {
                set_in(link, "mm2", "offset_syncs", json!("target"));
                self.report.option(&property, "mm2.offset_syncs = \"target\"");
            } else {
                self.report.note(&property, "the offset map takes their place, on the target");
            }
        }
        if let Some(property) = self.get("emit.checkpoints.enabled") {
            let are_on = property.is_true();
            set_in(link, "mm2", "checkpoints", json!(are_on));
            self.report.option(&property, format!("mm2.checkpoints = {are_on}"));
        }
    }
}
