use std::io;
use std::path::PathBuf;

/// An error while a cluster is started or disturbed. Each message says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Apache Kafka's jars are not where they are looked for.
    #[error("no Kafka jars in {path}: run ./dev kafka fetch, or set STRAIT_KAFKA_LIBS to a folder of jars")]
    NoJars {
        /// The folder looked into.
        path: PathBuf,
    },
    /// The specification asks for something that does not exist.
    #[error("cluster {cluster}: {reason}")]
    Spec {
        /// Name of the cluster.
        cluster: String,
        /// The mistake, and the allowed values.
        reason: String,
    },
    /// The operating system refused something.
    #[error("{what}: {error}")]
    Io {
        /// The operation.
        what: String,
        /// The refusal.
        error: io::Error,
    },
    /// No free port was found in the range test clusters use.
    #[error("no free TCP port between {first} and {last}: end the processes that hold them")]
    NoPort {
        /// First port of the range.
        first: u16,
        /// Last port of the range.
        last: u16,
    },
    /// OpenSSL refused to make a certificate.
    #[error("making the certificates of a test cluster: {error}")]
    Certificates {
        /// OpenSSL's error.
        error: String,
    },
    /// Kafka's StorageTool refused to format a broker's folder.
    #[error("cluster {cluster}, broker {broker}: formatting the storage failed; StorageTool said:\n{output}")]
    Format {
        /// Name of the cluster.
        cluster: String,
        /// Node id.
        broker: usize,
        /// The tool's output.
        output: String,
    },
    /// A broker's process ended while it was starting.
    #[error("cluster {cluster}, broker {broker} ended while starting ({status}); end of {log}:\n{tail}")]
    Ended {
        /// Name of the cluster.
        cluster: String,
        /// Node id.
        broker: usize,
        /// Exit status as the system words it.
        status: String,
        /// The broker's log file.
        log: PathBuf,
        /// The last lines of the log.
        tail: Box<str>,
    },
    /// A broker did not become ready, or did not stop, in time.
    #[error(
        "cluster {cluster}, broker {broker} was not {wanted} after {waited_s} s (last: {last}); end of {log}:\n{tail}"
    )]
    Deadline {
        /// Name of the cluster.
        cluster: String,
        /// Node id.
        broker: usize,
        /// The state waited for.
        wanted: &'static str,
        /// Seconds waited.
        waited_s: u64,
        /// The last answer or error seen.
        last: Box<str>,
        /// The broker's log file.
        log: PathBuf,
        /// The last lines of the log.
        tail: Box<str>,
    },
    /// A broker or proxy index that the cluster does not have.
    #[error("cluster {cluster} has no {what} {index}")]
    NoSuch {
        /// Name of the cluster.
        cluster: String,
        /// `broker` or `proxy`.
        what: &'static str,
        /// The index asked for, from 0.
        index: usize,
    },
    /// A signal was to be sent to a broker that is not running.
    #[error("cluster {cluster}, broker {broker} is not running: restart() it first")]
    NotRunning {
        /// Name of the cluster.
        cluster: String,
        /// Node id.
        broker: usize,
    },
    /// A probe was answered with something that is not Kafka's protocol.
    #[error("{address} answered {reason}")]
    Wire {
        /// Address probed.
        address: String,
        /// The mistake in the answer.
        reason: String,
    },
}

impl ClusterError {
    /// Wraps an I/O error with what was tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }
}
