//! The flows, which become links.

use serde_json::{Map, Value, json};
use strait_core::config::Selector;

use super::mirror::Mirror;
use super::properties::{File, Property};
use super::{Outcome, Report, clusters, known};

/// Exclusions of MirrorMaker 2 that hold where the file sets none.
const EXCLUDED: &str = r".*[\-\.]internal, .*\.replica, __.*";

/// A link, and the flow that it takes over from.
pub(super) type MadeLink = (Map<String, Value>, Mirror);

/// Returns the links of the enabled flows.
pub(super) fn links(aliases: &[String], file: &File, report: &mut Report) -> Vec<MadeLink> {
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
        report.refuse(&Property::missing("A->B.enabled"), "no flow is enabled: there is nothing to copy");
    }
    defaults(file, report);
    clusters::workers(file, report);
    links
}

/// Takes bare properties that every flow overrides, and those that no link needs.
fn defaults(file: &File, report: &mut Report) {
    for property in file.unread().into_iter().cloned().collect::<Vec<_>>() {
        if let Some(known) = known::of(&property.name) {
            file.take(&property.name);
            report.add(&property, without_option(known.outcome), known.text);
        }
    }
}

/// Returns the fate of a property that makes no option for the link at hand.
fn without_option(outcome: Outcome) -> Outcome {
    if outcome == Outcome::Option { Outcome::Note } else { outcome }
}

/// Returns the pattern of topics that came from a cluster, at once or over others.
pub(super) fn returning(target: &str, separator: &str) -> String {
    let escape = |c: char| if r"\.+*?()|[]{}^$#&-~".contains(c) { format!("\\{c}") } else { c.to_string() };
    let separator: String = separator.chars().map(escape).collect();
    format!("(.*{separator})?{target}{separator}.*")
}

/// A flow that is enabled.
pub(super) struct Flow<'a> {
    pub(super) source: &'a str,
    pub(super) target: &'a str,
    /// The beginning of its properties.
    pub(super) start: String,
    pub(super) file: &'a File,
    pub(super) report: &'a mut Report,
}

/// The names that a flow gives to topics.
struct Names {
    is_identity: bool,
    /// Between the cluster's name and the topic's, where it is no dot.
    separator: Option<String>,
}

impl Flow<'_> {
    /// Returns a property: the flow's own, or the default of all flows.
    pub(super) fn get(&self, name: &str) -> Option<Property> {
        let bare = self.file.take(name);
        self.file.take(&format!("{}{name}", self.start)).or(bare)
    }

    /// Returns a property under its name or an older one.
    pub(super) fn get_either(&self, name: &str, older: &str) -> Option<Property> {
        let older = self.get(older);
        self.get(name).or(older)
    }

    fn link(mut self) -> MadeLink {
        let mut link = Map::new();
        let name = format!("{}-{}", self.source, self.target);
        for (option, value) in [("name", name.as_str()), ("source", self.source), ("target", self.target)] {
            link.insert(option.to_owned(), json!(value));
        }
        let mirror = Mirror::of(&self);
        let names = self.naming(&mut link);
        self.topics(&mut link, &names);
        self.delivery(&mut link);
        self.start_of(&mut link);
        self.lanes(&mut link);
        self.sync(&mut link);
        self.discovery(&mut link);
        self.groups(&mut link);
        self.mirror_records(&mut link);
        self.transforms(&mut link, names.is_identity);
        self.clients();
        self.rest();
        (link, mirror)
    }

    fn topics(&mut self, link: &mut Map<String, Value>, names: &Names) {
        let topics = match self.get("topics") {
            Some(property) => {
                self.report.option(&property, format!("topics of link {}-{}", self.source, self.target));
                self.refuse_patterns(&property);
                property.list().into_iter().filter(|pattern| is_pattern(pattern)).collect()
            }
            None => vec![".*".to_owned()],
        };
        if topics.is_empty() {
            self.report.refuse(&Property::missing(format!("{}topics", self.start)), "an empty list selects nothing");
        }
        link.insert("topics".to_owned(), json!(topics));
        let mut excluded = match self.get_either("topics.exclude", "topics.blacklist") {
            Some(property) => {
                self.report.option(&property, "topics_exclude");
                // One that is refused stays: without it the link would copy more.
                self.refuse_patterns(&property);
                property.list()
            }
            None => EXCLUDED.split(", ").map(str::to_owned).collect(),
        };
        if !names.is_identity {
            // MirrorMaker 2 goes by the names: one that contains the target's was there before.
            let cycle = Property::missing(format!("{}topics", self.start));
            // Of another separator too, which the names may keep.
            for separator in ["."].into_iter().chain(names.separator.as_deref()) {
                let returns = returning(self.target, separator);
                self.report
                    .note(&cycle, format!("topics that came from {} are left out, as there: '{returns}'", self.target));
                excluded.push(returns);
            }
        }
        link.insert("topics_exclude".to_owned(), json!(excluded));
    }

    /// Refuses the expressions that Strait does not have.
    fn refuse_patterns(&mut self, property: &Property) {
        for pattern in property.list().iter().filter(|pattern| !is_pattern(pattern)) {
            let text = format!(
                "'{pattern}' is no expression here, where there is no look-around and no reference back: write it with topics and topics_exclude"
            );
            self.report.refuse(property, text);
        }
    }

    /// Sets the naming.
    fn naming(&mut self, link: &mut Map<String, Value>) -> Names {
        let class = self.get("replication.policy.class");
        let short = class.as_ref().map_or("DefaultReplicationPolicy", |property| short_class(&property.value));
        let mut is_identity = short == "IdentityReplicationPolicy";
        let separator = self.get("replication.policy.separator");
        let between = separator.as_ref().map_or(".", |property| property.value.trim());
        let alias = self.alias();
        let before = format!("{alias}{between}");
        is_identity |= before.is_empty();
        let naming = match (is_identity, alias == self.source, between) {
            (true, ..) => json!("identity"),
            (_, true, ".") => json!("prefix"),
            (_, true, _) => json!({ "template": format!("{{source}}{between}{{topic}}") }),
            (_, false, _) => json!({ "template": format!("{before}{{topic}}") }),
        };
        let option = format!("naming = {}", super::inline(&naming));
        match (&class, short) {
            (None, _) => {}
            (Some(property), "DefaultReplicationPolicy" | "IdentityReplicationPolicy") => {
                self.report.option(property, &*option);
            }
            (Some(property), _) => self.report.refuse(
                property,
                "a policy of its own cannot be carried over: a template of naming, or plugin rename, gives topics other names",
            ),
        }
        match &separator {
            Some(property) if short == "IdentityReplicationPolicy" => {
                self.report.note(property, "topics keep their names");
            }
            Some(property) if between == "." => self.report.note(property, "the separator is a dot"),
            Some(property) => self.report.option(property, option),
            None => {}
        }
        link.insert("naming".to_owned(), naming);
        let separator = Some(between).filter(|between| !between.is_empty() && *between != ".").map(str::to_owned);
        Names { is_identity, separator }
    }

    /// Returns the name that the source has in the names of topics.
    fn alias(&mut self) -> String {
        if let Some(property) = self.get("target.cluster.alias") {
            self.report.note(&property, "the name of the target stands in no topic's name");
        }
        let Some(property) = self.get("source.cluster.alias") else { return self.source.to_owned() };
        let alias = property.value.trim().to_owned();
        if alias == self.source {
            self.report.note(&property, "the name of the source cluster");
        } else {
            self.report.option(&property, "naming: copied topics begin with this name there");
        }
        alias
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
        let Some(property) = self.consumer("auto.offset.reset") else { return };
        match property.value.trim() {
            value @ ("earliest" | "latest") => {
                link.insert("start".to_owned(), json!(value));
                self.report.option(&property, format!("start = \"{value}\""));
            }
            _ => self.report.refuse(&property, "start is earliest, latest or a time"),
        }
    }

    /// Returns a setting of the consumer that reads the source, by MirrorMaker 2's order: a
    /// cluster's `consumer.X` beats a flow's own `consumer.X`.
    fn consumer(&mut self, name: &str) -> Option<Property> {
        let own = self.file.take(&format!("{}source.consumer.{name}", self.start));
        let of_cluster = self.file.take(&format!("{}.consumer.{name}", self.source));
        let of_flow = self.file.take(&format!("{}consumer.{name}", self.start));
        let counts = own.or(of_cluster);
        if let (Some(counts), Some(beaten)) = (&counts, &of_flow) {
            self.report.note(beaten, format!("it has no effect there: {} counts", counts.shown));
        }
        counts.or(of_flow)
    }

    fn lanes(&mut self, link: &mut Map<String, Value>) {
        let Some(property) = self.get("tasks.max") else { return };
        match property.value.trim().parse::<u32>() {
            Ok(tasks) if tasks > 0 => {
                let lanes = tasks.min(64);
                link.insert("lanes".to_owned(), json!(lanes));
                self.report.option(&property, format!("lanes = {lanes}: as many processes can share the link"));
            }
            _ => self.report.refuse(&property, "lanes is a number from 1 to 64"),
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
                // One of the connector's own: consumer.poll.timeout.ms.
                if property.name.strip_prefix(&self.start).is_some_and(known::is_own) {
                    continue;
                }
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
            match known::of(name) {
                Some(known) => self.report.add(&property, without_option(known.outcome), known.text),
                None => self.report.refuse(
                    &property,
                    "it is no property of MirrorMaker 2: it has no effect there either, or it is misspelt",
                ),
            }
        }
    }
}

/// Returns the name of a class without its package.
fn short_class(class: &str) -> &str {
    class.trim().rsplit('.').next().unwrap_or_default()
}

fn is_pattern(pattern: &str) -> bool {
    Selector::new(&[pattern.to_owned()], &[]).is_ok()
}
