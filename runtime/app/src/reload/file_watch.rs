//! Detects that files have changed and then stayed unchanged for a while.
//!
//! Polls instead of being notified (decision 9): that works alike on every file system, and follows
//! symbolic links to their targets.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The state of a file without its content. It includes the time of the last status change, so that
/// a copy that preserves the modification time is detected too.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size_bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The files of a link's chain as they were at the last poll.
#[derive(Debug, Default)]
pub struct FileWatch {
    seen: Vec<(PathBuf, Option<Stamp>)>,
    changed_at: Option<Duration>,
}

impl FileWatch {
    /// Polls the files. Returns true once per change, after the files were unchanged for `settle`.
    pub fn poll(&mut self, files: &[PathBuf], now: Duration, settle: Duration) -> bool {
        let seen: Vec<(PathBuf, Option<Stamp>)> = files.iter().map(|file| (file.clone(), stamp(file))).collect();
        if seen != self.seen {
            self.seen = seen;
            self.changed_at = Some(now);
        }
        let settled = self.changed_at.is_some_and(|at| now.saturating_sub(at) >= settle);
        if settled {
            self.changed_at = None;
        }
        settled
    }
}

/// Returns the stamp of a file. A missing or unreadable file is a state like any other: loading it
/// reports why.
fn stamp(file: &Path) -> Option<Stamp> {
    std::fs::metadata(file).ok().map(|metadata| Stamp::of(&metadata))
}
