//! From a configuration of MirrorMaker 2 to one of Strait.
//!
//! Each property becomes an option, a note or a refusal, with its line. The grammar and the layers
//! are those of Kafka 4's `MirrorMakerConfig`: a bare property is the default of all flows,
//! `A->B.name` is one flow's, `A.name` a cluster's.

mod clusters;
mod flows;
mod foreign;
mod jaas;
mod login;
mod properties;
mod references;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

pub use self::properties::FileError;
use self::properties::{File, Property};

/// The fate of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It has no place in Strait: a person must decide.
    Refused,
    /// It is not carried over, and nothing is missing without it.
    Note,
    /// It became an option.
    Option,
}

impl Outcome {
    /// Returns the word that is shown.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Note => "note",
            Self::Option => "option",
        }
    }
}

/// A property and its fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Line of the file; 0 for a default that the file does not set.
    pub line: usize,
    /// Name of the property.
    pub name: String,
    /// Its fate.
    pub outcome: Outcome,
    /// The option, or the reason.
    pub text: String,
}

/// A configuration and what it is made from.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The configuration as TOML.
    pub toml: String,
    /// The fate of each property, by line.
    pub findings: Vec<Finding>,
}

impl Imported {
    /// Returns whether something was refused.
    #[must_use]
    pub fn has_refusals(&self) -> bool {
        self.findings.iter().any(|finding| finding.outcome == Outcome::Refused)
    }
}

/// Translates the text of an `mm2.properties`.
///
/// # Errors
/// [`FileError`] for a file that cannot be parsed, or is of another kind.
pub fn mirror_maker(text: &[u8]) -> Result<Imported, FileError> {
    if let Some(what) = foreign::recognise(&String::from_utf8_lossy(text)) {
        return Err(FileError::Foreign(printable(&what)));
    }
    let file = File::parse(text)?;
    if file.get("clusters").is_none()
        && let Some(what) = foreign::connector(|name| file.get(name).map(|property| property.value.trim().to_owned()))
    {
        return Err(FileError::Foreign(printable(&what)));
    }
    let mut report = Report::default();
    let aliases = aliases(&file, &mut report);
    let mut clusters = Map::new();
    for alias in &aliases {
        clusters.insert(alias.clone(), clusters::cluster(alias, &file, &mut report));
    }
    let links = flows::links(&aliases, &file, &mut report);
    for property in file.unread() {
        report.refuse(property, "it is no property of MirrorMaker 2: it has no effect there either, or it is misspelt");
    }
    report.findings.sort_by(|a, b| (a.line, &a.name, a.outcome, &a.text).cmp(&(b.line, &b.name, b.outcome, &b.text)));
    // A property of several flows becomes the same for each.
    report.findings.dedup();
    Ok(Imported { toml: toml(&clusters, &links, &report.findings), findings: report.findings })
}

fn aliases(file: &File, report: &mut Report) -> Vec<String> {
    let Some(property) = file.take("clusters") else {
        let missing = Property { line: 0, name: "clusters".to_owned(), value: String::new() };
        report.refuse(&missing, "it is missing: the file names no clusters");
        return Vec::new();
    };
    let mut aliases = Vec::new();
    for alias in property.list() {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if alias.len() > 100 || !alias.chars().all(is_allowed) {
            let text = format!(
                "'{alias}' cannot be the name of a cluster here, which has letters, digits, '-' and '_': it begins the names of the copied topics, so choose whether they may change"
            );
            report.refuse(&property, text);
            continue;
        }
        if !aliases.contains(&alias) {
            aliases.push(alias);
        }
    }
    report.option(&property, "one [clusters.NAME] each");
    aliases
}

/// Returns a text without control characters, which would end a comment of the new file.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Findings while the file is read.
#[derive(Default)]
struct Report {
    findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, property: &Property, outcome: Outcome, text: impl Into<String>) {
        let Property { line, name, .. } = property;
        self.findings.push(Finding { line: *line, name: printable(name), outcome, text: printable(&text.into()) });
    }

    fn option(&mut self, property: &Property, text: impl Into<String>) {
        self.add(property, Outcome::Option, text);
    }

    fn note(&mut self, property: &Property, text: impl Into<String>) {
        self.add(property, Outcome::Note, text);
    }

    fn refuse(&mut self, property: &Property, text: impl Into<String>) {
        self.add(property, Outcome::Refused, text);
    }
}

/// The options that are written first.
const FIRST: [&str; 8] = ["kind", "name", "source", "target", "topics", "topics_exclude", "naming", "plugin"];

/// Writes the configuration. Tables of tables go last, as TOML wants them. Refusals stand at the
/// top.
fn toml(clusters: &Map<String, Value>, links: &[Map<String, Value>], findings: &[Finding]) -> String {
    let mut text = String::from("# Made from a configuration of MirrorMaker 2. Try it with: strait check\n");
    for finding in findings.iter().filter(|finding| finding.outcome == Outcome::Refused) {
        text.push_str(&format!("# NOT carried over: {} (line {}): {}\n", finding.name, finding.line, finding.text));
    }
    for (name, cluster) in clusters {
        let Some(cluster) = cluster.as_object() else { continue };
        text.push_str(&format!("\n[clusters.{name}]\n"));
        entries(&mut text, cluster);
        if let Some(kafka) = cluster.get("kafka").and_then(Value::as_object) {
            text.push_str(&format!("[clusters.{name}.kafka]\n"));
            entries(&mut text, kafka);
        }
        if let Some(auth) = cluster.get("auth").and_then(Value::as_object) {
            text.push_str(&format!("[clusters.{name}.auth]\n"));
            entries(&mut text, auth);
        }
    }
    for link in links {
        text.push_str("\n[[links]]\n");
        entries(&mut text, link);
        if let Some(sync) = link.get("sync").and_then(Value::as_object) {
            text.push_str("[links.sync]\n");
            entries(&mut text, sync);
        }
        for plugin in link.get("plugins").and_then(Value::as_array).into_iter().flatten() {
            text.push_str("[[links.plugins]]\n");
            plugin.as_object().into_iter().for_each(|plugin| entries(&mut text, plugin));
        }
    }
    text
}

fn entries(text: &mut String, table: &Map<String, Value>) {
    let place = |name: &str| FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len());
    let mut entries: Vec<(&String, &Value)> =
        table.iter().filter(|(name, _)| !["kafka", "auth", "sync", "plugins"].contains(&name.as_str())).collect();
    entries.sort_by_key(|(name, _)| (place(name), name.as_str()));
    for (name, value) in entries {
        text.push_str(&format!("{} = {}\n", key(name), inline(value)));
    }
}

/// Writes a key, in quotes where it has other characters than a bare one.
fn key(name: &str) -> String {
    let is_bare = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if is_bare { name.to_owned() } else { toml::Value::String(name.to_owned()).to_string() }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => toml::Value::String(text.clone()).to_string(),
        Value::Array(list) => format!("[{}]", list.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(table) => {
            let entries: Vec<String> =
                table.iter().map(|(name, value)| format!("{} = {}", key(name), inline(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

/// The sum of findings by outcome.
#[must_use]
pub fn sums(findings: &[Finding]) -> BTreeMap<Outcome, usize> {
    findings.iter().fold(BTreeMap::new(), |mut sums, finding| {
        *sums.entry(finding.outcome).or_default() += 1;
        sums
    })
}

#[cfg(test)]
mod tests;
