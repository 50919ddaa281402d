//! The fields to declare, and the meaning of their occurrences in a record.

use std::cmp::Ordering;

use strait_plugin_sdk::{
    Field,
    json::Kind,
    path::{Path, Step},
};

/// The paths to declare, in the order of the rules. The host sees to it that no value passes in
/// which one of them meets another shape, unless the plan asks for lenient shapes.
#[derive(Default)]
pub struct Declared {
    pub paths: Vec<Path>,
    /// The rule of each path.
    rules: Vec<usize>,
    /// Whether an occurrence can equal another or lie inside it.
    overlapping: bool,
}

/// A step down in a document.
pub enum Place<'a> {
    Member(&'a str),
    Element(u32),
}

/// The types that a step can enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Object,
    Array,
    /// Either.
    Container,
    /// Rules contradict each other: only null fits both.
    Nothing,
}

/// A value has another type where a path expects an object or array.
#[derive(Debug, PartialEq, Eq)]
pub struct WrongShape;

impl Shape {
    pub fn of(step: &Step) -> Self {
        match step {
            Step::Name(_) => Self::Object,
            Step::Index(_) => Self::Array,
            Step::Every | Step::Anywhere(_) => Self::Container,
        }
    }

    fn and(self, other: Option<Self>) -> Self {
        match other {
            None | Some(Self::Container) => self,
            Some(other) if self == Self::Container || self == other => other,
            Some(_) => Self::Nothing,
        }
    }

    pub fn check(self, found: Option<Kind>) -> Result<(), WrongShape> {
        let fits = match found {
            Some(Kind::Null) => true,
            Some(Kind::Object) => matches!(self, Self::Object | Self::Container),
            Some(Kind::Array) => matches!(self, Self::Array | Self::Container),
            _ => false,
        };
        if fits { Ok(()) } else { Err(WrongShape) }
    }
}

/// Returns a place at which paths exclude each other, so that only null could pass.
pub fn contradiction<'a>(paths: impl Iterator<Item = &'a Path>) -> Option<String> {
    let mut shapes: Vec<(&[Step], Shape)> = Vec::new();
    for path in paths {
        for (depth, step) in path.steps.iter().enumerate() {
            let (before, _) = path.steps.split_at(depth);
            let known = shapes.iter().position(|(place, _)| *place == before);
            let shape = Shape::of(step).and(known.and_then(|index| shapes.get(index)).map(|(_, shape)| *shape));
            if shape == Shape::Nothing {
                let place = Path { steps: before.to_vec() };
                return Some(if before.is_empty() { "the document".into() } else { place.to_string() });
            }
            match known.and_then(|index| shapes.get_mut(index)) {
                Some(known) => known.1 = shape,
                None => shapes.push((before, shape)),
            }
        }
    }
    None
}

impl Declared {
    /// Builds the declaration from `paths`, each with its rule, in order.
    pub fn new<'a>(paths: impl Iterator<Item = (&'a Path, usize)>) -> Self {
        let mut declared = Self::default();
        for (path, rule) in paths {
            if declared.paths.contains(path) {
                continue;
            }
            declared.overlapping |= declared.paths.iter().any(|other| other.overlaps(path));
            declared.paths.push(path.clone());
            declared.rules.push(rule);
        }
        declared
    }

    pub fn needs_pointers(&self) -> bool {
        self.overlapping
    }

    /// Calls `act` with each occurrence to redact and its rule, in order. If one lies inside
    /// another, the outer one is redacted; if two are equal, the first rule applies.
    pub fn each_target<E>(
        &self,
        fields: &[Field<'_>],
        mut act: impl FnMut(&Field<'_>, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let targets = || fields.iter().filter_map(|field| Some((field, *self.rules.get(field.field as usize)?)));
        if !self.overlapping {
            return targets().try_for_each(|(field, rule)| act(field, rule));
        }
        let mut sorted: Vec<_> = targets().collect();
        sorted.sort_by(|(a, _), (b, _)| by_place(a.pointer, b.pointer).then(a.occurrence.cmp(&b.occurrence)));
        let mut outer: Option<&[u8]> = None;
        sorted.retain(|(field, _)| {
            if outer.is_some_and(|outer| is_inside(field.pointer, outer)) {
                return false;
            }
            outer = Some(field.pointer);
            true
        });
        sorted.sort_by_key(|(field, _)| field.occurrence);
        sorted.into_iter().try_for_each(|(field, rule)| act(field, rule))
    }
}

/// Returns whether `pointer` is `outer` itself or inside it.
fn is_inside(pointer: &[u8], outer: &[u8]) -> bool {
    pointer.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Orders places so that everything inside a place directly follows it.
fn by_place(a: &[u8], b: &[u8]) -> Ordering {
    a.split(|byte| *byte == b'/').cmp(b.split(|byte| *byte == b'/'))
}
