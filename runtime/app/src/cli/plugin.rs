//! `strait plugin …` for authors.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{ConfigFile, Output};

/// The author's commands.
#[derive(Debug, Subcommand)]
pub enum AuthorCommand {
    /// Write the project of a new plugin: code, SDK, and a test with golden data.
    New {
        /// Language of the plugin.
        #[arg(long, value_name = "LANG")]
        lang: Lang,
        /// Name of the plugin: lower-case letters, digits and '-'. The folder of this name must not
        /// exist.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Build the plugin of a project and print the path of the .wasm file.
    ///
    /// Packages from registries are installed into the project's folder .strait and nowhere else. A
    /// tool that the machine must have is named when it is missing.
    Build(Project),
    /// Bring the SDK in a project up to date with this program, and print what changed.
    ///
    /// Files that are not of the SDK stay as they are. Refused if a file of the SDK was edited by
    /// hand.
    Update {
        /// The project.
        #[command(flatten)]
        project: Project,
        /// Replace files of the SDK that were edited by hand.
        #[arg(long)]
        force: bool,
    },
    /// Run the test cases of a project: NAME.jsonl goes in, NAME.expected.jsonl must come out.
    Test {
        /// The project.
        #[command(flatten)]
        project: Project,
        /// Write the plugin's current output as the expected one.
        #[arg(long)]
        update: bool,
        /// Only cases whose name contains this.
        #[arg(long, value_name = "TEXT")]
        case: Option<String>,
    },
    /// Run the plugin, or all plugins of a link, over records: JSON lines in, one line per record
    /// out.
    ///
    /// With --link each line also says how each plugin left the record. No cluster is asked
    /// anything.
    Run {
        /// The plugin.
        #[command(flatten)]
        plugin: Chosen,
        /// Run the plugins of this link of the configuration.
        #[arg(long, value_name = "NAME", conflicts_with_all = ["plugin", "plugin_config"])]
        link: Option<String>,
        /// The configuration, for --link.
        #[command(flatten)]
        config: ConfigFile,
        /// Records as JSON lines, as `capture` writes them; '-' is standard input.
        #[arg(value_name = "RECORDS")]
        records: PathBuf,
        /// Omit records that pass unchanged.
        #[arg(long)]
        changes: bool,
    },
    /// Measure the plugin: records/s, ns per record, peak memory, and the columns that it reads.
    Bench {
        /// The plugin.
        #[command(flatten)]
        plugin: Chosen,
        /// Records as JSON lines, repeated as often as needed [default: the first case of the
        /// project's tests].
        #[arg(value_name = "RECORDS")]
        records: Option<PathBuf>,
        /// Duration of the measurement.
        #[arg(long, value_name = "SECONDS", default_value_t = 3)]
        seconds: u64,
        /// How to print it.
        #[arg(short, long, value_name = "FORMAT", default_value = "text")]
        output: Output,
    },
    /// Print records of a topic as JSON lines, for `run`, `test` and `bench`. Commits nothing.
    Capture {
        /// The configuration.
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
        /// Most records, from the earliest on, evenly over the partitions.
        #[arg(long, value_name = "N", default_value_t = 100)]
        max: usize,
    },
}

/// The folder of a project.
#[derive(Clone, Debug, Args)]
pub struct Project {
    /// The project: a folder with a strait-plugin.toml.
    #[arg(value_name = "FOLDER", default_value = ".")]
    pub folder: PathBuf,
}

/// A plugin: that of the project, or a file.
#[derive(Clone, Debug, Args)]
pub struct Chosen {
    /// A .wasm file, or the name of a bundled plugin [default: the built plugin of the project in
    /// this folder].
    #[arg(long, value_name = "FILE")]
    pub plugin: Option<String>,
    /// The plugin's configuration as JSON [default: the project's, else an empty object].
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
    /// Zig.
    Zig,
    /// AssemblyScript.
    #[value(name = "assemblyscript")]
    AssemblyScript,
    /// WebAssembly text.
    Wat,
}

impl Lang {
    /// Returns the name on the command line, which is the folder of its example too.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Go => "go",
            Self::Js => "js",
            Self::Ts => "ts",
            Self::Python => "python",
            Self::C => "c",
            Self::Zig => "zig",
            Self::AssemblyScript => "assemblyscript",
            Self::Wat => "wat",
        }
    }
}
