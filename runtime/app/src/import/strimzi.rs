//! A resource `KafkaMirrorMaker2` of Strimzi, as the properties that MirrorMaker 2 gets from it.
//!
//! Two versions: `v1beta2` lists the clusters and names the target of all mirrors
//! (`spec.connectCluster`), `v1` has the target (`spec.target`) and a source in each mirror.
//! Secrets are files of the pod: `/mnt/SECRET/KEY`, which the pod of Strait must mount.

use serde_json::Value;
use strait_core::config::Path;

use super::mirror::Mirror;
use super::properties::{File, FileError, Property};
use super::{Report, printable};
use crate::load::ForeignYaml;

/// The kind of resource.
const KIND: &str = "KafkaMirrorMaker2";
/// Where secrets are mounted.
const MOUNT: &str = "/mnt";
/// Names that Strimzi gives where the resource of `v1beta2` sets none.
const GROUP: &str = "mirrormaker2-cluster";
const OFFSETS: &str = "mirrormaker2-cluster-offsets";

/// Parts of `spec` that concern the pods of Kafka Connect alone.
const PODS: [&str; 17] = [
    "clientRackInitImage",
    "externalConfiguration",
    "image",
    "jmxOptions",
    "jvmOptions",
    "livenessProbe",
    "logging",
    "metricsConfig",
    "plugins",
    "rack",
    "readinessProbe",
    "replicas",
    "resources",
    "template",
    "tracing",
    "version",
    "build",
];
/// Parts of a connector that concern Kafka Connect alone.
const CONNECTOR: [&str; 6] = ["autoRestart", "pause", "state", "version", "listOffsets", "alterOffsets"];

/// A resource, as properties.
pub(super) struct Resource {
    pub(super) file: File,
}

/// One place of the resource.
#[derive(Clone)]
struct At<'a> {
    whole: &'a ForeignYaml,
    value: &'a Value,
    path: Path,
}

impl<'a> At<'a> {
    fn get(&self, key: &str) -> Option<At<'a>> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(self.inside(value, self.path.key(key)))
    }

    fn list(&self, key: &str) -> Vec<At<'a>> {
        let Some(list) = self.get(key) else { return Vec::new() };
        let items = list.value.as_array().into_iter().flatten().enumerate();
        items.map(|(index, value)| self.inside(value, list.path.index(index))).collect()
    }

    fn entries(&self) -> Vec<(&'a str, At<'a>)> {
        let entries = self.value.as_object().into_iter().flatten();
        entries.map(|(key, value)| (key.as_str(), self.inside(value, self.path.key(key)))).collect()
    }

    fn inside(&self, value: &'a Value, path: Path) -> At<'a> {
        At { whole: self.whole, value, path }
    }

    /// Returns a text, a number or a boolean as it is written.
    fn text(&self) -> String {
        self.whole.text(&self.path, self.value)
    }

    fn text_of(&self, key: &str) -> Option<String> {
        self.get(key).map(|at| at.text())
    }
}

impl Resource {
    /// Finds the resource in a file, which may have several documents.
    pub fn parse(text: &[u8], report: &mut Report) -> Result<Self, FileError> {
        let text = String::from_utf8_lossy(text);
        let mut kinds = Vec::new();
        for document in documents(&text) {
            let parsed = ForeignYaml::parse(&document).map_err(|why| FileError::Foreign(printable(&why)))?;
            let kind = parsed.tree.get("kind").and_then(Value::as_str).unwrap_or("nothing with a kind").to_owned();
            if kind == KIND {
                let mut reading = Reading { parsed: &parsed, report, properties: Vec::new() };
                reading.resource();
                return Ok(Self { file: File::of(reading.properties) });
            }
            kinds.push(kind);
        }
        let found = printable(&kinds.join(", "));
        Err(FileError::Foreign(format!(
            "it has no resource of kind {KIND} (found: {found}); a properties file is for: strait import mm2"
        )))
    }

    /// Sets what the connectors of Strimzi have other than those of the dedicated mode.
    pub fn complete(&self, mirror: &mut Mirror) {
        let target = mirror.link.strip_prefix(&format!("{}-", mirror.source)).unwrap_or_default().to_owned();
        mirror.connector = Some(format!("{}->{target}.MirrorSourceConnector", mirror.source));
        if self.file.get(&format!("{target}.group.id")).is_none() {
            GROUP.clone_into(&mut mirror.group);
        }
        let own = ["offset.storage.topic", "offsets.storage.topic"].iter().any(|name| {
            [&*target, &*format!("{}->{target}", mirror.source)]
                .iter()
                .any(|start| self.file.get(&format!("{start}.{name}")).is_some())
        });
        if !own {
            OFFSETS.clone_into(&mut mirror.offsets_topic);
        }
    }
}

/// Returns the documents of a file, each at its own lines.
fn documents(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for (number, line) in text.lines().enumerate() {
        let is_border = line == "---" || line.starts_with("--- ");
        if is_border {
            documents.push("\n".repeat(number + 1));
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    documents.retain(|document| document.lines().any(|line| !line.trim().is_empty() && !line.trim().starts_with('#')));
    documents
}

struct Reading<'a> {
    parsed: &'a ForeignYaml,
    report: &'a mut Report,
    properties: Vec<Property>,
}

impl<'a> Reading<'a> {
    fn resource(&mut self) {
        let top = At { whole: self.parsed, value: &self.parsed.tree, path: Path::default() };
        let Some(spec) = top.get("spec") else {
            return self.report.refuse(&Property::missing("spec"), "it is missing: the resource names no clusters");
        };
        let mut aliases = Vec::new();
        let v1 = spec.get("target").or_else(|| spec.get("targetCluster"));
        let target = match &v1 {
            Some(target) => self.target(target, &mut aliases),
            None => spec.text_of("connectCluster").unwrap_or_default(),
        };
        for cluster in spec.list("clusters").into_iter().chain(spec.list("sourceClusters")) {
            self.cluster(&cluster, None, &mut aliases);
        }
        for mirror in spec.list("mirrors") {
            self.mirror(&mirror, &target, &mut aliases);
        }
        self.add(&spec, "clusters".to_owned(), &aliases.join(","), false);
        let read = ["target", "targetCluster", "connectCluster", "clusters", "sourceClusters", "mirrors"];
        for (key, at) in spec.entries().into_iter().filter(|(key, _)| !read.contains(key)) {
            let property = self.property(&at, key.to_owned(), "");
            match PODS.contains(&key) {
                true => self.report.note(&property, "it concerns the pods of Kafka Connect"),
                false => self.report.refuse(&property, "it is no part of such a resource that Strait knows"),
            }
        }
    }

    /// Reads the target of `v1`. Returns its alias.
    fn target(&mut self, target: &At<'a>, aliases: &mut Vec<String>) -> String {
        let alias = target.text_of("alias").unwrap_or_else(|| "target".to_owned());
        for (key, property) in [("groupId", "group.id"), ("offsetStorageTopic", "offset.storage.topic")] {
            if let Some(at) = target.get(key) {
                self.add(&at, format!("{alias}.{property}"), &at.text(), true);
            }
        }
        for key in ["configStorageTopic", "statusStorageTopic"] {
            if let Some(at) = target.get(key) {
                let property = self.property(&at, key.to_owned(), "");
                self.report.note(&property, "there are no Connect workers");
            }
        }
        self.cluster(target, Some(&alias), aliases);
        alias
    }

    fn cluster(&mut self, cluster: &At<'a>, alias: Option<&str>, aliases: &mut Vec<String>) -> String {
        let alias = alias.map(str::to_owned).or_else(|| cluster.text_of("alias")).unwrap_or_default();
        if aliases.contains(&alias) {
            return alias;
        }
        aliases.push(alias.clone());
        if let Some(servers) = cluster.get("bootstrapServers") {
            self.add(&servers, format!("{alias}.bootstrap.servers"), &servers.text(), true);
        }
        let tls = cluster.get("tls");
        let login = cluster.get("authentication");
        let kind = login.as_ref().and_then(|login| login.text_of("type")).unwrap_or_default();
        let has_sasl = match (&*kind, &login) {
            ("" | "tls", _) => false,
            ("custom", Some(login)) => login.text_of("sasl").as_deref() == Some("true"),
            _ => true,
        };
        let protocol = match (tls.is_some(), has_sasl) {
            (true, true) => "SASL_SSL",
            (true, false) => "SSL",
            (false, true) => "SASL_PLAINTEXT",
            (false, false) => "",
        };
        if !protocol.is_empty() {
            let at = tls.as_ref().or(login.as_ref()).unwrap_or(cluster);
            self.add(at, format!("{alias}.security.protocol"), protocol, true);
        }
        if let Some(tls) = &tls {
            self.trusted(tls, &alias);
        }
        if let Some(login) = &login {
            self.login(login, &kind, &alias);
        }
        for (name, at) in cluster.get("config").map(|config| config.entries()).unwrap_or_default() {
            self.add(&at, format!("{alias}.{name}"), &at.text(), true);
        }
        let read = ["alias", "bootstrapServers", "tls", "authentication", "config", "groupId"];
        let of_target = ["offsetStorageTopic", "configStorageTopic", "statusStorageTopic"];
        self.others(cluster, &[&read[..], &of_target].concat());
        alias
    }

    /// Takes over the certificates that brokers are checked with.
    fn trusted(&mut self, tls: &At<'a>, alias: &str) {
        let certificates = tls.list("trustedCertificates");
        for (index, entry) in certificates.iter().enumerate() {
            let secret = entry.text_of("secretName").unwrap_or_default();
            let file = entry.text_of("certificate");
            let is_pattern = file.is_none();
            // The secrets that Strimzi makes of its own authorities have it under this name.
            let file = file.unwrap_or_else(|| "ca.crt".to_owned());
            if index > 0 {
                let property = self.property(entry, "ssl.truststore.location".to_owned(), "");
                self.report.refuse(&property, "ssl.ca.location is one file: put the certificates together into it");
                continue;
            }
            self.add(entry, format!("{alias}.ssl.truststore.type"), "PEM", false);
            self.add(entry, format!("{alias}.ssl.truststore.location"), &format!("{MOUNT}/{secret}/{file}"), true);
            if is_pattern {
                let property = self.property(entry, "ssl.truststore.location".to_owned(), "");
                self.report.note(&property, format!("of the files of the pattern it takes {file}"));
            }
        }
        self.others(tls, &["trustedCertificates"]);
    }

    fn login(&mut self, login: &At<'a>, kind: &str, alias: &str) {
        let secret = |key: &str, name: &str| secret_of(login, key, name);
        let user = login.text_of("username").unwrap_or_default();
        match kind {
            "tls" => {
                let of = |name: &str| secret("certificateAndKey", name);
                for (name, value) in [("certificate.chain", of("certificate")), ("key", of("key"))] {
                    self.add(login, format!("{alias}.ssl.keystore.{name}"), &value.unwrap_or_default(), true);
                }
            }
            "scram-sha-256" | "scram-sha-512" | "plain" => {
                let module = if kind == "plain" { "Plain" } else { "Scram" };
                let password = secret("passwordSecret", "password").unwrap_or_default();
                let jaas = format!(
                    "{module}LoginModule required username=\"{}\" password=\"{password}\";",
                    user.replace('\\', "\\\\").replace('"', "\\\"")
                );
                self.add(login, format!("{alias}.sasl.mechanism"), &kind.to_ascii_uppercase(), true);
                self.add(login, format!("{alias}.sasl.jaas.config"), &jaas, true);
            }
            "oauth" => self.oauth(login, alias),
            "custom" => {
                for (name, at) in login.get("config").map(|config| config.entries()).unwrap_or_default() {
                    self.add(&at, format!("{alias}.{name}"), &at.text(), true);
                }
                self.others(login, &["type", "sasl", "config"]);
            }
            other => {
                let property = self.property(login, "authentication".to_owned(), "");
                self.report.refuse(&property, format!("set up a login of kind '{other}' by hand"));
            }
        }
    }

    fn oauth(&mut self, login: &At<'a>, alias: &str) {
        let mut options = String::new();
        let texts = [
            ("tokenEndpointUri", "oauth.token.endpoint.uri"),
            ("clientId", "oauth.client.id"),
            ("scope", "oauth.scope"),
            ("audience", "oauth.audience"),
        ];
        for (key, option) in texts {
            if let Some(value) = login.text_of(key) {
                options.push_str(&format!(" {option}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")));
            }
        }
        if let Some(secret) = secret_of(login, "clientSecret", "key") {
            options.push_str(&format!(" oauth.client.secret=\"{secret}\""));
        }
        let class = "io.strimzi.kafka.oauth.client.JaasClientOauthLoginCallbackHandler";
        self.add(login, format!("{alias}.sasl.mechanism"), "OAUTHBEARER", true);
        self.add(login, format!("{alias}.sasl.login.callback.handler.class"), class, false);
        let jaas = format!("OAuthBearerLoginModule required{options};");
        self.add(login, format!("{alias}.sasl.jaas.config"), &jaas, true);
        let read = ["type", "tokenEndpointUri", "clientId", "scope", "audience", "clientSecret"];
        self.others(login, &read);
    }

    fn mirror(&mut self, mirror: &At<'a>, target: &str, aliases: &mut Vec<String>) {
        let source = match mirror.get("source") {
            Some(source) => self.cluster(&source, None, aliases),
            None => mirror.text_of("sourceCluster").unwrap_or_default(),
        };
        if let Some(at) = mirror.get("targetCluster").filter(|at| at.text() != target) {
            let property = self.property(&at, "targetCluster".to_owned(), "");
            self.report.refuse(&property, format!("it is not the cluster of Kafka Connect, {target}"));
        }
        let start = format!("{source}->{target}.");
        self.add(mirror, format!("{start}enabled"), "true", true);
        for (key, name) in [
            ("topicsPattern", "topics"),
            ("topicsExcludePattern", "topics.exclude"),
            ("topicsBlacklistPattern", "topics.blacklist"),
            ("groupsPattern", "groups"),
            ("groupsExcludePattern", "groups.exclude"),
            ("groupsBlacklistPattern", "groups.blacklist"),
        ] {
            if let Some(at) = mirror.get(key) {
                self.add(&at, format!("{start}{name}"), &at.text(), true);
            }
        }
        let connectors = ["sourceConnector", "checkpointConnector", "heartbeatConnector"];
        for kind in connectors {
            let Some(connector) = mirror.get(kind) else { continue };
            if kind == "sourceConnector"
                && let Some(at) = connector.get("tasksMax")
            {
                self.add(&at, format!("{start}tasks.max"), &at.text(), true);
            }
            for (name, at) in connector.get("config").map(|config| config.entries()).unwrap_or_default() {
                self.add(&at, format!("{start}{name}"), &at.text(), true);
            }
            for (key, at) in connector.entries() {
                let property = self.property(&at, key.to_owned(), "");
                match key {
                    "config" => {}
                    "tasksMax" if kind == "sourceConnector" => {}
                    "tasksMax" => self.report.note(&property, "lanes are those of the source connector"),
                    _ if CONNECTOR.contains(&key) => self.report.note(&property, "there are no connectors"),
                    _ => self.report.refuse(&property, "it is no part of a connector that Strait knows"),
                }
            }
        }
        let patterns = ["topicsPattern", "topicsExcludePattern", "topicsBlacklistPattern"];
        let groups = ["groupsPattern", "groupsExcludePattern", "groupsBlacklistPattern"];
        let ends = ["source", "sourceCluster", "targetCluster"];
        self.others(mirror, &[&patterns[..], &groups, &connectors, &ends].concat());
    }

    /// Refuses the parts that are not among those that are read.
    fn others(&mut self, at: &At<'a>, read: &[&str]) {
        for (key, at) in at.entries().into_iter().filter(|(key, _)| !read.contains(key)) {
            let property = self.property(&at, key.to_owned(), "");
            self.report.refuse(&property, "it is not carried over: see whether the link needs it");
        }
    }

    fn property(&self, at: &At<'_>, name: String, value: &str) -> Property {
        let shown = at.path.to_string();
        Property { line: self.parsed.line(&at.path), name, value: value.to_owned(), shown }
    }

    /// Adds a property; one that is not `shown` is no line of the file.
    fn add(&mut self, at: &At<'_>, name: String, value: &str, shown: bool) {
        let property = self.property(at, name, value);
        let property = match shown {
            true => property,
            false => Property { shown: property.name.clone(), ..property },
        };
        self.properties.push(property);
    }
}

/// Returns a reference to a key of a secret: `key` names the part of the login, `name` the member
/// that has the key.
fn secret_of(login: &At<'_>, key: &str, name: &str) -> Option<String> {
    let part = login.get(key)?;
    let secret = part.text_of("secretName")?;
    let file = part.text_of(name)?;
    // Of a properties file this is a whole file too.
    Some(format!("${{dir:{MOUNT}/{secret}:{file}}}"))
}
