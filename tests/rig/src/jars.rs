use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::ClusterError;

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

    /// Returns the JVM flag for the class archive, if it exists ([`crate::archive_classes`]).
    #[must_use]
    pub fn class_archive_flag(&self) -> Option<String> {
        let archive = self.archive();
        archive.exists().then(|| format!("-XX:SharedArchiveFile={}", archive.display()))
    }

    /// Returns the path of the class archive. It is beside the folder, because the archive is bound
    /// to the folder's content.
    pub(crate) fn archive(&self) -> PathBuf {
        self.folder.with_extension("jsa")
    }

    /// Returns the value of Java's `-cp` for every jar, and behind them these folders and jars. In
    /// this order the class archive holds.
    pub(crate) fn class_path_with(&self, more: &[PathBuf]) -> OsString {
        let mut all = self.class_path();
        for entry in more {
            all.push(":");
            all.push(entry);
        }
        all
    }

    /// The value of Java's `-cp` that covers every jar.
    #[must_use]
    pub fn class_path(&self) -> OsString {
        self.folder.join("*").into_os_string()
    }
}
