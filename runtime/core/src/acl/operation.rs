//! The operations of Kafka's access control.

/// An operation of Kafka's access control (`org.apache.kafka.common.acl.AclOperation`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Everything that can be done with it.
    All,
    /// Reads a topic's records, or takes part in a group.
    Read,
    /// Writes a topic's records, or under a transactional id.
    Write,
    /// Creates a topic.
    Create,
    /// Deletes a topic, or records of it.
    Delete,
    /// Changes a topic, for example its number of partitions.
    Alter,
    /// Sees that a topic exists, or what a group has committed.
    Describe,
    /// Sees a topic's settings.
    DescribeConfigs,
    /// Changes a topic's settings.
    AlterConfigs,
    /// Writes idempotently, without a transactional id.
    IdempotentWrite,
    /// Any other, by its number in Kafka's protocol.
    Other(u32),
}

impl Operation {
    const ALL: u32 = 2;
    const READ: u32 = 3;
    const WRITE: u32 = 4;
    const CREATE: u32 = 5;
    const DELETE: u32 = 6;
    const ALTER: u32 = 7;
    const DESCRIBE: u32 = 8;
    const DESCRIBE_CONFIGS: u32 = 10;
    const ALTER_CONFIGS: u32 = 11;
    const IDEMPOTENT_WRITE: u32 = 12;

    /// Returns the name that Kafka's tools take.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "All",
            Self::Read => "Read",
            Self::Write => "Write",
            Self::Create => "Create",
            Self::Delete => "Delete",
            Self::Alter => "Alter",
            Self::Describe => "Describe",
            Self::DescribeConfigs => "DescribeConfigs",
            Self::AlterConfigs => "AlterConfigs",
            Self::IdempotentWrite => "IdempotentWrite",
            Self::Other(_) => "Unknown",
        }
    }
}

impl Operation {
    /// Returns the number in Kafka's protocol.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::All => Self::ALL,
            Self::Read => Self::READ,
            Self::Write => Self::WRITE,
            Self::Create => Self::CREATE,
            Self::Delete => Self::DELETE,
            Self::Alter => Self::ALTER,
            Self::Describe => Self::DESCRIBE,
            Self::DescribeConfigs => Self::DESCRIBE_CONFIGS,
            Self::AlterConfigs => Self::ALTER_CONFIGS,
            Self::IdempotentWrite => Self::IDEMPOTENT_WRITE,
            Self::Other(number) => number,
        }
    }
}

impl From<u32> for Operation {
    fn from(number: u32) -> Self {
        match number {
            Self::ALL => Self::All,
            Self::READ => Self::Read,
            Self::WRITE => Self::Write,
            Self::CREATE => Self::Create,
            Self::DELETE => Self::Delete,
            Self::ALTER => Self::Alter,
            Self::DESCRIBE => Self::Describe,
            Self::DESCRIBE_CONFIGS => Self::DescribeConfigs,
            Self::ALTER_CONFIGS => Self::AlterConfigs,
            Self::IDEMPOTENT_WRITE => Self::IdempotentWrite,
            other => Self::Other(other),
        }
    }
}
