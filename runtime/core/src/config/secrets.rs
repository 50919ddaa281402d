//! Recognition of secrets by their names, and in URLs.

use super::setting::HIDDEN;

/// librdkafka properties whose value is a secret (`CONFIGURATION.md` of librdkafka 2.12.1; its own
/// redaction covers fewer), and two names of the Java client.
pub const SECRET_PROPERTIES: [&str; 12] = [
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.password",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
    "ssl.truststore.password",
    "sasl.kerberos.kinit.cmd",
    "sasl.jaas.config",
];

/// Returns whether the value of a librdkafka property must never be shown.
#[must_use]
pub fn is_secret_property(name: &str) -> bool {
    SECRET_PROPERTIES.contains(&name)
}

/// Returns whether the value of a librdkafka property may hold a secret, judging by its name: more
/// properties than [`is_secret_property`] knows. Logs mask these too, because librdkafka writes its
/// settings into messages of its own.
#[must_use]
pub fn may_hold_secret(name: &str) -> bool {
    let parts = ["password", "secret", "token", ".pem", ".key", "jaas", "oauthbearer.config", "private"];
    is_secret_property(name) || parts.iter().any(|part| name.contains(part))
}

/// Returns whether a field of a plugin's configuration is a secret, judging by its name.
#[must_use]
pub fn is_secret_field(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["secret", "password", "passphrase", "token", "private", "credential", "apikey", "api_key", "api-key"]
        .iter()
        .any(|part| name.contains(part))
}

/// Masks what may be a secret in URLs: user name, password and query.
#[must_use]
pub fn without_url_secrets(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (part, is_secret) in parts_of_urls(text) {
        shown.push_str(if is_secret { HIDDEN } else { part });
    }
    shown
}

/// Returns what may be a secret in URLs.
#[must_use]
pub fn url_secrets(text: &str) -> Vec<&str> {
    parts_of_urls(text).into_iter().filter_map(|(part, is_secret)| is_secret.then_some(part)).collect()
}

/// Returns the parts of a text in their order, and whether each may be a secret of a URL.
fn parts_of_urls(text: &str) -> Vec<(&str, bool)> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once("://") {
        parts.extend([(before, false), ("://", false)]);
        let end = after.find(['/', '?', '#', ',', ' ']).unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((user, host)) => parts.extend([(user, true), ("@", false), (host, false)]),
            None => parts.push((authority, false)),
        }
        let (url, behind) = tail.split_at(tail.find(char::is_whitespace).unwrap_or(tail.len()));
        rest = match url.split_once('?') {
            Some((path, query)) if !path.contains("://") => {
                parts.extend([(path, false), ("?", false), (query, true)]);
                behind
            }
            _ => tail,
        };
    }
    parts.push((rest, false));
    parts.retain(|(part, _)| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secrets_of_urls_are_known_by_themselves() {
        assert_eq!(url_secrets("a://u:p@h/x?key=1,b://v@i"), ["u:p", "key=1,b://v@i"]);
        assert_eq!(url_secrets("kafka:9092"), [""; 0]);
    }

    #[test]
    fn user_password_and_query_of_a_url_are_masked_and_nothing_else() {
        for (text, shown) in [
            ("https://u:p@host:1/x?y=z", "https://***@host:1/x?***"),
            ("at https://host/token?key=a,b&c#d is, or a?b", "at https://host/token?*** is, or a?b"),
            ("a://h,b://u:p@i?x ?", "a://h,b://***@i?*** ?"),
            ("https://host?", "https://host?"),
            ("a://u@h,b://v:w@i/", "a://***@h,b://***@i/"),
            ("kafka-a:9092,kafka-b:9092", "kafka-a:9092,kafka-b:9092"),
            ("https://host/a@b", "https://host/a@b"),
        ] {
            assert_eq!(without_url_secrets(text), shown);
        }
    }
}
