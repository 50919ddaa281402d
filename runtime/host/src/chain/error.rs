//! Failed calls, and errors that end a batch.

use std::sync::Arc;
use std::time::Duration;

use strait_core::offset::SourceOffset;
use strait_flow::ports::{ChainError, Next};

use super::edits::BadEdits;
use crate::guest::{BudgetError, Fault};
use crate::health::FailureKind;
use crate::load::{PluginSet, StartError};
use crate::text::clean;

/// Delay before a topic whose `open-topic` broke is opened again. A refused topic is not opened
/// again.
const OPEN_TOPIC_RETRY: Duration = Duration::from_secs(30);

/// Bytes of a reason: it goes into logs, events, the status and quarantine headers, and may hold
/// names that a record or a guest has made.
const REASON_BYTES_MAX: usize = 1_024;
/// Bytes of the part of it that says what is wrong.
const WHAT_BYTES_MAX: usize = 512;

/// An error of one stage that ends the batch. The chain adds the plugin's name.
pub(super) struct StageError {
    pub(super) offset: Option<SourceOffset>,
    pub(super) reason: String,
    /// When the batch may be judged again.
    pub(super) next: Next,
}

impl From<String> for StageError {
    fn from(reason: String) -> Self {
        Self { offset: None, reason, next: Next::Stop }
    }
}

/// A stateful plugin has no instance for a partition.
#[derive(Debug, thiserror::Error)]
pub(super) enum InstanceError {
    /// The memory budget has no room for it.
    #[error(transparent)]
    NoRoom(#[from] BudgetError),
    /// It does not start.
    #[error(transparent)]
    NotStarted(#[from] StartError),
}

/// A plugin has no plan for a topic.
#[derive(Debug, thiserror::Error)]
#[error("open-topic for '{topic}': {problem}")]
pub(super) struct PlanError {
    pub(super) topic: Arc<str>,
    pub(super) problem: PlanProblem,
}

/// The reason why there is no plan.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanProblem {
    /// The call broke.
    #[error("{0}")]
    Broke(String),
    /// The plugin refuses the topic, with its own text unless that is withheld.
    #[error("it refuses the topic{0}")]
    Refused(String),
    /// The plan is not allowed.
    #[error("{0}")]
    Invalid(String),
}

impl From<PlanError> for StageError {
    fn from(error: PlanError) -> Self {
        let next = match error.problem {
            // For this topic only: the breaker would block all others.
            PlanProblem::Broke(_) => Next::RetryAfter(OPEN_TOPIC_RETRY),
            PlanProblem::Refused(_) | PlanProblem::Invalid(_) => Next::Stop,
        };
        Self { next, ..error.to_string().into() }
    }
}

/// A failed call.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    /// Index of the guilty record in the call, if the failure names it.
    pub(super) index: Option<usize>,
    pub(super) reason: String,
}

impl Failure {
    pub(super) fn of_fault(fault: &Fault, silent: bool) -> Self {
        let reason = clean(&format!("process: {}", fault.text(silent)), REASON_BYTES_MAX);
        Self { kind: fault.kind(), index: None, reason }
    }

    pub(super) fn of_edits(bad: BadEdits) -> Self {
        let place = bad.offset.map_or_else(String::new, |offset| format!(" for the record at offset {}", offset.0));
        let what = clean(&bad.what, WHAT_BYTES_MAX);
        let reason = format!("process: it answered with a bad edit{place}: {what}; this is a bug in the plugin");
        Self { kind: FailureKind::BadEdits, index: bad.index, reason }
    }
}

pub(super) fn chain_error(set: &PluginSet, plugin: Arc<str>, error: StageError) -> ChainError {
    let StageError { offset, reason, next } = error;
    let reason = clean(&reason, REASON_BYTES_MAX);
    ChainError { plugin, generation: set.generation.clone(), offset, reason, next }
}
