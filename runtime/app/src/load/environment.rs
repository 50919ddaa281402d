//! The environment of a process, and the values that references name.

use std::ffi::OsString;
use std::path::Path;

use strait_core::config::reference::Reference;

use super::text_file;
use crate::mask::{self, Mask};

/// Largest file that a `${file:…}` reference reads, in bytes.
const SECRET_BYTES_MAX: u64 = 1 << 20;

/// The variables of a process, and the mask that learns every secret that is loaded in it. A value
/// of its own, so that tests need not change the process's own.
#[derive(Clone, Default)]
pub struct Environment {
    pub(super) variables: Vec<(String, String)>,
    pub(super) mask: Mask,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be secrets.
        f.debug_struct("Environment").field("variables", &self.variables.len()).finish()
    }
}

impl Environment {
    /// Returns the process's own environment, without variables that are not UTF-8.
    #[must_use]
    pub fn of_process() -> Self {
        let utf8 = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        Self { variables: std::env::vars_os().filter_map(utf8).collect(), mask: mask::all().clone() }
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().find(|(variable, _)| variable == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns the value of a reference. Relative paths start at `base`.
    pub(super) fn look_up(&self, reference: &Reference<'_>, base: &Path) -> Result<String, String> {
        let value = match reference {
            Reference::Env(name) => self.get(name).map(str::to_owned).ok_or_else(|| "is not set".to_owned())?,
            Reference::File(path) => read_secret(&base.join(path))?,
        };
        // By itself too: whoever quotes a part of the setting may quote this part.
        self.mask.learn(&[&value]);
        Ok(value)
    }
}

fn read_secret(path: &Path) -> Result<String, String> {
    // The problem names the path as written. Its text must not show where that leads on this
    // machine.
    let metadata = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if !metadata.is_file() {
        return Err("is not a file".to_owned());
    }
    if metadata.len() > SECRET_BYTES_MAX {
        return Err(format!("is larger than {SECRET_BYTES_MAX} bytes"));
    }
    let mut text = text_file::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    // Editors and `echo` end a file with a line break, which is not part of the secret.
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    // An empty password would be refused by a cluster, in words that do not name the file.
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    Ok(text)
}
