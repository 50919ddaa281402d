use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use crate::{Cluster, ClusterError, ClusterSpec};

/// The folder of Apache Kafka's jars that brokers and Java tools run from.
#[derive(Debug, Clone)]
pub struct KafkaJars {
    folder: PathBuf,
}

impl KafkaJars {
    /// Finds the jars: `STRAIT_KAFKA_LIBS` if set, else `.cache/kafka/libs` of this project.
    ///
    /// # Errors
    /// [`ClusterError::NoJars`] if that folder holds no jar of Kafka's server.
    pub fn locate() -> Result<Self, ClusterError> {
        let folder = env::var_os("STRAIT_KAFKA_LIBS")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/kafka/libs"), PathBuf::from);
        let Ok(entries) = fs::read_dir(&folder) else {
            return Err(ClusterError::NoJars { path: folder });
        };
        let has_server = entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("kafka_2.13-"));
        if !has_server {
            return Err(ClusterError::NoJars { path: folder });
        }
        let folder = folder.canonicalize().unwrap_or(folder);
        Ok(Self { folder })
    }

    /// The folder itself.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the archive of loaded classes that test brokers start from, unless it is there: it
    /// halves the CPU time of a start (3.1 s to 1.6 s). Runs a broker once. A JVM that the archive
    /// does not fit (another version, other jars) ignores it.
    ///
    /// # Errors
    /// Those of starting and stopping a cluster, and of putting the file in its place.
    pub async fn archive_classes(&self) -> Result<(), ClusterError> {
        let archive = self.archive();
        if archive.exists() {
            return Ok(());
        }
        let draft = archive.with_extension(format!("{}.draft", process::id()));
        let spec = ClusterSpec {
            extra_jvm: vec![format!("-XX:ArchiveClassesAtExit={}", draft.display())],
            ..ClusterSpec::new("archive")
        };
        let cluster = Cluster::start(spec).await?;
        // Written at an orderly end only.
        cluster.broker(0)?.stop().await?;
        fs::rename(&draft, &archive).map_err(ClusterError::io(format!("moving {} into place", draft.display())))
    }

    /// The JVM flag for that archive, if it is there.
    pub(crate) fn class_archive_flag(&self) -> Option<String> {
        let archive = self.archive();
        archive.exists().then(|| format!("-XX:SharedArchiveFile={}", archive.display()))
    }

    /// Beside the folder, not in it: the folder's content is the class path that the archive is
    /// bound to.
    fn archive(&self) -> PathBuf {
        self.folder.with_extension("jsa")
    }

    /// The value of Java's `-cp` that covers every jar.
    #[must_use]
    pub fn class_path(&self) -> OsString {
        self.folder.join("*").into_os_string()
    }
}
