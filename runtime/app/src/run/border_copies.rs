//! Copies of the borders of lanes in `state_dir`: whoever can write to the target cannot change
//! them.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use strait_core::LaneId;
use strait_core::progress::HeldBorder;
use strait_flow::ports::BorderCopies;
use tempfile::NamedTempFile;

/// The copies of one link.
pub struct Copies {
    folder: PathBuf,
    link: String,
}

impl Copies {
    /// Keeps the copies of a link below a process's `state_dir`.
    #[must_use]
    pub fn new(state_dir: PathBuf, link: &str) -> Self {
        Self { folder: state_dir.join("borders"), link: link.to_owned() }
    }

    fn file(&self, lane: LaneId) -> PathBuf {
        self.folder.join(format!("{}-{lane}.json", self.link))
    }

    fn try_read(&self, lane: LaneId) -> io::Result<Option<HeldBorder>> {
        match fs::read(self.file(lane)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn try_write(&self, lane: LaneId, border: &HeldBorder) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let mut aside = NamedTempFile::new_in(&self.folder)?;
        aside.write_all(&serde_json::to_vec(border)?)?;
        // Before its name: a copy without content would be worse than an old one.
        aside.as_file().sync_all()?;
        aside.persist(self.file(lane))?;
        Ok(())
    }
}

impl BorderCopies for Copies {
    fn read(&self, lane: LaneId) -> Result<Option<HeldBorder>, String> {
        self.try_read(lane).map_err(|error| {
            let file = self.file(lane);
            format!(
                "the copy of its border, {}, cannot be read ({error}); if nobody has emptied the progress topic on the \
                 target, remove the file",
                file.display()
            )
        })
    }

    fn write(&self, lane: LaneId, border: &HeldBorder) {
        if let Err(error) = self.try_write(lane, border) {
            let file = self.file(lane);
            tracing::warn!(link = self.link, %lane, file = %file.display(), %error, "the lane's border cannot be copied; give Strait's user a state_dir that it can write");
        }
    }
}
