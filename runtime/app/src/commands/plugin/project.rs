//! The project of a plugin: its folder, its `strait-plugin.toml` and its copy of the SDK.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::sdk;
use crate::cli::plugin::Lang;

/// The manifest, which makes a folder a project.
pub const FILE: &str = "strait-plugin.toml";
/// Name of every example. `new` replaces it.
const PLACEHOLDER: &str = "tidy-orders";
/// The files that the binary brings along (see build.rs): path from the root of the repository, and
/// content.
const EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Why a project cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: String,
        /// The system's error.
        error: std::io::Error,
    },
    /// The folder is no project.
    #[error("{folder} holds no {FILE}; go to the plugin's folder, or begin with `strait plugin new --lang LANG NAME`")]
    NoProject {
        /// The folder.
        folder: String,
    },
    /// The manifest is wrong.
    #[error("{path}: {message}")]
    Manifest {
        /// Path of the manifest.
        path: String,
        /// The fault.
        message: String,
    },
    /// The record of what was written into the SDK's folder is damaged.
    #[error(
        "{path} is damaged ({message}), so it is not known which version the SDK has and which files of it were edited by hand; nothing was changed. --force replaces the files of the SDK, and leaves those that may be yours"
    )]
    Damaged {
        /// Path of the record.
        path: String,
        /// The fault.
        message: String,
    },
    /// Files of the SDK were edited by hand, or it is not known whether they were.
    #[error("{0}")]
    Edited(String),
    /// The name is not valid.
    #[error("'{0}' cannot be a plugin's name: lower-case letters, digits and '-', beginning with a letter")]
    Name(String),
    /// The folder exists already.
    #[error("{0} exists already; choose another name, or remove it")]
    Exists(String),
}

/// The manifest `strait-plugin.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: String,
    lang: Option<Lang>,
    /// Configuration for `test`, `run` and `bench`.
    config: Option<Value>,
    build: Option<BuildSection>,
}

/// A build by a command of the author.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BuildSection {
    command: Vec<String>,
}

/// How a project is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipe {
    /// By the built-in recipe of this language.
    Lang(Lang),
    /// By a command, run in the project's folder. It must write the plugin to [`Project::wasm`].
    Command {
        /// The command and its arguments.
        words: Vec<String>,
        /// The language whose SDK the project has, if the manifest names one.
        lang: Option<Lang>,
    },
}

impl Recipe {
    /// Returns the language whose SDK the project has.
    #[must_use]
    pub fn lang(&self) -> Option<Lang> {
        match self {
            Self::Lang(lang) => Some(*lang),
            Self::Command { lang, .. } => *lang,
        }
    }
}

/// A project on disk.
#[derive(Debug)]
pub struct Project {
    /// Folder of the project.
    pub folder: PathBuf,
    /// Name of the plugin.
    pub name: String,
    /// How it is built.
    pub recipe: Recipe,
    /// Configuration for `test`, `run` and `bench`.
    pub config: Value,
}

impl Project {
    /// Reads the project of a folder.
    ///
    /// # Errors
    /// [`ProjectError`].
    pub fn open(folder: &Path) -> Result<Self, ProjectError> {
        let path = folder.join(FILE);
        if !path.is_file() {
            return Err(ProjectError::NoProject { folder: folder.display().to_string() });
        }
        let text = fs::read_to_string(&path).map_err(|error| of(&path, error))?;
        let wrong = |message: String| ProjectError::Manifest { path: path.display().to_string(), message };
        let manifest: Manifest = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        check_name(&manifest.name)?;
        let recipe = match (manifest.build, manifest.lang) {
            (Some(build), _) if build.command.is_empty() => return Err(wrong("build.command is empty".to_owned())),
            (Some(build), lang) => Recipe::Command { words: build.command, lang },
            (None, Some(lang)) => Recipe::Lang(lang),
            (None, None) => return Err(wrong("give lang, or command under [build]".to_owned())),
        };
        let folder = fs::canonicalize(folder).map_err(|error| of(folder, error))?;
        let config = manifest.config.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        Ok(Self { folder, name: manifest.name, recipe, config })
    }

    /// Returns the path of the built plugin.
    #[must_use]
    pub fn wasm(&self) -> PathBuf {
        self.folder.join("build").join(format!("{}.wasm", self.name))
    }

    /// Returns the folder for the tools and caches of builds.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.folder.join(".strait")
    }

    /// Writes the SDK of the language where it is missing, as in a fresh checkout without it. An
    /// existing one belongs to the author and is left alone.
    ///
    /// # Errors
    /// [`ProjectError::File`].
    pub fn ensure_sdk(&self, lang: Lang) -> Result<(), ProjectError> {
        let folder = self.folder.join(sdk::FOLDER);
        if folder.is_dir() { Ok(()) } else { sdk::write(&folder, lang) }
    }
}

/// Writes a new project into a folder of its name below `parent`.
///
/// # Errors
/// [`ProjectError`].
pub fn create(parent: &Path, name: &str, lang: Lang) -> Result<PathBuf, ProjectError> {
    check_name(name)?;
    let folder = parent.join(name);
    if folder.exists() {
        return Err(ProjectError::Exists(folder.display().to_string()));
    }
    let template: &'static str = match lang {
        Lang::Rust => "examples/plugins/rust",
        Lang::Go => "examples/plugins/go",
        Lang::Js => "examples/plugins/js",
        Lang::Ts => "examples/plugins/ts",
        Lang::Python => "examples/plugins/python",
        Lang::C => "examples/plugins/c",
        Lang::Zig => "examples/plugins/zig",
        Lang::AssemblyScript => "examples/plugins/assemblyscript",
        Lang::Wat => "examples/plugins/wat",
    };
    let own = |text: &str| text.replace(PLACEHOLDER, name).replace(&snake(PLACEHOLDER), &snake(name));
    for (path, text) in embedded_under(template) {
        write(&folder.join(path), &own(text))?;
    }
    write(&folder.join(".gitignore"), "/.strait/\n/build/\n")?;
    sdk::write(&folder.join(sdk::FOLDER), lang)?;
    Ok(folder)
}

/// Returns a name as an identifier.
#[must_use]
pub fn snake(name: &str) -> String {
    name.replace('-', "_")
}

fn check_name(name: &str) -> Result<(), ProjectError> {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !plain || !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.len() > 64 {
        return Err(ProjectError::Name(name.to_owned()));
    }
    Ok(())
}

/// Writes a file and creates its folders.
///
/// # Errors
/// [`ProjectError::File`].
pub fn write(path: &Path, text: &str) -> Result<(), ProjectError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| of(folder, error))?;
    }
    fs::write(path, text).map_err(|error| of(path, error))
}

/// Returns the error of a file.
pub fn of(path: &Path, error: std::io::Error) -> ProjectError {
    ProjectError::File { path: path.display().to_string(), error }
}

/// Returns the embedded files below a folder, by their path from it.
pub fn embedded_under(folder: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    EMBEDDED.iter().filter_map(move |(path, text)| Some((path.strip_prefix(folder)?.strip_prefix('/')?, *text)))
}

/// Returns an embedded file; empty where there is none, which the tests of `new` would find.
pub fn embedded_file(path: &str) -> &'static str {
    EMBEDDED.iter().find(|(name, _)| *name == path).map_or("", |(_, text)| text)
}
