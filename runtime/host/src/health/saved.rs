//! Open breakers, saved from one run to the next in a private folder, one small file each.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::Key;
use crate::file::{FileError, read_file};
use crate::text::hex;

/// Largest file that is read; Strait writes a few hundred bytes.
const FILE_BYTES_MAX: usize = 64 << 10;

/// An open breaker.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedBreaker {
    pub(crate) link: String,
    pub(crate) plugin: String,
    pub(crate) digest: String,
    pub(crate) config: String,
    pub(crate) until_unix_ms: i64,
    pub(crate) level: u32,
    pub(crate) reason: String,
}

/// A folder that only Strait reads and writes. Without one, nothing is saved.
#[derive(Debug, Default)]
pub(crate) struct StateDir {
    breakers: Option<PathBuf>,
}

impl StateDir {
    /// Creates the folder if it is missing. If it cannot be written, logs an error and saves
    /// nothing.
    pub(crate) fn open(folder: Option<&Path>) -> Self {
        let Some(folder) = folder else {
            return Self::default();
        };
        let breakers = folder.join("breakers");
        if let Err(error) = prepare(folder, &breakers) {
            tracing::error!(
                folder = %folder.display(),
                %error,
                "state_dir cannot be written: a restart of Strait forgets open breakers; give the folder to Strait's user, or set state_dir"
            );
            return Self::default();
        }
        Self { breakers: Some(breakers) }
    }

    pub(crate) fn read(&self, key: &Key) -> Option<SavedBreaker> {
        let path = self.path(key)?;
        let text = match read_file(&path, FILE_BYTES_MAX) {
            Err(FileError::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => return None,
            text => text.map_err(|e| e.to_string()),
        };
        match text.and_then(|text| serde_json::from_slice(&text).map_err(|e| e.to_string())) {
            Ok(saved) => Some(saved),
            Err(error) => {
                tracing::warn!(file = %path.display(), error, "a saved breaker cannot be read and is ignored");
                None
            }
        }
    }

    pub(crate) fn write(&self, key: &Key, saved: &SavedBreaker) {
        let Some(path) = self.path(key) else { return };
        let write = || -> io::Result<()> {
            let mut aside = NamedTempFile::new_in(path.parent().unwrap_or(&path))?;
            aside.write_all(&serde_json::to_vec_pretty(saved)?)?;
            aside.persist(&path)?;
            Ok(())
        };
        if let Err(error) = write() {
            tracing::error!(file = %path.display(), %error, "an open breaker cannot be saved for the next start");
        }
    }

    pub(crate) fn remove(&self, key: &Key) {
        let Some(path) = self.path(key) else { return };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(file = %path.display(), %error, "a saved breaker cannot be removed although it closed; after a restart it is half open");
            }
            _ => {}
        }
    }

    /// Returns a path by hash: names of links and plugins may contain any character.
    fn path(&self, key: &Key) -> Option<PathBuf> {
        let mut hash = Sha256::new();
        for part in [&*key.link, &*key.plugin, &*key.digest, &*key.config] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        Some(self.breakers.as_ref()?.join(format!("{}.json", hex(&hash.finalize()))))
    }
}

/// Creates both folders for this user alone and checks that they can be written.
fn prepare(folder: &Path, breakers: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    builder.create(breakers)?;
    tempfile::tempfile_in(breakers).map(drop)
}
