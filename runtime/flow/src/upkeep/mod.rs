//! Keeps the target like the source, besides records: topics, partitions, settings, access lists.
//!
//! It looks at both ends now and then, plans by [`strait_core::plan`] as `strait plan` does, and
//! carries the plan out in the batches of the link's coordinator. An action is a function of the
//! source, so one that arrives late is mended by the next look. `state` keeps what it has found.

mod deletions;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use strait_core::config::SyncConfigs;
use strait_core::control::turn::Permit;
use strait_core::control::{Control, ControlRecord};
use strait_core::plan::{ASK_EVERY, Action, Answer, Facts, Reading, Settings, plan};
use strait_core::{Event, MetadataRight, SyncEvent};
use tokio::sync::watch;

use self::deletions::News;
pub use self::deletions::{Fed, MadeTopics, fed_by};
use self::state::{Batch, State, right_of};
use crate::lock::lock;
use crate::ports::{Class, Clock, EventSink, LinkWork, Now, Planner, PortError, ProgressStore, SourceTopic};
use crate::status::LinkStatus;

/// How often all topics are looked at, and how much longer that takes for each topic: a look reads
/// some 3 KiB for each on both clusters.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_secs(30), Duration::from_millis(60));
/// How often the access lists are read.
const ACLS_EVERY: Duration = Duration::from_secs(60);
/// When topics are looked at again that a request did not find: they have just been created.
const APPEAR: Duration = Duration::from_secs(2);
/// Settings whose rest is shown.
const RESTING_MAX: usize = 100;

/// Returns the source topics with their names on the target; `None` if the plugins do not tell
/// them now, which the lanes report.
pub type Named = Arc<dyn Fn(&[SourceTopic]) -> Option<Vec<(SourceTopic, Arc<str>)>> + Send + Sync>;

/// The facts and ports of an [`Upkeep`].
pub struct UpkeepDeps {
    /// Name of the link.
    pub link: Arc<str>,
    /// The options that decide about plans.
    pub settings: Settings,
    /// Whether nothing is carried out.
    pub only_looks: bool,
    /// The source topics.
    pub topics: watch::Receiver<Arc<Vec<SourceTopic>>>,
    /// Names the target topics. It may block.
    pub named: Named,
    /// Both ends.
    pub planner: Arc<dyn Planner>,
    /// The committed progress of the link's lanes.
    pub progress: Arc<dyn ProgressStore>,
    /// Number of the link's lanes.
    pub lanes: u32,
    /// The topics that this process has created.
    pub made: Arc<MadeTopics>,
    /// The commands that grant rights.
    pub grants: BTreeMap<MetadataRight, String>,
    /// The clock of the link.
    pub clock: Arc<dyn Clock>,
    /// Takes events.
    pub events: Arc<dyn EventSink>,
    /// The figures of the link.
    pub status: Arc<LinkStatus>,
}

/// Keeps the target of a link like its source, as a work of the link's coordinator.
pub struct Upkeep {
    deps: UpkeepDeps,
    state: Mutex<State>,
}

impl Upkeep {
    /// Creates the work. Nothing was looked at yet.
    #[must_use]
    pub fn new(deps: UpkeepDeps) -> Self {
        Self { deps, state: Mutex::default() }
    }

    fn emit(&self, event: SyncEvent) {
        self.deps.events.emit(&self.deps.link, Event::Sync(event));
    }

    /// Waits until there are topics to look at: all of them, new ones, or some that are gone.
    /// Returns whether all.
    async fn due(&self, known: &Control) -> bool {
        let mut topics = self.deps.topics.clone();
        loop {
            let listed = Arc::clone(&topics.borrow_and_update());
            let now = self.deps.clock.now();
            let (next, next_gone, has_new) = {
                let state = lock(&self.state);
                (state.next, state.gone.next, state.has_new(&listed))
            };
            if next <= now || has_new || next_gone <= now && self.has_gone(known, &listed) {
                return next <= now;
            }
            let until = if next_gone > now { next.min(next_gone) } else { next.min(now + ASK_EVERY) };
            tokio::select! {
                () = tokio::time::sleep(until - now) => {}
                changed = topics.changed() => if changed.is_err() {
                    std::future::pending().await
                },
            }
        }
    }

    /// Looks at both ends, and plans. Returns whether there is something to carry out or to write.
    async fn look(&self, known: &Control, all: bool) -> Result<bool, PortError> {
        let now = self.deps.clock.now();
        let listed = Arc::clone(&self.deps.topics.borrow());
        let asks = lock(&self.state).gone.asks(now);
        let Some(mut named) = self.named(&listed).await? else {
            lock(&self.state).looked(&listed, all, now);
            return Ok(false);
        };
        let feeds = fed_by(&named);
        if !all {
            lock(&self.state).keep_new(&mut named);
        }
        let acls = self.deps.settings.sync.acls && all && lock(&self.state).next_acls <= now;
        let mut facts = match named.is_empty() {
            true => Facts::default(),
            false => self.deps.planner.facts(named, acls).await?,
        };
        facts.recall(known);
        lock(&self.state).memory.remind(&mut facts);
        let mut news = News::default();
        if asks {
            news = self.look_for_gone(known, (&listed, &feeds), &mut facts).await?;
        }
        let mut planned = plan(&facts, &self.deps.settings);
        if !planned.is_empty() {
            // Whether a topic was deleted or created again, which policy decides about.
            self.learn(&mut facts).await?;
            planned = plan(&facts, &self.deps.settings);
        }
        if all {
            self.tell_readings(&facts);
        }
        let fought = lock(&self.state).memory.look(&facts, &mut planned, now);
        for fought in fought {
            let theirs = fought.theirs.unwrap_or_else(|| "none".to_owned());
            let (topic, name, ours) = (fought.topic, fought.name, fought.ours);
            self.emit(SyncEvent::ConfigFight { topic, name, ours, theirs });
        }
        self.tell_kept(&facts, &planned);
        let mut state = lock(&self.state);
        state.looked(&listed, all, now);
        if acls {
            state.next_acls = now + ACLS_EVERY;
        }
        let granted = state.without_rests(&mut planned.actions, (all, asks), now);
        if self.deps.only_looks {
            state.note_left_undone(&self.deps.link, planned.actions.len());
            planned.actions.clear();
        }
        state.batch = Batch::new((facts, news), planned.actions, known, now);
        let is_wanted = state.batch.is_some();
        drop(state);
        self.granted(&granted);
        self.show();
        Ok(is_wanted)
    }

    async fn named(&self, topics: &Arc<Vec<SourceTopic>>) -> Result<Option<Vec<(SourceTopic, Arc<str>)>>, PortError> {
        let (named, topics) = (Arc::clone(&self.deps.named), Arc::clone(topics));
        // The panic hook reports a panic in there.
        let named = tokio::task::spawn_blocking(move || named(&topics)).await;
        named.map_err(|error| PortError::new(Class::Retry, "names of target topics", error.to_string()))
    }

    /// Adds which topics the link has read and written.
    async fn learn(&self, facts: &mut Facts) -> Result<(), PortError> {
        let written = self.deps.progress.read_written(self.deps.lanes).await?;
        written.iter().for_each(|lane| facts.learn(&lane.positions));
        Ok(())
    }

    /// Tells which readings lack a right.
    fn tell_readings(&self, facts: &Facts) {
        let mut readings: Vec<(MetadataRight, Option<String>)> = Vec::new();
        if self.deps.settings.sync.configs != SyncConfigs::None {
            let source = facts.sources.iter().find_map(|(topic, source)| denied(topic, &source.topic.configs));
            let target = facts.targets.iter().find_map(|(topic, target)| denied(topic, &target.as_ref().ok()?.configs));
            readings.extend([(MetadataRight::SourceConfigs, source), (MetadataRight::TargetConfigs, target)]);
        }
        if let Some(acls) = &facts.acls {
            let (source, target) = (denied("access list", &acls.source), denied("access list", &acls.target));
            readings.extend([(MetadataRight::SourceAcls, source), (MetadataRight::TargetAcls, target)]);
        }
        for (right, reason) in readings {
            match reason {
                Some(reason) => self.denied(right, reason),
                None => self.granted(&[right]),
            }
        }
    }

    fn denied(&self, right: MetadataRight, reason: String) {
        if lock(&self.state).denied.insert(right, reason.clone()).is_none() {
            let command = self.deps.grants.get(&right).cloned().unwrap_or_default();
            self.emit(SyncEvent::Denied { right, reason, command });
        }
    }

    fn granted(&self, rights: &[MetadataRight]) {
        for right in rights {
            if lock(&self.state).denied.remove(right).is_some() {
                self.emit(SyncEvent::Granted { right: *right });
            }
        }
    }

    /// Shows what is missing and what rests in the status.
    fn show(&self) {
        let (denied, resting) = {
            let state = lock(&self.state);
            let line = |(topic, name, rest): (&Arc<str>, &String, &_)| (format!("{topic}: {name}"), state::words(rest));
            (state.denied.clone(), state.memory.resting().take(RESTING_MAX).map(line).collect())
        };
        self.deps.status.coordinator_mut(|status| (status.denied, status.resting) = (denied, resting));
    }

    /// Carries one action out.
    async fn act(&self, batch: &mut Batch, action: Action) {
        let link = &*self.deps.link;
        let right = right_of(&action);
        let at = |reason: &str| format!("{}: {reason}", action.topic());
        match self.deps.planner.carry_out(action.clone()).await {
            Ok(Answer::Refused(_)) if batch.split(&action) => {}
            Ok(Answer::Refused(reason)) => self.refused(&action, reason),
            Ok(Answer::Denied(reason)) => {
                lock(&self.state).rest(&action, self.deps.clock.now());
                self.denied(right, at(&reason));
            }
            Ok(Answer::NotAsked) => {
                let soon = self.deps.clock.now() + APPEAR;
                let mut state = lock(&self.state);
                state.next = state.next.min(soon);
            }
            Ok(answer) => {
                for entry in action.entries() {
                    tracing::info!(link, "{entry}");
                }
                self.taken(batch, &action, &answer);
            }
            Err(error) => {
                tracing::debug!(link, %error, topic = &**action.topic(), "an action failed");
                lock(&self.state).failed.get_or_insert(error);
            }
        }
    }

    fn refused(&self, action: &Action, reason: String) {
        match action {
            Action::Alter { topic, changes } => {
                for change in changes {
                    lock(&self.state).memory.refused(topic, change);
                    let value = change.to.clone().unwrap_or_else(|| "the target's own".to_owned());
                    let (topic, name, reason) = (Arc::clone(topic), change.name.clone(), reason.clone());
                    self.emit(SyncEvent::ConfigRefused { topic, name, value, reason });
                }
            }
            Action::AddAcl(_) | Action::RemoveAcl(_) => {
                lock(&self.state).rest(action, self.deps.clock.now());
                self.denied(MetadataRight::AlterAcls, reason);
            }
            // A lane that has a record for the topic reports it.
            Action::Delete { topic, source, .. } => {
                lock(&self.state).rest(action, self.deps.clock.now());
                self.not_deleted(source, topic, reason);
            }
            Action::Create { topic, .. } | Action::Grow { topic, .. } => {
                let (link, topic) = (&*self.deps.link, &**topic);
                lock(&self.state).rest(action, self.deps.clock.now());
                tracing::warn!(link, topic, reason, "a target topic cannot be created or grown");
            }
        }
    }

    fn taken(&self, batch: &mut Batch, action: &Action, answer: &Answer) {
        if let Answer::WithoutSome { left_out, reason } = answer {
            let event = Event::SettingsLeftOut {
                target_topic: Arc::clone(action.topic()),
                left_out: left_out.join(", "),
                reason: reason.clone(),
            };
            self.deps.events.emit(&self.deps.link, event);
        }
        if let Action::Create { topic, like, .. } = action
            && *answer != Answer::WasSo
        {
            self.deps.made.note(topic, like);
        }
        if let Action::Create { topic, like, unlike: Some(reason), .. } = action
            && *answer != Answer::WasSo
        {
            let (source_topic, target_topic, reason) = (Arc::clone(like), Arc::clone(topic), reason.clone());
            let event = Event::SourceConfigUnknown { source_topic, target_topic, reason };
            self.deps.events.emit(&self.deps.link, event);
        }
        if let Action::Delete { topic, id, source } = action {
            let (source_topic, target_topic) = (Arc::clone(source), Arc::clone(topic));
            self.emit(SyncEvent::TopicDeleted { source_topic, target_topic, id: *id });
        }
        let mut state = lock(&self.state);
        if let Action::Alter { topic, changes } = action {
            for change in changes {
                state.memory.taken(&batch.facts, topic, change, self.deps.clock.now());
            }
        }
        let granted = state.acted(action);
        drop(state);
        self.granted(granted.as_slice());
        batch.taken(action, answer);
    }
}

/// Returns what to say of a reading that lacks a right.
fn denied<T>(of: &str, reading: &Reading<T>) -> Option<String> {
    let unread = reading.as_ref().err().filter(|unread| unread.is_denied)?;
    Some(format!("{of}: {}", unread.reason))
}

#[async_trait]
impl LinkWork for Upkeep {
    fn name(&self) -> &'static str {
        "target topics"
    }

    fn begins(&self) {
        lock(&self.state).begin();
    }

    async fn wanted(&self, known: Control) {
        if lock(&self.state).is_waiting(self.deps.clock.now()) {
            return;
        }
        loop {
            let all = self.due(&known).await;
            match self.look(&known, all).await {
                Ok(false) => {}
                Ok(true) => return,
                Err(error) => {
                    // Carried out, it fails: so it is told, and retried after a while.
                    lock(&self.state).failed = Some(error);
                    return;
                }
            }
        }
    }

    async fn carry_out(&self, permit: Permit, now: Now<'_>) -> Result<Vec<ControlRecord>, PortError> {
        let batch = {
            let mut state = lock(&self.state);
            if let Some(error) = state.failed.take() {
                return Err(error);
            }
            state.batch.take()
        };
        let Some(mut batch) = batch else { return Ok(Vec::new()) };
        while permit.allows(now()) {
            let Some(action) = batch.next() else { break };
            if let Action::Delete { topic, id, source } = &action {
                if !self.is_still_due((topic, *id), source).await {
                    continue;
                }
                // The questions take time, and a deletion that arrives late does harm.
                if !permit.allows(now()) {
                    batch.put_back(action);
                    break;
                }
            }
            self.act(&mut batch, action).await;
        }
        self.show();
        let records = batch.records();
        if !batch.is_done() {
            lock(&self.state).batch = Some(batch);
        }
        Ok(records)
    }
}
