//! What became of every chain that was to serve a link: loaded, refused, exchanged, rolled back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use strait_core::event::Event;
use strait_flow::ports::{Clock, EventSink};

use crate::factory::PluginVersion;

/// Entries kept; older ones are in the log.
const ENTRIES_MAX: usize = 200;
/// Bytes of a reason; a configuration with many mistakes has a long one.
const REASON_BYTES_MAX: usize = 4 << 10;

/// What became of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It served from the start of the process.
    Started,
    /// It serves from its lanes' next batches on, under probation.
    Reloaded,
    /// It is tried before it serves: beside the one that serves, or on chosen partitions.
    OnTrial,
    /// Its probation passed.
    Proven,
    /// It never served; the one before goes on.
    Refused,
    /// It broke on probation or on trial, or an operator said so: the one before serves again.
    RolledBack,
}

impl Outcome {
    /// Every outcome, for metrics that begin with zero.
    pub const ALL: [Self; 6] =
        [Self::Started, Self::Reloaded, Self::OnTrial, Self::Proven, Self::Refused, Self::RolledBack];

    /// As it is written in JSON.
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
    /// When, in milliseconds since the Unix epoch.
    pub at_unix_ms: i64,
    /// What became of it.
    pub outcome: Outcome,
    /// The chain that it is about: its plugins with digests and configurations, as in the progress records; empty where it
    /// could not even be told.
    pub generation: String,
    /// `sha256:` digests of the plugins' files, by the plugins' names, in order.
    pub plugins: Vec<PluginVersion>,
    /// The chain that serves after this.
    pub serving: String,
    /// Why, and what to do; empty where nothing is to be said.
    pub reason: String,
    /// Reading, compiling and preparing, in milliseconds.
    pub took_ms: u64,
}

/// The history of a link; also tells the log.
pub(crate) struct History {
    link: String,
    clock: Arc<dyn Clock>,
    events: Arc<dyn EventSink>,
    inner: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    entries: VecDeque<HistoryEntry>,
    counts: [u64; Outcome::ALL.len()],
}

impl History {
    pub(crate) fn new(link: &str, clock: Arc<dyn Clock>, events: Arc<dyn EventSink>) -> Self {
        Self { link: link.to_owned(), clock, events, inner: Mutex::default() }
    }

    pub(crate) fn note(&self, mut entry: HistoryEntry) -> HistoryEntry {
        entry.at_unix_ms = self.clock.unix_ms();
        cut(&mut entry.reason);
        let HistoryEntry { generation, serving, reason, .. } = entry.clone();
        match entry.outcome {
            Outcome::Started => {}
            Outcome::Proven => {
                tracing::info!(link = self.link, generation, "the plugins have passed their probation");
            }
            Outcome::Reloaded => {
                let (generation, took_ms) = (generation.into(), entry.took_ms);
                self.events.emit(&self.link, Event::PluginsReloaded { generation, took_ms, reason });
            }
            Outcome::OnTrial => {
                self.events.emit(&self.link, Event::PluginsOnTrial { generation: generation.into(), reason });
            }
            Outcome::Refused => {
                self.events.emit(&self.link, Event::PluginsRefused { serving: serving.into(), reason });
            }
            Outcome::RolledBack => {
                let (generation, serving) = (generation.into(), serving.into());
                self.events.emit(&self.link, Event::PluginsRolledBack { generation, serving, reason });
            }
        }
        let mut kept = self.lock();
        if let Some(count) = kept.counts.get_mut(entry.outcome as usize) {
            *count += 1;
        }
        if kept.entries.len() >= ENTRIES_MAX {
            kept.entries.pop_front();
        }
        kept.entries.push_back(entry.clone());
        entry
    }

    /// Oldest first.
    pub(crate) fn entries(&self) -> Vec<HistoryEntry> {
        self.lock().entries.iter().cloned().collect()
    }

    /// How often each outcome came about since the process began.
    pub(crate) fn counts(&self) -> Vec<(Outcome, u64)> {
        Outcome::ALL.into_iter().zip(self.lock().counts).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cut(reason: &mut String) {
    if reason.len() > REASON_BYTES_MAX {
        let end = reason.floor_char_boundary(REASON_BYTES_MAX);
        reason.truncate(end);
        reason.push('…');
    }
}
