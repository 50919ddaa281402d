//! Probes a cluster: whether it can be reached, its identity, and the permissions on it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use strait_core::acl::Operation;
use strait_flow::ports::PortError;

use strait_flow::lock;

use crate::config::{ClusterConfig, Settings};
use crate::error::{blocking, port_error};
use crate::ffi::{CONFIGS_PER_REQUEST, Client, ClientKind, Code, FfiError, Observer, TopicConfigs, Trouble};
use crate::lazy_client::{connect, fail};
use crate::queries::{ask_coordinator, describe, is_gone, is_unsupported};
use crate::tls;

/// A cluster that has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterInfo {
    /// Cluster id, where the brokers report it.
    pub cluster_id: Option<String>,
    /// Number of brokers alive.
    pub brokers: usize,
    /// Number of topics that the principal can see.
    pub topics: usize,
    /// Operations that the principal may do on the cluster; empty where the cluster has no
    /// authorizer or does not report it.
    pub operations: Vec<Operation>,
    /// Shortest measured time of a request.
    pub round_trip: Duration,
    /// Whether the brokers have idempotent producers. Without them there are no transactions
    /// either.
    pub has_idempotence: bool,
}

/// librdkafka's name of idempotent producers.
const IDEMPOTENT_PRODUCER: &str = "IdempotentProducer";

/// Why a cluster cannot be used, with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// Nothing listens at the addresses.
    #[error(
        "cluster {cluster}: nothing listens at {servers} ({reason}); check bootstrap_servers: host, port, and that the broker is up"
    )]
    Refused {
        /// Name of the cluster.
        cluster: String,
        /// Addresses tried.
        servers: String,
        /// librdkafka's message.
        reason: String,
    },
    /// A host name cannot be resolved.
    #[error(
        "cluster {cluster}: a host name cannot be resolved ({reason}); check bootstrap_servers and the broker's advertised.listeners"
    )]
    Unresolved {
        /// Name of the cluster.
        cluster: String,
        /// librdkafka's message.
        reason: String,
    },
    /// The security protocols differ, or a certificate is not trusted.
    #[error("cluster {cluster}: {said} ({reason})")]
    Security {
        /// Name of the cluster.
        cluster: String,
        /// The cause, and the setting or file to change.
        said: String,
        /// librdkafka's message.
        reason: String,
    },
    /// The login was refused.
    #[error("cluster {cluster}: {said} ({reason})")]
    Authentication {
        /// Name of the cluster.
        cluster: String,
        /// The cause, and the setting or file to change.
        said: String,
        /// librdkafka's message.
        reason: String,
    },
    /// There is no token to log in with.
    #[error("cluster {cluster}: there is no token to log in with: {reason}; check clusters.{cluster}.auth")]
    Token {
        /// Name of the cluster.
        cluster: String,
        /// Why the last fetch failed.
        reason: String,
    },
    /// No answer in time.
    #[error(
        "cluster {cluster}: no answer from {servers} within {waited:?} ({reason}); a firewall may drop the packets, or the broker advertises addresses that cannot be reached from here"
    )]
    NoAnswer {
        /// Name of the cluster.
        cluster: String,
        /// Addresses tried.
        servers: String,
        /// How long the probe has waited.
        waited: Duration,
        /// librdkafka's message.
        reason: String,
    },
    /// librdkafka refuses a setting.
    #[error("cluster {cluster}: {reason}")]
    Setting {
        /// Name of the cluster.
        cluster: String,
        /// Which setting, and why.
        reason: String,
    },
}

/// Said where a handshake of its own finds nothing.
const CLOSED: &str = "the connection is closed or TLS fails; check security.protocol (PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL) against the broker's listener, ssl.ca.location, and for a listener that asks for a client certificate ssl.certificate.location and ssl.key.location";
/// Said of a refused login without a known cause.
const LOGIN: &str = "the login was refused; check sasl.mechanism, sasl.username and sasl.password";

/// How often the round trip is measured.
const MEASUREMENTS: u32 = 2;

/// Collects the errors while connecting.
#[derive(Default)]
struct Troubles {
    list: Mutex<Vec<Trouble>>,
    lacks_idempotence: AtomicBool,
}

impl Observer for Troubles {
    fn lacks(&self, feature: &str) {
        if feature == IDEMPOTENT_PRODUCER {
            self.lacks_idempotence.store(true, Ordering::Relaxed);
        }
    }

    fn trouble(&self, trouble: &Trouble) {
        let mut list = lock(&self.list);
        if list.len() < 64 {
            list.push(trouble.clone());
        }
    }
}

/// Connects to a cluster. Fails as soon as the cause is known.
///
/// # Errors
/// [`ProbeError`] with the remedy.
pub async fn probe(cluster: &ClusterConfig, deadline: Duration) -> Result<ClusterInfo, ProbeError> {
    let (cluster, name) = (cluster.clone(), cluster.name.clone());
    let outcome = blocking("probing", move || connect_and_ask(&cluster, deadline)).await;
    outcome.map_err(|error| ProbeError::Setting { cluster: name, reason: error.reason })?
}

/// Connects to a cluster, and returns it as its writers must take it: they are not idempotent where
/// the brokers have no idempotent producers.
///
/// # Errors
/// [`ProbeError`] with the remedy.
pub async fn reach(cluster: &ClusterConfig, deadline: Duration) -> Result<(ClusterConfig, ClusterInfo), ProbeError> {
    let info = probe(cluster, deadline).await?;
    let cluster = cluster.clone();
    let cluster = if info.has_idempotence { cluster } else { cluster.without_idempotence() };
    Ok((cluster, info))
}

fn connect_and_ask(cluster: &ClusterConfig, patience: Duration) -> Result<ClusterInfo, ProbeError> {
    let setting = |error: FfiError| ProbeError::Setting { cluster: cluster.name.clone(), reason: error.text };
    let troubles = Arc::new(Troubles::default());
    let observer: Arc<dyn Observer> = Arc::clone(&troubles) as Arc<dyn Observer>;
    let mut settings = Settings::of(cluster, "strait-check");
    settings.debug("feature");
    let label = format!("{}/check", cluster.name);
    let no_token = |reason| ProbeError::Token { cluster: cluster.name.clone(), reason };
    cluster.access.wait_token(patience).map_err(no_token)?;
    let client = Client::new(ClientKind::Producer, &label, &settings, Some(observer)).map_err(setting)?;
    let deadline = Instant::now() + patience;
    let mut looked = false;
    loop {
        match client.metadata(None, Duration::from_millis(500)) {
            Ok(topics) => {
                let has_idempotence = !troubles.lacks_idempotence.load(Ordering::Relaxed);
                return Ok(info(&client, topics.len(), has_idempotence, patience));
            }
            Err(error) => {
                client.poll(Duration::from_millis(50));
                let heard = lock(&troubles.list).clone();
                let over = Instant::now() > deadline;
                if let Some(cause) = cause(cluster, &settings, &heard) {
                    return Err(cause);
                }
                // A TLS listener that is not spoken to in TLS hangs up, which librdkafka only logs.
                if !looked && let Some(down) = heard.iter().find(|trouble| trouble.code == Code::ALL_BROKERS_DOWN) {
                    looked = true;
                    if let Some(fault) = tls::diagnose(&settings, &[], tls::PATIENCE) {
                        let (cluster, said) = (cluster.name.clone(), fault.to_string());
                        return Err(ProbeError::Security { cluster, said, reason: down.text.clone() });
                    }
                }
                if over {
                    let reason = heard.last().map_or_else(|| error.text.clone(), |trouble| trouble.text.clone());
                    return Err(ProbeError::NoAnswer {
                        cluster: cluster.name.clone(),
                        servers: cluster.bootstrap_servers.clone(),
                        waited: patience,
                        reason,
                    });
                }
            }
        }
    }
}

fn info(client: &Client, topics: usize, has_idempotence: bool, timeout: Duration) -> ClusterInfo {
    let mut round_trip = Duration::MAX;
    let mut described = client.describe_cluster(timeout);
    for _ in 0..MEASUREMENTS {
        // The connection is open by now.
        let asked = Instant::now();
        described = client.describe_cluster(timeout);
        round_trip = round_trip.min(asked.elapsed());
    }
    match described {
        Ok(described) => ClusterInfo {
            cluster_id: Some(described.id).filter(|id| !id.is_empty()),
            brokers: described.brokers,
            topics,
            operations: described.operations.into_iter().map(Operation::from).collect(),
            round_trip,
            has_idempotence,
        },
        // Old brokers and the mock cluster do not have the request: use the metadata.
        Err(_) => {
            let cluster_id = client.cluster_id(timeout);
            ClusterInfo { cluster_id, brokers: 1, topics, operations: Vec::new(), round_trip, has_idempotence }
        }
    }
}

/// Returns the cause, once every broker is down or one has refused the login.
fn cause(cluster: &ClusterConfig, settings: &Settings, heard: &[Trouble]) -> Option<ProbeError> {
    let name = cluster.name.clone();
    let find = |wanted: &dyn Fn(&Trouble) -> bool| heard.iter().find(|trouble| wanted(trouble)).map(|t| t.text.clone());
    if let Some(reason) = find(&|trouble| trouble.code == Code::AUTHENTICATION) {
        let said = tls::of_login(settings, &reason).map_or_else(|| LOGIN.to_owned(), |fault| fault.to_string());
        return Some(ProbeError::Authentication { cluster: name, said, reason });
    }
    if !heard.iter().any(|trouble| trouble.code == Code::ALL_BROKERS_DOWN) {
        return None;
    }
    let refuses = |reason: String| {
        let texts: Vec<&str> = heard.iter().map(|trouble| trouble.text.as_str()).collect();
        let fault = tls::diagnose(settings, &texts, tls::PATIENCE);
        let said = fault.map_or_else(|| CLOSED.to_owned(), |fault| fault.to_string());
        ProbeError::Security { cluster: name.clone(), said, reason }
    };
    if let Some(reason) = find(&|trouble| trouble.code == Code::SSL || trouble.text.contains("security.protocol")) {
        return Some(refuses(reason));
    }
    if let Some(reason) = find(&|trouble| trouble.code == Code::RESOLVE) {
        return Some(ProbeError::Unresolved { cluster: name, reason });
    }
    let refused = find(&|trouble| trouble.code == Code::TRANSPORT && trouble.text.contains("refused"));
    if let Some(reason) = refused {
        return Some(ProbeError::Refused { cluster: name, servers: cluster.bootstrap_servers.clone(), reason });
    }
    find(&|trouble| trouble.code == Code::TRANSPORT).map(refuses)
}

/// Returns the operations that the principal lacks on topics. Topics that do not exist are omitted.
///
/// # Errors
/// [`PortError`] when the cluster does not answer.
pub async fn missing_operations(
    cluster: &ClusterConfig,
    wanted: Vec<(String, Vec<Operation>)>,
    timeout: Duration,
) -> Result<Vec<(String, Operation)>, PortError> {
    let (cluster, context) = (cluster.clone(), format!("permissions on cluster {}", cluster.name));
    blocking(&context.clone(), move || {
        let client = connect(&cluster, &format!("{}/permissions", cluster.name))
            .map_err(|error| fail(&context, &error, None))?;
        let names: Vec<&str> = wanted.iter().map(|(topic, _)| topic.as_str()).collect();
        let described =
            describe(&client, &names, true, timeout).map_err(|error| fail(&context, &error, Some(&client)))?;
        let mut missing = Vec::new();
        for (topic, needed) in &wanted {
            let Some(description) = described.iter().find(|d| d.topic == *topic && !is_gone(d.code)) else { continue };
            // Described, with no operation: the cluster does not tell them.
            if description.code == Code::OK && description.operations.is_empty() {
                continue;
            }
            let allowed: Vec<Operation> = description.operations.iter().copied().map(Operation::from).collect();
            missing.extend(needed.iter().filter(|op| !allowed.contains(op)).map(|op| (topic.clone(), *op)));
        }
        Ok(missing)
    })
    .await?
}

/// Returns those of `wanted` that the principal lacks on a consumer group, as far as the cluster
/// tells it. The group need not exist.
///
/// # Errors
/// [`PortError`] when the cluster does not answer.
pub async fn missing_group_operations(
    cluster: &ClusterConfig,
    group: String,
    wanted: Vec<Operation>,
    timeout: Duration,
) -> Result<Vec<Operation>, PortError> {
    let (cluster, context) = (cluster.clone(), format!("group {group} on cluster {}", cluster.name));
    blocking(&context.clone(), move || {
        let client =
            connect(&cluster, &format!("{}/group", cluster.name)).map_err(|error| fail(&context, &error, None))?;
        match ask_coordinator(|| client.group_operations(&group, timeout)) {
            Err(error) if error.code == Code::GROUP_AUTHORIZATION_FAILED => Ok(wanted),
            Err(error) if is_unsupported(error.code) => Ok(Vec::new()),
            Err(error) => Err(fail(&context, &error, Some(&client))),
            Ok(allowed) if allowed.is_empty() => Ok(Vec::new()),
            Ok(allowed) => {
                let allowed: Vec<Operation> = allowed.into_iter().map(Operation::from).collect();
                Ok(wanted.into_iter().filter(|operation| !allowed.contains(operation)).collect())
            }
        }
    })
    .await?
}

/// Topics that replace the timestamps of records by their own time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppendTime {
    /// Names of the topics.
    pub topics: Vec<String>,
    /// Number of topics whose settings are not known.
    pub unknown: usize,
    /// The error of the first of those; `None` where there was no time to ask.
    pub reason: Option<String>,
}

/// Returns the topics among these that replace the timestamps of records by their own time. One
/// whose settings cannot be read hides no other. Topics that do not exist are omitted.
///
/// # Errors
/// [`PortError`] when the cluster does not answer.
pub async fn topics_with_append_time(
    cluster: &ClusterConfig,
    topics: Vec<String>,
    timeout: Duration,
) -> Result<AppendTime, PortError> {
    let (cluster, context) = (cluster.clone(), format!("topic settings on cluster {}", cluster.name));
    blocking(&context.clone(), move || {
        let began = Instant::now();
        let client =
            connect(&cluster, &format!("{}/settings", cluster.name)).map_err(|error| fail(&context, &error, None))?;
        let failed = |error: FfiError| fail(&context, &error, Some(&client));
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let described = describe(&client, &names, false, timeout).map_err(failed)?;
        let existing = described.iter().filter(|topic| topic.code == Code::OK);
        let existing: Vec<&str> = existing.map(|topic| topic.topic.as_str()).collect();
        let mut found = AppendTime::default();
        for chunk in existing.chunks(CONFIGS_PER_REQUEST) {
            if began.elapsed() > timeout {
                found.unknown += chunk.len();
                continue;
            }
            match client.configs_of_topics(chunk, timeout) {
                Ok(topics) => topics.into_iter().for_each(|(topic, settings)| found.add(topic, settings, &context)),
                Err(error) if is_unsupported(error.code) => break,
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(found)
    })
    .await?
}

impl AppendTime {
    fn add(&mut self, topic: String, settings: Result<TopicConfigs, FfiError>, context: &str) {
        match settings {
            Ok(settings) if has_append_time(&settings) => self.topics.push(topic),
            Ok(_) => {}
            Err(error) => {
                self.unknown += 1;
                self.reason.get_or_insert_with(|| port_error(context, &error).reason);
            }
        }
    }
}

fn has_append_time(settings: &TopicConfigs) -> bool {
    settings.get("message.timestamp.type").is_some_and(|kind| kind == "LogAppendTime")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_read_hide_no_other_topic() {
        let settings = |kind: &str| Ok(TopicConfigs::from([("message.timestamp.type".to_owned(), kind.to_owned())]));
        let denied = || Err(FfiError::new(Code::TOPIC_AUTHORIZATION_FAILED, "denied"));
        let mut found = AppendTime::default();
        for (topic, settings) in
            [("a", denied()), ("b", settings("LogAppendTime")), ("c", settings("CreateTime")), ("d", denied())]
        {
            found.add(topic.to_owned(), settings, "settings");
        }
        assert_eq!((found.topics, found.unknown), (vec!["b".to_owned()], 2));
        assert!(found.reason.unwrap().starts_with("denied"));
    }
}
