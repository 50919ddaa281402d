//! Consumer groups of the two clusters, and the offset map that leads from one to the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strait_core::groups::{Committed, Place, Translated, Write, Written};

use super::PortError;

/// Groups of a cluster.
#[derive(Clone, Debug, Default)]
pub struct GroupList {
    /// Their names.
    pub names: Vec<Arc<str>>,
    /// Why the groups of some brokers are missing; `None` if the list is whole.
    pub missing: Option<PortError>,
}

/// The offsets of consumer groups. Many groups are asked for at once; each has an answer of its
/// own, in the order of the question.
#[async_trait]
pub trait GroupOffsets: Send + Sync {
    /// Returns whether the link keeps the offsets of a group.
    fn selects(&self, group: &str) -> bool;

    /// Lists the groups of the source whose offsets the link keeps on the target.
    ///
    /// # Errors
    /// [`PortError`] if no broker answers.
    async fn list(&self) -> Result<GroupList, PortError>;

    /// Reads what groups have committed on the source, whether or not a transaction of theirs is
    /// open.
    async fn at_source(&self, groups: &[Arc<str>]) -> Vec<Result<Committed, PortError>>;

    /// Reads what groups have committed on the target.
    async fn at_target(&self, groups: &[Arc<str>]) -> Vec<Result<Committed, PortError>>;

    /// Writes offsets on the target as one who is no member of the group, which brokers refuse
    /// while it has members. No request begins after `within`.
    async fn write(&self, writes: &[(Arc<str>, Vec<Write>)], within: Duration) -> Vec<BTreeMap<Place, Written>>;
}

/// The offset map of a link, as it grows.
#[async_trait]
pub trait GroupMap: Send + Sync {
    /// Reads what was written since the last call.
    ///
    /// # Errors
    /// [`PortError`]: the previous answers stay.
    async fn refresh(&self) -> Result<(), PortError>;

    /// Returns where a group with these offsets on the source resumes on the target.
    ///
    /// # Errors
    /// [`PortError`] if a cluster does not answer.
    async fn translate(&self, committed: &Committed) -> Result<Translated, PortError>;
}
