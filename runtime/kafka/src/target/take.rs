//! Takes a lane on the target: makes its producers and initialises its transactional ids.
//!
//! Initialising an id fences whoever worked with it and ends its last transaction. A lane has six
//! ids, of which two work. The others are spares for the time in which a transaction cannot end,
//! because a partition that it touched takes no marker (its leader is gone, or too few replicas are
//! in sync): the id then answers `CONCURRENT_TRANSACTIONS` until that partition is back, which must
//! not hold up the lane. An attempt that ends may leave both of its ids so, and the next attempt
//! too, before it knows which partition it is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use strait_core::progress::{map_topic, progress_topic};
use strait_flow::ports::{Class, PortError, ProducerSlot, Taken};

use strait_flow::lock;

use super::coordinator::init_error;
use super::deliveries::{Reports, producer_error};
use crate::config::{ClusterConfig, TargetTuning, writer};
use crate::error::own;
use crate::ffi::{Code, FfiError, Handle, Producer};
use crate::topics::maker::TopicMaker;

/// Last letters of the transactional ids of a lane. A take initialises all of them side by side,
/// then retries those that were still busy. The first two that it gets do the work; how many may
/// stay unfenced is the lane's decision.
const IDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// Why ids stay unfenced.
const UNFENCED: &str = "their last transactions cannot end yet (CONCURRENT_TRANSACTIONS); they end when every target partition that they touched has a leader and min.insync.replicas again";
/// Number of active producers.
const WORKING: usize = 2;
/// How long an id may answer `CONCURRENT_TRANSACTIONS` before the take continues without it.
const PENDING_AFTER: Duration = Duration::from_millis(500);
/// How long a busy id is retried at the end of a take. librdkafka asks every half second, so that
/// there is a new answer.
const RETRY: Duration = Duration::from_secs(1);
/// As [`RETRY`], for an id that another process may have used; measured from the first request. The
/// coordinator also answers `CONCURRENT_TRANSACTIONS` while its own log is not replicated, and then
/// nothing is decided yet. So this is longer than it waits for one write (`request.timeout.ms`, 30
/// s by default).
const UNDECIDED_AFTER: Duration = Duration::from_secs(35);
/// How long the transaction coordinator may give no answer at all before the take fails and says
/// why. The next take asks again.
const SILENT_MAX: Duration = Duration::from_secs(15);
/// Longest call into the client, which keeps trying between two calls.
const CALL_MAX: Duration = Duration::from_secs(2);
/// How much earlier than its timeout a call may return. Another call would wait for the whole time
/// again.
const CALL_EARLY: Duration = Duration::from_millis(20);
/// Least time for one id's answer.
const ANSWER_MIN: Duration = Duration::from_millis(250);
/// Most time for initialising one id.
const INIT_MAX: Duration = Duration::from_secs(60);
/// How long an id that this process has ended counts as its own, unless another process had the
/// lane meanwhile.
const ENDED_FOR: Duration = Duration::from_secs(15);

/// Transactional ids whose last transaction this process has asked to end, with the time of that.
/// All attempts at a link's lanes share them.
pub type EndedIds = Arc<Mutex<BTreeMap<String, Instant>>>;

/// The cluster that a lane writes to, and the ids that it writes under.
#[derive(Clone)]
pub(super) struct WriterSpec {
    pub cluster: ClusterConfig,
    pub link: String,
    pub lane: u32,
    pub tuning: TargetTuning,
    /// The beginning of error messages.
    pub context: String,
    pub ended: EndedIds,
    /// Creates target topics, where Strait may do that.
    pub maker: Option<Arc<TopicMaker>>,
}

/// An open target topic.
pub(super) struct OpenTopic {
    pub name: String,
    /// In-sync replicas that its partitions need to be written.
    pub min_in_sync: u32,
    /// Its handle at each producer, by slot.
    pub handles: Vec<Handle>,
}

/// The handles of the link's own topics at one producer.
#[derive(Clone, Copy)]
pub(super) struct LinkHandles {
    pub progress: Handle,
    pub map: Handle,
}

/// The producers from one take to the next.
pub(super) struct Producers {
    /// By slot.
    pub producers: Vec<Arc<Producer>>,
    /// By slot.
    pub link_topics: Vec<LinkHandles>,
    /// The handles of the books, by slot; empty before they are opened.
    pub books: Vec<Handle>,
    pub open: Vec<OpenTopic>,
    pub reports: Arc<Reports>,
}

impl Producers {
    /// Returns the producer of a slot.
    pub fn get(&self, slot: ProducerSlot) -> Option<&Arc<Producer>> {
        self.producers.get(index(slot))
    }

    /// Returns the handles of the link's own topics at the producer of a slot.
    pub fn link_topics(&self, slot: ProducerSlot) -> Option<LinkHandles> {
        self.link_topics.get(index(slot)).copied()
    }

    /// Returns the handle of the books at the producer of a slot, if they are open.
    pub fn books(&self, slot: ProducerSlot) -> Option<Handle> {
        self.books.get(index(slot)).copied()
    }

    /// Returns the handle of an open topic at the producer of a slot.
    pub fn topic(&self, topic: usize, slot: ProducerSlot) -> Option<Handle> {
        self.open.get(topic)?.handles.get(index(slot)).copied()
    }
}

fn index(slot: ProducerSlot) -> usize {
    match slot {
        ProducerSlot::A => 0,
        ProducerSlot::B => 1,
    }
}

/// A new producer, which may become one of the active ones.
struct Candidate {
    letter: &'static str,
    id: String,
    producer: Arc<Producer>,
    context: String,
}

/// The first answer of the coordinator about an id.
struct FirstAnswer {
    result: Result<(), FfiError>,
    /// Until when the id is retried if it is busy. At once where this process ended its last
    /// transaction itself.
    retry_until: Instant,
}

/// A candidate whose last transaction has not ended everywhere.
struct Pending {
    candidate: Candidate,
    /// The first answer.
    error: FfiError,
    /// Until when it is retried.
    retry_until: Instant,
}

impl WriterSpec {
    fn letters(&self) -> &'static [&'static str] {
        if self.tuning.exactly_once { &IDS } else { &IDS[..1] }
    }

    /// Returns all transactional ids of the lane.
    pub fn ids(&self) -> impl Iterator<Item = String> {
        self.letters().iter().map(|letter| self.id(letter))
    }

    fn id(&self, letter: &str) -> String {
        format!("{}{letter}", id_prefix(&self.tuning, &self.link, self.lane))
    }

    /// Makes and initialises the producers side by side, and keeps the first two that can work.
    /// Blocks for a bounded time.
    ///
    /// `made` gets all of them, so that none is destroyed here: that joins threads and has no
    /// bound. Once `given_up` is set no id is initialised any more: another process has the lane.
    pub fn take(&self, made: &mut Vec<Arc<Producer>>, given_up: &AtomicBool) -> Result<(Producers, Taken), PortError> {
        let reports = Reports::new(self.context.clone());
        let mut candidates = Vec::new();
        for letter in self.letters() {
            let candidate = self.make(letter, &reports)?;
            made.push(Arc::clone(&candidate.producer));
            candidates.push(candidate);
        }
        let mut taken =
            Producers { producers: Vec::new(), link_topics: Vec::new(), books: Vec::new(), open: Vec::new(), reports };
        let (mut ids, mut pending) = (Vec::new(), Vec::new());
        for (candidate, answer) in self.initialise(candidates, given_up)? {
            match answer.result {
                // A spare: it was initialised to fence whoever may have worked with it.
                Ok(()) if taken.producers.len() == WORKING => continue,
                Ok(()) => {}
                Err(error) if error.code == Code::CONCURRENT_TRANSACTIONS => {
                    let context = &candidate.context;
                    tracing::warn!("{context}: its last transaction cannot end yet; the lane works with other ids");
                    pending.push(Pending { candidate, error, retry_until: answer.retry_until });
                    continue;
                }
                Err(error) => return Err(candidate.init_error(&error)),
            }
            let fail = |error: FfiError| producer_error(candidate.context.clone(), &error);
            let progress = candidate.producer.open(&progress_topic(&self.link)).map_err(fail)?;
            let map = candidate.producer.open(&map_topic(&self.link)).map_err(fail)?;
            if self.tuning.exactly_once {
                ids.extend(candidate.letter.chars());
            }
            taken.link_topics.push(LinkHandles { progress, map });
            taken.producers.push(candidate.producer);
        }
        let is_complete = taken.producers.len() >= self.letters().len().min(WORKING);
        let unfenced = retry(pending, is_complete, given_up)?;
        let ids = ids.first().copied().zip(ids.get(1).copied());
        let unfenced_because = if unfenced.is_empty() { "" } else { UNFENCED };
        Ok((taken, Taken { ids, unfenced, unfenced_because }))
    }

    /// Initialises the ids side by side: each needs connections and logins of its own, and one
    /// after the other they would be most of what a take costs. Which rival wins which id is as
    /// open as one after the other (decision 7).
    fn initialise(
        &self,
        candidates: Vec<Candidate>,
        given_up: &AtomicBool,
    ) -> Result<Vec<(Candidate, FirstAnswer)>, PortError> {
        if given_up.load(Ordering::Acquire) {
            return Err(own(Class::Retry, self.context.clone(), "the lane was given up while it was taken"));
        }
        if !self.tuning.exactly_once {
            let ready = || FirstAnswer { result: Ok(()), retry_until: Instant::now() };
            return Ok(candidates.into_iter().map(|candidate| (candidate, ready())).collect());
        }
        std::thread::scope(|scope| {
            let asked: Vec<_> = candidates
                .into_iter()
                .map(|candidate| {
                    std::thread::Builder::new().name(format!("init-{}", candidate.id)).spawn_scoped(scope, move || {
                        let answer = self.initialise_first(&candidate, given_up);
                        (candidate, answer)
                    })
                })
                .collect();
            let failed =
                || own(Class::Retry, self.context.clone(), "a thread that initialises an id did not start or broke");
            asked.into_iter().map(|thread| thread.ok().and_then(|t| t.join().ok()).ok_or_else(failed)).collect()
        })
    }

    fn make(&self, letter: &'static str, reports: &Arc<Reports>) -> Result<Candidate, PortError> {
        let Self { cluster, link, lane, tuning, context, .. } = self;
        let id = self.id(letter);
        let transactional_id = tuning.exactly_once.then_some(id.as_str());
        let settings = writer(cluster, &format!("strait-{link}-{lane}-target-{letter}"), tuning, transactional_id);
        let context = if tuning.exactly_once { format!("{context}, transactional id {id}") } else { context.clone() };
        let (observer, sealed) = (Arc::clone(reports), Arc::clone(reports));
        let label = format!("{link}/{lane}/target/{letter}");
        let producer = Producer::new(&label, &settings, observer, move || sealed.seal())
            .map_err(|error| producer_error(context.clone(), &error))?;
        Ok(Candidate { letter, id, producer: Arc::new(producer), context })
    }

    /// Initialises an id without waiting long for a busy one.
    fn initialise_first(&self, candidate: &Candidate, given_up: &AtomicBool) -> FirstAnswer {
        let asked_at = Instant::now();
        // Without a connection librdkafka cannot ask for the coordinator when it is told to
        // initialise, and asks again when it has metadata or after half a second.
        if let Err(error) = candidate.producer.client().connect(PENDING_AFTER) {
            tracing::debug!("{}: no connection yet: {error}", candidate.context);
        }
        let is_ours = lock(&self.ended).get(&candidate.id).is_some_and(|at| at.elapsed() < ENDED_FOR);
        // librdkafka keeps asking for the busy ones.
        let result = candidate.initialise(PENDING_AFTER, self.tuning.transaction_timeout.min(INIT_MAX), given_up);
        if (is_ours || result.is_ok()) && !given_up.load(Ordering::Acquire) {
            // Also for a take that fails later: the next one need not wait for what this process
            // has ended.
            lock(&self.ended).insert(candidate.id.clone(), Instant::now());
        }
        FirstAnswer { result, retry_until: asked_at + if is_ours { Duration::ZERO } else { UNDECIDED_AFTER } }
    }
}

/// Retries the busy ids and returns the letters of those that stay unfenced. Meanwhile one may have
/// ended its transaction, and a rival may have begun to work with it.
fn retry(pending: Vec<Pending>, is_complete: bool, given_up: &AtomicBool) -> Result<String, PortError> {
    let new_answers = Instant::now() + RETRY;
    let mut unfenced = String::new();
    for Pending { candidate, error, retry_until } in pending {
        if !is_complete {
            return Err(producer_error(candidate.context, &error));
        }
        let left = retry_until.max(new_answers).saturating_duration_since(Instant::now()).max(ANSWER_MIN);
        match candidate.initialise(left, INIT_MAX.max(left), given_up) {
            Ok(()) => {}
            Err(error) if error.code == Code::CONCURRENT_TRANSACTIONS => unfenced.push_str(candidate.letter),
            Err(error) => return Err(candidate.init_error(&error)),
        }
    }
    Ok(unfenced)
}

/// Forgets which ids of a lane this process has ended: another process may have worked with them.
pub(crate) fn forget(ended: &EndedIds, tuning: &TargetTuning, link: &str, lane: u32) {
    let prefix = id_prefix(tuning, link, lane);
    lock(ended).retain(|id, _| !id.starts_with(&prefix));
}

fn id_prefix(tuning: &TargetTuning, link: &str, lane: u32) -> String {
    format!("{}.{link}.{lane}.", tuning.transactional_id_prefix)
}

impl Candidate {
    /// Initialises the transactional id, for `patience` while it is busy and for `within` at most.
    ///
    /// `CONCURRENT_TRANSACTIONS` means that the coordinator has decided about the last transaction
    /// (and fenced its producer, if that was still at work) but cannot write that everywhere yet.
    fn initialise(&self, patience: Duration, within: Duration, given_up: &AtomicBool) -> Result<(), FfiError> {
        let (producer, context) = (&self.producer, &self.context);
        let began = Instant::now();
        let is_over = |limit: Duration| began.elapsed() + CALL_EARLY >= limit;
        if given_up.load(Ordering::Acquire) {
            return Err(FfiError::new(Code::TIMED_OUT, "the lane was given up".to_owned()));
        }
        loop {
            let limit = if is_over(patience) { within } else { patience.min(within) };
            // librdkafka keeps trying between the calls.
            match producer.init_transactions(limit.saturating_sub(began.elapsed()).min(CALL_MAX)) {
                Ok(()) => return Ok(()),
                Err(error) if is_over(within) || given_up.load(Ordering::Acquire) => return Err(error),
                Err(error) if error.code == Code::CONCURRENT_TRANSACTIONS => {
                    if is_over(patience) {
                        return Err(error);
                    }
                }
                Err(error) if producer_error(context, &error).class != Class::Retry => return Err(error),
                // Some broker may be down that is not needed.
                Err(error) if began.elapsed() >= CALL_MAX && producer.client().trouble().is_some() => {
                    return Err(error);
                }
                // The coordinator decides about nothing: a standstill that must be reported.
                Err(error) if is_over(SILENT_MAX) => return Err(error),
                Err(error) => tracing::debug!("{context}: {error}, still initialising"),
            }
        }
    }

    fn init_error(&self, error: &FfiError) -> PortError {
        init_error(self.producer.client(), &self.context, error)
    }
}
