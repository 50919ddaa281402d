//! The settings that topics are created with, and what is tried where a cluster refuses them.

use std::sync::Arc;
use std::time::Duration;

use strait_core::Event;
use strait_core::plan::Setting;
pub(crate) use strait_core::plan::TopicSettings;

use crate::ffi::{Client, Code, FfiError, NewTopic};

/// Topics that one request creates.
const AT_ONCE: usize = 100;

/// Returns the settings but for those that are left out.
fn without(settings: &TopicSettings, left_out: &[&str]) -> Vec<Setting> {
    settings.all.iter().filter(|(name, _)| !left_out.contains(name)).cloned().collect()
}

/// Returns what to leave out, and how many replicas to ask for, in one attempt after the other:
/// nothing, each dispensable setting alone, then more and more of them.
fn attempts(settings: &TopicSettings, replicas: Option<u32>) -> Vec<(Vec<&'static str>, Option<u32>)> {
    let has = |name: &&&'static str| settings.all.iter().any(|(found, _)| found == *name);
    let names: Vec<&'static str> = settings.dispensable.iter().filter(has).copied().collect();
    let alone = names.iter().map(|name| vec![*name]);
    let more = (2..=names.len()).map(|count| names.iter().take(count).copied().collect());
    let reductions: Vec<Vec<&'static str>> = alone.chain(more).collect();
    let mut attempts = vec![(Vec::new(), replicas)];
    // The broker's default, if it is not that already.
    let defaults = if replicas.is_some() { vec![replicas, None] } else { vec![None] };
    attempts.extend(replicas.map(|_| (Vec::new(), None)));
    for replicas in defaults {
        attempts.extend(reductions.iter().map(|left_out| (left_out.clone(), replicas)));
    }
    attempts
}

/// How a topic was created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Created {
    /// Names of the settings that the cluster did not accept.
    pub left_out: Vec<String>,
    /// The cluster's first answer, if it did not accept everything.
    pub refusal: String,
}

impl Created {
    /// Returns the event of a target topic, if the cluster did not accept everything.
    pub fn event(self, topic: &Arc<str>) -> Option<Event> {
        let Self { left_out, refusal } = self;
        (!left_out.is_empty()).then(|| Event::SettingsLeftOut {
            target_topic: Arc::clone(topic),
            left_out: left_out.join(", "),
            reason: refusal,
        })
    }
}

/// A topic that is to be created.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Creation<'a> {
    /// Name.
    pub name: &'a str,
    /// Number of partitions.
    pub partitions: u32,
    /// Number of replicas; `None` for the broker's default.
    pub replicas: Option<u32>,
    /// Its settings.
    pub settings: &'a TopicSettings,
}

impl Creation<'_> {
    /// Creates the topic, or asks with `validate_only` whether the cluster would. `None`: it exists
    /// already.
    pub fn send(&self, client: &Client, validate_only: bool, timeout: Duration) -> Result<Option<Created>, FfiError> {
        create_with(self.settings, self.replicas, |settings, replication| {
            client.create_topic(&self.attempt(settings, replication), validate_only, timeout)
        })
    }

    /// Creates topics, of which each has an answer as of [`Creation::send`]. Their first attempts
    /// share requests.
    pub fn send_all(all: &[Self], client: &Client, timeout: Duration) -> Vec<Result<Option<Created>, FfiError>> {
        let mut answers = Vec::with_capacity(all.len());
        for some in all.chunks(AT_ONCE) {
            let settings: Vec<Vec<Setting>> = some.iter().map(|one| without(one.settings, &[])).collect();
            let new: Vec<NewTopic<'_>> =
                some.iter().zip(&settings).map(|(one, settings)| one.attempt(settings, one.replicas)).collect();
            let sent = client.create_topics(&new, false, timeout);
            let sent = sent.unwrap_or_else(|error| vec![Err(error); some.len()]);
            answers.extend(some.iter().zip(sent).map(|(one, sent)| {
                let mut first = Some(sent);
                create_with(one.settings, one.replicas, |settings, replication| {
                    let alone = || client.create_topic(&one.attempt(settings, replication), false, timeout);
                    first.take().unwrap_or_else(alone)
                })
            }));
        }
        answers
    }

    fn attempt<'b>(&'b self, settings: &'b [Setting], replication: Option<u32>) -> NewTopic<'b> {
        NewTopic { name: self.name, partitions: self.partitions, replication, settings }
    }

    /// Returns the command that creates the topic by hand.
    pub fn command(&self, servers: &str) -> String {
        let Self { name, partitions, replicas, settings } = self;
        let mut command =
            format!("kafka-topics.sh --bootstrap-server {servers} --create --topic {name} --partitions {partitions}");
        if let Some(count) = replicas {
            command.push_str(&format!(" --replication-factor {count}"));
        }
        for (name, value) in &settings.all {
            command.push_str(&format!(" --config {name}={value}"));
        }
        command
    }
}

/// Creates a topic with as many of its settings as the cluster accepts. `send` makes one attempt.
/// Returns `None` if somebody else created the topic meanwhile, which is as good.
///
/// # Errors
/// The cluster's first refusal if it accepts no attempt.
pub(crate) fn create_with(
    settings: &TopicSettings,
    replication: Option<u32>,
    mut send: impl FnMut(&[Setting], Option<u32>) -> Result<(), FfiError>,
) -> Result<Option<Created>, FfiError> {
    let mut refusal: Option<FfiError> = None;
    let mut default_only = false;
    for (left_out, replicas) in attempts(settings, replication) {
        if default_only && replicas.is_some() {
            continue;
        }
        let code = match send(&without(settings, &left_out), replicas) {
            Err(error) if error.code == Code::TOPIC_ALREADY_EXISTS => return Ok(None),
            Err(error) => {
                let code = error.code;
                refusal.get_or_insert(error);
                code
            }
            Ok(()) => {
                let factor =
                    replication.filter(|_| replicas.is_none()).map(|count| format!("replication factor {count}"));
                let left_out = factor.into_iter().chain(left_out.iter().map(|name| (*name).to_owned())).collect();
                let refusal = refusal.as_ref().map(ToString::to_string).unwrap_or_default();
                return Ok(Some(Created { left_out, refusal }));
            }
        };
        match code {
            Code::POLICY_VIOLATION | Code::INVALID_CONFIG => {}
            Code::INVALID_REPLICATION_FACTOR if replicas.is_some() => default_only = true,
            _ => break,
        }
    }
    Err(refusal.unwrap_or_else(|| FfiError::new(Code::INVALID_ARG, "no attempt was made")))
}

#[cfg(test)]
mod tests {
    use strait_core::plan::Excluded;

    use super::*;

    fn compacted() -> TopicSettings {
        let all = [
            ("cleanup.policy", "compact"),
            ("retention.ms", "2592000000"),
            ("retention.bytes", "-1"),
            ("delete.retention.ms", "86400000"),
            ("max.message.bytes", "20971520"),
            ("segment.bytes", "1073741824"),
            ("message.timestamp.type", "LogAppendTime"),
        ];
        let all = all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        TopicSettings::like_source(&all, &Excluded::default()).unwrap()
    }

    fn refused(code: Code) -> Result<(), FfiError> {
        Err(FfiError::new(code, "no"))
    }

    #[test]
    fn only_what_the_cluster_refuses_is_left_out() {
        let policy = |settings: &[Setting], _: Option<u32>| {
            let bad = settings.iter().any(|(name, _)| *name == "retention.bytes");
            if bad { refused(Code::POLICY_VIOLATION) } else { Ok(()) }
        };
        let created = create_with(&compacted(), Some(3), policy).unwrap().unwrap();
        assert_eq!(created.left_out, ["retention.bytes"]);
        assert!(created.refusal.starts_with("no"), "{created:?}");
    }

    #[test]
    fn a_topic_is_never_created_without_what_keeps_its_records() {
        let mut attempts = Vec::new();
        let policy = |settings: &[Setting], replicas: Option<u32>| {
            attempts.push((settings.to_vec(), replicas));
            refused(Code::POLICY_VIOLATION)
        };
        assert_eq!(create_with(&compacted(), Some(3), policy).unwrap_err().code, Code::POLICY_VIOLATION);
        assert!(attempts.len() < 20, "{}", attempts.len());
        for (settings, _) in attempts {
            for name in ["cleanup.policy", "retention.ms"] {
                assert!(settings.iter().any(|(found, _)| *found == name), "{settings:?}");
            }
        }
    }

    #[test]
    fn a_replication_factor_that_is_refused_gives_way_to_the_brokers_default() {
        for code in [Code::INVALID_REPLICATION_FACTOR, Code::POLICY_VIOLATION] {
            let policy = |_: &[Setting], replicas: Option<u32>| if replicas.is_some() { refused(code) } else { Ok(()) };
            let created = create_with(&compacted(), Some(2), policy).unwrap().unwrap();
            assert_eq!(created.left_out, ["replication factor 2"]);
        }
        let both = |settings: &[Setting], replicas: Option<u32>| match replicas {
            Some(_) => refused(Code::INVALID_REPLICATION_FACTOR),
            None if settings.iter().any(|(name, _)| *name == "delete.retention.ms") => refused(Code::INVALID_CONFIG),
            None => Ok(()),
        };
        let created = create_with(&compacted(), Some(2), both).unwrap().unwrap();
        assert_eq!(created.left_out, ["replication factor 2", "delete.retention.ms"]);
    }

    #[test]
    fn other_refusals_are_final_and_an_existing_topic_is_none() {
        let mut attempts = 0;
        let denied = |_: &[Setting], _: Option<u32>| {
            attempts += 1;
            refused(Code::TOPIC_AUTHORIZATION_FAILED)
        };
        assert_eq!(create_with(&compacted(), Some(2), denied).unwrap_err().code, Code::TOPIC_AUTHORIZATION_FAILED);
        assert_eq!(attempts, 1);
        let exists = |_: &[Setting], _: Option<u32>| refused(Code::TOPIC_ALREADY_EXISTS);
        assert_eq!(create_with(&compacted(), None, exists).unwrap(), None);
    }
}
