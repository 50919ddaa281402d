//! The command line of `strait import`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `strait import …`
#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// From MirrorMaker 2: the properties file of its dedicated mode.
    ///
    /// Each property becomes an option, a note or a refusal, listed with its line on standard
    /// error. Exits with 1 if something was refused; the configuration names it at its top. Secrets
    /// of the file are not copied. No cluster is asked.
    Mm2(ImportFile),
    /// From Strimzi: a resource KafkaMirrorMaker2, in YAML or JSON, of v1beta2 or v1.
    ///
    /// As for mm2. Secrets become references to files, /mnt/SECRET/KEY: mount them there.
    Strimzi(ImportFile),
}

/// A file, and where its translation goes.
#[derive(Debug, Args)]
pub struct ImportFile {
    /// The file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The configuration to write [default: standard output]. It must not exist yet, but for
    /// --take-over, which uses one that exists as it is.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Make the links begin where MirrorMaker 2 has stopped, before their first run.
    ///
    /// Reads its positions on the targets, and compares the ends of source and target for what it
    /// copied after it last wrote them. Refuses a link that has progress already. Stop MirrorMaker
    /// 2 before: while its group has members, the positions are watched for two of its intervals.
    #[arg(long, requires = "output")]
    pub take_over: bool,
    /// The connector to take over from, where several have copied from a source.
    #[arg(long, value_name = "NAME", requires = "take_over")]
    pub connector: Option<String>,
}
