//! Reads files that others may have put there: whole, up to a bound, and without ever waiting for them.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there, may not be read, or is no regular file.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    /// It holds more than is read.
    #[error("it is larger than {bytes_max} bytes")]
    TooLarge {
        /// What it has, as far as that was looked at.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
}

/// The bytes of a regular file.
///
/// # Errors
/// [`FileError`].
pub fn read_file(path: &Path, bytes_max: usize) -> Result<Vec<u8>, FileError> {
    // Without waiting: a pipe that nobody writes into could else not even be opened.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file").into());
    }
    let bytes = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    // Before it is read: it may be anything.
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
#[allow(clippy::unwrap_used)]
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
        // In a thread of its own, so that one that waits fails the test.
        let (tell, told) = mpsc::sync_channel(1);
        thread::spawn(move || tell.send(no_file.map(|path| read_file(&path, 5).unwrap_err().to_string())));
        for error in told.recv_timeout(Duration::from_secs(30)).unwrap() {
            assert_eq!(error, "it is not a regular file");
        }
        let error = read_file(&dir.path().join("none"), 5).unwrap_err();
        assert!(matches!(error, FileError::Unreadable(error) if error.kind() == io::ErrorKind::NotFound));
    }
}
