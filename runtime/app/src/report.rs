//! Problems of a configuration, shown with the lines they are in.

use std::ops::Range;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Severity};
use serde_json::{Value, json};
use strait_core::config::{Gravity, Problem};

use crate::telemetry::Mask;

/// Where a finding is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Bytes of the file.
    Span(Range<usize>),
    /// An environment variable.
    Variable(String),
    /// Nowhere in particular.
    Nowhere,
}

/// One problem, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Stable name for scripts.
    pub code: &'static str,
    /// Error or warning.
    pub gravity: Gravity,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// Place in the configuration, independent of the file's format; empty where there is none.
    pub path: String,
    /// Place in the file or the environment.
    pub place: Place,
}

impl Finding {
    /// Of a problem and its place.
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

    /// Hides values in its texts.
    pub fn mask(&mut self, mask: &Mask) {
        self.message = mask.apply(&self.message).into_owned();
        self.help = self.help.as_ref().map(|help| mask.apply(help).into_owned());
    }
}

/// Everything found in one configuration.
#[derive(Clone, Debug)]
pub struct Report {
    file: String,
    /// The file's text, secrets starred out.
    text: String,
    findings: Vec<Finding>,
}

impl Report {
    /// Findings in the order of the file; those of the environment come last.
    #[must_use]
    pub fn new(file: &str, text: String, mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| match &finding.place {
            Place::Nowhere => (0, 0),
            Place::Span(span) => (1, span.start),
            Place::Variable(_) => (2, 0),
        });
        Self { file: file.to_owned(), text, findings }
    }

    /// Of a file that could not even be read.
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

    /// What was found.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether anything stops the configuration from being used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.gravity == Gravity::Error)
    }

    /// The errors on one line, for a log or a status.
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

    /// For people: each finding with its line, then their number.
    #[must_use]
    pub fn render(&self, colour: bool, width: usize) -> String {
        let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler =
            GraphicalReportHandler::new_themed(theme).with_width(width).with_links(false).with_context_lines(1);
        let mut text = String::new();
        for finding in &self.findings {
            // Writing to a String cannot fail; if miette fails, the plain message is still there.
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
            // One line of a long value is enough to find it.
            let line = self.text.get(span.clone()).map_or(0, |text| text.find('\n').unwrap_or(text.len()));
            diagnostic = diagnostic.with_label(LabeledSpan::new_with_span(None, (span.start, line)));
        }
        miette::Report::new(diagnostic).with_source_code(NamedSource::new(&self.file, self.text.clone()))
    }

    /// For programs.
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
