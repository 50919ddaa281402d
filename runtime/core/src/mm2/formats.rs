//! The records of MirrorMaker 2's topics, to the byte.
//!
//! A public format, written anew from its classes in Apache Kafka:
//! `org.apache.kafka.connect.mirror.Heartbeat`, `.Checkpoint` and `.OffsetSync`, with the primitive
//! types of `org.apache.kafka.common.protocol.types.Type`. Numbers are big-endian; a string is its
//! length in bytes (16 bits, signed, never negative) and UTF-8. The values of heartbeats and
//! checkpoints begin with a version, which is 0; those of offset syncs have none.

/// Bytes of the longest string that the format has room for (`Short.MAX_VALUE`).
const STRING_MAX: usize = i16::MAX as usize;
/// The only version that readers know.
const VERSION: i16 = 0;

/// A record that the format has no room for, or bytes that are no such record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A text is longer than 32,767 bytes.
    #[error("{part} has {bytes} bytes, and MirrorMaker 2's format has room for {STRING_MAX}")]
    TooLong {
        /// The part of the record.
        part: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// The bytes end too early, or go on behind the record.
    #[error("it is not as long as such a record")]
    Length,
    /// A text is not UTF-8, or its length is negative.
    #[error("a text is invalid")]
    Text,
    /// Another version than 0.
    #[error("its version is {found}, and only {VERSION} is known")]
    Version {
        /// The version.
        found: i16,
    },
}

/// A key and its value, as they stand in the topic.
pub type Bytes = (Vec<u8>, Vec<u8>);

/// A sign of life of a flow (`Heartbeat.java`). In the topic `heartbeats` of its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Alias of the cluster that the flow reads.
    pub source: String,
    /// Alias of the cluster that it writes.
    pub target: String,
    /// When it was written, in milliseconds since the Unix epoch. The record has the same time.
    pub timestamp_ms: i64,
}

/// Where a group goes on at the target (`Checkpoint.java`). In the topic
/// `<source>.checkpoints.internal`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The group.
    pub group: String,
    /// The topic, by its name on the target.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset that the group has committed on the source.
    pub upstream: i64,
    /// Where it goes on at the target.
    pub downstream: i64,
    /// The metadata beside the group's offset; empty if there is none.
    pub metadata: String,
}

/// Which source offset became which target offset (`OffsetSync.java`). In the topic
/// `mm2-offset-syncs.<source>.internal`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetSync {
    /// The topic, by its name on the source.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The source offset.
    pub upstream: i64,
    /// The target offset of the same record.
    pub downstream: i64,
}

impl Heartbeat {
    /// Encodes key and value.
    ///
    /// # Errors
    /// [`FormatError::TooLong`].
    pub fn encode(&self) -> Result<Bytes, FormatError> {
        let (mut key, mut value) = (Vec::new(), Vec::with_capacity(10));
        put_text(&mut key, "the source's name", &self.source)?;
        put_text(&mut key, "the target's name", &self.target)?;
        value.extend(VERSION.to_be_bytes());
        value.extend(self.timestamp_ms.to_be_bytes());
        Ok((key, value))
    }

    /// Decodes a record that is exactly a heartbeat.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, FormatError> {
        let (mut key, mut value) = (Rest(key), Rest(value));
        let (source, target) = (key.text()?, key.text()?);
        value.version()?;
        let timestamp_ms = value.long()?;
        key.end()?;
        value.end()?;
        Ok(Self { source, target, timestamp_ms })
    }
}

impl Checkpoint {
    /// Encodes key and value.
    ///
    /// # Errors
    /// [`FormatError::TooLong`].
    pub fn encode(&self) -> Result<Bytes, FormatError> {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        put_text(&mut key, "the group", &self.group)?;
        put_text(&mut key, "the topic", &self.topic)?;
        key.extend(self.partition.to_be_bytes());
        value.extend(VERSION.to_be_bytes());
        value.extend(self.upstream.to_be_bytes());
        value.extend(self.downstream.to_be_bytes());
        put_text(&mut value, "the metadata", &self.metadata)?;
        Ok((key, value))
    }

    /// Decodes a record that is exactly a checkpoint.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, FormatError> {
        let (mut key, mut value) = (Rest(key), Rest(value));
        let (group, topic, partition) = (key.text()?, key.text()?, key.int()?);
        value.version()?;
        let (upstream, downstream, metadata) = (value.long()?, value.long()?, value.text()?);
        key.end()?;
        value.end()?;
        Ok(Self { group, topic, partition, upstream, downstream, metadata })
    }
}

impl OffsetSync {
    /// Encodes key and value.
    ///
    /// # Errors
    /// [`FormatError::TooLong`].
    pub fn encode(&self) -> Result<Bytes, FormatError> {
        let (mut key, mut value) = (Vec::new(), Vec::with_capacity(16));
        put_text(&mut key, "the topic", &self.topic)?;
        key.extend(self.partition.to_be_bytes());
        value.extend(self.upstream.to_be_bytes());
        value.extend(self.downstream.to_be_bytes());
        Ok((key, value))
    }

    /// Decodes a record that is exactly an offset sync.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, FormatError> {
        let (mut key, mut value) = (Rest(key), Rest(value));
        let (topic, partition) = (key.text()?, key.int()?);
        let (upstream, downstream) = (value.long()?, value.long()?);
        key.end()?;
        value.end()?;
        Ok(Self { topic, partition, upstream, downstream })
    }
}

fn put_text(out: &mut Vec<u8>, part: &'static str, text: &str) -> Result<(), FormatError> {
    let bytes = text.len();
    let length = i16::try_from(bytes).map_err(|_| FormatError::TooLong { part, bytes })?;
    out.extend(length.to_be_bytes());
    out.extend(text.as_bytes());
    Ok(())
}

/// The bytes that are left to decode.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(FormatError::Length)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn int(&mut self) -> Result<i32, FormatError> {
        Ok(i32::from_be_bytes(self.take()?))
    }

    fn long(&mut self) -> Result<i64, FormatError> {
        Ok(i64::from_be_bytes(self.take()?))
    }

    fn version(&mut self) -> Result<(), FormatError> {
        match i16::from_be_bytes(self.take()?) {
            VERSION => Ok(()),
            found => Err(FormatError::Version { found }),
        }
    }

    fn text(&mut self) -> Result<String, FormatError> {
        let length = i16::from_be_bytes(self.take()?);
        let length = usize::try_from(length).map_err(|_| FormatError::Text)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(FormatError::Length)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).map_err(|_| FormatError::Text)
    }

    fn end(&self) -> Result<(), FormatError> {
        if self.0.is_empty() { Ok(()) } else { Err(FormatError::Length) }
    }
}
