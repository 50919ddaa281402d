//! The rules, a file for each subject.

use crate::{Finding, Tree};

mod circles;
mod docs;
mod lints;
mod plugins;
mod prose;
mod sizes;
mod unsafe_code;
mod walls;

/// A rule: what it holds, and the function that finds the places that break it.
#[derive(Clone, Copy)]
pub struct Rule {
    /// The rule in one sentence.
    pub holds: &'static str,
    /// Returns the places that break it.
    pub find: fn(&Tree) -> Vec<Finding>,
}

/// Every rule.
pub const ALL: &[Rule] = &[
    Rule { holds: "`unsafe` stands only where ARCHITECTURE.md says", find: unsafe_code::find },
    Rule { holds: "every crate inherits the workspace's lints", find: lints::find },
    Rule { holds: "dependencies between crates point one way", find: walls::find },
    Rule { holds: "no circle between the first-level modules of a crate", find: circles::find },
    Rule { holds: "no source file is longer than 500 lines", find: sizes::find },
    Rule { holds: "the bundled plugins are the same everywhere they are listed", find: plugins::find },
    Rule { holds: "the option tables are what the configuration model says", find: docs::options },
    Rule { holds: "every crate has its row in ARCHITECTURE.md", find: docs::crates },
    Rule { holds: "every decision states its status", find: docs::decisions },
    Rule { holds: "every file and link that the documents name exists", find: docs::links },
    Rule { holds: "comments and prose fit into 100 columns", find: prose::width },
    Rule { holds: "phrases that mislead a reader stay out", find: prose::phrases },
];
