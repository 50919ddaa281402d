//! The clusters, the group and the topics that the link lacks, as this process knows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use strait_core::Side;

use super::{LinkStatus, Unreachable};

impl LinkStatus {
    /// Sets whether a cluster answers: `None` if it does.
    pub fn set_unreachable(&self, side: Side, unreachable: Option<Unreachable>) {
        let mut inner = self.lock();
        match unreachable {
            Some(unreachable) => drop(inner.unreachable.insert(side, unreachable)),
            None => drop(inner.unreachable.remove(&side)),
        }
    }

    /// Returns the clusters that do not answer.
    #[must_use]
    pub fn unreachable(&self) -> BTreeMap<Side, Unreachable> {
        self.lock().unreachable.clone()
    }

    /// Sets since when and why this process is not a member of the link's group: `None` if it is.
    pub fn set_not_in_group(&self, not_in_group: Option<Unreachable>) {
        self.lock().not_in_group = not_in_group;
    }

    /// Returns since when and why this process is not a member of the link's group.
    #[must_use]
    pub fn not_in_group(&self) -> Option<Unreachable> {
        self.lock().not_in_group.clone()
    }

    /// Sets since when and why the source does not list its topics for this process: `None` if it
    /// does, or does not have to.
    pub fn set_topics_not_listed(&self, not_listed: Option<Unreachable>) {
        self.lock().topics_not_listed = not_listed;
    }

    /// Returns since when and why the source does not list its topics for this process.
    #[must_use]
    pub fn topics_not_listed(&self) -> Option<Unreachable> {
        self.lock().topics_not_listed.clone()
    }

    /// Sets the topics that the source does not describe, each with the reason.
    pub fn set_hidden(&self, hidden: BTreeMap<Arc<str>, String>) {
        self.lock().hidden = hidden;
    }

    /// Returns the topics that the source does not describe, each with the reason.
    #[must_use]
    pub fn hidden(&self) -> BTreeMap<Arc<str>, String> {
        self.lock().hidden.clone()
    }
}
