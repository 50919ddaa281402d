//! Problems of a configuration. A problem knows its place, not its file; the loader adds the line.

use super::Path;
use super::reference::RefError;

/// Whether a problem prevents a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// The configuration can run, but deserves a look.
    Warning,
    /// The configuration cannot run.
    Error,
}

/// The part of an entry that a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The name.
    Key,
    /// The value.
    Value,
}

/// A problem at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Place of the problem. If a key is missing, the table that lacks it.
    pub at: Path,
    /// Whether the entry's name or value is wrong.
    pub part: Part,
    /// The problem.
    pub what: What,
}

/// The kinds of problems.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum What {
    /// A key that does not exist.
    #[error("unknown key '{key}'")]
    UnknownKey {
        /// The key.
        key: String,
        /// The most similar key that exists here.
        nearest: Option<String>,
        /// All keys that exist here.
        known: Vec<String>,
    },
    /// A required key is absent.
    #[error("'{key}' is missing")]
    Missing {
        /// The key.
        key: String,
        /// Description of the key.
        doc: String,
    },
    /// A value of the wrong type.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// The expected type.
        expected: String,
        /// The type found, without the value.
        found: &'static str,
        /// The remedy.
        hint: Option<String>,
    },
    /// A number with more digits than a number can keep.
    #[error("{digits} is too large for a number: digits would be lost")]
    TooLarge {
        /// The number as written.
        digits: String,
    },
    /// A word that is not one of the choices.
    #[error("'{found}' is not one of {}", choices.join(", "))]
    NotAChoice {
        /// The word found.
        found: String,
        /// All choices.
        choices: Vec<String>,
        /// The most similar choice.
        nearest: Option<String>,
    },
    /// A number outside its range.
    #[error("{found} is out of range: {min} to {max}")]
    OutOfRange {
        /// The number found.
        found: String,
        /// The smallest allowed number.
        min: String,
        /// The largest allowed number.
        max: String,
    },
    /// A `start` that cannot be parsed.
    #[error("{0}")]
    BadStart(String),
    /// A value that passes the structure check but that the model refuses.
    #[error("{0}")]
    Refused(String),
    /// A reference that cannot be resolved.
    #[error(transparent)]
    Reference(#[from] RefError),
    /// A reference in a value that is printed.
    #[error("references are not resolved here, because this value appears in logs and names")]
    ReferenceNotHere,
    /// A cluster that is not in `clusters`.
    #[error("there is no cluster '{name}'")]
    UnknownCluster {
        /// The name.
        name: String,
        /// The most similar one that exists.
        nearest: Option<String>,
        /// All that exist.
        known: Vec<String>,
    },
    /// A name with characters that are not allowed.
    #[error("'{name}' cannot be the name of a {of}: {rule}")]
    BadName {
        /// `link`, `cluster` or `region`.
        of: &'static str,
        /// The name.
        name: String,
        /// The rule for names.
        rule: &'static str,
    },
    /// Two links with one name.
    #[error("links[{first}] already has the name '{name}'")]
    DuplicateLink {
        /// The name.
        name: String,
        /// Index of the first link with this name.
        first: usize,
    },
    /// A link from a cluster to itself.
    #[error("source and target are the same cluster '{name}'")]
    SameCluster {
        /// The cluster.
        name: String,
    },
    /// No link, no topic or no broker.
    #[error("{0}")]
    Empty(&'static str),
    /// A pattern that is not a regular expression.
    #[error("not a regular expression: {reason}")]
    BadRegex {
        /// The parser's message.
        reason: String,
        /// The remedy.
        help: String,
    },
    /// A pattern that the name of no topic can match.
    #[error("'{pattern}' matches nothing: {reason}")]
    MatchesNothing {
        /// The pattern.
        pattern: String,
        /// Why.
        reason: String,
        /// The remedy.
        help: Option<String>,
    },
    /// A `*` that repeats one character.
    #[error("'{pattern}' repeats the one character before the '*'")]
    Glob {
        /// The pattern.
        pattern: String,
        /// The pattern that was probably meant.
        meant: String,
    },
    /// A pattern that selects reserved topics, which are never copied.
    #[error("'{pattern}' selects topics like '{sample}', which are reserved and never copied")]
    ReservedTopics {
        /// The pattern.
        pattern: String,
        /// A reserved name that it matches.
        sample: String,
    },
    /// A property that Strait sets itself.
    #[error("'{property}' cannot be set: {reason}")]
    RefusedProperty {
        /// The property.
        property: String,
        /// The guarantee that setting it would break.
        reason: &'static str,
        /// The option to use instead.
        instead: Option<&'static str>,
    },
    /// A property that librdkafka does not have.
    #[error("librdkafka has no property '{property}'")]
    UnknownProperty {
        /// The property.
        property: String,
        /// The most similar one that exists.
        nearest: Option<String>,
    },
    /// A property that only Kafka's Java clients have.
    #[error("'{property}' is a property of Kafka's Java clients: {instead}")]
    JavaProperty {
        /// The property.
        property: String,
        /// The property or option that takes its place here.
        instead: &'static str,
    },
    /// A property value that librdkafka refuses.
    #[error("librdkafka refuses the value: {reason}")]
    RefusedValue {
        /// librdkafka's message.
        reason: String,
    },
    /// A property value that this build does not support.
    #[error("'{property}' cannot be '{value}': {reason}")]
    UnsupportedValue {
        /// The property.
        property: String,
        /// The value.
        value: String,
        /// Why.
        reason: &'static str,
    },
    /// Verification disabled without `insecure = true`.
    #[error(
        "'{property}' disables the verification of the brokers: anyone on the network can read and change all traffic"
    )]
    Insecure {
        /// The property.
        property: String,
    },
    /// Credentials without encryption.
    #[error("security.protocol is SASL_PLAINTEXT: credentials and records cross the network unencrypted")]
    Plaintext,
    /// A password or token that anybody on the network could use.
    #[error("{mechanism} over SASL_PLAINTEXT sends the password or token itself across the network unencrypted")]
    PasswordInClear {
        /// The login mechanism.
        mechanism: String,
    },
    /// A connection that must be encrypted and is not.
    #[error("cluster '{cluster}' is reached without encryption ({protocol}), which link '{link}' does not allow{}", between(regions.as_deref()))]
    Unencrypted {
        /// The cluster.
        cluster: String,
        /// Its security protocol.
        protocol: &'static str,
        /// The link.
        link: String,
        /// The regions of source and target, where they are the reason.
        regions: Option<Box<(String, String)>>,
    },
    /// An invalid broker address.
    #[error("'{address}' is not a broker address: {reason}")]
    BadAddress {
        /// The address, without user name and password.
        address: String,
        /// Why.
        reason: String,
    },
    /// An invalid value.
    #[error("'{value}' cannot be used: {reason}")]
    BadSetting {
        /// The value.
        value: String,
        /// The reason, and what to write instead.
        reason: &'static str,
    },
    /// A plugin name that can be neither a bundled plugin nor a file.
    #[error(
        "'{name}' is neither a bundled plugin nor a valid file name in the plugin folder: up to 255 bytes without spaces, commas, '@' and control characters, which begin with no dot and end with no '/'"
    )]
    BadPlugin {
        /// The name.
        name: String,
        /// The most similar bundled plugin.
        nearest: Option<String>,
    },
    /// Records would be copied in a loop.
    #[error("topic '{topic}' of cluster '{cluster}' would be copied in a loop: {route}")]
    Loop {
        /// Cluster where the loop starts.
        cluster: String,
        /// A topic in the loop.
        topic: String,
        /// The topics along the loop.
        route: String,
        /// `false` if a plugin along the loop may prevent it.
        certain: bool,
    },
    /// Two links write to one topic.
    #[error("link '{other}' also writes to '{topic}' on cluster '{target}'")]
    Collision {
        /// The other link.
        other: String,
        /// The topic on the target.
        topic: String,
        /// The target cluster.
        target: String,
        /// Whether both read the same source topic, so that every record would be written twice.
        same_source: bool,
    },
    /// An option that contradicts another.
    #[error("{0}")]
    Conflict(String),
    /// An environment variable that looks like an override but sets nothing.
    #[error("environment variable {name} sets nothing: there is no option '{key}'")]
    StrayVariable {
        /// The variable.
        name: String,
        /// The key that it would set.
        key: String,
        /// The most similar one that exists.
        nearest: Option<String>,
    },
}

impl What {
    /// Returns whether the problem prevents a start.
    #[must_use]
    pub fn gravity(&self) -> Gravity {
        match self {
            Self::Plaintext | Self::Glob { .. } | Self::StrayVariable { .. } => Gravity::Warning,
            Self::Loop { certain, .. } if !certain => Gravity::Warning,
            Self::Collision { same_source, .. } if !same_source => Gravity::Warning,
            _ => Gravity::Error,
        }
    }

    /// Returns a stable name for scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownKey { .. } => "unknown-key",
            Self::Missing { .. } => "missing-key",
            Self::WrongType { .. } => "wrong-type",
            Self::TooLarge { .. } => "too-large",
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
            Self::MatchesNothing { .. } => "matches-nothing",
            Self::Glob { .. } => "glob",
            Self::ReservedTopics { .. } => "reserved-topics",
            Self::RefusedProperty { .. } => "refused-property",
            Self::UnknownProperty { .. } => "unknown-property",
            Self::JavaProperty { .. } => "java-property",
            Self::RefusedValue { .. } => "refused-value",
            Self::UnsupportedValue { .. } => "unsupported-value",
            Self::Insecure { .. } => "insecure",
            Self::Plaintext => "plaintext",
            Self::PasswordInClear { .. } => "password-in-clear",
            Self::Unencrypted { .. } => "unencrypted",
            Self::BadAddress { .. } => "bad-address",
            Self::BadSetting { .. } => "bad-setting",
            Self::BadPlugin { .. } => "bad-plugin",
            Self::Loop { .. } => "loop",
            Self::Collision { .. } => "collision",
            Self::Conflict(_) => "conflict",
            Self::StrayVariable { .. } => "stray-variable",
        }
    }

    /// Returns what to do about the problem.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::UnknownKey { nearest, known, .. } => Some(did_you_mean(nearest.as_deref(), known)),
            Self::Missing { doc, .. } if !doc.is_empty() => Some(doc.clone()),
            Self::WrongType { hint, .. } => hint.clone(),
            Self::TooLarge { .. } => Some("write it in quotes to keep it as text".to_owned()),
            Self::NotAChoice { nearest, .. } => nearest.as_ref().map(|word| format!("did you mean '{word}'?")),
            Self::ReferenceNotHere => Some(
                "references work in plugin_dir, state_dir, bootstrap_servers, kafka properties, auth and plugin \
                 configs; elsewhere use an environment override (STRAIT_LINKS__0__TOPICS)"
                    .to_owned(),
            ),
            Self::UnknownCluster { nearest, known, .. } => Some(did_you_mean(nearest.as_deref(), known)),
            Self::SameCluster { .. } => Some("a link copies from one cluster to another".to_owned()),
            Self::BadRegex { help, .. } => Some(help.clone()),
            Self::MatchesNothing { help, .. } => help.clone(),
            Self::Glob { meant, .. } => Some(format!("did you mean '{meant}'? '.*' stands for any text")),
            Self::RefusedProperty { instead, .. } => instead.map(|option| format!("use {option} instead")),
            Self::UnknownProperty { nearest, .. } => nearest.as_ref().map(|name| format!("did you mean '{name}'?")),
            Self::Insecure { .. } => Some(
                "trust the brokers' certificate authority with ssl.ca.location instead; to allow it anyway, set \
                 insecure = true on the cluster"
                    .to_owned(),
            ),
            Self::Plaintext => Some("use SASL_SSL; insecure = true on the cluster silences this".to_owned()),
            Self::PasswordInClear { .. } => {
                Some("use SASL_SSL; to allow it anyway, set insecure = true on the cluster".to_owned())
            }
            Self::Unencrypted { .. } => Some(
                "set security.protocol to SSL or SASL_SSL; to allow it anyway, set require_encryption = false on the link"
                    .to_owned(),
            ),
            Self::BadPlugin { nearest, .. } => nearest.as_ref().map(|name| format!("did you mean '{name}'?")),
            Self::Loop { .. } => Some("exclude the copies with topics_exclude on one of the links".to_owned()),
            Self::Collision { same_source: true, .. } => Some(
                "every record would be written twice: narrow topics, or set topics_exclude, on one of the links"
                    .to_owned(),
            ),
            Self::Collision { .. } => Some(
                "its partitions would mix records of both sources, and translated offsets would be inexact; \
                 naming = \"prefix\" keeps them apart"
                    .to_owned(),
            ),
            Self::StrayVariable { nearest, .. } => nearest.as_ref().map(|key| format!("did you mean '{key}'?")),
            _ => None,
        }
    }
}

fn between(regions: Option<&(String, String)>) -> String {
    regions.map_or_else(String::new, |(source, target)| format!(": it goes from region {source} to region {target}"))
}

fn did_you_mean(nearest: Option<&str>, known: &[String]) -> String {
    match nearest {
        Some(name) => format!("did you mean '{name}'?"),
        None if known.is_empty() => "no key is allowed here".to_owned(),
        None => format!("known here: {}", known.join(", ")),
    }
}

/// Returns the known name most similar to `found`, if any is similar enough.
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let found = found.to_ascii_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&found, &name.to_ascii_lowercase().replace('-', "_")), name))
        .filter(|(similarity, _)| *similarity > 0.84)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.to_owned())
}
