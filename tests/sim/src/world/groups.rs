//! Consumer groups on both clusters, as brokers keep them, and what each group has read on either.
//!
//! They read one source partition of its own, of which every third record is left out on the way.
//! Its copy grows by itself: lanes have no part in this.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use strait_core::control::turn::ANNOUNCED_FOR;
use strait_core::groups::Written;

use super::{Bug, Point, World};

/// One group.
#[derive(Debug)]
struct Group {
    /// Its offset on the source.
    source: i64,
    /// Its offset on the target.
    target: Option<i64>,
    /// It has members on the target.
    has_members: bool,
    /// A reader has committed on the target.
    was_read: bool,
    /// When a reader last committed on the target, in virtual milliseconds.
    moved: Option<u64>,
    /// The source records that it has read, on either cluster.
    read: BTreeSet<i64>,
}

/// The groups of both clusters.
#[derive(Debug, Default)]
pub struct Groups {
    /// The link keeps their offsets, for new processes.
    pub are_kept: bool,
    /// The source offset up to which records are copied.
    pub copied: i64,
    /// Cases of 1000 in which a write arrives up to a minute late.
    pub late: u64,
    /// Another link writes to the target topic.
    pub is_shared: bool,
    /// Offsets that the target has taken of the link.
    pub written: u64,
    /// Readers that have joined on the target.
    pub joined: u64,
    /// Writes that came in time and were overtaken by a reader: what Kafka leaves open.
    pub overtaken: u64,
    all: BTreeMap<Arc<str>, Group>,
}

fn is_kept(source: i64) -> bool {
    source % 3 != 0
}

/// Returns how many records before this one are kept.
fn kept_before(source: i64) -> i64 {
    source - (source + 2) / 3
}

/// Returns the offset of a record on the target: a marker follows every fifth.
fn place(source: i64) -> i64 {
    let before = kept_before(source);
    before + before / 5
}

impl Groups {
    /// Adds a group that has read up to an offset on the source.
    pub fn add(&mut self, name: &str, source: i64) {
        let read = (0..source).collect();
        self.all.insert(
            name.into(),
            Group { source, target: None, has_members: false, was_read: false, moved: None, read },
        );
    }

    /// More is copied. The copies never end with a marker: only readers on the target commit its
    /// offset, so that theirs are none that the link could have written.
    pub fn copy(&mut self, count: i64) {
        self.copied += count;
        while kept_before(self.copied) % 5 == 0 {
            self.copied += 1;
        }
    }

    /// Returns the names of all groups.
    #[must_use]
    pub fn names(&self) -> Vec<Arc<str>> {
        self.all.keys().cloned().collect()
    }

    /// A reader on the source moves on, or back, and commits.
    pub fn commit(&mut self, name: &str, to: i64) {
        let Some(group) = self.all.get_mut(name) else { return };
        group.read.extend(group.source..to);
        group.source = to.max(0);
    }

    /// Returns the offset of a group on the source.
    #[must_use]
    pub fn at_source(&self, name: &str) -> Option<i64> {
        self.all.get(name).map(|group| group.source)
    }

    /// Returns where a reader at a source offset resumes, whether that is a copied record, and by
    /// how much it is ahead. `None` before the first copy.
    #[must_use]
    pub fn resumes(&self, source: i64) -> Option<(i64, bool, i64)> {
        let last = (0..self.copied).rev().find(|source| is_kept(*source))?;
        match (source..self.copied).find(|source| is_kept(*source)) {
            Some(next) => Some((place(next), true, 0)),
            None => Some((place(last) + 1, false, (source - self.copied).max(0))),
        }
    }

    /// Returns whether a group has read on the target.
    #[must_use]
    pub fn has_moved(&self, name: &str) -> bool {
        self.all.get(name).is_some_and(|group| group.moved.is_some() || group.has_members)
    }

    /// Returns whether readers have committed a group's offset on the target.
    #[must_use]
    pub fn was_read(&self, name: &str) -> bool {
        self.all.get(name).is_some_and(|group| group.was_read)
    }

    /// The target forgets the offset of a group without members.
    pub fn expire(&mut self, name: &str) {
        if let Some(group) = self.all.get_mut(name).filter(|group| !group.has_members && group.moved.is_none()) {
            group.target = None;
        }
    }

    /// Readers leave the target.
    pub fn leave(&mut self, name: &str) {
        if let Some(group) = self.all.get_mut(name) {
            group.has_members = false;
        }
    }

    /// Returns a group that is not where it belongs on the target, but for those that are not the
    /// link's any more.
    #[must_use]
    pub fn misplaced(&self, taken: &BTreeSet<Arc<str>>) -> Option<String> {
        let wrong = |(name, group): &(&Arc<str>, &Group)| {
            let wanted = self.resumes(group.source).map(|(offset, ..)| offset);
            !taken.contains(*name) && !group.has_members && group.target != wanted
        };
        self.all.iter().find(wrong).map(|(name, group)| format!("group {name} is at {:?}", group.target))
    }
}

impl World {
    /// Readers join on the target where the group has an offset, read `count` records or some more,
    /// up to a marker, and commit. None is skipped that the group has not read before.
    pub fn join_on_target(&mut self, name: &str, count: usize) {
        let now = self.now();
        let copied = self.groups.copied;
        let Some(group) = self.groups.all.get_mut(name) else { return };
        let Some(from) = group.target else { return };
        let behind: Vec<i64> = (0..copied).filter(|source| is_kept(*source) && place(*source) >= from).collect();
        let skipped = (0..copied)
            .filter(|source| is_kept(*source) && place(*source) < from)
            .find(|source| !group.read.contains(source));
        (group.has_members, self.groups.joined) = (true, self.groups.joined + 1);
        let is_last = |(index, source): (usize, &i64)| index + 1 >= count && (place(*source) + 1) % 6 == 5;
        let last = behind.iter().enumerate().position(is_last);
        let read: Vec<i64> = behind.iter().copied().take(last.map_or(0, |last| last + 1)).collect();
        if let Some(last) = read.last() {
            (group.target, group.moved, group.was_read) = (Some(place(*last) + 1), Some(now), true);
        }
        group.read.extend(&read);
        self.note(format_args!("readers of group {name} join the target at {from} and read {read:?}"));
        if let Some(source) = skipped {
            self.wrong(format!("group {name} skips source record {source} on the target"));
        }
    }

    /// Returns what a group has committed on the target.
    pub fn at_target(&mut self, proc: usize, name: &str) -> Option<i64> {
        let found = self.groups.all.get(name)?.target;
        self.reached(Point::GroupCompared, proc);
        if self.bug == Some(Bug::GroupBlind) { None } else { found }
    }

    /// A request to write a group's offset arrives that began at this time.
    pub fn write_group(&mut self, proc: usize, name: &str, offset: i64, began: u64) -> Written {
        self.note(format_args!("process {proc} writes group {name} at {offset}, sent at {began}"));
        let Some(group) = self.groups.all.get_mut(name) else { return Written::Taken };
        if group.has_members {
            return Written::Active;
        }
        let before = group.target.replace(offset);
        self.groups.written += 1;
        if before != Some(offset)
            && let Some(moved) = group.moved.take()
        {
            self.groups.overtaken += 1;
            if u128::from(began) >= u128::from(moved) + ANNOUNCED_FOR.as_millis() {
                let text = format!("group {name} is moved from {before:?} to {offset}, and reads on the target");
                self.wrong(format!("{text} since {moved}"));
            }
        }
        self.reached(Point::GroupWritten, proc);
        Written::Taken
    }
}
