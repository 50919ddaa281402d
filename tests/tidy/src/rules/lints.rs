//! The lints hold much of what the documents promise, so no crate may leave them out.

use crate::{Finding, Tree};

/// The workspaces, each with the lints that it has to deny or warn about. `./dev lint` makes
/// warnings errors.
const WORKSPACES: [(&str, &[(&str, &str)]); 3] = [
    (
        "Cargo.toml",
        &[
            ("rust", "unsafe_code"),
            ("rust", "missing_docs"),
            ("clippy", "unwrap_used"),
            ("clippy", "expect_used"),
            ("clippy", "panic"),
            ("clippy", "indexing_slicing"),
            ("clippy", "too_many_lines"),
            ("clippy", "undocumented_unsafe_blocks"),
            ("clippy", "allow_attributes_without_reason"),
            ("clippy", "clone_on_ref_ptr"),
            ("clippy", "self_named_module_files"),
        ],
    ),
    ("plugins/Cargo.toml", &[("rust", "unsafe_code"), ("rust", "missing_docs"), ("clippy", "too_many_lines")]),
    ("tests/fuzz/Cargo.toml", &[("rust", "unsafe_code"), ("rust", "missing_docs"), ("clippy", "too_many_lines")]),
];
const FUNCTION_LINES_MAX: i64 = 90;

pub fn find(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, lints) in WORKSPACES {
        let manifest = tree.text(path).parse::<toml::Table>().unwrap_or_default();
        let level = |tool: &str, lint: &str| {
            let level = manifest.get("workspace")?.get("lints")?.get(tool)?.get(lint)?;
            level.as_str().or_else(|| level.get("level")?.as_str())
        };
        let missing =
            lints.iter().filter(|(tool, lint)| !matches!(level(tool, lint), Some("deny" | "warn" | "forbid")));
        findings.extend(missing.map(|(tool, lint)| Finding::of_file(path, format!("{tool}::{lint} is not on"))));
    }
    for path in ["clippy.toml", "runtime/core/clippy.toml", "runtime/flow/clippy.toml", "plugins/clippy.toml"] {
        let limits = tree.text(path).parse::<toml::Table>().unwrap_or_default();
        let lines_max = limits.get("too-many-lines-threshold").and_then(toml::Value::as_integer);
        if lines_max != Some(FUNCTION_LINES_MAX) {
            let text = format!("too-many-lines-threshold is not {FUNCTION_LINES_MAX}");
            findings.push(Finding::of_file(path, text));
        }
    }
    match tree.crates() {
        Err(finding) => findings.push(finding),
        Ok(crates) => {
            let inherits = |manifest: &toml::Table| manifest.get("lints")?.get("workspace")?.as_bool();
            // The templates of `strait plugin new` are workspaces of their own.
            let ours = crates.iter().filter(|(folder, _)| !folder.starts_with("examples/"));
            let without = ours.filter(|(_, manifest)| inherits(manifest) != Some(true));
            let text = "does not inherit the workspace's lints: add [lints] workspace = true";
            findings.extend(without.map(|(folder, _)| Finding::of_file(&format!("{folder}/Cargo.toml"), text)));
        }
    }
    findings.extend(long_functions(tree));
    findings
}

/// A function that is allowed to be longer makes the limit a wish.
fn long_functions(tree: &Tree) -> Vec<Finding> {
    let allowed = |text: &str| text.contains("clippy::too_many_lines");
    let files = tree.files("", ".rs").filter(|(path, text)| !path.starts_with("tests/tidy/") && allowed(text));
    files.map(|(path, _)| Finding::of_file(path, "allows a long function: cut it by meaning")).collect()
}
