//! Grants as commands of `kafka-acls.sh`, and as JSON.

use serde_json::{Value, json};

use super::grants::{Grant, Pattern, Resource};
use super::{Need, Right};
use crate::event::Side;

/// The principal in commands for which none is given.
pub const PRINCIPAL: &str = "User:NAME";

/// Returns whether a text is a principal as Kafka's access lists have them. Their case counts.
#[must_use]
pub fn is_principal(text: &str) -> bool {
    let name = text.strip_prefix("User:").unwrap_or_default();
    !name.is_empty() && name.trim() == name && !name.chars().any(char::is_control)
}

/// A cluster of a link, as grants on it are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its end of the link.
    pub side: Side,
    /// Its name in the configuration.
    pub cluster: String,
    /// Its bootstrap servers.
    pub servers: String,
    /// The principal that gets the rights.
    pub principal: String,
}

impl Grant {
    /// Returns the command that grants it; nothing where Kafka cannot grant it by one.
    #[must_use]
    pub fn command(&self, servers: &str, principal: &str) -> Option<String> {
        let mut command = format!(
            "kafka-acls.sh --bootstrap-server {} --add --allow-principal {} --operation {}",
            quoted(servers),
            quoted(principal),
            self.right.operation.name()
        );
        let option = match self.resource {
            Resource::Topic => "--topic",
            Resource::Group => "--group",
            Resource::TransactionalId => "--transactional-id",
            Resource::Cluster => {
                command.push_str(" --cluster");
                return Some(command);
            }
        };
        let kind = match self.pattern {
            Pattern::Literal => "",
            Pattern::Prefixed => " --resource-pattern-type prefixed",
            Pattern::Matching => return None,
        };
        Some(format!("{command} {option} {}{kind}", quoted(&self.name)))
    }

    fn json(&self) -> Value {
        let Right { operation, need, why, without, .. } = self.right;
        json!({
            "resource": self.resource.name(),
            "name": if self.resource == Resource::Cluster { "kafka-cluster" } else { &*self.name },
            "pattern": self.pattern.name(),
            "operation": operation.name(),
            "need": need.name(),
            "why": why,
            "without": without,
        })
    }
}

/// Returns a word of a shell command.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-:,/@".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Returns the commands that grant the rights at one cluster, those of each right under its reason.
#[must_use]
pub fn script(link: &str, place: &Place, grants: &[Grant]) -> String {
    let Place { side, cluster, servers, principal } = place;
    let mut text = format!("# link {link}, {side}: cluster {cluster}\n");
    let mut last = None;
    for grant in grants.iter().filter(|grant| grant.side() == *side) {
        let Right { why, without, need, operation, .. } = grant.right;
        if last.replace(grant.right) != Some(grant.right) {
            text.push_str(&format!("# {why}; without it: {without}\n"));
        }
        let lead = if *need == Need::Sometimes { "# " } else { "" };
        text.push_str(&match grant.command(servers, principal) {
            Some(command) => format!("{lead}{command}\n"),
            None => format!(
                "# {} on the topics '{}': their names have no common beginning, so each needs a line of its own\n",
                operation.name(),
                grant.name
            ),
        });
    }
    text
}

/// Returns the rights at one cluster for programs.
#[must_use]
pub fn to_json(place: &Place, grants: &[Grant]) -> Value {
    let here = grants.iter().filter(|grant| grant.side() == place.side);
    json!({
        "side": place.side.to_string(),
        "cluster": place.cluster,
        "bootstrap_servers": place.servers,
        "principal": place.principal,
        "rights": here.map(Grant::json).collect::<Vec<_>>(),
    })
}
