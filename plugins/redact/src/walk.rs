//! Finds fields in any case. The host compares names as written, so this plugin requests the whole
//! document (`$[*]`) and compares the names itself.
//!
//! The host has parsed the text strictly. If it still does not look like JSON, it is not judged.

use std::borrow::Cow;

use strait_plugin_sdk::{
    json::{self, Kind},
    path::Step,
};

use crate::{
    EMBEDDED, Refusal,
    config::{Embedded, Rule, folded},
    fields::{Place, Shape},
    found,
    keep::{KeepOnly, Kept},
    method::{Method, NotJudged, Outcome},
    texts::{self, Text},
};

/// The host accepts 128 levels.
const DEPTH_MAX: usize = 200;

/// The state of a path on the way down.
#[derive(Clone, Copy)]
struct Active {
    rule: usize,
    path: usize,
    /// Index of the next step.
    step: usize,
    /// A `..name` that passes through a value in which it need not match.
    searching: bool,
}

/// The rules that apply to a document.
#[derive(Clone, Copy)]
pub struct Orders<'a> {
    pub rules: &'a [Rule],
    pub keep: Option<&'a KeepOnly>,
    pub embedded: Option<Embedded>,
    pub strict: bool,
}

/// Walker over the text of one field.
pub struct Walker<'a> {
    orders: Orders<'a>,
    text: &'a [u8],
    at: usize,
    /// The redacted text.
    out: Vec<u8>,
    buffer: Vec<u8>,
    is_changed: bool,
    /// The texts around this one that are documents.
    texts: usize,
    /// The fields found, by rule, and behind them the fields that are not kept.
    matched: &'a mut [u64],
}

/// The rest of a text after a walk.
pub enum Walked {
    Same,
    Changed(Vec<u8>),
    Removed,
}

impl<'a> Walker<'a> {
    pub fn new(orders: Orders<'a>, text: &'a [u8], matched: &'a mut [u64]) -> Self {
        Self { orders, text, at: 0, out: Vec::new(), buffer: Vec::new(), is_changed: false, texts: 0, matched }
    }

    /// Redacts the text at `place` in the document.
    pub fn run(mut self, place: &Place<'_>) -> Result<Walked, Refusal> {
        let roots: Vec<_> = roots(self.orders.rules).collect();
        let active = self.step(&roots, place);
        let kept = self.kept(None, place);
        let stays = self.value(&active, &kept, 0)?;
        self.blank();
        if self.at != self.text.len() {
            return Err(NotJudged.into());
        }
        Ok(match stays {
            false => Walked::Removed,
            true if self.is_changed => Walked::Changed(self.out),
            true => Walked::Same,
        })
    }

    /// Returns what is kept of a place inside of `around`, or of the document.
    fn kept(&self, around: Option<&Kept>, place: &Place<'_>) -> Kept {
        let Some(keep) = self.orders.keep else { return Kept::All };
        match around {
            Some(around) => keep.step(around, place),
            None => keep.step(&keep.of_document(), place),
        }
    }

    /// Redacts the current value. Returns `false` if it must be removed.
    fn value(&mut self, active: &[Active], kept: &Kept, depth: usize) -> Result<bool, Refusal> {
        if depth > DEPTH_MAX {
            return Err(NotJudged.into());
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        let kind = json::kind(rest).ok_or(NotJudged)?;
        let rule = active.iter().filter(|a| self.next(a).is_none()).map(|a| a.rule).min();
        if let (Kept::Within(cursors), Some(keep)) = (kept, self.orders.keep) {
            // A rule for all of a place of which only parts are kept: a pseudonym would be one of
            // the other parts too.
            if cursors.is_empty() || rule.is_some() {
                self.skip()?;
                found(self.matched, self.orders.rules.len());
                self.is_changed = true;
                return Ok(false);
            }
            let whole_list = self.orders.rules.len();
            keep.check(cursors, Some(kind)).map_err(|error| Refusal::from(error).of_rule(whole_list))?;
        }
        if let Some((index, rule)) = rule.and_then(|index| Some((index, self.orders.rules.get(index)?))) {
            let source = self.skip()?;
            if kind == Kind::String {
                self.check_part(&rule.method, active, source, depth)?;
            }
            let outcome = rule.method.field(source, &mut self.buffer);
            let outcome = outcome.map_err(|error| Refusal::from(error).of_rule(index))?;
            found(self.matched, index);
            self.is_changed |= outcome != Outcome::Keep;
            match outcome {
                Outcome::Remove => return Ok(false),
                Outcome::Keep => self.out.extend_from_slice(source),
                Outcome::Null | Outcome::Set => self.out.extend_from_slice(&self.buffer),
            }
            return Ok(true);
        }
        if kind == Kind::String
            && !active.is_empty()
            && let Some(embedded) = self.orders.embedded
        {
            let source = self.skip()?;
            match texts::read(source)? {
                Text::Document(text) => {
                    match self.redacted(active, &text, depth)? {
                        None => self.out.extend_from_slice(source),
                        Some(_) if embedded == Embedded::Reject => return Err(Refusal::embedded(active)),
                        Some(redacted) => {
                            let redacted = std::str::from_utf8(&redacted).map_err(|_| NotJudged)?;
                            json::quote(redacted, &mut self.out);
                            self.is_changed = true;
                        }
                    }
                    return Ok(true);
                }
                // The other paths need a document here, which their shape tells.
                Text::Other(text) => self.check_other(active.iter().filter(|active| active.searching), &text)?,
            }
            self.at -= source.len();
        }
        for active in active.iter().filter(|active| self.orders.strict && !active.searching) {
            if let Some(step) = self.next(active) {
                let fits = Shape::of(step).check(Some(kind));
                fits.map_err(|error| Refusal::from(error).of_rule(active.rule))?;
            }
        }
        let is_same = active.is_empty() && matches!(kept, Kept::All);
        if is_same || !matches!(kind, Kind::Object | Kind::Array) {
            let source = self.skip()?;
            self.out.extend_from_slice(source);
            return Ok(true);
        }
        self.inside(active, kept, kind == Kind::Object, depth)?;
        Ok(true)
    }

    /// Redacts a text that is a document itself. Returns `None` if there is nothing to redact.
    fn redacted(&mut self, active: &[Active], text: &str, depth: usize) -> Result<Option<Vec<u8>>, Refusal> {
        if self.texts == texts::LEVELS_MAX {
            return Err(NotJudged.into());
        }
        let mut inner = Walker::new(Orders { keep: None, ..self.orders }, text.as_bytes(), self.matched);
        inner.texts = self.texts + 1;
        let start = inner.blank();
        inner.copy(start);
        if !inner.value(active, &Kept::All, depth + 1)? {
            return Err(NotJudged.into());
        }
        let start = inner.blank();
        inner.copy(start);
        if inner.at != inner.text.len() {
            return Err(NotJudged.into());
        }
        Ok(inner.is_changed.then_some(inner.out))
    }

    /// Checks a text of which a rule keeps a part: other rules could name fields in that part.
    fn check_part(&mut self, method: &Method, active: &[Active], source: &[u8], depth: usize) -> Result<(), Refusal> {
        if self.orders.embedded.is_none() || !method.keeps_a_part() {
            return Ok(());
        }
        let inside: Vec<Active> = active.iter().filter(|active| self.next(active).is_some()).copied().collect();
        if inside.is_empty() {
            return Ok(());
        }
        match texts::read(source)? {
            Text::Document(text) => match self.redacted(&inside, &text, depth)? {
                Some(_) => Err(Refusal::embedded(&inside)),
                None => Ok(()),
            },
            Text::Other(text) => self.check_other(inside.iter(), &text),
        }
    }

    /// Checks that no reader, however lenient, finds a field of these paths in a text that is no
    /// strict document.
    fn check_other<'b>(&self, mut paths: impl Iterator<Item = &'b Active>, text: &str) -> Result<(), Refusal> {
        if !texts::may_hold_fields(text) {
            return Ok(());
        }
        let may_hold = |active: &Active| {
            let in_any_case = self.orders.rules.get(active.rule).is_some_and(|rule| rule.ignore_case);
            self.next(active).is_some_and(|step| texts::may_enter(text, step, in_any_case))
        };
        match paths.find(|active| may_hold(active)) {
            Some(active) => Err(Refusal {
                code: EMBEDDED,
                reason: "a text is not exactly one strict JSON document, and a lenient reader could find a field in it \
                         that a rule names",
                rule: Some(active.rule),
            }),
            None => Ok(()),
        }
    }

    /// Redacts the members or elements of the current object or array.
    fn inside(&mut self, active: &[Active], kept: &Kept, is_object: bool, depth: usize) -> Result<(), Refusal> {
        let close = if is_object { b'}' } else { b']' };
        let open = self.take().ok_or(NotJudged)?;
        self.out.push(open);
        let start = self.blank();
        if self.peek() == Some(close) {
            self.copy(start);
            self.at += 1;
            self.out.push(close);
            return Ok(());
        }
        self.at = start;
        let mut stay = 0_u32;
        for index in 0.. {
            let before = self.out.len();
            if stay > 0 {
                self.out.push(b',');
            }
            let item = self.blank();
            let name;
            let place = if is_object {
                name = json::text(self.skip()?).ok_or(NotJudged)?;
                self.blank();
                if self.take() != Some(b':') {
                    return Err(NotJudged.into());
                }
                self.blank();
                Place::Member(&name)
            } else {
                Place::Element(index)
            };
            let (below, kept_below) = (self.step(active, &place), self.kept(Some(kept), &place));
            self.copy(item);
            if self.value(&below, &kept_below, depth + 1)? {
                stay += 1;
                let after = self.blank();
                self.copy(after);
            } else {
                self.out.truncate(before);
                self.blank();
            }
            match self.take() {
                Some(b',') => {}
                Some(end) if end == close => break,
                _ => return Err(NotJudged.into()),
            }
        }
        self.out.push(close);
        Ok(())
    }

    fn next(&self, active: &Active) -> Option<&'a Step> {
        self.orders.rules.get(active.rule)?.paths.get(active.path)?.steps.get(active.step)
    }

    /// Returns the states of the paths one step further down.
    fn step(&self, active: &[Active], place: &Place<'_>) -> Vec<Active> {
        let mut below = Vec::new();
        for active in active {
            let Some(rule) = self.orders.rules.get(active.rule) else { continue };
            let (matches, searches) = match (self.next(active), place) {
                (Some(Step::Name(name)), Place::Member(found)) => (is_name(rule, name, found), false),
                (Some(Step::Index(index)), Place::Element(found)) => (index == found, false),
                (Some(Step::Every), _) => (true, false),
                (Some(Step::Anywhere(name)), Place::Member(found)) => (is_name(rule, name, found), true),
                (Some(Step::Anywhere(_)), Place::Element(_)) => (false, true),
                _ => (false, false),
            };
            if matches {
                below.push(Active { step: active.step + 1, searching: false, ..*active });
            } else if searches {
                below.push(Active { searching: true, ..*active });
            }
        }
        below
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// Skips white space and returns where it began.
    fn blank(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        start
    }

    /// Copies the text since `start` to the output.
    fn copy(&mut self, start: usize) {
        self.out.extend_from_slice(self.text.get(start..self.at).unwrap_or_default());
    }

    /// Skips one value and returns its text.
    fn skip(&mut self) -> Result<&'a [u8], NotJudged> {
        let start = self.at;
        let mut open = 0_usize;
        loop {
            match self.take().ok_or(NotJudged)? {
                b'"' => self.string()?,
                b'{' | b'[' => open += 1,
                b'}' | b']' => open = open.checked_sub(1).ok_or(NotJudged)?,
                b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if open > 0 => {}
                b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => self.word(),
                _ => return Err(NotJudged),
            }
            if open == 0 {
                return self.text.get(start..self.at).ok_or(NotJudged);
            }
        }
    }

    /// Skips the rest of a number or literal.
    fn word(&mut self) {
        while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')) {
            self.at += 1;
        }
    }

    /// Skips the rest of a string after its opening quote.
    fn string(&mut self) -> Result<(), NotJudged> {
        loop {
            match self.take().ok_or(NotJudged)? {
                b'"' => return Ok(()),
                b'\\' => {
                    self.take();
                }
                _ => {}
            }
        }
    }
}

impl Refusal {
    /// Names the rule only where no other one looks into the text.
    fn embedded(active: &[Active]) -> Self {
        let first = active.first().map(|active| active.rule);
        let rule = first.filter(|rule| active.iter().all(|active| active.rule == *rule));
        Self { code: EMBEDDED, reason: "a text is JSON itself and holds a field that a rule names", rule }
    }
}

impl Orders<'_> {
    /// Checks the type of the document, so that the rules and the allow list can look into it.
    pub fn check_root(&self, value: &[u8]) -> Result<(), Refusal> {
        let found = json::kind(value);
        if let Some((keep, Kept::Within(cursors))) = self.keep.map(|keep| (keep, keep.of_document())) {
            let whole_list = self.rules.len();
            keep.check(&cursors, found).map_err(|error| Refusal::from(error).of_rule(whole_list))?;
        }
        let first = |active: Active| {
            let step = self.rules.get(active.rule)?.paths.get(active.path)?.steps.first()?;
            Some((active.rule, step))
        };
        for (rule, step) in roots(self.rules).filter_map(first) {
            Shape::of(step).check(found).map_err(|error| Refusal::from(error).of_rule(rule))?;
        }
        Ok(())
    }
}

/// Returns every path of every rule, before its first step.
fn roots(rules: &[Rule]) -> impl Iterator<Item = Active> {
    rules
        .iter()
        .enumerate()
        .flat_map(|(rule, of)| (0..of.paths.len()).map(move |path| Active { rule, path, step: 0, searching: false }))
}

fn is_name(rule: &Rule, name: &str, found: &str) -> bool {
    if !rule.ignore_case {
        return name == found;
    }
    // The rule's name is already folded.
    if found.is_ascii() { name.eq_ignore_ascii_case(found) } else { name == folded(found) }
}

/// Returns the name in a JSON Pointer with one step.
pub fn pointed(pointer: &[u8]) -> Result<Cow<'_, str>, NotJudged> {
    let name = std::str::from_utf8(pointer).ok().and_then(|pointer| pointer.strip_prefix('/')).ok_or(NotJudged)?;
    if name.contains('/') {
        return Err(NotJudged);
    }
    Ok(match name.contains('~') {
        true => Cow::Owned(name.replace("~1", "/").replace("~0", "~")),
        false => Cow::Borrowed(name),
    })
}
