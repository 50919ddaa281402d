//! A plugin's plan for one topic, checked against its declared effects and this host.

use std::sync::Arc;

use regex::RegexSet;
use strait_core::topic::validate_name;
use strait_flow::ports::WarmUp;

use super::columns::Column;
use crate::api::effects::{FIELD, TOPIC, effect_names};
use crate::api::options::{self, LENIENT, SHAPES};
use crate::api::v0_2::exports::strait::plugin::transform::TopicPlan;
use crate::fields::Lens;
use crate::load::Shapes;
use crate::text::{only_name, whole_names};

/// Offsets of a warm-up; each start, rebalance and failure reads them again.
const LOOKBACK_RECORDS_MAX: u32 = 10_000_000;
const PATTERNS_MAX: usize = 64;

/// The plan of one plugin for one topic.
#[derive(Debug)]
pub(super) struct Plan {
    /// New name of the topic, if it changes.
    pub(super) name: Option<Arc<str>>,
    /// `None` if the plugin does not look at the topic.
    pub(super) needs: Option<Needs>,
}

/// The parts of a record that a plugin looks at, and its effects.
#[derive(Debug)]
pub(super) struct Needs {
    pub(super) columns: Vec<Column>,
    pub(super) headers: Headers,
    pub(super) effects: u32,
    pub(super) output_topics: RegexSet,
    pub(super) value_bytes_max: Option<usize>,
    /// The warm-up that it needs, if it is stateful on this topic.
    pub(super) lookback: Option<WarmUp>,
    /// `None` if it asks for neither fields nor the state of the value: then no value is parsed for
    /// it.
    pub(super) lens: Option<Lens>,
}

impl Needs {
    /// Returns whether each partition has an instance of its own.
    pub(super) fn is_stateful(&self) -> bool {
        self.lookback.is_some()
    }
}

/// The headers that are delivered.
#[derive(Debug)]
pub(super) enum Headers {
    None,
    Named(Vec<Vec<u8>>),
    All,
}

impl Headers {
    pub(super) fn delivers(&self, name: &[u8]) -> bool {
        match self {
            Self::None => false,
            Self::Named(names) => names.iter().any(|n| n == name),
            Self::All => true,
        }
    }
}

impl Plan {
    /// Returns whether the operator allows the topic's new name, if it has one.
    pub(super) fn is_allowed_by(&self, topics_allowed: Option<&RegexSet>) -> bool {
        self.name.as_deref().zip(topics_allowed).is_none_or(|(name, allowed)| allowed.is_match(name))
    }

    /// Returns the names that the plugin can give to records by its own word, each a whole name,
    /// and that the operator does not allow.
    pub(super) fn refused_names(&self, topics_allowed: Option<&RegexSet>) -> Vec<String> {
        let (Some(allowed), Some(needs)) = (topics_allowed, &self.needs) else { return Vec::new() };
        let names = needs.output_topics.patterns().iter().filter_map(|pattern| only_name(pattern));
        names.filter(|name| !allowed.is_match(name)).collect()
    }

    /// Checks the plan that a plugin returned.
    ///
    /// # Errors
    /// The part of the plan that is not allowed.
    pub(super) fn check(topic: &str, plan: TopicPlan, about_effects: u32, shapes: Shapes) -> Result<Self, String> {
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
            return Err(format!("it requests effects that it does not describe ({names}; bits {:#b})", needs.effects));
        }
        let lookback = needs.lookback.map(|asked| WarmUp { records: asked.records, ms: asked.millis });
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
            let option = options::find(&plan.options, &[SHAPES], SHAPES)?;
            let strict = shapes == Shapes::Strict || option != Some(&LENIENT);
            Some(Lens::new(&needs.fields, pointers, needs.effects & FIELD != 0, strict)?)
        };
        if needs.output_topics.len() > PATTERNS_MAX {
            return Err(format!("it has {} output-topics, {PATTERNS_MAX} are allowed", needs.output_topics.len()));
        }
        let output_topics = whole_names(&needs.output_topics).map_err(|e| format!("its output-topics: {e}"))?;
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
