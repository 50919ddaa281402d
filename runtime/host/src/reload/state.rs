//! Which chain of a link is active and which is on standby.

use std::sync::Arc;
use std::time::Duration;

use super::version::ChainVersion;

/// The chains of a link at one moment.
#[derive(Clone)]
pub(super) struct ReloadState {
    /// Increases with every change; lanes poll it before each batch.
    pub(super) revision: u64,
    pub(super) active: Arc<ChainVersion>,
    pub(super) standby: Option<Standby>,
    /// The chain that a rollback brings back.
    pub(super) previous: Option<Arc<ChainVersion>>,
}

/// The chain beside the active one.
#[derive(Clone)]
pub(super) struct Standby {
    pub(super) role: Role,
    pub(super) version: Arc<ChainVersion>,
    /// When the probation or the trial ends.
    pub(super) until: Duration,
    /// The probation that follows a trial.
    pub(super) probation: Duration,
}

/// Why a chain is on standby.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It is the previous chain; the active one is on probation.
    Previous,
    /// It is a candidate whose judgements are compared and discarded.
    Shadow,
    /// It is a candidate that judges this partition number.
    Canary(i32),
}

impl ReloadState {
    pub(super) fn new(active: Arc<ChainVersion>) -> Self {
        Self { revision: 1, active, standby: None, previous: None }
    }

    /// Makes a chain active, on probation: the previous one goes on standby. If that would protect
    /// less, there is no way back by itself.
    pub(super) fn activate(&mut self, version: Arc<ChainVersion>, until: Duration, probation: Duration) {
        let falls_back = version.falls_back;
        let previous = std::mem::replace(&mut self.active, version);
        self.previous = Some(Arc::clone(&previous));
        let standby = Standby { role: Role::Previous, version: previous, until, probation };
        self.standby = Some(standby).filter(|_| falls_back);
    }

    /// Goes back to a chain; nothing is left to go back to.
    pub(super) fn restore(&mut self, version: Arc<ChainVersion>) {
        self.active = version;
        self.standby = None;
        self.previous = None;
    }
}
