//! Options that only some versions of Strait have: the schema of the configuration decides.

use serde_json::{Map, Value, json};
use strait_core::config::structure;

use super::flows::Flow;
use super::known::GROUPS;
use super::properties::Property;

/// Groups that MirrorMaker 2 leaves out where the file sets none.
const GROUPS_EXCLUDED: [&str; 3] = ["console-consumer-.*", "connect-.*", "__.*"];
/// Said of groups whose offsets MirrorMaker 2 does not write.
const UNSYNCED: &str = "no offsets of groups are written there either (sync.group.offsets.enabled is not true); the option groups makes the link keep them on the target";
/// Longest interval at which new topics are looked for, in seconds.
const DISCOVER_S_MAX: u64 = 5;

/// Returns whether a link of this version takes the value for an option, by its path.
fn takes(path: &[&str], value: &Value) -> bool {
    let inner = path.iter().rev().fold(value.clone(), |value, key| json!({ *key: value }));
    let mut link = json!({ "name": "l", "source": "a", "target": "b", "topics": ["t"] });
    if let (Some(link), Value::Object(inner)) = (link.as_object_mut(), inner) {
        link.extend(inner);
    }
    let cluster = json!({ "bootstrap_servers": "h:1" });
    let (config, problems) = structure::read(json!({ "clusters": { "a": cluster, "b": cluster }, "links": [link] }));
    config.is_some() && problems.is_empty()
}

/// Sets an option where there is one. Returns whether there is.
fn set_known(link: &mut Map<String, Value>, path: &[&str], value: Value) -> bool {
    if !takes(path, &value) {
        return false;
    }
    match path {
        [table, key] => {
            let table = link.entry(*table).or_insert_with(|| json!({}));
            if let Some(table) = table.as_object_mut() {
                table.insert((*key).to_owned(), value);
            }
        }
        path => {
            link.extend(path.first().map(|key| ((*key).to_owned(), value)));
        }
    }
    true
}

impl Flow<'_> {
    /// Takes over a property as an option, or notes it.
    fn option_or_note(
        &mut self,
        link: &mut Map<String, Value>,
        property: &Property,
        (path, value): (&[&str], Value),
        note: &str,
    ) {
        let said = format!("{} = {value}", path.join("."));
        match set_known(link, path, value) {
            true => self.report.option(property, said),
            false => self.report.note(property, note),
        }
    }

    /// Takes over how often new topics are looked for.
    pub(super) fn discovery(&mut self, link: &mut Map<String, Value>) {
        let Some(property) = self.get("refresh.topics.interval.seconds") else { return };
        let seconds = property.value.trim().parse::<u64>().unwrap_or(DISCOVER_S_MAX).clamp(1, DISCOVER_S_MAX);
        let note = "new topics and partitions are found within seconds";
        self.option_or_note(link, &property, (&["discover_s"], json!(seconds)), note);
    }

    /// Takes over the consumer groups, where any are named or their offsets are synced.
    pub(super) fn groups(&mut self, link: &mut Map<String, Value>) {
        let groups = self.get("groups");
        let excluded = self.get_either("groups.exclude", "groups.blacklist");
        let synced = self.get("sync.group.offsets.enabled");
        let is_synced = synced.as_ref().is_some_and(Property::is_true);
        let list = groups.as_ref().map_or_else(|| vec![".*".to_owned()], Property::list);
        let all = [&groups, &excluded, &synced];
        let has_option = takes(&["groups"], &json!(list)) && !list.is_empty();
        // MirrorMaker 2 writes offsets only if that is switched on, and so must a link.
        let is_wanted = is_synced || (groups.is_some() && takes(&["sync", "groups"], &json!(false)));
        if !has_option || !is_wanted {
            let note = if has_option { UNSYNCED } else { GROUPS };
            all.into_iter().flatten().for_each(|property| self.report.note(property, note));
            return;
        }
        set_known(link, &["groups"], json!(list));
        let left_out = match &excluded {
            Some(property) => property.list(),
            None => GROUPS_EXCLUDED.map(str::to_owned).to_vec(),
        };
        set_known(link, &["groups_exclude"], json!(left_out));
        set_known(link, &["sync", "groups"], json!(is_synced));
        for (property, said) in all
            .into_iter()
            .zip(["groups", "groups_exclude", "groups: the link keeps their offsets on the target"])
            .filter_map(|(p, said)| Some((p.as_ref()?, said)))
        {
            self.report.option(property, said);
        }
    }

    /// Takes over the records that MirrorMaker 2 writes for its clients.
    pub(super) fn mirror_records(&mut self, link: &mut Map<String, Value>) {
        let heartbeats = self.get("emit.heartbeats.enabled");
        let is_on = heartbeats.as_ref().is_none_or(Property::is_true);
        let note = "there are no heartbeat records; strait status and /metrics show whether a link moves";
        let value = json!(if is_on { "both" } else { "off" });
        match &heartbeats {
            Some(property) => self.option_or_note(link, property, (&["mm2", "heartbeats"], value), note),
            None => {
                set_known(link, &["mm2", "heartbeats"], value);
            }
        }
        let note = "the offset map takes their place, on the target";
        if let Some(property) = self.get("offset-syncs.topic.location") {
            match property.value.trim() {
                "target" => self.option_or_note(link, &property, (&["mm2", "offset_syncs"], json!("target")), note),
                _ => self.report.note(&property, note),
            }
        }
        let Some(property) = self.get("emit.checkpoints.enabled") else { return };
        let note = "there are no checkpoint records; strait offsets translate answers by the offset map";
        let value = json!(property.is_true());
        self.option_or_note(link, &property, (&["mm2", "checkpoints"], value), note);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_decides_which_options_there_are() {
        assert!(takes(&["lanes"], &json!(3)) && takes(&["sync", "acls"], &json!(true)));
        assert!(!takes(&["lanes"], &json!("x")) && !takes(&["sync", "nonsense"], &json!(1)));
        assert!(!takes(&["nonsense"], &json!(1)) && !takes(&["naming"], &json!("nonsense")));
    }
}
