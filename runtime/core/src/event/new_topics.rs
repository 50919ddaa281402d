//! The event about topics that plugins name and that are not created.

use crate::offset::SourceOffset;
use crate::topic::PartitionKey;

/// Plugins send records to more topics that do not exist than may be created for that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{partition}: plugins send records to topics that do not exist, and {created} topics were created for that already (new_topics_max); such records are refused from offset {offset} on"
)]
pub struct NewTopicsRefused {
    /// The source partition of the first such record.
    pub partition: PartitionKey,
    /// Its offset.
    pub offset: SourceOffset,
    /// Topics that were created in this process because plugins named them for single records.
    pub created: usize,
}
