//! Keeps the offsets of consumer groups on the target, in the process that coordinates the link.
//!
//! `strait_core::groups` decides. Here the groups of the source are read, translated by the offset
//! map and compared with the target; what is to be written is announced in the control topic first
//! ([`LinkWork`]), and compared once more just before it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use strait_core::control::turn::Permit;
use strait_core::control::{Control, ControlRecord};
use strait_core::groups::{Committed, GroupSync, Place, State, Translated, Wish, Written};
use strait_core::map::Exactness;
use strait_core::{Event, GroupEvent, Side};

use crate::lock::lock;
use crate::ports::{
    CheckpointSink, Clock, EventSink, GroupAnswer, GroupList, GroupMap, GroupOffsets, LinkWork, Now, PortError,
};
use crate::status::LinkStatus;

/// How often the groups of the source are listed.
const LIST_EVERY: Duration = Duration::from_secs(5);
/// Least time between two readings of one group.
const READ_EVERY: Duration = Duration::from_millis(500);
/// The same for a group that has not moved for [`QUIET`].
const READ_QUIET: Duration = Duration::from_secs(3);
/// After how long without a move a group is read more seldom.
const QUIET: Duration = Duration::from_secs(30);
/// Most groups that are read in a second.
const GROUPS_PER_S: u32 = 300;
/// Most offsets of groups that are read in a second.
const OFFSETS_PER_S: u32 = 50_000;
/// When an answer that can change without the group is asked for again.
const TRANSLATE_AGAIN: Duration = Duration::from_secs(30);
/// Groups that are asked for at once, and written after one comparison.
const AT_ONCE: usize = 16;
/// How often a reading that fails is told.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// Shortest and longest wait between two rounds.
const ROUND: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A group of the source.
#[derive(Debug, Default)]
struct SourceGroup {
    committed: Committed,
    /// The source has it no more: what it had committed last stays.
    is_gone: bool,
    /// When it is read next.
    read_at: Duration,
    /// When it last moved.
    moved: Duration,
    /// Its offsets are translated as they are.
    is_translated: bool,
    /// When they are translated again.
    translate_at: Duration,
}

impl SourceGroup {
    fn of(committed: Committed) -> Self {
        Self { committed, ..Self::default() }
    }
}

/// All that is known of the groups, from the first turn of this process on.
#[derive(Default)]
struct Known {
    sync: GroupSync,
    /// The control topic at the last call.
    known: Control,
    has_begun: bool,
    groups: BTreeMap<Arc<str>, SourceGroup>,
    list_at: Duration,
    /// The readings that fail, and why.
    failing: BTreeMap<&'static str, String>,
    /// When the failure of each was told last.
    told: BTreeMap<&'static str, Duration>,
    /// Target topics of which it was told that another link writes to them, and which one.
    shared: BTreeMap<Arc<str>, Arc<str>>,
}

/// Keeps the offsets of groups on the target.
pub struct GroupWork {
    link: Arc<str>,
    offsets: Arc<dyn GroupOffsets>,
    map: Arc<dyn GroupMap>,
    clock: Arc<dyn Clock>,
    events: Arc<dyn EventSink>,
    status: Arc<LinkStatus>,
    /// Whether offsets are written. Else they are only translated, for checkpoints.
    writes: bool,
    /// Takes the answers, for MirrorMaker 2's clients; `None` where nobody writes checkpoints.
    checkpoints: Option<Arc<dyn CheckpointSink>>,
    state: Mutex<Known>,
}

impl GroupWork {
    /// Creates the work of a link, which writes offsets on the target or only translates them.
    #[must_use]
    pub fn new(
        link: Arc<str>,
        (offsets, map): (Arc<dyn GroupOffsets>, Arc<dyn GroupMap>),
        writes: bool,
        clock: Arc<dyn Clock>,
        events: Arc<dyn EventSink>,
        status: Arc<LinkStatus>,
    ) -> Self {
        Self { link, offsets, map, writes, clock, events, status, checkpoints: None, state: Mutex::default() }
    }

    /// Offers the answers for groups to whoever writes checkpoints.
    #[must_use]
    pub fn with_checkpoints(self, checkpoints: Option<Arc<dyn CheckpointSink>>) -> Self {
        Self { checkpoints, ..self }
    }

    fn emit(&self, events: Vec<GroupEvent>) {
        events.into_iter().for_each(|event| self.events.emit(&self.link, Event::Group(event)));
    }

    /// Shows why a reading failed, or that it works. It is told once a minute at most.
    fn failed(&self, what: &'static str, side: Side, error: Option<&PortError>) {
        let now = self.clock.now();
        let reason = error.map(ToString::to_string);
        let (trouble, is_told) = {
            let mut state = lock(&self.state);
            match &reason {
                Some(reason) => drop(state.failing.insert(what, reason.clone())),
                None => drop(state.failing.remove(what)),
            }
            let is_due = state.told.get(what).is_none_or(|told| now >= *told + TOLD_EVERY);
            let is_told = reason.is_some() && is_due;
            if is_told {
                state.told.insert(what, now);
            }
            (state.failing.values().next().cloned().unwrap_or_default(), is_told)
        };
        self.status.groups_mut(|status| status.trouble = trouble);
        if let Some(reason) = reason.filter(|_| is_told) {
            self.emit(vec![GroupEvent::Unread { side, reason }]);
        }
    }

    /// Lists the source's groups. What a list without the groups of some broker does not name is
    /// not gone.
    async fn list(&self, now: Duration) {
        if now < lock(&self.state).list_at {
            return;
        }
        let listing = self
            .offsets
            .list()
            .await
            .unwrap_or_else(|error| GroupList { missing: Some(error), ..GroupList::default() });
        self.failed("list", Side::Source, listing.missing.as_ref());
        let mut state = lock(&self.state);
        let state = &mut *state;
        state.list_at = now + LIST_EVERY;
        let listed: BTreeSet<Arc<str>> = listing.names.into_iter().collect();
        if listing.missing.is_none() {
            self.leave_out(state, &listed);
        }
        for name in listed {
            state.sync.here(&name);
            state.groups.entry(name).or_default().is_gone = false;
        }
    }

    /// Takes the groups that the source has no more: what the link has written for them stays.
    fn leave_out(&self, state: &mut Known, listed: &BTreeSet<Arc<str>>) {
        let written: Vec<Arc<str>> =
            state.sync.written().filter(|name| self.offsets.selects(name)).map(Arc::clone).collect();
        let kept: BTreeSet<Arc<str>> = written.into_iter().filter(|name| !listed.contains(name)).collect();
        for name in &kept {
            state.sync.gone(name);
            let committed = state.sync.kept(name);
            let group = state.groups.entry(Arc::clone(name)).or_insert_with(|| SourceGroup::of(committed));
            group.is_gone = true;
        }
        state.groups.retain(|name, _| listed.contains(name) || kept.contains(name));
    }

    /// Reads the groups whose time has come.
    async fn read(&self, now: Duration) {
        let due: Vec<Arc<str>> = {
            let state = lock(&self.state);
            let due = state.groups.iter().filter(|(_, group)| now >= group.read_at && !group.is_gone);
            due.map(|(name, _)| Arc::clone(name)).collect()
        };
        let mut error = None;
        for names in due.chunks(AT_ONCE) {
            let read = self.offsets.at_source(names).await;
            error = error.or_else(|| read.iter().find_map(|read| read.as_ref().err().cloned()));
            let mut state = lock(&self.state);
            let every = interval(&state.groups);
            for (name, read) in names.iter().zip(read) {
                let Some(group) = state.groups.get_mut(name) else { continue };
                if let Ok(committed) = read
                    && committed != group.committed
                {
                    (group.committed, group.moved, group.is_translated) = (committed, now, false);
                }
                let is_quiet = now.saturating_sub(group.moved) >= QUIET;
                group.read_at = now + if is_quiet { every.max(READ_QUIET) } else { every };
            }
        }
        if !due.is_empty() {
            self.failed("source", Side::Source, error.as_ref());
        }
    }

    /// Translates the groups that have moved, and those whose answer may have changed.
    async fn translate(&self, now: Duration) {
        let due: Vec<(Arc<str>, Committed)> = {
            let state = lock(&self.state);
            let due = state.groups.iter().filter(|(_, group)| !group.is_translated || now >= group.translate_at);
            due.map(|(name, group)| (Arc::clone(name), group.committed.clone())).collect()
        };
        if due.is_empty() {
            return;
        }
        let refreshed = self.map.refresh().await;
        self.failed("map", Side::Target, refreshed.as_ref().err());
        for (name, committed) in due {
            let translated = match self.map.translate(&committed).await {
                Ok(translated) => translated,
                Err(error) => {
                    self.failed("translate", Side::Target, Some(&error));
                    return;
                }
            };
            self.tell_shared(&translated);
            let mut state = lock(&self.state);
            let state = &mut *state;
            let Some(group) = state.groups.get_mut(&name) else { continue };
            // Copies that are still to come change it.
            let is_settled = self.is_offered(&name, &translated, &state.sync)
                && translated.lacks.is_empty()
                && translated.wishes.values().all(|wish| wish.answer.exactness == Exactness::Exact);
            group.is_translated = true;
            group.translate_at = now + if is_settled { TRANSLATE_AGAIN } else { READ_EVERY };
            state.sync.translated(&name, translated);
        }
        self.failed("translate", Side::Target, None);
    }

    /// Tells once of each target topic that another link writes to as well.
    fn tell_shared(&self, translated: &Translated) {
        let mut events = Vec::new();
        {
            let mut state = lock(&self.state);
            translated.wishes.keys().for_each(|(topic, _)| drop(state.shared.remove(topic)));
            for (topic, other) in translated.shared() {
                if state.shared.insert(Arc::clone(topic), Arc::clone(other)).as_ref() != Some(other) {
                    events.push(GroupEvent::SharedTarget { topic: Arc::clone(topic), other: Arc::clone(other) });
                }
            }
        }
        self.emit(events);
    }

    /// Offers the answers for a group as checkpoints. Returns whether all of them were taken.
    fn is_offered(&self, name: &Arc<str>, translated: &Translated, sync: &GroupSync) -> bool {
        let Some(checkpoints) = &self.checkpoints else { return true };
        // Of several source partitions that feed one target partition a checkpoint names the first.
        let answer_of = |(place, wish): (&Place, &Wish)| {
            let from = wish.source.first()?;
            Some(GroupAnswer {
                group: Arc::clone(name),
                topic: Arc::clone(&place.0),
                partition: place.1,
                upstream: from.offset,
                downstream: sync.resumes(name, place, wish),
                metadata: String::from_utf8_lossy(&wish.metadata).into(),
            })
        };
        let answers: Vec<GroupAnswer> = translated.wishes.iter().filter_map(answer_of).collect();
        checkpoints.answered(&answers) == answers.len()
    }

    /// Compares the groups whose time has come with the target.
    async fn look(&self, now: Duration) {
        let due = lock(&self.state).sync.due(now);
        let mut error = None;
        for names in due.chunks(AT_ONCE) {
            let found = self.offsets.at_target(names).await;
            error = error.or_else(|| found.iter().find_map(|found| found.as_ref().err().cloned()));
            let mut events = Vec::new();
            {
                let mut state = lock(&self.state);
                for (name, found) in names.iter().zip(found) {
                    match found {
                        Ok(found) => events.extend(state.sync.look(name, &found, now, self.clock.unix_ms())),
                        Err(_) => state.sync.put_off(name, now),
                    }
                }
            }
            self.emit(events);
        }
        if !due.is_empty() {
            self.failed("target", Side::Target, error.as_ref());
        }
    }

    /// Returns how long to wait before the next round.
    fn rest(&self, now: Duration) -> Duration {
        let state = lock(&self.state);
        let next_of = |group: &SourceGroup| match group.is_gone {
            true => group.translate_at,
            false => group.read_at.min(group.translate_at),
        };
        let next = state.groups.values().map(next_of).min();
        let next = next.unwrap_or(state.list_at).min(state.list_at);
        next.saturating_sub(now).clamp(ROUND.0, ROUND.1)
    }

    fn show(&self) {
        let mut states: BTreeMap<State, u64> = BTreeMap::new();
        {
            let mut state = lock(&self.state);
            if !self.writes {
                state.sync.judge_answers();
            }
            state.sync.states().for_each(|(_, state)| *states.entry(state).or_default() += 1);
        }
        self.status.groups_mut(|status| status.states = states);
    }

    /// Writes what the control topic has announced, as far as the permit reaches.
    async fn write(&self, permit: Permit, now: Now<'_>) {
        let announced = lock(&self.state).sync.announced();
        for names in announced.chunks(AT_ONCE) {
            if !permit.allows(now()) {
                return;
            }
            let found = self.offsets.at_target(names).await;
            let (mut writes, mut events) = (Vec::new(), Vec::new());
            {
                let mut state = lock(&self.state);
                for (name, found) in names.iter().zip(found) {
                    let Ok(found) = found else {
                        state.sync.put_off(name, now());
                        continue;
                    };
                    let (of_group, told) = state.sync.writes(name, &found, self.clock.unix_ms());
                    events.extend(told);
                    if !of_group.is_empty() {
                        writes.push((Arc::clone(name), of_group));
                    }
                }
            }
            let within = permit.until.saturating_sub(now());
            if !within.is_zero() && !writes.is_empty() {
                let answers = self.offsets.write(&writes, within).await;
                let taken = |answer: &&Written| matches!(answer, Written::Taken);
                let count: usize = answers.iter().map(|answers| answers.values().filter(taken).count()).sum();
                self.status.groups_mut(|status| status.written += u64::try_from(count).unwrap_or_default());
                let mut state = lock(&self.state);
                for ((name, _), answers) in writes.iter().zip(answers) {
                    events.extend(state.sync.wrote(name, &answers, now(), self.clock.unix_ms()));
                }
            }
            self.emit(events);
        }
    }

    /// Begins a turn with what the control topic said when it began.
    fn begin(&self, state: &mut Known) {
        (state.has_begun, state.list_at) = (true, Duration::ZERO);
        state.sync = GroupSync::of(&state.known, self.clock.unix_ms());
        state.groups.values_mut().for_each(|group| group.is_translated = false);
    }
}

/// Returns how often a group is read, so that all of them stay within the budget.
fn interval(groups: &BTreeMap<Arc<str>, SourceGroup>) -> Duration {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let offsets: usize = groups.values().map(|group| group.committed.len()).sum();
    let by_groups = Duration::from_secs(1) * count(groups.len()) / GROUPS_PER_S;
    let by_offsets = Duration::from_secs(1) * count(offsets) / OFFSETS_PER_S;
    READ_EVERY.max(by_groups).max(by_offsets)
}

#[async_trait]
impl LinkWork for GroupWork {
    fn name(&self) -> &'static str {
        "groups"
    }

    fn begins(&self) {
        lock(&self.state).has_begun = false;
    }

    async fn wanted(&self, known: Control) {
        {
            let mut state = lock(&self.state);
            state.known = known;
            if !state.has_begun {
                self.begin(&mut state);
            }
        }
        loop {
            let now = self.clock.now();
            self.list(now).await;
            self.read(now).await;
            self.translate(now).await;
            if self.writes {
                self.look(self.clock.now()).await;
            }
            self.show();
            if lock(&self.state).sync.has_work() {
                return;
            }
            tokio::time::sleep(self.rest(self.clock.now())).await;
        }
    }

    async fn carry_out(&self, permit: Permit, now: Now<'_>) -> Result<Vec<ControlRecord>, PortError> {
        self.write(permit, now).await;
        self.show();
        Ok(lock(&self.state).sync.records())
    }
}
