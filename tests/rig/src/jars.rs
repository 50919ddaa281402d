use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::RigError;

/// The folder of Apache Kafka's jars that brokers and Java tools run from.
#[derive(Debug, Clone)]
pub struct KafkaJars {
    folder: PathBuf,
}

impl KafkaJars {
    /// Finds the jars: `STRAIT_KAFKA_LIBS` if set, else `.cache/kafka/libs` of this project.
    ///
    /// # Errors
    /// [`RigError::NoJars`] if that folder holds no jar of Kafka's server.
    pub fn locate() -> Result<Self, RigError> {
        let folder = env::var_os("STRAIT_KAFKA_LIBS")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/kafka/libs"), PathBuf::from);
        let Ok(entries) = fs::read_dir(&folder) else {
            return Err(RigError::NoJars { path: folder });
        };
        let has_server = entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("kafka_2.13-"));
        if !has_server {
            return Err(RigError::NoJars { path: folder });
        }
        let folder = folder.canonicalize().unwrap_or(folder);
        Ok(Self { folder })
    }

    /// The folder itself.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The value of Java's `-cp` that covers every jar.
    #[must_use]
    pub fn class_path(&self) -> OsString {
        self.folder.join("*").into_os_string()
    }
}
