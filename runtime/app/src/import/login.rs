//! The logins of clusters: name and password, or tokens.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::clusters::{Security, Table, matches};
use super::jaas::{self, Login};
use super::properties::Property;
use super::references;

/// Settings of Kafka's clients about renewing and validating tokens, which Strait does by itself.
const RENEWAL: &[&str] = &[
    "sasl.client.callback.handler.class",
    "sasl.login.class",
    "sasl.login.connect.timeout.ms",
    "sasl.login.read.timeout.ms",
    "sasl.login.refresh.*",
    "sasl.login.retry.*",
    "sasl.oauthbearer.clock.skew.seconds",
    "sasl.oauthbearer.expected.*",
    "sasl.oauthbearer.header.urlencode",
    "sasl.oauthbearer.jwks.*",
    "sasl.oauthbearer.jwt.*",
    "sasl.oauthbearer.scope.claim.name",
    "sasl.oauthbearer.sub.claim.name",
];

/// Where the parts of a login with an identity provider stand: the key of `[auth]`, the property,
/// and the options of the login module of Kafka and of Strimzi.
const OIDC: [(&str, &str, &[&str]); 6] = [
    ("token_url", "sasl.oauthbearer.token.endpoint.url", &["oauth.token.endpoint.uri"]),
    ("client_id", "sasl.oauthbearer.client.credentials.client.id", &["clientId", "oauth.client.id"]),
    ("client_secret", "sasl.oauthbearer.client.credentials.client.secret", &["clientSecret", "oauth.client.secret"]),
    ("assertion_file", "sasl.oauthbearer.assertion.file", &["oauth.client.assertion.location"]),
    ("scope", "sasl.oauthbearer.scope", &["scope", "oauth.scope"]),
    ("audience", "sasl.oauthbearer.audience", &["oauth.audience"]),
];

/// Options of Amazon's login modules that change nothing here.
const IGNORED: &[&str] = &["awsDebugCreds", "awsMaxRetries", "awsMaxBackOffTimeMs"];

/// Returns the name of a class without its package.
fn short(class: &str) -> &str {
    class.trim().rsplit('.').next().unwrap_or_default()
}

impl Security<'_> {
    /// Takes over the login. Whatever of it is not taken here is refused later.
    pub(super) fn login(&mut self) {
        if let Some(property) = self.get("sasl.mechanism") {
            match property.value.trim() {
                mechanism @ ("PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512") => {
                    self.set(&property, "sasl.mechanism", mechanism);
                }
                "OAUTHBEARER" => return self.bearer(&property),
                "AWS_MSK_IAM" => return self.msk(&property),
                other => self.report.refuse(
                    &property,
                    format!(
                        "set up {other} by hand: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER and AWS_MSK_IAM are carried over"
                    ),
                ),
            }
        }
        let Some((property, login)) = self.jaas() else { return };
        let (user, password) = (login.options.get("username"), login.options.get("password"));
        match (login.module.as_str(), user, password) {
            ("PlainLoginModule" | "ScramLoginModule", Some(user), Some(password)) => {
                self.set(&property, "sasl.username", user);
                self.set_secret(Table::Kafka, &property, "sasl.password", password);
            }
            (module, ..) => self.report.refuse(
                &property,
                format!(
                    "set up the login of {module} by hand: username and password of PLAIN and SCRAM are carried over"
                ),
            ),
        }
    }

    /// Returns the login module.
    fn jaas(&mut self) -> Option<(Property, Login)> {
        let property = self.get("sasl.jaas.config")?;
        let login = jaas::parse(&property.value);
        if login.is_none() {
            self.report.refuse(&property, "it is no line of the form: MODULE required name=\"value\" …;");
        }
        Some((property, login?))
    }

    /// Takes over a login by token, by the class that fetches it.
    fn bearer(&mut self, mechanism: &Property) {
        let handler = self.get("sasl.login.callback.handler.class");
        let class = handler.as_ref().map_or("", |handler| short(&handler.value)).to_owned();
        match class.as_str() {
            "IAMOAuthBearerLoginCallbackHandler" => self.msk(mechanism),
            "GcpLoginCallbackHandler" => {
                self.auth_kind(mechanism, "gcp");
                self.jaas().into_iter().for_each(|(property, _)| self.report.note(&property, "it has no options"));
            }
            "" | "OAuthBearerLoginCallbackHandler" | "JaasClientOauthLoginCallbackHandler" => self.oidc(mechanism),
            class => {
                let text = format!(
                    "{class} has no counterpart: set up [clusters.{}.auth] by hand, of kind oidc, token-file, aws-msk-iam, gcp or azure",
                    self.alias
                );
                return self.report.refuse(handler.as_ref().unwrap_or(mechanism), text);
            }
        }
        if let Some(property) = handler {
            self.report.note(&property, "[auth] has its place");
        }
        self.renewal();
    }

    fn auth_kind(&mut self, mechanism: &Property, kind: &str) {
        self.insert(Table::Auth, "kind", json!(kind));
        self.report.option(mechanism, format!("[clusters.{}.auth] of kind {kind}", self.alias));
    }

    /// Takes over the login at an identity provider, with OAuth's client credentials.
    fn oidc(&mut self, mechanism: &Property) {
        let jaas = self.jaas();
        let mut options = jaas.as_ref().map(|(_, login)| login.options.clone()).unwrap_or_default();
        self.auth_kind(mechanism, "oidc");
        let mut missing = vec![&["token_url"][..], &["client_id"], &["client_secret", "assertion_file"]];
        for (key, name, of_module) in OIDC {
            let given = self.get(name).map(|property| (property.clone(), property.value.trim().to_owned()));
            let of_module: Vec<String> = of_module.iter().filter_map(|option| options.remove(*option)).collect();
            let found = given.or_else(|| Some((jaas.as_ref()?.0.clone(), of_module.first()?.clone())));
            let Some((property, value)) = found else { continue };
            missing.retain(|needed| !needed.contains(&key));
            match key {
                "client_secret" => self.set_secret(Table::Auth, &property, key, &value),
                "scope" | "audience" => self.set_plain(&property, key, &value),
                _ => self.set_in(Table::Auth, &property, key, &value),
            }
        }
        for keys in missing {
            let text = format!("write {} into [clusters.{}.auth]", keys.join(" or "), self.alias);
            self.report.refuse(mechanism, text);
        }
        let Some((property, _)) = jaas else { return };
        self.extensions(&property, &mut options);
        self.left_over(&property, &options);
    }

    /// Takes over the SASL extensions among the options of a module.
    fn extensions(&mut self, property: &Property, options: &mut BTreeMap<String, String>) {
        let mut extensions = Map::new();
        options.retain(|option, value| match option.strip_prefix("extension_") {
            Some(name) => {
                extensions.insert(name.to_owned(), json!(value));
                false
            }
            None => true,
        });
        if !extensions.is_empty() {
            self.insert(Table::Auth, "extensions", Value::Object(extensions));
            self.report.option(property, format!("extensions of [clusters.{}.auth]", self.alias));
        }
    }

    /// Sets an entry that takes no reference.
    fn set_plain(&mut self, property: &Property, key: &str, value: &str) {
        match references::translate(value) {
            Ok(translated) if translated.contains("${") => {
                self.report.refuse(property, format!("{key} takes no reference here: write its value"));
            }
            _ => self.set_in(Table::Auth, property, key, value),
        }
    }

    fn left_over(&mut self, property: &Property, options: &BTreeMap<String, String>) {
        if !options.is_empty() {
            let names = options.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            self.report.refuse(property, format!("these options of the login have no counterpart: {names}"));
        }
    }

    /// Takes over the login of Amazon MSK's IAM. The region stands in the addresses.
    fn msk(&mut self, mechanism: &Property) {
        self.auth_kind(mechanism, "aws-msk-iam");
        let servers = self.file.take(&format!("{}.bootstrap.servers", self.alias));
        match servers.as_ref().and_then(|servers| region(&servers.value)) {
            Some(region) => self.insert(Table::Auth, "region", json!(region)),
            None => self.report.refuse(
                mechanism,
                format!("the addresses do not have the region: write region into [clusters.{}.auth]", self.alias),
            ),
        }
        if let Some((property, login)) = self.jaas() {
            let mut options = login.options;
            options.retain(|name, _| !IGNORED.contains(&name.as_str()));
            if let Some(profile) = options.remove("awsProfileName") {
                self.report
                    .note(&property, format!("AWS's own settings choose the profile: set AWS_PROFILE={profile}"));
            }
            if options.keys().any(|name| name.starts_with("awsRole")) {
                options.retain(|name, _| !name.starts_with("awsRole") && name != "awsStsRegion");
                self.report.refuse(
                    &property,
                    "no role is assumed here: give the process that role, or credentials of it, by AWS's own settings",
                );
            }
            self.report.note(&property, "the credentials are those of AWS's own settings");
            self.left_over(&property, &options);
        }
        self.renewal();
    }

    /// Notes what Strait does by itself.
    fn renewal(&mut self) {
        let own = format!("{}.", self.alias);
        let is_one = |property: &&Property| {
            let name = property.name.strip_prefix(&own).unwrap_or(&property.name);
            matches(RENEWAL, name)
        };
        let found: Vec<Property> = self.file.unread().into_iter().filter(is_one).cloned().collect();
        for property in found {
            self.file.take(&property.name);
            self.report.note(&property, "Strait fetches tokens, and renews them in time");
        }
    }
}

/// Returns the region in the addresses of an MSK cluster.
fn region(servers: &str) -> Option<&str> {
    let (_, rest) = servers.split_once(".kafka.").or_else(|| servers.split_once(".kafka-serverless."))?;
    let (region, _) = rest.split_once(".amazonaws.com")?;
    (!region.is_empty() && !region.contains(['.', ',', ':'])).then_some(region)
}
