//! The operations of Kafka's access control.

/// An operation of Kafka's access control (`org.apache.kafka.common.acl.AclOperation`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Reads a topic's records.
    Read,
    /// Writes a topic's records.
    Write,
    /// Creates a topic.
    Create,
    /// Changes a topic, for example its number of partitions.
    Alter,
    /// Sees that a topic exists.
    Describe,
    /// Sees a topic's settings.
    DescribeConfigs,
    /// Any other, by its number in Kafka's protocol.
    Other(u32),
}

impl Operation {
    const READ: u32 = 3;
    const WRITE: u32 = 4;
    const CREATE: u32 = 5;
    const ALTER: u32 = 7;
    const DESCRIBE: u32 = 8;
    const DESCRIBE_CONFIGS: u32 = 10;
}

impl From<u32> for Operation {
    fn from(number: u32) -> Self {
        match number {
            Self::READ => Self::Read,
            Self::WRITE => Self::Write,
            Self::CREATE => Self::Create,
            Self::ALTER => Self::Alter,
            Self::DESCRIBE => Self::Describe,
            Self::DESCRIBE_CONFIGS => Self::DescribeConfigs,
            other => Self::Other(other),
        }
    }
}
