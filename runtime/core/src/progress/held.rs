//! The border that a lane holds, and the judgement of a chain against it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{LaneBorder, LaneProgress, ProgressRecord, Protects, ProtectsText};
use crate::protects::{ByTopic, Loosening, Protection, loosened, looser, text_digest};

/// The facts that a chain tells of itself before it comes into force in a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainBorder {
    /// Digest of all that decides what passes or is shown.
    pub generation: Arc<str>,
    /// It has plugins.
    pub has_plugins: bool,
    /// The protection that it gives, by source topic. A topic that it refuses is missing: it copies
    /// no record of it.
    pub protection: ByTopic,
    /// An operator has agreed to it, whatever it loosens.
    pub agreement: Option<Agreement>,
    /// A chain on trial beside it, which judges some of the partitions.
    pub trial: Option<Box<ChainBorder>>,
}

/// The agreement of an operator to a chain that protects less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// How it was given.
    pub why: Arc<str>,
    /// Who gave it, as far as that is known.
    pub by: Arc<str>,
}

/// The border that a lane holds: what its records are protected by at least.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBorder {
    border: Option<LaneBorder>,
    protects: BTreeMap<Arc<str>, Protects>,
    texts: BTreeMap<Arc<str>, ProtectsText>,
    /// Topics whose protection comes from a copy, as progress has lost it.
    #[serde(skip)]
    restored: BTreeSet<Arc<str>>,
}

/// The judgement of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It may come into force. This is to be written with its first record, or before.
    Passes(BorderChange),
    /// It would protect less, in these ways by source topic, and nobody has agreed to it.
    Looser(Vec<(Arc<str>, Loosening)>),
    /// It may; the chain on trial beside it would protect less, and nobody has agreed to that.
    TrialLooser(Vec<(Arc<str>, Loosening)>),
}

/// A change of the border of a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BorderChange {
    /// The new border, where it changes.
    pub border: Option<LaneBorder>,
    /// The protection that it gives, where that is not written yet: each text once.
    pub records: Vec<ProgressRecord>,
    /// The ways in which it protects less than before, to which an operator has agreed.
    pub loosened: Vec<(Arc<str>, Loosening)>,
}

impl BorderChange {
    /// Returns whether nothing is to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.border.is_none() && self.records.is_empty()
    }
}

impl HeldBorder {
    /// Takes the border from what progress holds.
    #[must_use]
    pub fn of(progress: &LaneProgress) -> Self {
        Self {
            border: progress.lane.as_ref().and_then(|lane| lane.border.clone()),
            protects: progress.protects.clone(),
            texts: progress.texts.clone(),
            restored: BTreeSet::new(),
        }
    }

    /// Returns the protection of a source topic's records. A text that is gone or changed counts as
    /// a claim that this version does not know. `None`: nothing is known of the topic.
    #[must_use]
    pub fn protection(&self, topic: &str) -> Option<Protection> {
        let digest = &self.protects.get(topic)?.digest;
        let text = self.texts.get(digest).map(|text| &text.text).filter(|text| text_digest(text) == *digest);
        let read = text.and_then(|text| Protection::read(text).ok());
        Some(read.unwrap_or_else(|| Protection { unread: 1, ..Protection::default() }))
    }

    /// Returns whether there is a border.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.border.is_some()
    }

    /// Returns its number; 0 if there is none.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.border.as_ref().map_or(0, |border| border.number)
    }

    /// Returns whether this border, or this copy of one, is an older one than `other`.
    #[must_use]
    pub fn is_older_than(&self, other: &Self) -> bool {
        self.number() < other.number()
    }

    /// Takes over from a copy of the border whatever it protects more, unless the copy is an older
    /// one. Returns what progress has lost, by topic.
    pub fn restore(&mut self, copy: &Self) -> Vec<(Arc<str>, Loosening)> {
        if copy.is_older_than(self) {
            return Vec::new();
        }
        let mut lost = Vec::new();
        for (topic, protects) in &copy.protects {
            let Some(was) = copy.protection(topic) else { continue };
            let found = loosened(&was, &self.protection(topic).unwrap_or_default());
            if found.is_empty() {
                continue;
            }
            self.take_over(topic, protects, copy);
            self.restored.insert(Arc::clone(topic));
            lost.extend(found.into_iter().map(|loosening| (Arc::clone(topic), loosening)));
        }
        if self.is_older_than(copy) {
            self.border.clone_from(&copy.border);
        }
        lost
    }

    /// Takes over what another lane of the link protects: each topic is protected as both say.
    pub fn join(&mut self, other: &Self) {
        for (topic, protects) in &other.protects {
            let theirs = other.protection(topic).unwrap_or_default();
            match self.protection(topic) {
                // Nobody can say what a text that cannot be read protects, so it stays.
                Some(own) if own.unread > 0 => {}
                Some(mut own) if theirs.unread == 0 => {
                    own.add(theirs);
                    let text: Arc<str> = own.text().into();
                    let digest = text_digest(&text);
                    self.texts.insert(Arc::clone(&digest), ProtectsText { text });
                    self.protects.insert(Arc::clone(topic), Protects { digest });
                }
                _ => self.take_over(topic, protects, other),
            }
        }
    }

    /// Takes the protection of a topic as it is written in another border.
    fn take_over(&mut self, topic: &Arc<str>, protects: &Protects, from: &Self) {
        let text = from.texts.get_key_value(&protects.digest);
        self.texts.extend(text.map(|(digest, text)| (Arc::clone(digest), text.clone())));
        self.protects.insert(Arc::clone(topic), protects.clone());
    }

    /// Returns the records of what is protected: each text once, before the topics that name it.
    #[must_use]
    pub fn protects_records(&self) -> Vec<ProgressRecord> {
        let named: BTreeSet<&Arc<str>> = self.protects.values().map(|protects| &protects.digest).collect();
        let texts = self.texts.iter().filter(|(digest, _)| named.contains(digest));
        let texts = texts.map(|(digest, text)| ProgressRecord::Text(Arc::clone(digest), text.clone()));
        let protects = self.protects.iter();
        texts
            .chain(protects.map(|(topic, protects)| ProgressRecord::Protects(Arc::clone(topic), protects.clone())))
            .collect()
    }

    /// Judges a chain before it comes into force. `at` is the time in milliseconds since the Unix
    /// epoch.
    #[must_use]
    pub fn judge(&self, chain: &ChainBorder, at: i64) -> Judged {
        let loosened = self.loosened_by(&chain.protection);
        if !loosened.is_empty() && chain.agreement.is_none() {
            return Judged::Looser(loosened);
        }
        let Some(trial) = &chain.trial else {
            return Judged::Passes(self.change_to(chain, loosened, at));
        };
        let less = looser(&chain.protection, &trial.protection);
        if !less.is_empty() && trial.agreement.is_none() {
            return Judged::TrialLooser(less);
        }
        // Both are in force, each for some partitions. The border says what they have in common,
        // and names the one that protects less.
        let is_named = self.border.as_ref().is_some_and(|border| border.generation == trial.generation);
        let mut both = ChainBorder { trial: None, ..chain.clone() };
        if is_named || !less.is_empty() {
            both.generation = Arc::clone(&trial.generation);
            both.has_plugins |= trial.has_plugins;
        }
        if !less.is_empty() {
            both.agreement.clone_from(&trial.agreement);
        }
        for (topic, protection) in &mut both.protection {
            if let Some(theirs) = trial.protection.get(topic) {
                *protection = protection.common(theirs);
            }
        }
        let loosened = self.loosened_by(&both.protection);
        Judged::Passes(self.change_to(&both, loosened, at))
    }

    /// Returns how such protection is less than what is held.
    fn loosened_by(&self, protection: &ByTopic) -> Vec<(Arc<str>, Loosening)> {
        let held = protection.keys().filter_map(|topic| Some((Arc::clone(topic), self.protection(topic)?)));
        looser(&held.collect(), protection)
    }

    /// Returns the change of the border with which a chain comes into force that loosens it in
    /// these ways, as an operator has agreed to.
    fn change_to(&self, chain: &ChainBorder, loosened: Vec<(Arc<str>, Loosening)>, at: i64) -> BorderChange {
        let agreement = chain.agreement.as_ref().filter(|_| !loosened.is_empty());
        let records = self.records(&chain.protection);
        // A link without plugins has nothing to hold.
        let needs_border = chain.has_plugins || self.border.is_some() || !records.is_empty();
        let is_other = self.border.as_ref().is_none_or(|border| border.generation != chain.generation);
        let is_new = is_other || agreement.is_some() || !self.restored.is_empty();
        let border = (needs_border && is_new).then(|| LaneBorder {
            number: self.number() + 1,
            generation: Arc::clone(&chain.generation),
            why: match agreement {
                Some(agreement) => Arc::clone(&agreement.why),
                None if !self.restored.is_empty() => "restored".into(),
                None if self.border.is_none() => "first".into(),
                None => "protects as much".into(),
            },
            by: agreement.map(|agreement| Arc::clone(&agreement.by)).unwrap_or_default(),
            at,
            ..LaneBorder::default()
        });
        BorderChange { border, records, loosened }
    }

    /// Takes over a change that is to be written.
    pub fn change(&mut self, change: &BorderChange) {
        if let Some(border) = &change.border {
            self.border = Some(border.clone());
        }
        for record in &change.records {
            match record {
                ProgressRecord::Protects(topic, protects) => {
                    self.restored.remove(topic);
                    self.protects.insert(Arc::clone(topic), protects.clone());
                }
                ProgressRecord::Text(digest, text) => {
                    self.texts.insert(Arc::clone(digest), text.clone());
                }
                _ => {}
            }
        }
    }

    /// Returns the records to write so that progress has this protection of these topics: each text
    /// once, before the topics that name it, and only what is not there yet. A topic of which
    /// nothing was ever protected needs none.
    fn records(&self, protection: &ByTopic) -> Vec<ProgressRecord> {
        let mut texts = BTreeMap::new();
        let mut records = Vec::new();
        for (topic, protection) in protection {
            // Progress does not have what was restored.
            let known = self.protects.get(topic).filter(|_| !self.restored.contains(topic));
            if !self.protects.contains_key(topic) && *protection == Protection::default() {
                continue;
            }
            let text: Arc<str> = protection.text().into();
            let digest = text_digest(&text);
            let is_known = self.texts.get(&digest).is_some_and(|known| known.text == text);
            if !is_known || !self.restored.is_empty() {
                texts.insert(Arc::clone(&digest), ProtectsText { text });
            }
            if known.is_none_or(|known| known.digest != digest) {
                records.push(ProgressRecord::Protects(Arc::clone(topic), Protects { digest }));
            }
        }
        // Topics that the chain is not asked about, because they are not copied now.
        for topic in self.restored.iter().filter(|topic| !protection.contains_key(*topic)) {
            let Some(protects) = self.protects.get(topic) else { continue };
            if let Some((digest, text)) = self.texts.get_key_value(&protects.digest) {
                texts.insert(Arc::clone(digest), text.clone());
            }
            records.push(ProgressRecord::Protects(Arc::clone(topic), protects.clone()));
        }
        texts.into_iter().map(|(digest, text)| ProgressRecord::Text(digest, text)).chain(records).collect()
    }
}
