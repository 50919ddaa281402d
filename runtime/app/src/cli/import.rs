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
}

/// A file, and where its translation goes.
#[derive(Debug, Args)]
pub struct ImportFile {
    /// The file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The configuration to write [default: standard output]. It must not exist yet.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
