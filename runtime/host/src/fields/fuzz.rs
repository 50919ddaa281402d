//! Fields under a fuzzer: documents, paths and edits against a reader that shares nothing with the
//! scanner.
//!
//! An input is text: paths (`$.a`) and edits (`=2 null` sets occurrence 2, `-2` removes it, `+1 {}`
//! inserts field 1) on a line each, an empty line, and the value.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a finding ends the fuzzer or the test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use strait_core::json_path::{Path, Segment};

use super::docs::{Doc, DocId, Docs};
use super::found::ValueState;
use super::lens::{Lens, share};
use super::splice::FieldEdit;

/// Paths of one input.
const PATHS_MAX: usize = 16;

/// A JSON value as `serde_json` reads it. Every member of an object stays, and a scalar keeps its
/// text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tree {
    Scalar(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
    /// An item that was removed.
    Gone,
}

/// A match of a path: the index of the child at each step, and the JSON Pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    steps: Vec<usize>,
    pointer: String,
}

/// The matches of a path, and what else it meets.
#[derive(Default)]
struct Places {
    list: Vec<Place>,
    /// A name on it comes twice.
    twice: bool,
    /// Something that it cannot step into.
    blocked: bool,
}

impl Places {
    /// Returns the state of a document with these places, for a plugin that is told of shapes.
    fn state(all: &[Self]) -> ValueState {
        if all.iter().any(|places| places.twice) {
            return ValueState::NameTwice;
        }
        if all.iter().any(|places| places.blocked) {
            return ValueState::WrongShape;
        }
        ValueState::Parsed
    }
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

impl Tree {
    /// Reads exactly one value.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        Self::of(serde_json::from_slice::<&RawValue>(text).ok()?)
    }

    fn of(value: &RawValue) -> Option<Self> {
        let text = value.get();
        Some(match text.as_bytes().first()? {
            b'{' => {
                let Members(members) = serde_json::from_str(text).ok()?;
                let members = members.into_iter().map(|(name, value)| Some((name, Self::of(value)?)));
                Self::Object(members.collect::<Option<_>>()?)
            }
            b'[' => {
                let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
                Self::Array(items.into_iter().map(Self::of).collect::<Option<_>>()?)
            }
            b'"' => {
                // A raw value was not checked for lone surrogates.
                serde_json::from_str::<String>(text).ok()?;
                Self::Scalar(text.to_owned())
            }
            _ => Self::Scalar(text.to_owned()),
        })
    }

    fn at(&mut self, steps: &[usize]) -> &mut Self {
        let Some((first, rest)) = steps.split_first() else { return self };
        match self {
            Self::Array(items) => items[*first].at(rest),
            Self::Object(members) => members[*first].1.at(rest),
            Self::Scalar(_) | Self::Gone => self,
        }
    }

    /// Returns the value without the items that are gone.
    fn pruned(self) -> Self {
        match self {
            Self::Array(items) => {
                Self::Array(items.into_iter().filter(|item| *item != Self::Gone).map(Self::pruned).collect())
            }
            Self::Object(members) => {
                let left = members.into_iter().filter(|(_, member)| *member != Self::Gone);
                Self::Object(left.map(|(name, member)| (name, member.pruned())).collect())
            }
            other => other,
        }
    }

    /// Returns the value without what the paths match.
    pub(crate) fn without(mut self, paths: &[Path]) -> Self {
        let places: Vec<Place> = paths.iter().flat_map(|path| places(&self, path).list).collect();
        for place in places {
            *self.at(&place.steps) = Self::Gone;
        }
        self.pruned()
    }
}

/// Returns the outermost matches of a path, in the order of the document.
fn places(tree: &Tree, path: &Path) -> Places {
    // A name anywhere needs a document that has names.
    let is_leaf = matches!(tree, Tree::Scalar(text) if text != "null");
    let mut found = Places { blocked: is_leaf, ..Places::default() };
    let mut at = Place { steps: Vec::new(), pointer: String::new() };
    walk(tree, path.segments(), &BTreeSet::from([0]), &mut at, &mut found);
    found
}

/// `active` has the segments that may match an item of this value.
fn walk(tree: &Tree, segments: &[Segment], active: &BTreeSet<usize>, at: &mut Place, found: &mut Places) {
    let fits = |segment: &Segment| match tree {
        Tree::Object(_) => !matches!(segment, Segment::Index(_)),
        Tree::Array(_) => !matches!(segment, Segment::Name(_)),
        Tree::Scalar(text) => text == "null" || matches!(segment, Segment::Below(_)),
        Tree::Gone => true,
    };
    found.blocked |= !active.iter().all(|n| fits(&segments[*n]));
    match tree {
        Tree::Object(members) => {
            let walks = active.iter().any(|n| matches!(segments[*n], Segment::Each | Segment::Below(_)));
            for (index, (name, member)) in members.iter().enumerate() {
                let mut next = BTreeSet::new();
                let mut is_named = false;
                for n in active.iter().copied() {
                    match &segments[n] {
                        Segment::Name(wanted) if **wanted == **name => {
                            is_named = true;
                            next.insert(n + 1);
                        }
                        Segment::Each => drop(next.insert(n + 1)),
                        Segment::Below(wanted) => {
                            next.insert(n);
                            if **wanted == **name {
                                next.insert(n + 1);
                            }
                        }
                        Segment::Name(_) | Segment::Index(_) => {}
                    }
                }
                let before = members.iter().take(index);
                found.twice |= (walks || is_named) && before.clone().any(|(other, _)| other == name);
                let step = name.replace('~', "~0").replace('/', "~1");
                enter(member, segments, &next, (index, &step), at, found);
            }
        }
        Tree::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let mut next = BTreeSet::new();
                for n in active.iter().copied() {
                    match &segments[n] {
                        Segment::Index(wanted) if *wanted as usize == index => drop(next.insert(n + 1)),
                        Segment::Each => drop(next.insert(n + 1)),
                        Segment::Below(_) => drop(next.insert(n)),
                        Segment::Name(_) | Segment::Index(_) => {}
                    }
                }
                enter(item, segments, &next, (index, &index.to_string()), at, found);
            }
        }
        Tree::Scalar(_) | Tree::Gone => {}
    }
}

fn enter(
    item: &Tree,
    segments: &[Segment],
    next: &BTreeSet<usize>,
    (index, step): (usize, &str),
    at: &mut Place,
    found: &mut Places,
) {
    let pointer_len = at.pointer.len();
    at.steps.push(index);
    at.pointer.push('/');
    at.pointer.push_str(step);
    if next.contains(&segments.len()) {
        found.list.push(at.clone());
    } else if !next.is_empty() {
        walk(item, segments, next, at, found);
    }
    at.steps.pop();
    at.pointer.truncate(pointer_len);
}

enum Edit<'a> {
    Set(u32, Option<&'a str>),
    Insert(u32, &'a str),
}

struct Input<'a> {
    paths: Vec<&'a str>,
    edits: Vec<Edit<'a>>,
    value: &'a [u8],
}

impl<'a> Input<'a> {
    fn read(input: &'a [u8]) -> Option<Self> {
        let end = input.windows(2).position(|pair| pair == b"\n\n")?;
        let (mut paths, mut edits) = (Vec::new(), Vec::new());
        for line in std::str::from_utf8(&input[..end]).ok()?.split('\n') {
            let numbered = |rest: &'a str| {
                let (number, text) = rest.split_once(' ').unwrap_or((rest, ""));
                Some((number.parse().ok()?, text))
            };
            match line.chars().next() {
                Some('=') => edits.extend(numbered(&line[1..]).map(|(number, text)| Edit::Set(number, Some(text)))),
                Some('-') => edits.extend(numbered(&line[1..]).map(|(number, _)| Edit::Set(number, None))),
                Some('+') => edits.extend(numbered(&line[1..]).map(|(number, text)| Edit::Insert(number, text))),
                _ if paths.len() < PATHS_MAX => paths.push(line),
                _ => {}
            }
        }
        Some(Self { paths, edits, value: &input[end + 2..] })
    }
}

/// Reads a value with paths, edits it, and compares both with an independent reader.
///
/// # Panics
/// At any difference.
pub fn fields(input: &[u8]) {
    let Some(input) = Input::read(input) else { return };
    let paths: Vec<String> = input.paths.iter().map(|path| (*path).to_owned()).collect();
    let strict = match Lens::new(&paths, true, true, true) {
        Ok(lens) => lens,
        Err(error) => return assert!(error.len() < 1024, "a long message: {error}"),
    };
    let parsed: Vec<Path> = paths.iter().map(|path| Path::parse(path).unwrap()).collect();
    for path in &parsed {
        assert_eq!(Path::parse(&path.to_string()).as_ref(), Ok(path), "the canonical text");
    }
    let lens = Lens { strict: false, ..strict.clone() };
    let mut docs = Docs::default();
    let id = docs.read(DocId::default(), Some(input.value), &lens);
    let doc = *docs.get(id).unwrap();
    let state = doc.state(&lens);
    if state == ValueState::TooDeepOrLarge {
        return;
    }
    let tree = Tree::read(input.value);
    let is_json = matches!(state, ValueState::Parsed | ValueState::NameTwice);
    assert_eq!(is_json, tree.is_some(), "{state:?}");
    let Some(tree) = tree else { return };

    let all: Vec<Places> = parsed.iter().map(|path| places(&tree, path)).collect();
    compare_relations(&parsed, &all);
    assert_eq!(state == ValueState::NameTwice, all.iter().any(|places| places.twice), "a name twice");
    assert_eq!(doc.state(&strict), Places::state(&all), "the shapes");
    compare_each_alone(&paths, &all, input.value);
    if state == ValueState::Parsed {
        for (field, places) in all.iter().enumerate() {
            compare_places((&docs, &doc, &lens), field, places, &tree, input.value);
        }
        edit(&input, &tree, &parsed, &all, (&docs, &doc, &lens));
    }
}

/// Checks that the relations of the paths hold in this document.
fn compare_relations(paths: &[Path], all: &[Places]) {
    for (outer, outer_places) in paths.iter().zip(all) {
        for (inner, inner_places) in paths.iter().zip(all) {
            let is_around = |around: &Place, place: &Place| place.steps.starts_with(&around.steps);
            if outer.covers(inner) {
                let covered = |place: &Place| outer_places.list.iter().any(|around| is_around(around, place));
                assert!(inner_places.list.iter().all(covered), "{outer} does not cover {inner}");
                assert!(outer.may_meet(inner), "{outer} covers {inner} and does not meet it");
            }
            let meets = |place: &Place| outer_places.list.iter().any(|around| is_around(around, place));
            assert!(outer.may_meet(inner) || !inner_places.list.iter().any(meets), "{outer} meets {inner}");
            assert_eq!(outer.may_meet(inner), inner.may_meet(outer), "{outer} {inner}");
        }
    }
}

/// Plugins with one field each share a pass, and each sees what it would see alone.
fn compare_each_alone(paths: &[String], all: &[Places], value: &[u8]) {
    let own: Vec<Lens> =
        paths.iter().map(|path| Lens::new(std::slice::from_ref(path), false, false, true).unwrap()).collect();
    let shared = share(&own.iter().map(Some).collect::<Vec<_>>());
    let mut docs = Docs::default();
    let mut id = DocId::default();
    for (lens, places) in shared.iter().flatten().zip(all) {
        id = docs.read(id, Some(value), lens);
        let doc = docs.get(id).unwrap();
        // All paths together may have more than one record may.
        if doc.state(lens) == ValueState::TooDeepOrLarge {
            return;
        }
        let state = Places::state(std::slice::from_ref(places));
        assert_eq!(doc.state(lens), state, "alone");
        let count = if state == ValueState::Parsed { places.list.len() } else { 0 };
        assert_eq!(docs.occurrences(doc, lens, 0).len(), count, "places of a shared pass");
    }
}

fn compare_places((docs, doc, lens): (&Docs, &Doc, &Lens), field: usize, places: &Places, tree: &Tree, value: &[u8]) {
    let found = docs.occurrences(doc, lens, field);
    let pointers: Vec<_> = found.iter().map(|found| String::from_utf8_lossy(docs.pointer(found))).collect();
    let expected: Vec<_> = places.list.iter().map(|place| place.pointer.as_str()).collect();
    assert_eq!(pointers, expected, "places of field {field}");
    for (occurrence, place) in found.iter().zip(&places.list) {
        let text = &value[occurrence.start as usize..occurrence.end as usize];
        assert_eq!(Tree::read(text).as_ref(), Some(&*tree.clone().at(&place.steps)), "text of field {field}");
        assert_eq!(text, text.trim_ascii(), "blanks belong to no occurrence");
    }
}

fn edit(input: &Input<'_>, tree: &Tree, paths: &[Path], all: &[Places], (docs, doc, lens): (&Docs, &Doc, &Lens)) {
    let numbered: Vec<&Place> = all.iter().flat_map(|places| &places.list).collect();
    let ranges: Vec<Range<usize>> = (0..all.len())
        .flat_map(|field| docs.occurrences(doc, lens, field))
        .map(|found| found.start as usize..found.end as usize)
        .collect();
    let mut fields = FieldEdit::default();
    let mut sets: BTreeMap<&[usize], (Range<usize>, Option<&str>)> = BTreeMap::new();
    let mut inserts = Vec::new();
    for edit in &input.edits {
        let done = match *edit {
            Edit::Set(number, text) => {
                let done = fields.set(number, text.map(str::as_bytes), docs, doc, lens);
                if done.is_ok() {
                    let place = numbered.get(number as usize).expect("an occurrence that is not there was edited");
                    sets.insert(&place.steps, (ranges[number as usize].clone(), text));
                }
                done
            }
            Edit::Insert(field, text) => {
                let done = fields.insert(field, text.as_bytes(), docs, doc, lens);
                inserts.extend(done.is_ok().then_some((field, text)));
                done
            }
        };
        if let Err(error) = done {
            return assert!(error.len() < 1024, "a long message: {error}");
        }
    }
    let Ok(edited) = fields.apply(input.value) else { return };

    let mut expected = tree.clone();
    for (steps, (_, text)) in &sets {
        *expected.at(steps) = text.map_or(Tree::Gone, |text| Tree::read(text.as_bytes()).expect("no JSON was set"));
    }
    for (field, text) in &inserts {
        insert(&mut expected, paths[*field as usize].segments(), text);
    }
    assert_eq!(Tree::read(&edited), Some(expected.pruned()), "the edited document");
    if inserts.is_empty() && sets.values().all(|(_, text)| text.is_some()) {
        let mut exact = Vec::new();
        let mut from = 0;
        for (range, text) in sets.values() {
            exact.extend_from_slice(&input.value[from..range.start]);
            exact.extend_from_slice(text.unwrap_or_default().as_bytes());
            from = range.end;
        }
        exact.extend_from_slice(&input.value[from..]);
        assert_eq!(edited, exact, "bytes outside of the edited places");
    }
}

fn insert(tree: &mut Tree, segments: &[Segment], text: &str) {
    let (first, rest) = segments.split_first().expect("a path has a segment");
    match (tree, first) {
        (Tree::Object(members), Segment::Name(name)) if rest.is_empty() => {
            members.push((name.to_string(), Tree::read(text.as_bytes()).expect("no JSON was inserted")));
        }
        (Tree::Object(members), Segment::Name(name)) => {
            let member = members.iter_mut().find(|(member, _)| **member == **name);
            insert(&mut member.expect("a field was inserted into nothing").1, rest, text);
        }
        (Tree::Array(items), Segment::Index(index)) => insert(&mut items[*index as usize], rest, text),
        (tree, segment) => unreachable!("a field was inserted at {segment:?} of {tree:?}"),
    }
}
