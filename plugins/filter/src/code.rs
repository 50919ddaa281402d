//! An expression without a matcher, evaluated step by step.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use regex_lite::{Regex, RegexBuilder};

use crate::{
    calculate,
    case::{Case, Source},
    function::Function,
    number::Operator,
    trouble::{Trouble, decide},
    val::{Comparison, Key, Val},
    work::Work,
};

/// Maximum number of kept patterns that come from records.
const PATTERNS_MAX: usize = 64;
/// Maximum size of a pattern that comes from a record, compiled.
const PATTERN_BYTES_MAX: usize = 16 << 10;
/// How many times as much as its text counts a search for a pattern that comes from a record.
const PATTERN_COST: usize = 16;

/// A part of an expression.
pub enum Code {
    Constant(Val<'static>),
    /// A part of the record, by its index among the parts.
    Part(usize),
    /// The variable of a macro, by the number of macros around it.
    Variable(usize),
    And(Box<[Code; 2]>),
    Or(Box<[Code; 2]>),
    Not(Box<Code>),
    /// A condition, and the results where it holds and where it does not.
    If(Box<[Code; 3]>),
    List(Vec<Code>),
    Map(Vec<[Code; 2]>),
    Member(Box<Code>, Key<'static>),
    /// Whether a map has a member.
    HasMember(Box<Code>, Key<'static>),
    Index(Box<[Code; 2]>),
    Negate(Box<Code>),
    Calculate(Operator, Box<[Code; 2]>),
    Compare(Comparison, Box<[Code; 2]>),
    In(Box<[Code; 2]>),
    Call(Function, Vec<Code>),
    Macro(Macro, Box<Loop>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Macro {
    All,
    Exists,
    ExistsOne,
    /// `map` and `filter`.
    Map,
}

/// The parts of a macro, evaluated for each element.
pub struct Loop {
    pub over: Code,
    /// Which elements count; without one all of them.
    pub filter: Option<Code>,
    pub body: Code,
}

/// The content of a part.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    Value(Source),
    /// Whether it exists.
    Has(Source),
    IsTombstone,
}

/// An expression and the parts of a record that it names.
pub struct Interpreted {
    code: Code,
    parts: Vec<Part>,
    patterns: RefCell<Patterns>,
}

/// The regular expressions of `matches`, by their texts.
#[derive(Default)]
pub struct Patterns {
    literal: BTreeMap<String, Regex>,
    /// Of records.
    found: BTreeMap<String, Regex>,
}

/// The evaluation for one record. Each part is read once, when the expression first needs it.
struct Run<'a, 'r> {
    case: &'r Case<'a>,
    parts: &'r [Part],
    patterns: &'r RefCell<Patterns>,
    read: Vec<Option<Result<Val<'a>, Trouble>>>,
    variables: Vec<Val<'a>>,
}

impl Interpreted {
    pub fn new(code: Code, parts: Vec<Part>, patterns: Patterns) -> Self {
        Self { code, parts, patterns: RefCell::new(patterns) }
    }

    /// Returns whether it reads nothing of a record.
    pub fn is_constant(&self) -> bool {
        self.parts.is_empty()
    }

    pub fn judge(&self, case: &Case<'_>) -> Result<bool, Trouble> {
        let read = self.parts.iter().map(|_| None).collect();
        Run { case, parts: &self.parts, patterns: &self.patterns, read, variables: Vec::new() }.truth(&self.code)
    }
}

impl<'a> Run<'a, '_> {
    fn val(&mut self, code: &Code) -> Result<Val<'a>, Trouble> {
        self.case.work.steps(1)?;
        Ok(match code {
            Code::Constant(val) => val.clone(),
            Code::Part(index) => return self.part(*index),
            Code::Variable(index) => self.variables.get(*index).cloned().ok_or(Trouble::Evaluation)?,
            Code::And(sides) => Val::Bool(decide(sides.iter().map(|side| self.truth(side)), true)?),
            Code::Or(sides) => Val::Bool(decide(sides.iter().map(|side| self.truth(side)), false)?),
            Code::Not(code) => Val::Bool(!self.truth(code)?),
            Code::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                let chosen = if self.truth(condition)? { then } else { otherwise };
                return self.val(chosen);
            }
            Code::List(codes) => Val::List(Rc::new(self.vals(codes)?)),
            Code::Map(entries) => self.map(entries)?,
            Code::Member(of, name) => {
                let Val::Map(map) = self.open(of)? else { return Err(Trouble::Evaluation) };
                map.get(name).cloned().ok_or(Trouble::Evaluation)?
            }
            Code::HasMember(of, name) => {
                let Val::Map(map) = self.open(of)? else { return Err(Trouble::Evaluation) };
                Val::Bool(map.contains_key(name))
            }
            Code::Index(sides) => {
                let [of, index] = &**sides;
                element(&self.open(of)?, &self.val(index)?, &self.case.work)?
            }
            Code::Negate(code) => calculate::negate(&self.val(code)?)?,
            Code::Calculate(by, sides) => {
                let (left, right) = self.sides(sides)?;
                calculate::calculate(*by, &left, &right, &self.case.work)?
            }
            Code::Compare(by, sides) => {
                let (left, right) = self.sides(sides)?;
                Val::Bool(by.holds(&left, &right, &self.case.work)?)
            }
            Code::In(sides) => {
                let [one, of] = &**sides;
                let (one, of) = (self.val(one)?, self.open(of)?);
                Val::Bool(self.contains(&of, &one)?)
            }
            Code::Call(Function::Matches, codes) => Val::Bool(self.matches(codes)?),
            Code::Call(function, codes) if function.is_of_lists() => {
                let vals = codes.iter().map(|code| self.open(code)).collect::<Result<Vec<_>, _>>()?;
                function.call(&vals, &self.case.work)?
            }
            Code::Call(function, codes) => function.call(&self.vals(codes)?, &self.case.work)?,
            Code::Macro(Macro::Map, of) => self.collect(of)?,
            Code::Macro(name, of) => Val::Bool(self.any(*name, of)?),
        })
    }

    fn truth(&mut self, code: &Code) -> Result<bool, Trouble> {
        match self.val(code)? {
            Val::Bool(holds) => Ok(holds),
            _ => Err(Trouble::Evaluation),
        }
    }

    fn vals(&mut self, codes: &[Code]) -> Result<Vec<Val<'a>>, Trouble> {
        codes.iter().map(|code| self.val(code)).collect()
    }

    fn sides(&mut self, [left, right]: &[Code; 2]) -> Result<(Val<'a>, Val<'a>), Trouble> {
        Ok((self.val(left)?, self.val(right)?))
    }

    fn part(&mut self, index: usize) -> Result<Val<'a>, Trouble> {
        let (part, read) = self.parts.get(index).zip(self.read.get_mut(index)).ok_or(Trouble::Evaluation)?;
        let case = self.case;
        let val = || match part {
            Part::Value(source) => case.get(source),
            Part::Has(source) => Ok(Val::Bool(case.find(source)?.is_some())),
            Part::IsTombstone => Ok(Val::Bool(case.is_tombstone())),
        };
        read.get_or_insert_with(val).clone()
    }

    /// Evaluates code to look into its array or object. Only then is a part parsed.
    fn open(&mut self, code: &Code) -> Result<Val<'a>, Trouble> {
        let opened = self.val(code)?.parsed(&self.case.work)?;
        if let Code::Part(index) = code
            && let Some(read) = self.read.get_mut(*index)
        {
            *read = Some(Ok(opened.clone()));
        }
        Ok(opened)
    }

    fn map(&mut self, entries: &[[Code; 2]]) -> Result<Val<'a>, Trouble> {
        let mut map = BTreeMap::new();
        for entry in entries {
            let (key, val) = self.sides(entry)?;
            let is_double = matches!(key, Val::Double(_));
            let key = Key::of(&key, &self.case.work)?.filter(|_| !is_double).ok_or(Trouble::Evaluation)?;
            if map.insert(key, val).is_some() {
                return Err(Trouble::Evaluation);
            }
        }
        Ok(Val::Map(Rc::new(map)))
    }

    fn contains(&self, of: &Val<'a>, one: &Val<'a>) -> Result<bool, Trouble> {
        match of {
            Val::List(list) => {
                for element in list.iter() {
                    self.case.work.steps(1)?;
                    if element.equals(one, &self.case.work)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Val::Map(map) => Ok(Key::of(one, &self.case.work)?.is_some_and(|key| map.contains_key(&key))),
            _ => Err(Trouble::Evaluation),
        }
    }

    /// Returns the elements of a list or the keys of a map.
    fn elements(&mut self, over: &Code) -> Result<Rc<Vec<Val<'a>>>, Trouble> {
        match self.open(over)? {
            Val::List(list) => Ok(list),
            Val::Map(map) => {
                self.case.work.steps(map.len())?;
                Ok(Rc::new(map.keys().map(Key::val).collect()))
            }
            _ => Err(Trouble::Evaluation),
        }
    }

    /// Evaluates a part of a macro with its variable.
    fn with<T>(&mut self, element: &Val<'a>, of: impl FnOnce(&mut Self) -> Result<T, Trouble>) -> Result<T, Trouble> {
        self.variables.push(element.clone());
        let result = of(self);
        self.variables.pop();
        result
    }

    /// Evaluates `all`, `exists` and `exists_one`. Of the first two, an element that decides makes
    /// errors of the others not matter.
    fn any(&mut self, name: Macro, of: &Loop) -> Result<bool, Trouble> {
        let (mut trouble, mut found) = (None, 0);
        for element in self.elements(&of.over)?.iter() {
            match (name, self.with(element, |run| run.truth(&of.body))) {
                (Macro::All, Ok(false)) => return Ok(false),
                (Macro::Exists, Ok(true)) => return Ok(true),
                (_, Ok(holds)) => found += usize::from(holds),
                (Macro::ExistsOne, Err(trouble)) | (_, Err(trouble @ Trouble::TooMuch)) => return Err(trouble),
                (_, Err(other)) => trouble = trouble.or(Some(other)),
            }
        }
        match name {
            Macro::ExistsOne => Ok(found == 1),
            _ => trouble.map_or(Ok(name == Macro::All), Err),
        }
    }

    fn collect(&mut self, of: &Loop) -> Result<Val<'a>, Trouble> {
        let mut list = Vec::new();
        for element in self.elements(&of.over)?.iter() {
            let counts = match &of.filter {
                Some(filter) => self.with(element, |run| run.truth(filter))?,
                None => true,
            };
            if counts {
                list.push(self.with(element, |run| run.val(&of.body))?);
            }
        }
        Ok(Val::List(Rc::new(list)))
    }

    fn matches(&mut self, codes: &[Code]) -> Result<bool, Trouble> {
        let vals = self.vals(codes)?;
        let [text, pattern] = vals.as_slice() else { return Err(Trouble::Evaluation) };
        let (text, pattern) = (text.text()?, pattern.text()?);
        let work = &self.case.work;
        let patterns = &mut *self.patterns.borrow_mut();
        if let Some(regex) = patterns.literal.get(pattern) {
            work.read(text.len())?;
            return Ok(regex.is_match(text));
        }
        work.write((text.len() + pattern.len()).saturating_mul(PATTERN_COST))?;
        if let Some(regex) = patterns.found.get(pattern) {
            return Ok(regex.is_match(text));
        }
        let regex =
            RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build().map_err(|_| Trouble::Evaluation)?;
        let matches = regex.is_match(text);
        if patterns.found.len() < PATTERNS_MAX {
            patterns.found.insert(pattern.to_owned(), regex);
        }
        Ok(matches)
    }
}

impl Patterns {
    /// Adds a pattern that stands in the expression.
    pub fn add(&mut self, pattern: &str, regex: Regex) {
        self.literal.insert(pattern.to_owned(), regex);
    }
}

/// Returns the element of a list or map.
fn element<'a>(of: &Val<'a>, index: &Val<'a>, work: &Work) -> Result<Val<'a>, Trouble> {
    let found = match of {
        Val::List(list) => {
            let index = index.number().and_then(|number| usize::try_from(number.whole()?).ok());
            index.and_then(|index| list.get(index))
        }
        Val::Map(map) => Key::of(index, work)?.and_then(|key| map.get(&key)),
        _ => None,
    };
    found.cloned().ok_or(Trouble::Evaluation)
}
