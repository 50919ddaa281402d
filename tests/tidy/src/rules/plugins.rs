//! The bundled plugins: what `plugins/build.sh` builds, the folders of `plugins/` and the guide
//! list the same ones.

use std::collections::BTreeSet;

use crate::{Finding, Tree};

const SCRIPT: &str = "plugins/build.sh";
const GUIDE: &str = "docs/plugins.md";
const HEADING: &str = "\n## Bundled plugins\n";
/// Folders of `plugins/` that are no bundled plugin.
const OTHERS: [&str; 4] = ["sdk", "common", "scheme", "test-guests"];

pub fn find(tree: &Tree) -> Vec<Finding> {
    let script = tree.text(SCRIPT).split_once("readonly PLUGINS=(").and_then(|(_, after)| after.split_once(')'));
    let Some((built, _)) = script else {
        return vec![Finding::of_file(SCRIPT, "has no line 'readonly PLUGINS=(…)'")];
    };
    let built: BTreeSet<_> = built.split_whitespace().collect();

    let manifests = tree.files("plugins/", "/Cargo.toml").filter(|(path, _)| *path != "plugins/Cargo.toml");
    let folders = manifests.filter_map(|(path, _)| path.split('/').nth(1));
    let folders: BTreeSet<_> = folders.filter(|folder| !OTHERS.contains(folder)).collect();

    let section = tree.text(GUIDE).split_once(HEADING).map_or("", |(_, after)| after);
    let section = section.split("\n## ").next().unwrap_or_default();
    let headings = section.lines().filter_map(|line| line.strip_prefix("### "));
    let documented: BTreeSet<_> = headings.map(|heading| heading.trim_matches('`')).collect();

    let differs = |file: &str, listed: &BTreeSet<&str>| {
        let text = format!("{SCRIPT} builds {built:?}, this lists {listed:?}");
        (*listed != built).then(|| Finding::of_file(file, text))
    };
    differs("plugins/Cargo.toml", &folders).into_iter().chain(differs(GUIDE, &documented)).collect()
}
