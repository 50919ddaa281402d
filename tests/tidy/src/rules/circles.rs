//! No circle between the first-level modules of a crate, so that each can be read after those below
//! it.

use crate::modules::Modules;
use crate::{Finding, Tree};

pub fn find(tree: &Tree) -> Vec<Finding> {
    let crates = match tree.crates() {
        Ok(crates) => crates,
        Err(finding) => return vec![finding],
    };
    let mut findings = Vec::new();
    for (folder, _) in crates {
        match Modules::read(tree, &folder) {
            Ok(modules) => {
                let circles = modules.circles().into_iter();
                findings.extend(circles.map(|(file, circle)| Finding::of_file(&file, format!("circle: {circle}"))));
            }
            Err(finding) => findings.push(finding),
        }
    }
    findings
}
