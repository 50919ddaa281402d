//! Runs a plugin without Wasm and without a host, for unit tests: records in, edits out.
//!
//! Columns are packed by the layout in `plugin.wit`, as far as the plugin's needs request them.
//! Fields are given with each record, because finding them in a value is the host's work.

use std::{cell::RefCell, fmt::Write as _};

use crate::{
    ConfigError, Level, LinkInfo, Needs, Plugin, TopicPlan, ValueState,
    bindings::strait::plugin::types::{Batch, Edits},
    run,
};

thread_local! {
    static LOGS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static COUNTS: RefCell<Vec<(u32, u64)>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn record_log(level: Level, message: &str) {
    LOGS.with_borrow_mut(|logs| logs.push(format!("{level:?}: {message}")));
}

pub(crate) fn record_count(counter: u32, delta: u64) {
    COUNTS.with_borrow_mut(|counts| counts.push((counter, delta)));
}

/// Returns the messages that plugins on this thread have logged since the last call.
pub fn take_logs() -> Vec<String> {
    LOGS.take()
}

/// Returns the counts that plugins on this thread have added since the last call, in order.
pub fn take_counts() -> Vec<(u32, u64)> {
    COUNTS.take()
}

/// Returns a link from `aws` in `eu-west-1` to `gcp`.
#[must_use]
pub fn link() -> LinkInfo {
    LinkInfo {
        link: "aws-to-gcp".into(),
        source: "aws".into(),
        source_region: Some("eu-west-1".into()),
        target: "gcp".into(),
        target_region: None,
        options: Vec::new(),
    }
}

/// Returns the same link with residency demanded.
#[must_use]
pub fn residency_link() -> LinkInfo {
    LinkInfo { options: vec![(2, vec![1])], ..link() }
}

/// A record to pass to a plugin.
#[derive(Clone, Debug)]
pub struct TestRecord {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    timestamp_ms: i64,
    state: u8,
    /// Index of the path, JSON text, pointer.
    fields: Vec<(u32, String, String)>,
}

impl Default for TestRecord {
    fn default() -> Self {
        Self { key: None, value: None, headers: Vec::new(), timestamp_ms: 1_000, state: 1, fields: Vec::new() }
    }
}

impl TestRecord {
    /// Creates a record with a null key, a null value and no headers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the key.
    #[must_use]
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.key = Some(key.as_ref().to_vec());
        self
    }

    /// Sets the value to a document that parses.
    #[must_use]
    pub fn value(mut self, value: impl AsRef<[u8]>) -> Self {
        self.value = Some(value.as_ref().to_vec());
        self.state = 0;
        self
    }

    /// Sets the state of the value.
    #[must_use]
    pub fn state(mut self, state: ValueState) -> Self {
        self.state = match state {
            ValueState::Parsed => 0,
            ValueState::Null => 1,
            ValueState::Empty => 2,
            ValueState::NotJson => 3,
            ValueState::NotUtf8 => 4,
            ValueState::TrailingBytes => 5,
            ValueState::DuplicateName => 6,
            ValueState::TooLarge => 7,
            ValueState::WrongShape => 8,
            ValueState::Unknown => 255,
        };
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl AsRef<[u8]>, value: Option<&[u8]>) -> Self {
        self.headers.push((name.as_ref().to_vec(), value.map(<[u8]>::to_vec)));
        self
    }

    /// Sets the timestamp.
    #[must_use]
    pub fn timestamp_ms(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = timestamp_ms;
        self
    }

    /// Adds an occurrence of the declared path `field`, at `pointer`.
    #[must_use]
    pub fn field(mut self, field: u32, pointer: &str, json: &str) -> Self {
        self.fields.push((field, json.into(), pointer.into()));
        self.fields.sort_by_key(|(field, ..)| *field);
        self
    }
}

/// A configured plugin under test.
pub struct Tester<P> {
    plugin: P,
    topic: String,
    needs: Needs,
    partition: u32,
    mode: u32,
    next_offset: u64,
}

impl<P: Plugin> Tester<P> {
    /// Configures the plugin for the link [`link`] and opens the topic `orders` with six
    /// partitions.
    ///
    /// # Errors
    /// The errors of `configure`, as `pointer: message`, or the error of `open_topic`.
    pub fn new(config: &str) -> Result<Self, String> {
        Self::on_link(config, &link())
    }

    /// As [`Self::new`], for another link.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn on_link(config: &str, link: &LinkInfo) -> Result<Self, String> {
        let text = |errors: Vec<ConfigError>| {
            let lines: Vec<_> = errors.iter().map(|e| format!("{}: {}", e.path, e.message)).collect();
            lines.join("\n")
        };
        let mut plugin = run::configure::<P>(config, link).map_err(text)?;
        let TopicPlan { needs, .. } = plugin.open_topic("orders", 6)?;
        let needs = needs.unwrap_or_default();
        Ok(Self { plugin, topic: "orders".into(), needs, partition: 3, mode: 0, next_offset: 100 })
    }

    /// Returns the columns that the plugin requested for the topic.
    #[must_use]
    pub fn columns(&self) -> &[u32] {
        &self.needs.columns
    }

    /// Returns the paths that the plugin declared.
    #[must_use]
    pub fn fields(&self) -> &[String] {
        &self.needs.fields
    }

    /// Returns the headers that the plugin requested; `None` is all of them.
    #[must_use]
    pub fn headers(&self) -> Option<&[Vec<u8>]> {
        (!self.needs.all_headers).then_some(&self.needs.header_names)
    }

    /// Returns the effects that the plugin requested.
    #[must_use]
    pub fn effects(&self) -> u32 {
        self.needs.effects
    }

    /// Opens another topic for the following records. Returns its new name, if the plugin renames
    /// it.
    ///
    /// # Errors
    /// The error of `open_topic`.
    pub fn open(&mut self, topic: &str, partitions: u32) -> Result<Option<String>, String> {
        let TopicPlan { name, needs, .. } = self.plugin.open_topic(topic, partitions)?;
        self.topic = topic.into();
        self.needs = needs.unwrap_or_default();
        Ok(name)
    }

    /// Sets the partition of the following records.
    pub fn partition(&mut self, partition: u32) {
        self.partition = partition;
    }

    /// Sets the mode of the following batches, as in `batch.mode`.
    pub fn mode(&mut self, mode: u32) {
        self.mode = mode;
    }

    /// Passes the records in one batch, at offsets that advance by two. Returns one line per edit,
    /// such as `2 field 0 = "***"`: the record's index, the operation, the argument, the bytes.
    ///
    /// # Errors
    /// The error of `process`, or edits that violate the layout.
    pub fn process(&mut self, records: &[TestRecord]) -> Result<Vec<String>, String> {
        let base_offset = self.next_offset;
        self.next_offset += 2 * records.len() as u64;
        let mut batch = Batch {
            topic: self.topic.clone(),
            partition: self.partition,
            count: records.len() as u32,
            base_offset,
            mode: self.mode,
            options: Vec::new(),
            origins: vec!["aws".into()],
            columns: Vec::new(),
            data: Vec::new(),
        };
        for column in &self.needs.columns {
            batch.data.resize(batch.data.len().next_multiple_of(8), 0);
            let start = batch.data.len();
            fill(*column, &self.needs, records, &mut batch.data)?;
            batch.columns.extend([*column, start as u32, (batch.data.len() - start) as u32]);
        }
        lines(&run::process(Some(&mut self.plugin), &batch)?)
    }

    /// As [`Self::process`], for plugins that drop records. Returns the indexes of the records that
    /// are not dropped.
    ///
    /// # Errors
    /// As [`Self::process`].
    pub fn passed(&mut self, records: &[TestRecord]) -> Result<Vec<usize>, String> {
        let lines = self.process(records)?;
        Ok((0..records.len()).filter(|index| !lines.contains(&format!("{index} drop"))).collect())
    }
}

fn length(bytes: Option<&[u8]>) -> [u8; 4] {
    bytes.map_or(-1, |bytes| bytes.len() as i32).to_le_bytes()
}

fn fill(column: u32, needs: &Needs, records: &[TestRecord], data: &mut Vec<u8>) -> Result<(), String> {
    let delivered = |name: &[u8]| needs.all_headers || needs.header_names.iter().any(|wanted| wanted == name);
    for (index, record) in records.iter().enumerate() {
        let headers = || record.headers.iter().filter(|(name, _)| delivered(name));
        match column {
            1 => data.extend((2 * index as u32).to_le_bytes()),
            2 => data.extend(record.timestamp_ms.to_le_bytes()),
            3 => data.extend(length(record.key.as_deref())),
            4 => data.extend(record.key.iter().flatten()),
            5 => data.extend(length(record.value.as_deref())),
            6 => data.extend(record.value.iter().flatten()),
            7 => data.push(record.state),
            8 => {
                for field in 0..needs.fields.len() as u32 {
                    let count = record.fields.iter().filter(|(of, ..)| *of == field).count() as u32;
                    data.extend(count.to_le_bytes());
                }
            }
            9 => record.fields.iter().for_each(|(_, json, _)| data.extend((json.len() as u32).to_le_bytes())),
            10 => record.fields.iter().for_each(|(_, json, _)| data.extend(json.as_bytes())),
            11 => record.fields.iter().for_each(|(.., pointer)| data.extend((pointer.len() as u32).to_le_bytes())),
            12 => data.extend((headers().count() as u32).to_le_bytes()),
            13 => headers().for_each(|(name, _)| data.extend((name.len() as u32).to_le_bytes())),
            14 => headers().for_each(|(name, _)| data.extend(name)),
            15 => headers().for_each(|(_, value)| data.extend(length(value.as_deref()))),
            16 => headers().for_each(|(_, value)| data.extend(value.iter().flatten())),
            17 => data.push(0),
            18 => data.extend(0_u32.to_le_bytes()),
            _ => return Err(format!("column {column} is not packed by tests")),
        }
    }
    if column == 11 {
        records.iter().flat_map(|record| &record.fields).for_each(|(.., pointer)| data.extend(pointer.as_bytes()));
    }
    Ok(())
}

fn lines(edits: &Edits) -> Result<Vec<String>, String> {
    const NAMES: [&str; 16] = [
        "drop",
        "key",
        "value",
        "field",
        "insert",
        "header",
        "remove header",
        "add header",
        "add null header",
        "timestamp",
        "topic",
        "partition",
        "partition by",
        "reject",
        "emit",
        "rule",
    ];
    let mut data = edits.data.as_slice();
    let mut lines = Vec::new();
    for op in edits.ops.chunks(4) {
        let [record, op, arg, len] = *op else {
            return Err("four numbers make an edit".into());
        };
        let name = NAMES.get(op as usize).ok_or_else(|| format!("operation {op} does not exist"))?;
        let mut line = format!("{record} {name}");
        if matches!(op, 3..=7 | 11 | 13 | 15) {
            let _ = write!(line, " {arg}");
        }
        if len == u32::MAX {
            line.push_str(" = null");
        } else {
            let (bytes, rest) = data.split_at_checked(len as usize).ok_or("the bytes of an edit are missing")?;
            data = rest;
            if op == 9 {
                let timestamp = bytes.try_into().map(i64::from_le_bytes).map_err(|_| "a timestamp has 8 bytes")?;
                let _ = write!(line, " = {timestamp}");
            } else if matches!(op, 1..=5 | 7 | 8 | 10 | 12 | 13) {
                let text = std::str::from_utf8(bytes).map_or_else(|_| bytes.escape_ascii().to_string(), str::to_owned);
                let _ = write!(line, " = {text}");
            }
        }
        lines.push(line);
    }
    if !data.is_empty() {
        return Err("bytes that belong to no edit".into());
    }
    Ok(lines)
}
