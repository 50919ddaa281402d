//! The command line.

pub mod acl;
pub mod groups;
pub mod import;
pub mod offsets;
pub mod plan;
pub mod plugin;
pub mod quarantine;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The configuration that commands read where none is named.
pub const DEFAULT_FILE: &str = "strait.toml";

/// Moves records between Kafka clusters, through plugins.
///
/// A configuration names clusters, and links that copy topics from one to another. Begin with
/// `strait demo`, which needs no broker. Then write a strait.toml, try it with `strait check`, and
/// run it with `strait run`.
#[derive(Debug, Parser)]
#[command(name = "strait", version, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 64 the configuration is wrong")]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
    /// Level of the log, or levels by module as in 'info,strait_kafka=debug'.
    #[arg(long, global = true, value_name = "FILTER", env = "RUST_LOG", hide_env_values = true)]
    pub log: Option<String>,
    /// Format of the log [default: text on a terminal, json otherwise].
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the links of a configuration.
    ///
    /// Runs until SIGINT or SIGTERM, then commits what is in flight. Several processes with the
    /// same configuration share the work: each takes some of a link's lanes.
    Run(Run),
    /// Try a configuration without changing anything.
    ///
    /// Validates it, loads its plugins, connects to its clusters, lists the topics that each link
    /// would copy, and checks the permissions that it would need.
    Check(Check),
    /// Say what the target of a link lacks to be like its source, without changing anything.
    ///
    /// Compares topics, partitions, settings and, with sync.acls, access lists. A line with + makes
    /// something, ~ changes, - deletes, = is left with the reason, ? is not known. The target is
    /// asked whether it would take each change.
    Plan(plan::Plan),
    /// Show the state of a running process.
    ///
    /// Asks its admin API for links, lanes, lag, and stopped partitions with the reason. Exits with
    /// 1 when nothing answers.
    Status {
        /// The process.
        #[command(flatten)]
        at: AdminAt,
        /// How to print it.
        #[arg(short, long, value_name = "FORMAT", default_value = "text")]
        output: Output,
    },
    /// See Strait work, with clusters, traffic and plugins on this machine. No broker needed.
    Demo(Demo),
    /// Print the configuration, or the schema of configurations.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Write, build, try and inspect plugins.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Print the rights that a link needs on its clusters.
    #[command(subcommand)]
    Acl(acl::AclCommand),
    /// Change how many processes can share a link.
    #[command(subcommand)]
    Lanes(LanesCommand),
    /// Retry a partition, or move its position.
    #[command(subcommand)]
    Partitions(PartitionsCommand),
    /// List, replay and discard records that were refused.
    #[command(subcommand)]
    Quarantine(quarantine::QuarantineCommand),
    /// Make a configuration from that of another replicator.
    #[command(subcommand)]
    Import(import::ImportCommand),
    /// Show the consumer groups whose offsets a link keeps on the target, or give one back to it.
    #[command(subcommand)]
    Groups(groups::GroupsCommand),
    /// Translate the offsets of consumer groups between the ends of a link.
    #[command(subcommand)]
    Offsets(offsets::OffsetsCommand),
    /// Compile a plugin from standard input. Strait starts itself so; not for anybody else.
    #[command(hide = true)]
    CompilePlugin {
        /// Seconds of processor time.
        cpu_s_max: u64,
    },
}

/// A configuration file.
#[derive(Clone, Debug, Args)]
pub struct ConfigFile {
    /// The configuration: TOML, YAML or JSON by its extension. Variables like STRAIT_LINKS__0__NAME
    /// override it.
    #[arg(short = 'c', long = "config", value_name = "FILE", default_value = DEFAULT_FILE)]
    pub file: PathBuf,
}

/// A running process, by the address of its admin API or by its configuration.
#[derive(Clone, Debug, Args)]
pub struct AdminAt {
    /// The admin API, such as http://127.0.0.1:9610.
    #[arg(long, value_name = "URL")]
    pub admin: Option<String>,
    /// The configuration of the process, of which only the admin address is read. No secret is
    /// needed.
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
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
    /// Exit with 0 once every link has copied what its source held at the start.
    #[arg(long)]
    pub until_caught_up: bool,
    /// Copy records, and change nothing else at the targets but Strait's own topics: neither topics
    /// nor settings nor access lists. `strait plan` shows what would be changed.
    #[arg(long)]
    pub read_only_metadata: bool,
}

/// `strait check`
#[derive(Debug, Args)]
pub struct Check {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
    /// How to print the result.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

/// `strait demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// Leave the clusters and the link running, and print their addresses.
    #[arg(long, conflicts_with = "plugin")]
    pub keep: bool,
    /// Use this plugin (.wasm) in the link instead, and see what it does with orders.
    #[arg(long, value_name = "FILE")]
    pub plugin: Option<PathBuf>,
    /// The plugin's configuration as JSON.
    #[arg(long, value_name = "JSON", requires = "plugin")]
    pub plugin_config: Option<String>,
}

/// `strait config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the JSON Schema of a configuration, for editors and CI.
    Schema,
    /// Print the effective configuration: file, environment and defaults together.
    ///
    /// References to secrets are printed as written, and secrets in the file as ***.
    Show {
        /// The configuration.
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
    /// The author's commands.
    #[command(flatten)]
    Author(plugin::AuthorCommand),
    /// Show a plugin's kind, declarations and imports.
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
    /// Plugins that do not load, or protect less than the active ones, are refused: the active ones
    /// stay.
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
    Rollback {
        /// The link, and how to print the outcome.
        #[command(flatten)]
        on: LinkAt,
        /// Accept that the plugins before protect less than the active ones.
        #[arg(long)]
        confirm: bool,
    },
    /// Print the plugins that a running process had, with times and reasons.
    History(LinkAt),
    /// Make a key pair to sign plugins with; prints the public key.
    Keygen {
        /// The file for the private key. It must not exist yet.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Sign a plugin's file. Writes FILE.sig beside it.
    Sign {
        /// The private key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The .wasm file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Verify the signature beside a plugin's file.
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
    /// Keeps the link's progress to the offset. If it is interrupted, run it again; until then no
    /// process runs the link. Afterwards set the new number in the configuration.
    Resize {
        /// Name of the link.
        #[arg(value_name = "LINK")]
        link: String,
        /// The new number of lanes.
        #[arg(value_name = "LANES", value_parser = clap::value_parser!(u32).range(1..=64))]
        lanes: u32,
        /// The configuration.
        #[command(flatten)]
        config: ConfigFile,
    },
}

/// `strait partitions …`
#[derive(Debug, Subcommand)]
pub enum PartitionsCommand {
    /// Go on at a later offset, past records that cannot be copied. What lies between is lost.
    ///
    /// The link may run: its process is fenced and goes on at the new offset. A link that delivers
    /// at least once must be stopped first.
    Skip(SkipPartition),
    /// Retry a partition that is stuck or stopped, once the cause is mended.
    ///
    /// Strait retries most of them by itself after a while. This asks the running process that has
    /// the partition's lane to do it now; another process answers with the lane.
    Retry(RetryPartition),
}

/// A source partition of a link.
#[derive(Clone, Debug, Args)]
pub struct PartitionOf {
    /// Name of the link.
    #[arg(value_name = "LINK")]
    pub link: String,
    /// Source topic.
    #[arg(value_name = "TOPIC")]
    pub topic: String,
    /// Partition number.
    #[arg(value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(0..))]
    pub number: i32,
}

/// The arguments of `strait partitions retry`.
#[derive(Debug, Args)]
pub struct RetryPartition {
    /// The partition.
    #[command(flatten)]
    pub partition: PartitionOf,
    /// The process.
    #[command(flatten)]
    pub at: AdminAt,
}

/// The arguments of `strait partitions skip`.
#[derive(Debug, Args)]
pub struct SkipPartition {
    /// The partition.
    #[command(flatten)]
    pub partition: PartitionOf,
    /// The next source offset to read, between the start of the log and its last stable offset.
    #[arg(long, value_name = "OFFSET", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(0..))]
    pub to: i64,
    /// Do it. Without this the command only says what would be lost.
    #[arg(long)]
    pub yes: bool,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// The format of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}
