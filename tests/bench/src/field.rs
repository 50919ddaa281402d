//! Two clusters and what every benchmark does with them.

use std::cell::Cell;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use strait_test_cluster::{Cluster, ClusterSpec};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::error::BenchError;
use crate::host;
use crate::kafka::Kafka;
use crate::line::{Failed, Line, Rates};
use crate::replicator::{Job, Replicator, System};
use crate::stop;

/// The options that all benchmarks share.
#[derive(Debug, Clone)]
pub struct Settings {
    pub strait: PathBuf,
    /// The binary of [`System::StraitBefore`].
    pub before: Option<PathBuf>,
    pub link_lines: Vec<String>,
    pub base_dir: Option<PathBuf>,
    pub systems: Vec<System>,
}

impl Settings {
    fn binary(&self, system: System) -> &Path {
        let before = self.before.as_deref().filter(|_| system == System::StraitBefore);
        before.unwrap_or(&self.strait)
    }
}

/// Collects results, and writes each to the file at once, so that an interrupted benchmark keeps
/// what it has.
pub struct Results {
    pub lines: Vec<Line>,
    file: Option<File>,
}

impl Results {
    pub fn new(file: Option<File>) -> Self {
        Self { lines: Vec::new(), file }
    }

    /// # Errors
    /// The file system's.
    pub fn add(&mut self, line: Line) -> Result<(), BenchError> {
        if let Some(file) = &mut self.file {
            let text = serde_json::to_string(&line).unwrap_or_default();
            writeln!(file, "{text}").map_err(BenchError::io("writing results"))?;
        }
        self.lines.push(line);
        Ok(())
    }

    /// Notes a run's result, or its failure; only an interruption ends the benchmark.
    ///
    /// # Errors
    /// [`BenchError::Interrupted`], or the file system's.
    pub fn note(
        &mut self,
        bench: &str,
        system: System,
        round: usize,
        outcome: Result<Line, BenchError>,
    ) -> Result<(), BenchError> {
        match outcome {
            Ok(line) => self.add(line),
            Err(BenchError::Interrupted) => Err(BenchError::Interrupted),
            Err(error) => {
                let reason = error.to_string();
                eprintln!("{bench}, {}, run {round}: FAILED: {reason}", system.name());
                self.add(Line::Failed(Failed { bench: bench.into(), system: system.name().into(), round, reason }))
            }
        }
    }
}

/// Two clusters of one broker each.
pub struct Field {
    pub source: Kafka,
    pub target: Kafka,
    pub source_cluster: Cluster,
    pub target_cluster: Cluster,
    pub settings: Settings,
    folder: TempDir,
    tags: Cell<u32>,
}

impl Field {
    /// Starts both clusters, with proxies in front if asked.
    ///
    /// # Errors
    /// Those of starting a test cluster.
    pub fn start(runtime: &Runtime, settings: &Settings, proxies: bool) -> Result<Self, BenchError> {
        let spec = |name: &str| ClusterSpec {
            heap_mb: 1024,
            production_jvm: true,
            per_broker_proxy: proxies,
            base_dir: settings.base_dir.clone(),
            ..ClusterSpec::new(name).with_property("log.segment.delete.delay.ms", "1000")
        };
        let source_cluster = runtime.block_on(Cluster::start(spec("source")))?;
        let target_cluster = runtime.block_on(Cluster::start(spec("target")))?;
        let source = Kafka::connect(source_cluster.internal_bootstrap())?;
        let target = Kafka::connect(target_cluster.internal_bootstrap())?;
        let mut builder = tempfile::Builder::new();
        builder.prefix("strait-bench-");
        let folder = match &settings.base_dir {
            Some(base) => builder.tempdir_in(base),
            None => builder.tempdir(),
        }
        .map_err(BenchError::io("making a folder"))?;
        let settings = settings.clone();
        Ok(Self { source, target, source_cluster, target_cluster, settings, folder, tags: Cell::new(0) })
    }

    /// A name that no run had before.
    pub fn tag(&self) -> String {
        let next = self.tags.get() + 1;
        self.tags.set(next);
        format!("s{next:03}")
    }

    /// A run over the direct lines.
    pub fn job<'a>(&'a self, system: System, tag: &'a str, topics: &'a str) -> Job<'a> {
        Job {
            system,
            tag,
            source: &self.source.bootstrap,
            target: &self.target.bootstrap,
            topics,
            folder: self.folder.path(),
            strait: self.settings.binary(system),
            link_lines: &self.settings.link_lines,
        }
    }

    /// Deletes whatever a run left on both clusters.
    ///
    /// # Errors
    /// The library's.
    pub fn clean(&self, job: &Job<'_>) -> Result<(), BenchError> {
        // After Ctrl-C the brokers may have ended too.
        stop::check()?;
        self.source.delete_where(|topic| job.owns(topic))?;
        self.target.delete_where(|topic| job.owns(topic))?;
        Ok(())
    }

    /// CPU time of all brokers so far, in microseconds.
    pub fn broker_cpu_us(&self) -> u64 {
        let brokers = self.source_cluster.brokers().iter().chain(self.target_cluster.brokers());
        brokers.filter_map(|broker| host::cpu_us(broker.pid()?)).sum()
    }

    /// Looks at a copy: how much is committed, and what it has cost so far.
    ///
    /// # Errors
    /// The library's, or that the program has ended.
    pub fn sample(&self, replicator: &mut Replicator, topic: &str, partitions: i32) -> Result<Sample, BenchError> {
        let end = self.target.stable_end(topic, partitions)?;
        let cpu_us = replicator.cpu_us()?;
        Ok(Sample { at: replicator.started.elapsed(), end, cpu_us, broker_cpu_us: self.broker_cpu_us() })
    }

    /// Waits for the first committed record.
    ///
    /// # Errors
    /// [`BenchError::Late`] after `deadline`.
    pub fn first(
        &self,
        replicator: &mut Replicator,
        topic: &str,
        partitions: i32,
        deadline: Duration,
    ) -> Result<Sample, BenchError> {
        let began = Instant::now();
        while self.target.partitions(topic)? != Some(partitions) {
            replicator.cpu_us()?;
            if began.elapsed() > deadline {
                return Err(replicator.late("copying", deadline, "no topic on the target"));
            }
            stop::pause(SAMPLE_EVERY)?;
        }
        self.target.renew()?;
        loop {
            let sample = self.sample(replicator, topic, partitions)?;
            if sample.end > 0 {
                return Ok(sample);
            }
            if began.elapsed() > deadline {
                return Err(replicator.late("copying", deadline, "no record on the target"));
            }
            std::thread::sleep(SAMPLE_EVERY);
        }
    }
}

/// Interval at which a copy is polled.
pub const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// A sample of a running copy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// Since the start of the program.
    pub at: Duration,
    /// Sum of the last stable offsets: records, and markers of transactions.
    pub end: u64,
    pub cpu_us: u64,
    pub broker_cpu_us: u64,
}

impl Sample {
    /// Returns the difference between `self` and `later`, over `records` records.
    pub fn rates(&self, later: &Self, records: u64, value_bytes: usize) -> Rates {
        let seconds = later.at.saturating_sub(self.at).as_secs_f64();
        let per_record = |from: u64, to: u64| to.saturating_sub(from) as f64 / records as f64;
        let records_s = records as f64 / seconds;
        Rates {
            seconds,
            records,
            cpu_us: per_record(self.cpu_us, later.cpu_us),
            broker_cpu_us: per_record(self.broker_cpu_us, later.broker_cpu_us),
            records_s,
            mb_s: records_s * value_bytes as f64 / 1e6,
        }
    }
}
