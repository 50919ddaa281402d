//! The chain of a link while it may be exchanged: one chain serves, another may stand beside it.
//!
//! A lane looks at one number before each batch. When it has changed, the lane puts the instances in place that were made
//! for it aside; so a batch is judged by one generation, and the exchange costs a lane no start of an instance. What stands
//! beside is the chain before, while the new one is on probation, or a candidate on trial. A chain on probation or on trial
//! that breaks on a batch is taken back at once, and the same batch is judged by the other one: the batch is kept until it
//! is judged.

mod chain;
mod guard;
mod history;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use strait_core::edit::Generation;
use strait_flow::ports::{Chain, ChainError, ChainFactory, Clock, EventSink};

use crate::factory::{CounterValue, HostChains};
use chain::{Seat, Seated, SlotChain};
use guard::loosened;
use history::History;
pub use history::{HistoryEntry, Outcome};
pub use state::{ChainState, Comparison, Standing};

/// Versions remembered as bad; the oldest names are forgotten in the order of the alphabet, which is good enough for a bound.
const BAD_MAX: usize = 256;

/// How a new chain comes to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// At once, under probation.
    Direct,
    /// First beside the one that serves for so long: it judges the same batches and what it says is compared and thrown away.
    Shadow(Duration),
    /// First on one partition number of every topic for so long; the others stay with the one that serves.
    Canary {
        /// How long.
        time: Duration,
        /// Which partition number.
        partition: i32,
    },
}

/// What a slot is made of.
#[derive(Clone)]
pub struct SlotDeps {
    /// Name of the link.
    pub link: String,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Is told of every exchange.
    pub events: Arc<dyn EventSink>,
}

/// A chain that was loaded, by number.
pub(crate) struct Edition {
    pub(crate) number: u64,
    pub(crate) chains: Arc<HostChains>,
    retired: Arc<Retired>,
}

/// What the plugins of editions that are gone have counted.
type Retired = Mutex<BTreeMap<(Arc<str>, String), u64>>;

/// What stands beside the chain that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The one before; the one that serves is on probation.
    Previous,
    /// A candidate whose judgement is thrown away.
    Shadow,
    /// A candidate that judges this partition number.
    Canary(i32),
}

#[derive(Clone)]
pub(crate) struct Beside {
    pub(crate) role: Role,
    pub(crate) edition: Arc<Edition>,
    /// When the probation or the trial is over.
    until: Duration,
    /// Probation that follows a trial.
    probation: Duration,
}

#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) turn: u64,
    pub(crate) edition: Arc<Edition>,
    pub(crate) beside: Option<Beside>,
    /// What an operator can go back to.
    before: Option<Arc<Edition>>,
}

/// A loaded chain was not taken.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// It cannot be started for the lanes, or refuses a topic that the link copies.
    #[error("the new plugins cannot take over: {0}")]
    NotReady(#[from] ChainError),
    /// There is nothing to go back to.
    #[error(
        "there is no chain to go back to: nothing was reloaded since Strait was started, or it was rolled back already"
    )]
    NothingBefore,
}

/// The chain of a link, exchangeable. Cloning shares it.
#[derive(Clone)]
pub struct ChainSlot {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    deps: SlotDeps,
    /// Changes with every exchange; what lanes look at before each batch.
    turn: AtomicU64,
    setting: Mutex<Setting>,
    seats: Mutex<Vec<Weak<Seat>>>,
    /// One exchange is prepared at a time.
    offering: Mutex<()>,
    numbers: AtomicU64,
    history: History,
    /// Names with digests and configurations of plugins that broke.
    bad: Mutex<BTreeSet<String>>,
    editions: Mutex<Vec<Weak<Edition>>>,
    retired: Arc<Retired>,
    comparison: Mutex<Comparison>,
}

impl ChainSlot {
    /// A slot with the chain that serves first.
    #[must_use]
    pub fn new(deps: SlotDeps, chains: Arc<HostChains>) -> Self {
        let retired = Arc::<Retired>::default();
        let edition = Arc::new(Edition { number: 1, chains, retired: retired.clone() });
        let history = History::new(&deps.link, deps.clock.clone(), deps.events.clone());
        let editions = Mutex::new(vec![Arc::downgrade(&edition)]);
        let setting = Setting { turn: 1, edition, beside: None, before: None };
        let inner = Inner {
            deps,
            turn: AtomicU64::new(setting.turn),
            setting: Mutex::new(setting),
            seats: Mutex::default(),
            offering: Mutex::default(),
            numbers: AtomicU64::new(1),
            history,
            bad: Mutex::default(),
            editions,
            retired,
            comparison: Mutex::default(),
        };
        let slot = Self { inner: Arc::new(inner) };
        let setting = slot.inner.setting();
        slot.inner.note(Outcome::Started, &setting.edition, String::new(), Duration::ZERO);
        slot
    }

    /// The chain that serves.
    #[must_use]
    pub fn chains(&self) -> Arc<HostChains> {
        self.inner.setting().edition.chains.clone()
    }

    /// Prepares a chain for every lane, and puts it in place at their next batch borders. Blocks while instances start.
    ///
    /// # Errors
    /// [`OfferError::NotReady`]: the chain before goes on, and no lane saw the new one.
    pub fn offer(
        &self,
        chains: Arc<HostChains>,
        trial: Trial,
        probation: Duration,
        took: Duration,
    ) -> Result<HistoryEntry, OfferError> {
        let inner = &self.inner;
        let _one_at_a_time = lock(&inner.offering);
        let began = inner.deps.clock.now();
        let edition = inner.edition(chains);
        inner.prepare(&edition)?;
        let now = inner.deps.clock.now();
        let took = took + now.saturating_sub(began);
        *lock(&inner.comparison) = Comparison::default();
        let (outcome, reason) = match trial {
            Trial::Direct => (Outcome::Reloaded, String::new()),
            Trial::Shadow(time) => (Outcome::OnTrial, format!("shadow for {} s", time.as_secs())),
            Trial::Canary { time, partition } => {
                (Outcome::OnTrial, format!("canary on partitions {partition} for {} s", time.as_secs()))
            }
        };
        inner.change(|setting| {
            let (role, time) = match trial {
                Trial::Direct => {
                    serve(setting, edition.clone(), now + probation, probation);
                    return;
                }
                Trial::Shadow(time) => (Role::Shadow, time),
                Trial::Canary { time, partition } => (Role::Canary(partition), time),
            };
            let edition = edition.clone();
            setting.beside = Some(Beside { role, edition, until: now + time, probation });
        });
        Ok(inner.note(outcome, &edition, reason, took))
    }

    /// Goes back to the chain before, at the lanes' next batch borders, and keeps the present one from being loaded again
    /// until its file changes. A candidate on trial is taken back.
    ///
    /// # Errors
    /// [`OfferError`]: the present chain goes on.
    pub fn rollback(&self, reason: &str) -> Result<HistoryEntry, OfferError> {
        let inner = &self.inner;
        let _one_at_a_time = lock(&inner.offering);
        let setting = inner.setting();
        if let Some(beside) = setting.beside.filter(|beside| beside.role != Role::Previous) {
            inner.change(|setting| setting.beside = None);
            inner.mark_bad(&beside.edition.chains, &setting.edition.chains);
            return Ok(inner.note(Outcome::RolledBack, &beside.edition, reason.to_owned(), Duration::ZERO));
        }
        let before = setting.before.ok_or(OfferError::NothingBefore)?;
        let began = inner.deps.clock.now();
        inner.prepare(&before)?;
        let took = inner.deps.clock.now().saturating_sub(began);
        inner.mark_bad(&setting.edition.chains, &before.chains);
        inner.change(|setting| {
            setting.edition = before;
            setting.beside = None;
            setting.before = None;
        });
        Ok(inner.note(Outcome::RolledBack, &setting.edition, reason.to_owned(), took))
    }

    /// Ends probations and trials whose time is over. To be called every second or so.
    pub fn tick(&self) {
        let inner = &self.inner;
        let now = inner.deps.clock.now();
        let over = inner.setting().beside.is_some_and(|beside| now >= beside.until);
        if !over {
            return;
        }
        let _one_at_a_time = lock(&inner.offering);
        let mut note = None;
        inner.change(|setting| {
            let Some(beside) = setting.beside.take_if(|beside| now >= beside.until) else {
                return;
            };
            if beside.role == Role::Previous {
                note = Some((Outcome::Proven, setting.edition.clone(), String::new()));
                return;
            }
            let found = *lock(&inner.comparison);
            let reason = match beside.role {
                Role::Shadow => format!(
                    "after its time in the shadow: {} of {} records judged otherwise, {} batches sent elsewhere",
                    found.records_different, found.records, found.batches_elsewhere
                ),
                _ => "after its time as a canary".to_owned(),
            };
            note = Some((Outcome::Reloaded, beside.edition.clone(), reason));
            serve(setting, beside.edition, now + beside.probation, beside.probation);
        });
        if let Some((outcome, edition, reason)) = note {
            inner.note(outcome, &edition, reason, Duration::ZERO);
        }
    }

    /// In what a new chain would protect less than the one that serves, for people: required plugins that go or look at less
    /// of the topics that are copied, and files that may do more than those they replace. Blocks while instances start.
    ///
    /// # Errors
    /// [`OfferError::NotReady`]: the new chain cannot serve.
    pub fn loosened(&self, chains: &HostChains) -> Result<Vec<String>, OfferError> {
        let serving = self.chains();
        let mut topics = BTreeMap::new();
        for seat in self.inner.seats() {
            topics.append(&mut seat.topics());
        }
        let mut found = loosened(&serving, chains);
        found.extend(guard::coverage_lost(&serving, chains, &topics)?);
        Ok(found)
    }

    /// Writes down that a chain was refused before it came here.
    pub fn refused(&self, generation: Option<&Generation>, reason: String, took: Duration) -> HistoryEntry {
        let serving = self.inner.setting().edition.chains.generation().0.to_string();
        self.inner.history.note(HistoryEntry {
            at_unix_ms: 0,
            outcome: Outcome::Refused,
            generation: generation.map(|g| g.0.to_string()).unwrap_or_default(),
            plugins: Vec::new(),
            serving,
            reason,
            took_ms: millis(took),
        })
    }

    /// The first plugin of a generation that broke before, with its digest and configuration.
    #[must_use]
    pub fn known_bad(&self, generation: &Generation) -> Option<String> {
        let bad = lock(&self.inner.bad);
        generation.0.split(',').find(|plugin| bad.contains(*plugin)).map(str::to_owned)
    }

    /// Forgets what broke before.
    pub fn forgive(&self) {
        lock(&self.inner.bad).clear();
    }

    /// What became of chains, oldest first.
    #[must_use]
    pub fn history(&self) -> Vec<HistoryEntry> {
        self.inner.history.entries()
    }

    /// How often each outcome came about since the process began.
    #[must_use]
    pub fn outcomes(&self) -> Vec<(Outcome, u64)> {
        self.inner.history.counts()
    }

    /// How the chain is now.
    #[must_use]
    pub fn state(&self) -> ChainState {
        let inner = &self.inner;
        let setting = inner.setting();
        let seats = inner.seats();
        let behind = seats.iter().filter(|seat| seat.turn() != setting.turn).count();
        let standing = match setting.beside.as_ref().map(|beside| beside.role) {
            None => Standing::Steady,
            Some(Role::Previous) => Standing::Probation,
            Some(Role::Shadow) => Standing::Shadow,
            Some(Role::Canary(_)) => Standing::Canary,
        };
        let now = inner.deps.clock.now();
        let name = |edition: &Arc<Edition>| edition.chains.generation().0.to_string();
        ChainState {
            generation: name(&setting.edition),
            plugins: setting.edition.chains.versions(),
            standing,
            beside: setting.beside.as_ref().map(|beside| name(&beside.edition)),
            over_in_ms: setting.beside.as_ref().map(|beside| millis(beside.until.saturating_sub(now))),
            comparison: (standing == Standing::Shadow).then(|| *lock(&inner.comparison)),
            before: setting.before.as_ref().map(name),
            holders: seats.len(),
            holders_behind: behind,
        }
    }

    /// What the plugins counted in accepted batches since the process began, over all their versions.
    #[must_use]
    pub fn counters(&self) -> Vec<CounterValue> {
        let mut sums = BTreeMap::new();
        {
            // Held together, so that an edition that ends now is counted once.
            let retired = lock(&self.inner.retired);
            sums.extend(retired.iter().map(|(name, sum)| (name.clone(), *sum)));
        }
        let editions: Vec<Arc<Edition>> = lock(&self.inner.editions).iter().filter_map(Weak::upgrade).collect();
        for edition in &editions {
            for CounterValue { plugin, counter, value } in edition.chains.counters() {
                *sums.entry((plugin, counter)).or_default() += value;
            }
        }
        sums.into_iter().map(|((plugin, counter), value)| CounterValue { plugin, counter, value }).collect()
    }
}

impl ChainFactory for ChainSlot {
    fn chain(&self) -> Result<Box<dyn Chain>, ChainError> {
        Ok(Box::new(SlotChain::new(self.inner.clone())?))
    }
}

impl std::fmt::Debug for ChainSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChainSlot").field("link", &self.inner.deps.link).finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) fn turn(&self) -> u64 {
        self.turn.load(Ordering::Acquire)
    }

    pub(crate) fn setting(&self) -> Setting {
        lock(&self.setting).clone()
    }

    pub(crate) fn seat(&self) -> Arc<Seat> {
        let seat = Arc::new(Seat::default());
        let mut seats = lock(&self.seats);
        seats.retain(|seat| seat.strong_count() > 0);
        seats.push(Arc::downgrade(&seat));
        seat
    }

    fn seats(&self) -> Vec<Arc<Seat>> {
        lock(&self.seats).iter().filter_map(Weak::upgrade).collect()
    }

    fn edition(&self, chains: Arc<HostChains>) -> Arc<Edition> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        let edition = Arc::new(Edition { number, chains, retired: self.retired.clone() });
        let mut editions = lock(&self.editions);
        editions.retain(|edition| edition.strong_count() > 0);
        editions.push(Arc::downgrade(&edition));
        edition
    }

    /// Starts instances for every lane and asks for the plans of the topics that the lane has seen, so that none of it is
    /// left for the lane's own thread.
    fn prepare(&self, edition: &Arc<Edition>) -> Result<(), ChainError> {
        let seats = self.seats();
        let mut prepared = Vec::new();
        for seat in &seats {
            prepared.push(Seated::start(edition, &seat.topics())?);
        }
        for (seat, chain) in seats.iter().zip(prepared) {
            seat.put(chain);
        }
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut Setting)) {
        let mut setting = lock(&self.setting);
        change(&mut setting);
        setting.turn += 1;
        self.turn.store(setting.turn, Ordering::Release);
    }

    fn note(&self, outcome: Outcome, edition: &Edition, reason: String, took: Duration) -> HistoryEntry {
        let serving = self.setting().edition.chains.generation().0.to_string();
        self.history.note(HistoryEntry {
            at_unix_ms: 0,
            outcome,
            generation: edition.chains.generation().0.to_string(),
            plugins: edition.chains.versions(),
            serving,
            reason,
            took_ms: millis(took),
        })
    }

    /// An edition on probation or on trial broke where the other one did not: it is taken back, by the first lane that
    /// finds out.
    pub(crate) fn broke(&self, number: u64, error: &ChainError) {
        let mut bad = None;
        {
            let mut setting = lock(&self.setting);
            let Some(beside) = setting.beside.clone() else { return };
            let (broken, good) = match beside.role {
                Role::Previous => (setting.edition.clone(), beside.edition),
                Role::Shadow | Role::Canary(_) => (beside.edition, setting.edition.clone()),
            };
            if broken.number == number {
                setting.edition = good.clone();
                setting.beside = None;
                setting.before = None;
                setting.turn += 1;
                self.turn.store(setting.turn, Ordering::Release);
                bad = Some((broken, good));
            }
        }
        let Some((broken, good)) = bad else { return };
        self.mark_bad_plugin(&broken.chains, &good.chains, &error.plugin);
        let offset = error.offset.map(|offset| format!(" at offset {offset}")).unwrap_or_default();
        let reason = format!("plugin {} broke{offset}: {}", error.plugin, error.reason);
        self.note(Outcome::RolledBack, &broken, reason, Duration::ZERO);
    }

    fn mark_bad_plugin(&self, broken: &HostChains, good: &HostChains, plugin: &str) {
        let start = format!("{plugin}@");
        let generation = broken.generation();
        match generation.0.split(',').find(|identity| identity.starts_with(&start)) {
            Some(identity) if !good.generation().0.split(',').any(|other| other == identity) => {
                self.mark([identity.to_owned()]);
            }
            // It was there before: another one in the chain made the difference.
            _ => self.mark_bad(broken, good),
        }
    }

    /// Marks what `broken` has and `good` has not.
    fn mark_bad(&self, broken: &HostChains, good: &HostChains) {
        let (broken, good) = (broken.generation(), good.generation());
        let good: BTreeSet<&str> = good.0.split(',').collect();
        self.mark(broken.0.split(',').filter(|identity| !good.contains(identity)).map(str::to_owned));
    }

    fn mark(&self, identities: impl IntoIterator<Item = String>) {
        let mut bad = lock(&self.bad);
        for identity in identities {
            if bad.len() >= BAD_MAX {
                bad.pop_first();
            }
            bad.insert(identity);
        }
    }

    pub(crate) fn compared(&self, found: Comparison) {
        let mut all = lock(&self.comparison);
        all.records += found.records;
        all.records_different += found.records_different;
        all.batches_elsewhere += found.batches_elsewhere;
    }

    pub(crate) fn link(&self) -> &str {
        &self.deps.link
    }
}

impl Drop for Edition {
    fn drop(&mut self) {
        let mut retired = lock(&self.retired);
        for CounterValue { plugin, counter, value } in self.chains.counters() {
            *retired.entry((plugin, counter)).or_default() += value;
        }
    }
}

/// Puts an edition in place of the one that serves, which stands by while the new one is on probation.
fn serve(setting: &mut Setting, edition: Arc<Edition>, until: Duration, probation: Duration) {
    let before = std::mem::replace(&mut setting.edition, edition);
    setting.before = Some(before.clone());
    setting.beside = Some(Beside { role: Role::Previous, edition: before, until, probation });
}

/// Plain values behind each of these locks: a panic elsewhere leaves none of them half written.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
