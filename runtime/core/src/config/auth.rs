//! `[clusters.x.auth]`: logins by token (OAUTHBEARER).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::Cluster;
use super::path::Path;
use super::problem::{Part, Problem, What};
use super::reference::{Lookup, RefError};
use super::secrets;
use super::setting::{Setting, serialize_secret};
use super::validate::is_region;

/// Logs in with tokens (SASL mechanism OAUTHBEARER), which Strait fetches and renews by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// Where the tokens come from.
    pub kind: AuthKind,
    /// `oidc`: token endpoint of the identity provider. `https://`, or `http://` on a loopback
    /// address. Redirects are not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_url: Option<Setting>,
    /// `oidc`: client id of this process at the identity provider. `azure`: client id of a
    /// user-assigned identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Setting>,
    /// `oidc`: secret of that client, best as `${file:/path}`: a changed file is used from the next
    /// token on, without a restart.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "serialize_secret")]
    pub client_secret: Option<Setting>,
    /// `oidc`: file with a signed assertion (JWT) that takes the place of the secret, read for each
    /// token: that of a Kubernetes service account, for example.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assertion_file: Option<Setting>,
    /// `oidc`: scope to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// `oidc`: audience to ask for. `azure`: the resource, which is `https://` and the name of the
    /// Event Hubs namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// SASL extensions that go with each token, such as `logicalCluster` and `identityPoolId` of
    /// Confluent Cloud. Names are letters only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extensions: BTreeMap<String, String>,
    /// `oidc`: PEM file of the certificate authorities of `token_url`; those of the system if not
    /// set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<Setting>,
    /// `token-file`: file that another program keeps a valid token (JWT) in. Read every second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Setting>,
    /// `aws-msk-iam`: region of the MSK cluster. The credentials are those of AWS's own chain: the
    /// environment, profiles, web identities, containers, instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// `gcp`, `azure`: address of the metadata server, if it is not the cloud's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Setting>,
}

/// Where tokens come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuthKind {
    /// An identity provider with OAuth's client credentials.
    Oidc,
    /// A file that another program writes.
    TokenFile,
    /// Signed here with AWS credentials, for Amazon MSK's IAM.
    AwsMskIam,
    /// The metadata server of Google Cloud, for Managed Service for Apache Kafka.
    Gcp,
    /// The metadata server of Azure, for Event Hubs.
    Azure,
}

impl AuthKind {
    /// Returns the name used in configuration files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Oidc => "oidc",
            Self::TokenFile => "token-file",
            Self::AwsMskIam => "aws-msk-iam",
            Self::Gcp => "gcp",
            Self::Azure => "azure",
        }
    }
}

/// A key of the table that is set, as the checks need it.
pub(super) struct Key {
    pub name: &'static str,
    pub is_set: bool,
    /// The kinds that take it.
    pub of: &'static [AuthKind],
    /// The kinds that need it.
    pub needed_by: &'static [AuthKind],
}

impl Auth {
    /// Returns every key but `kind` and `extensions`, which all kinds take.
    pub(super) fn keys(&self) -> [Key; 10] {
        use AuthKind::{AwsMskIam, Azure, Gcp, Oidc, TokenFile};
        let key = |name, is_set, of, needed_by| Key { name, is_set, of, needed_by };
        [
            key("token_url", self.token_url.is_some(), &[Oidc], &[Oidc]),
            key("client_id", self.client_id.is_some(), &[Oidc, Azure], &[Oidc]),
            key("client_secret", self.client_secret.is_some(), &[Oidc], &[]),
            key("assertion_file", self.assertion_file.is_some(), &[Oidc], &[]),
            key("scope", self.scope.is_some(), &[Oidc], &[]),
            key("audience", self.audience.is_some(), &[Oidc, Azure], &[Azure]),
            key("ca", self.ca.is_some(), &[Oidc], &[]),
            key("path", self.path.is_some(), &[TokenFile], &[TokenFile]),
            key("region", self.region.is_some(), &[AwsMskIam], &[AwsMskIam]),
            key("endpoint", self.endpoint.is_some(), &[Gcp, Azure], &[]),
        ]
    }

    /// Returns the settings that may hold references, by key.
    pub(super) fn settings_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Setting)> {
        [
            ("token_url", &mut self.token_url),
            ("client_id", &mut self.client_id),
            ("client_secret", &mut self.client_secret),
            ("assertion_file", &mut self.assertion_file),
            ("ca", &mut self.ca),
            ("path", &mut self.path),
            ("endpoint", &mut self.endpoint),
        ]
        .into_iter()
        .filter_map(|(key, setting)| Some((key, setting.as_mut()?)))
    }

    /// Returns the keys whose values are empty, with what is written there.
    fn empty_keys(&self) -> Vec<(&'static str, String)> {
        let settings = [
            ("token_url", &self.token_url),
            ("client_id", &self.client_id),
            ("client_secret", &self.client_secret),
            ("assertion_file", &self.assertion_file),
            ("ca", &self.ca),
            ("path", &self.path),
            ("endpoint", &self.endpoint),
        ];
        let settings = settings.into_iter().filter_map(|(key, setting)| Some((key, setting.as_ref()?)));
        let settings = settings.filter(|(_, setting)| !setting.is_unresolved() && setting.expose().trim().is_empty());
        let settings = settings.map(|(key, setting)| (key, setting.written().trim().to_owned()));
        let texts = [("scope", &self.scope), ("audience", &self.audience)];
        let texts = texts.into_iter().filter(|(_, text)| text.as_ref().is_some_and(|text| text.trim().is_empty()));
        settings.chain(texts.map(|(key, _)| (key, String::new()))).collect()
    }

    /// Resolves every reference; returns those that cannot be, by key.
    pub(super) fn resolve(&mut self, lookup: &mut Lookup<'_>) -> Vec<(&'static str, RefError)> {
        self.settings_mut().filter_map(|(key, setting)| Some((key, setting.resolve(lookup).err()?))).collect()
    }

    /// Returns the values that must be masked: the secret, those in addresses, and whatever came
    /// out of a reference.
    pub(super) fn secret_values(&self) -> impl Iterator<Item = &str> {
        let secret = self.client_secret.iter().flat_map(Setting::secret_parts);
        let resolved = [&self.token_url, &self.client_id].into_iter().flatten().filter_map(Setting::resolved);
        let in_urls = [&self.token_url, &self.endpoint].into_iter().flatten().flat_map(Setting::url_secrets);
        secret.chain(resolved).chain(in_urls)
    }
}

/// Returns what is wrong with the table of a cluster. `at` is the cluster.
pub(super) fn problems(at: &Path, cluster: &Cluster) -> Vec<Problem> {
    let Some(auth) = &cluster.auth else { return Vec::new() };
    let mut problems = Vec::new();
    let mut push = |at: Path, part: Part, what: What| problems.push(Problem { at, part, what });
    let table = at.key("auth");
    let kind = auth.kind.name();
    for Key { name, is_set, of, needed_by } in auth.keys() {
        if is_set && !of.contains(&auth.kind) {
            let text = format!("kind = \"{kind}\" has no '{name}': take it out");
            push(table.key(name), Part::Key, What::Conflict(text));
        }
        if !is_set && needed_by.contains(&auth.kind) {
            push(
                table.clone(),
                Part::Key,
                What::Missing { key: name.to_owned(), doc: format!("kind = \"{kind}\" needs it.") },
            );
        }
    }
    if auth.kind == AuthKind::Oidc && auth.client_secret.is_some() == auth.assertion_file.is_some() {
        let text = "the client proves who it is by one of client_secret and assertion_file".to_owned();
        push(table.clone(), Part::Value, What::Conflict(text));
    }
    for (key, shown) in auth.empty_keys() {
        push(table.key(key), Part::Value, What::BadSetting { value: shown, reason: EMPTY });
    }
    if auth.kind == AuthKind::Azure
        && let Some(audience) = auth.audience.as_ref().filter(|audience| !audience.trim().is_empty())
        && !is_resource(audience)
    {
        let reason =
            "write https:// and the name of the Event Hubs namespace, as in https://example.servicebus.windows.net";
        push(table.key("audience"), Part::Value, What::BadSetting { value: audience.clone(), reason });
    }
    for (key, url) in [("token_url", &auth.token_url), ("endpoint", &auth.endpoint)] {
        // The metadata servers of clouds have no certificates: their addresses lead nowhere else.
        let of_cloud = key == "endpoint";
        if let Some(url) = url.as_ref().filter(|url| !url.is_unresolved() && !url.expose().trim().is_empty())
            && let Some(reason) = bad_url(url.expose(), of_cloud)
        {
            let value = secrets::without_url_secrets(url.written());
            push(table.key(key), Part::Value, What::BadSetting { value, reason });
        }
    }
    if let Some(region) = auth.region.as_ref().filter(|region| !is_region(region)) {
        let reason = "write the code of the region, such as eu-central-1";
        push(table.key("region"), Part::Value, What::BadSetting { value: region.clone(), reason });
    }
    for (name, value) in &auth.extensions {
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic()) && name != "auth";
        if !is_name || value.is_empty() || value.bytes().any(|byte| !byte.is_ascii_graphic() && byte != b' ') {
            let reason = "a name has letters only and is not 'auth'; a value is not empty and has printable ASCII characters only";
            push(table.key("extensions").key(name), Part::Key, What::BadSetting { value: name.clone(), reason });
        }
    }
    for property in ["sasl.mechanism", "sasl.mechanisms", "sasl.username", "sasl.password", "sasl.oauthbearer.method"] {
        if cluster.kafka.expose(property).is_some() {
            let text = "[auth] is the login of the cluster: take this property out".to_owned();
            push(at.key("kafka").key(property), Part::Key, What::Conflict(text));
        }
    }
    let protocol = cluster.kafka.expose("security.protocol").unwrap_or("SASL_SSL").trim().to_ascii_lowercase();
    if !protocol.starts_with("sasl_") {
        let text = "tokens are a SASL login: use SASL_SSL".to_owned();
        push(at.key("kafka").key("security.protocol"), Part::Value, What::Conflict(text));
    }
    problems
}

/// Said of a key whose value is empty.
const EMPTY: &str =
    "it is empty, or the file or variable that it refers to is: put the value there, or take the key out";

/// Returns whether a text is a resource of Azure that a token can be for: the address of a
/// namespace.
fn is_resource(text: &str) -> bool {
    let is_host =
        |host: &str| host.contains('.') && host.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c));
    text.strip_prefix("https://").is_some_and(|rest| is_host(rest.strip_suffix('/').unwrap_or(rest)))
}

/// Returns why a URL cannot be asked for tokens.
fn bad_url(url: &str, may_be_plain: bool) -> Option<&'static str> {
    let (is_plain, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return Some("write https:// and the address"),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Some("there is a space in it");
    }
    if authority.is_empty() || authority.starts_with(':') || authority.contains('@') {
        return Some("write https://host/path; user name and password go into client_id and client_secret");
    }
    let port = authority.rsplit(']').next().and_then(|rest| rest.split_once(':')).map(|(_, port)| port);
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Some("the port is a number up to 65535");
    }
    if is_plain && !may_be_plain && !super::addresses::is_loopback(authority) {
        return Some("use https://: tokens and secrets would cross the network unencrypted");
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The problems of a cluster with this table and these properties: place and code of each.
    fn found(auth: Value, kafka: Value) -> Vec<String> {
        let cluster: Cluster =
            serde_json::from_value(json!({ "bootstrap_servers": "a:1", "auth": auth, "kafka": kafka })).unwrap();
        let show = |problem: &Problem| format!("{} {}", problem.at, problem.what.code());
        problems(&Path::default().key("a"), &cluster).iter().map(show).collect()
    }

    #[test]
    fn each_kind_takes_its_own_keys_and_a_secret_is_never_shown() {
        let oidc = json!({
            "kind": "oidc", "token_url": "https://idp/token", "client_id": "c", "client_secret": "canary-secret",
            "extensions": { "logicalCluster": "lkc-1" },
        });
        let none = json!({});
        let with = |key: &str, value: Value| {
            let mut table = oidc.clone();
            table[key] = value;
            table
        };
        assert_eq!(found(oidc.clone(), none.clone()), [""; 0]);
        assert_eq!(found(json!({ "kind": "aws-msk-iam", "region": "eu-west-1" }), none.clone()), [""; 0]);
        assert_eq!(found(json!({ "kind": "gcp", "endpoint": "http://metadata" }), none.clone()), [""; 0]);
        assert_eq!(found(json!({ "kind": "oidc" }), none.clone()).len(), 3);
        assert_eq!(found(json!({ "kind": "token-file" }), none.clone()), ["a.auth missing-key"]);
        assert_eq!(found(json!({ "kind": "azure" }), none.clone()), ["a.auth missing-key"]);
        assert_eq!(found(with("path", json!("/t")), none.clone()), ["a.auth.path conflict"]);
        assert_eq!(found(with("assertion_file", json!("/t")), none.clone()), ["a.auth conflict"]);
        assert_eq!(found(with("token_url", json!("http://idp/t")), none.clone()), ["a.auth.token_url bad-setting"]);
        for (key, value) in [
            ("token_url", " "),
            ("client_id", ""),
            ("client_secret", ""),
            ("client_secret", "\n"),
            ("scope", ""),
            ("audience", " "),
            ("ca", ""),
        ] {
            let place = format!("a.auth.{key} bad-setting");
            assert_eq!(found(with(key, json!(value)), none.clone()), [place], "{value:?}");
        }
        assert_eq!(found(json!({ "kind": "token-file", "path": "" }), none.clone()), ["a.auth.path bad-setting"]);
        assert_eq!(found(json!({ "kind": "gcp", "endpoint": "" }), none.clone()), ["a.auth.endpoint bad-setting"]);
        let azure = |audience: &str| found(json!({ "kind": "azure", "audience": audience }), none.clone());
        assert_eq!(azure("https://ns.servicebus.windows.net"), [""; 0]);
        for audience in ["", "ns.servicebus.windows.net", "https://ns.servicebus.windows.net/.default"] {
            assert_eq!(azure(audience), ["a.auth.audience bad-setting"]);
        }
        let empty = with("extensions", json!({ "logicalCluster": "" }));
        assert_eq!(found(empty, none.clone()), ["a.auth.extensions.logicalCluster bad-setting"]);
        let extension = with("extensions", json!({ "auth": "x" }));
        assert_eq!(found(extension, none), ["a.auth.extensions.auth bad-setting"]);
        assert_eq!(
            found(json!({ "kind": "aws-msk-iam", "region": "EU West" }), json!({ "sasl.password": "p" })),
            ["a.auth.region bad-setting", "a.kafka.\"sasl.password\" conflict"]
        );
        let protocol = found(oidc.clone(), json!({ "security.protocol": "SSL" }));
        assert_eq!(protocol, ["a.kafka.\"security.protocol\" conflict"]);
        let mut auth: Auth =
            serde_json::from_value(with("token_url", json!("https://u@idp/t?key=canary-key"))).unwrap();
        assert_eq!(auth.secret_values().collect::<Vec<_>>(), ["canary-secret", "u", "key=canary-key"]);
        let shown = format!("{auth:?} {}", serde_json::to_string(&auth).unwrap());
        assert!(!shown.contains("canary-") && shown.contains("https://***@idp/t?***"), "{shown}");
        auth.client_secret = Some(Setting::new("${file:/run/secrets/eu-west/ssl_keystore_password}"));
        auth.token_url = None;
        assert_eq!(auth.secret_values().collect::<String>(), "", "a name is no secret");
    }

    #[test]
    fn only_loopback_addresses_are_asked_without_encryption() {
        for url in ["https://idp/token", "http://localhost:1/x", "http://127.0.0.1/x", "http://[::1]:80/x"] {
            assert_eq!(bad_url(url, false), None, "{url}");
        }
        for url in [
            "http://idp/token",
            "http://localhost.evil/x",
            "ftp://a/b",
            "https://",
            "https://u:p@idp/x",
            "idp",
            "/oauth2/token",
            "//idp/token",
            "https:///token",
            "https://:443/token",
            "https://idp /token",
            "https://idp:port/token",
            "https://[::1]:70000/token",
        ] {
            assert!(bad_url(url, false).is_some(), "{url}");
        }
        for (resource, is) in [
            ("https://ns.servicebus.windows.net", true),
            ("https://ns.servicebus.windows.net/", true),
            ("ns.servicebus.windows.net", false),
            ("https://ns.servicebus.windows.net/.default", false),
            ("https://ns", false),
            ("https://", false),
        ] {
            assert_eq!(is_resource(resource), is, "{resource}");
        }
    }
}
