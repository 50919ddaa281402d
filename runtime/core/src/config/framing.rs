//! The framing of keys and values by the serializers of a schema registry.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How one part of the records of some topics is framed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Framing {
    /// Source topics: regular expressions that must match the whole name.
    pub topics: Vec<String>,
    /// The part of their records.
    #[serde(default)]
    pub part: FramedPart,
    /// Its framing.
    pub frame: Frame,
}

/// The part of a record that is framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FramedPart {
    /// The value.
    #[default]
    Value,
    /// The key.
    Key,
}

/// The framing of a serializer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Frame {
    /// None.
    None,
    /// A zero byte and the id of the schema in four bytes, as serializers of Confluent's registry
    /// write. Plugins get what is behind them, and the five bytes stay as they are. Where header
    /// `__value_schema_id` or `__key_schema_id` holds the id there are no such bytes. A record that
    /// is framed otherwise is refused (`frame-missing`, `frame-header-twice`).
    Confluent,
}

impl Framing {
    /// Returns the name of the part in configuration files.
    #[must_use]
    pub fn part_name(&self) -> &'static str {
        match self.part {
            FramedPart::Value => "value",
            FramedPart::Key => "key",
        }
    }

    /// Returns the name of the framing in configuration files.
    #[must_use]
    pub fn frame_name(&self) -> &'static str {
        match self.frame {
            Frame::None => "none",
            Frame::Confluent => "confluent",
        }
    }
}
