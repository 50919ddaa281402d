//! The flows, which become links.

use serde_json::{Map, Value, json};

use super::properties::{File, Property};
use super::{Report, clusters};

/// Properties of a flow that need no option here, each with the reason. A `*` at the end stands for
/// any ending.
const NOTES: &[(&str, &str)] = &[
    (
        "groups*",
        "groups are not synced while a link runs; strait offsets translate LINK --group GROUP moves one exactly",
    ),
    ("refresh.topics.*", "new topics and partitions are found within seconds"),
    ("refresh.groups.*", "no groups are synced while a link runs"),
    ("sync.topic.configs.*", "target topics follow the settings of their source topics; sync.configs says which"),
    ("sync.topic.acls.*", "not taken over: sync.acls = true has the target follow the ACLs of topics"),
    (
        "sync.group.offsets.*",
        "groups are not synced while a link runs; strait offsets translate LINK --group GROUP moves one exactly",
    ),
    ("config.properties.*", "only settings that decide how long records live are taken over, at creation"),
    (
        "use.defaults.from",
        "only settings that decide how long records live are taken over, at creation, by their effective values",
    ),
    ("emit.heartbeats.*", "mm2.heartbeats writes them, one a second; set it to \"off\" where they were off"),
    ("heartbeats.*", "mm2.heartbeats decides whether heartbeats are written and copied"),
    ("emit.checkpoints.*", "mm2.checkpoints writes one for each change"),
    ("checkpoints.*", "mm2.checkpoints decides whether there are checkpoints"),
    (
        "emit.offset-syncs.*",
        "the offset map takes their place: it has every record; mm2.offset_syncs writes them besides",
    ),
    ("offset-syncs.*", "the offset map takes their place, on the target; mm2.offset_syncs writes them there besides"),
    ("offset.lag.max", "the offset map has every record"),
    ("replication.policy.internal.topic.separator.enabled", "Strait's own topics are named strait.LINK.…"),
    ("consumer.poll.timeout.ms", "Strait decides it"),
    ("admin.timeout.ms", "Strait decides it"),
    ("admin.*", "Strait decides it"),
    ("add.source.alias.to.metrics", "metrics are labelled by link"),
    ("errors.*", "a record that the target refuses goes to quarantine (on_refused)"),
    ("name", "links are named SOURCE-TARGET"),
    ("connector.class", "there are no connectors"),
    ("config.action.reload", "changed plugins are reloaded; other changes need a restart"),
    ("offsets.storage.topic", "positions are in strait.LINK.progress on the target"),
    ("transaction.boundary*", "commit_interval_ms_max of a link bounds a transaction"),
    ("exactly.once.support", "delivery of a link; exactly-once is the default"),
    ("provenance.*", "Strait adds no headers"),
    ("enabled", "the link"),
];

/// Properties that have no counterpart, each with the way on.
const REFUSALS: &[(&str, &str)] = &[
    (
        "topic.filter.class",
        "a class of its own cannot be carried over: list what it selects in topics and topics_exclude",
    ),
    ("group.filter.class", "a class of its own cannot be carried over"),
    ("config.property.filter.class", "a class of its own cannot be carried over"),
    (
        "forwarding.admin.class",
        "a class of its own cannot be carried over: let Strait create topics, or set manage_topics = false",
    ),
    ("predicates*", "write the condition into a rule of plugin filter"),
];

/// Exclusions of MirrorMaker 2 that hold where the file sets none.
const EXCLUDED: &str = r".*[\-\.]internal, .*\.replica, __.*";

/// Returns the links of the enabled flows.
pub(super) fn links(aliases: &[String], file: &File, report: &mut Report) -> Vec<Map<String, Value>> {
    let mut links = Vec::new();
    for source in aliases {
        for target in aliases.iter().filter(|target| *target != source) {
            let start = format!("{source}->{target}.");
            let enabled = file.take(&format!("{start}enabled"));
            if let Some(property) = &enabled {
                report.option(property, if property.is_true() { "a link" } else { "no link" });
            }
            if enabled.as_ref().is_some_and(Property::is_true) {
                links.push(Flow { source, target, start, file, report }.link());
                continue;
            }
            let rest = file.take_all(&start).into_iter().map(|(_, property)| property);
            for property in rest {
                report.note(&property, format!("the flow is not enabled: no link copies {source} to {target}"));
            }
        }
    }
    if links.is_empty() {
        let none = Property { line: 0, name: "A->B.enabled".to_owned(), value: String::new() };
        report.refuse(&none, "no flow is enabled: there is nothing to copy");
    }
    defaults(file, report);
    clusters::workers(file, report);
    links
}

/// Notes what MirrorMaker 2 does by default and Strait does not, and takes bare properties that
/// every flow overrides.
fn defaults(file: &File, report: &mut Report) {
    for property in file.unread().into_iter().cloned().collect::<Vec<_>>() {
        if let Some((_, text)) = entry(NOTES, &property.name) {
            file.take(&property.name);
            report.note(&property, *text);
        } else if let Some((_, text)) = entry(REFUSALS, &property.name) {
            file.take(&property.name);
            report.refuse(&property, *text);
        }
    }
    let is_set = |start: &str| file.all().any(|property| of_flow(&property.name).starts_with(start));
    for (name, text) in [
        ("sync.topic.acls", "MirrorMaker 2 copies ACLs by default; Strait with sync.acls = true"),
        (
            "sync.topic.configs",
            "MirrorMaker 2 keeps topic settings in step by default; so does Strait (sync.configs), and it deletes none that it has not set",
        ),
    ] {
        if !is_set(name) {
            report.note(&Property { line: 0, name: format!("{name}.enabled"), value: String::new() }, text);
        }
    }
}

/// Returns the name of a property without the flow that it is for.
fn of_flow(name: &str) -> &str {
    match name.split_once("->") {
        Some((_, rest)) => rest.split_once('.').map_or("", |(_, name)| name),
        None => name,
    }
}

/// Returns the pattern of topics that came from a cluster, at once or over others.
pub(super) fn returning(target: &str, separator: &str) -> String {
    let escape = |c: char| if r"\.+*?()|[]{}^$#&-~".contains(c) { format!("\\{c}") } else { c.to_string() };
    let separator: String = separator.chars().map(escape).collect();
    format!("(.*{separator})?{target}{separator}.*")
}

fn entry<'a>(table: &'a [(&'a str, &'a str)], name: &str) -> Option<&'a (&'a str, &'a str)> {
    table.iter().find(|(pattern, _)| clusters::matches(&[pattern], name))
}

/// Returns a plugin that does not exist, in the place of a transform that was refused: without it
/// the link would copy what the transform removes.
fn missing(transform: &str) -> Value {
    json!({ "plugin": format!("todo-{transform}") })
}

/// A flow that is enabled.
struct Flow<'a> {
    source: &'a str,
    target: &'a str,
    /// The beginning of its properties.
    start: String,
    file: &'a File,
    report: &'a mut Report,
}

impl Flow<'_> {
    /// Returns a property: the flow's own, or the default of all flows.
    fn get(&self, name: &str) -> Option<Property> {
        let bare = self.file.take(name);
        self.file.take(&format!("{}{name}", self.start)).or(bare)
    }

    /// Returns a property under its name or an older one.
    fn get_either(&self, name: &str, older: &str) -> Option<Property> {
        let older = self.get(older);
        self.get(name).or(older)
    }

    fn link(mut self) -> Map<String, Value> {
        let mut link = Map::new();
        let name = format!("{}-{}", self.source, self.target);
        for (option, value) in [("name", name.as_str()), ("source", self.source), ("target", self.target)] {
            link.insert(option.to_owned(), json!(value));
        }
        let (is_identity, separator) = self.naming(&mut link);
        self.topics(&mut link, is_identity, separator.as_deref());
        self.delivery(&mut link);
        self.start_of(&mut link);
        self.sizes(&mut link);
        self.transforms(&mut link, is_identity);
        self.clients();
        self.rest();
        link
    }

    fn topics(&mut self, link: &mut Map<String, Value>, is_identity: bool, separator: Option<&str>) {
        let topics = match self.get("topics") {
            Some(property) => {
                self.report.option(&property, format!("topics of link {}-{}", self.source, self.target));
                property.list()
            }
            None => vec![".*".to_owned()],
        };
        if topics.is_empty() {
            let none = Property { line: 0, name: format!("{}topics", self.start), value: String::new() };
            self.report.refuse(&none, "an empty list selects nothing");
        }
        link.insert("topics".to_owned(), json!(topics));
        let mut excluded = match self.get_either("topics.exclude", "topics.blacklist") {
            Some(property) => {
                self.report.option(&property, "topics_exclude");
                property.list()
            }
            None => EXCLUDED.split(", ").map(str::to_owned).collect(),
        };
        if !is_identity {
            // MirrorMaker 2 goes by the names: one that contains the target's was there before.
            let cycle = Property { line: 0, name: format!("{}topics", self.start), value: String::new() };
            // Of another separator too, which the names may keep.
            for separator in ["."].into_iter().chain(separator) {
                let returns = returning(self.target, separator);
                self.report
                    .note(&cycle, format!("topics that came from {} are left out, as there: '{returns}'", self.target));
                excluded.push(returns);
            }
        }
        link.insert("topics_exclude".to_owned(), json!(excluded));
    }

    /// Sets the naming. Returns whether topics keep their names, and a separator that is no dot.
    fn naming(&mut self, link: &mut Map<String, Value>) -> (bool, Option<String>) {
        let mut separator = None;
        let class = self.get("replication.policy.class");
        let short = class.as_ref().map_or("DefaultReplicationPolicy", |property| {
            property.value.trim().rsplit('.').next().unwrap_or_default()
        });
        let naming = match short {
            "DefaultReplicationPolicy" => "prefix",
            "IdentityReplicationPolicy" => "identity",
            _ => "prefix",
        };
        if let Some(property) = &class {
            match short {
                "DefaultReplicationPolicy" | "IdentityReplicationPolicy" => {
                    self.report.option(property, format!("naming = \"{naming}\""));
                }
                _ => self.report.refuse(
                    property,
                    "a policy of its own cannot be carried over: plugin rename gives topics other names",
                ),
            }
        }
        if let Some(property) = self.get("replication.policy.separator") {
            match property.value.trim() {
                "." => self.report.note(&property, "the separator is a dot"),
                other if naming == "prefix" => {
                    let text = format!(
                        "the separator is a dot: '{source}{other}topic' would be '{source}.topic'. To keep the names, set naming = \"identity\" and prefix = \"{source}{other}\" of plugin rename, and leave '{}' in topics_exclude: without it both directions would copy each other's copies for ever",
                        returning(self.target, other),
                        source = self.source
                    );
                    self.report.refuse(&property, text);
                    separator = Some(other.to_owned()).filter(|other| !other.is_empty());
                }
                _ => self.report.note(&property, "topics keep their names"),
            }
        }
        link.insert("naming".to_owned(), json!(naming));
        (naming == "identity", separator)
    }

    fn delivery(&mut self, link: &mut Map<String, Value>) {
        let own = self.file.take(&format!("{}.exactly.once.source.support", self.target));
        let bare = self.file.take("exactly.once.source.support");
        let Some(property) = own.or(bare) else { return };
        link.insert("delivery".to_owned(), json!("exactly-once"));
        match property.value.trim() {
            "enabled" => self.report.option(&property, "delivery = \"exactly-once\""),
            _ => self.report.note(
                &property,
                "delivery = \"exactly-once\", which is the default here; \"at-least-once\" saves the transactions",
            ),
        }
    }

    fn start_of(&mut self, link: &mut Map<String, Value>) {
        let name = "consumer.auto.offset.reset";
        let of_cluster = self.file.take(&format!("{}.{name}", self.source));
        let of_flow = self
            .file
            .take(&format!("{}source.{name}", self.start))
            .or_else(|| self.file.take(&format!("{}{name}", self.start)));
        let Some(property) = of_flow.or(of_cluster) else { return };
        match property.value.trim() {
            value @ ("earliest" | "latest") => {
                link.insert("start".to_owned(), json!(value));
                self.report.option(&property, format!("start = \"{value}\""));
            }
            _ => self.report.refuse(&property, "start is earliest, latest or a time"),
        }
    }

    fn sizes(&mut self, link: &mut Map<String, Value>) {
        if let Some(property) = self.get("tasks.max") {
            match property.value.trim().parse::<u32>() {
                Ok(tasks) if tasks > 0 => {
                    let lanes = tasks.min(64);
                    link.insert("lanes".to_owned(), json!(lanes));
                    self.report.option(&property, format!("lanes = {lanes}: as many processes can share the link"));
                }
                _ => self.report.refuse(&property, "lanes is a number from 1 to 64"),
            }
        }
        if let Some(property) = self.get("replication.factor") {
            let replication = match property.value.trim() {
                "-1" => json!("default"),
                value => value.parse::<u32>().map_or_else(|_| json!(value), |count| json!(count)),
            };
            self.report.option(&property, format!("sync.replication = {replication}"));
            link.insert("sync".to_owned(), json!({ "replication": replication }));
        }
    }

    /// A router of topic names becomes plugin rename, where it sees the names that the plugin sees.
    fn transforms(&mut self, link: &mut Map<String, Value>, is_identity: bool) {
        let Some(property) = self.get("transforms") else { return };
        let mut plugins = Vec::new();
        for transform in property.list() {
            let rest = self.file.take_all(&format!("{}transforms.{transform}.", self.start));
            let part =
                |wanted: &str| rest.iter().find(|(name, _)| name == wanted).map(|(_, property)| property.clone());
            let (kind, regex, replacement) = (part("type"), part("regex"), part("replacement"));
            let class = kind.as_ref().map_or("", |kind| {
                let class = kind.value.trim().rsplit('.').next().unwrap_or_default();
                class.split('$').next().unwrap_or_default()
            });
            match (class, regex, replacement) {
                ("RegexRouter", Some(regex), Some(replacement)) if is_identity => {
                    plugins.push(json!({ "plugin": "rename", "config": { "pattern": regex.value, "replacement": replacement.value } }));
                    for (_, property) in rest {
                        self.report.option(&property, "plugin rename");
                    }
                }
                ("RegexRouter", ..) => {
                    plugins.push(missing(&transform));
                    for (_, property) in rest {
                        self.report.refuse(
                            &property,
                            "plugin rename sees the names of the source, before the prefix: write its pattern by hand",
                        );
                    }
                }
                _ => {
                    plugins.push(missing(&transform));
                    for (_, property) in rest {
                        self.report.refuse(&property, format!("write what {class} does as a plugin: strait plugin new, or a rule of filter, redact, rename or route"));
                    }
                }
            }
        }
        self.report.note(&property, "each by its own lines");
        if !plugins.is_empty() {
            link.insert("plugins".to_owned(), Value::Array(plugins));
        }
    }

    /// Clients of the flow. Their settings hold for the cluster here, so only those that Strait
    /// decides can be passed over.
    fn clients(&mut self) {
        for (start, client) in [
            ("source.consumer.", "consumer"),
            ("consumer.", "consumer"),
            ("producer.override.", "producer"),
            ("producer.", "producer"),
            ("target.producer.", "producer"),
            ("source.admin.", "admin"),
            ("target.admin.", "admin"),
            ("source.producer.", "producer"),
            ("target.consumer.", "consumer"),
        ] {
            let start = format!("{}{start}", self.start);
            let unread: Vec<Property> =
                self.file.unread().into_iter().filter(|property| property.name.starts_with(&start)).cloned().collect();
            for property in unread {
                self.file.take(&property.name);
                let name = property.name.strip_prefix(&start).unwrap_or_default().to_owned();
                let mut kafka = Map::new();
                let before = self.report.findings.len();
                clusters::client_setting(client, &name, &property, &mut kafka, self.report);
                if !kafka.is_empty() {
                    self.report.findings.truncate(before);
                    self.report.refuse(
                        &property,
                        "here it holds for all links of the cluster: set it in [clusters.NAME.kafka]",
                    );
                }
            }
        }
    }

    fn rest(&mut self) {
        let unread: Vec<Property> =
            self.file.unread().into_iter().filter(|property| property.name.starts_with(&self.start)).cloned().collect();
        for property in unread {
            self.file.take(&property.name);
            let name = property.name.strip_prefix(&self.start).unwrap_or_default();
            match (entry(NOTES, name), entry(REFUSALS, name)) {
                (_, Some((_, text))) => self.report.refuse(&property, *text),
                (Some((_, text)), _) => self.report.note(&property, *text),
                (None, None) => self.report.refuse(
                    &property,
                    "it is no property of MirrorMaker 2: it has no effect there either, or it is misspelt",
                ),
            }
        }
    }
}
