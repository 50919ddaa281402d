//! The target topics of a link, made before their first record comes: a source topic without records has its counterpart too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strait_flow::ports::{Class, PortError};

use crate::admin::{LazyClient, fail};
use crate::config::ClusterConfig;
use crate::error::{blocking, class_of};
use crate::ffi::{Client, Code};
use crate::target::topics::{grow, make};

/// Makes and grows topics on the target.
pub struct KafkaTargetTopics {
    client: LazyClient,
    timeout: Duration,
}

/// A topic that could not be made or grown, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotMade {
    /// Its name.
    pub topic: Arc<str>,
    /// What the target said.
    pub reason: String,
    /// Whether it may go better later.
    pub passing: bool,
}

impl KafkaTargetTopics {
    /// Connects on first use. One request to the target takes `timeout` at most.
    #[must_use]
    pub fn new(target: &ClusterConfig, link: &str, timeout: Duration) -> Self {
        let context = format!("link {link}: target topics on cluster {}", target.name);
        Self { client: LazyClient::new(target, format!("{link}/target-topics"), context), timeout }
    }

    /// Makes what is missing of `wanted` (names and least numbers of partitions) and grows what is too small. Returns what
    /// the target refused; a lane that needs one of those says so when a record comes.
    ///
    /// # Errors
    /// [`PortError`] when the target does not answer.
    pub async fn ensure(&self, wanted: BTreeMap<Arc<str>, u32>) -> Result<Vec<NotMade>, PortError> {
        let client = self.client.get()?;
        let (context, timeout) = (self.client.context.clone(), self.timeout);
        blocking(&self.client.context, move || ensure(&client, &context, &wanted, timeout)).await?
    }
}

fn ensure(
    client: &Client,
    context: &str,
    wanted: &BTreeMap<Arc<str>, u32>,
    timeout: Duration,
) -> Result<Vec<NotMade>, PortError> {
    let found = client.metadata(None, timeout).map_err(|error| fail(context, &error, Some(client)))?;
    let found: BTreeMap<String, u32> = found
        .into_iter()
        .filter(|(_, _, code)| *code == Code::OK)
        .map(|(topic, partitions, _)| (topic, partitions.unsigned_abs()))
        .collect();
    let mut not_made = Vec::new();
    for (topic, partitions) in wanted {
        let result = match found.get(&**topic) {
            Some(found) if found >= partitions => continue,
            Some(_) => grow(client, topic, *partitions, timeout),
            None => make(client, topic, *partitions, timeout),
        };
        if let Err(error) = result {
            let passing = class_of(error.code) == Class::Retry;
            not_made.push(NotMade { topic: Arc::clone(topic), reason: error.to_string(), passing });
        }
    }
    Ok(not_made)
}
