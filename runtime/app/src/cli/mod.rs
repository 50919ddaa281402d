//! The command line.

pub mod plugin;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Moves records between Kafka clusters, through plugins.
///
/// A configuration names clusters, and links that copy topics from one to another. Begin with `strait demo`, which needs no
/// broker; then write a strait.toml, try it with `strait check`, and `strait run` it.
#[derive(Debug, Parser)]
#[command(name = "strait", version, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 64 the configuration is wrong")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Which log messages: a level, or levels by module as in 'info,strait_kafka=debug'.
    #[arg(long, global = true, value_name = "FILTER", env = "RUST_LOG", hide_env_values = true)]
    pub log: Option<String>,
    /// How log messages are written [default: text on a terminal, json otherwise].
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the links of a configuration.
    ///
    /// Runs until SIGINT or SIGTERM, then finishes what is in flight. Several processes with the same configuration share
    /// the work: each takes some of a link's lanes.
    Run(Run),
    /// Try a configuration out without changing anything.
    ///
    /// Reads and judges it, loads its plugins, connects to its clusters, lists the topics that each link would copy and
    /// asks for the permissions that it would need.
    Check(Check),
    /// Say what a running process does.
    ///
    /// Asks its admin API: links, lanes, lag, partitions that stand still and why. Ends with 1 when nothing answers.
    Status {
        /// Which process.
        #[command(flatten)]
        at: AdminAt,
        /// How to print it.
        #[arg(short, long, value_name = "FORMAT", default_value = "text")]
        output: Output,
    },
    /// See Strait work: clusters, traffic and plugins on this machine, no broker needed.
    Demo(Demo),
    /// Print the configuration, or the schema of configurations.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Write, build, try and look at plugins.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Change how many processes can share a link.
    #[command(subcommand)]
    Lanes(LanesCommand),
}

/// Which configuration.
#[derive(Clone, Debug, Args)]
pub struct ConfigFile {
    /// The configuration: TOML, YAML or JSON by its extension. Variables like STRAIT_LINKS__0__NAME override it.
    #[arg(short = 'c', long = "config", value_name = "FILE", default_value = "strait.toml")]
    pub file: PathBuf,
}

/// Which running process: the one that its admin API's address names, else the one that runs the configuration.
#[derive(Clone, Debug, Args)]
pub struct AdminAt {
    /// The admin API, such as http://127.0.0.1:9610.
    #[arg(long, value_name = "URL")]
    pub admin: Option<String>,
    /// The configuration that it runs, for [admin] listen. Nothing else of it is read, and no secret is needed.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// Links of a running process.
#[derive(Clone, Debug, Args)]
pub struct LinkAt {
    /// The process.
    #[command(flatten)]
    pub at: AdminAt,
    /// Only this link. A rollback needs it where the process has several.
    #[arg(long, value_name = "LINK")]
    pub link: Option<String>,
    /// How to print the result.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

/// `strait run`
#[derive(Debug, Args)]
pub struct Run {
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigFile,
    /// End with 0 once every link has copied what its source held when it started.
    #[arg(long)]
    pub until_caught_up: bool,
}

/// `strait check`
#[derive(Debug, Args)]
pub struct Check {
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigFile,
    /// How to print the result.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

/// `strait demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// Leave the clusters and the link running, and say their addresses.
    #[arg(long, conflicts_with = "plugin")]
    pub keep: bool,
    /// Put this plugin (.wasm) in the link instead, and see what it does with orders.
    #[arg(long, value_name = "FILE")]
    pub plugin: Option<PathBuf>,
    /// Its configuration as JSON.
    #[arg(long, value_name = "JSON", requires = "plugin")]
    pub plugin_config: Option<String>,
}

/// `strait config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the JSON Schema of a configuration, for editors and CI.
    Schema,
    /// Print the configuration in effect: file, environment and defaults together.
    ///
    /// References to secrets are printed as written, secrets written in the file as ***.
    Show {
        /// Which configuration.
        #[command(flatten)]
        config: ConfigFile,
        /// How to print it; text is TOML.
        #[arg(short, long, value_name = "FORMAT", default_value = "text")]
        output: Output,
    },
}

/// `strait plugin …`
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// What an author needs.
    #[command(flatten)]
    Author(plugin::AuthorCommand),
    /// Say what a plugin is, what it declares and what it would import.
    Inspect {
        /// The .wasm file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// How to print it.
        #[arg(short, long, value_name = "FORMAT", default_value = "text")]
        output: Output,
    },
    /// Reload the configuration and the plugins of a running process.
    ///
    /// Plugins that do not load, or protect less than the active ones, are refused: the active ones stay.
    Reload {
        /// The links, and how to print the outcome.
        #[command(flatten)]
        on: LinkAt,
        /// Accept plugins that protect less than the active ones.
        #[arg(long)]
        confirm: bool,
        /// Retry plugins that broke or were refused before.
        #[arg(long)]
        force: bool,
    },
    /// Roll a running process back to the plugins before the last reload.
    Rollback(LinkAt),
    /// Print the plugins that a running process had, with times and reasons.
    History(LinkAt),
    /// Make a key pair to sign plugins with; prints the public key.
    Keygen {
        /// Where to put the private key; must not be there yet.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Sign a plugin's file: writes FILE.sig beside it.
    Sign {
        /// The private key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The .wasm file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Say who vouches for a plugin's file, from the signature beside it.
    Verify {
        /// The .wasm file.
        #[arg(value_name = "FILE")]
        plugin: PathBuf,
        /// A public key to trust, instead of the configuration's.
        #[arg(long, value_name = "KEY")]
        trust: Vec<String>,
        /// The configuration, for trusted_plugin_keys.
        #[command(flatten)]
        config: ConfigFile,
    },
}

/// `strait lanes …`
#[derive(Debug, Subcommand)]
pub enum LanesCommand {
    /// Give a link more lanes. Stop every process that runs it first.
    ///
    /// Keeps the link's progress to the offset. Interrupted, it is run again; until then no process takes the link up.
    /// Afterwards put the new number into the configuration.
    Resize {
        /// Name of the link.
        #[arg(value_name = "LINK")]
        link: String,
        /// How many lanes it is to have.
        #[arg(value_name = "LANES", value_parser = clap::value_parser!(u32).range(1..=64))]
        lanes: u32,
        /// Which configuration.
        #[command(flatten)]
        config: ConfigFile,
    },
}

/// For people or for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// How log messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}
