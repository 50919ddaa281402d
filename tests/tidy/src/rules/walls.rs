//! Which crate may depend on which: `core <- flow <- {kafka, host} <- app`.

use crate::{Finding, Tree};

/// The crates of the runtime, each with those of the project that it may depend on.
const RUNTIME: [(&str, &[&str]); 5] = [
    ("runtime/core", &["strait-scheme"]),
    ("runtime/flow", &["strait-core"]),
    ("runtime/kafka", &["strait-core", "strait-flow"]),
    ("runtime/host", &["strait-core", "strait-flow"]),
    ("runtime/app", &["strait-core", "strait-flow", "strait-host", "strait-kafka"]),
];
/// Dependencies by the start of their name, each with the folders whose crates may have them.
const FENCED: [(&str, &[&str]); 3] = [
    ("rdkafka", &["runtime/kafka", "tests/"]),
    ("wasmtime", &["runtime/host"]),
    // What is not pure stays out of core; flow has nothing but tokio.
    ("tokio", &["runtime/flow", "runtime/kafka", "runtime/host", "runtime/app", "tests/"]),
];

pub fn find(tree: &Tree) -> Vec<Finding> {
    let crates = match tree.crates() {
        Ok(crates) => crates,
        Err(finding) => return vec![finding],
    };
    let mut findings = Vec::new();
    for (folder, manifest) in &crates {
        let file = format!("{folder}/Cargo.toml");
        for name in dependencies(manifest) {
            if let Some((_, places)) = FENCED.iter().find(|(start, _)| name.starts_with(start))
                && !places.iter().any(|place| folder.starts_with(place))
            {
                findings.push(Finding::of_file(&file, format!("may not depend on {name}: only {places:?} may")));
            }
            if !name.starts_with("strait-") {
                continue;
            }
            let allowed = match RUNTIME.iter().find(|(runtime, _)| runtime == folder) {
                Some((_, allowed)) => allowed.contains(&name),
                None if folder.starts_with("plugins/") => name.starts_with("strait-plugin-") || name == "strait-scheme",
                None => folder.starts_with("tests/") || folder.starts_with("examples/"),
            };
            if !allowed {
                findings.push(Finding::of_file(&file, format!("may not depend on {name}")));
            }
        }
    }
    let unknown = crates
        .iter()
        .filter(|(folder, _)| folder.starts_with("runtime/") && !RUNTIME.iter().any(|(runtime, _)| runtime == folder));
    findings.extend(unknown.map(|(folder, _)| {
        Finding::of_file(
            &format!("{folder}/Cargo.toml"),
            "is a sixth crate of the runtime: write a decision, then list it",
        )
    }));
    findings
}

/// Returns the names of what a crate is built with, tests left out.
fn dependencies(manifest: &toml::Table) -> Vec<&str> {
    let tables = ["dependencies", "build-dependencies"].iter().filter_map(|key| manifest.get(*key)?.as_table());
    tables.flat_map(|table| table.keys().map(String::as_str)).collect()
}
