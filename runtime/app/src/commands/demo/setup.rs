//! The clusters and the link of the demo.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use strait_kafka::access::Access;
use strait_kafka::{ClusterConfig, MockCluster};

use crate::board::Board;
use crate::commands::print_message;
use crate::load::{self, Environment, Loaded};
use crate::run::{self, RunError, Stop, Until};

/// Partitions of each topic.
pub const PARTITIONS: i32 = 3;
/// How long each step of the demo may take.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// Name of the link's quarantine topic.
pub const QUARANTINE: &str = "strait.aws-to-gcp.quarantine";
const LINK_TOPICS: [&str; 2] = ["strait.aws-to-gcp.progress", "strait.aws-to-gcp.map"];
const BROKERS: u16 = 3;

/// The two clusters.
pub struct Clusters {
    /// The source.
    pub aws: MockCluster,
    /// The target.
    pub gcp: MockCluster,
}

impl Clusters {
    /// Starts both clusters and creates the link's own topics: the mock clusters have no admin
    /// interface, so topics that Strait creates on Kafka are created for it here.
    ///
    /// # Errors
    /// librdkafka's message.
    pub fn start() -> Result<Self, String> {
        let start = || MockCluster::start(BROKERS).map_err(|e| e.to_string());
        let clusters = Self { aws: start()?, gcp: start()? };
        create(&clusters.aws, QUARANTINE, 1)?;
        for topic in LINK_TOPICS {
            create(&clusters.gcp, topic, 2)?;
        }
        Ok(clusters)
    }

    /// Returns the source as a client's configuration.
    #[must_use]
    pub fn source(&self) -> ClusterConfig {
        cluster("aws", &self.aws)
    }

    /// Returns the target as a client's configuration.
    #[must_use]
    pub fn target(&self) -> ClusterConfig {
        cluster("gcp", &self.gcp)
    }

    /// Returns the configuration of the link: its topics as a pattern, its plugins as TOML tables.
    #[must_use]
    pub fn configuration(&self, topics: &str, plugins: &str) -> String {
        format!(
            r#"[clusters.aws]
bootstrap_servers = "{}"
region = "eu-west-1"
[clusters.gcp]
bootstrap_servers = "{}"
region = "europe-west4"

[[links]]
name = "aws-to-gcp"
source = "aws"
target = "gcp"
topics = ["{topics}"]
delivery = "at-least-once"
lanes = 2
reveal_messages = true
mm2 = {{ heartbeats = "off", checkpoints = false }}

{plugins}
[log]
level = "error"
"#,
            self.aws.bootstrap_servers(),
            self.gcp.bootstrap_servers()
        )
    }
}

/// Creates a topic on a mock cluster.
///
/// # Errors
/// librdkafka's message.
pub fn create(cluster: &MockCluster, topic: &str, partitions: i32) -> Result<(), String> {
    cluster.create_topic(topic, partitions).map_err(|e| format!("creating {topic}: {e}"))
}

fn cluster(name: &str, mock: &MockCluster) -> ClusterConfig {
    ClusterConfig {
        name: name.to_owned(),
        bootstrap_servers: mock.bootstrap_servers(),
        properties: BTreeMap::new(),
        access: Access::default(),
    }
}

/// A configuration on disk. Its folder is removed with it, unless it is kept.
pub struct File {
    /// Path of the configuration.
    pub path: PathBuf,
    dir: PathBuf,
    keep: bool,
}

impl File {
    /// Writes a configuration into a folder of this process.
    ///
    /// # Errors
    /// The system's message.
    pub fn write(text: &str, keep: bool) -> Result<Self, String> {
        let dir = std::env::temp_dir().join(format!("strait-demo-{}", std::process::id()));
        std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let file = Self { path: dir.join("strait.toml"), dir, keep };
        std::fs::write(&file.path, text).map_err(|e| format!("{}: {e}", file.path.display()))?;
        Ok(file)
    }

    /// Loads the configuration.
    ///
    /// # Errors
    /// The findings.
    pub fn load(&self) -> Result<Arc<Loaded>, String> {
        let loaded = load::load(&self.path, &Environment::default());
        loaded.map(Arc::new).map_err(|report| report.render(false, 100))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if !self.keep && std::fs::remove_dir_all(&self.dir).is_err() {
            print_message(&format!("could not remove {}", self.dir.display()));
        }
    }
}

/// Runs the link until it has copied all records.
///
/// # Errors
/// Why it has not.
pub async fn copy(loaded: &Arc<Loaded>) -> Result<(), String> {
    let board = Board::new(&loaded.config, loaded.mask());
    let copying = run::run(loaded, Until::CaughtUp, Stop::default(), &board);
    match tokio::time::timeout(TIMEOUT, copying).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(errors)) => Err(joined(&errors)),
        Err(_) => Err(format!("the link has not caught up within {TIMEOUT:?}")),
    }
}

/// Joins the errors of all links to one line.
#[must_use]
pub fn joined(errors: &[RunError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
