//! The changes between two configurations, as the actions they need.

use std::collections::BTreeSet;

use super::model::{Cluster, Config, Link};
use super::setting::Setting;

/// A change, and the least action that applies it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Start the link.
    LinkAdded {
        /// Name of the link.
        link: String,
    },
    /// Drain and stop the link.
    LinkRemoved {
        /// Name of the link.
        link: String,
    },
    /// Reload the link's plugins, or apply its `reload` options. Nothing stops.
    Plugins {
        /// Name of the link.
        link: String,
    },
    /// Drain the link and start it again: other options changed, or one of its clusters.
    LinkChanged {
        /// Name of the link.
        link: String,
        /// The changed options, and `clusters.<name>` for a cluster.
        options: Vec<String>,
    },
    /// The option cannot change while the process runs.
    NeedsRestart {
        /// Name of the option.
        option: String,
    },
}

/// Returns the changes between two valid configurations, sorted. Resolved references count, but for
/// logins: those are exchanged while the links run.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = BTreeSet::new();
    if old.log != new.log {
        changes.insert(Change::NeedsRestart { option: "log".to_owned() });
    }
    if old.state_dir != new.state_dir {
        changes.insert(Change::NeedsRestart { option: "state_dir".to_owned() });
    }
    if old.admin != new.admin {
        changes.insert(Change::NeedsRestart { option: "admin".to_owned() });
    }
    let loads_alike = old.plugin_dir == new.plugin_dir && old.trusted_plugin_keys == new.trusted_plugin_keys;
    if old.plugin_memory_mib_max != new.plugin_memory_mib_max {
        changes.insert(Change::NeedsRestart { option: "plugin_memory_mib_max".to_owned() });
    }
    for before in &old.links {
        let link = before.name.clone();
        let Some(after) = new.links.iter().find(|after| after.name == before.name) else {
            changes.insert(Change::LinkRemoved { link });
            continue;
        };
        let options = changed_options(before, after, old, new);
        if !options.is_empty() {
            changes.insert(Change::LinkChanged { link, options });
            continue;
        }
        let is_same = before.plugins == after.plugins && before.reload == after.reload && before.accept == after.accept;
        if !is_same || !loads_alike {
            changes.insert(Change::Plugins { link });
        }
    }
    for after in &new.links {
        if !old.links.iter().any(|before| before.name == after.name) {
            changes.insert(Change::LinkAdded { link: after.name.clone() });
        }
    }
    changes.into_iter().collect()
}

fn changed_options(before: &Link, after: &Link, old: &Config, new: &Config) -> Vec<String> {
    // Destructured, so that a new option cannot be forgotten here.
    let Link {
        name: _,
        source,
        target,
        topics,
        topics_exclude,
        naming,
        delivery,
        start,
        lanes,
        values,
        plugins: _,
        reveal_messages,
        residency,
        require_encryption,
        accept: _,
        reload: _,
        on_gap,
        on_corrupt,
        on_target_recreated,
        on_deleted,
        delete_after_h,
        on_refused,
        on_timestamp_zero,
        manage_topics,
        sync,
        discover_s,
        mm2,
        map_retention_days,
        groups,
        groups_exclude,
        map_memory_mib,
        merge_topics,
        new_topics_max,
        memory_mib_max,
        commit_interval_ms_max,
        drain_ms_max,
        hanging_transaction_s_max,
        batch_kib_max,
        fetch_mib_max,
    } = before;
    let differs = [
        ("source", *source != after.source),
        ("target", *target != after.target),
        ("topics", *topics != after.topics),
        ("topics_exclude", *topics_exclude != after.topics_exclude),
        ("naming", *naming != after.naming),
        ("delivery", *delivery != after.delivery),
        ("start", *start != after.start),
        ("lanes", *lanes != after.lanes),
        ("values", *values != after.values),
        ("on_gap", *on_gap != after.on_gap),
        ("on_corrupt", *on_corrupt != after.on_corrupt),
        ("on_target_recreated", *on_target_recreated != after.on_target_recreated),
        ("on_deleted", *on_deleted != after.on_deleted),
        ("delete_after_h", *delete_after_h != after.delete_after_h),
        ("on_refused", *on_refused != after.on_refused),
        ("on_timestamp_zero", *on_timestamp_zero != after.on_timestamp_zero),
        ("manage_topics", *manage_topics != after.manage_topics),
        ("sync", *sync != after.sync),
        ("discover_s", *discover_s != after.discover_s),
        ("mm2", *mm2 != after.mm2),
        ("map_retention_days", *map_retention_days != after.map_retention_days),
        ("groups", *groups != after.groups),
        ("groups_exclude", *groups_exclude != after.groups_exclude),
        ("map_memory_mib", *map_memory_mib != after.map_memory_mib),
        ("merge_topics", *merge_topics != after.merge_topics),
        ("new_topics_max", *new_topics_max != after.new_topics_max),
        ("reveal_messages", *reveal_messages != after.reveal_messages),
        ("residency", *residency != after.residency),
        ("require_encryption", *require_encryption != after.require_encryption),
        ("memory_mib_max", *memory_mib_max != after.memory_mib_max),
        ("commit_interval_ms_max", *commit_interval_ms_max != after.commit_interval_ms_max),
        ("drain_ms_max", *drain_ms_max != after.drain_ms_max),
        ("hanging_transaction_s_max", *hanging_transaction_s_max != after.hanging_transaction_s_max),
        ("batch_kib_max", *batch_kib_max != after.batch_kib_max),
        ("fetch_mib_max", *fetch_mib_max != after.fetch_mib_max),
    ];
    let mut options: Vec<String> =
        differs.into_iter().filter(|(_, differs)| *differs).map(|(option, _)| option.to_owned()).collect();
    for name in [&after.source, &after.target] {
        if old.cluster(name).map(without_logins) != new.cluster(name).map(without_logins) {
            options.push(format!("clusters.{name}"));
        }
    }
    options
}

/// Returns a cluster whose logins are as written, references unresolved.
fn without_logins(cluster: &Cluster) -> Cluster {
    let mut cluster = cluster.clone();
    let properties = ["sasl.username", "sasl.password"];
    let logins = cluster.kafka.0.iter_mut().filter(|(name, _)| properties.contains(&name.as_str()));
    let secret = cluster.auth.as_mut().and_then(|auth| auth.client_secret.as_mut());
    for setting in logins.map(|(_, setting)| setting).chain(secret) {
        *setting = Setting::new(setting.written());
    }
    cluster
}
