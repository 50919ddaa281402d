//! How long a file may be. Clippy's `too_many_lines` holds functions to 90 lines.

use crate::{Finding, Tree};

const LINES_MAX: usize = 500;

pub fn find(tree: &Tree) -> Vec<Finding> {
    let sizes = tree.files("", ".rs").map(|(path, text)| (path, text.lines().count()));
    let long = sizes.filter(|(_, lines)| *lines > LINES_MAX);
    long.map(|(path, lines)| Finding::of_file(path, format!("has {lines} lines, at most {LINES_MAX} are allowed")))
        .collect()
}
