//! `strait check`: steps, each with what was found. Changes nothing.

use serde_json::{Value, json};
use strait_host::{HostChains, HostEngine};

use super::{End, print};
use crate::cli::{Check, Output};
use crate::compose;
use crate::load::{self, Environment, Loaded};
use crate::report::Report;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Ok,
    Warning,
    Failed,
}

/// One thing that was tried.
#[derive(Clone, Debug)]
struct Step {
    name: String,
    outcome: Outcome,
    detail: String,
}

impl Step {
    fn new(name: impl Into<String>, outcome: Outcome, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            outcome,
            detail: detail.into(),
        }
    }

    fn of(name: impl Into<String>, result: Result<String, String>) -> Self {
        match result {
            Ok(detail) => Self::new(name, Outcome::Ok, detail),
            Err(detail) => Self::new(name, Outcome::Failed, detail),
        }
    }

    fn text(&self) -> String {
        let sign = match self.outcome {
            Outcome::Ok => '✓',
            Outcome::Warning => '!',
            Outcome::Failed => '✗',
        };
        format!("{sign} {}: {}\n", self.name, self.detail.replace('\n', "\n    "))
    }

    fn json(&self) -> Value {
        let outcome = match self.outcome {
            Outcome::Ok => "ok",
            Outcome::Warning => "warning",
            Outcome::Failed => "failed",
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
            let steps = steps(&loaded);
            let failed = steps.iter().any(|step| step.outcome == Outcome::Failed);
            (loaded.report, steps, if failed { End::Failed } else { End::Ok })
        }
    };
    let mut all = vec![configuration(&report)];
    all.extend(steps);
    match args.output {
        Output::Text => {
            super::complain(&report);
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

fn steps(loaded: &Loaded) -> Vec<Step> {
    let engine = match HostEngine::new() {
        Ok(engine) => engine,
        Err(error) => return vec![Step::new("plugins", Outcome::Failed, error)],
    };
    let links = loaded.config.links.iter().filter(|link| !link.plugins.is_empty());
    links.map(|link| plugins(loaded, link, &engine)).collect()
}

fn plugins(loaded: &Loaded, link: &strait_core::config::Link, engine: &HostEngine) -> Step {
    let name = format!("plugins of {}", link.name);
    let chains = HostChains::load(engine, compose::chain(loaded, link));
    let result = chains.map_err(|error| error.to_string()).map(|chains| {
        let plugins = chains.manifests().map(|(name, manifest)| {
            let effects = manifest.effect_names.join(", ");
            let closed = if manifest.fails_closed { "; fails closed" } else { "" };
            format!("{name} {} ({effects}{closed})", manifest.version)
        });
        plugins.collect::<Vec<_>>().join(" -> ")
    });
    Step::of(name, result)
}
