//! A lane's end of the slot: the instances that judge, those that stand beside, and the exchange at a batch border.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use strait_core::batch::Batch;
use strait_core::edit::{Disposition, Generation, Processed};
use strait_core::offset::SourceOffset;
use strait_core::topic::PartitionKey;
use strait_flow::ports::{Chain, ChainError, Next, WarmUp};

use super::{Comparison, Edition, Inner, Role, Setting, lock};
use crate::chain::{Judgement, PluginChain};

/// Topics remembered per lane, whose plans are asked for before an exchange; others are asked for when they come.
const TOPICS_MAX: usize = 10_000;

/// What the slot and a lane's chain share.
#[derive(Default)]
pub(crate) struct Seat {
    /// Instances made aside, until the lane takes them.
    next: Mutex<Option<Seated>>,
    /// Topics that the lane's chain has accepted, with their partition counts.
    topics: Mutex<BTreeMap<Arc<str>, u32>>,
    /// The exchange that the lane has followed.
    turn: AtomicU64,
}

impl Seat {
    pub(crate) fn put(&self, chain: Seated) {
        // The one that was never taken ends outside of the lock.
        let unused = lock(&self.next).replace(chain);
        drop(unused);
    }

    pub(crate) fn topics(&self) -> BTreeMap<Arc<str>, u32> {
        lock(&self.topics).clone()
    }

    pub(crate) fn turn(&self) -> u64 {
        self.turn.load(Ordering::Relaxed)
    }
}

/// A judgement, and the plugins that made it.
type Signed = (Judgement, Generation);

/// Instances of an edition, for one lane.
pub(crate) struct Seated {
    edition: Arc<Edition>,
    chain: PluginChain,
}

impl Seated {
    /// Starts instances, and asks them for the plans of these topics.
    pub(crate) fn start(edition: &Arc<Edition>, topics: &BTreeMap<Arc<str>, u32>) -> Result<Self, ChainError> {
        let mut chain = edition.chains.plugin_chain()?;
        for (topic, partitions) in topics {
            chain.target_topic(topic, *partitions)?;
        }
        Ok(Self { edition: edition.clone(), chain })
    }

    fn number(&self) -> u64 {
        self.edition.number
    }

    fn judge(&mut self, batch: &Batch, partitions: u32) -> Result<Signed, ChainError> {
        let judgement = self.chain.judge(batch, partitions)?;
        Ok((judgement, self.chain.generation()))
    }

    fn judge_strictly(&mut self, batch: &Batch, partitions: u32) -> Result<Signed, ChainError> {
        let judgement = self.chain.judge_strictly(batch, partitions)?;
        Ok((judgement, self.chain.generation()))
    }
}

/// A lane's chain, whichever generation that is.
pub(crate) struct SlotChain {
    slot: Arc<Inner>,
    seat: Arc<Seat>,
    /// The exchange that was followed last.
    turn: u64,
    serving: Seated,
    beside: Option<(Role, Seated)>,
    /// The same as the seat's, without its lock.
    topics: BTreeMap<Arc<str>, u32>,
    /// The exchange was looked at for the batch at hand.
    followed: bool,
}

impl SlotChain {
    pub(crate) fn new(slot: Arc<Inner>) -> Result<Self, ChainError> {
        // Registered first: an exchange that is prepared from now on is prepared for it too.
        let seat = slot.seat();
        let none = BTreeMap::new();
        let mut setting = slot.setting();
        let serving = match Seated::start(&setting.edition, &none) {
            Ok(serving) => serving,
            Err(error) => {
                // On probation the one before takes over; else there is no other, and the lane is told.
                slot.broke(setting.edition.number, &error);
                let broken = setting.edition.number;
                setting = slot.setting();
                if setting.edition.number == broken {
                    return Err(error);
                }
                Seated::start(&setting.edition, &none)?
            }
        };
        let mut chain = Self { slot, seat, turn: 0, serving, beside: None, topics: none, followed: false };
        chain.settle(&setting, Vec::new());
        Ok(chain)
    }

    /// Puts in place what the slot says, if that has changed since the last batch.
    fn follow(&mut self) {
        while self.slot.turn() != self.turn {
            let setting = self.slot.setting();
            let mut spare: Vec<Seated> = self.beside.take().map(|(_, seated)| seated).into_iter().collect();
            spare.extend(lock(&self.seat.next).take());
            if setting.edition.number != self.serving.number() {
                match self.take_or_start(&setting.edition, &mut spare) {
                    Ok(next) => spare.push(std::mem::replace(&mut self.serving, next)),
                    Err(error) => {
                        // On probation this rolls back, which the next round follows.
                        self.slot.broke(setting.edition.number, &error);
                        if self.slot.turn() == setting.turn {
                            tracing::error!(
                                link = self.slot.link(),
                                %error,
                                "a lane cannot start the plugins it was told to and goes on with those it has; reload"
                            );
                        }
                    }
                }
            }
            self.settle(&setting, spare);
        }
    }

    /// What stands beside, and that this exchange is followed.
    fn settle(&mut self, setting: &Setting, mut spare: Vec<Seated>) {
        let beside = setting.beside.as_ref().filter(|beside| beside.edition.number != self.serving.number());
        self.beside = beside.and_then(|beside| match self.take_or_start(&beside.edition, &mut spare) {
            Ok(seated) => Some((beside.role, seated)),
            Err(error) => {
                if beside.role != Role::Previous {
                    self.slot.broke(beside.edition.number, &error);
                }
                None
            }
        });
        self.turn = setting.turn;
        self.seat.turn.store(setting.turn, Ordering::Relaxed);
    }

    fn take_or_start(&self, edition: &Arc<Edition>, spare: &mut Vec<Seated>) -> Result<Seated, ChainError> {
        match spare.iter().position(|seated| seated.number() == edition.number) {
            Some(at) => Ok(spare.swap_remove(at)),
            None => Seated::start(edition, &self.topics),
        }
    }

    /// The judgement that counts, and who made it.
    fn judge(&mut self, batch: &Batch, partitions: u32) -> Result<Signed, ChainError> {
        let Self { slot, serving, beside, .. } = self;
        let Some((role, other)) = beside else {
            return serving.judge(batch, partitions);
        };
        // The one that has to prove itself, and the one that is there if it breaks.
        let (new, old) = match role {
            Role::Previous => (serving, other),
            Role::Canary(partition) if *partition == batch.partition() => (other, serving),
            Role::Canary(_) => {
                other.chain.missed(batch);
                return serving.judge(batch, partitions);
            }
            Role::Shadow => {
                let signed = serving.judge(batch, partitions)?;
                match other.judge_strictly(batch, partitions) {
                    Ok((candidate, _)) => slot.compared(compare(batch, &signed.0, &candidate)),
                    Err(error) if error.needs_warm_up() => {}
                    Err(error) => slot.broke(other.number(), &error),
                }
                return Ok(signed);
            }
        };
        let error = match new.judge_strictly(batch, partitions) {
            Err(error) if !error.needs_warm_up() => error,
            judged => {
                old.chain.missed(batch);
                return judged;
            }
        };
        new.chain.missed(batch);
        let on_probation = *role == Role::Previous;
        let judged = if on_probation { old.judge_strictly(batch, partitions) } else { old.judge(batch, partitions) };
        // One that remembers has not seen the batches since: it takes over and is shown them.
        if judged.as_ref().err().is_none_or(ChainError::needs_warm_up) {
            slot.broke(new.number(), &error);
            return judged;
        }
        // It breaks both: the records are to blame and not the reload.
        if on_probation { new.judge(batch, partitions) } else { judged }
    }

    /// A chain on probation or on trial that breaks on what it is shown is taken back too. One on probation may wait for a breaker
    /// or for memory, which is no fault of it; one on trial that cannot be tried must not hold up the one that serves.
    fn recall(&mut self, batch: &Batch, until: SourceOffset, partitions: u32) -> Result<(), ChainError> {
        let Self { slot, serving, beside, .. } = self;
        let show = |seated: &mut Seated, is_taken_back: fn(&ChainError) -> bool| {
            seated.chain.warm_up(batch, until, partitions).map_err(|error| {
                if !is_taken_back(&error) {
                    return error;
                }
                slot.broke(seated.number(), &error);
                ChainError { next: Next::WarmUp, ..error }
            })
        };
        match beside {
            None => show(serving, |_| false),
            Some((Role::Previous, _)) => show(serving, |error| !matches!(error.next, Next::RetryAfter(_))),
            Some((_, candidate)) => show(serving, |_| false).and_then(|()| show(candidate, |_| true)),
        }
    }

    fn saw(&mut self, topic: &Arc<str>, partitions: u32) {
        if self.topics.get(topic) == Some(&partitions) || self.topics.len() >= TOPICS_MAX {
            return;
        }
        self.topics.insert(topic.clone(), partitions);
        lock(&self.seat.topics).insert(topic.clone(), partitions);
    }
}

impl Chain for SlotChain {
    fn warm_up_needed(&mut self, partition: &PartitionKey, next: SourceOffset, partitions: u32) -> Vec<WarmUp> {
        self.follow();
        self.followed = true;
        let (serves, stands_by) = match &self.beside {
            Some((Role::Canary(number), _)) => (*number != partition.partition, *number == partition.partition),
            Some((Role::Shadow, _)) => (true, true),
            Some((Role::Previous, _)) | None => (true, false),
        };
        let mut asked = Vec::new();
        if serves {
            asked = self.serving.chain.warm_up_needed(partition, next, partitions);
        }
        let Some((role, other)) = &mut self.beside else { return asked };
        if stands_by {
            asked.extend(other.chain.warm_up_needed(partition, next, partitions));
        } else if *role == Role::Previous && !asked.is_empty() {
            // It would have to be shown the log anyhow, and the one that serves may need the memory.
            other.chain.forget(partition);
        }
        asked
    }

    fn warm_up(&mut self, batch: &Batch, until: SourceOffset, partitions: u32) -> Result<(), ChainError> {
        self.recall(batch, until, partitions)
    }

    fn warmed_up(&mut self, partition: &PartitionKey, until: SourceOffset) {
        self.serving.chain.warmed_up(partition, until);
        if let Some((_, other)) = &mut self.beside {
            other.chain.warmed_up(partition, until);
        }
    }

    fn forget(&mut self, partition: &PartitionKey) {
        self.serving.chain.forget(partition);
        if let Some((_, other)) = &mut self.beside {
            other.chain.forget(partition);
        }
    }

    fn apply(&mut self, batch: Batch, partitions: u32) -> Result<Processed, ChainError> {
        if !std::mem::take(&mut self.followed) {
            self.follow();
        }
        let (judgement, generation) = self.judge(&batch, partitions)?;
        self.saw(batch.topic(), partitions);
        let Judgement { target_topic, dispositions } = judgement;
        Ok(Processed { batch, target_topic, dispositions, generation })
    }

    fn target_topic(&mut self, topic: &str, partitions: u32) -> Result<Arc<str>, ChainError> {
        self.follow();
        self.serving.chain.target_topic(topic, partitions)
    }

    fn generation(&self) -> Generation {
        self.serving.chain.generation()
    }

    fn version(&self) -> u64 {
        // Not the slot's own, which also counts what changes nothing for a record: a probation that ends, a trial in the shadow.
        let setting = self.slot.setting();
        let canary = setting.beside.filter(|beside| matches!(beside.role, Role::Canary(_)));
        setting.edition.number << 32 | canary.map_or(0, |beside| beside.edition.number)
    }
}

/// How far two judgements of a batch differ. Where a copy goes counts as much as what it holds.
fn compare(batch: &Batch, serving: &Judgement, candidate: &Judgement) -> Comparison {
    let mut different = 0;
    let (mut left, mut right) = (serving.dispositions.iter().peekable(), candidate.dispositions.iter().peekable());
    loop {
        let indexes = (left.peek().map(|(index, _)| *index), right.peek().map(|(index, _)| *index));
        match indexes {
            (None, None) => break,
            (Some(a), Some(b)) if a == b => {
                let (one, other) = (left.next(), right.next());
                different += u64::from(!alike(one, other));
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
    let elsewhere = serving.target_topic != candidate.target_topic;
    Comparison {
        records: batch.len() as u64,
        records_different: if elsewhere { batch.len() as u64 } else { different },
        batches_elsewhere: u64::from(elsewhere),
    }
}

fn alike(one: Option<&(usize, Disposition)>, other: Option<&(usize, Disposition)>) -> bool {
    match (one.map(|(_, d)| d), other.map(|(_, d)| d)) {
        (Some(Disposition::Drop), Some(Disposition::Drop)) => true,
        (Some(Disposition::Replace(one)), Some(Disposition::Replace(other))) => one == other,
        // The texts may differ; the record stays behind either way.
        (Some(Disposition::Reject(one)), Some(Disposition::Reject(other)))
        | (Some(Disposition::Halt(one)), Some(Disposition::Halt(other))) => one.code == other.code,
        _ => false,
    }
}
