//! Reads files from users: whole, up to a bound, and without ever blocking on a pipe.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A file that was not read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It does not exist, may not be read, or is not a regular file.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    /// It is larger than the bound.
    #[error("it is larger than {bytes_max} bytes")]
    TooLarge {
        /// Its size, as far as it was read.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
}

/// Reads a regular file.
///
/// # Errors
/// [`FileError`].
pub fn read_file(path: &Path, bytes_max: usize) -> Result<Vec<u8>, FileError> {
    // Non-blocking: to open a pipe without a writer would block.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file").into());
    }
    let bytes = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    // Before the read: the file may be huge.
    if bytes > bytes_max {
        return Err(FileError::TooLarge { bytes, bytes_max });
    }
    let mut read = Vec::with_capacity(bytes);
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut read)?;
    // It may have grown since.
    if read.len() > bytes_max {
        return Err(FileError::TooLarge { bytes: read.len(), bytes_max });
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_regular_files_are_read_and_only_up_to_the_bound() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, b"12345").unwrap();
        assert_eq!(read_file(&file, 5).unwrap(), b"12345");
        assert!(matches!(read_file(&file, 4), Err(FileError::TooLarge { bytes: 5, bytes_max: 4 })));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read_file(&link, 5).unwrap(), b"12345");

        let pipe = dir.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let no_file = [pipe, dir.path().to_owned(), "/dev/zero".into()];
        // In a thread of its own, so that a read that blocks fails the test.
        let (done, errors) = mpsc::sync_channel(1);
        thread::spawn(move || done.send(no_file.map(|path| read_file(&path, 5).unwrap_err().to_string())));
        for error in errors.recv_timeout(Duration::from_secs(30)).unwrap() {
            assert_eq!(error, "it is not a regular file");
        }
        let error = read_file(&dir.path().join("none"), 5).unwrap_err();
        assert!(matches!(error, FileError::Unreadable(error) if error.kind() == io::ErrorKind::NotFound));
    }
}
