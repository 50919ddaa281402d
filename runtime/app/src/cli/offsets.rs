//! The command line of `strait offsets`.

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use super::ConfigFile;

/// `strait offsets …`
#[derive(Debug, Subcommand)]
pub enum OffsetsCommand {
    /// Say where a reader of the source resumes on the target, or the other way round.
    ///
    /// Reads the link's offset map; no process of the link needs to run. The answer skips no copied
    /// record at or above the position, and says whether any below it is read again.
    Translate(Translate),
    /// Print the positions of a link: of each source partition, the next offset to copy.
    ///
    /// No process of the link needs to run. With -o connect or records they are what MirrorMaker 2
    /// would have, to continue with it where the link has stopped.
    Positions(Positions),
}

/// `strait offsets positions`
#[derive(Debug, Args)]
pub struct Positions {
    /// Name of the link.
    #[arg(value_name = "LINK")]
    pub link: String,
    /// Name of MirrorMaker 2's connector, for -o records.
    #[arg(long, value_name = "NAME", default_value = "MirrorSourceConnector")]
    pub connector: String,
    /// Name of the source cluster in MirrorMaker 2's positions, if it is another one than the
    /// link's (source.cluster.alias).
    #[arg(long, value_name = "ALIAS")]
    pub source_alias: Option<String>,
    /// How to print them.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: PositionsOutput,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// The format of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PositionsOutput {
    /// For people.
    Text,
    /// The body of PATCH /connectors/NAME/offsets of Kafka Connect.
    Connect,
    /// Lines of key, tab and value for the topic of MirrorMaker 2's positions, as
    /// kafka-console-producer with parse.key reads them.
    Records,
}

/// `strait offsets translate`
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("of").required(true).args(["group", "topic"])))]
pub struct Translate {
    /// Name of the link.
    #[arg(value_name = "LINK")]
    pub link: String,
    /// Translate what this consumer group has committed.
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// Translate one offset: of this source topic, or with --inverse of this target topic.
    #[arg(long, value_name = "TOPIC", requires = "partition", requires = "offset")]
    pub topic: Option<String>,
    /// The partition of the topic.
    #[arg(long, value_name = "N", requires = "topic", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,
    /// The next offset to read.
    #[arg(long, value_name = "OFFSET", requires = "topic", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(0..))]
    pub offset: Option<i64>,
    /// From the target to the source.
    #[arg(long)]
    pub inverse: bool,
    /// How to print it. csv is what kafka-consumer-groups --reset-offsets --from-file reads.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: OffsetsOutput,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// The format of translated offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OffsetsOutput {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// Lines of topic, partition and offset, of the answers alone.
    Csv,
}
