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

/// The plugins of all processes, and the border of each lane.
#[derive(Clone, Debug, Default)]
pub struct Plugins {
    /// The version that new processes load.
    deployed: Version,
    /// The version of each process.
    loaded: BTreeMap<usize, Version>,
    /// The version that last judged a record, by process and record.
    judged: BTreeMap<(usize, u64), Version>,
    /// The copies of borders, by process and lane.
    pub copies: BTreeMap<(usize, LaneId), HeldBorder>,
    /// An operator has agreed to a version, so that a border may have become lower.
    any_agreed: bool,
    /// The borders that the lanes have committed.
    held: BTreeMap<u32, LaneProgress>,
    /// The same, when the first transaction of a client was committed. What it has judged before it
    /// raises the border itself still goes out.
    taken_with: BTreeMap<usize, LaneProgress>,
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

    /// Records who judged a record.
    pub fn judge(&mut self, proc: usize, record: u64, version: Version) {
        self.judged.insert((proc, record), version);
    }
}

impl World {
    /// Puts another version in place. Processes that run load it when [`World::load_plugins`] is
    /// called, and new ones at once.
    pub fn deploy(&mut self, level: usize, agreed: bool) {
        let number = self.plugins.deployed.number + 1;
        self.plugins.deployed = Version { number, level, agreed };
        self.plugins.any_agreed |= agreed;
        self.note(format_args!("version {number} of the plugins protects {level} fields, agreed {agreed}"));
    }

    /// A process loads the version that is in place.
    pub fn load_plugins(&mut self, proc: usize) {
        let version = self.plugins.deployed;
        if self.plugins.loaded.insert(proc, version) != Some(version) && version.number > 0 {
            self.note(format_args!("process {proc} loads version {} of the plugins", version.number));
        }
    }

    /// Checks the records of a committed transaction against the border that its lane was taken
    /// with, which its progress may raise or, if an operator has agreed, lower.
    pub(super) fn check_border(&mut self, lane: u32, client: usize, records: &[u64], progress: &[Stored]) {
        let held = self.plugins.held.entry(lane).or_default().clone();
        let taken = self.plugins.taken_with.entry(client).or_insert_with(|| held.clone()).clone();
        let protected = |held: &LaneProgress, topic: &Arc<str>| {
            let text = held.texts.get(&held.protects.get(topic)?.digest)?;
            Protection::read(&text.text).ok().map(|protection| protection.sights.len())
        };
        let mut versions: BTreeSet<(Arc<str>, Version)> = BTreeSet::new();
        let proc = self.clients.get(client).map_or(usize::MAX, |client| client.proc);
        for record in records {
            let Some(version) = self.plugins.judged.get(&(proc, *record)).copied() else { continue };
            let Some(record) = self.source.records.get(*record as usize) else { continue };
            versions.insert((Arc::clone(&record.partition.topic), version));
        }
        for (topic, version) in &versions {
            // Since then its own lane can have raised it, or lowered it with an agreement.
            let held = protected(&taken, topic).unwrap_or_default().min(protected(&held, topic).unwrap_or_default());
            if version.level < held && !version.agreed {
                let Version { number, level, .. } = version;
                self.wrong(format!(
                    "lane {lane}: records of {topic} passed plugins {number}, which protect {level} fields, and its border holds {held}"
                ));
            }
        }
        let held = self.plugins.held.entry(lane).or_default();
        for stored in progress {
            let mut fold = ProgressFold::default();
            fold.fold(0, &stored.key, Some(&stored.value));
            let Ok(read) = fold.finish() else { continue };
            held.protects.extend(read.protects);
            held.texts.extend(read.texts);
        }
        let held = held.clone();
        for (topic, version) in &versions {
            let held = protected(&held, topic).unwrap_or_default();
            if version.level > held && !self.plugins.any_agreed {
                let Version { number, level, .. } = version;
                self.wrong(format!(
                    "lane {lane}: records of {topic} passed plugins {number}, which protect {level} fields, and its border holds only {held} with them"
                ));
            }
        }
    }
}
