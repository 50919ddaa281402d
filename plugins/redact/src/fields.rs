//! The fields to declare, and the meaning of their occurrences in a record.

use std::cmp::Ordering;

use strait_plugin_sdk::{
    Field,
    json::{self, Kind},
    path::{Path, Step},
};

/// The paths to declare, in the order of the rules, with the purpose of each.
#[derive(Default)]
pub struct Declared {
    pub paths: Vec<Path>,
    roles: Vec<Role>,
    /// The required type of the document. `None` if every shape passes.
    root: Option<Shape>,
    /// Whether an occurrence can equal another or lie inside it.
    overlapping: bool,
}

/// The purpose of a declared path. It can have both.
#[derive(Clone, Copy, Default)]
struct Role {
    /// The rule that redacts it.
    rule: Option<usize>,
    /// The required type, so that what the rules name can only be where they look.
    shape: Option<Shape>,
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
    /// Rules disagree: only null fits both.
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

impl Declared {
    /// Builds the declaration from `paths`, each with its rule, in order.
    pub fn new<'a>(paths: impl Iterator<Item = (&'a Path, usize)>, strict: bool) -> Self {
        let mut declared = Self::default();
        let mut targets: Vec<&Path> = Vec::new();
        for (path, rule) in paths {
            if targets.contains(&path) {
                continue;
            }
            declared.overlapping |= targets.iter().any(|other| other.overlaps(path));
            targets.push(path);
            let index = declared.index(path);
            declared.roles[index].rule = Some(rule);
        }
        for path in targets.iter().filter(|_| strict) {
            for (depth, step) in path.steps.iter().enumerate() {
                let shape = Shape::of(step);
                if depth == 0 {
                    declared.root = Some(shape.and(declared.root));
                    continue;
                }
                let index = declared.index(&Path { steps: path.steps[..depth].to_vec() });
                let role = &mut declared.roles[index];
                role.shape = Some(shape.and(role.shape));
            }
        }
        declared
    }

    fn index(&mut self, path: &Path) -> usize {
        if let Some(index) = self.paths.iter().position(|known| known == path) {
            return index;
        }
        self.paths.push(path.clone());
        self.roles.push(Role::default());
        self.paths.len() - 1
    }

    /// Returns a place at which rules exclude each other, so that only null could pass.
    pub fn contradiction(&self) -> Option<String> {
        if self.root == Some(Shape::Nothing) {
            return Some("the document".into());
        }
        let index = self.roles.iter().position(|role| role.shape == Some(Shape::Nothing))?;
        self.paths.get(index).map(ToString::to_string)
    }

    pub fn needs_value(&self) -> bool {
        self.root.is_some()
    }

    pub fn needs_pointers(&self) -> bool {
        self.overlapping
    }

    fn role(&self, field: &Field<'_>) -> Role {
        self.roles.get(field.field as usize).copied().unwrap_or_default()
    }

    /// Checks that every value on the paths has the required type.
    pub fn check_shapes(&self, value: Option<&[u8]>, fields: &[Field<'_>]) -> Result<(), WrongShape> {
        if let (Some(root), Some(value)) = (self.root, value) {
            root.check(json::kind(value))?;
        }
        for field in fields {
            if let Some(shape) = self.role(field).shape {
                shape.check(json::kind(field.json))?;
            }
        }
        Ok(())
    }

    /// Calls `act` with each occurrence to redact and its rule, in order. If one lies inside
    /// another, the outer one is redacted; if two are equal, the first rule applies.
    pub fn each_target<E>(
        &self,
        fields: &[Field<'_>],
        mut act: impl FnMut(&Field<'_>, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let targets = || fields.iter().filter_map(|field| Some((field, self.role(field).rule?)));
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
