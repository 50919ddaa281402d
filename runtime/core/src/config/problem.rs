//! What is wrong with a configuration. A problem knows its place, not its file: the loader adds the line.

use super::Path;
use super::reference::RefError;

/// Whether a problem stops anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// It runs, but look at it.
    Warning,
    /// It does not run.
    Error,
}

/// Which part of an entry is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Its name.
    Key,
    /// Its value.
    Value,
}

/// A problem at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where. For something that is missing: the table that misses it.
    pub at: Path,
    /// Name or value of the entry.
    pub part: Part,
    /// What.
    pub what: What,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum What {
    /// A key that nothing reads.
    #[error("unknown key '{key}'")]
    UnknownKey {
        /// The key.
        key: String,
        /// The nearest one that exists here.
        nearest: Option<String>,
        /// All that exist here.
        known: Vec<String>,
    },
    /// A required key is absent.
    #[error("'{key}' is missing")]
    Missing {
        /// The key.
        key: String,
        /// What it is for.
        doc: String,
    },
    /// A value of another type.
    #[error("{expected} expected, found {found}")]
    WrongType {
        /// What belongs there.
        expected: String,
        /// What stands there, without the value.
        found: &'static str,
    },
    /// A word that is none of the choices.
    #[error("'{found}' is not one of {}", choices.join(", "))]
    NotAChoice {
        /// The word.
        found: String,
        /// The words that are.
        choices: Vec<String>,
        /// The nearest of them.
        nearest: Option<String>,
    },
    /// A number outside its range.
    #[error("{found} is out of range: {min} to {max}")]
    OutOfRange {
        /// The number.
        found: String,
        /// Smallest.
        min: String,
        /// Largest.
        max: String,
    },
    /// A time that cannot be read.
    #[error("{0}")]
    BadStart(String),
    /// The model refuses what the structure check let pass.
    #[error("{0}")]
    Refused(String),
    /// A reference that cannot be resolved.
    #[error(transparent)]
    Reference(#[from] RefError),
    /// A reference where values are printed.
    #[error("references are not resolved here, since this value is printed in logs and names")]
    ReferenceNotHere,
    /// A cluster that is not in `clusters`.
    #[error("there is no cluster '{name}'")]
    UnknownCluster {
        /// The name.
        name: String,
        /// The nearest that exists.
        nearest: Option<String>,
        /// All that exist.
        known: Vec<String>,
    },
    /// A name with characters that do not fit.
    #[error("'{name}' cannot be the name of a {of}: {rule}")]
    BadName {
        /// `link` or `cluster`.
        of: &'static str,
        /// The name.
        name: String,
        /// What names are made of.
        rule: &'static str,
    },
    /// Two links of one name.
    #[error("links[{first}] is called '{name}' already")]
    DuplicateLink {
        /// The name.
        name: String,
        /// Index of the first one.
        first: usize,
    },
    /// A link from a cluster to itself.
    #[error("source and target are the same cluster '{name}'")]
    SameCluster {
        /// The cluster.
        name: String,
    },
    /// No link, no topic, no broker.
    #[error("{0}")]
    Empty(&'static str),
    /// A pattern that is not a regular expression.
    #[error("not a regular expression: {reason}")]
    BadRegex {
        /// What the parser says.
        reason: String,
    },
    /// A pattern that selects only topics that are never copied.
    #[error("'{pattern}' selects topics like '{sample}', which are reserved and never copied")]
    ReservedTopics {
        /// The pattern.
        pattern: String,
        /// A name it matches.
        sample: String,
    },
    /// A property that Strait sets itself.
    #[error("'{property}' cannot be set: {reason}")]
    RefusedProperty {
        /// The property.
        property: String,
        /// What would break.
        reason: &'static str,
        /// What to use instead.
        instead: Option<&'static str>,
    },
    /// A property that librdkafka does not have.
    #[error("librdkafka has no property '{property}'")]
    UnknownProperty {
        /// The property.
        property: String,
        /// The nearest that exists.
        nearest: Option<String>,
    },
    /// A property value that this build cannot do.
    #[error("'{property}' cannot be '{value}': {reason}")]
    UnsupportedValue {
        /// The property.
        property: String,
        /// The value.
        value: String,
        /// Why.
        reason: &'static str,
    },
    /// Verification switched off without saying so.
    #[error(
        "'{property}' switches off the verification of the brokers: anyone on the line can read and change everything"
    )]
    Insecure {
        /// The property.
        property: String,
    },
    /// Credentials without encryption.
    #[error("security.protocol is SASL_PLAINTEXT: credentials and records cross the network unencrypted")]
    Plaintext,
    /// A broker address that is not one.
    #[error("'{address}' is not a broker address: {reason}")]
    BadAddress {
        /// The address, without user name and password.
        address: String,
        /// Why.
        reason: &'static str,
    },
    /// A value that cannot be.
    #[error("'{value}' cannot be used: {reason}")]
    BadSetting {
        /// The value.
        value: String,
        /// Why, and what to write.
        reason: &'static str,
    },
    /// A plugin name that can be neither a bundled plugin nor a file.
    #[error("'{name}' is neither a bundled plugin nor can it be a file in the plugin folder")]
    BadPlugin {
        /// The name.
        name: String,
        /// The nearest bundled one.
        nearest: Option<String>,
    },
    /// Records would go round and round.
    #[error("topic '{topic}' of cluster '{cluster}' would be copied round and round: {route}")]
    Loop {
        /// Cluster where it starts.
        cluster: String,
        /// A topic that loops.
        topic: String,
        /// The topics on the way.
        route: String,
        /// Whether a plugin on the way may break it.
        certain: bool,
    },
    /// Two links write one topic.
    #[error("link '{other}' writes to '{topic}' on cluster '{target}' as well")]
    Collision {
        /// The other link.
        other: String,
        /// Topic on the target.
        topic: String,
        /// The target.
        target: String,
        /// Whether both read the same source topic, so that every record comes twice.
        same_source: bool,
    },
    /// A setting that works against another.
    #[error("{0}")]
    Conflict(String),
    /// An environment variable that looks like an override and is none.
    #[error("environment variable {name} sets nothing: there is no option '{key}'")]
    StrayVariable {
        /// The variable.
        name: String,
        /// What it would set.
        key: String,
        /// The nearest that exists.
        nearest: Option<String>,
    },
}

impl What {
    /// Whether it stops anything.
    #[must_use]
    pub fn gravity(&self) -> Gravity {
        match self {
            Self::Plaintext | Self::StrayVariable { .. } => Gravity::Warning,
            Self::Loop { certain, .. } if !certain => Gravity::Warning,
            Self::Collision { same_source, .. } if !same_source => Gravity::Warning,
            _ => Gravity::Error,
        }
    }

    /// A stable name for scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownKey { .. } => "unknown-key",
            Self::Missing { .. } => "missing-key",
            Self::WrongType { .. } => "wrong-type",
            Self::NotAChoice { .. } => "not-a-choice",
            Self::OutOfRange { .. } => "out-of-range",
            Self::BadStart(_) => "bad-start",
            Self::Refused(_) => "refused",
            Self::Reference(_) => "unresolved-reference",
            Self::ReferenceNotHere => "reference-not-here",
            Self::UnknownCluster { .. } => "unknown-cluster",
            Self::BadName { .. } => "bad-name",
            Self::DuplicateLink { .. } => "duplicate-link",
            Self::SameCluster { .. } => "same-cluster",
            Self::Empty(_) => "empty",
            Self::BadRegex { .. } => "bad-regex",
            Self::ReservedTopics { .. } => "reserved-topics",
            Self::RefusedProperty { .. } => "refused-property",
            Self::UnknownProperty { .. } => "unknown-property",
            Self::UnsupportedValue { .. } => "unsupported-value",
            Self::Insecure { .. } => "insecure",
            Self::Plaintext => "plaintext",
            Self::BadAddress { .. } => "bad-address",
            Self::BadSetting { .. } => "bad-setting",
            Self::BadPlugin { .. } => "bad-plugin",
            Self::Loop { .. } => "loop",
            Self::Collision { .. } => "collision",
            Self::Conflict(_) => "conflict",
            Self::StrayVariable { .. } => "stray-variable",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::UnknownKey { nearest, known, .. } => Some(did_you_mean(nearest.as_deref(), known)),
            Self::Missing { doc, .. } if !doc.is_empty() => Some(doc.clone()),
            Self::NotAChoice { nearest, .. } => nearest.as_ref().map(|word| format!("did you mean '{word}'?")),
            Self::ReferenceNotHere => Some(
                "references work in plugin_dir, state_dir, bootstrap_servers, kafka properties and plugin configs; elsewhere use an \
                 environment override (STRAIT_LINKS__0__TOPICS)"
                    .to_owned(),
            ),
            Self::UnknownCluster { nearest, known, .. } => Some(did_you_mean(nearest.as_deref(), known)),
            Self::SameCluster { .. } => Some("a link copies from one cluster to another".to_owned()),
            Self::BadRegex { .. } => {
                Some("patterns match whole topic names: 'orders' is one topic, 'orders.*' all that begin so".to_owned())
            }
            Self::RefusedProperty { instead, .. } => instead.map(|option| format!("use {option} instead")),
            Self::UnknownProperty { nearest, .. } => nearest.as_ref().map(|name| format!("did you mean '{name}'?")),
            Self::Insecure { .. } => Some(
                "trust the brokers' certificate authority with ssl.ca.location instead; to go on all the same, set \
                 insecure = true on the cluster"
                    .to_owned(),
            ),
            Self::Plaintext => Some("use SASL_SSL; insecure = true on the cluster silences this".to_owned()),
            Self::BadPlugin { nearest, .. } => nearest.as_ref().map(|name| format!("did you mean '{name}'?")),
            Self::Loop { .. } => Some("leave the copies out with topics_exclude on one of the links".to_owned()),
            Self::Collision { same_source: true, .. } => {
                Some("every record would be there twice: narrow topics, or set topics_exclude, on one of them".to_owned())
            }
            Self::Collision { .. } => Some(
                "records of both sources would mix in its partitions, and translated offsets become inexact; \
                 naming = \"prefix\" keeps them apart"
                    .to_owned(),
            ),
            Self::StrayVariable { nearest, .. } => nearest.as_ref().map(|key| format!("did you mean '{key}'?")),
            _ => None,
        }
    }
}

fn did_you_mean(nearest: Option<&str>, known: &[String]) -> String {
    match nearest {
        Some(name) => format!("did you mean '{name}'?"),
        None if known.is_empty() => "nothing can stand here".to_owned(),
        None => format!("known here: {}", known.join(", ")),
    }
}

/// The known name nearest to `found`, if any is near enough to be meant.
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let found = found.to_ascii_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&found, &name.to_ascii_lowercase().replace('-', "_")), name))
        .filter(|(similarity, _)| *similarity > 0.84)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.to_owned())
}
