//! Recognition of secrets by their names.

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

/// Masks what stands between `://` and `@`: user name and password of a URL.
#[must_use]
pub fn without_userinfo(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        let end = after.find(['/', '?', '#', ',', ' ']).unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                shown.push_str("***@");
                shown.push_str(host);
            }
            None => shown.push_str(authority),
        }
        rest = tail;
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_user_and_password_of_a_url_are_masked() {
        for (text, shown) in [
            ("https://u:p@host:1/x?y=z", "https://***@host:1/x?y=z"),
            ("a://u@h,b://v:w@i/", "a://***@h,b://***@i/"),
            ("kafka-a:9092,kafka-b:9092", "kafka-a:9092,kafka-b:9092"),
            ("https://host/a@b", "https://host/a@b"),
        ] {
            assert_eq!(without_userinfo(text), shown);
        }
    }
}
