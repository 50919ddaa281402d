//! The topics for MirrorMaker 2's clients, as this process writes them.

use std::collections::BTreeMap;

use strait_core::mm2::Mm2Topic;

use super::LinkStatus;

/// One of the topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mm2Figures {
    /// Records written since the process began.
    pub records: u64,
    /// Why it cannot be written; `None` while it can, and where another process writes it.
    pub failing: Option<String>,
}

/// The topics that this process has written, or should have.
pub type Mm2Status = BTreeMap<Mm2Topic, Mm2Figures>;

impl LinkStatus {
    /// Changes what is known of a topic for MirrorMaker 2's clients.
    pub fn mm2_mut<T>(&self, topic: Mm2Topic, change: impl FnOnce(&mut Mm2Figures) -> T) -> T {
        change(self.lock().mm2.entry(topic).or_default())
    }

    /// Returns the topics for MirrorMaker 2's clients.
    #[must_use]
    pub fn mm2(&self) -> Mm2Status {
        self.lock().mm2.clone()
    }
}
