//! The command line of `strait groups`.

use clap::{Args, Subcommand};

use super::{ConfigFile, Output};

/// `strait groups …`
#[derive(Debug, Subcommand)]
pub enum GroupsCommand {
    /// Show each group's offsets on the source, where it resumes on the target, and who owns it.
    ///
    /// Reads both clusters; no process of the link needs to run. The groups are those of the link's
    /// option groups.
    List(GroupsList),
    /// Give a group back to the link that has become the target's.
    ///
    /// The link writes the group's place on the target again, over what is there: readers on the
    /// target may read records again, or miss some. Stop them before. The coordinator of the link
    /// begins anew, which takes some seconds; records are copied all the same.
    Resync(GroupsResync),
}

/// `strait groups list`
#[derive(Debug, Args)]
pub struct GroupsList {
    /// Name of the link.
    #[arg(value_name = "LINK")]
    pub link: String,
    /// Only this group.
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// How to print it.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// `strait groups resync`
#[derive(Debug, Args)]
pub struct GroupsResync {
    /// Name of the link.
    #[arg(value_name = "LINK")]
    pub link: String,
    /// The group.
    #[arg(long, value_name = "GROUP")]
    pub group: String,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
}
