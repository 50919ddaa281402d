//! Which fields to ask for, and what the occurrences of a record mean.

use std::cmp::Ordering;

use strait_plugin_sdk::{
    Field,
    json::{self, Kind},
    path::{Path, Step},
};

/// The paths to declare, in the order of the rules, and what each is for.
#[derive(Default)]
pub struct Declared {
    pub paths: Vec<Path>,
    roles: Vec<Role>,
    /// What the document itself must be; none where every shape passes.
    root: Option<Shape>,
    /// Whether an occurrence can be inside another, or be another.
    overlapping: bool,
}

/// What a declared path is for. It may be there for both.
#[derive(Clone, Copy, Default)]
struct Role {
    /// The rule that acts on it.
    rule: Option<usize>,
    /// What it must be, so that what the rules name can only be where they look.
    shape: Option<Shape>,
}

/// What a step can be made into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Object,
    Array,
    /// Either.
    Container,
    /// Rules disagree: nothing but null fits them both.
    Nothing,
}

/// Something stands where a path has an object or array to step into.
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
    /// `paths` with the rule that each belongs to, in order.
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

    /// A place that rules step into in ways that exclude each other: nothing could pass but null.
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

    /// Whether everything that the paths step into can be stepped into.
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

    /// Calls `act` with each occurrence to redact and its rule, in order. Where one lies inside another the outer one is
    /// redacted, where two are the same the rule written first acts.
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

/// Whether it is the place itself or one inside it.
fn is_inside(pointer: &[u8], outer: &[u8]) -> bool {
    pointer.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// An order in which everything inside a place follows it before anything else does.
fn by_place(a: &[u8], b: &[u8]) -> Ordering {
    a.split(|byte| *byte == b'/').cmp(b.split(|byte| *byte == b'/'))
}
