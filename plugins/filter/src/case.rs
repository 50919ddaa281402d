//! A record under judgement, and the parts of it that a rule reads.

use std::rc::Rc;

use strait_plugin_sdk::{Record, ValueState};

use crate::{time::Time, trouble::Trouble, val::Val, work::Work};

/// A part of a record that a rule reads.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    Key,
    Timestamp,
    Topic,
    Partition,
    Offset,
    /// The last header with a name.
    Header(Vec<u8>),
    /// All headers with a name.
    Headers(Vec<u8>),
    /// A field, by its index among the declared fields.
    Field(u32),
}

/// The result for a missing field or header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    Null,
    Error,
}

/// A record to judge.
pub struct Case<'a> {
    /// `None`: a rule that reads nothing is judged once, without a record.
    pub record: Option<&'a Record<'a>>,
    pub missing: Missing,
    /// Whether the rule handles tombstones itself: their fields are missing like any other.
    pub tombstones: bool,
    /// Whether any field is declared. It decides which column shows a tombstone.
    pub fields: bool,
    pub work: Work,
}

impl<'a> Case<'a> {
    /// Returns a part of the record; `None` is a missing field or header.
    pub fn find(&self, source: &Source) -> Result<Option<Val<'a>>, Trouble> {
        let record = self.record.ok_or(Trouble::Evaluation)?;
        Ok(Some(match source {
            Source::Key => Val::of_bytes(record.key()),
            Source::Timestamp => Val::Time(Time::of_millis(record.timestamp_ms()).ok_or(Trouble::Evaluation)?),
            Source::Topic => Val::Text(record.topic().into()),
            Source::Partition => Val::Int(record.partition().into()),
            Source::Offset => Val::Int(i64::try_from(record.offset()).map_err(|_| Trouble::Evaluation)?),
            Source::Header(name) => {
                let last = record.headers().iter().rev().find(|header| header.name == name);
                return Ok(last.map(|header| Val::of_bytes(header.value)));
            }
            Source::Headers(name) => {
                let named = record.headers().iter().filter(|header| header.name == name);
                let all: Vec<_> = named.map(|header| Val::of_bytes(header.value)).collect();
                return Ok((!all.is_empty()).then(|| Val::List(Rc::new(all))));
            }
            Source::Field(field) => {
                match record.value_state() {
                    ValueState::Parsed => {}
                    ValueState::Null if self.tombstones => return Ok(None),
                    ValueState::Null => return Err(Trouble::Tombstone),
                    _ => return Err(Trouble::NotJudged),
                }
                return record.field(*field).first().map(|field| Val::of_json(field.json)).transpose();
            }
        }))
    }

    pub fn get(&self, source: &Source) -> Result<Val<'a>, Trouble> {
        match (self.find(source)?, self.missing) {
            (Some(val), _) => Ok(val),
            // Of no headers, all of them are anything: where missing ones must not pass, that is no
            // result.
            (None, Missing::Error) => Err(Trouble::Evaluation),
            (None, Missing::Null) if matches!(source, Source::Headers(_)) => Ok(Val::List(Rc::default())),
            (None, Missing::Null) => Ok(Val::Null),
        }
    }

    pub fn key(&self) -> Option<&'a [u8]> {
        self.record.and_then(Record::key)
    }

    pub fn is_tombstone(&self) -> bool {
        match self.fields {
            true => self.record.is_some_and(|record| record.value_state() == ValueState::Null),
            false => self.record.is_some_and(|record| record.value().is_none()),
        }
    }
}
