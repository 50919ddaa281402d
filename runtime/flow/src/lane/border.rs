//! The border of the lane: plugins that protect less than the ones before do not come into force by
//! themselves. They are judged before the first record that they would let pass.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use strait_core::progress::{ChainBorder, HeldBorder, Judged};
use strait_core::protects::{Loosening, Protection};
use strait_core::{BorderEvent, Event};

use super::Lane;
use crate::error::LaneError;
use crate::ports::{ChainError, Class, PortError, SourceTopic};

/// Ways in which plugins protect less that are reported one by one.
const LOSSES_MAX: usize = 5;

/// The border that the lane holds, and the plugins that were judged by it in this attempt.
#[derive(Debug)]
pub(crate) struct Border {
    held: HeldBorder,
    judged: Option<Plugins>,
    /// The source topics that they were judged for.
    topics: BTreeSet<Arc<str>>,
}

/// The digest of the plugins that judge, and that of those on trial that judge some partitions.
#[derive(Debug, PartialEq, Eq)]
struct Plugins {
    active: Arc<str>,
    trial: Option<Arc<str>>,
}

impl Plugins {
    fn of(chain: &ChainBorder) -> Self {
        let trial = chain.trial.as_ref().map(|trial| Arc::clone(&trial.generation));
        Self { active: Arc::clone(&chain.generation), trial }
    }
}

impl Border {
    pub fn new(held: HeldBorder) -> Self {
        Self { held, judged: None, topics: BTreeSet::new() }
    }

    /// Returns the border to copy, if there is one.
    pub fn to_copy(&self) -> Option<HeldBorder> {
        self.held.is_held().then(|| self.held.clone())
    }

    /// Returns its number; 0 if there is none.
    pub fn number(&self) -> u64 {
        self.held.number()
    }

    /// Returns whether these plugins were judged in this attempt.
    fn has_judged(&self, chain: &ChainBorder) -> bool {
        self.judged.as_ref() == Some(&Plugins::of(chain))
    }

    /// Returns whether these plugins may judge records of the topic.
    pub fn covers(&self, chain: &ChainBorder, topic: &str) -> bool {
        self.has_judged(chain) && self.topics.contains(topic)
    }

    /// Judges plugins for some topics. Those that pass count as the ones in force.
    fn judge(&mut self, chain: &ChainBorder, at: i64) -> Judged {
        let judged = self.held.judge(chain, at);
        if let Judged::Passes(change) = &judged {
            self.held.change(change);
            if !self.has_judged(chain) {
                self.topics.clear();
                self.judged = Some(Plugins::of(chain));
            }
            self.topics.extend(chain.protection.keys().map(Arc::clone));
        }
        judged
    }
}

impl Lane<'_> {
    /// Compares the border with the copy of this process. If progress has lost something, the copy
    /// counts. A copy that is missing or older is written again.
    ///
    /// # Errors
    /// [`LaneError`]: nobody can tell what the border was.
    pub(super) fn restore_border(&mut self) -> Result<(), LaneError> {
        let (lane, held) = (self.spec.lane, &mut self.border.held);
        let copy = match self.deps.borders.read(lane) {
            Ok(copy) => copy,
            Err(reason) if !held.is_held() => {
                let context = format!("taking lane {lane} of link {}", self.spec.link);
                return Err(PortError::new(Class::Retry, context, reason).into());
            }
            Err(reason) => {
                tracing::warn!(link = %self.spec.link, %lane, "{reason}; it is written again");
                None
            }
        };
        let lost = copy.as_ref().map(|copy| held.restore(copy)).unwrap_or_default();
        if held.is_held() && copy.is_none_or(|copy| copy.is_older_than(held)) {
            self.deps.borders.write(lane, held);
        }
        if !lost.is_empty() {
            self.emit(Event::Border(BorderEvent::Lost { lane: lane.0, losses: words(&lost) }));
        }
        Ok(())
    }

    /// Judges the plugins for all source topics. A topic that they refuse is judged with its first
    /// record, if they take it then.
    pub(super) fn judge_chain(&mut self, topics: &[SourceTopic]) -> Result<(), LaneError> {
        let mut protection = BTreeMap::new();
        for SourceTopic { topic, partitions, .. } in topics {
            let partitions = partitions.unsigned_abs();
            if let Ok(found) = self.chain.protection(topic, partitions) {
                protection.insert(Arc::clone(topic), (partitions, found));
            }
        }
        self.hold_border(protection)
    }

    /// Judges plugins that have come into force, also where no record comes: the border of an idle
    /// lane says which plugins are in force, as that of a busy one does.
    pub(super) fn keep_up_with_plugins(&mut self) -> Result<(), LaneError> {
        self.chain.keep_up();
        if self.border.has_judged(&self.chain.border()) {
            return Ok(());
        }
        let topics = Arc::clone(&self.deps.topics.borrow());
        self.judge_chain(&topics)
    }

    /// Judges the plugins before they judge records of this topic. Returns their error, if they
    /// refuse it.
    pub(super) fn judge_plugins(
        &mut self,
        topic: &Arc<str>,
        partitions: u32,
    ) -> Result<Result<(), ChainError>, LaneError> {
        let plugins = self.chain.border();
        if self.border.covers(&plugins, topic) {
            return Ok(Ok(()));
        }
        if !self.border.has_judged(&plugins) {
            let topics = Arc::clone(&self.deps.topics.borrow());
            self.judge_chain(&topics)?;
        }
        if !self.border.covers(&self.chain.border(), topic) {
            match self.chain.protection(topic, partitions) {
                Ok(found) => self.hold_border([(Arc::clone(topic), (partitions, found))].into())?,
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    /// Judges what the plugins protect of these topics, with their numbers of partitions. What
    /// changes in the border is written with the next progress, which no record that they let pass
    /// comes before.
    fn hold_border(&mut self, topics: BTreeMap<Arc<str>, (u32, Protection)>) -> Result<(), LaneError> {
        let mut on_trial = BTreeMap::new();
        for (topic, (partitions, _)) in &topics {
            let Some(found) = self.chain.trial_protection(topic, *partitions) else { break };
            on_trial.insert(Arc::clone(topic), found);
        }
        let protection = topics.into_iter().map(|(topic, (_, protection))| (topic, protection)).collect();
        let mut chain = ChainBorder { protection, ..self.chain.border() };
        if let Some(trial) = &mut chain.trial {
            trial.protection = on_trial;
        }
        let at = self.deps.clock.unix_ms();
        let mut judged = self.border.judge(&chain, at);
        if let Judged::TrialLooser(losses) = &judged {
            self.chain.refuse_trial(&words(losses));
            chain.trial = None;
            judged = self.border.judge(&chain, at);
        }
        let plugins = self.chain.generation();
        let change = match judged {
            Judged::Passes(change) => change,
            Judged::Looser(losses) | Judged::TrialLooser(losses) => {
                let digest = chain.generation;
                return Err(LaneError::Looser { generation: plugins.0, digest, losses: words(&losses) });
            }
        };
        // Neither that plugins protect as much as before is news, nor a border that holds nothing.
        let is_first = |number: u64| number == 1 && !change.records.is_empty();
        let border = change.border.as_ref();
        let border = border.filter(|border| is_first(border.number) || !change.loosened.is_empty());
        let event = border.map(|border| {
            Event::Border(BorderEvent::Changed {
                lane: self.spec.lane.0,
                number: border.number,
                generation: plugins.0,
                why: Arc::clone(&border.why),
                loosened: words(&change.loosened),
            })
        });
        self.progress.owe_border(change, event);
        Ok(())
    }
}

/// Returns the losses in words, by topic.
fn words(losses: &[(Arc<str>, Loosening)]) -> String {
    let mut words: Vec<String> =
        losses.iter().take(LOSSES_MAX).map(|(topic, loosening)| format!("{loosening} (topic {topic})")).collect();
    let more = losses.len().saturating_sub(LOSSES_MAX);
    if more > 0 {
        words.push(format!("and {more} more"));
    }
    words.join("; ")
}
