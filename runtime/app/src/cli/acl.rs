//! `strait acl …`

use clap::{Args, Subcommand, ValueEnum};
use strait_core::Side;
use strait_core::acl::commands::is_principal;
use strait_core::acl::msk::{is_cluster_arn, is_identity_arn};

use super::ConfigFile;

/// `strait acl …`
#[derive(Debug, Subcommand)]
pub enum AclCommand {
    /// Print the rights that a link needs, each with its reason.
    ///
    /// Names topics by name, or by how their names begin. Asks the clusters which topics there are,
    /// and changes nothing; without an answer, topics are named by the patterns of the
    /// configuration.
    Print(AclPrint),
}

/// The arguments of `strait acl print`.
#[derive(Debug, Args)]
pub struct AclPrint {
    /// Name of the link.
    #[arg(value_name = "LINK")]
    pub link: String,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
    /// How to print them.
    #[arg(short, long, value_name = "FORMAT", default_value = "kafka-acls")]
    pub output: AclOutput,
    /// Who gets the rights, such as User:copier; for policies the ARN of a role or user. With
    /// source= or target= before it, on that cluster only.
    #[arg(long, value_name = "[SIDE=]PRINCIPAL", value_parser = principal)]
    pub principal: Vec<OfSide>,
    /// ARN of the MSK cluster, for policies. With source= or target= before it, of that cluster
    /// only.
    #[arg(long, value_name = "[SIDE=]ARN", value_parser = cluster_arn)]
    pub cluster_arn: Vec<OfSide>,
    /// Only the rights on this cluster of the link.
    #[arg(long, value_name = "SIDE")]
    pub side: Option<LinkSide>,
    /// Ask no cluster.
    #[arg(long)]
    pub offline: bool,
}

/// The format of rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AclOutput {
    /// Commands of Kafka's tool.
    KafkaAcls,
    /// For programs.
    Json,
    /// A policy for Amazon MSK with IAM access control.
    MskIam,
}

/// An end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LinkSide {
    /// The cluster that it reads.
    Source,
    /// The cluster that it writes.
    Target,
}

impl From<LinkSide> for Side {
    fn from(side: LinkSide) -> Self {
        match side {
            LinkSide::Source => Self::Source,
            LinkSide::Target => Self::Target,
        }
    }
}

/// A text for one end of a link, or for both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfSide {
    side: Option<Side>,
    text: String,
}

impl OfSide {
    /// Returns the text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the last text that is for this end.
    #[must_use]
    pub fn last(all: &[Self], side: Side) -> Option<&str> {
        all.iter().rev().find(|given| given.side.is_none_or(|of| of == side)).map(|given| given.text.as_str())
    }
}

/// Shows how to write a principal.
pub const PRINCIPALS: &str = "User:NAME with its capital, as in User:copier or source=User:copier; for -o msk-iam the ARN of a role or user, as in arn:aws:iam::123456789012:role/strait";

fn principal(argument: &str) -> Result<OfSide, String> {
    let given = of_side(argument);
    let is_known = is_principal(&given.text) || is_identity_arn(&given.text);
    if is_known { Ok(given) } else { Err(format!("write {PRINCIPALS}")) }
}

fn cluster_arn(argument: &str) -> Result<OfSide, String> {
    let given = of_side(argument);
    if is_cluster_arn(&given.text) {
        return Ok(given);
    }
    Err("write the ARN of an MSK cluster, as in arn:aws:kafka:eu-west-1:123456789012:cluster/main/0f1e2d3c-4b5a, or with source= or target= before it".to_owned())
}

fn of_side(argument: &str) -> OfSide {
    let (side, text) = match argument.split_once('=') {
        Some(("source", text)) => (Some(Side::Source), text),
        Some(("target", text)) => (Some(Side::Target), text),
        _ => (None, argument),
    };
    OfSide { side, text: text.to_owned() }
}
