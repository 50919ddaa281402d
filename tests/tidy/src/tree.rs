//! A copy of the repository in memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fmt, fs, io};

use walkdir::{DirEntry, WalkDir};

/// Folders of other people's or built files.
const SKIPPED_FOLDERS: [&str; 4] = ["target", "node_modules", "build", "snapshots"];
/// Endings of the files that rules read.
const TEXT_ENDINGS: [&str; 14] =
    ["rs", "md", "toml", "sh", "wit", "py", "js", "ts", "go", "c", "h", "json", "yaml", "yml"];
/// Text files without an ending.
const TEXT_NAMES: [&str; 2] = ["dev", "run"];

/// The repository's text files by path, relative to its root and with `/` between the steps.
#[derive(Clone, Debug)]
pub struct Tree {
    files: BTreeMap<String, String>,
}

/// A place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Path of the file, relative to the root.
    pub file: String,
    /// Line, counted from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong and how to mend it.
    pub text: String,
}

impl Finding {
    /// A finding about a whole file.
    pub fn of_file(file: &str, text: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: 0, text: text.into() }
    }

    /// A finding at the line with this index, counted from 0.
    pub fn at(file: &str, index: usize, text: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: index + 1, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.text),
            line => write!(f, "{}:{line}: {}", self.file, self.text),
        }
    }
}

impl Tree {
    /// Reads the repository that this crate stands in.
    ///
    /// # Errors
    /// A folder or file that cannot be read.
    pub fn of_repository() -> io::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut files = BTreeMap::new();
        for entry in WalkDir::new(&root).into_iter().filter_entry(is_ours) {
            let entry = entry?;
            if !entry.file_type().is_file() || !is_text(&entry) {
                continue;
            }
            let path = entry.path().strip_prefix(&root).map_err(io::Error::other)?;
            let path: Vec<_> = path.iter().map(|step| step.to_string_lossy()).collect();
            files.insert(path.join("/"), fs::read_to_string(entry.path())?);
        }
        Ok(Self { files })
    }

    /// Returns a copy with one file added or replaced.
    #[must_use]
    pub fn with(&self, path: &str, text: impl Into<String>) -> Self {
        let mut changed = self.clone();
        changed.files.insert(path.to_owned(), text.into());
        changed
    }

    /// Returns the text of a file, or the empty text for one that does not exist.
    #[must_use]
    pub fn text(&self, path: &str) -> &str {
        self.files.get(path).map_or("", String::as_str)
    }

    /// Returns whether a file of this path exists.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// Returns the files whose path starts and ends with these texts.
    pub fn files<'a>(&'a self, start: &'a str, end: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let matching = self.files.iter().filter(move |(path, _)| path.starts_with(start) && path.ends_with(end));
        matching.map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Returns the folders of the crates, each with its manifest.
    ///
    /// # Errors
    /// A manifest that is not TOML.
    pub fn crates(&self) -> Result<Vec<(String, toml::Table)>, Finding> {
        let mut crates = Vec::new();
        for (path, text) in self.files("", "/Cargo.toml") {
            let manifest: toml::Table =
                text.parse().map_err(|e| Finding::of_file(path, format!("is not TOML: {e}")))?;
            if manifest.contains_key("package") {
                crates.push((path.trim_end_matches("/Cargo.toml").to_owned(), manifest));
            }
        }
        Ok(crates)
    }
}

fn is_ours(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    if !entry.file_type().is_dir() || entry.depth() == 0 {
        return true;
    }
    let is_hidden = name.starts_with('.') && name != ".ci" && name != ".github";
    // `strait plugin` copies the SDK into the projects that it builds.
    let is_sdk_copy = name == "sdk" && entry.path().components().any(|step| step.as_os_str() == "examples");
    // A module may be called `target`.
    let is_module = entry.path().parent().is_some_and(|parent| parent.ends_with("src"));
    !is_hidden && !is_sdk_copy && (is_module || !SKIPPED_FOLDERS.contains(&name.as_ref()))
}

fn is_text(entry: &DirEntry) -> bool {
    let path = entry.path();
    match path.extension() {
        Some(ending) => TEXT_ENDINGS.iter().any(|text| ending == *text),
        None => path.file_name().is_some_and(|name| TEXT_NAMES.iter().any(|text| name == *text)),
    }
}
