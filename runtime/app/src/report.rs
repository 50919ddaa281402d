//! The findings about a configuration, shown with their lines.

use std::ops::Range;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Severity};
use serde_json::{Value, json};
use strait_core::config::{Gravity, Problem};

use crate::mask::Mask;

/// The position of a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A range of bytes in the file.
    Span(Range<usize>),
    /// An environment variable.
    Variable(String),
    /// No position.
    Nowhere,
}

/// A problem with its position, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Stable name for scripts.
    pub code: &'static str,
    /// Whether it is an error or a warning.
    pub gravity: Gravity,
    /// Description of the problem.
    pub message: String,
    /// How to fix it.
    pub help: Option<String>,
    /// Path of the entry, which does not depend on the file's format; empty where there is none.
    pub path: String,
    /// Position in the file or the environment.
    pub place: Place,
}

impl Finding {
    /// Creates the finding of a problem.
    #[must_use]
    pub fn new(problem: &Problem, place: Place) -> Self {
        let at_top = problem.at.steps().is_empty();
        Self {
            code: problem.what.code(),
            gravity: problem.what.gravity(),
            message: problem.what.to_string(),
            help: problem.what.help(),
            path: if at_top { String::new() } else { problem.at.to_string() },
            place,
        }
    }

    /// Masks secrets in its texts.
    pub fn mask(&mut self, mask: &Mask) {
        self.message = mask.apply(&self.message).into_owned();
        self.help = self.help.as_ref().map(|help| mask.apply(help).into_owned());
    }
}

/// All findings about one configuration.
#[derive(Clone, Debug)]
pub struct Report {
    file: String,
    /// The file's text, secrets masked.
    text: String,
    findings: Vec<Finding>,
}

impl Report {
    /// Creates a report with the findings in the order of the file. Those of the environment come
    /// last.
    #[must_use]
    pub fn new(file: &str, text: String, mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| match &finding.place {
            Place::Nowhere => (0, 0),
            Place::Span(span) => (1, span.start),
            Place::Variable(_) => (2, 0),
        });
        Self { file: file.to_owned(), text, findings }
    }

    /// Creates a report with one error about the file as a whole.
    #[must_use]
    pub fn failure(file: &str, code: &'static str, message: String, help: &str) -> Self {
        let finding = Finding {
            code,
            gravity: Gravity::Error,
            message,
            help: Some(help.to_owned()),
            path: String::new(),
            place: Place::Nowhere,
        };
        Self::new(file, String::new(), vec![finding])
    }

    /// Returns the findings.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Returns whether the configuration cannot be used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.gravity == Gravity::Error)
    }

    /// Returns the errors on one line, for a log or a status.
    #[must_use]
    pub fn summary(&self) -> String {
        let errors = self.findings.iter().filter(|finding| finding.gravity == Gravity::Error);
        let errors: Vec<String> = errors
            .map(|finding| match finding.path.as_str() {
                "" => finding.message.clone(),
                path => format!("{path}: {}", finding.message),
            })
            .collect();
        errors.join("; ")
    }

    /// Returns the report for people: each finding with its line, then the counts.
    #[must_use]
    pub fn render(&self, colour: bool, width: usize) -> String {
        let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler =
            GraphicalReportHandler::new_themed(theme).with_width(width).with_links(false).with_context_lines(1);
        let mut text = String::new();
        for finding in &self.findings {
            // Writing to a String cannot fail. If miette does, print the plain message.
            if handler.render_report(&mut text, self.diagnostic(finding).as_ref()).is_err() {
                text.push_str(&finding.message);
            }
            text.push('\n');
        }
        let count = |gravity| self.findings.iter().filter(|finding| finding.gravity == gravity).count();
        let numbers = [(count(Gravity::Error), "error"), (count(Gravity::Warning), "warning")];
        let numbers: Vec<String> = numbers
            .iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, word)| format!("{number} {word}{}", if *number == 1 { "" } else { "s" }))
            .collect();
        if !numbers.is_empty() {
            text.push_str(&format!("{} in {}\n", numbers.join(", "), self.file));
        }
        text
    }

    fn diagnostic(&self, finding: &Finding) -> miette::Report {
        let message = if finding.path.is_empty() {
            finding.message.clone()
        } else {
            format!("{}: {}", finding.path, finding.message)
        };
        let mut diagnostic = MietteDiagnostic::new(message).with_severity(match finding.gravity {
            Gravity::Error => Severity::Error,
            Gravity::Warning => Severity::Warning,
        });
        let mut help = finding.help.clone();
        if let Place::Variable(variable) = &finding.place {
            let origin = format!("the value comes from the environment: {variable}");
            help = Some(help.map_or_else(|| origin.clone(), |help| format!("{origin}\n{help}")));
        }
        if let Some(help) = help {
            diagnostic = diagnostic.with_help(help);
        }
        if let Place::Span(span) = &finding.place {
            // Mark only the first line of a long value.
            let line = self.text.get(span.clone()).map_or(0, |text| text.find('\n').unwrap_or(text.len()));
            diagnostic = diagnostic.with_label(LabeledSpan::new_with_span(None, (span.start, line)));
        }
        miette::Report::new(diagnostic).with_source_code(NamedSource::new(&self.file, self.text.clone()))
    }

    /// Returns the report for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let findings = self.findings.iter().map(|finding| {
            let place = match &finding.place {
                Place::Span(span) => {
                    let before = self.text.get(..span.start).unwrap_or_default();
                    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
                    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
                    json!({ "file": self.file, "line": before.matches('\n').count() + 1, "column": column })
                }
                Place::Variable(variable) => json!({ "environment": variable }),
                Place::Nowhere => json!({ "file": self.file }),
            };
            json!({
                "code": finding.code,
                "severity": match finding.gravity { Gravity::Error => "error", Gravity::Warning => "warning" },
                "path": finding.path,
                "message": finding.message,
                "help": finding.help,
                "place": place,
            })
        });
        findings.collect()
    }
}
