//! What a plugin wants of one topic, checked against what this host can do and what the plugin may ever do.

use std::sync::Arc;

use regex::{RegexSet, RegexSetBuilder};
use strait_core::topic::validate_name;
use strait_flow::ports::Lookback;

use crate::api::effects::{FIELD, TOPIC, effect_names};
use crate::api::v0_1::exports::strait::plugin::transform::TopicPlan;
use crate::fields::Lens;

/// Offsets that a plugin may look back; each start, rebalance and fault reads them again.
const LOOKBACK_RECORDS_MAX: u32 = 10_000_000;
const PATTERNS_MAX: usize = 64;
const PATTERN_MEMORY_BYTES_MAX: usize = 1 << 20;

/// The plan of one plugin for one topic.
#[derive(Debug)]
pub(crate) struct Plan {
    /// New name of the topic, if it changes.
    pub(crate) name: Option<Arc<str>>,
    /// `None`: the plugin does not look.
    pub(crate) needs: Option<Needs>,
}

/// What it looks at and may do.
#[derive(Debug)]
pub(crate) struct Needs {
    pub(crate) columns: Vec<Column>,
    pub(crate) headers: Headers,
    pub(crate) effects: u32,
    pub(crate) output_topics: RegexSet,
    pub(crate) value_bytes_max: Option<usize>,
    /// What it remembers of the source partition.
    pub(crate) lookback: Option<Lookback>,
    /// `None` where neither fields nor the state of the value are asked for: then no value is parsed for it.
    pub(crate) lens: Option<Lens>,
}

impl Needs {
    /// Whether the records go to an instance of their partition's own.
    pub(crate) fn remembers(&self) -> bool {
        self.lookback.is_some()
    }
}

/// Which headers are delivered.
#[derive(Debug)]
pub(crate) enum Headers {
    None,
    Named(Vec<Vec<u8>>),
    All,
}

impl Headers {
    pub(crate) fn delivers(&self, name: &[u8]) -> bool {
        match self {
            Self::None => false,
            Self::Named(names) => names.iter().any(|n| n == name),
            Self::All => true,
        }
    }
}

/// Columns that this host fills; the discriminants are the interface's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Column {
    OffsetDeltas = 1,
    Timestamps = 2,
    KeyLengths = 3,
    Keys = 4,
    ValueLengths = 5,
    Values = 6,
    ValueStates = 7,
    FieldCounts = 8,
    FieldLengths = 9,
    FieldTexts = 10,
    FieldPointers = 11,
    HeaderCounts = 12,
    HeaderNameLengths = 13,
    HeaderNames = 14,
    HeaderValueLengths = 15,
    HeaderValues = 16,
    TimestampTypes = 17,
    Origins = 18,
}

impl Column {
    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OffsetDeltas => "offsets",
            Self::Timestamps => "timestamps",
            Self::KeyLengths => "key lengths",
            Self::Keys => "keys",
            Self::ValueLengths => "value lengths",
            Self::Values => "values",
            Self::ValueStates => "value states",
            Self::FieldCounts => "field counts",
            Self::FieldLengths => "field lengths",
            Self::FieldTexts => "field texts",
            Self::FieldPointers => "field pointers",
            Self::HeaderCounts => "header counts",
            Self::HeaderNameLengths => "header name lengths",
            Self::HeaderNames => "header names",
            Self::HeaderValueLengths => "header value lengths",
            Self::HeaderValues => "header values",
            Self::TimestampTypes => "timestamp types",
            Self::Origins => "origins",
        }
    }

    pub(crate) fn new(number: u32) -> Result<Self, String> {
        Ok(match number {
            1 => Self::OffsetDeltas,
            2 => Self::Timestamps,
            3 => Self::KeyLengths,
            4 => Self::Keys,
            5 => Self::ValueLengths,
            6 => Self::Values,
            7 => Self::ValueStates,
            8 => Self::FieldCounts,
            9 => Self::FieldLengths,
            10 => Self::FieldTexts,
            11 => Self::FieldPointers,
            12 => Self::HeaderCounts,
            13 => Self::HeaderNameLengths,
            14 => Self::HeaderNames,
            15 => Self::HeaderValueLengths,
            16 => Self::HeaderValues,
            17 => Self::TimestampTypes,
            18 => Self::Origins,
            _ => return Err(format!("it asks for column {number}, which this version of Strait does not know")),
        })
    }

    pub(crate) fn is_of_fields(self) -> bool {
        matches!(self as u32, 7..=11)
    }

    fn is_of_headers(self) -> bool {
        matches!(self as u32, 12..=16)
    }
}

impl Plan {
    /// # Errors
    /// What the plugin asked for and cannot have, by name.
    pub(crate) fn check(topic: &str, plan: TopicPlan, about_effects: u32) -> Result<Self, String> {
        let mut name = None;
        if let Some(new) = plan.name
            && new != topic
        {
            if about_effects & TOPIC == 0 {
                return Err("it renames the topic without effect 'topic' in its description".into());
            }
            validate_name(&new).map_err(|e| format!("it renames the topic: {e}"))?;
            name = Some(Arc::from(new));
        }
        let Some(needs) = plan.needs else {
            return Ok(Self { name, needs: None });
        };

        if needs.effects & !about_effects != 0 {
            let names = effect_names(needs.effects & !about_effects).join(", ");
            return Err(format!("it wants effects outside of its description ({names}; bits {:#b})", needs.effects));
        }
        let lookback = needs.lookback.map(|asked| Lookback { records: asked.records, ms: asked.millis });
        if lookback.is_some_and(|asked| !(1..=LOOKBACK_RECORDS_MAX).contains(&asked.records)) {
            return Err(format!("its lookback needs a number of records, from 1 to {LOOKBACK_RECORDS_MAX}"));
        }
        let mut columns = Vec::new();
        for number in needs.columns {
            let column = Column::new(number)?;
            if columns.contains(&column) {
                return Err(format!("it asks for column {number} twice"));
            }
            columns.push(column);
        }
        let headers = match (needs.all_headers, needs.header_names.is_empty()) {
            (true, _) => Headers::All,
            (false, true) => Headers::None,
            (false, false) => Headers::Named(needs.header_names),
        };
        if matches!(headers, Headers::None) && columns.iter().any(|c| c.is_of_headers()) {
            return Err("it asks for columns of headers but names no header".into());
        }
        let of_fields = columns.iter().any(|c| c.is_of_fields() && *c != Column::ValueStates);
        if needs.fields.is_empty() && of_fields {
            return Err("it asks for columns of fields but names no field".into());
        }
        let lens = if needs.fields.is_empty() && !columns.contains(&Column::ValueStates) {
            None
        } else {
            let pointers = columns.contains(&Column::FieldPointers);
            Some(Lens::new(&needs.fields, pointers, needs.effects & FIELD != 0)?)
        };
        if needs.output_topics.len() > PATTERNS_MAX {
            return Err(format!("it gives {} output-topics, {PATTERNS_MAX} are allowed", needs.output_topics.len()));
        }
        let output_topics = RegexSetBuilder::new(needs.output_topics.iter().map(|p| format!("^(?:{p})$")))
            .size_limit(PATTERN_MEMORY_BYTES_MAX)
            .dfa_size_limit(PATTERN_MEMORY_BYTES_MAX)
            .build()
            .map_err(|e| format!("its output-topics: {e}"))?;
        Ok(Self {
            name,
            needs: Some(Needs {
                columns,
                headers,
                effects: needs.effects,
                output_topics,
                value_bytes_max: (needs.value_max_bytes > 0).then_some(needs.value_max_bytes as usize),
                lookback,
                lens,
            }),
        })
    }
}
