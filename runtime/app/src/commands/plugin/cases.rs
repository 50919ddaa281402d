//! `strait plugin test`: the test cases in a project's `tests` folder.
//!
//! `NAME.jsonl` holds records, `NAME.expected.jsonl` the outcome of each. `NAME.config.json`
//! replaces the project's configuration.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use strait_host::HostEngine;

use super::jsonl;
use super::runner::{self, Detail, Subject};

/// The files of a test case.
#[derive(Debug)]
struct Case {
    name: String,
    records: PathBuf,
    expected: PathBuf,
    config: PathBuf,
}

/// The counters that are expected to count, with their rules, and whether one has in any case.
type Expected = BTreeMap<(String, String), bool>;

/// The results of the cases, for the terminal.
#[derive(Debug, Default)]
pub struct Tally {
    /// One line per case, with the differences, and one per rule that found nothing in any of them.
    pub text: String,
    /// Cases that match, or whose output was written.
    pub passed: usize,
    /// The other cases.
    pub failed: usize,
}

/// Runs the cases of a folder.
///
/// # Errors
/// The folder has no cases, or a file cannot be read.
pub fn run(folder: &Path, subject: &Subject, only: Option<&str>, update: bool) -> Result<Tally, String> {
    let mut cases = cases(folder)?;
    cases.retain(|case| only.is_none_or(|only| case.name.contains(only)));
    if cases.is_empty() {
        return Err(format!(
            "{}: no case there; write records to NAME.jsonl, then run this with --update",
            folder.display()
        ));
    }
    let engine = runner::engine()?;
    let (mut tally, mut expected) = (Tally::default(), Expected::new());
    for case in &cases {
        let difference = case.run(&engine, subject, update, &mut expected)?;
        match difference {
            None => {
                tally.passed += 1;
                tally.text.push_str(&format!("ok    {}\n", case.name));
            }
            Some(difference) => {
                tally.failed += 1;
                tally.text.push_str(&format!("FAIL  {}\n{difference}", case.name));
            }
        }
    }
    // Some of the cases prove nothing about a rule that the others are for.
    let silent = expected.into_iter().filter(|(_, has_counted)| !has_counted && only.is_none());
    for ((counter, rule), _) in silent {
        let of_rule = if rule.is_empty() { String::new() } else { format!(" of rule {rule}") };
        let text =
            format!("note  counter {counter}{of_rule} is expected to count and has counted nothing in any case\n");
        tally.text.push_str(&text);
    }
    Ok(tally)
}

/// Returns the records of the first case, for a measurement.
#[must_use]
pub fn first_records(folder: &Path) -> Option<PathBuf> {
    cases(folder).ok()?.into_iter().next().map(|case| case.records)
}

fn cases(folder: &Path) -> Result<Vec<Case>, String> {
    let of = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut cases = Vec::new();
    for entry in fs::read_dir(folder).map_err(of)? {
        let file = entry.map_err(of)?.file_name().to_string_lossy().into_owned();
        let Some(name) = file.strip_suffix(".jsonl").filter(|name| !name.ends_with(".expected")) else {
            continue;
        };
        cases.push(Case {
            name: name.to_owned(),
            records: folder.join(&file),
            expected: folder.join(format!("{name}.expected.jsonl")),
            config: folder.join(format!("{name}.config.json")),
        });
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

impl Case {
    /// Runs the case. Returns the differences, or `None` where there are none.
    fn run(
        &self,
        engine: &HostEngine,
        subject: &Subject,
        update: bool,
        expected: &mut Expected,
    ) -> Result<Option<String>, String> {
        let lines = jsonl::parse(&read(&self.records)?).map_err(|e| format!("{}: {e}", self.records.display()))?;
        let mut subject = subject.clone();
        if self.config.is_file() {
            let config: Result<Value, _> = serde_json::from_str(&read(&self.config)?);
            subject.config = config.map_err(|e| format!("{}: {e}", self.config.display()))?;
        }
        let chains = match runner::load(engine, &subject) {
            Ok(chains) => chains,
            Err(refusal) => return Ok(Some(format!("  it does not load: {}\n", refusal.text))),
        };
        let ran = match runner::run(&chains, &lines, Detail::Outcome) {
            Ok(ran) => ran,
            Err(error) => return Ok(Some(format!("  it broke: {error}\n"))),
        };
        if !ran.stopped.is_empty() {
            return Ok(Some(ran.stopped.iter().map(|stopped| format!("  it broke: {stopped}\n")).collect()));
        }
        for counter in chains.expected_counters() {
            *expected.entry((counter.counter, counter.rule)).or_default() |= counter.value > 0;
        }
        let got: Vec<&str> = ran.outcomes.iter().map(|outcome| outcome.json.as_str()).collect();
        if update {
            let text: String = got.iter().map(|line| format!("{line}\n")).collect();
            fs::write(&self.expected, text).map_err(|e| format!("{}: {e}", self.expected.display()))?;
            return Ok(None);
        }
        let expected = read(&self.expected).map_err(|e| format!("{e}; make it with --update, then read it"))?;
        let expected: Vec<&str> = expected.lines().filter(|line| !line.trim().is_empty()).collect();
        Ok(differences(&lines.iter().map(jsonl::write).collect::<Vec<_>>(), &expected, &got))
    }
}

/// Compares line by line, as each line belongs to a record, and byte by byte, as a plugin must not
/// reformat documents.
fn differences(records: &[String], expected: &[&str], got: &[&str]) -> Option<String> {
    let mut text = String::new();
    for index in 0..expected.len().max(got.len()) {
        let (expected, got) = (expected.get(index), got.get(index));
        if expected == got {
            continue;
        }
        if let Some(record) = records.get(index) {
            text.push_str(&format!("  record   {record}\n"));
        }
        text.push_str(&format!("  expected {}\n", expected.unwrap_or(&"nothing")));
        text.push_str(&format!("  got      {}\n\n", got.unwrap_or(&"nothing")));
    }
    (!text.is_empty()).then_some(text)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
