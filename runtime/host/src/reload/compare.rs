//! The comparison of a candidate's judgements with those of the active chain.

use serde::{Deserialize, Serialize};
use strait_core::batch::Batch;
use strait_core::edit::Disposition;

use crate::chain::Judgement;

/// The differences that a trial in the shadow has found so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// Records that both chains judged.
    pub records: u64,
    /// Of these, records that the candidate treats otherwise.
    pub records_different: u64,
    /// Batches that the candidate would send to another topic.
    pub batches_elsewhere: u64,
}

impl Comparison {
    /// Compares two judgements of a batch. Where a copy goes counts as much as its content.
    pub(super) fn of(batch: &Batch, active: &Judgement, candidate: &Judgement) -> Self {
        let records = batch.len() as u64;
        let elsewhere = active.target_topic != candidate.target_topic;
        Self {
            records,
            records_different: if elsewhere { records } else { different(active, candidate) },
            batches_elsewhere: u64::from(elsewhere),
        }
    }

    pub(super) fn add(&mut self, batch: Self) {
        self.records += batch.records;
        self.records_different += batch.records_different;
        self.batches_elsewhere += batch.batches_elsewhere;
    }
}

/// Counts the records with different dispositions.
fn different(active: &Judgement, candidate: &Judgement) -> u64 {
    let mut different = 0;
    let (mut left, mut right) = (active.dispositions.iter().peekable(), candidate.dispositions.iter().peekable());
    loop {
        let indexes = (left.peek().map(|(index, _)| *index), right.peek().map(|(index, _)| *index));
        match indexes {
            (None, None) => return different,
            (Some(a), Some(b)) if a == b => {
                let (one, other) = (left.next(), right.next());
                different += u64::from(!is_same(one, other));
            }
            (Some(a), b) if b.is_none_or(|b| a < b) => {
                different += 1;
                left.next();
            }
            _ => {
                different += 1;
                right.next();
            }
        }
    }
}

fn is_same(one: Option<&(usize, Disposition)>, other: Option<&(usize, Disposition)>) -> bool {
    match (one.map(|(_, d)| d), other.map(|(_, d)| d)) {
        (Some(Disposition::Drop), Some(Disposition::Drop)) => true,
        (Some(Disposition::Replace(one)), Some(Disposition::Replace(other))) => one == other,
        // The texts may differ; the record stays behind either way.
        (Some(Disposition::Reject(one)), Some(Disposition::Reject(other)))
        | (Some(Disposition::Halt(one)), Some(Disposition::Halt(other))) => one.code == other.code,
        _ => false,
    }
}
