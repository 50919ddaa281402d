//! Checks of a well-formed configuration.

use std::collections::BTreeMap;

use super::model::{Cluster, Config, Link};
use super::path::Path;
use super::plugin_use::{OnError, PluginUse};
use super::problem::{Gravity, Part, Problem, What, nearest};
use super::reference::Lookup;
use super::sync::{OnDeleted, Sync};
use super::{addresses, auth, java, pattern, pin, refused, routes, secrets, selector, transport};
use crate::topic::is_reserved;

const NAME_RULE: &str = "1 to 100 letters, digits, '-' and '_'";
const REGION_RULE: &str = "1 to 64 lower-case letters, digits and '-'";

/// Resolves every reference. The problems name references and never a value.
#[must_use]
pub fn resolve(config: &mut Config, lookup: &mut Lookup<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let top = Path::default();
    let mut report = |at: Path, result: Result<(), super::reference::RefError>| {
        if let Err(error) = result {
            problems.push(Problem { at, part: Part::Value, what: What::Reference(error) });
        }
    };
    report(top.key("plugin_dir"), config.plugin_dir.resolve(lookup));
    report(top.key("state_dir"), config.state_dir.resolve(lookup));
    for (name, cluster) in &mut config.clusters {
        let at = top.key("clusters").key(name);
        report(at.key("bootstrap_servers"), cluster.bootstrap_servers.resolve(lookup));
        for (property, value) in &mut cluster.kafka.0 {
            report(at.key("kafka").key(property), value.resolve(lookup));
        }
        for (key, error) in cluster.auth.iter_mut().flat_map(|auth| auth.resolve(lookup)) {
            report(at.key("auth").key(key), Err(error));
        }
    }
    for (index, link) in config.links.iter_mut().enumerate() {
        for (plugin, used) in link.plugins.iter_mut().enumerate() {
            let at = top.key("links").index(index).key("plugins").index(plugin).key("config");
            match used.config.resolve(lookup) {
                Ok(()) => {}
                Err((inner, error)) => report(at.join(&inner), Err(error)),
            }
        }
    }
    problems
}

impl Config {
    /// Returns every value that comes from a reference or is a known secret. Logs and messages must
    /// mask them.
    #[must_use]
    pub fn resolved_values(&self) -> Vec<&str> {
        let clusters = self.clusters.values().flat_map(|cluster| {
            let properties = cluster.kafka.0.values().filter_map(super::Setting::resolved);
            let written = cluster
                .kafka
                .0
                .iter()
                .filter(|(name, value)| secrets::is_secret_property(name) && value.resolved().is_none())
                .flat_map(|(_, value)| value.secret_parts());
            let in_urls = cluster.kafka.0.values().flat_map(super::Setting::url_secrets);
            properties.chain(written).chain(in_urls).chain(cluster.auth.iter().flat_map(super::Auth::secret_values))
        });
        let plugins = self.links.iter().flat_map(|link| &link.plugins).flat_map(|used| used.config.resolved_values());
        clusters.chain(plugins).collect()
    }

    /// Returns a cluster by name. After validation, every cluster that a link names exists.
    #[must_use]
    pub fn cluster(&self, name: &str) -> Option<&Cluster> {
        self.clusters.get(name)
    }
}

/// Checks a configuration whose references are resolved. Warnings are among the problems.
///
/// `bundled_plugins` are the names of the plugins in the binary. The nearest one is suggested for a
/// name that cannot be a plugin.
#[must_use]
pub fn validate(config: &Config, bundled_plugins: &[&str]) -> Vec<Problem> {
    let mut check = Check { problems: Vec::new(), bundled_plugins };
    let top = Path::default();
    if config.links.is_empty() {
        check.value(&top.key("links"), What::Empty("there is no link, so nothing would be copied"));
    }
    if let Err(reason) = config.admin.listen() {
        let what = What::BadSetting { value: config.admin.listen.clone().unwrap_or_default(), reason };
        check.value(&top.key("admin").key("listen"), what);
    }
    for (index, key) in config.trusted_plugin_keys.iter().enumerate() {
        let at = top.key("trusted_plugin_keys").index(index);
        if check.without_reference(&at, key)
            && let Err(reason) = pin::public_key(key)
        {
            check.value(&at, What::BadSetting { value: key.clone(), reason });
        }
    }
    check.region(&top.key("region"), config.region.as_deref());
    for (name, cluster) in &config.clusters {
        check.cluster(&top.key("clusters").key(name), name, cluster);
    }
    let mut seen = BTreeMap::new();
    for (index, link) in config.links.iter().enumerate() {
        let at = top.key("links").index(index);
        check.link(&at, link, config);
        match seen.get(link.name.as_str()) {
            Some(first) => check.value(&at.key("name"), What::DuplicateLink { name: link.name.clone(), first: *first }),
            None => {
                seen.insert(link.name.as_str(), index);
            }
        }
    }
    check.problems.extend(transport::problems(config));
    check.problems.extend(routes::problems(config));
    check.problems
}

fn is_name(name: &str) -> bool {
    (1..=100).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// Regions are compared, so there must be one way to write each.
pub(super) fn is_region(region: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=64).contains(&region.len()) && region.bytes().all(is_plain)
}

fn is_true(value: &str) -> bool {
    ["true", "t", "1"].contains(&value.trim().to_ascii_lowercase().as_str())
}

/// Returns why a property cannot be set at all.
fn unusable(property: &str) -> Option<What> {
    let name = || property.to_owned();
    if let Some(refused) = refused::refusal(property) {
        return Some(What::RefusedProperty { property: name(), reason: refused.reason, instead: refused.instead });
    }
    if refused::known_properties().any(|known| known == property) {
        return None;
    }
    if let Some(instead) = java::instead(property) {
        return Some(What::JavaProperty { property: name(), instead });
    }
    Some(What::UnknownProperty { property: name(), nearest: nearest(property, refused::known_properties()) })
}

struct Check<'a> {
    problems: Vec<Problem>,
    bundled_plugins: &'a [&'a str],
}

impl Check<'_> {
    fn push(&mut self, at: &Path, part: Part, what: What) {
        self.problems.push(Problem { at: at.clone(), part, what });
    }

    fn value(&mut self, at: &Path, what: What) {
        self.push(at, Part::Value, what);
    }

    /// Reports a reference in a name or pattern. Those are printed everywhere, so they must not
    /// contain secrets.
    fn without_reference(&mut self, at: &Path, text: &str) -> bool {
        if super::reference::has_reference(text) {
            self.value(at, What::ReferenceNotHere);
            return false;
        }
        true
    }

    fn name(&mut self, at: &Path, part: Part, of: &'static str, name: &str) {
        if part == Part::Value && !self.without_reference(at, name) {
            return;
        }
        if !is_name(name) {
            let what = What::BadName { of, name: name.to_owned(), rule: NAME_RULE };
            self.push(at, part, what);
        }
    }

    fn region(&mut self, at: &Path, region: Option<&str>) {
        let Some(region) = region else { return };
        if self.without_reference(at, region) && !is_region(region) {
            let what = What::BadName { of: "region", name: region.to_owned(), rule: REGION_RULE };
            self.push(at, Part::Value, what);
        }
    }

    fn cluster(&mut self, at: &Path, name: &str, cluster: &Cluster) {
        self.name(at, Part::Key, "cluster", name);
        if let Some(provider) = &cluster.provider {
            self.without_reference(&at.key("provider"), provider);
        }
        self.region(&at.key("region"), cluster.region.as_deref());
        if !cluster.bootstrap_servers.is_unresolved() {
            self.addresses(&at.key("bootstrap_servers"), cluster.bootstrap_servers.expose());
        }
        self.properties(&at.key("kafka"), cluster);
        self.problems.extend(auth::problems(at, cluster));
    }

    fn properties(&mut self, at: &Path, cluster: &Cluster) {
        for (property, value) in &cluster.kafka.0 {
            let at = at.key(property);
            if let Some(what) = unusable(property) {
                self.push(&at, Part::Key, what);
            } else if !value.is_unresolved() {
                self.property(&at, property, value.expose(), cluster);
            }
        }
        let protocol = cluster.kafka.expose("security.protocol").unwrap_or_default().trim().to_ascii_lowercase();
        let mechanism = ["sasl.mechanism", "sasl.mechanisms"].iter().find_map(|name| cluster.kafka.expose(name));
        if protocol.starts_with("sasl") && mechanism.is_none() && cluster.auth.is_none() {
            let doc = "The login of the SASL protocols: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.".to_owned();
            self.push(at, Part::Key, What::Missing { key: "sasl.mechanism".to_owned(), doc });
        }
    }

    fn property(&mut self, at: &Path, property: &str, value: &str, cluster: &Cluster) {
        let insecure = cluster.insecure;
        let lower = value.trim().to_ascii_lowercase();
        let switched_off = match property {
            "enable.ssl.certificate.verification" => ["false", "f", "0"].contains(&lower.as_str()),
            "ssl.endpoint.identification.algorithm" => lower == "none",
            "enable.sasl.oauthbearer.unsecure.jwt" => is_true(value),
            _ => false,
        };
        if switched_off && !insecure {
            self.value(at, What::Insecure { property: property.to_owned() });
        }
        // Where the password itself can be read, that is said.
        if property == "security.protocol" && lower == "sasl_plaintext" && !insecure && !cluster.shows_login() {
            self.value(at, What::Plaintext);
        }
        let unsupported = match property {
            "sasl.mechanism" | "sasl.mechanisms" => {
                let unsecured = cluster.kafka.expose("enable.sasl.oauthbearer.unsecure.jwt");
                java::mechanism(value, unsecured.is_some_and(is_true))
            }
            "sasl.oauthbearer.method" if lower == "oidc" => {
                Some("Strait fetches tokens itself: [clusters.<name>.auth] with kind = \"oidc\"")
            }
            "ssl.endpoint.identification.algorithm" if lower.is_empty() => {
                Some("Java switches the check of host names off so; here that is 'none', with insecure = true")
            }
            "ssl.keystore.location" if [".jks", ".bcfks"].iter().any(|end| lower.ends_with(end)) => {
                Some("a Java keystore; convert it to PKCS#12: keytool -importkeystore -deststoretype pkcs12")
            }
            "ssl.ca.location" if [".jks", ".p12", ".pfx", ".bcfks"].iter().any(|end| lower.ends_with(end)) => {
                Some("it is a PEM file here: keytool -exportcert -rfc writes one")
            }
            _ => None,
        };
        if let Some(reason) = unsupported {
            let what = What::UnsupportedValue { property: property.to_owned(), value: value.to_owned(), reason };
            self.value(at, what);
        }
    }

    fn addresses(&mut self, at: &Path, text: &str) {
        if text.trim().is_empty() {
            self.value(at, What::Empty("no broker is set: list at least one, as host:port"));
            return;
        }
        for bad in addresses::problems(text) {
            let address = secrets::without_url_secrets(&bad.address);
            self.value(at, What::BadAddress { address, reason: bad.reason });
        }
    }

    fn link(&mut self, at: &Path, link: &Link, config: &Config) {
        self.name(&at.key("name"), Part::Value, "link", &link.name);
        let known = || config.clusters.keys().map(String::as_str);
        for (key, name) in [("source", &link.source), ("target", &link.target)] {
            if self.without_reference(&at.key(key), name) && !config.clusters.contains_key(name) {
                let what = What::UnknownCluster {
                    name: name.clone(),
                    nearest: nearest(name, known()),
                    known: known().map(str::to_owned).collect(),
                };
                self.value(&at.key(key), what);
            }
        }
        if link.source == link.target {
            let name = link.source.clone();
            self.value(&at.key("target"), What::SameCluster { name });
        }
        if link.topics.is_empty() {
            self.value(&at.key("topics"), What::Empty("no topic is selected: list some, or [\".*\"] for all"));
        }
        if let Some(reason) = link.naming.fault(&link.source) {
            let what = What::BadSetting { value: link.naming.apply("{source}", "{topic}"), reason };
            self.value(&at.key("naming"), what);
        }
        for (key, patterns) in [("topics", &link.topics), ("topics_exclude", &link.topics_exclude)] {
            for (index, pattern) in patterns.iter().enumerate() {
                self.pattern(&at.key(key).index(index), pattern, key == "topics");
            }
        }
        for (key, patterns) in [("groups", &link.groups), ("groups_exclude", &link.groups_exclude)] {
            for (index, pattern) in patterns.iter().enumerate() {
                let at = at.key(key).index(index);
                if self.without_reference(&at, pattern)
                    && let Some(what) = pattern::fault_of_group(pattern)
                {
                    self.value(&at, what);
                }
            }
        }
        for (index, framing) in link.values.iter().enumerate() {
            let at = at.key("values").index(index).key("topics");
            if framing.topics.is_empty() {
                self.value(&at, What::Empty("no topic is selected: list some, or [\".*\"] for all"));
            }
            for (index, pattern) in framing.topics.iter().enumerate() {
                self.pattern(&at.index(index), pattern, false);
            }
        }
        self.sync(&at.key("sync"), &link.sync);
        if !link.sync.groups && !link.groups.is_empty() && !link.mm2.checkpoints {
            let text = "nobody gets the answers for the groups: write them (sync.groups = true) or their checkpoints (mm2.checkpoints = true), or list no groups";
            self.value(&at.key("sync").key("groups"), What::Conflict(text.to_owned()));
        }
        if link.on_deleted == OnDeleted::Delete && !link.manage_topics {
            let text = "the link deletes only topics that it has created, and manage_topics = false says that it \
                        creates none: take one of both out";
            self.value(&at.key("on_deleted"), What::Conflict(text.to_owned()));
        }
        if let Some(accept) = &link.accept
            && self.without_reference(&at.key("accept"), accept)
            && pin::digest(accept).is_err()
        {
            let reason = "write sha256: and 64 hexadecimal digits, as strait check prints them";
            self.value(&at.key("accept"), What::BadSetting { value: accept.clone(), reason });
        }
        if link.residency && link.reveal_messages {
            let text = "what plugins say may hold data of records, and residency = true keeps that in its region: \
                        take reveal_messages out";
            self.value(&at.key("reveal_messages"), What::Conflict(text.to_owned()));
        }
        if link.residency && link.plugins.is_empty() {
            let text = "the link has no plugin that could hold anything back: add one, or take residency out";
            self.value(&at.key("residency"), What::Conflict(text.to_owned()));
        }
        for (index, used) in link.plugins.iter().enumerate() {
            self.plugin(&at.key("plugins").index(index), used);
        }
        if u64::from(link.batch_kib_max) > u64::from(link.memory_mib_max) * 1024 {
            let text = format!(
                "a batch of {} KiB does not fit into memory_mib_max = {}",
                link.batch_kib_max, link.memory_mib_max
            );
            self.value(&at.key("batch_kib_max"), What::Conflict(text));
        }
        if link.fetch_mib_max > link.memory_mib_max {
            let text = format!(
                "a fetch of {} MiB does not fit into memory_mib_max = {}",
                link.fetch_mib_max, link.memory_mib_max
            );
            self.value(&at.key("fetch_mib_max"), What::Conflict(text));
        }
    }

    fn sync(&mut self, at: &Path, sync: &Sync) {
        for (index, pattern) in sync.configs_exclude.iter().enumerate() {
            self.pattern(&at.key("configs_exclude").index(index), pattern, false);
        }
        for (principal, name) in &sync.principals {
            let at = at.key("principals").key(principal);
            let is_principal =
                |text: &str| text.split_once(':').is_some_and(|(kind, name)| !kind.is_empty() && !name.is_empty());
            for (part, text) in [(Part::Key, principal), (Part::Value, name)] {
                if !is_principal(text) {
                    let reason = "write a principal as Kafka does: User:NAME";
                    self.push(&at, part, What::BadSetting { value: text.clone(), reason });
                }
            }
        }
        if !sync.acls && !sync.principals.is_empty() {
            let text = "sync.principals counts for access lists alone: set sync.acls = true, or take it out";
            self.value(&at.key("principals"), What::Conflict(text.to_owned()));
        }
    }

    fn pattern(&mut self, at: &Path, pattern: &str, selects: bool) {
        if !self.without_reference(at, pattern) {
            return;
        }
        let fault = pattern::fault(pattern);
        let is_usable = fault.as_ref().is_none_or(|what| what.gravity() == Gravity::Warning);
        if let Some(what) = fault {
            self.value(at, what);
        }
        if is_usable {
            self.not_reserved(at, pattern, selects);
        }
    }

    fn not_reserved(&mut self, at: &Path, pattern: &str, selects: bool) {
        let sample = selector::sample(pattern).filter(|sample| selects && is_reserved(sample));
        if let Some(sample) = sample {
            let pattern = pattern.to_owned();
            self.value(at, What::ReservedTopics { pattern, sample });
        }
    }

    fn plugin(&mut self, at: &Path, used: &PluginUse) {
        if let Some(digest) = &used.digest
            && self.without_reference(&at.key("digest"), digest)
            && let Err(reason) = pin::digest(digest)
        {
            self.value(&at.key("digest"), What::BadSetting { value: digest.clone(), reason });
        }
        if let Some(patterns) = &used.output_topics {
            let at = at.key("output_topics");
            if patterns.is_empty() {
                self.value(&at, What::Empty("the plugin may name no topic: list some, or leave the option out"));
            }
            for (index, pattern) in patterns.iter().enumerate() {
                self.pattern(&at.index(index), pattern, false);
            }
        }
        if used.required == Some(true) && used.on_error == OnError::Pass {
            let text = "records would pass unjudged by a required plugin; choose quarantine, drop or stop";
            self.value(&at.key("on_error"), What::Conflict(text.to_owned()));
        }
        let at = at.key("plugin");
        if !self.without_reference(&at, &used.plugin) {
            return;
        }
        let name = used.plugin.as_str();
        let is_file = !name.is_empty()
            && name.len() <= 255
            && !name.starts_with('.')
            && !name.ends_with('/')
            && !name.contains(char::is_control)
            && !name.contains("://")
            // A generation has names between these.
            && !name.contains([' ', ',', '@']);
        if !is_file {
            let what =
                What::BadPlugin { name: name.to_owned(), nearest: nearest(name, self.bundled_plugins.iter().copied()) };
            self.value(&at, what);
        }
    }
}
