//! The compilers of each language, found on the machine or installed from their registry into the
//! project.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::print_message;
use crate::load::PLUGIN_TOOLS;

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A tool is missing that is not installed by Strait.
    #[error("missing: {tool} ({used_for})\n  {hint}")]
    Missing {
        /// The tool.
        tool: String,
        /// Its purpose.
        used_for: &'static str,
        /// How to install it.
        hint: &'static str,
    },
    /// A command failed. Its own messages are on the terminal.
    #[error("`{command}` failed ({status}); its messages are above")]
    Failed {
        /// The command.
        command: String,
        /// Its exit status.
        status: String,
    },
    /// A command could not be started.
    #[error("`{command}` cannot be started: {error}")]
    Start {
        /// The command.
        command: String,
        /// The system's error.
        error: std::io::Error,
    },
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: String,
        /// The system's error.
        error: std::io::Error,
    },
    /// The module is no plugin.
    #[error("the module cannot be made a component: {0}; does main.go import the sdk, and export a plugin in init?")]
    Component(String),
    /// The WebAssembly text does not parse.
    #[error("{0}")]
    Wat(String),
    /// The project cannot be used.
    #[error(transparent)]
    Project(#[from] super::project::ProjectError),
}

const PYTHON_HINT: &str = "Debian, Ubuntu: apt-get install python3-venv    elsewhere: https://www.python.org/downloads";
const NODE_HINT: &str = "Debian, Ubuntu: apt-get install nodejs npm    elsewhere: https://nodejs.org";
const RUST_HINT: &str = "install rustup (https://rustup.rs), then: rustup target add wasm32-unknown-unknown\n  Debian, Ubuntu without rustup: apt-get install rustc-web cargo-web rust-web-src";
const RUST_WASM: &str = "wasm32-unknown-unknown";

/// The tools of a project.
#[derive(Debug)]
pub struct Tools {
    folder: PathBuf,
}

/// How this machine compiles Rust to Wasm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RustKind {
    /// With the installed target.
    Target,
    /// With Debian's compiler, which builds the standard library from source.
    Debian,
}

impl Tools {
    /// Returns the tools in the project, or in the folder that [`PLUGIN_TOOLS`] names.
    #[must_use]
    pub fn of(project: &super::project::Project) -> Self {
        let shared = env::var_os(PLUGIN_TOOLS).filter(|folder| !folder.is_empty()).map(PathBuf::from);
        Self { folder: shared.unwrap_or_else(|| project.scratch().join("tools")) }
    }

    /// Locks the folder during an installation, as builds of several projects may share it.
    /// Dropping the file unlocks it.
    fn lock(&self) -> Result<fs::File, BuildError> {
        let path = self.folder.join("lock");
        let of = |error| BuildError::File { path: path.display().to_string(), error };
        fs::create_dir_all(&self.folder).map_err(of)?;
        let file = fs::File::create(&path).map_err(of)?;
        file.lock().map_err(of)?;
        Ok(file)
    }

    /// Installs a package of PyPI into a Python environment of its own. Returns the path of its
    /// `bin`.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn pip(&self, package: &str, version: &str, used_for: &'static str) -> Result<PathBuf, BuildError> {
        let folder = self.folder.join(format!("{package}-{version}"));
        let bin = folder.join("bin");
        let ready = folder.join("ready");
        let _alone = self.lock()?;
        if ready.is_file() {
            return Ok(bin);
        }
        let python = find("python3").ok_or_else(|| BuildError::Missing {
            tool: "python3".to_owned(),
            used_for,
            hint: PYTHON_HINT,
        })?;
        print_message(&format!("installing {package} {version} from PyPI into {}", folder.display()));
        remove(&folder)?;
        let made = run(Command::new(&python).args(["-m", "venv"]).arg(&folder));
        made.map_err(|_| BuildError::Missing {
            tool: "python3's venv module".to_owned(),
            used_for,
            hint: PYTHON_HINT,
        })?;
        let arguments = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        run(Command::new(bin.join("python3")).args(arguments).arg(format!("{package}=={version}")))?;
        write(&ready, "")?;
        Ok(bin)
    }

    /// Installs packages of npm into a folder. Returns the path of its `node_modules`.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn npm(&self, name: &str, packages: &[&str], used_for: &'static str) -> Result<PathBuf, BuildError> {
        let folder = self.folder.join(name);
        let modules = folder.join("node_modules");
        let _alone = self.lock()?;
        let (ready, list) = (folder.join("ready"), packages.join("\n"));
        if fs::read_to_string(&ready).is_ok_and(|there| there == list) {
            return Ok(modules);
        }
        let npm = find("npm").filter(|_| find("node").is_some());
        let npm =
            npm.ok_or_else(|| BuildError::Missing { tool: "node and npm".to_owned(), used_for, hint: NODE_HINT })?;
        print_message(&format!("installing {} from npm into {}", packages.join(", "), folder.display()));
        remove(&folder)?;
        // Without a package.json here, npm would use one of a parent folder.
        write(&folder.join("package.json"), "{\"private\":true}\n")?;
        let arguments = ["install", "--silent", "--no-audit", "--no-fund", "--no-progress"];
        run(Command::new(npm).args(arguments).args(packages).current_dir(&folder))?;
        write(&ready, &list)?;
        Ok(modules)
    }

    /// Returns the folder for a compiler's cache.
    #[must_use]
    pub fn cache(&self, name: &str) -> PathBuf {
        self.folder.join("cache").join(name)
    }

    /// Finds out how this machine compiles Rust to Wasm. It tries in the project's folder, which
    /// may select a toolchain.
    ///
    /// # Errors
    /// [`BuildError::Missing`].
    pub fn rust(&self, folder: &Path) -> Result<RustKind, BuildError> {
        let installed = || {
            let libraries = output(
                Command::new("rustc").args(["--print", "target-libdir", "--target", RUST_WASM]).current_dir(folder),
            )?;
            let mut files = fs::read_dir(libraries).ok()?.flatten();
            files.any(|file| file.file_name().to_string_lossy().starts_with("libstd-")).then_some(())
        };
        if find("cargo").is_some() && installed().is_some() {
            return Ok(RustKind::Target);
        }
        if find("rustup").is_some() {
            print_message(&format!("rustup target add {RUST_WASM}"));
            let added = run(Command::new("rustup").args(["target", "add", RUST_WASM]).current_dir(folder));
            if added.is_ok() && installed().is_some() {
                return Ok(RustKind::Target);
            }
        }
        let sources = output(Command::new("/usr/bin/rustc").args(["--print", "sysroot"]))
            .map(|sysroot| Path::new(&sysroot).join("lib/rustlib/src/rust/library"));
        if Path::new("/usr/bin/cargo").exists() && sources.is_some_and(|sources| sources.is_dir()) {
            return Ok(RustKind::Debian);
        }
        Err(BuildError::Missing {
            tool: format!("Rust for {RUST_WASM}"),
            used_for: "compiling the plugin",
            hint: RUST_HINT,
        })
    }
}

/// Returns the linker of the Rust on the path. Debian's compiler has none for Wasm.
#[must_use]
pub fn rust_linker(folder: &Path) -> Option<PathBuf> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(folder))?;
    let version = output(Command::new("rustc").arg("-vV").current_dir(folder))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "))?;
    let linker = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/rust-lld");
    linker.exists().then_some(linker)
}

/// Returns the path of a program.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Returns the output of a command that succeeds.
#[must_use]
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs a command. Its output goes to standard error, as standard output is for the result.
///
/// # Errors
/// [`BuildError::Start`], [`BuildError::Failed`].
pub fn run(command: &mut Command) -> Result<(), BuildError> {
    let shown = || {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
    };
    let shown = shown();
    let output = command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| BuildError::Start { command: shown.clone(), error })?;
    if !output.stdout.is_empty() {
        print_message(&String::from_utf8_lossy(&output.stdout));
    }
    if !output.status.success() {
        return Err(BuildError::Failed { command: shown, status: output.status.to_string() });
    }
    Ok(())
}

/// Writes a file and creates its folders.
///
/// # Errors
/// [`BuildError::File`].
pub fn write(path: &Path, text: &str) -> Result<(), BuildError> {
    let of = |error| BuildError::File { path: path.display().to_string(), error };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(of)?;
    }
    fs::write(path, text).map_err(of)
}

fn remove(folder: &Path) -> Result<(), BuildError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(BuildError::File { path: folder.display().to_string(), error })
        }
        _ => Ok(()),
    }
}
