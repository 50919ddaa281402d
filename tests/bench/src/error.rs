use std::path::PathBuf;

use rdkafka::error::KafkaError;
use strait_e2e::ClientError;
use strait_test_cluster::ClusterError;

/// An error that ends a benchmark, or one run of it.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Brokers or proxies.
    #[error(transparent)]
    Rig(#[from] ClusterError),
    /// Topics.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The client library.
    #[error("{what}: {error}")]
    Kafka { what: String, error: KafkaError },
    /// The file system or a process.
    #[error("{what}: {error}")]
    Io { what: String, error: std::io::Error },
    /// A result file that is not ours.
    #[error("{} line {line}: {error}; it must come from --json", path.display())]
    Json { path: PathBuf, line: usize, error: serde_json::Error },
    /// A replicator ended by itself.
    #[error("{system} ended with {status}; its log ends with:\n{tail}")]
    Ended { system: String, status: String, tail: String },
    /// A condition did not come about in time.
    #[error("{system}: not {wanted} within {waited_s} s ({seen}); its log ends with:\n{tail}")]
    Late { system: String, wanted: String, waited_s: u64, seen: String, tail: String },
    /// A copy with records lost, doubled or out of order: its figure must not count.
    #[error("{system}: the copy is wrong: {reason}")]
    Wrong { system: String, reason: String },
    /// The source topic is not what was meant to be in it.
    #[error("preloading {topic}: {reason}")]
    Preload { topic: String, reason: String },
    /// `strait plugin …` failed.
    #[error("strait {command}: {why}")]
    Plugin { command: String, why: String },
    /// The Strait binary is missing.
    #[error("no strait binary at {}; build it with ./dev build or name it with --strait", path.display())]
    NoStrait { path: PathBuf },
    /// The system strait-before without a binary.
    #[error("the system strait-before needs the other binary: --before FILE")]
    NoBefore,
    /// Ctrl-C or SIGTERM.
    #[error("interrupted")]
    Interrupted,
}

impl BenchError {
    /// Wraps an error of the client library.
    pub fn kafka(what: impl Into<String>) -> impl FnOnce(KafkaError) -> Self {
        let what = what.into();
        move |error| Self::Kafka { what, error }
    }

    /// Wraps an error of the system.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }
}
