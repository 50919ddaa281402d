//! A plan, and the actions that it has.

use std::sync::Arc;

use super::{Acl, Known, Left, TopicSettings};
use crate::topic::TopicId;

/// The kind of a line of a plan, as one character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sign {
    /// Makes something.
    Make,
    /// Changes something.
    Change,
    /// Deletes something.
    Delete,
    /// Leaves a difference.
    Leave,
    /// Is not known.
    Unknown,
}

impl Sign {
    /// Returns the character.
    #[must_use]
    pub fn character(self) -> char {
        match self {
            Self::Make => '+',
            Self::Change => '~',
            Self::Delete => '-',
            Self::Leave => '=',
            Self::Unknown => '?',
        }
    }
}

/// A change of one setting of a target topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigChange {
    /// Name of the setting.
    pub name: String,
    /// The value in force before; none where it is not known.
    pub from: Option<String>,
    /// The value to set; none deletes the topic's own value.
    pub to: Option<String>,
    /// The target deletes records by the new value that it kept by the old one.
    pub purges: bool,
}

/// Something to do at the target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Create a topic.
    Create {
        /// Its name.
        topic: Arc<str>,
        /// The source topic that it is made for.
        like: Arc<str>,
        /// Number of partitions.
        partitions: u32,
        /// Number of replicas; none for the broker's default.
        replicas: Option<u32>,
        /// Its settings.
        settings: TopicSettings,
        /// Why the settings of the source topic are not known, if so.
        unlike: Option<String>,
    },
    /// Add partitions to a topic.
    Grow {
        /// Its name.
        topic: Arc<str>,
        /// Number of partitions before.
        from: u32,
        /// Number of partitions that it needs.
        to: u32,
    },
    /// Change settings of a topic; after its creation where that is planned too.
    Alter {
        /// Its name.
        topic: Arc<str>,
        /// The changes, by name.
        changes: Vec<ConfigChange>,
    },
    /// Add an entry to the access list.
    AddAcl(Acl),
    /// Remove an entry from the access list.
    RemoveAcl(Acl),
    /// Delete a topic whose source topic is gone.
    Delete {
        /// Its name.
        topic: Arc<str>,
        /// Its id. A topic with another one is not deleted.
        id: TopicId,
        /// The source topic.
        source: Arc<str>,
    },
}

/// How the target took an action, or would take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All of it.
    Taken,
    /// It was so already.
    WasSo,
    /// Without these settings, for this reason.
    WithoutSome {
        /// Names of the settings.
        left_out: Vec<String>,
        /// The target's reason.
        reason: String,
    },
    /// Nothing of it, for this reason.
    Refused(String),
    /// Nothing of it, as the principal lacks a right.
    Denied(String),
    /// It was not asked, or could not be: Kafka tries no access lists, and the topic is missing, or
    /// the cluster does not have the request.
    NotAsked,
}

impl Action {
    /// Returns the target topic.
    #[must_use]
    pub fn topic(&self) -> &Arc<str> {
        match self {
            Self::Create { topic, .. }
            | Self::Grow { topic, .. }
            | Self::Alter { topic, .. }
            | Self::Delete { topic, .. } => topic,
            Self::AddAcl(acl) | Self::RemoveAcl(acl) => &acl.topic,
        }
    }
}

impl Known {
    /// Records a change that was carried out.
    pub fn changed(&mut self, change: &ConfigChange) {
        match &change.to {
            Some(value) => self.configs.insert(change.name.clone(), value.clone()),
            None => self.configs.remove(&change.name),
        };
    }
}

/// Something that cannot be planned because a cluster does not tell it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unknown {
    /// The part of a link that is not known, such as `settings of source topic orders`.
    pub of: String,
    /// Why.
    pub reason: String,
}

/// Changes at the target, and differences that are left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The changes. The order of those of one topic counts.
    pub actions: Vec<Action>,
    /// Differences that stay.
    pub left: Vec<Left>,
    /// Things that are not known.
    pub unknown: Vec<Unknown>,
}

impl Plan {
    /// Returns whether there is nothing to do. Differences may be left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    pub(super) fn leave(&mut self, left: Left) {
        self.left.push(left);
    }

    pub(super) fn not_known(&mut self, of: String, reason: &str) {
        self.unknown.push(Unknown { of, reason: reason.to_owned() });
    }
}
