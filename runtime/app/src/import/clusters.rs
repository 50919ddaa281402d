//! The clusters: addresses, logins, certificates, and the settings of their clients.

use serde_json::{Map, Value, json};

use super::properties::{File, Property};
use super::{Report, references};

/// Settings of Kafka's clients that Strait decides by itself, or has no use for. A `*` at the end
/// stands for any ending.
const DECIDED: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "auto.commit.*",
    "auto.include.jmx.reporter",
    "batch.size",
    "bootstrap.controllers",
    "buffer.memory",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "connections.max.idle.ms",
    "default.api.timeout.ms",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.idempotence",
    "enable.metrics.push",
    "exclude.internal.topics",
    "fetch.*",
    "group.*",
    "heartbeat.interval.ms",
    "interceptor.classes",
    "key.*",
    "linger.ms",
    "max.*",
    "metadata.*",
    "metric.reporters",
    "metrics.*",
    "partition.assignment.strategy",
    "partitioner.*",
    "receive.buffer.bytes",
    "reconnect.*",
    "request.timeout.ms",
    "retries",
    "retry.*",
    "send.buffer.bytes",
    "session.timeout.ms",
    "share.*",
    "socket.*",
    "transaction.*",
    "transactional.id",
    "value.*",
];

/// Settings among these that say how safely records are written.
const SAFETY: &[&str] = &["acks", "enable.idempotence", "max.in.flight.*", "retries", "delivery.timeout.ms"];
/// Settings among these that say how much is read, written or held at once.
const SIZES: &[&str] = &[
    "batch.size",
    "buffer.memory",
    "fetch.*",
    "linger.ms",
    "max.partition.fetch.bytes",
    "max.poll.records",
    "max.request.size",
];

/// Returns what takes the place of a setting that Strait decides.
fn decided(name: &str) -> &'static str {
    if matches(SAFETY, name) {
        return "Strait decides it: records are written with acks = all, in order and with retries, idempotently where the cluster can; none is given up";
    }
    if matches(SIZES, name) {
        return "Strait decides it: memory_mib_max, batch_kib_max and fetch_mib_max of a link are its bounds";
    }
    "Strait decides it"
}

/// Settings of Connect workers, of which there are none here.
const WORKER: &[&str] = &[
    "access.control.*",
    "admin.listeners*",
    "config.providers*",
    "config.storage.*",
    "connect.*",
    "connector.client.config.override.policy",
    "group.id",
    "header.converter*",
    "inter.worker.*",
    "key.converter*",
    "listeners*",
    "offset.flush.*",
    "offset.storage.*",
    "plugin.*",
    "rebalance.timeout.ms",
    "response.*",
    "rest.*",
    "scheduled.rebalance.max.delay.ms",
    "status.storage.*",
    "task.*",
    "topic.creation.*",
    "topic.tracking.*",
    "value.converter*",
    "worker.*",
    "workers.*",
    "dedicated.mode.enable.internal.rest",
];

const CONVERT: &str = "convert it: keytool -importkeystore -srckeystore FILE -destkeystore store.p12 -deststoretype PKCS12, then openssl pkcs12 -in store.p12";

pub(super) fn matches(patterns: &[&str], name: &str) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => *pattern == name,
    })
}

/// Notes bare properties of workers and of config providers.
pub(super) fn workers(file: &File, report: &mut Report) {
    let bare: Vec<Property> =
        file.unread().into_iter().filter(|property| matches(WORKER, &property.name)).cloned().collect();
    for property in bare {
        file.take(&property.name);
        report.note(&property, "there are no Connect workers; secrets are references: ${env:NAME} or ${file:/path}");
    }
}

/// Returns the cluster of an alias.
pub(super) fn cluster(alias: &str, file: &File, report: &mut Report) -> Value {
    let mut cluster = Map::new();
    match file.take(&format!("{alias}.bootstrap.servers")) {
        Some(property) => match references::translate(&property.value) {
            Ok(servers) => {
                cluster.insert("bootstrap_servers".to_owned(), json!(servers));
                report.option(&property, "bootstrap_servers");
            }
            Err(reason) => report.refuse(&property, reason),
        },
        None => {
            let name = format!("{alias}.bootstrap.servers");
            report.refuse(&Property::missing(name), "it is missing");
        }
    }
    let mut security = Security { alias, file, report, kafka: Map::new(), auth: Map::new() };
    security.all();
    let Security { mut kafka, auth, .. } = security;
    for client in ["consumer", "producer", "admin"] {
        for (name, property) in file.take_all(&format!("{alias}.{client}.")) {
            if matches(WORKER, &format!("{client}.{name}")) {
                report.note(&property, "there are no Connect workers");
                continue;
            }
            client_setting(client, &name, &property, &mut kafka, report);
        }
    }
    let start = format!("{alias}.");
    let rest: Vec<Property> =
        file.unread().into_iter().filter(|property| property.name.starts_with(&start)).cloned().collect();
    for property in rest {
        let name = property.name.strip_prefix(&start).unwrap_or_default();
        file.take(&property.name);
        if name == "exactly.once.source.support" {
            report.note(&property, "delivery of the links to this cluster");
        } else if matches(WORKER, name) {
            report.note(&property, "there are no Connect workers");
        } else if matches(DECIDED, name) {
            report.note(&property, decided(name));
        } else {
            report.refuse(&property, "it is no property of a cluster");
        }
    }
    if !kafka.is_empty() {
        cluster.insert("kafka".to_owned(), Value::Object(kafka));
    }
    if !auth.is_empty() {
        cluster.insert("auth".to_owned(), Value::Object(auth));
    }
    Value::Object(cluster)
}

/// Takes over a setting of one client of a cluster.
pub(super) fn client_setting(
    client: &str,
    name: &str,
    property: &Property,
    kafka: &mut Map<String, Value>,
    report: &mut Report,
) {
    match (client, name, property.value.trim()) {
        ("consumer", "isolation.level", "read_committed") => report.note(property, "always so"),
        ("consumer", "isolation.level", _) => report.refuse(
            property,
            "Strait copies committed records only: what a transaction has aborted would be on the target for good",
        ),
        // A flow asks for it.
        ("consumer", "auto.offset.reset", _) => report.note(property, "start of the links from this cluster"),
        ("producer", "compression.type", value) => {
            kafka.insert("compression.type".to_owned(), json!(value));
            report.option(property, "\"compression.type\" of the cluster");
        }
        ("producer", "compression.gzip.level" | "compression.lz4.level" | "compression.zstd.level", value) => {
            kafka.insert(
                "compression.level".to_owned(),
                value.parse::<i64>().map_or_else(|_| json!(value), |level| json!(level)),
            );
            report.option(property, "\"compression.level\" of the cluster");
        }
        _ if matches(DECIDED, name) => {
            report.note(property, decided(name));
        }
        _ if ["ssl.", "sasl.", "security.", "bootstrap."].iter().any(|start| name.starts_with(start)) => {
            report.refuse(property, "all clients of a cluster have one login here: set it for the cluster");
        }
        _ => report.refuse(property, format!("it is no setting of Kafka's {client} that Strait knows")),
    }
}

/// A table of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// `[clusters.NAME.kafka]`
    Kafka,
    /// `[clusters.NAME.auth]`
    Auth,
}

/// The login and the certificates of a cluster.
pub(super) struct Security<'a> {
    pub(super) alias: &'a str,
    pub(super) file: &'a File,
    pub(super) report: &'a mut Report,
    kafka: Map<String, Value>,
    auth: Map<String, Value>,
}

impl Security<'_> {
    /// Returns a setting: the cluster's own, or the one for all clusters.
    pub(super) fn get(&self, name: &str) -> Option<Property> {
        self.file.take(&format!("{}.{name}", self.alias)).or_else(|| self.file.take(name))
    }

    /// Sets an entry of a table that needs no translation, and reports nothing.
    pub(super) fn insert(&mut self, table: Table, name: &str, value: Value) {
        let entries = if table == Table::Kafka { &mut self.kafka } else { &mut self.auth };
        entries.insert(name.to_owned(), value);
    }

    /// Sets a property of the cluster to the value of one of the file.
    pub(super) fn set(&mut self, property: &Property, name: &str, value: &str) {
        self.set_in(Table::Kafka, property, name, value);
    }

    /// Sets an entry of a table to the value of a property of the file.
    pub(super) fn set_in(&mut self, table: Table, property: &Property, name: &str, value: &str) {
        match references::translate(value) {
            Ok(value) => {
                self.insert(table, name, json!(value));
                self.report.option(property, self.named(table, name));
            }
            Err(reason) => self.report.refuse(property, reason),
        }
    }

    /// Sets a secret. One that is written in the file is not carried over: it is to be set as a
    /// variable.
    pub(super) fn set_secret(&mut self, table: Table, property: &Property, name: &str, value: &str) {
        let translated = match references::translate_secret(value) {
            Ok(translated) => translated,
            Err(reason) => return self.report.refuse(property, reason),
        };
        let named = self.named(table, name);
        if references::is_reference(&translated) {
            self.insert(table, name, json!(translated));
            return self.report.option(property, named);
        }
        let variable = format!("{}_{name}", self.alias).to_ascii_uppercase().replace(['.', '-'], "_");
        self.insert(table, name, json!(format!("${{env:{variable}}}")));
        self.report.option(property, format!("{named}; the secret is not copied: set the variable {variable}"));
    }

    fn named(&self, table: Table, name: &str) -> String {
        match table {
            Table::Kafka => format!("\"{name}\" of the cluster"),
            Table::Auth => format!("{name} of [clusters.{}.auth]", self.alias),
        }
    }

    fn all(&mut self) {
        for name in ["security.protocol", "sasl.kerberos.service.name"] {
            if let Some(property) = self.get(name) {
                self.set(&property, name, &property.value.clone());
            }
        }
        self.login();
        self.truststore();
        self.keystore();
        if let Some(property) = self.get("ssl.endpoint.identification.algorithm") {
            match property.value.trim() {
                "" | "none" => self.report.refuse(
                    &property,
                    "Strait verifies the brokers' names; to go without, set insecure = true and this property to none by hand",
                ),
                value => self.set(&property, "ssl.endpoint.identification.algorithm", value),
            }
        }
        for name in [
            "ssl.protocol",
            "ssl.enabled.protocols",
            "ssl.provider",
            "ssl.cipher.suites",
            "ssl.keymanager.algorithm",
            "ssl.trustmanager.algorithm",
            "ssl.secure.random.implementation",
            "ssl.engine.factory.class",
            "security.providers",
        ] {
            if let Some(property) = self.get(name) {
                self.report.note(&property, "TLS is OpenSSL's here: TLS 1.2 and later");
            }
        }
        let starts = [format!("{}.sasl.", self.alias), "sasl.".to_owned()];
        for start in starts {
            let rest: Vec<Property> =
                self.file.unread().into_iter().filter(|property| property.name.starts_with(&start)).cloned().collect();
            for property in rest {
                self.file.take(&property.name);
                self.report.refuse(&property, "set up this login by hand: docs/configuration.md lists what there is");
            }
        }
    }

    fn truststore(&mut self) {
        let kind = self.kind("ssl.truststore.type");
        if let Some(property) = self.get("ssl.truststore.location") {
            match kind.as_str() {
                "PEM" => self.set(&property, "ssl.ca.location", &property.value.clone()),
                _ => self
                    .report
                    .refuse(&property, format!("ssl.ca.location is a PEM file; {CONVERT} -nokeys -out ca.pem")),
            }
        }
        if let Some(property) = self.get("ssl.truststore.certificates") {
            self.set(&property, "ssl.ca.pem", &property.value.clone());
        }
        if let Some(property) = self.get("ssl.truststore.password") {
            self.report.note(&property, "ssl.ca.location is a PEM file, which has no password");
        }
    }

    fn keystore(&mut self) {
        let kind = self.kind("ssl.keystore.type");
        if let Some(property) = self.get("ssl.keystore.location") {
            let value = property.value.clone();
            match kind.as_str() {
                "PEM" => {
                    self.set(&property, "ssl.certificate.location", &value);
                    self.set(&property, "ssl.key.location", &value);
                }
                "PKCS12" => self.set(&property, "ssl.keystore.location", &value),
                _ => self
                    .report
                    .refuse(&property, format!("here it is a PKCS#12 file, or PEM files; {CONVERT} -out client.pem")),
            }
        }
        if let Some(property) = self.get("ssl.keystore.password") {
            match kind.as_str() {
                "PKCS12" => self.set_secret(Table::Kafka, &property, "ssl.keystore.password", &property.value.clone()),
                _ => self.report.note(&property, "only a PKCS#12 file has it"),
            }
        }
        for (name, ours) in [("ssl.key.password", "ssl.key.password"), ("ssl.keystore.key", "ssl.key.pem")] {
            if let Some(property) = self.get(name) {
                self.set_secret(Table::Kafka, &property, ours, &property.value.clone());
            }
        }
        if let Some(property) = self.get("ssl.keystore.certificate.chain") {
            self.set(&property, "ssl.certificate.pem", &property.value.clone());
        }
    }

    /// Returns the type of a key store; Kafka's default is JKS.
    fn kind(&mut self, name: &str) -> String {
        match self.get(name) {
            Some(property) => {
                self.report.note(&property, "the kind of the file");
                property.value.trim().to_ascii_uppercase()
            }
            None => "JKS".to_owned(),
        }
    }
}
