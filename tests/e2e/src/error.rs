use rdkafka::error::KafkaError;

/// An error while a test sets up or reads topics.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The client library refused or failed.
    #[error("{what} on topic {topic}: {error}")]
    Kafka {
        /// The operation.
        what: &'static str,
        /// The topic, empty where none is concerned.
        topic: String,
        /// The library's error.
        error: KafkaError,
    },
    /// A raw call of librdkafka failed.
    #[error("{what} on topic {topic}: {reason}")]
    Raw {
        /// The operation.
        what: &'static str,
        /// The topic.
        topic: String,
        /// librdkafka's words.
        reason: String,
    },
    /// A condition did not come about in time.
    #[error("topic {topic}: not {wanted} within {waited_s} s; look at the brokers' logs (STRAIT_KEEP_LOGS=1)")]
    Deadline {
        /// The topic.
        topic: String,
        /// The condition.
        wanted: String,
        /// Seconds waited.
        waited_s: u64,
    },
}

impl ClientError {
    /// Wraps an error of the client library.
    pub(crate) fn kafka(what: &'static str, topic: &str) -> impl FnOnce(KafkaError) -> Self {
        let topic = topic.to_owned();
        move |error| Self::Kafka { what, topic, error }
    }
}
