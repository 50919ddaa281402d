//! The command line of `strait plan`.

use clap::Args;

use super::{ConfigFile, Output};

/// `strait plan`
#[derive(Debug, Args)]
pub struct Plan {
    /// Name of the link.
    #[arg(value_name = "LINK")]
    pub link: String,
    /// How to print it.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
    /// Exit with 1 if there is something to change, or something that is not known.
    #[arg(long)]
    pub fail_on_change: bool,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
}
