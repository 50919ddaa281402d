//! The positions of MirrorMaker 2: the topic in which Kafka Connect keeps the offsets of its source
//! connectors.
//!
//! A key is an array of the connector's name and of what the connector calls a partition; for the
//! one that copies records that is `{"cluster","partition","topic"}`. The value is `{"offset": N}`
//! for the last offset that was copied, or a tombstone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

/// A record of the topic that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("offset {offset} of partition {partition} is no position of MirrorMaker 2: {reason}")]
pub struct PositionsError {
    /// Partition of the record.
    pub partition: i32,
    /// Offset of the record.
    pub offset: i64,
    /// The fault.
    pub reason: String,
}

/// The positions are not those of one connector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectorsError {
    /// There are none.
    #[error(
        "there are no positions of cluster '{alias}'{}: see that the alias and the topic are those of MirrorMaker 2",
        .connector.as_ref().map(|name| format!(" by connector '{name}'")).unwrap_or_default()
    )]
    None {
        /// Alias of the source cluster.
        alias: String,
        /// The connector that was asked for.
        connector: Option<String>,
    },
    /// Several connectors have copied from the cluster.
    #[error(
        "several connectors have positions of cluster '{alias}': choose one with --connector: {}",
        .connectors.join(", ")
    )]
    Several {
        /// Alias of the source cluster.
        alias: String,
        /// Their names.
        connectors: Vec<String>,
    },
}

/// A partition, as the connector that copies records names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct SourcePartition {
    cluster: Arc<str>,
    topic: Arc<str>,
    partition: i32,
}

/// The positions of all connectors, from the records of the topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MirrorPositions {
    by_connector: BTreeMap<String, BTreeMap<SourcePartition, i64>>,
}

impl MirrorPositions {
    /// Adds the next record of a partition of the topic. The last value of a key counts. Records of
    /// connectors of other kinds are passed over.
    ///
    /// # Errors
    /// [`PositionsError`] for a position that cannot be read. Nothing is guessed.
    pub fn fold(
        &mut self,
        (partition, offset): (i32, i64),
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), PositionsError> {
        let Ok((connector, of)) = serde_json::from_slice::<(String, Value)>(key) else { return Ok(()) };
        let Ok(of) = serde_json::from_value::<SourcePartition>(of) else { return Ok(()) };
        let positions = self.by_connector.entry(connector).or_default();
        let Some(value) = value else {
            positions.remove(&of);
            return Ok(());
        };
        let wrong = |reason: String| PositionsError { partition, offset, reason };
        let value: Value = serde_json::from_slice(value).map_err(|error| wrong(error.to_string()))?;
        if value.is_null() {
            positions.remove(&of);
            return Ok(());
        }
        let copied = value.get("offset").and_then(Value::as_i64).filter(|offset| *offset >= 0);
        let copied = copied.ok_or_else(|| wrong("it has no offset".to_owned()))?;
        positions.insert(of, copied);
        Ok(())
    }

    /// Returns the last offsets that were copied from a cluster, by topic and partition.
    ///
    /// # Errors
    /// [`ConnectorsError`] if there are none, or those of several connectors and none is named.
    pub fn of(&self, alias: &str, connector: Option<&str>) -> Result<BTreeMap<(Arc<str>, i32), i64>, ConnectorsError> {
        let is_wanted = |name: &str| connector.is_none_or(|connector| connector == name);
        let mut found: BTreeMap<&str, BTreeMap<(Arc<str>, i32), i64>> = BTreeMap::new();
        for (name, positions) in self.by_connector.iter().filter(|(name, _)| is_wanted(name)) {
            for (of, offset) in positions.iter().filter(|(of, _)| &*of.cluster == alias) {
                found.entry(name).or_default().insert((Arc::clone(&of.topic), of.partition), *offset);
            }
        }
        let names: BTreeSet<&str> = found.keys().copied().collect();
        match found.len() {
            0 => Err(ConnectorsError::None { alias: alias.to_owned(), connector: connector.map(str::to_owned) }),
            1 => Ok(found.into_values().next().unwrap_or_default()),
            _ => {
                let connectors = names.into_iter().map(str::to_owned).collect();
                Err(ConnectorsError::Several { alias: alias.to_owned(), connectors })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(connector: &str, cluster: &str, topic: &str, partition: i32) -> String {
        format!(r#"["{connector}",{{"cluster":"{cluster}","partition":{partition},"topic":"{topic}"}}]"#)
    }

    fn folded(records: &[(String, Option<&str>)]) -> Result<MirrorPositions, PositionsError> {
        let mut positions = MirrorPositions::default();
        for (offset, (key, value)) in (0..).zip(records) {
            positions.fold((3, offset), key.as_bytes(), value.map(str::as_bytes))?;
        }
        Ok(positions)
    }

    #[test]
    fn the_last_value_of_a_key_counts_and_a_tombstone_is_none() {
        let (source, other) = ("MirrorSourceConnector", r#"["MirrorCheckpointConnector",{"group":"g"}]"#);
        let positions = folded(&[
            (key(source, "A", "t", 0), Some(r#"{"offset":5}"#)),
            (key(source, "A", "t", 0), Some(r#"{"offset":9}"#)),
            (key(source, "A", "t", 1), Some(r#"{"offset":1}"#)),
            (key(source, "A", "t", 1), None),
            (key(source, "A", "t", 2), Some("null")),
            (key(source, "B", "t", 0), Some(r#"{"offset":77}"#)),
            (other.to_owned(), Some(r#"{"offset":0}"#)),
            ("no JSON".to_owned(), Some("x")),
            (r#"["x",{"cluster":"A"}]"#.to_owned(), Some("x")),
        ]);
        let positions = positions.unwrap();
        assert_eq!(positions.of("A", None).unwrap(), [(("t".into(), 0), 9)].into());
        assert_eq!(positions.of("B", Some(source)).unwrap(), [(("t".into(), 0), 77)].into());
        let none = positions.of("C", Some("x")).unwrap_err().to_string();
        assert!(none.contains("'C' by connector 'x'"), "{none}");
    }

    #[test]
    fn two_connectors_of_one_cluster_are_ambiguous_and_what_cannot_be_read_is_refused() {
        let value = Some(r#"{"offset":5}"#);
        let two = [(key("a->b.M", "A", "t", 0), value), (key("old", "A", "t", 1), value)];
        let positions = folded(&two).unwrap();
        let said = positions.of("A", None).unwrap_err().to_string();
        assert!(said.contains("--connector: a->b.M, old"), "{said}");
        assert_eq!(positions.of("A", Some("old")).unwrap().len(), 1);
        // One that has no position left is none.
        let left = folded(&[two[0].clone(), two[1].clone(), (key("old", "A", "t", 1), None)]).unwrap();
        assert_eq!(left.of("A", None).unwrap().len(), 1);
        for bad in ["{}", "{\"offset\":-1}", "{\"offset\":\"1\"}", "x"] {
            let error = folded(&[(key("M", "A", "t", 0), Some(bad))]).unwrap_err();
            assert_eq!((error.partition, error.offset), (3, 0), "{bad}");
        }
    }
}
