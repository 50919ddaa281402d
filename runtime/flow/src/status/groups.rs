//! The consumer groups whose offsets the link keeps on the target.

use std::collections::BTreeMap;

use strait_core::groups::State;

use super::LinkStatus;

/// The knowledge that this process has of them while it coordinates the link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupsStatus {
    /// The number of groups in each state.
    pub states: BTreeMap<State, u64>,
    /// Offsets that the target has taken since the process began.
    pub written: u64,
    /// Why groups cannot be read, or the offset map; empty if they can.
    pub trouble: String,
}

impl LinkStatus {
    /// Changes what is known of the groups.
    pub fn groups_mut<T>(&self, change: impl FnOnce(&mut GroupsStatus) -> T) -> T {
        change(&mut self.lock().groups)
    }

    /// Returns what is known of the groups.
    #[must_use]
    pub fn groups(&self) -> GroupsStatus {
        self.lock().groups.clone()
    }
}
