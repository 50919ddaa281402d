//! `strait plugin …` for authors.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{ConfigFile, Output};

/// The author's commands.
#[derive(Debug, Subcommand)]
pub enum AuthorCommand {
    /// Write the project of a new plugin: code, SDK, a test with golden data.
    New {
        /// Its language.
        #[arg(long, value_name = "LANG")]
        lang: Lang,
        /// Its name: lower-case letters, digits and '-'. The folder of this name must not exist.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Build the plugin of a project: prints the .wasm file.
    ///
    /// What comes from package registries is installed into the project's folder .strait, nothing outside of it. What the
    /// machine must have is said when it is missing.
    Build(Project),
    /// Run the cases of a project's tests folder: NAME.jsonl in, compared with NAME.expected.jsonl.
    Test {
        /// The project.
        #[command(flatten)]
        project: Project,
        /// Take what the plugin does now as what is expected.
        #[arg(long)]
        update: bool,
        /// Only cases whose name contains this.
        #[arg(long, value_name = "TEXT")]
        case: Option<String>,
    },
    /// Show what the plugin does with records: JSON lines in, one line per record out.
    Run {
        /// The plugin.
        #[command(flatten)]
        plugin: Chosen,
        /// Records as JSON lines, as `capture` writes them; '-' is standard input.
        #[arg(value_name = "RECORDS")]
        records: PathBuf,
        /// Leave out records that pass unchanged.
        #[arg(long)]
        changes: bool,
    },
    /// Measure the plugin: records/s, ns per record, peak memory, and what it is given of each record, by column.
    Bench {
        /// The plugin.
        #[command(flatten)]
        plugin: Chosen,
        /// Records as JSON lines, repeated as often as needed [default: the first case of the project's tests].
        #[arg(value_name = "RECORDS")]
        records: Option<PathBuf>,
        /// How long to measure.
        #[arg(long, value_name = "SECONDS", default_value_t = 3)]
        seconds: u64,
        /// How to print it.
        #[arg(short, long, value_name = "FORMAT", default_value = "text")]
        output: Output,
    },
    /// Write records of a topic as JSON lines, for `run`, `test` and `bench`. Reads only; commits nothing.
    Capture {
        /// Which configuration.
        #[command(flatten)]
        config: ConfigFile,
        /// The topic.
        #[arg(long, value_name = "TOPIC")]
        topic: String,
        /// A cluster of the configuration.
        #[arg(long, value_name = "ALIAS", required_unless_present = "link")]
        cluster: Option<String>,
        /// The source cluster of this link.
        #[arg(long, value_name = "NAME", conflicts_with = "cluster")]
        link: Option<String>,
        /// At most so many records, from the earliest on, evenly over the partitions.
        #[arg(long, value_name = "N", default_value_t = 100)]
        max: usize,
    },
}

/// A project's folder.
#[derive(Clone, Debug, Args)]
pub struct Project {
    /// The project: a folder with a strait-plugin.toml.
    #[arg(value_name = "FOLDER", default_value = ".")]
    pub folder: PathBuf,
}

/// A plugin: of the project, or a file.
#[derive(Clone, Debug, Args)]
pub struct Chosen {
    /// A .wasm file, or the name of a bundled plugin [default: what the project in this folder has built].
    #[arg(long, value_name = "FILE")]
    pub plugin: Option<String>,
    /// Its configuration as JSON [default: the project's, else an empty object].
    #[arg(long, value_name = "JSON")]
    pub plugin_config: Option<String>,
}

/// Languages with a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lang {
    /// Rust.
    Rust,
    /// Go.
    Go,
    /// JavaScript.
    Js,
    /// TypeScript.
    Ts,
    /// Python.
    Python,
    /// C.
    C,
    /// WebAssembly text.
    Wat,
}

impl Lang {
    /// As it is written on the command line, and the folder of its example.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Go => "go",
            Self::Js => "js",
            Self::Ts => "ts",
            Self::Python => "python",
            Self::C => "c",
            Self::Wat => "wat",
        }
    }
}
