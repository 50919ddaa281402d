//! From a configuration of MirrorMaker 2 to one of Strait.
//!
//! Each property becomes an option, a note or a refusal, with its line. The grammar and the layers
//! are those of Kafka 4's `MirrorMakerConfig`: a bare property is the default of all flows,
//! `A->B.name` is one flow's, `A.name` a cluster's.

mod clusters;
mod flows;
mod foreign;
mod jaas;
mod known;
mod login;
mod mirror;
mod options;
mod properties;
mod references;
mod strimzi;
mod sync;
mod transforms;
mod write;

use std::collections::BTreeMap;

use serde_json::Map;

pub use self::mirror::Mirror;
pub use self::properties::FileError;
use self::properties::{File, Property};
use self::write::inline;

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
    /// The flows of MirrorMaker 2 that the links take over from.
    pub mirrors: Vec<Mirror>,
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
    Ok(translate(&file, Report::default()))
}

/// Translates a resource `KafkaMirrorMaker2` of Strimzi, in YAML or JSON.
///
/// # Errors
/// [`FileError`] for a file that cannot be parsed, or has no such resource.
pub fn strimzi(text: &[u8]) -> Result<Imported, FileError> {
    let mut report = Report::default();
    let resource = strimzi::Resource::parse(text, &mut report)?;
    let mut imported = translate(&resource.file, report);
    for mirror in &mut imported.mirrors {
        resource.complete(mirror);
    }
    Ok(imported)
}

fn translate(file: &File, mut report: Report) -> Imported {
    let aliases = aliases(file, &mut report);
    let mut clusters = Map::new();
    for alias in &aliases {
        clusters.insert(alias.clone(), clusters::cluster(alias, file, &mut report));
    }
    let (links, mirrors): (Vec<_>, Vec<_>) = flows::links(&aliases, file, &mut report).into_iter().unzip();
    for property in file.unread() {
        report.refuse(property, "it is no property of MirrorMaker 2: it has no effect there either, or it is misspelt");
    }
    report.findings.sort_by(|a, b| (a.line, &a.name, a.outcome, &a.text).cmp(&(b.line, &b.name, b.outcome, &b.text)));
    // A property of several flows becomes the same for each.
    report.findings.dedup();
    Imported { toml: write::toml(&clusters, &links, &report.findings), findings: report.findings, mirrors }
}

fn aliases(file: &File, report: &mut Report) -> Vec<String> {
    let Some(property) = file.take("clusters") else {
        report.refuse(&Property::missing("clusters"), "it is missing: the file names no clusters");
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
        let Property { line, shown, .. } = property;
        self.findings.push(Finding { line: *line, name: printable(shown), outcome, text: printable(&text.into()) });
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
