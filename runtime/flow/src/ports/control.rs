//! The control topic of a link, and the work that concerns the link as a whole.

use std::time::Duration;

use async_trait::async_trait;
use strait_core::control::turn::Permit;
use strait_core::control::{Control, ControlRecord};

use super::PortError;

/// The control topic of a link.
#[async_trait]
pub trait ControlLog: Send + Sync {
    /// Initialises the coordinator's transactional id, which fences whoever has it. Dropping the
    /// call gives it up: the id is not initialised any more.
    ///
    /// # Errors
    /// [`PortError`].
    async fn take(&self) -> Result<Box<dyn ControlWriter>, PortError>;

    /// Reads the topic to its high watermark, and waits for transactions that are open below.
    ///
    /// # Errors
    /// [`PortError`].
    async fn read(&self) -> Result<Control, PortError>;

    /// Returns a reader of the topic from its start.
    ///
    /// # Errors
    /// [`PortError`].
    async fn follow(&self) -> Result<Box<dyn ControlTail>, PortError>;

    /// Waits until the cluster may take a login that it has refused. Cancel safe.
    async fn login_changed(&self) {
        std::future::pending().await
    }
}

/// Writes the control topic, under the coordinator's transactional id.
#[async_trait]
pub trait ControlWriter: Send {
    /// Writes records in one transaction, in bounded time.
    ///
    /// # Errors
    /// [`PortError`]: they may be written or not, and the writer cannot be used any more.
    async fn commit(&mut self, records: &[ControlRecord]) -> Result<(), PortError>;
}

/// A committed record of the control topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlEntry {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// It was in the topic before the reader was made.
    pub is_old: bool,
}

/// Reads the committed records of the control topic, one after the other.
#[async_trait]
pub trait ControlTail: Send {
    /// Waits for the next records, for a second or so: there may be none. Cancel safe.
    ///
    /// # Errors
    /// [`PortError`]: the reader cannot be used any more.
    async fn next(&mut self) -> Result<Vec<ControlEntry>, PortError>;

    /// Returns why nothing has come for some seconds, where a cause is known.
    fn trouble(&self) -> Option<String> {
        None
    }
}

/// The time of the link's coordinator, as [`super::Clock`] tells it.
pub type Now<'a> = &'a (dyn Fn() -> Duration + Send + Sync);

/// Work that changes clusters for the link as a whole. Its coordinator does it, in batches that it
/// has announced. A link has several, and none waits for another one but while a batch runs.
#[async_trait]
pub trait LinkWork: Send + Sync {
    /// Returns the name of the work in messages, such as `settings`.
    fn name(&self) -> &'static str;

    /// A turn of the coordinator begins. What was found in an earlier one may rest on records that
    /// were never written.
    fn begins(&self) {}

    /// Waits until there is a batch to carry out. It may read, and changes nothing. `known` is the
    /// control topic as it is now, and stays true for the records that only this work writes. It is
    /// called again after each batch of this work, and when a turn begins; the previous call is
    /// dropped then. So what it has found by now, and when it has read, is kept in the work itself.
    async fn wanted(&self, known: Control);

    /// Carries out what is to be done by now. No request begins that `permit` does not allow at
    /// that moment, and each ends within [`strait_core::control::turn::REQUEST_MAX`]: what is left
    /// is for the next batch. Returns what the control topic is to say of it.
    ///
    /// # Errors
    /// [`PortError`] if it failed as a whole: it is told, and retried after a while. The other
    /// works of the batch are carried out all the same.
    async fn carry_out(&self, permit: Permit, now: Now<'_>) -> Result<Vec<ControlRecord>, PortError>;
}
