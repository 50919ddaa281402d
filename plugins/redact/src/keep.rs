//! The allow list of fields: what it does not name is removed.

use serde_json::{Value, json};
use strait_plugin_sdk::{
    ConfigError, config_error,
    json::Kind,
    path::{Path, Step},
};

use crate::{
    claims::may_step,
    config::Rule,
    fields::{Place, Shape, WrongShape},
};

/// The name of the list in claims and counters.
pub const KEEP_ONLY: &str = "keep_only";

/// The paths to keep, with all that is inside of them.
pub struct KeepOnly {
    paths: Vec<Path>,
}

/// The parts of a place in a document that are kept.
pub enum Kept {
    /// All of it.
    All,
    /// The places inside of it to which these paths go on. None: nothing.
    Within(Vec<Cursor>),
}

/// A path, and its next step.
pub struct Cursor {
    path: usize,
    step: usize,
}

impl KeepOnly {
    /// Checks the paths, and that the rules name places that they keep.
    ///
    /// # Errors
    /// Every mistake, with its place.
    pub fn new(paths: &[String], rules: &[Rule]) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let mut kept = Vec::new();
        for (index, path) in paths.iter().enumerate() {
            match keepable(path) {
                Ok(path) => kept.push(path),
                Err(message) => errors.push(config_error(format!("/{KEEP_ONLY}/{index}"), message)),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let keep = Self { paths: kept };
        for (index, rule) in rules.iter().enumerate() {
            for path in rule.paths.iter().filter(|path| !keep.may_hold(path)) {
                let message = format!("{path} is not inside of a place that keep_only keeps, so it is removed anyhow");
                errors.push(config_error(format!("/rules/{index}/fields"), message));
            }
        }
        if errors.is_empty() { Ok(keep) } else { Err(errors) }
    }

    /// Returns whether a place of the path can be one that is kept.
    fn may_hold(&self, path: &Path) -> bool {
        // A kept [*] is an element of an array.
        let may =
            |kept: &Step, step: &Step| may_step(kept, step) && !matches!((kept, step), (Step::Every, Step::Name(_)));
        let is_inside = |kept: &Path| {
            kept.steps.len() <= path.steps.len() && kept.steps.iter().zip(&path.steps).all(|(a, b)| may(a, b))
        };
        let goes_anywhere = path.steps.iter().any(|step| matches!(step, Step::Anywhere(_)));
        goes_anywhere || self.paths.iter().any(is_inside)
    }

    /// Returns the claim: of all that is not kept, nothing is left.
    pub fn claim(&self) -> Value {
        let except: Vec<String> = self.paths.iter().map(|path| format!("value{path}")).collect();
        json!({ "rule": KEEP_ONLY, "at": "value", "except": except, "leaves": "nothing" })
    }

    /// Returns what is kept of the document.
    pub fn of_document(&self) -> Kept {
        Kept::Within((0..self.paths.len()).map(|path| Cursor { path, step: 0 }).collect())
    }

    /// Returns what is kept one step further down.
    pub fn step(&self, kept: &Kept, place: &Place<'_>) -> Kept {
        let Kept::Within(cursors) = kept else { return Kept::All };
        let mut below = Vec::new();
        for Cursor { path, step } in cursors {
            let matches = match (self.next(*path, *step), place) {
                (Some(Step::Every), Place::Element(_)) => true,
                (Some(Step::Name(name)), Place::Member(found)) => name == found,
                _ => false,
            };
            if !matches {
                continue;
            }
            if self.next(*path, step + 1).is_none() {
                return Kept::All;
            }
            below.push(Cursor { path: *path, step: step + 1 });
        }
        Kept::Within(below)
    }

    /// Checks that the paths can go on in a value of this type. Unlike in rules, `[*]` is for
    /// arrays only: the names of an object's members would stay, and they may be data.
    pub fn check(&self, cursors: &[Cursor], found: Option<Kind>) -> Result<(), WrongShape> {
        let steps = cursors.iter().filter_map(|cursor| self.next(cursor.path, cursor.step));
        let mut shapes = steps.map(|step| if *step == Step::Every { Shape::Array } else { Shape::of(step) });
        shapes.try_for_each(|shape| shape.check(found))
    }

    fn next(&self, path: usize, step: usize) -> Option<&Step> {
        self.paths.get(path)?.steps.get(step)
    }
}

fn keepable(path: &str) -> Result<Path, String> {
    let path = Path::parse(path)?;
    match path.steps.iter().find(|step| !matches!(step, Step::Name(_) | Step::Every)) {
        None => Ok(path),
        Some(Step::Index(_)) => {
            Err("an element would have another index once those before it are removed; use [*]".into())
        }
        Some(_) => Err("..name would keep fields that nobody has thought of; name their places".into()),
    }
}
