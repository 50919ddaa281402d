//! Failures of calls, and faults that end a batch.

use std::sync::Arc;

use strait_core::offset::SourceOffset;
use strait_flow::ports::{ChainError, Next};

use super::edits::BadEdits;
use crate::guest::Fault;
use crate::health::FailureKind;
use crate::load::PluginSet;

/// A fault of one stage that ends the batch, to be told with its plugin's name.
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

/// One call that failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    /// Index of the guilty record among those of the call, where the failure names it.
    pub(super) index: Option<usize>,
    pub(super) reason: String,
}

impl Failure {
    pub(super) fn of_fault(fault: &Fault, silent: bool) -> Self {
        Self { kind: fault.kind(), index: None, reason: format!("process: {}", fault.text(silent)) }
    }

    pub(super) fn of_edits(bad: BadEdits) -> Self {
        let place = bad.offset.map_or_else(String::new, |offset| format!(" for the record at offset {}", offset.0));
        Self {
            kind: FailureKind::BadEdits,
            index: bad.index,
            reason: format!("process: it answered with a bad edit{place}: {}; this is a bug in the plugin", bad.what),
        }
    }
}

pub(super) fn chain_error(set: &PluginSet, plugin: Arc<str>, error: StageError) -> ChainError {
    let StageError { offset, reason, next } = error;
    ChainError { plugin, generation: set.generation.clone(), offset, reason, next }
}
