//! The lines of a result file, one JSON object each.

use serde::{Deserialize, Serialize};

/// A line of a result file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Line {
    Machine(Machine),
    Throughput(Throughput),
    Latency(Latency),
    Wan(Wan),
    Probe(Probe),
    Idle(Idle),
    Failed(Failed),
}

/// The source of the figures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    pub command: String,
    pub cores: usize,
    pub cpu: String,
    pub memory_gib: u64,
    /// Load average of the minute before.
    pub load: f64,
}

/// CPU and speed between two moments of one run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Rates {
    pub seconds: f64,
    pub records: u64,
    /// User and system time of the replicator, microseconds per record.
    pub cpu_us: f64,
    /// Of both brokers.
    pub broker_cpu_us: f64,
    pub records_s: f64,
    /// Values only; 1 MB is 10^6 bytes.
    pub mb_s: f64,
}

/// One complete, verified copy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Throughput {
    pub system: String,
    pub value_bytes: usize,
    pub round: usize,
    /// From the first committed record on the target to the last one.
    pub marginal: Rates,
    /// From the start of the program to the last record.
    pub all: Rates,
    pub first_record_s: f64,
    pub peak_mib: f64,
    pub load: f64,
}

/// Latencies of one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Latency {
    /// `none` is the same reader on the source topic itself.
    pub system: String,
    pub round: usize,
    pub records: usize,
    pub records_s: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    pub cpu_us: f64,
    pub load: f64,
}

/// One run over a long line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wan {
    pub system: String,
    pub layout: String,
    pub round: usize,
    pub round_trip_ms: u64,
    /// TCP window of each connection and direction, KiB; 0 is none.
    #[serde(default)]
    pub tcp_window_kib: u64,
    pub window: Rates,
    pub peak_mib: f64,
    pub load: f64,
}

/// The bandwidth of the proxy itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Probe {
    pub round_trip_ms: u64,
    /// As of [`Wan`].
    #[serde(default)]
    pub tcp_window_kib: u64,
    pub connections: usize,
    pub mb_s: f64,
}

/// A link with many partitions and little to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Idle {
    pub system: String,
    pub partitions: usize,
    pub records_s: f64,
    pub seconds: f64,
    /// Share of one core.
    pub cpu_percent: f64,
    pub rss_mib: f64,
    pub peak_mib: f64,
    pub threads: usize,
    /// From the start until every partition had its copy.
    pub ready_s: f64,
    pub load: f64,
}

/// A run that gave no figure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failed {
    pub bench: String,
    pub system: String,
    pub round: usize,
    pub reason: String,
}
