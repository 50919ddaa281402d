//! What would become of the topics that a link needs on the target. Asks the target and changes
//! nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use strait_core::Event;
use strait_core::topic::collision_key;
use strait_flow::ports::{PortError, WantedTopic};

use super::target::{KafkaTargetTopics, sort};
use crate::error::blocking;
use crate::ffi::FfiError;
use crate::lazy_client::fail;
use crate::queries::is_unsupported;

/// What the target says of a topic that is missing or too small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// Strait would create or grow it, and report these events.
    Provided(Vec<Event>),
    /// It stays as it is. Records for it would wait.
    Refused {
        /// The target's reason.
        reason: String,
        /// The command that mends it by hand.
        command: String,
    },
}

/// Topics and their outlooks, by name.
pub type Outlooks = BTreeMap<Arc<str>, Outlook>;

impl KafkaTargetTopics {
    /// Asks the target about those of `wanted` that are missing or too small. With `manages` false,
    /// Strait may neither create nor grow them.
    ///
    /// # Errors
    /// [`PortError`] when a cluster does not answer.
    pub async fn outlook(&self, wanted: Vec<WantedTopic>, manages: bool) -> Result<Outlooks, PortError> {
        let client = self.client.get()?;
        let context = self.client.context.clone();
        let (maker, timeout, servers) = (Arc::clone(&self.maker), self.timeout, self.client.servers().to_owned());
        blocking(&self.client.context, move || {
            let sorted = sort(&client, &wanted, timeout).map_err(|error| fail(&context, &error, Some(&client)))?;
            let mut outlooks = Outlooks::new();
            for plan in maker.plan(&client, &sorted.missing)? {
                let asked = match manages {
                    true => plan.send(&client, true, timeout).map_err(|error| refusal(&error)),
                    false => Err(Some("it does not exist, and manage_topics is off".to_owned())),
                };
                let outlook = match asked {
                    Ok(created) => Outlook::Provided(plan.events(created.unwrap_or_default())),
                    Err(Some(reason)) => Outlook::Refused { reason, command: plan.command(&servers) },
                    Err(None) => continue,
                };
                outlooks.insert(Arc::clone(&plan.wanted.name), outlook);
            }
            collide(&sorted.missing, &mut outlooks);
            for WantedTopic { name, partitions, .. } in sorted.small {
                let asked = match manages {
                    true => client.create_partitions(name, *partitions, true, timeout).map_err(|error| refusal(&error)),
                    false => Err(Some(format!("it has fewer than {partitions} partitions, and manage_topics is off"))),
                };
                let Err(Some(reason)) = asked else { continue };
                let command = format!(
                    "kafka-topics.sh --bootstrap-server {servers} --alter --topic {name} --partitions {partitions}"
                );
                outlooks.insert(Arc::clone(name), Outlook::Refused { reason, command });
            }
            Ok(outlooks)
        })
        .await?
    }
}

/// Returns why the target refuses; `None` if it cannot be asked, as the mock cluster.
fn refusal(error: &FfiError) -> Option<String> {
    (!is_unsupported(error.code)).then(|| error.to_string())
}

/// Refuses topics that would be created and that Kafka cannot tell apart in its metrics. Asked about
/// one after the other, the target accepts each.
fn collide(missing: &[&WantedTopic], outlooks: &mut Outlooks) {
    let mut by_key: BTreeMap<String, Vec<&Arc<str>>> = BTreeMap::new();
    for topic in missing {
        by_key.entry(collision_key(&topic.name)).or_default().push(&topic.name);
    }
    for names in by_key.into_values().filter(|names| names.len() > 1) {
        let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
        for name in &names {
            let reason = format!("Kafka creates only one of {}: '.' and '_' count as equal", quoted.join(", "));
            let command = "give them other names with a plugin, or leave all but one out of the link".to_owned();
            outlooks.insert(Arc::clone(name), Outlook::Refused { reason, command });
        }
    }
}
