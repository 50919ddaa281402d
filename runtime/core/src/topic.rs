//! Topic ids, the topic names that Kafka allows, and the names that are reserved.

use std::collections::BTreeMap;
use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use strait_scheme::names::is_allowed;
pub use strait_scheme::names::{LENGTH_MAX as NAME_LENGTH_MAX, is_in_names, is_reserved};

/// Kafka's 16-byte topic id (KIP-516). A topic that was deleted and created again has another id.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// The cluster reports no topic ids (brokers before 2.8, embedded test clusters).
    pub const UNKNOWN: Self = Self([0; 16]);

    /// Returns whether both ids are known and differ: then they are of two incarnations.
    #[must_use]
    pub fn is_other_than(self, found: Self) -> bool {
        self.is_known() && found.is_known() && self != found
    }

    /// Returns whether the cluster reported the id.
    #[must_use]
    pub fn is_known(self) -> bool {
        self != Self::UNKNOWN
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicId({self})")
    }
}

impl FromStr for TopicId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let value = u128::from_str_radix(text, 16).map_err(|_| format!("'{text}' is not a topic id"))?;
        if text.len() != 32 {
            return Err(format!("'{text}' is not a topic id: 32 hexadecimal digits expected"));
        }
        Ok(Self(value.to_be_bytes()))
    }
}

impl Serialize for TopicId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TopicId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A source partition of one incarnation of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionKey {
    /// Name of the source topic.
    pub topic: Arc<str>,
    /// Id of this incarnation of the topic.
    pub topic_id: TopicId,
    /// Partition number.
    pub partition: i32,
}

impl PartitionKey {
    /// Returns whether both may be the same partition: the same topic and number, and ids that do
    /// not say otherwise. An unknown id says nothing.
    #[must_use]
    pub fn may_be(&self, other: &Self) -> bool {
        self.topic == other.topic && self.partition == other.partition && !self.topic_id.is_other_than(other.topic_id)
    }

    /// Returns the entry of this partition: under its own key, or else under one whose topic id is
    /// unknown while this one's is known, or the other way round.
    #[must_use]
    pub fn entry_of<'a, T>(&self, map: &'a BTreeMap<Self, T>) -> Option<&'a T> {
        let under_another_id =
            || Self::of_topic(map, &self.topic).find(|(other, _)| other.may_be(self)).map(|(_, entry)| entry);
        map.get(self).or_else(under_another_id)
    }

    /// Returns the entries of a topic, of all its incarnations.
    pub fn of_topic<'a, T>(
        map: &'a BTreeMap<Self, T>,
        topic: &Arc<str>,
    ) -> impl Iterator<Item = (&'a Self, &'a T)> + use<'a, T> {
        let topic = Arc::clone(topic);
        let first = Self { topic: Arc::clone(&topic), topic_id: TopicId::UNKNOWN, partition: i32::MIN };
        map.range(first..).take_while(move |(key, _)| key.topic == topic)
    }
}

impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// The reason why a name cannot be the name of a target topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Kafka does not allow the name.
    #[error(
        "'{name}' is not a topic name that Kafka accepts: 1 to 249 of letters, digits, '.', '_' and '-', not '.' or '..'"
    )]
    Illegal {
        /// The rejected name.
        name: String,
    },
    /// The name is reserved for Strait, Kafka or MirrorMaker 2.
    #[error(
        "'{name}' is reserved (strait.*, __*, .*, *.internal, *-internal and MirrorMaker 2's own topics cannot be selected or written by a link)"
    )]
    Reserved {
        /// The rejected name.
        name: String,
    },
}

/// Checks a topic name against Kafka's rules (`org.apache.kafka.common.internals.Topic.validate`).
///
/// # Errors
/// [`NameError::Illegal`] if Kafka does not allow the name.
pub fn validate_name(name: &str) -> Result<(), NameError> {
    if is_allowed(name) { Ok(()) } else { Err(NameError::Illegal { name: name.to_owned() }) }
}

/// Returns what Kafka's metrics call a topic. A cluster creates no two topics of which this is
/// equal.
#[must_use]
pub fn collision_key(name: &str) -> String {
    name.replace('.', "_")
}

/// Checks the name of a topic that a link would write to.
///
/// # Errors
/// [`NameError`] if Kafka does not allow the name or it is reserved.
pub fn validate_target_name(name: &str) -> Result<(), NameError> {
    validate_name(name)?;
    if is_reserved(name) {
        return Err(NameError::Reserved { name: name.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafkas_rules_and_the_reserved_list() {
        for good in ["orders", "a.b_c-9", "x", "strait", "aws.orders", &"a".repeat(249)] {
            assert_eq!(validate_target_name(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a b", "ä", "a/b", &"a".repeat(250)] {
            assert!(matches!(validate_target_name(bad), Err(NameError::Illegal { .. })), "{bad}");
        }
        for reserved in
            ["strait.l.progress", "__consumer_offsets", "mm2-offset-syncs.b.internal", "a.checkpoints.internal"]
        {
            assert!(matches!(validate_target_name(reserved), Err(NameError::Reserved { .. })), "{reserved}");
        }
    }

    #[test]
    fn dots_and_underscores_count_as_equal_where_names_collide() {
        assert_eq!(collision_key("a.orders_v1"), collision_key("a_orders.v1"));
        assert_ne!(collision_key("a-orders"), collision_key("a_orders"));
    }

    #[test]
    fn only_two_known_ids_tell_incarnations_apart() {
        let (one, two) = (TopicId([1; 16]), TopicId([2; 16]));
        assert!(one.is_other_than(two));
        assert!(
            !one.is_other_than(one) && !one.is_other_than(TopicId::UNKNOWN) && !TopicId::UNKNOWN.is_other_than(one)
        );
    }

    #[test]
    fn a_topic_id_parses_what_it_prints() {
        let id = TopicId([0xab; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("zz".parse::<TopicId>().is_err());
        assert!("ab".parse::<TopicId>().is_err());
    }
}
