//! Whether files have changed and come to rest.
//!
//! Looked at, not notified (decision 9): the same on every file system, and symbolic links are followed to what they lead to.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What tells one state of a file from another without reading it. The time of the last change of status is among it, so
/// that a copy that keeps the time of the content is noticed too.
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

/// The files that a link's chain is made of, as they were last seen.
#[derive(Debug, Default)]
pub struct Watch {
    seen: Vec<(PathBuf, Option<Stamp>)>,
    changed_at: Option<Duration>,
}

impl Watch {
    /// Looks at the files. True when something has changed since it was last true, and then stayed as it is for `settle`.
    pub fn look(&mut self, files: &[PathBuf], now: Duration, settle: Duration) -> bool {
        let seen: Vec<(PathBuf, Option<Stamp>)> = files.iter().map(|file| (file.clone(), stamp(file))).collect();
        if seen != self.seen {
            self.seen = seen;
            self.changed_at = Some(now);
        }
        let rests = self.changed_at.is_some_and(|at| now.saturating_sub(at) >= settle);
        if rests {
            self.changed_at = None;
        }
        rests
    }
}

/// A file that is not there, or that cannot be looked at, is one state like any other: reading it says why.
fn stamp(file: &Path) -> Option<Stamp> {
    std::fs::metadata(file).ok().map(|metadata| Stamp::of(&metadata))
}
