//! The plugins of processes, as an operator replaces them, and whether records keep to the border.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use strait_core::LaneId;
use strait_core::progress::{Agreement, ChainBorder, HeldBorder, LaneProgress, ProgressFold};
use strait_core::protects::Protection;

use super::stored::Stored;
use super::{Bug, World};

/// The most fields that plugins protect.
pub const LEVEL_MAX: usize = 3;

/// A version of the plugins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Its number.
    pub number: u64,
    /// How many fields it protects.
    pub level: usize,
    /// An operator has agreed to it, whatever it loosens.
    pub agreed: bool,
}

/// How many transactions of a lane can be committed, at most, before a border that it has agreed to
/// is: the one that was full by then, and the one that was being filled.
const COMMITS_BEFORE_BORDER: usize = 2;

/// Who last judged a record, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Judgement {
    version: Version,
    chain: usize,
    at: u64,
}

/// The borders of one lane, as its transactions have committed them.
#[derive(Clone, Debug, Default)]
struct Borders {
    read: LaneProgress,
    /// How many fields of each topic the border held, and since when.
    held: Vec<(u64, BTreeMap<Arc<str>, usize>)>,
}

/// The plugins of all processes, and the border of each lane.
#[derive(Clone, Debug, Default)]
pub struct Plugins {
    /// The version that new processes load.
    deployed: Version,
    /// The version of each process.
    loaded: BTreeMap<usize, Version>,
    /// Who last judged a record, by process and record.
    judged: BTreeMap<(usize, u64), Judgement>,
    /// The copies of borders, by process and lane.
    pub copies: BTreeMap<(usize, LaneId), HeldBorder>,
    /// When each chain took a version as its border that an operator had agreed to, and its level.
    agreed: Vec<Vec<(u64, usize)>>,
    /// The borders that the lanes have committed.
    borders: BTreeMap<u32, Borders>,
}

impl Version {
    /// Returns what it protects.
    #[must_use]
    pub fn protection(&self) -> Protection {
        let sights = (0..self.level).filter_map(|field| format!("value$['f{field}']").parse().ok());
        Protection { sights: sights.collect(), ..Protection::default() }
    }

    /// Returns what the border of a lane is told of it.
    #[must_use]
    pub fn border(&self, bug: Option<Bug>) -> ChainBorder {
        let agreement = Agreement { why: "agreed".into(), by: "operator".into() };
        let is_agreed = self.agreed || bug == Some(Bug::AgreedByAll);
        ChainBorder {
            generation: format!("sim-{}", self.number).into(),
            has_plugins: self.number > 0,
            agreement: is_agreed.then_some(agreement),
            ..ChainBorder::default()
        }
    }
}

impl Plugins {
    /// Returns the version of a process.
    #[must_use]
    pub fn of(&self, proc: usize) -> Version {
        self.loaded.get(&proc).copied().unwrap_or_default()
    }

    /// Returns the number of a new chain.
    pub fn new_chain(&mut self) -> usize {
        self.agreed.push(Vec::new());
        self.agreed.len() - 1
    }
}

impl Borders {
    /// Returns how many fields of the topic the border held at a time, and after each commit since.
    fn since<'a>(&'a self, at: u64, topic: &'a str) -> impl Iterator<Item = usize> + 'a {
        let before = self.held.partition_point(|(committed, _)| *committed <= at);
        let first = before.checked_sub(1).map_or(0, |last| self.level(last, topic));
        std::iter::once(first).chain((before..self.held.len()).map(move |index| self.level(index, topic)))
    }

    fn level(&self, index: usize, topic: &str) -> usize {
        self.held.get(index).and_then(|(_, levels)| levels.get(topic)).copied().unwrap_or_default()
    }

    fn commits_within(&self, from: u64, to: u64) -> usize {
        self.held.iter().filter(|(committed, _)| (from..=to).contains(committed)).count()
    }

    /// Takes in what a committed transaction says of the border.
    fn fold(&mut self, progress: &[Stored], at: u64) {
        for stored in progress {
            let mut fold = ProgressFold::default();
            fold.fold(0, &stored.key, Some(&stored.value));
            let Ok(read) = fold.finish() else { continue };
            self.read.protects.extend(read.protects);
            self.read.texts.extend(read.texts);
        }
        let level = |digest| {
            let text = self.read.texts.get(digest)?;
            Protection::read(&text.text).ok().map(|protection| protection.sights.len())
        };
        let levels = self.read.protects.iter();
        let levels = levels.map(|(topic, held)| (Arc::clone(topic), level(&held.digest).unwrap_or_default()));
        self.held.push((at, levels.collect()));
    }
}

impl World {
    /// Puts another version in place. Processes that run load it when [`World::load_plugins`] is
    /// called, and new ones at once.
    pub fn deploy(&mut self, level: usize, agreed: bool) {
        let number = self.plugins.deployed.number + 1;
        self.plugins.deployed = Version { number, level, agreed };
        self.note(format_args!("version {number} of the plugins protects {level} fields, agreed {agreed}"));
    }

    /// A process loads the version that is in place.
    pub fn load_plugins(&mut self, proc: usize) {
        let version = self.plugins.deployed;
        if self.plugins.loaded.insert(proc, version) != Some(version) && version.number > 0 {
            self.note(format_args!("process {proc} loads version {} of the plugins", version.number));
        }
    }

    /// Records who judged a record.
    pub fn judge(&mut self, proc: usize, record: u64, chain: usize, version: Version) {
        let judgement = Judgement { version, chain, at: self.now() };
        self.plugins.judged.insert((proc, record), judgement);
    }

    /// A chain takes the version as the border of its lane.
    pub fn take_border(&mut self, chain: usize, version: Version) {
        let at = self.now();
        if let Some(agreed) = self.plugins.agreed.get_mut(chain).filter(|_| version.agreed) {
            agreed.push((at, version.level));
        }
    }

    /// Checks the records of a committed transaction against the border of their lane. Between the
    /// judgement and the commit the lane can raise the border, or lower it with an agreement.
    pub(super) fn check_border(&mut self, lane: u32, client: usize, records: &[u64], progress: &[Stored]) {
        let at = self.now();
        let mut borders = self.plugins.borders.remove(&lane).unwrap_or_default();
        let proc = self.clients.get(client).map_or(usize::MAX, |client| client.proc);
        let mut judged: BTreeSet<(Arc<str>, Judgement)> = BTreeSet::new();
        for record in records {
            let Some(judgement) = self.plugins.judged.get(&(proc, *record)).copied() else { continue };
            let Some(record) = self.source.records.get(*record as usize) else { continue };
            judged.insert((Arc::clone(&record.partition.topic), judgement));
        }
        for (topic, judgement) in &judged {
            let Judgement { version: Version { number, level, agreed }, chain, at } = *judgement;
            // Agreed to before the record was judged, and perhaps not committed by then.
            let owed = self
                .plugins
                .agreed
                .get(chain)
                .into_iter()
                .flatten()
                .filter(|(taken, _)| *taken <= at && borders.commits_within(*taken, at) < COMMITS_BEFORE_BORDER);
            let held = borders.since(at, topic).chain(owed.map(|(_, level)| *level)).min().unwrap_or_default();
            if level < held && !agreed {
                self.wrong(format!(
                    "lane {lane}: records of {topic} passed plugins {number}, which protect {level} fields, and its border holds {held}"
                ));
            }
        }
        borders.fold(progress, at);
        for (topic, judgement) in &judged {
            let Judgement { version: Version { number, level, .. }, chain, at } = *judgement;
            let is_lowered = self.plugins.agreed.get(chain).into_iter().flatten().any(|(taken, _)| *taken >= at);
            let held = borders.since(at, topic).max().unwrap_or_default();
            if level > held && !is_lowered {
                self.wrong(format!(
                    "lane {lane}: records of {topic} passed plugins {number}, which protect {level} fields, and its border holds only {held} with them"
                ));
            }
        }
        self.plugins.borders.insert(lane, borders);
    }
}
