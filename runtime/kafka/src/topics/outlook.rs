//! Asks the target, without changing anything, which of the topics that a link needs it would have
//! created.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strait_core::Event;
use strait_core::acl::Operation;
use strait_core::link_topics::LinkTopic;
use strait_core::topic::collision_key;
use strait_flow::ports::{PortError, WantedTopic};

use super::count;
use super::link::{LinkTopics, LinkTopicsError, LinkTopicsFound};
use super::settings::{Created, Creation};
use super::target::{KafkaTargetTopics, lacking};
use crate::error::blocking;
use crate::ffi::{Client, Code, FfiError};
use crate::queries::{is_denied, is_unsupported};

/// The target's answer about a topic that is missing or too small.
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
    /// As [`Outlook::Refused`], because the principal lacks this right.
    Denied {
        /// The operation that it may not do.
        operation: Operation,
        /// The target's reason.
        reason: String,
    },
}

/// Topics and their outlooks, by name.
pub type Outlooks = BTreeMap<Arc<str>, Outlook>;

/// How the link's own topics would be.
#[derive(Clone, Debug)]
pub struct LinkTopicsOutlook {
    /// Those that are missing.
    pub missing: Outlooks,
    /// Those that are not as they should be, and why; or why the link cannot go on.
    pub unfit: Result<Vec<(String, String)>, LinkTopicsError>,
}

impl KafkaTargetTopics {
    /// Asks the target about those of `wanted` that are missing or too small. With `manages` false,
    /// Strait may neither create nor grow them.
    ///
    /// # Errors
    /// [`PortError`] when a cluster does not answer.
    pub async fn outlook(&self, wanted: Vec<WantedTopic>, manages: bool) -> Result<Outlooks, PortError> {
        let client = self.client.clone();
        let (maker, timeout, servers) = (Arc::clone(&self.maker), self.timeout, self.client.servers().to_owned());
        blocking(&self.client.context, move || {
            let found = client.ask_here(|client| lacking(client, wanted, timeout))?;
            let client = client.get()?;
            let missing: Vec<&WantedTopic> = found.missing.iter().collect();
            let mut outlooks = Outlooks::new();
            for plan in maker.plan(&client, &missing)? {
                let outlook =
                    plan.creation().outlook(&client, (manages, &servers), timeout, |created| plan.events(created));
                outlooks.extend(outlook.map(|outlook| (Arc::clone(&plan.wanted.name), outlook)));
            }
            collide(&missing, &mut outlooks);
            for WantedTopic { name, partitions, .. } in &found.small {
                let command = || {
                    format!(
                        "kafka-topics.sh --bootstrap-server {servers} --alter --topic {name} --partitions {partitions}"
                    )
                };
                let outlook = match manages {
                    true => match client.create_partitions(name, *partitions, true, timeout) {
                        Ok(()) => None,
                        Err(error) => refusal(&error, Operation::Alter, command),
                    },
                    false => Some(not_managed(&format!("it has fewer than {partitions} partitions"), command())),
                };
                outlooks.extend(outlook.map(|outlook| (Arc::clone(name), outlook)));
            }
            Ok(outlooks)
        })
        .await?
    }
}

impl LinkTopics {
    /// Asks the target about those of the link's own topics that are missing, and checks the
    /// others, up to the first with which the link cannot go on. Changes nothing.
    ///
    /// # Errors
    /// [`PortError`] when the target does not answer.
    pub async fn outlook(self) -> Result<LinkTopicsOutlook, PortError> {
        blocking(&self.context(), move || {
            let client = self.connect()?;
            let (mut missing, mut judged) = (Outlooks::new(), Ok(LinkTopicsFound::default()));
            for topic in LinkTopic::ALL {
                let name: Arc<str> = topic.name(&self.link).into();
                if count(&client, &name, self.timeout).map_err(|error| self.fail(&client, &error))? == 0 {
                    missing.extend(self.ask(&client, topic, &name).map(|outlook| (name, outlook)));
                } else if let Ok(found) = &mut judged
                    && let Err(error) = self.judge(&client, topic, found)
                {
                    judged = Err(error);
                }
            }
            Ok(LinkTopicsOutlook { missing, unfit: judged.map(|found| found.unfit) })
        })
        .await?
    }

    /// Asks about a topic that is missing. `None` if the target cannot be asked.
    fn ask(&self, client: &Client, topic: LinkTopic, name: &Arc<str>) -> Option<Outlook> {
        let settings = self.settings(topic);
        let creation = self.creation(client, topic, name, &settings);
        let servers = &self.target.bootstrap_servers;
        creation
            .outlook(client, (self.manage, servers), self.timeout, |created| created.event(name).into_iter().collect())
    }
}

impl Creation<'_> {
    /// Asks the cluster with these servers about a topic that it does not have, without changing
    /// anything. With `manages` false, Strait may not create it. `events` tells what would be
    /// reported of it. `None` if the cluster cannot be asked.
    pub(crate) fn outlook(
        &self,
        client: &Client,
        (manages, servers): (bool, &str),
        timeout: Duration,
        events: impl FnOnce(Created) -> Vec<Event>,
    ) -> Option<Outlook> {
        if !manages {
            return Some(not_managed("it does not exist", self.command(servers)));
        }
        match self.send(client, true, timeout) {
            Ok(created) => Some(Outlook::Provided(events(created.unwrap_or_default()))),
            Err(error) => refusal(&error, Operation::Create, || self.command(servers)),
        }
    }
}

/// Returns the answer of a cluster that refuses an operation; `None` if it cannot be asked, as the
/// mock cluster. `command` mends by hand what no right mends.
fn refusal(error: &FfiError, operation: Operation, command: impl FnOnce() -> String) -> Option<Outlook> {
    if is_unsupported(error.code) {
        return None;
    }
    let reason = error.to_string();
    // To make it by hand would be refused too.
    if error.code == Code::INVALID_TOPIC {
        return Some(Outlook::Refused { reason, command: OTHER_NAME.to_owned() });
    }
    Some(match is_denied(error.code) {
        true => Outlook::Denied { operation, reason },
        false => Outlook::Refused { reason, command: command() },
    })
}

/// Said of a name that the cluster does not take.
const OTHER_NAME: &str = "give it another name with a plugin, or leave its source topic out of the link";

fn not_managed(lack: &str, command: String) -> Outlook {
    Outlook::Refused { reason: format!("{lack}, and manage_topics is off"), command }
}

/// Refuses topics that would be created and that Kafka cannot tell apart in its metrics. Asked
/// about one after the other, the target accepts each.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_topics_that_collide_with_each_other_are_refused_although_the_target_accepts_each() {
        let topic = |name: &str| WantedTopic {
            name: name.into(),
            like: name.into(),
            partitions: 1,
            grows: true,
            creates: true,
        };
        let (dot, underscore, other) = (topic("a.orders"), topic("a_orders"), topic("b.orders"));
        let mut outlooks = Outlooks::new();
        collide(&[&dot, &underscore, &other], &mut outlooks);
        let refused: Vec<&str> = outlooks.keys().map(|name| &**name).collect();
        assert_eq!(refused, ["a.orders", "a_orders"]);
    }

    #[test]
    fn a_name_that_the_target_does_not_take_is_not_recommended_as_a_command() {
        let error = FfiError::new(Code::INVALID_TOPIC, "Topic 'a.b' collides with existing topic: a_b");
        let Some(Outlook::Refused { reason, command }) = refusal(&error, Operation::Create, || "make a.b".to_owned())
        else {
            panic!("refused")
        };
        assert!(reason.contains("collides") && command.starts_with("give it another name"), "{reason} {command}");
        let full = FfiError::new(Code::POLICY_VIOLATION, "no");
        let refused = refusal(&full, Operation::Create, || "make a.b".to_owned());
        assert!(matches!(refused, Some(Outlook::Refused { command, .. }) if command == "make a.b"));
    }
}
