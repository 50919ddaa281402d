//! Errors of loading a plugin.

use std::path::PathBuf;

use crate::api::SPOKEN;
use crate::file::FileError;

/// A plugin that did not load, with its origin and what to do.
#[derive(Debug, thiserror::Error)]
#[error("plugin {plugin} ({origin}): {problem}")]
pub struct LoadError {
    /// Name of the plugin in the link.
    pub plugin: String,
    /// Path of its file, or `bundled`.
    pub origin: String,
    /// A file of the user's has a part in it: in the place of the plugin, or of the other one that
    /// the problem names.
    pub of_file: bool,
    /// The problem.
    pub problem: LoadProblem,
}

impl LoadError {
    /// Returns whether the configuration is wrong whatever the files of plugins are, so that a
    /// process does not start. Otherwise the link waits for another file, and the other links run.
    ///
    /// The words of a plugin about itself decide most of these problems. The bundled plugins are
    /// part of the binary, so that only the configuration can be at fault; a file can have been
    /// replaced by one that no longer fits it.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match &self.problem {
            LoadProblem::NotBundled { .. } | LoadProblem::NothingBundled | LoadProblem::OutputTopics(_) => true,
            LoadProblem::WasiNotGranted { .. }
            | LoadProblem::SchemaMismatch(_)
            | LoadProblem::ConfigureRefused(_)
            | LoadProblem::PassRefused
            | LoadProblem::NotRequired
            | LoadProblem::AfterRequired { .. }
            | LoadProblem::BeforeRequired { .. } => !self.of_file,
            _ => false,
        }
    }
}

/// A mistake in the configuration of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMistake {
    /// JSON Pointer into the configuration; empty for all of it.
    pub pointer: String,
    /// The plugin's or the schema's message.
    pub message: String,
}

/// A problem with a plugin.
#[derive(Debug, thiserror::Error)]
pub enum LoadProblem {
    /// The file cannot be read.
    #[error("cannot be read: {0}; check the path and plugin_dir")]
    Unreadable(std::io::Error),
    /// There is no such file, and no bundled plugin has the name.
    #[error("cannot be read: there is no such file{}; check the path and plugin_dir; bundled are: {bundled}", meant.as_ref().map(|meant| format!(" (did you mean '{meant}'?)")).unwrap_or_default())]
    NoSuchFile {
        /// The bundled plugin that may be meant.
        meant: Option<String>,
        /// The bundled plugins.
        bundled: String,
    },
    /// The binary has no bundled plugin of that name.
    #[error("no bundled plugin has this name; bundled are: {available}")]
    NotBundled {
        /// The names that exist.
        available: String,
    },
    /// The binary was built without bundled plugins.
    #[error("this binary was built without bundled plugins; run ./dev build")]
    NothingBundled,
    /// The file is larger than allowed.
    #[error("the file has {bytes} bytes, {bytes_max} are allowed; strip debug information or raise file_mib_max")]
    TooLarge {
        /// Size of the file.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// The operator pinned another file.
    #[error(
        "its digest is sha256:{found}, and the configuration pins sha256:{pinned}: put the pinned file back, or pin this one if it is meant"
    )]
    OtherDigest {
        /// Digest of the file, in hexadecimal digits.
        found: String,
        /// Digest in the configuration.
        pinned: String,
    },
    /// No trusted key vouches for it.
    #[error("trusted_plugin_keys is set, and {0}")]
    Untrusted(TrustError),
    /// It would cost the compiler more than allowed.
    #[error("it has {found} {what}, {max} are allowed; {advice}")]
    TooMuch {
        /// The things that were counted.
        what: &'static str,
        /// Their number.
        found: u64,
        /// The bound.
        max: u64,
        /// The remedy.
        advice: &'static str,
    },
    /// It passes components around, so that nothing can be counted.
    #[error(
        "it imports, exports or takes a component out of an instance, which no plugin needs; link its components into one when it is built"
    )]
    PassesComponents,
    /// It was not compiled.
    #[error("{0}")]
    Compiler(#[from] CompilerError),
    /// The file is not a valid WebAssembly module or component.
    #[error("not valid WebAssembly: {0}; give the .wasm file that the build made")]
    NotWasm(String),
    /// The core module cannot be made a component.
    #[error("the core module cannot be made a component: {0}; export the functions of wit/v0.2/plugin.wit")]
    NotAComponent(String),
    /// It has an import that no plugin is granted.
    #[error(
        "it imports '{import}', which Strait does not grant: a plugin gets strait:plugin/host, and a component a WASI 0.2 without files and network where `wasi = true` is set; build it without WASI (for Rust: wasm32-unknown-unknown)"
    )]
    UnknownImport {
        /// Name of the import.
        import: String,
    },
    /// It imports WASI, which the operator has not granted.
    #[error(
        "it imports '{import}': it was built with WASI; set `wasi = true` for it (it gets no files, no network and no environment), or build it without WASI"
    )]
    WasiNotGranted {
        /// Name of the import.
        import: String,
    },
    /// It was built for another version of the interface.
    #[error("it speaks strait:plugin@{version}, this host speaks {SPOKEN}; build it with the SDK of this release")]
    WrongVersion {
        /// The version it names.
        version: String,
    },
    /// It lacks an export of the interface, or has it with another type.
    #[error(
        "it does not export '{export}' as wit/v0.2/plugin.wit has it{detail}; build it with an SDK of this release"
    )]
    MissingExport {
        /// Name of the export.
        export: String,
        /// The difference, or nothing.
        detail: String,
    },
    /// Its description is not valid.
    #[error("its description is not valid: {0}; this is a bug in the plugin")]
    BadManifest(String),
    /// To check the configuration against the plugin's schema would take too long.
    #[error(
        "to check the configuration against the plugin's schema takes {steps} steps, {steps_max} are allowed; shorten the configuration, or the schema"
    )]
    SchemaSteps {
        /// Values of the schema times values of the configuration.
        steps: u64,
        /// The bound.
        steps_max: u64,
    },
    /// The configuration does not match the plugin's schema.
    #[error("the configuration does not fit the plugin's schema:{}", list(.0))]
    SchemaMismatch(Vec<ConfigMistake>),
    /// The plugin refused its configuration.
    #[error("the plugin refuses its configuration:{}", list(.0))]
    ConfigureRefused(Vec<ConfigMistake>),
    /// Its `on_error` is `pass` although it is required.
    #[error(
        "on_error = \"pass\" would let records pass without the judgement of a required plugin; choose quarantine, drop or stop"
    )]
    PassRefused,
    /// The operator's bound on its topics cannot be used.
    #[error("its output_topics cannot be used: {0}")]
    OutputTopics(regex::Error),
    /// It is not required, in a link of which residency is demanded.
    #[error(
        "the link has residency = true, and records could pass without the judgement of this plugin; set required = true for it"
    )]
    NotRequired,
    /// It could undo the edits of an earlier, required plugin.
    #[error(
        "it comes after '{earlier}', which is required and edits records, and could undo that (effects: {effects}); set allow_after = true for it if it may see and change what '{earlier}' leaves"
    )]
    AfterRequired {
        /// The required plugin before it.
        earlier: String,
        /// The effects with which it could.
        effects: String,
    },
    /// It would see what a later, required plugin removes or holds back.
    #[error(
        "it comes before '{later}', which is required, and would see what '{later}' removes or holds back; put it behind '{later}', or set may_see_raw = true for it if you trust it with that"
    )]
    BeforeRequired {
        /// The required plugin behind it.
        later: String,
    },
    /// It trapped in a call.
    #[error("it broke in {call}: {reason}; this is a bug in the plugin")]
    Trap {
        /// start, describe or configure.
        call: &'static str,
        /// The reason.
        reason: String,
    },
    /// It did not answer before the deadline.
    #[error("{call} did not end within {ms_max} ms; this is a bug in the plugin, or the machine is overloaded")]
    Timeout {
        /// start, describe or configure.
        call: &'static str,
        /// The bound.
        ms_max: u64,
    },
}

/// The process that compiles plugins gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum CompilerError {
    /// It took too long, and was ended.
    #[error(
        "compiling it takes more than {cpu_s_max} s of processor time; build it smaller, or raise compile_s_max if that is right"
    )]
    Time {
        /// The bound.
        cpu_s_max: u64,
    },
    /// It ended without an answer, for want of memory above all.
    #[error("the process that compiles it ended without an answer: {0}")]
    Ended(String),
    /// It cannot be started, or not be waited for.
    #[error("the process that compiles it cannot be started: {0}; Strait must be able to start its own program")]
    NotStarted(std::io::Error),
}

/// A file without a valid signature of a trusted key.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// There is no signature.
    #[error("it is not signed: {} is not there; sign it with strait plugin sign", .0.display())]
    Unsigned(PathBuf),
    /// The signature file cannot be read.
    #[error("its signature {} cannot be read: {error}", path.display())]
    Unreadable {
        /// The signature file.
        path: PathBuf,
        /// The error.
        error: std::io::Error,
    },
    /// The signature file is malformed.
    #[error("its signature {} is not as strait plugin sign writes it: {reason}", path.display())]
    Malformed {
        /// The signature file.
        path: PathBuf,
        /// The mistake.
        reason: &'static str,
    },
    /// It is signed by other keys only.
    #[error("it is signed by {signers}, which trusted_plugin_keys does not name")]
    OtherSigners {
        /// The keys in the signature file.
        signers: String,
    },
    /// The signature is for other bytes.
    #[error(
        "the signature of {signer} is not for these bytes: the file was changed after it was signed, or the signature belongs to another one"
    )]
    OtherBytes {
        /// The key of the signature.
        signer: String,
    },
    /// The signature is for another name.
    #[error(
        "it is signed to be loaded as {signed}, and not as {name}: put the right plugin in its place, or sign it under this name"
    )]
    OtherName {
        /// The signed name.
        signed: String,
        /// The name of the file.
        name: String,
    },
    /// The signature is for another version.
    #[error("its description says version {found}, and its signature {signed}: sign it again")]
    OtherVersion {
        /// The signed version.
        signed: String,
        /// The version in the description.
        found: String,
    },
}

fn list(mistakes: &[ConfigMistake]) -> String {
    let mut text = String::new();
    for mistake in mistakes {
        let place = if mistake.pointer.is_empty() { "configuration" } else { &mistake.pointer };
        text.push_str(&format!("\n  at {place}: {}", mistake.message));
    }
    text
}

impl From<FileError> for LoadProblem {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Unreadable(error) => Self::Unreadable(error),
            FileError::TooLarge { bytes, bytes_max } => Self::TooLarge { bytes, bytes_max },
        }
    }
}
