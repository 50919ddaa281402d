use std::collections::BTreeMap;
use std::path::Path;

use crate::spec::{ClusterSpec, Security};

/// The ports of one broker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BrokerPorts {
    /// Port that the client listener binds.
    pub client: u16,
    /// Port that the client listener advertises: the proxy's, or `client`.
    pub advertised: u16,
    /// Brokers among themselves, and tests that go around proxies and security.
    pub internal: u16,
    /// The KRaft controller.
    pub controller: u16,
}

/// log4j2 without a configuration prints errors only; a failed start needs more than that.
pub(crate) const LOG4J: &str = "\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %m (%c)%n%throwable
";

/// server.properties of the broker with index `index`, whose node id is `index + 1`.
pub(crate) fn server_properties(spec: &ClusterSpec, ports: &[BrokerPorts], index: usize, data: &Path) -> String {
    let mut lines = BTreeMap::new();
    let mut set = |key: &str, value: String| {
        lines.insert(key.to_owned(), value);
    };
    let Some(own) = ports.get(index) else {
        return String::new();
    };
    let count = ports.len();
    let min_isr = if count >= 3 { 2 } else { 1 };
    let voters: Vec<String> =
        ports.iter().enumerate().map(|(voter, of)| format!("{}@127.0.0.1:{}", voter + 1, of.controller)).collect();
    let protocol = match spec.security {
        Security::Plaintext => "PLAINTEXT",
        Security::Sasl { .. } => "SASL_PLAINTEXT",
    };

    set("process.roles", "broker,controller".into());
    set("node.id", (index + 1).to_string());
    set("controller.quorum.voters", voters.join(","));
    set("log.dirs", data.display().to_string());
    set(
        "listeners",
        format!(
            "CLIENT://127.0.0.1:{},INTERNAL://127.0.0.1:{},CONTROLLER://127.0.0.1:{}",
            own.client, own.internal, own.controller
        ),
    );
    set("advertised.listeners", format!("CLIENT://127.0.0.1:{},INTERNAL://127.0.0.1:{}", own.advertised, own.internal));
    set("listener.security.protocol.map", format!("CLIENT:{protocol},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"));
    set("controller.listener.names", "CONTROLLER".into());
    set("inter.broker.listener.name", "INTERNAL".into());

    for log in ["offsets.topic", "transaction.state.log", "share.coordinator.state.topic"] {
        set(&format!("{log}.replication.factor"), count.to_string());
        set(&format!("{log}.num.partitions"), "1".into());
    }
    set("transaction.state.log.min.isr", min_isr.to_string());
    set("share.coordinator.state.topic.min.isr", min_isr.to_string());
    set("default.replication.factor", count.to_string());
    set("min.insync.replicas", min_isr.to_string());
    set("auto.create.topics.enable", "false".into());
    set("group.initial.rebalance.delay.ms", "0".into());
    // Generated records carry timestamps of any age; retention by time would delete them at once.
    set("log.retention.ms", "-1".into());
    // Failover and hanging transactions are detected sooner than by default, for the tests of both.
    set("broker.session.timeout.ms", "6000".into());
    set("broker.heartbeat.interval.ms", "1000".into());
    set("transaction.abort.timed.out.transaction.cleanup.interval.ms", "1000".into());
    if !spec.production_jvm {
        set("log.cleaner.dedupe.buffer.size", (8 << 20).to_string());
        set("num.io.threads", "4".into());
        set("num.network.threads", "2".into());
        set("background.threads", "2".into());
    }
    if let Security::Sasl { users, acls } = &spec.security {
        let listed: String = users.iter().map(|user| format!(" user_{}=\"{}\"", user.name, user.password)).collect();
        set("listener.name.client.sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-512".into());
        set(
            "listener.name.client.plain.sasl.jaas.config",
            format!("org.apache.kafka.common.security.plain.PlainLoginModule required{listed};"),
        );
        set(
            "listener.name.client.scram-sha-512.sasl.jaas.config",
            "org.apache.kafka.common.security.scram.ScramLoginModule required;".into(),
        );
        if *acls {
            set("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer".into());
            set("super.users", "User:ANONYMOUS;User:admin".into());
        }
    }
    for (key, value) in &spec.extra_properties {
        set(key, value.clone());
    }

    lines.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}
