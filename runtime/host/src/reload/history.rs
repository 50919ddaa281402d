//! The history of a link's chains: loaded, refused, replaced, rolled back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use strait_core::{ChainEvent, Event};
use strait_flow::lock;
use strait_flow::ports::{Clock, EventSink};

use crate::factory::PluginVersion;

/// Entries kept; older ones are in the log.
const ENTRIES_MAX: usize = 200;
/// Bytes of a reason; a configuration with many mistakes has a long one.
const REASON_BYTES_MAX: usize = 4 << 10;

/// The outcome of one reload, trial or rollback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HistoryOutcome {
    /// Active since the process began.
    Started,
    /// Active from the lanes' next batches on, on probation.
    Reloaded,
    /// On trial, in the shadow or as a canary.
    OnTrial,
    /// Its probation passed.
    Proven,
    /// Never active; the active chain stayed.
    Refused,
    /// It broke on probation or on trial, or an operator rolled it back; the previous chain is
    /// active again.
    RolledBack,
}

impl HistoryOutcome {
    /// Every outcome, for metrics that start at zero.
    pub const ALL: [Self; 6] =
        [Self::Started, Self::Reloaded, Self::OnTrial, Self::Proven, Self::Refused, Self::RolledBack];

    /// Returns the name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Reloaded => "reloaded",
            Self::OnTrial => "on-trial",
            Self::Proven => "proven",
            Self::Refused => "refused",
            Self::RolledBack => "rolled-back",
        }
    }
}

/// One entry of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Milliseconds since the Unix epoch.
    pub at_unix_ms: i64,
    /// The outcome.
    pub outcome: HistoryOutcome,
    /// Generation of the chain that the entry is about, as in the progress records; empty where it
    /// could not be computed.
    pub generation: String,
    /// The chain's plugins, in order.
    pub plugins: Vec<PluginVersion>,
    /// Generation of the chain that is active after this.
    pub serving: String,
    /// The reason, and what to do; may be empty.
    pub reason: String,
    /// Milliseconds that it took to read, compile and prepare.
    pub took_ms: u64,
}

/// The history of a link. Each new entry is also emitted as an event.
pub(super) struct History {
    link: String,
    clock: Arc<dyn Clock>,
    events: Arc<dyn EventSink>,
    inner: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    entries: VecDeque<HistoryEntry>,
    counts: [u64; HistoryOutcome::ALL.len()],
}

impl History {
    pub(super) fn new(link: &str, clock: Arc<dyn Clock>, events: Arc<dyn EventSink>) -> Self {
        Self { link: link.to_owned(), clock, events, inner: Mutex::default() }
    }

    pub(super) fn record(&self, mut entry: HistoryEntry) -> HistoryEntry {
        entry.at_unix_ms = self.clock.unix_ms();
        cut(&mut entry.reason);
        let HistoryEntry { generation, serving, reason, .. } = entry.clone();
        match entry.outcome {
            HistoryOutcome::Started => {}
            HistoryOutcome::Proven => {
                tracing::info!(link = self.link, generation, "the plugins have passed their probation");
            }
            HistoryOutcome::Reloaded => {
                let (generation, took_ms) = (generation.into(), entry.took_ms);
                self.emit(ChainEvent::Reloaded { generation, took_ms, reason });
            }
            HistoryOutcome::OnTrial => {
                self.emit(ChainEvent::OnTrial { generation: generation.into(), reason });
            }
            HistoryOutcome::Refused => {
                self.emit(ChainEvent::Refused { serving: serving.into(), reason });
            }
            HistoryOutcome::RolledBack => {
                let (generation, serving) = (generation.into(), serving.into());
                self.emit(ChainEvent::RolledBack { generation, serving, reason });
            }
        }
        let mut inner = lock(&self.inner);
        if let Some(count) = inner.counts.get_mut(entry.outcome as usize) {
            *count += 1;
        }
        if inner.entries.len() >= ENTRIES_MAX {
            inner.entries.pop_front();
        }
        inner.entries.push_back(entry.clone());
        entry
    }

    fn emit(&self, event: ChainEvent) {
        self.events.emit(&self.link, Event::Chain(event));
    }

    /// Returns the entries, oldest first.
    pub(super) fn entries(&self) -> Vec<HistoryEntry> {
        lock(&self.inner).entries.iter().cloned().collect()
    }

    /// Counts each outcome since the process began.
    pub(super) fn counts(&self) -> Vec<(HistoryOutcome, u64)> {
        HistoryOutcome::ALL.into_iter().zip(lock(&self.inner).counts).collect()
    }
}

fn cut(reason: &mut String) {
    if reason.len() > REASON_BYTES_MAX {
        let end = reason.floor_char_boundary(REASON_BYTES_MAX);
        reason.truncate(end);
        reason.push('…');
    }
}
