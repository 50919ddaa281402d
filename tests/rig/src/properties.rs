use std::collections::BTreeMap;
use std::path::Path;

use crate::Certificates;
use crate::spec::{ClusterSpec, Listener};
use crate::tokens::AUDIENCE;

/// The ports of one listener of a broker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListenerPorts {
    pub listener: Listener,
    /// The port that it binds.
    pub bound: u16,
    /// The port that it advertises: the proxy's, or `bound`.
    pub advertised: u16,
}

/// The ports of one broker.
#[derive(Debug, Clone)]
pub(crate) struct BrokerPorts {
    /// For clients, in the order of the specification.
    pub clients: Vec<ListenerPorts>,
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
pub(crate) fn server_properties(
    spec: &ClusterSpec,
    ports: &[BrokerPorts],
    certificates: Option<&Certificates>,
    index: usize,
    data: &Path,
) -> String {
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
    set("process.roles", "broker,controller".into());
    set("node.id", (index + 1).to_string());
    set("controller.quorum.voters", voters.join(","));
    set("log.dirs", data.display().to_string());
    let listeners = |port: fn(&ListenerPorts) -> u16| -> String {
        own.clients.iter().map(|of| format!("{}://127.0.0.1:{},", of.listener.name(), port(of))).collect()
    };
    let (bound, advertised) = (listeners(|of| of.bound), listeners(|of| of.advertised));
    let (internal, controller) = (own.internal, own.controller);
    set("listeners", format!("{bound}INTERNAL://127.0.0.1:{internal},CONTROLLER://127.0.0.1:{controller}"));
    set("advertised.listeners", format!("{advertised}INTERNAL://127.0.0.1:{internal}"));
    let protocols: String =
        spec.listeners.iter().map(|listener| format!("{}:{},", listener.name(), listener.protocol())).collect();
    set("listener.security.protocol.map", format!("{protocols}INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"));
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
    for listener in &spec.listeners {
        for (key, value) in security(*listener, spec, certificates) {
            set(&format!("listener.name.{}.{key}", listener.name().to_lowercase()), value);
        }
    }
    if spec.acls {
        set("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer".into());
        set("super.users", "User:ANONYMOUS;User:admin".into());
    }
    for (key, value) in &spec.extra_properties {
        set(key, value.clone());
    }

    lines.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}

/// Returns the settings of a listener's security, without the prefix of its name.
fn security(
    listener: Listener,
    spec: &ClusterSpec,
    certificates: Option<&Certificates>,
) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if listener.has_sasl() {
        let listed: String =
            spec.users.iter().map(|user| format!(" user_{}=\"{}\"", user.name, user.password)).collect();
        let module = |name: &str| format!("org.apache.kafka.common.security.{name}LoginModule required");
        lines.push(("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512".into()));
        lines.push(("plain.sasl.jaas.config", format!("{}{listed};", module("plain.Plain"))));
        for key in ["scram-sha-256.sasl.jaas.config", "scram-sha-512.sasl.jaas.config"] {
            lines.push((key, format!("{};", module("scram.Scram"))));
        }
    }
    if listener == Listener::OAuth {
        let package = "org.apache.kafka.common.security.oauthbearer";
        lines.push(("sasl.enabled.mechanisms", "OAUTHBEARER".into()));
        lines.push(("oauthbearer.sasl.jaas.config", format!("{package}.OAuthBearerLoginModule required;")));
        lines.push((
            "oauthbearer.sasl.server.callback.handler.class",
            format!("{package}.OAuthBearerValidatorCallbackHandler"),
        ));
        if let Some(path) = &spec.token_keys {
            let keys = format!("file://{}", path.display());
            lines.push(("oauthbearer.sasl.oauthbearer.jwks.endpoint.url", keys));
        }
        lines.push(("oauthbearer.sasl.oauthbearer.expected.audience", AUDIENCE.into()));
        // A token that has ended is refused at once.
        lines.push(("oauthbearer.sasl.oauthbearer.clock.skew.seconds", "0".into()));
    }
    if let Some(certificates) = certificates.filter(|_| listener.has_tls()) {
        lines.push(("ssl.keystore.type", "PEM".into()));
        lines.push(("ssl.keystore.location", certificates.broker().display().to_string()));
        lines.push(("ssl.truststore.type", "PEM".into()));
        lines.push(("ssl.truststore.location", certificates.ca().display().to_string()));
        let client = if listener == Listener::MutualTls { "required" } else { "none" };
        lines.push(("ssl.client.auth", client.into()));
    }
    lines
}
