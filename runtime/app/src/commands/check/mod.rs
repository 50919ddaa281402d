//! `strait check`: runs steps, each with a result. Changes nothing.

mod line;
mod quarantine;
pub mod steps;
mod target_topics;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use super::{End, print};
use crate::cli::{Check, Output};
use crate::load::{self, Environment};
use crate::report::Report;

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Warning,
    Failed,
    /// Not run, because an earlier step failed.
    Skipped,
}

/// One step with its outcome.
#[derive(Clone, Debug)]
pub struct Step {
    name: String,
    outcome: Outcome,
    detail: String,
}

impl Step {
    fn new(name: impl Into<String>, outcome: Outcome, detail: impl Into<String>) -> Self {
        Self { name: name.into(), outcome, detail: detail.into() }
    }

    /// Returns the step as a line of text.
    #[must_use]
    pub fn text(&self) -> String {
        let sign = match self.outcome {
            Outcome::Ok => '✓',
            Outcome::Warning => '!',
            Outcome::Failed => '✗',
            Outcome::Skipped => '-',
        };
        format!("{sign} {}: {}\n", self.name, self.detail.replace('\n', "\n    "))
    }

    fn json(&self) -> Value {
        let outcome = match self.outcome {
            Outcome::Ok => "ok",
            Outcome::Warning => "warning",
            Outcome::Failed => "failed",
            Outcome::Skipped => "skipped",
        };
        json!({ "step": self.name, "outcome": outcome, "detail": self.detail })
    }
}

/// Runs the command.
#[must_use]
pub fn check(args: &Check) -> End {
    let file = args.config.file.as_path();
    let (report, steps, end) = match load::load(file, &Environment::of_process()) {
        Err(report) => (report, Vec::new(), End::BadConfig),
        Ok(loaded) => {
            let steps = steps::all(&loaded);
            let failed = steps.iter().any(|step| step.outcome == Outcome::Failed);
            (loaded.report, steps, if failed { End::Failed } else { End::Ok })
        }
    };
    let mut all = vec![configuration(&report)];
    all.extend(steps);
    match args.output {
        Output::Text => {
            super::print_report(&report);
            let text: String = all.iter().map(Step::text).collect();
            finish(&text, end)
        }
        Output::Json => {
            let steps: Vec<Value> = all.iter().map(Step::json).collect();
            let result = json!({ "ok": end == End::Ok, "findings": report.to_json(), "steps": steps });
            finish(&format!("{result:#}"), end)
        }
    }
}

fn finish(text: &str, end: End) -> End {
    match print(text) {
        End::Ok => end,
        failed => failed,
    }
}

fn configuration(report: &Report) -> Step {
    let found = report.findings().len();
    let outcome = match (report.has_errors(), found) {
        (true, _) => Outcome::Failed,
        (false, 0) => Outcome::Ok,
        (false, _) => Outcome::Warning,
    };
    let detail = match found {
        0 => "valid".to_owned(),
        1 => "1 finding".to_owned(),
        _ => format!("{found} findings"),
    };
    Step::new("configuration", outcome, detail)
}
