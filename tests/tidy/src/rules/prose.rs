//! How comments and documents are written.

use regex::Regex;

use crate::{Finding, Tree};

const COLUMNS_MAX: usize = 100;
const PHRASES: &str = "tests/tidy/phrases.toml";

/// Comments and paragraphs; tables, code and lines with a link may be longer.
pub fn width(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files("", ".rs") {
        let wide = text.lines().enumerate().filter(|(_, line)| is_comment(line) && is_wide(line));
        findings.extend(wide.map(|(index, _)| Finding::at(path, index, too_wide())));
    }
    for (path, text) in tree.files("", ".md") {
        let mut in_code = false;
        for (index, line) in text.lines().enumerate() {
            in_code ^= line.trim_start().starts_with("```");
            let is_prose = !in_code && !line.starts_with('|') && !line.starts_with("    ");
            if is_prose && is_wide(line) {
                findings.push(Finding::at(path, index, too_wide()));
            }
        }
    }
    findings
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

fn is_wide(line: &str) -> bool {
    line.chars().count() > COLUMNS_MAX && !line.contains("](") && !line.contains("://")
}

fn too_wide() -> String {
    format!("is wider than {COLUMNS_MAX} columns")
}

/// The phrases of `phrases.toml`, each with what to write in its place.
pub fn phrases(tree: &Tree) -> Vec<Finding> {
    let phrases = match read(tree.text(PHRASES)) {
        Ok(phrases) => phrases,
        Err(error) => return vec![Finding::of_file(PHRASES, error)],
    };
    let mut findings = Vec::new();
    // The interface's text changes with its next version only.
    let is_read = |path: &str| !path.starts_with("tests/tidy/") && !path.starts_with("wit/");
    for (path, text) in tree.files("", "").filter(|(path, _)| is_read(path)) {
        for (index, line) in text.lines().enumerate() {
            let found = phrases.iter().filter(|(phrase, _)| phrase.is_match(line));
            findings
                .extend(found.map(|(phrase, better)| Finding::at(path, index, format!("'{phrase}': write {better}"))));
        }
    }
    findings
}

/// Reads the table from a phrase, a regular expression, to what to write in its place.
fn read(text: &str) -> Result<Vec<(Regex, String)>, String> {
    let table: toml::Table = text.parse().map_err(|e| format!("is not TOML: {e}"))?;
    if table.is_empty() {
        return Err("has no phrases".to_owned());
    }
    let phrases = table.into_iter().map(|(phrase, better)| {
        let regex = Regex::new(&phrase).map_err(|e| format!("'{phrase}': {e}"))?;
        let better = better.as_str().ok_or_else(|| format!("'{phrase}': its value is no text"))?;
        Ok((regex, better.to_owned()))
    });
    phrases.collect()
}
