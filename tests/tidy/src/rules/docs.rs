//! What the documents say of files, crates, options and decisions.

use std::collections::BTreeSet;

use crate::{Finding, Tree, options};

const ARCHITECTURE: &str = "ARCHITECTURE.md";

/// The tables of `docs/configuration.md` are generated. `UPDATE_DOCS=1` writes them.
pub fn options(tree: &Tree) -> Vec<Finding> {
    let mut findings: Vec<_> = options::untabled()
        .into_iter()
        .map(|name| Finding::of_file(options::FILE, format!("has no table for the options of {name}")))
        .collect();
    match options::generate(tree) {
        Err(finding) => findings.push(finding),
        Ok(text) => {
            let found = tree.text(options::FILE);
            let differing = text.lines().zip(found.lines()).enumerate().filter(|(_, (wanted, found))| wanted != found);
            findings.extend(differing.map(|(index, (wanted, _))| {
                Finding::at(
                    options::FILE,
                    index,
                    format!("differs from the model (UPDATE_DOCS=1 ./dev test tidy): {wanted}"),
                )
            }));
            if text.lines().count() != found.lines().count() {
                let text = "has more or fewer options than the model (UPDATE_DOCS=1 ./dev test tidy)";
                findings.push(Finding::of_file(options::FILE, text));
            }
        }
    }
    findings
}

/// Each crate of the runtime and of the tests has a row with its folder and its name.
pub fn crates(tree: &Tree) -> Vec<Finding> {
    let crates = match tree.crates() {
        Ok(crates) => crates,
        Err(finding) => return vec![finding],
    };
    let ours = crates.iter().filter(|(folder, _)| folder.starts_with("runtime/") || folder.starts_with("tests/"));
    let rows = ours.filter_map(|(folder, manifest)| {
        let name = manifest.get("package")?.get("name")?.as_str()?;
        Some(format!("| `{folder}` | `{name}` |"))
    });
    let missing = rows.filter(|row| !tree.text(ARCHITECTURE).contains(row.as_str()));
    missing.map(|row| Finding::of_file(ARCHITECTURE, format!("has no row that starts with {row}"))).collect()
}

/// The third line of a decision is its status.
pub fn decisions(tree: &Tree) -> Vec<Finding> {
    let statuses = ["Status: accepted", "Status: superseded"];
    let stated = |text: &str| text.lines().nth(2).is_some_and(|line| statuses.iter().any(|s| line.starts_with(s)));
    let without = tree.files("docs/decisions/", ".md").filter(|(_, text)| !stated(text));
    without
        .map(|(path, _)| Finding::of_file(path, "the third line is not 'Status: accepted' or 'Status: superseded …'"))
        .collect()
}

/// Links of Markdown files lead to files and headings; names of Rust files in documents and
/// comments are those of files.
pub fn links(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files("", ".md") {
        for (index, line) in text.lines().enumerate() {
            let broken = targets(line).into_iter().filter(|target| !leads_somewhere(tree, path, target));
            findings.extend(broken.map(|target| Finding::at(path, index, format!("the link {target} leads nowhere"))));
        }
    }
    let known: BTreeSet<_> = tree.files("", ".rs").map(|(path, _)| path).collect();
    let names = |path: &str| path.ends_with(".md") || path.ends_with(".rs");
    for (path, text) in tree.files("", "").filter(|(path, _)| names(path) && !path.starts_with("tests/tidy/")) {
        for (index, line) in text.lines().enumerate() {
            let said = if path.ends_with(".rs") { comment(line) } else { line };
            let unknown = rust_files(said).into_iter().filter(|name| !is_file(&known, path, name));
            findings.extend(unknown.map(|name| Finding::at(path, index, format!("there is no file {name}"))));
        }
    }
    findings
}

/// Returns the targets of a line's Markdown links that lead into the repository.
fn targets(line: &str) -> Vec<&str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://") && !target.contains(' ')).collect()
}

fn leads_somewhere(tree: &Tree, from: &str, target: &str) -> bool {
    let (file, heading) = target.split_once('#').map_or((target, None), |(file, heading)| (file, Some(heading)));
    let path = if file.is_empty() { from.to_owned() } else { join(from, file) };
    let is_folder = tree.files(&format!("{}/", path.trim_end_matches('/')), "").next().is_some();
    if !tree.has(&path) && !is_folder && file != "LICENSE" {
        return false;
    }
    heading.is_none_or(|heading| tree.text(&path).lines().any(|line| anchor(line).as_deref() == Some(heading)))
}

/// Returns a heading's anchor as GitHub makes it.
fn anchor(line: &str) -> Option<String> {
    let heading = line.starts_with('#').then(|| line.trim_start_matches('#').trim().to_lowercase())?;
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    Some(kept.map(|c| if c == ' ' { '-' } else { c }).collect())
}

fn join(from: &str, file: &str) -> String {
    let mut steps: Vec<_> = from.split('/').collect();
    steps.pop();
    for step in file.split('/') {
        match step {
            "." => {}
            ".." => drop(steps.pop()),
            step => steps.push(step),
        }
    }
    steps.join("/")
}

/// Returns the comment of a line of Rust, or the empty text if it has none.
fn comment(line: &str) -> &str {
    let starts = line.trim_start().starts_with("//");
    let parts = if starts { line.split_once("//") } else { line.split_once(" // ") };
    parts.map_or("", |(_, comment)| comment)
}

/// Returns the words that name Rust files.
fn rust_files(line: &str) -> Vec<&str> {
    let parts = line.split_whitespace().filter(|part| !part.contains("://"));
    let words =
        parts.flat_map(|part| part.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | '.'))));
    words.map(|word| word.trim_end_matches('.')).filter(|word| word.ends_with(".rs") && word.len() > 3).collect()
}

fn is_file(known: &BTreeSet<&str>, from: &str, name: &str) -> bool {
    // Files of a plugin project, as the guide for plugin authors names them.
    if ["src/lib.rs", "lib.rs", "main.rs", "mod.rs", "build.rs"].contains(&name) || name.contains("..") {
        return true;
    }
    let beside = join(from, name);
    known
        .iter()
        .any(|path| *path == beside || *path == name || path.ends_with(&format!("/{name}")) || is_short(path, name))
}

/// Returns whether a name such as `flow/lane.rs` leaves out `runtime` and `src`.
fn is_short(path: &str, name: &str) -> bool {
    let short = path.replacen("runtime/", "", 1).replacen("/src/", "/", 1);
    short == name || short.ends_with(&format!("/{name}"))
}
