//! Differences that a plan leaves, and why.

use std::fmt;
use std::sync::Arc;

use super::{Acl, Kept};

/// The part of a topic that differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The topic as a whole.
    Topic,
    /// Its number of partitions.
    Partitions,
    /// Its number of replicas.
    Replicas,
    /// The setting of this name.
    Config(String),
    /// An entry of the access list.
    Acl(Acl),
}

/// A difference between source and target that is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Left {
    /// Name of the target topic; of the source topic where it has none.
    pub topic: Arc<str>,
    /// The part of it that differs.
    pub part: Part,
    /// The value at the source, where there is one.
    pub source: Option<String>,
    /// The value at the target, where there is one.
    pub target: Option<String>,
    /// Why it is left.
    pub why: Why,
}

/// Why a difference is left.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// `manage_topics` is off.
    NotManaged,
    /// Topics do not shrink.
    NotShrunk,
    /// The number of replicas is given when a topic is created.
    AtCreationOnly,
    /// `sync.configs = "none"`.
    SyncOff,
    /// A setting that the target never takes over, or that the configuration excludes.
    Excluded,
    /// Nobody has synced it: it is the target's own.
    TargetsOwn,
    /// `max.message.bytes` is not lowered.
    NeverLowered,
    /// A cluster keeps the value secret, or nobody can set it.
    CannotBeSet,
    /// The target does not have the setting.
    NotAtTarget,
    /// Several source topics feed the topic.
    Merged,
    /// The target has refused the value; another one of the source is tried.
    Refused,
    /// Somebody else keeps on changing it.
    Fight,
    /// The target topic was deleted, and `on_target_recreated` says to stop.
    TargetGone,
    /// The target topic was created again, and `on_target_recreated` says to stop.
    TargetRecreated,
    /// The source topic was created again, and `on_gap` says to stop.
    SourceRecreated,
    /// Kafka creates only one of these topics.
    Collides(Vec<Arc<str>>),
    /// The plugins give the topic no name on the target.
    NoName(String),
    /// Only the link writes to its copy.
    OnlyWeWrite,
    /// It is on more than the topic, so it is left to people.
    Wide,
    /// It would be on Strait itself.
    HitsOurselves,
    /// It is gone at the source since the last reading, and removed if it still is at the next.
    JustGone,
    /// Its source topic is gone, and it is deleted at this time, in milliseconds since the Unix
    /// epoch; `None` before that was believed.
    DeletionPending(Option<i64>),
    /// Its source topic is gone, and it is kept.
    Kept(Kept),
}

impl Why {
    /// Returns the name for programs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotManaged => "not_managed",
            Self::NotShrunk => "not_shrunk",
            Self::AtCreationOnly => "at_creation_only",
            Self::SyncOff => "sync_off",
            Self::Excluded => "excluded",
            Self::TargetsOwn => "targets_own",
            Self::NeverLowered => "never_lowered",
            Self::CannotBeSet => "cannot_be_set",
            Self::NotAtTarget => "not_at_target",
            Self::Merged => "merged",
            Self::Refused => "refused",
            Self::Fight => "fight",
            Self::TargetGone => "target_gone",
            Self::TargetRecreated => "target_recreated",
            Self::SourceRecreated => "source_recreated",
            Self::Collides(_) => "collides",
            Self::NoName(_) => "no_name",
            Self::OnlyWeWrite => "only_we_write",
            Self::Wide => "wide",
            Self::HitsOurselves => "hits_ourselves",
            Self::JustGone => "just_gone",
            Self::DeletionPending(_) => "deletion_pending",
            Self::Kept(kept) => kept.name(),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotManaged => "manage_topics is off: do it by hand",
            Self::NotShrunk => "topics do not shrink",
            Self::AtCreationOnly => {
                "replicas are given when a topic is created; kafka-reassign-partitions changes them"
            }
            Self::SyncOff => "sync.configs is \"none\"",
            Self::Excluded => "a setting that is not taken over",
            Self::TargetsOwn => "set on the target, and by nobody on the source",
            Self::NeverLowered => "never lowered: larger records may be on their way",
            Self::CannotBeSet => "a cluster keeps it secret, or nobody can set it",
            Self::NotAtTarget => "the target does not have this setting",
            Self::Merged => "several source topics feed this topic",
            Self::Refused => "the target has refused this value; another one is tried",
            Self::Fight => "somebody else keeps on changing it",
            Self::TargetGone => "the link has written to it and it was deleted: on_target_recreated decides",
            Self::TargetRecreated => {
                "it was created again since the link has written to it: on_target_recreated decides"
            }
            Self::SourceRecreated => "its source topic was created again since the link has read it: on_gap decides",
            Self::Collides(others) => {
                let others: Vec<String> = others.iter().map(|name| format!("'{name}'")).collect();
                return write!(f, "Kafka creates only one of {}: '.' and '_' count as equal", others.join(", "));
            }
            Self::NoName(reason) => return write!(f, "the plugins give it no name on the target: {reason}"),
            Self::OnlyWeWrite => "only the link writes to its copy",
            Self::Wide => "not on one topic alone: grant it by hand",
            Self::HitsOurselves => "it would deny Strait what it needs there",
            Self::JustGone => "gone at the source; removed if it still is at the next reading",
            Self::DeletionPending(None) => {
                "its source topic is gone; it waits for delete_after_h once that is believed"
            }
            Self::DeletionPending(Some(at)) => {
                let at = jiff::Timestamp::from_millisecond(at / 1_000 * 1_000).unwrap_or_default();
                return write!(f, "its source topic is gone; due to be deleted at {at}, if the link runs until then");
            }
            Self::Kept(kept) => return write!(f, "its source topic is gone; kept, as {kept}"),
        })
    }
}
