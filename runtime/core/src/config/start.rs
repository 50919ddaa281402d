//! The position at which a link begins.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Position at which a link begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// The oldest record.
    #[default]
    Earliest,
    /// The end of the log at the first run.
    Latest,
    /// The first record at or after a time.
    At {
        /// Milliseconds since the Unix epoch.
        unix_ms: i64,
    },
}

impl Start {
    /// Parses `earliest`, `latest` or an RFC 3339 time.
    ///
    /// # Errors
    /// A message for the user if the text is none of these.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            _ => {
                let time: jiff::Timestamp = text.parse().map_err(|_| {
                    format!("'{text}' is neither 'earliest', 'latest' nor a time like 2026-01-31T08:00:00Z")
                })?;
                Ok(Self::At { unix_ms: time.as_millisecond() })
            }
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::At { unix_ms } => match jiff::Timestamp::from_millisecond(*unix_ms) {
                Ok(time) => time.fmt(f),
                Err(_) => write!(f, "{unix_ms} ms"),
            },
        }
    }
}

impl Serialize for Start {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for Start {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Start".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Position at which a link begins.",
            "anyOf": [
                { "const": "earliest", "description": "The oldest record." },
                { "const": "latest", "description": "The end of the log at the first run." },
                {
                    "type": "string", "format": "date-time",
                    "description": "A time (RFC 3339): the first record at or after it; if there is none, the end of the log at the first run."
                },
            ]
        })
    }
}
