//! Both ends of a link, as plans are made of them and carried out.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use strait_core::Side;
use strait_core::plan::{Action, Answer, Facts, Presence};

use super::{PortError, SourceTopic};

/// Reads what a plan is made of from both clusters of a link, and carries actions out.
#[async_trait]
pub trait Planner: Send + Sync {
    /// Reads the topics of both ends; `named` are the source topics with their names on the target.
    /// With `acls`, reads the access lists too. A right that is missing makes a part unknown and
    /// not the whole.
    ///
    /// # Errors
    /// [`PortError`] when a cluster does not answer.
    async fn facts(&self, named: Vec<(SourceTopic, Arc<str>)>, acls: bool) -> Result<Facts, PortError>;

    /// Asks one cluster for topics by their names. A topic without an answer is not in it.
    ///
    /// # Errors
    /// [`PortError`] when the cluster does not answer.
    async fn presence(&self, side: Side, topics: Vec<Arc<str>>) -> Result<BTreeMap<Arc<str>, Presence>, PortError>;

    /// Carries an action out, in [`strait_core::control::turn::REQUEST_MAX`].
    ///
    /// # Errors
    /// [`PortError`] when the target does not answer, or answers what may pass.
    async fn carry_out(&self, action: Action) -> Result<Answer, PortError>;
}
