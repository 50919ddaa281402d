//! The checkpoints that are to be written: one for each change.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strait_core::lanes::fingerprint;
use strait_core::mm2::Checkpoint;
use tokio::sync::Notify;

use crate::lock::lock;
use crate::ports::{CheckpointSink, GroupAnswer};

/// Most checkpoints that wait. What is offered beyond is not taken.
const WAITING_MAX: usize = 100_000;
/// Most checkpoints whose last record is remembered: 16 bytes each. The others may be written again
/// unchanged, which costs a record and nothing else.
const WRITTEN_MAX: usize = 1_000_000;

/// Group, topic and partition.
type Place = (Arc<str>, Arc<str>, i32);

#[derive(Default)]
struct State {
    /// The last answer of each place that is not written yet.
    waiting: BTreeMap<Place, GroupAnswer>,
    /// Fingerprints of places, each with that of its last checkpoint.
    written: HashMap<u64, u64>,
}

/// Keeps the last answer of each group and partition until it is written.
#[derive(Default)]
pub struct Checkpoints {
    state: Mutex<State>,
    news: Notify,
}

/// Returns the fingerprints of the place and of all of an answer.
fn fingerprints(answer: &GroupAnswer) -> (u64, u64) {
    let GroupAnswer { group, topic, partition, upstream, downstream, metadata } = answer;
    // Neither a group nor a topic has a NUL, and the partition has always four bytes.
    let mut bytes = [group.as_bytes(), &[0], topic.as_bytes(), &[0], &partition.to_le_bytes()].concat();
    let place = fingerprint(&bytes);
    bytes.extend(upstream.0.to_le_bytes());
    bytes.extend(downstream.0.to_le_bytes());
    bytes.extend(metadata.as_bytes());
    (place, fingerprint(&bytes))
}

impl CheckpointSink for Checkpoints {
    fn answered(&self, answers: &[GroupAnswer]) -> usize {
        let mut state = lock(&self.state);
        let (mut taken, mut has_news) = (0, false);
        for answer in answers {
            let (place, whole) = fingerprints(answer);
            let key = (Arc::clone(&answer.group), Arc::clone(&answer.topic), answer.partition);
            let is_waiting = state.waiting.contains_key(&key);
            if is_waiting || state.written.get(&place) != Some(&whole) {
                if !is_waiting && state.waiting.len() >= WAITING_MAX {
                    break;
                }
                state.waiting.insert(key, answer.clone());
                has_news = true;
            }
            taken += 1;
        }
        drop(state);
        if has_news {
            self.news.notify_one();
        }
        taken
    }
}

impl Checkpoints {
    /// Begins anew: whatever was written before is written again when it is next answered.
    pub(super) fn begin(&self) {
        lock(&self.state).written.clear();
    }

    /// Waits until there is something to write, at most so long.
    pub(super) async fn wait(&self, most: Duration) {
        tokio::time::timeout(most, self.news.notified()).await.ok();
    }

    /// Takes what waits, at most so many. They count as written until they are put back.
    pub(super) fn take(&self, most: usize) -> Vec<GroupAnswer> {
        let mut state = lock(&self.state);
        let mut taken = Vec::new();
        while taken.len() < most {
            let Some((_, answer)) = state.waiting.pop_first() else { break };
            let (place, whole) = fingerprints(&answer);
            // What was last written was answered again meanwhile.
            if state.written.get(&place) == Some(&whole) {
                continue;
            }
            if state.written.len() < WRITTEN_MAX || state.written.contains_key(&place) {
                state.written.insert(place, whole);
            }
            taken.push(answer);
        }
        taken
    }

    /// Puts back what could not be written, where nothing newer waits.
    pub(super) fn put_back(&self, answers: Vec<GroupAnswer>) {
        let mut state = lock(&self.state);
        for answer in answers {
            let (place, _) = fingerprints(&answer);
            state.written.remove(&place);
            let key = (Arc::clone(&answer.group), Arc::clone(&answer.topic), answer.partition);
            state.waiting.entry(key).or_insert(answer);
        }
    }
}

/// Returns the checkpoint that says it.
pub(super) fn checkpoint(answer: &GroupAnswer) -> Checkpoint {
    Checkpoint {
        group: answer.group.to_string(),
        topic: answer.topic.to_string(),
        partition: answer.partition,
        upstream: answer.upstream.0,
        downstream: answer.downstream.0,
        metadata: answer.metadata.to_string(),
    }
}
