//! The programs that are compared, as child processes.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use strait_test_cluster::KafkaJars;

use crate::error::BenchError;
use crate::{host, stop};

const TAIL_BYTES: u64 = 3_000;
/// SIGTERM, from `signal(7)`; the same on every Linux.
const SIGTERM: i32 = 15;
const STOP_DEADLINE: Duration = Duration::from_secs(40);

/// The replicators that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum System {
    /// MirrorMaker 2 with the properties that made it fastest.
    Mm2Tuned,
    /// MirrorMaker 2 as it comes, but with one task per partition.
    Mm2Default,
    /// Strait, exactly-once, without plugins.
    StraitEos,
    /// The same with the bundled `filter` reading every key and keeping everything.
    StraitFilter,
    /// Strait, at-least-once, without plugins.
    StraitAlo,
    /// Another build of Strait (`--before`), exactly-once, without plugins.
    StraitBefore,
}

impl System {
    /// The name in results and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mm2Tuned => "mm2-tuned",
            Self::Mm2Default => "mm2-default",
            Self::StraitEos => "strait-eos",
            Self::StraitFilter => "strait-filter",
            Self::StraitAlo => "strait-alo",
            Self::StraitBefore => "strait-before",
        }
    }

    pub fn is_strait(self) -> bool {
        !matches!(self, Self::Mm2Tuned | Self::Mm2Default)
    }
}

/// The topics of one run. The tag is unique to the run: it names the source cluster, hence the
/// topics on the target, the consumer group and the link, so that no run finds anything of another.
pub struct Job<'a> {
    pub system: System,
    pub tag: &'a str,
    pub source: &'a str,
    pub target: &'a str,
    /// Regular expression for the source topics.
    pub topics: &'a str,
    /// Folder of configuration and log.
    pub folder: &'a Path,
    pub strait: &'a Path,
    /// More lines for Strait's `[[links]]`.
    pub link_lines: &'a [String],
}

impl Job<'_> {
    /// Returns a source topic's name on the target: both systems prefix it with the source
    /// cluster's name.
    pub fn target_topic(&self, topic: &str) -> String {
        format!("{}.{topic}", self.tag)
    }

    /// Reports whether a topic, on either cluster, belongs to this run.
    pub fn owns(&self, topic: &str) -> bool {
        let tag = self.tag;
        topic.starts_with(&format!("{tag}."))
            || topic.starts_with(&format!("strait.{tag}."))
            || (topic.starts_with("mm2-") && topic.ends_with(".internal"))
            || topic == "heartbeats"
    }

    /// Starts the program.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn start(&self) -> Result<Replicator, BenchError> {
        let name = format!("{}-{}", self.tag, self.system.name());
        let log = self.folder.join(format!("{name}.log"));
        let command = if self.system.is_strait() { self.strait_command(&name)? } else { self.mm2_command(&name)? };
        Replicator::start(self.system, command, log)
    }

    fn strait_command(&self, name: &str) -> Result<Command, BenchError> {
        let path = self.folder.join(format!("{name}.toml"));
        write(&path, &self.strait_toml())?;
        let mut command = Command::new(self.strait);
        command.arg("run").arg("-c").arg(path);
        Ok(command)
    }

    fn strait_toml(&self) -> String {
        let Self { tag, source, target, topics, .. } = self;
        let delivery = if self.system == System::StraitAlo { "at-least-once" } else { "exactly-once" };
        let mut text = format!(
            "[clusters.{tag}]\nbootstrap_servers = \"{source}\"\n\n\
             [clusters.target]\nbootstrap_servers = \"{target}\"\n\n\
             [[links]]\nname = \"{tag}\"\nsource = \"{tag}\"\ntarget = \"target\"\ntopics = ['{topics}']\n\
             naming = \"prefix\"\ndelivery = \"{delivery}\"\nstart = \"earliest\"\n"
        );
        for line in self.link_lines {
            text.push_str(line);
            text.push('\n');
        }
        if self.system == System::StraitFilter {
            text.push_str("\n[[links.plugins]]\nplugin = \"filter\"\nconfig = { keep = { key_prefix = \"key\" } }\n");
        }
        text
    }

    fn mm2_command(&self, name: &str) -> Result<Command, BenchError> {
        let path = self.folder.join(format!("{name}.properties"));
        write(&path, &self.mm2_properties())?;
        let log4j = self.folder.join("log4j2.properties");
        write(&log4j, LOG4J)?;
        let jars = KafkaJars::locate()?;
        let mut command = Command::new("java");
        // Kafka's connect-mirror-maker.sh starts it with -Xms256M -Xmx2G.
        let heap = if self.system == System::Mm2Tuned { "-Xms2g" } else { "-Xms256m" };
        command
            .args([heap, "-Xmx2g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"])
            .args(["-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent"])
            .arg("-Djava.awt.headless=true")
            .arg(format!("-Dlog4j2.configurationFile={}", log4j.display()))
            .arg("-cp")
            .arg(jars.class_path())
            .arg("org.apache.kafka.connect.mirror.MirrorMaker")
            .arg(path);
        Ok(command)
    }

    fn mm2_properties(&self) -> String {
        let Self { tag, source, target, topics, .. } = self;
        let mut text = format!(
            "clusters = {tag}, target\n\
             {tag}.bootstrap.servers = {source}\n\
             target.bootstrap.servers = {target}\n\
             {tag}->target.enabled = true\n\
             {tag}->target.topics = {topics}\n\
             target->{tag}.enabled = false\n\
             target->{tag}.emit.heartbeats.enabled = false\n\
             replication.factor = 1\n\
             offset-syncs.topic.replication.factor = 1\n\
             checkpoints.topic.replication.factor = 1\n\
             heartbeats.topic.replication.factor = 1\n\
             config.storage.replication.factor = 1\n\
             offset.storage.replication.factor = 1\n\
             status.storage.replication.factor = 1\n\
             tasks.max = 4\n"
        );
        if self.system == System::Mm2Tuned {
            for line in MM2_TUNED {
                text.push_str(&line.replace("SOURCE", tag).replace("TARGET", "target"));
                text.push('\n');
            }
        }
        text
    }
}

const MM2_TUNED: &[&str] = &[
    "SOURCE.consumer.max.poll.records = 5000",
    "SOURCE.consumer.fetch.min.bytes = 100000",
    "SOURCE.consumer.fetch.max.bytes = 52428800",
    "SOURCE.consumer.max.partition.fetch.bytes = 4194304",
    "SOURCE.consumer.receive.buffer.bytes = 2097152",
    "TARGET.producer.batch.size = 524288",
    "TARGET.producer.linger.ms = 20",
    "TARGET.producer.buffer.memory = 67108864",
    "TARGET.producer.compression.type = lz4",
    "TARGET.producer.max.request.size = 10485760",
];

const LOG4J: &str = "\
rootLogger.level = WARN
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %m (%c)%n%throwable
";

fn write(path: &Path, text: &str) -> Result<(), BenchError> {
    fs::write(path, text).map_err(BenchError::io(format!("writing {}", path.display())))
}

/// A running program. Dropping it kills and reaps it.
pub struct Replicator {
    pub system: System,
    pub started: Instant,
    child: Child,
    log: PathBuf,
    peak_kib: u64,
}

impl Replicator {
    fn start(system: System, mut command: Command, log: PathBuf) -> Result<Self, BenchError> {
        let what = || format!("starting {}", system.name());
        let output = File::create(&log).map_err(BenchError::io(what()))?;
        let errors = output.try_clone().map_err(BenchError::io(what()))?;
        // Variables that configure the benchmark's brokers would override Strait's configuration.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("STRAIT_")) {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let started = Instant::now();
        let child = strait_test_cluster::spawn(command).map_err(BenchError::io(what()))?;
        Ok(Self { system, started, child, log, peak_kib: 0 })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time since its start, in microseconds; notes the peak of its memory by the way.
    ///
    /// # Errors
    /// [`BenchError::Ended`] if it has ended: nothing that is measured here ends by itself.
    pub fn cpu_us(&mut self) -> Result<u64, BenchError> {
        if let Some(status) = self.child.try_wait().map_err(BenchError::io("looking after a child"))? {
            return Err(self.ended(status));
        }
        if let Some(memory) = host::memory(self.pid()) {
            self.peak_kib = self.peak_kib.max(memory.peak_kib);
        }
        host::cpu_us(self.pid()).ok_or_else(|| BenchError::Late {
            system: self.system.name().to_owned(),
            wanted: "seen in /proc".to_owned(),
            waited_s: 0,
            seen: String::new(),
            tail: self.tail(),
        })
    }

    /// Peak resident memory in MiB, as of the last look.
    pub fn peak_mib(&self) -> f64 {
        self.peak_kib as f64 / 1024.0
    }

    /// Ends the program: Strait in the orderly way (SIGTERM), MirrorMaker 2, whose orderly end
    /// takes long and proves nothing here, at once.
    ///
    /// # Errors
    /// [`BenchError::Ended`] if Strait ended with a failure, [`BenchError::Late`] if it had to be
    /// killed.
    pub fn stop(mut self) -> Result<Duration, BenchError> {
        let began = Instant::now();
        if !self.system.is_strait() {
            return Ok(began.elapsed());
        }
        strait_test_cluster::signal(&self.child, SIGTERM).map_err(BenchError::io("sending SIGTERM"))?;
        while began.elapsed() < STOP_DEADLINE {
            if let Some(status) = self.child.try_wait().map_err(BenchError::io("looking after a child"))? {
                return if status.success() { Ok(began.elapsed()) } else { Err(self.ended(status)) };
            }
            stop::pause(Duration::from_millis(20))?;
        }
        Err(self.late("ended after SIGTERM", STOP_DEADLINE, "still running"))
    }

    /// An error for a condition that did not come about.
    pub fn late(&self, wanted: &str, waited: Duration, seen: &str) -> BenchError {
        BenchError::Late {
            system: self.system.name().to_owned(),
            wanted: wanted.to_owned(),
            waited_s: waited.as_secs(),
            seen: seen.to_owned(),
            tail: self.tail(),
        }
    }

    fn ended(&self, status: ExitStatus) -> BenchError {
        BenchError::Ended { system: self.system.name().to_owned(), status: status.to_string(), tail: self.tail() }
    }

    fn tail(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_else(|error| format!("({error})"))
    }
}

impl Drop for Replicator {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let ended = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = ended {
            eprintln!("bench: ending {}: {error}", self.system.name());
        }
    }
}
