//! The settings of one target topic: source, target and what was set before, compared.

use std::collections::BTreeSet;

use super::creation::CREATE_TIME;
use super::{CARRIED, ConfigChange, ConfigEntry, Configs, Excluded, Known, Rest, TIMESTAMP_TYPE, Why};

const CLEANUP_POLICY: &str = "cleanup.policy";
const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
/// Limits of which the lower one deletes more; -1 is none.
const RETENTION: [&str; 2] = ["retention.ms", "retention.bytes"];

/// The treatment of settings that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// The source topic's own ones are set.
    Overrides,
    /// Those of every level are set.
    Effective,
    /// They are left, as the link does not sync them.
    None,
    /// They are left, as several source topics feed the topic.
    Merged,
}

impl Treatment {
    /// Returns why everything is left, if it is.
    fn leaves(self) -> Option<Why> {
        match self {
            Self::Overrides | Self::Effective => None,
            Self::None => Some(Why::SyncOff),
            Self::Merged => Some(Why::Merged),
        }
    }
}

/// A setting that differs and is left.
pub(super) struct LeftConfig {
    pub name: String,
    pub source: Option<String>,
    pub target: Option<String>,
    pub why: Why,
}

/// The settings of a topic at both ends.
pub(super) struct Compared<'a> {
    pub source: &'a Configs,
    pub target: &'a Configs,
    /// Whether `target` has every setting that the target knows.
    pub is_known: bool,
    pub known: &'a Known,
    pub excluded: &'a Excluded,
}

/// The end of the comparison of one setting.
enum Verdict {
    Nothing,
    Set(String),
    Delete,
    Leave(Why),
}

impl Compared<'_> {
    /// Returns the changes and what is left, each by name.
    pub(super) fn with(&self, treatment: Treatment) -> (Vec<ConfigChange>, Vec<LeftConfig>) {
        let own = self.known.configs.keys();
        let names: BTreeSet<&String> = self.source.keys().chain(self.target.keys()).chain(own).collect();
        let (mut changes, mut left) = (Vec::new(), Vec::new());
        for name in names {
            let to = match self.judge(name, treatment) {
                Verdict::Nothing => continue,
                Verdict::Leave(why) => {
                    left.push(self.left(name, why));
                    continue;
                }
                Verdict::Set(value) => Some(value),
                Verdict::Delete => None,
            };
            let rests = match self.known.resting.get(name) {
                Some(Rest::Fight(value)) if to == *value => Some(Why::Fight),
                Some(Rest::Refused(value)) if to == *value => Some(Why::Refused),
                _ => None,
            };
            match treatment.leaves() {
                // Where it is set makes no difference that anybody could act upon.
                Some(_) if to.is_some() && to.as_ref() == value_of(self.target.get(name)) => {}
                Some(why) => left.push(self.left(name, why)),
                None => match rests {
                    Some(why) => left.push(self.left(name, why)),
                    None => changes.push(self.change(name, to)),
                },
            }
        }
        (changes, left)
    }

    fn judge(&self, name: &str, treatment: Treatment) -> Verdict {
        if CARRIED.contains(&name) {
            return self.judge_carried(name);
        }
        if name == TIMESTAMP_TYPE {
            return self.judge_timestamps();
        }
        let (source, target) = (self.source.get(name), self.target.get(name));
        let is_effective = treatment == Treatment::Effective;
        let Some(source) = source.filter(|source| source.is_override || is_effective) else {
            return self.judge_unset(name);
        };
        let is_equal = target.is_some_and(|target| target.is_override || is_effective)
            && value_of(target) == source.value.as_ref();
        let differs_in_force = value_of(target) != source.value.as_ref();
        match &source.value {
            _ if source.read_only => Verdict::Nothing,
            _ if self.excluded.has(name) && source.is_override && differs_in_force => Verdict::Leave(Why::Excluded),
            _ if self.excluded.has(name) => self.judge_unset(name),
            None if source.is_override => Verdict::Leave(Why::CannotBeSet),
            None => Verdict::Nothing,
            Some(_) if is_equal => Verdict::Nothing,
            Some(_) if target.is_none() && self.is_known => {
                if source.is_override {
                    Verdict::Leave(Why::NotAtTarget)
                } else {
                    Verdict::Nothing
                }
            }
            Some(_) if target.is_some_and(|target| target.read_only || target.sensitive) => {
                Verdict::Leave(Why::CannotBeSet)
            }
            Some(value) => Verdict::Set(value.clone()),
        }
    }

    /// Judges a setting that the target takes over by the value in force, and never loses.
    fn judge_carried(&self, name: &str) -> Verdict {
        let Some(Some(wanted)) = self.source.get(name).map(|entry| entry.value.as_ref()) else {
            return Verdict::Nothing;
        };
        let found = value_of(self.target.get(name));
        if found.is_some_and(|found| same(name, found, wanted)) {
            return Verdict::Nothing;
        }
        if self.excluded.is_named(name) {
            return if found.is_some() { Verdict::Leave(Why::Excluded) } else { Verdict::Nothing };
        }
        let number = |text: &String| text.parse::<i64>().ok();
        let is_lower = match (number(wanted), found.and_then(number)) {
            (Some(wanted), Some(found)) => wanted < found,
            _ => false,
        };
        if name == MAX_MESSAGE_BYTES && is_lower {
            return Verdict::Leave(Why::NeverLowered);
        }
        Verdict::Set(wanted.clone())
    }

    /// Judges the type of timestamps: a copy keeps those of the source.
    fn judge_timestamps(&self) -> Verdict {
        match value_of(self.target.get(TIMESTAMP_TYPE)) {
            Some(found) if found != CREATE_TIME => match self.excluded.is_named(TIMESTAMP_TYPE) {
                true => Verdict::Leave(Why::Excluded),
                false => Verdict::Set(CREATE_TIME.to_owned()),
            },
            _ => Verdict::Nothing,
        }
    }

    /// Judges a setting that the source does not ask for.
    fn judge_unset(&self, name: &str) -> Verdict {
        let Some(target) = self.target.get(name).filter(|target| target.is_override) else {
            return Verdict::Nothing;
        };
        if self.excluded.has(name) {
            let is_equal = value_of(self.source.get(name)) == target.value.as_ref();
            return if is_equal { Verdict::Nothing } else { Verdict::Leave(Why::Excluded) };
        }
        if self.known.configs.contains_key(name) {
            return Verdict::Delete;
        }
        let is_equal = value_of(self.source.get(name)) == target.value.as_ref();
        if is_equal { Verdict::Nothing } else { Verdict::Leave(Why::TargetsOwn) }
    }

    fn left(&self, name: &str, why: Why) -> LeftConfig {
        let value = |configs: &Configs| value_of(configs.get(name)).cloned();
        LeftConfig { name: name.to_owned(), source: value(self.source), target: value(self.target), why }
    }

    fn change(&self, name: &str, to: Option<String>) -> ConfigChange {
        let from = value_of(self.target.get(name)).cloned();
        let after = match &to {
            Some(to) => Some(to),
            None => self.target.get(name).and_then(|entry| entry.beneath.as_ref()),
        };
        let purges = matches!((&from, after), (Some(from), Some(after)) if purges(name, from, after));
        ConfigChange { name: name.to_owned(), from, to, purges }
    }
}

fn value_of(entry: Option<&ConfigEntry>) -> Option<&String> {
    entry.and_then(|entry| entry.value.as_ref())
}

/// Returns whether two values mean the same.
fn same(name: &str, one: &str, other: &str) -> bool {
    one == other || (name == CLEANUP_POLICY && policies(one) == policies(other))
}

fn policies(text: &str) -> BTreeSet<&str> {
    text.split(',').map(str::trim).filter(|policy| !policy.is_empty()).collect()
}

/// Returns whether the target deletes records by the new value that it kept by the old one.
fn purges(name: &str, from: &str, to: &str) -> bool {
    if name == CLEANUP_POLICY {
        let gains = |policy| policies(to).contains(policy) && !policies(from).contains(policy);
        return gains("delete") || gains("compact");
    }
    let limit = |text: &str| text.parse::<i64>().ok().map(|limit| if limit < 0 { i64::MAX } else { limit });
    RETENTION.contains(&name) && matches!((limit(from), limit(to)), (Some(from), Some(to)) if to < from)
}
