//! One strict pass over a value: whether it is exactly one JSON document (RFC 8259), and where the
//! declared paths occur.
//!
//! Everything that two readers could understand differently (a duplicate name, a lone surrogate,
//! bytes after the end) is reported, so that it cannot hide a field from a plugin.

use strait_core::json_path::Segment;

use super::found::{Found, Occurrence, Parent, ValueState};
use super::lens::PathSet;
use super::lexer::{Lexer, Stop, unescape};
use super::path::Path;
use super::workspace::{Active, Name, PathStep, Workspace};

/// Maximum number of occurrences in one record, over all paths of the chain.
pub(crate) const OCCURRENCES_MAX: usize = 10_000;
/// Maximum bytes of the occurrences in one record, and of their pointers, over all paths of the
/// chain. Occurrences may have as much more as this many times the value: a plugin that names a
/// field and what stands around it is shown the same bytes once for each.
pub(crate) const OCCURRENCE_BYTES_MAX: usize = 4 << 20;
const OCCURRENCE_BYTES_RATIO: usize = 8;
/// Maximum bytes of pointers per byte of the value, beyond a minimum: many short elements below a
/// long name could otherwise need far more memory than the batch itself.
const POINTER_BYTES_RATIO: usize = 16;
const POINTER_BYTES_MIN: usize = 4 << 10;
/// Names of an object that are compared pairwise; more are sorted.
const NAMES_COMPARED_MAX: usize = 12;

/// A member or element: its start, its container and its index.
#[derive(Clone, Copy)]
struct Item {
    start: usize,
    container: usize,
    ordinal: u32,
}

struct Scanner<'a> {
    at: Lexer<'a>,
    set: &'a PathSet,
    work: &'a mut Workspace,
    found: &'a mut Found,
    /// Paths with a duplicate name, as bits.
    twice: u128,
    /// Paths that meet something that they cannot step into, as bits.
    blocked: u128,
    occurrences: usize,
    bytes: usize,
    pointer_bytes: usize,
}

/// The result of a pass, beside the matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scanned {
    pub(crate) state: ValueState,
    /// Paths of the set with a duplicate name, as bits.
    pub(crate) twice: u128,
    /// Paths of the set that meet something that they cannot step into, as bits.
    pub(crate) blocked: u128,
}

impl From<ValueState> for Scanned {
    fn from(state: ValueState) -> Self {
        Self { state, twice: 0, blocked: 0 }
    }
}

/// Reads a value and appends the matches to `found`, if the state is `Parsed`.
pub(crate) fn scan(value: Option<&[u8]>, set: &PathSet, work: &mut Workspace, found: &mut Found) -> Scanned {
    let Some(text) = value else {
        return ValueState::Null.into();
    };
    if text.is_empty() {
        return ValueState::Empty.into();
    }
    if std::str::from_utf8(text).is_err() {
        return ValueState::NotUtf8.into();
    }
    if text.starts_with(b"\xef\xbb\xbf") {
        return ValueState::BomOrTrailing.into();
    }
    if u32::try_from(text.len()).is_err() {
        return ValueState::TooDeepOrLarge.into();
    }
    let lengths = (found.occurrences.len(), found.parents.len(), found.pointers.len());
    work.clear();
    let mut scanner = Scanner {
        at: Lexer::new(text),
        set,
        work,
        found,
        twice: 0,
        blocked: 0,
        occurrences: 0,
        bytes: 0,
        pointer_bytes: 0,
    };
    let state = scanner.document();
    let (twice, blocked) = (scanner.twice, scanner.blocked);
    if state != ValueState::Parsed {
        found.occurrences.truncate(lengths.0);
        found.parents.truncate(lengths.1);
        found.pointers.truncate(lengths.2);
        return state.into();
    }
    if let Some(new) = found.occurrences.get_mut(lengths.0..)
        && new.len() > 1
    {
        // Stable: matches of a path stay in the order of the document.
        new.sort_by_key(|occurrence| occurrence.path);
    }
    Scanned { state, twice, blocked }
}

/// Returns whether a text is exactly one JSON value, by the same rules.
pub(crate) fn is_json(text: &[u8]) -> bool {
    let set = PathSet::default();
    scan(Some(text), &set, &mut Workspace::default(), &mut Found::default()).state == ValueState::Parsed
}

/// Returns the indexes of the bits that are set.
fn bits(mut set: u128) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        if set == 0 {
            return None;
        }
        let bit = set.trailing_zeros();
        set &= set - 1;
        u8::try_from(bit).ok()
    })
}

#[inline]
fn narrow(position: usize) -> u32 {
    // The length was checked to fit.
    u32::try_from(position).unwrap_or(u32::MAX)
}

impl Scanner<'_> {
    fn document(&mut self) -> ValueState {
        for path in 0..self.set.paths.len() {
            if let Ok(path) = u8::try_from(path) {
                self.work.active.push(Active { path, places: 1 });
            }
        }
        self.at.blank();
        // A name anywhere needs a document that has names.
        if !matches!(self.at.peek(), Some(b'{' | b'[' | b'n')) {
            self.blocked |= self.walks_of(0, self.work.active.len(), |_| true);
        }
        match self.value(0, self.work.active.len()) {
            Ok(()) => {}
            Err(Stop::NotJson) => return ValueState::NotJson,
            Err(Stop::TooDeep) => return ValueState::TooDeepOrLarge,
        }
        self.at.blank();
        if self.at.pos < self.at.text.len() {
            return ValueState::BomOrTrailing;
        }
        if self.is_too_large() {
            return ValueState::TooDeepOrLarge;
        }
        ValueState::Parsed
    }

    fn is_too_large(&self) -> bool {
        let pointer_bytes_max = POINTER_BYTES_RATIO * self.at.text.len() + POINTER_BYTES_MIN;
        self.occurrences > OCCURRENCES_MAX
            || self.bytes > OCCURRENCE_BYTES_MAX + OCCURRENCE_BYTES_RATIO * self.at.text.len()
            || self.pointer_bytes > pointer_bytes_max.min(OCCURRENCE_BYTES_MAX)
    }

    /// Reads the current value with the paths in a range of `active`.
    fn value(&mut self, from: usize, to: usize) -> Result<(), Stop> {
        if from == to {
            return self.at.skip();
        }
        match self.at.peek() {
            Some(b'{') => {
                self.blocked |= self.walks_of(from, to, |next| matches!(next, Segment::Index(_)));
                self.object(from, to)
            }
            Some(b'[') => {
                self.blocked |= self.walks_of(from, to, |next| matches!(next, Segment::Name(_)));
                self.array(from, to)
            }
            // A null holds nothing.
            Some(b'n') => self.at.scalar(),
            _ => {
                self.blocked |= self.walks_of(from, to, |next| !matches!(next, Segment::Below(_)));
                self.at.scalar()
            }
        }
    }

    /// Returns the paths that go on with such a segment from here, as bits: those of plugins that
    /// are told.
    fn walks_of(&self, from: usize, to: usize, test: impl Fn(&Segment) -> bool) -> u128 {
        if self.set.strict == 0 {
            return 0;
        }
        let mut walks = 0;
        for active in self.work.active.get(from..to).unwrap_or_default() {
            let Some(path) = self.set.path(active.path) else { continue };
            let mut left = active.places;
            while left != 0 {
                let index = left.trailing_zeros();
                left &= left - 1;
                if path.segment(index).is_some_and(&test) {
                    walks |= 1 << active.path;
                }
            }
        }
        walks & self.set.strict
    }

    fn object(&mut self, from: usize, to: usize) -> Result<(), Stop> {
        let container = self.at.pos;
        self.at.enter()?;
        let walks = self.walks(from, to);
        let (met, names) = (self.work.met.len(), self.work.names.len());
        let mut ordinal = 0;
        if !self.at.eat(b'}') {
            loop {
                let item = Item { start: self.at.pos, container, ordinal };
                let name = self.name()?;
                if walks != 0 {
                    self.work.names.push(name);
                }
                let mark = self.work.active.len();
                let matched = self.step_into(name, from, to, met);
                self.item(item, PathStep::Name(name), matched, mark)?;
                ordinal += 1;
                if !self.at.more(b'}')? {
                    break;
                }
            }
        }
        if walks != 0 && self.any_twice(names) {
            self.twice |= walks;
        }
        self.work.met.truncate(met);
        self.work.names.truncate(names);
        self.at.depth -= 1;
        if self.set.edits {
            self.note_parent(from, to, container, ordinal);
        }
        Ok(())
    }

    fn array(&mut self, from: usize, to: usize) -> Result<(), Stop> {
        let container = self.at.pos;
        self.at.enter()?;
        let mut ordinal = 0;
        if !self.at.eat(b']') {
            loop {
                let item = Item { start: self.at.pos, container, ordinal };
                let mark = self.work.active.len();
                let matched = self.step_to(ordinal, from, to);
                self.item(item, PathStep::Index(ordinal), matched, mark)?;
                ordinal += 1;
                if !self.at.more(b']')? {
                    break;
                }
            }
        }
        self.at.depth -= 1;
        Ok(())
    }

    /// Reads the value of a member or element, and adds it to the matches of its paths.
    fn item(&mut self, item: Item, step: PathStep, matched: u128, mark: usize) -> Result<(), Stop> {
        if self.set.pointers {
            self.work.way.push(step);
        }
        let start = self.at.pos;
        self.value(mark, self.work.active.len())?;
        self.work.active.truncate(mark);
        if matched != 0 {
            self.note(item, start, matched);
        }
        if self.set.pointers {
            self.work.way.pop();
        }
        Ok(())
    }

    fn note(&mut self, item: Item, start: usize, matched: u128) {
        for path in bits(matched) {
            self.occurrences += 1;
            self.bytes += self.at.pos - start;
            // Reported at the end, as an invalid document takes precedence; until then nothing is
            // added.
            if self.is_too_large() {
                return;
            }
            let pointer = self.pointer();
            self.found.occurrences.push(Occurrence {
                path,
                start: narrow(start),
                end: narrow(self.at.pos),
                item: narrow(item.start),
                container: narrow(item.container),
                ordinal: item.ordinal,
                pointer,
            });
        }
    }

    /// Writes the JSON Pointer (RFC 6901) of the current value.
    fn pointer(&mut self) -> (u32, u32) {
        if !self.set.pointers {
            return (0, 0);
        }
        let Workspace { way, unescaped, .. } = &*self.work;
        let pointers = &mut self.found.pointers;
        let start = pointers.len();
        for step in way {
            pointers.push(b'/');
            match step {
                PathStep::Index(index) => pointers.extend_from_slice(index.to_string().as_bytes()),
                PathStep::Name(name) => {
                    for byte in name.bytes(self.at.text, unescaped) {
                        match byte {
                            b'~' => pointers.extend_from_slice(b"~0"),
                            b'/' => pointers.extend_from_slice(b"~1"),
                            _ => pointers.push(*byte),
                        }
                    }
                }
            }
        }
        self.pointer_bytes += pointers.len() - start;
        (narrow(start), narrow(pointers.len()))
    }

    fn note_parent(&mut self, from: usize, to: usize, open: usize, members: u32) {
        for active in self.work.active.get(from..to).unwrap_or_default() {
            let path = self.set.path(active.path);
            let holds = path.is_some_and(|p| p.insertable().is_some() && active.places & p.last_place() != 0);
            if holds {
                let close = narrow(self.at.pos.saturating_sub(1));
                self.found.parents.push(Parent { path: active.path, open: narrow(open), close, members });
            }
        }
    }

    /// Returns the paths that visit every name of the current object, as bits.
    fn walks(&self, from: usize, to: usize) -> u128 {
        let mut walks = 0;
        for active in self.work.active.get(from..to).unwrap_or_default() {
            if self.set.path(active.path).is_some_and(|path| path.walks(active.places)) {
                walks |= 1 << active.path;
            }
        }
        walks
    }

    /// Follows the paths into a member: adds those that go on inside and returns those that end
    /// here.
    fn step_into(&mut self, name: Name, from: usize, to: usize, met: usize) -> u128 {
        let mut matched = 0;
        let set = self.set;
        for index in from..to {
            let Some(active) = self.work.active.get(index).copied() else { break };
            let Some(path) = set.path(active.path) else { continue };
            let bytes = name.bytes(self.at.text, &self.work.unescaped);
            let (next, here) = step(path, active.places, |segment| match segment {
                Segment::Name(wanted) => (wanted.as_bytes() == bytes, false),
                Segment::Each => (true, false),
                Segment::Below(wanted) => (wanted.as_bytes() == bytes, true),
                Segment::Index(_) => (false, false),
            });
            if here != 0 {
                self.meet(active.path, here, met);
            }
            self.follow(path, active.path, next, &mut matched);
        }
        matched
    }

    /// Follows the paths into an element, as [`Self::step_into`].
    fn step_to(&mut self, ordinal: u32, from: usize, to: usize) -> u128 {
        let mut matched = 0;
        let set = self.set;
        for index in from..to {
            let Some(active) = self.work.active.get(index).copied() else { break };
            let Some(path) = set.path(active.path) else { continue };
            let (next, _) = step(path, active.places, |segment| match segment {
                Segment::Index(wanted) => (*wanted == ordinal, false),
                Segment::Each => (true, false),
                Segment::Below(_) => (false, true),
                Segment::Name(_) => (false, false),
            });
            self.follow(path, active.path, next, &mut matched);
        }
        matched
    }

    /// A path that ends here does not go on inside: only the outermost of nested matches counts.
    fn follow(&mut self, path: &Path, number: u8, next: u32, matched: &mut u128) {
        if next & path.end() != 0 {
            *matched |= 1 << number;
        } else if next != 0 {
            self.work.active.push(Active { path: number, places: next });
        }
    }

    /// Marks a path as having a duplicate name if this object had the same name before.
    fn meet(&mut self, path: u8, places: u32, met: usize) {
        for earlier in self.work.met.iter_mut().skip(met) {
            if earlier.path == path {
                if earlier.places & places != 0 {
                    self.twice |= 1 << path;
                }
                earlier.places |= places;
                return;
            }
        }
        self.work.met.push(Active { path, places });
    }

    /// Returns whether the object that ends here has a duplicate name.
    fn any_twice(&mut self, from: usize) -> bool {
        let Workspace { names, unescaped, .. } = &mut *self.work;
        let (text, unescaped) = (self.at.text, &*unescaped);
        let Some(names) = names.get_mut(from..) else {
            return false;
        };
        if names.len() > NAMES_COMPARED_MAX {
            names.sort_unstable_by(|a, b| a.bytes(text, unescaped).cmp(b.bytes(text, unescaped)));
            return names
                .windows(2)
                .any(|pair| matches!(pair, [a, b] if a.bytes(text, unescaped) == b.bytes(text, unescaped)));
        }
        for (index, name) in names.iter().enumerate() {
            let bytes = name.bytes(text, unescaped);
            if names.iter().skip(index + 1).any(|other| other.bytes(text, unescaped) == bytes) {
                return true;
            }
        }
        false
    }

    /// Reads a name and the colon after it.
    fn name(&mut self) -> Result<Name, Stop> {
        let start = self.at.pos + 1;
        let was_escaped = self.at.string()?;
        let end = self.at.pos - 1;
        self.at.colon()?;
        if !was_escaped {
            return Ok(Name { start, end, was_escaped });
        }
        let out = &mut self.work.unescaped;
        let first = out.len();
        unescape(self.at.text.get(start..end).unwrap_or_default(), out);
        Ok(Name { start: first, end: out.len(), was_escaped })
    }
}

/// Returns the positions in a path after a name or an index, and those whose own name it is. `test`
/// returns whether a segment matches and whether its position stays as well.
#[inline]
fn step(path: &Path, places: u32, test: impl Fn(&Segment) -> (bool, bool)) -> (u32, u32) {
    let (mut next, mut here) = (0, 0);
    let mut left = places;
    while left != 0 {
        let index = left.trailing_zeros();
        left &= left - 1;
        let Some(segment) = path.segment(index) else { continue };
        let (fits, stays) = test(segment);
        if fits {
            next |= 1 << (index + 1);
            if matches!(segment, Segment::Name(_)) {
                here |= 1 << index;
            }
        }
        if stays {
            next |= 1 << index;
        }
    }
    (next, here)
}
