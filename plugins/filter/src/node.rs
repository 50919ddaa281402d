//! A compiled rule.

use regex_lite::Regex;
use strait_plugin_sdk::{Needs, Record, column, path::Path};

use crate::{
    case::{Case, Missing, Source},
    code::Interpreted,
    trouble::{Trouble, decide},
    val::{Comparison, Val},
    work::Work,
};

/// One condition.
pub enum Node {
    Const(bool),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    /// The key has exactly these bytes. A null key never matches.
    KeyIs(Vec<u8>),
    KeyStartsWith(Vec<u8>),
    /// Some header with this name has exactly this value.
    HeaderIs {
        name: Vec<u8>,
        value: Vec<u8>,
    },
    /// The record has no value.
    IsTombstone,
    Has(Source),
    /// A boolean field.
    Truth(Source),
    Compare {
        left: Operand,
        by: Comparison,
        right: Val<'static>,
    },
    /// Compares two parts of the record.
    CompareParts {
        left: Operand,
        by: Comparison,
        right: Operand,
    },
    /// A condition, and the results where it holds and where it does not.
    If(Box<[Node; 3]>),
    OneOf(Operand, Vec<Val<'static>>),
    StartsWith(Source, String),
    EndsWith(Source, String),
    Contains(Source, String),
    Matches(Source, Regex),
    /// Anything else.
    Interpret(Box<Interpreted>),
}

/// The operand that is compared with a literal.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    Source(Source),
    Size(Source),
}

/// Everything that a rule reads.
#[derive(Debug, Default)]
pub struct Reads {
    fields: Vec<Path>,
    headers: Vec<Vec<u8>>,
    columns: Vec<u32>,
    /// Whether the rule asks for the lack of a value itself.
    pub tombstones: bool,
}

impl Reads {
    pub fn field(&mut self, path: Path) -> Source {
        let index = self.fields.iter().position(|known| *known == path).unwrap_or_else(|| {
            self.fields.push(path);
            self.fields.len() - 1
        });
        Source::Field(index as u32)
    }

    pub fn header(&mut self, name: &[u8]) {
        if !self.headers.iter().any(|known| known == name) {
            self.headers.push(name.to_vec());
        }
    }

    pub fn columns(&mut self, columns: &[u32]) {
        self.columns.extend_from_slice(columns);
    }

    pub fn fields(&self) -> bool {
        !self.fields.is_empty()
    }

    pub fn needs(&self, effects: u32) -> Needs {
        let mut needs = Needs::columns(&self.columns, effects);
        if self.tombstones && self.fields.is_empty() {
            needs = needs.and(column::VALUE);
        }
        if !self.headers.is_empty() {
            needs = needs.headers(self.headers.iter().cloned());
        }
        if !self.fields.is_empty() {
            needs = needs.fields(self.fields.iter().map(ToString::to_string));
        }
        needs
    }

    #[cfg(test)]
    pub fn names(&self) -> (Vec<String>, Vec<String>) {
        let headers = self.headers.iter().map(|name| String::from_utf8_lossy(name).into_owned());
        (self.fields.iter().map(ToString::to_string).collect(), headers.collect())
    }
}

impl Operand {
    fn value<'a>(&self, case: &Case<'a>) -> Result<Val<'a>, Trouble> {
        match self {
            Self::Source(source) => case.get(source),
            Self::Size(source) => case.get(source)?.size(&case.work).map(Val::Int),
        }
    }
}

impl Node {
    /// Returns whether a part of the rule reads nothing of a record and has no result, so that no
    /// record has one there: a text or a number in the place of a condition, a division by zero.
    pub fn has_no_verdict(&self) -> bool {
        if !self.is_constant() {
            return self.parts().iter().any(Self::has_no_verdict);
        }
        let case = Case { record: None, missing: Missing::Null, tombstones: false, fields: false, work: Work::new() };
        self.judge(&case).is_err()
    }

    fn is_constant(&self) -> bool {
        match self {
            Self::Const(_) => true,
            Self::Interpret(interpreted) => interpreted.is_constant(),
            _ => !self.parts().is_empty() && self.parts().iter().all(Self::is_constant),
        }
    }

    fn parts(&self) -> &[Self] {
        match self {
            Self::And(nodes) | Self::Or(nodes) => nodes,
            Self::Not(node) => std::slice::from_ref(node),
            Self::If(parts) => &**parts,
            _ => &[],
        }
    }

    pub fn judge(&self, case: &Case<'_>) -> Result<bool, Trouble> {
        match self {
            Self::Const(constant) => Ok(*constant),
            Self::And(nodes) => decide(nodes.iter().map(|node| node.judge(case)), true),
            Self::Or(nodes) => decide(nodes.iter().map(|node| node.judge(case)), false),
            Self::Not(node) => node.judge(case).map(|holds| !holds),
            Self::KeyIs(bytes) => Ok(case.key() == Some(bytes)),
            Self::KeyStartsWith(bytes) => Ok(case.key().is_some_and(|key| key.starts_with(bytes))),
            Self::HeaderIs { name, value } => {
                let headers = case.record.map(Record::headers).unwrap_or_default();
                let mut named = headers.iter().filter(|header| header.name == name).peekable();
                if case.missing == Missing::Error && named.peek().is_none() {
                    return Err(Trouble::Evaluation);
                }
                Ok(named.any(|header| header.value == Some(value)))
            }
            Self::IsTombstone => Ok(case.is_tombstone()),
            Self::Has(source) => Ok(case.find(source)?.is_some()),
            Self::Truth(source) => match case.get(source)? {
                Val::Bool(holds) => Ok(holds),
                _ => Err(Trouble::Evaluation),
            },
            Self::Compare { left, by, right } => by.holds(&left.value(case)?, right, &case.work),
            Self::CompareParts { left, by, right } => by.holds(&left.value(case)?, &right.value(case)?, &case.work),
            Self::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                if condition.judge(case)? { then.judge(case) } else { otherwise.judge(case) }
            }
            Self::OneOf(operand, list) => {
                let val = operand.value(case)?;
                for one in list {
                    if one.equals(&val, &case.work)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::StartsWith(source, text) => Ok(case.get(source)?.text()?.starts_with(text)),
            Self::EndsWith(source, text) => Ok(case.get(source)?.text()?.ends_with(text)),
            Self::Contains(source, text) => Ok(case.get(source)?.text()?.contains(text)),
            Self::Matches(source, regex) => Ok(regex.is_match(case.get(source)?.text()?)),
            Self::Interpret(interpreted) => interpreted.judge(case),
        }
    }
}
