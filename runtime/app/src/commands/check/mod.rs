//! `strait check`: runs steps, each with a result. Changes nothing.

mod border;
mod line;
mod opposite;
mod quarantine;
mod rights;
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
    /// A plugin cannot be used as configured: checking again without a change does not help.
    Invalid,
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
            Outcome::Failed | Outcome::Invalid => '✗',
            Outcome::Skipped => '-',
        };
        format!("{sign} {}: {}\n", self.name, self.detail.replace('\n', "\n    "))
    }

    fn json(&self) -> Value {
        let outcome = match self.outcome {
            Outcome::Ok => "ok",
            Outcome::Warning => "warning",
            Outcome::Failed | Outcome::Invalid => "failed",
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
            let mut steps = steps::all(&loaded);
            // Clusters and plugins may quote what they were given.
            steps.iter_mut().for_each(|step| step.detail = loaded.mask().apply(&step.detail).into_owned());
            let end = end_of(&steps);
            (loaded.report, steps, end)
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

/// Returns how a check with these steps ends.
fn end_of(steps: &[Step]) -> End {
    let any = |outcome| steps.iter().any(|step| step.outcome == outcome);
    if any(Outcome::Invalid) {
        return End::BadConfig;
    }
    if any(Outcome::Failed) { End::Failed } else { End::Ok }
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

#[cfg(test)]
mod end_tests {
    use super::*;

    #[test]
    fn a_plugin_that_cannot_be_used_ends_like_a_wrong_configuration() {
        let steps = |outcomes: &[Outcome]| -> Vec<Step> {
            outcomes.iter().map(|outcome| Step::new("a step", *outcome, "")).collect()
        };
        assert_eq!(end_of(&steps(&[Outcome::Ok, Outcome::Warning, Outcome::Skipped])), End::Ok);
        assert_eq!(end_of(&steps(&[Outcome::Ok, Outcome::Failed])), End::Failed);
        assert_eq!(end_of(&steps(&[Outcome::Failed, Outcome::Invalid])), End::BadConfig);
    }
}
