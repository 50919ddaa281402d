//! The target topics of a replay.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strait_core::TopicId;
use strait_flow::ports::{PortError, TargetTopic, TopicAnswer, TopicHandle, WantedTopic};

use super::ReplayError;
use crate::error::port_error_because;
use crate::ffi::{Client, Code, Handle, Producer};
use crate::queries::{describe, is_gone, is_unsupported};
use crate::topics::maker::TopicMaker;
use crate::topics::target::OpenRequest;

/// The conditions under which target topics are written.
pub struct ReplayTopics {
    /// A record may land behind newer ones where that matters.
    pub accept_late: bool,
    /// Most topics that are created because plugins name them for single records.
    pub new_topics_max: u32,
    /// The ids of the topics that the link has written, by progress.
    pub written: BTreeMap<Arc<str>, TopicId>,
}

/// A topic that can be written, or why it cannot.
#[derive(Clone, Debug)]
pub(super) enum Opened {
    Open(OpenTopic),
    /// The code and the text of the refusal.
    Refused(&'static str, String),
}

/// A topic that can be written.
#[derive(Clone, Debug)]
pub(super) struct OpenTopic {
    pub name: Arc<str>,
    pub topic: TargetTopic,
    pub handle: Handle,
}

/// The topics that were looked up.
pub(super) struct Topics {
    known: BTreeMap<Arc<str>, Opened>,
    maker: Option<Arc<TopicMaker>>,
    context: String,
    timeout: Duration,
}

impl Topics {
    pub fn new(maker: Option<Arc<TopicMaker>>, context: &str, timeout: Duration) -> Self {
        Self { known: BTreeMap::new(), maker, context: context.to_owned(), timeout }
    }

    /// Opens a topic for records of the source topic `like`. `is_own` is false for one that plugins
    /// name for single records.
    pub fn open(
        &mut self,
        name: &Arc<str>,
        (like, partitions): (&Arc<str>, u32),
        is_own: bool,
        rules: &mut ReplayTopics,
        producer: &Producer,
    ) -> Result<Opened, ReplayError> {
        if let Some(known) = self.known.get(name) {
            return Ok(known.clone());
        }
        let client = producer.client();
        let was = rules.written.get(name).copied();
        let wanted =
            |creates| WantedTopic { name: Arc::clone(name), like: Arc::clone(like), partitions, grows: false, creates };
        let mut answer = self.ask(wanted(false), client)?;
        if answer == TopicAnswer::Missing {
            if was.is_some() {
                return Err(ReplayError::TargetChanged { topic: Arc::clone(name) });
            }
            let may_create = self.maker.is_some() && (is_own || rules.new_topics_max > 0);
            if may_create {
                rules.new_topics_max -= u32::from(!is_own);
                answer = self.ask(wanted(true), client)?;
            }
        }
        let opened = match answer {
            TopicAnswer::Open(topic) | TopicAnswer::TooSmall(topic, _) => {
                if was.is_some_and(|was| was.is_other_than(topic.id)) {
                    return Err(ReplayError::TargetChanged { topic: Arc::clone(name) });
                }
                if !rules.accept_late {
                    self.check_late(name, client)?;
                }
                let failed = |error| port_error_because(&self.context, &error, client.trouble());
                let handle = producer.open(name).map_err(failed)?;
                Opened::Open(OpenTopic { name: Arc::clone(name), topic, handle })
            }
            TopicAnswer::Missing => {
                let text = format!("topic {name} does not exist, and is not created: manage_topics, new_topics_max");
                Opened::Refused("no-such-topic", text)
            }
            TopicAnswer::Appearing => {
                let text = format!("topic {name} was created and is not there yet: run this again");
                return Ok(Opened::Refused("no-such-topic", text));
            }
            TopicAnswer::Denied(reason) | TopicAnswer::NotCreated(reason) => {
                Opened::Refused("no-such-topic", format!("topic {name}: {reason}"))
            }
        };
        self.known.insert(Arc::clone(name), opened.clone());
        Ok(opened)
    }

    /// Returns one of these topics that is gone, or has another id than when it was opened.
    pub fn changed(
        &self,
        opened: &BTreeMap<Arc<str>, TopicId>,
        client: &Client,
    ) -> Result<Option<Arc<str>>, PortError> {
        let names: Vec<&str> = opened.keys().map(|name| &**name).collect();
        if names.is_empty() {
            return Ok(None);
        }
        let described = describe(client, &names, false, self.timeout)
            .map_err(|error| port_error_because(&self.context, &error, client.trouble()))?;
        let is_changed = |(name, id): &(&Arc<str>, &TopicId)| {
            let Some(now) = described.iter().find(|topic| topic.topic == ***name) else { return true };
            // One that cannot be described for a moment took the copies a moment ago.
            is_gone(now.code) || (now.code == Code::OK && id.is_other_than(TopicId(now.id)))
        };
        Ok(opened.iter().find(is_changed).map(|(name, _)| Arc::clone(name)))
    }

    fn ask(&self, wanted: WantedTopic, client: &Client) -> Result<TopicAnswer, ReplayError> {
        let request = OpenRequest {
            wanted,
            handle: TopicHandle(0),
            maker: self.maker.clone(),
            context: self.context.clone(),
            timeout: self.timeout,
        };
        Ok(request.open(client)?.answer)
    }

    /// Refuses a topic in which the last record of a key counts.
    fn check_late(&self, name: &Arc<str>, client: &Client) -> Result<(), ReplayError> {
        let why = match client.topic_configs(name, self.timeout) {
            Ok(configs) if configs.get("cleanup.policy").is_some_and(|policy| policy.contains("compact")) => {
                "is compacted".to_owned()
            }
            Ok(_) => return Ok(()),
            Err(error) if is_unsupported(error.code) => return Ok(()),
            Err(error) => format!("may be compacted, as its settings cannot be read ({error})"),
        };
        Err(ReplayError::Late { topic: Arc::clone(name), why })
    }
}
