//! Encryption on the way to the brokers.

use super::addresses;
use super::model::{Cluster, Config, Link};
use super::path::Path;
use super::problem::{Part, Problem, What};

impl Cluster {
    /// Returns the security protocol in capital letters, defaults included.
    #[must_use]
    pub fn protocol(&self) -> String {
        let default = if self.auth.is_some() { "SASL_SSL" } else { "PLAINTEXT" };
        self.kafka.expose("security.protocol").unwrap_or(default).trim().to_ascii_uppercase()
    }

    /// Returns whether records and logins can be read on the way to the cluster. On this machine
    /// there is no way.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        let is_plain = matches!(self.protocol().as_str(), "PLAINTEXT" | "SASL_PLAINTEXT");
        is_plain && !self.is_local()
    }

    /// Returns whether the login itself can be read on the way, and nobody has allowed it.
    pub(super) fn shows_login(&self) -> bool {
        let is_password = self.mechanism() == Some("PLAIN") || self.auth.is_some();
        self.protocol() == "SASL_PLAINTEXT" && is_password && !self.insecure && self.is_exposed()
    }

    fn mechanism(&self) -> Option<&str> {
        ["sasl.mechanism", "sasl.mechanisms"].iter().find_map(|name| self.kafka.expose(name))
    }

    fn is_local(&self) -> bool {
        !self.bootstrap_servers.is_unresolved() && addresses::are_loopback(self.bootstrap_servers.expose())
    }
}

/// Returns the links that must be encrypted and are not, and the clusters that get a password in
/// the clear.
pub(super) fn problems(config: &Config) -> Vec<Problem> {
    let clusters = Path::default().key("clusters");
    let mut problems = Vec::new();
    for (name, cluster) in config.clusters.iter().filter(|(_, cluster)| cluster.is_exposed()) {
        let at = clusters.key(name);
        if cluster.shows_login() {
            let mechanism = cluster.mechanism().unwrap_or("OAUTHBEARER").to_owned();
            let (at, what) = (protocol_of(&at, cluster), What::PasswordInClear { mechanism });
            problems.push(Problem { at, part: Part::Value, what });
        }
        let demanding = config.links.iter().find(|link| uses(link, name) && config.demands_encryption(link));
        if let Some(link) = demanding {
            let what = What::Unencrypted {
                cluster: name.clone(),
                protocol: if cluster.protocol() == "PLAINTEXT" { "PLAINTEXT" } else { "SASL_PLAINTEXT" },
                link: link.name.clone(),
                regions: link.require_encryption.is_none().then(|| config.regions(link)).flatten().map(Box::new),
            };
            problems.push(Problem { at: protocol_of(&at, cluster), part: Part::Value, what });
        }
    }
    problems
}

fn uses(link: &Link, cluster: &str) -> bool {
    link.source == cluster || link.target == cluster
}

/// Returns the place of the protocol; of the cluster, where it has the default.
fn protocol_of(cluster: &Path, config: &Cluster) -> Path {
    let property = "security.protocol";
    if config.kafka.expose(property).is_some() { cluster.key("kafka").key(property) } else { cluster.clone() }
}

impl Config {
    /// Returns whether both ends of a link must be reached by encrypted connections.
    fn demands_encryption(&self, link: &Link) -> bool {
        link.require_encryption.unwrap_or_else(|| self.regions(link).is_some_and(|(source, target)| source != target))
    }

    fn regions(&self, link: &Link) -> Option<(String, String)> {
        let region = |name: &str| self.cluster(name).and_then(|cluster| cluster.region.clone());
        Some((region(&link.source)?, region(&link.target)?))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The codes of the problems of a link from `a` to `b`, whose tables are extended by these.
    fn codes(a: Value, b: Value, link: Value) -> Vec<&'static str> {
        let merged = |mut base: Value, more: Value| {
            if let (Some(base), Value::Object(more)) = (base.as_object_mut(), more) {
                base.extend(more);
            }
            base
        };
        let cluster = |host: &str, more| merged(json!({ "bootstrap_servers": host }), more);
        let config: Config = serde_json::from_value(json!({
            "clusters": { "a": cluster("a.example:9092", a), "b": cluster("127.0.0.1:9092,[::1]:1", b) },
            "links": [merged(json!({ "name": "l", "source": "a", "target": "b", "topics": ["t"] }), link)],
        }))
        .unwrap();
        problems(&config).iter().map(|problem| problem.what.code()).collect()
    }

    #[test]
    fn links_between_regions_are_encrypted_and_passwords_never_in_clear_but_on_this_machine() {
        let (eu, us) = (json!({ "region": "eu" }), json!({ "region": "us" }));
        let with = |properties: Value| json!({ "region": "us", "kafka": properties });
        let none = json!({});
        // `b` is on this machine, so only `a` counts.
        assert_eq!(codes(us.clone(), eu.clone(), none.clone()), ["unencrypted"]);
        assert_eq!(codes(us.clone(), us.clone(), none.clone()), [""; 0]);
        assert_eq!(codes(us.clone(), none.clone(), none.clone()), [""; 0]);
        assert_eq!(codes(none.clone(), none.clone(), json!({ "require_encryption": true })), ["unencrypted"]);
        assert_eq!(codes(us, eu.clone(), json!({ "require_encryption": false })), [""; 0]);
        assert_eq!(codes(with(json!({ "security.protocol": "ssl" })), eu.clone(), none.clone()), [""; 0]);
        let plain = json!({ "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN" });
        assert_eq!(codes(with(plain.clone()), eu, none.clone()), ["password-in-clear", "unencrypted"]);
        let insecure = json!({ "kafka": plain, "insecure": true });
        assert_eq!(codes(insecure, none.clone(), none.clone()), [""; 0]);
        assert_eq!(codes(none.clone(), json!({ "kafka": plain }), none), [""; 0]);
    }
}
