//! The copy of the SDK in a project: which files belong to it, and how a newer program brings it up
//! to date.
//!
//! The copy names its version and the digest of each of its files. So a file that an author has
//! edited is told from one of an older version.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use strait_host::digest_of;

use super::project::{self, ProjectError, embedded_file, embedded_under, of};
use crate::cli::plugin::Lang;

/// Folder of the SDK in a project.
pub const FOLDER: &str = "sdk";
/// The interface that the SDKs are written for.
const INTERFACE: &str = "wit/v0.2/plugin.wit";
/// The file that says what was written.
const RECORD: &str = "strait-sdk.json";

/// The files as they were written, in [`RECORD`].
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    /// Version of the program.
    version: String,
    /// Digest of each file, by its path in the folder.
    files: BTreeMap<String, String>,
}

/// The changes of an update to the files of the SDK.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Version of the copy before, for people.
    pub from: String,
    /// Version of the copy now.
    pub to: String,
    /// Paths of new files.
    pub added: Vec<String>,
    /// Paths of files with another content.
    pub changed: Vec<String>,
    /// Paths of files that are not part of the SDK any more.
    pub removed: Vec<String>,
}

/// Writes the SDK of a language into a folder.
///
/// # Errors
/// [`ProjectError::File`].
pub fn write(folder: &Path, lang: Lang) -> Result<(), ProjectError> {
    let files = files(lang);
    files.iter().try_for_each(|(path, text)| project::write(&folder.join(path), text))?;
    Written::of(&files).write(folder)
}

/// Brings the SDK in a folder up to date. Files that are not of the SDK stay as they are, and so
/// does everything if a file of it was edited by hand and `force` is not set.
///
/// # Errors
/// [`ProjectError`].
pub fn update(folder: &Path, lang: Lang, force: bool) -> Result<Update, ProjectError> {
    let before = match Written::read(folder) {
        Err(ProjectError::Damaged { .. }) if force => None,
        read => read?,
    };
    let files = files(lang);
    let now = Written::of(&files);
    let mut update = Update {
        from: before.as_ref().map_or_else(|| "an unknown version".to_owned(), Written::display),
        to: now.display(),
        ..Update::default()
    };
    let known = before.as_ref().map(|before| &before.files).cloned().unwrap_or_default();
    let mut edited = Vec::new();
    let paths: BTreeSet<&String> = known.keys().chain(files.keys()).collect();
    for path in paths {
        let there = read(&folder.join(path))?.map(|bytes| digest_of(&bytes));
        let list = match (&there, now.files.get(path)) {
            (there, new) if there.as_ref() == new => continue,
            (None, _) => &mut update.added,
            (Some(_), Some(_)) => &mut update.changed,
            (Some(_), None) => &mut update.removed,
        };
        list.push(path.clone());
        if there.is_some() && there.as_ref() != known.get(path) {
            edited.push(path.as_str());
        }
    }
    if !edited.is_empty() && !force {
        return Err(ProjectError::Edited(refusal(&edited, before.is_some())));
    }
    for path in update.added.iter().chain(&update.changed) {
        replace(&folder.join(path), files.get(path).map_or("", String::as_str))?;
    }
    for path in &update.removed {
        let path = folder.join(path);
        fs::remove_file(&path).map_err(|error| of(&path, error))?;
    }
    // Last: until then the record is that of the files before, and those that are new already count
    // as up to date.
    now.write(folder)?;
    Ok(update)
}

/// Writes a file as a whole or not at all: half of one would count as edited by hand.
fn replace(path: &Path, text: &str) -> Result<(), ProjectError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    project::write(Path::new(&beside), text)?;
    fs::rename(&beside, path).map_err(|error| of(path, error))
}

fn refusal(edited: &[&str], is_known: bool) -> String {
    let files: Vec<String> = edited.iter().map(|path| format!("\n  {FOLDER}/{path}")).collect();
    let why = match is_known {
        true => "these files of the SDK were edited by hand",
        false => "the SDK does not say its version, so it is not known whether these files were edited by hand",
    };
    format!("{why}, and nothing was changed; --force replaces them:{}", files.concat())
}

impl Written {
    fn of(files: &BTreeMap<String, String>) -> Self {
        let digests = files.iter().map(|(path, text)| (path.clone(), digest_of(text.as_bytes())));
        Self { version: env!("CARGO_PKG_VERSION").to_owned(), files: digests.collect() }
    }

    /// Reads what an earlier program has written.
    fn read(folder: &Path) -> Result<Option<Self>, ProjectError> {
        let path = folder.join(RECORD);
        let Some(bytes) = read(&path)? else { return Ok(None) };
        let path = || path.display().to_string();
        let damaged = |message: String| ProjectError::Damaged { path: path(), message };
        let written: Self = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        let wrong = |message: String| ProjectError::Manifest { path: path(), message };
        // Files are removed by it, and none outside of the folder may be.
        let is_inside = |path: &&String| Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        match written.files.keys().find(|path| !is_inside(path)) {
            Some(outside) => Err(wrong(format!("'{outside}' is no path inside of the folder; remove this file"))),
            None => Ok(Some(written)),
        }
    }

    fn write(&self, folder: &Path) -> Result<(), ProjectError> {
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        project::write(&folder.join(RECORD), &format!("{text}\n"))
    }

    /// Returns the version, with the beginning of a digest: between two releases it is the same.
    fn display(&self) -> String {
        let all = digest_of(serde_json::to_string(&self.files).unwrap_or_default().as_bytes());
        format!("{} ({})", self.version, all.trim_start_matches("sha256:").get(..8).unwrap_or_default())
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, ProjectError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(of(path, error)),
    }
}

/// Returns the files of the SDK of a language, by their path in its folder.
fn files(lang: Lang) -> BTreeMap<String, String> {
    let source: Option<&'static str> = match lang {
        Lang::Rust => Some("plugins/sdk/rust"),
        Lang::Go => Some("plugins/sdk/go"),
        Lang::Js | Lang::Ts => Some("plugins/sdk/js"),
        Lang::Python => Some("plugins/sdk/python"),
        Lang::C => Some("plugins/sdk/c"),
        Lang::Zig => Some("plugins/sdk/zig"),
        Lang::AssemblyScript => Some("plugins/sdk/assemblyscript"),
        // Only the interface.
        Lang::Wat => None,
    };
    let text = |path: &str, text: &str| match (lang, path) {
        (Lang::Rust, "Cargo.toml") => standalone(text),
        // In the repository the SDK is beside the interface.
        (Lang::Rust, _) => text.replace("../../../wit/v0.2", "wit"),
        _ => text.to_owned(),
    };
    let own = source.into_iter().flat_map(embedded_under);
    let own = own.map(|(path, content)| (path.to_owned(), text(path, content)));
    own.chain([("wit/plugin.wit".to_owned(), embedded_file(INTERFACE).to_owned())]).collect()
}

/// Returns a manifest with the workspace's values in place of references to them.
fn standalone(manifest: &str) -> String {
    let workspace: toml::Table = embedded_file("plugins/Cargo.toml").parse().unwrap_or_default();
    let section = |name: &str| workspace.get("workspace").and_then(|w| w.get(name)).and_then(toml::Value::as_table);
    let package = section("package");
    let dependencies = section("dependencies");
    let mut out = String::new();
    for line in manifest.lines() {
        let inherited = line.split_once(".workspace = true").map(|(name, _)| name.trim());
        let value = inherited.and_then(|name| package?.get(name).or_else(|| dependencies?.get(name)));
        match (inherited, value) {
            (Some(name), Some(value)) => out.push_str(&format!("{name} = {value}\n")),
            // Lints stay with the workspace.
            _ if line.trim() == "workspace = true" || line.trim() == "[lints]" => {}
            _ => out.push_str(&format!("{line}\n")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A copy of the SDK for Python as an earlier version has written it.
    fn earlier(folder: &Path) {
        write(folder, Lang::Python).unwrap();
        let put = |path: &str, text: &str| fs::write(folder.join(path), text).unwrap();
        put("strait.py", "# as it was\n");
        put("old.py", "# not there any more\n");
        fs::remove_dir_all(folder.join("wit")).unwrap();
        let mut record = Written::read(folder).unwrap().unwrap();
        record.version = "0.0.9".to_owned();
        record.files.remove("wit/plugin.wit");
        record.files.insert("strait.py".to_owned(), digest_of(b"# as it was\n"));
        record.files.insert("old.py".to_owned(), digest_of(b"# not there any more\n"));
        record.write(folder).unwrap();
        put("mine.py", "# the author's\n");
    }

    fn content(folder: &Path, path: &str) -> Option<String> {
        fs::read_to_string(folder.join(path)).ok()
    }

    fn lists(update: &Update) -> [Vec<&str>; 3] {
        [&update.added, &update.changed, &update.removed].map(|list| list.iter().map(String::as_str).collect())
    }

    #[test]
    fn an_earlier_copy_is_brought_up_to_date_and_the_authors_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        earlier(dir.path());
        let update_now = || update(dir.path(), Lang::Python, false).unwrap();
        let first = update_now();
        assert_eq!(lists(&first), [vec!["wit/plugin.wit"], vec!["strait.py"], vec!["old.py"]]);
        assert!(first.from.starts_with("0.0.9 (") && first.to.starts_with(env!("CARGO_PKG_VERSION")), "{first:?}");
        assert_eq!(content(dir.path(), "strait.py").as_deref(), Some(embedded_file("plugins/sdk/python/strait.py")));
        assert_eq!(content(dir.path(), "mine.py").as_deref(), Some("# the author's\n"));
        assert_eq!(content(dir.path(), "old.py"), None);
        let second = update_now();
        assert_eq!((lists(&second), &second.from), ([vec![], vec![], vec![]], &second.to));
    }

    #[test]
    fn a_file_that_was_edited_by_hand_is_replaced_only_if_that_is_said() {
        for edited in ["strait.py", "old.py"] {
            let dir = tempfile::tempdir().unwrap();
            earlier(dir.path());
            fs::write(dir.path().join(edited), "# edited\n").unwrap();
            let error = update(dir.path(), Lang::Python, false).unwrap_err().to_string();
            assert!(error.contains("edited by hand") && error.contains(&format!("sdk/{edited}")), "{error}");
            assert_eq!(error.lines().count(), 2, "{error}");
            assert_eq!(content(dir.path(), edited).as_deref(), Some("# edited\n"));
            assert_eq!(content(dir.path(), "wit/plugin.wit"), None, "nothing was changed");
            let forced = update(dir.path(), Lang::Python, true).unwrap();
            assert_eq!(lists(&forced), [vec!["wit/plugin.wit"], vec!["strait.py"], vec!["old.py"]]);
        }
    }

    #[test]
    fn an_update_that_was_broken_off_is_finished_by_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        earlier(dir.path());
        // It had come as far as these two.
        project::write(&dir.path().join("strait.py"), embedded_file("plugins/sdk/python/strait.py")).unwrap();
        fs::remove_file(dir.path().join("old.py")).unwrap();
        let rest = update(dir.path(), Lang::Python, false).unwrap();
        assert_eq!(lists(&rest), [vec!["wit/plugin.wit"], vec![], vec![]]);
    }

    #[test]
    fn a_copy_without_a_version_is_not_replaced_unasked() {
        let dir = tempfile::tempdir().unwrap();
        earlier(dir.path());
        fs::remove_file(dir.path().join(RECORD)).unwrap();
        let error = update(dir.path(), Lang::Python, false).unwrap_err().to_string();
        assert!(error.contains("it is not known whether") && error.contains("sdk/strait.py"), "{error}");
        let forced = update(dir.path(), Lang::Python, true).unwrap();
        assert_eq!((forced.from.as_str(), lists(&forced)[1].clone()), ("an unknown version", vec!["strait.py"]));
        // Neither is one whose record is damaged.
        for damaged in ["", "{", "[]", "{\"version\":\"1\"}", "{\"version\":1,\"files\":{}}", "\0"] {
            let dir = tempfile::tempdir().unwrap();
            earlier(dir.path());
            fs::write(dir.path().join(RECORD), damaged).unwrap();
            let error = update(dir.path(), Lang::Python, false).unwrap_err().to_string();
            assert!(error.contains("strait-sdk.json is damaged (") && error.contains("--force"), "{error}");
            assert_eq!(content(dir.path(), "strait.py").as_deref(), Some("# as it was\n"));
            let forced = update(dir.path(), Lang::Python, true).unwrap();
            assert_eq!(forced.from, "an unknown version");
            assert!(content(dir.path(), "old.py").is_some() && content(dir.path(), "mine.py").is_some());
            assert!(lists(&update(dir.path(), Lang::Python, false).unwrap()).iter().all(Vec::is_empty));
        }
        // What may be the author's stays.
        assert!(content(dir.path(), "old.py").is_some() && content(dir.path(), "mine.py").is_some());
        // A file of the author is in the way of a new one.
        let dir = tempfile::tempdir().unwrap();
        earlier(dir.path());
        project::write(&dir.path().join("wit/plugin.wit"), "mine").unwrap();
        let error = update(dir.path(), Lang::Python, false).unwrap_err().to_string();
        assert!(error.contains("sdk/wit/plugin.wit"), "{error}");
    }

    #[test]
    fn nothing_outside_of_the_folder_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("precious");
        fs::write(&outside, "x").unwrap();
        let sdk = dir.path().join("sdk");
        for path in ["../precious".to_owned(), outside.display().to_string(), "wit/../../precious".to_owned()] {
            write(&sdk, Lang::C).unwrap();
            let mut record = Written::read(&sdk).unwrap().unwrap();
            record.files.insert(path, digest_of(b"x"));
            record.write(&sdk).unwrap();
            let error = update(&sdk, Lang::C, true).unwrap_err().to_string();
            assert!(error.contains("is no path inside of the folder"), "{error}");
            assert!(outside.is_file());
        }
    }
}
