//! Properties and values of Kafka's Java clients that librdkafka does not have, each with what
//! takes its place here.

/// Properties of the Java client, each with what to do about it.
///
/// A `*` at the end of a name stands for any ending.
const JAVA: &[(&str, &str)] = &[
    ("ssl.truststore.location", "here it is ssl.ca.location, a PEM file: keytool -exportcert -rfc writes one"),
    ("ssl.truststore.certificates", "here it is ssl.ca.pem"),
    ("ssl.truststore.*", "remove it: ssl.ca.location is a PEM file, which has neither a password nor a type"),
    ("ssl.keystore.certificate.chain", "here it is ssl.certificate.pem"),
    ("ssl.keystore.key", "here it is ssl.key.pem"),
    ("ssl.keystore.type", "remove it: ssl.keystore.location is a PKCS#12 file"),
    ("ssl.protocol", "remove it: TLS 1.2 and later are used"),
    ("ssl.enabled.protocols", "remove it: TLS 1.2 and later are used"),
    ("ssl.provider", "remove it: TLS is OpenSSL's here"),
    ("ssl.keymanager.algorithm", "remove it: TLS is OpenSSL's here"),
    ("ssl.trustmanager.algorithm", "remove it: TLS is OpenSSL's here"),
    ("ssl.secure.random.implementation", "remove it: TLS is OpenSSL's here"),
    ("ssl.engine.factory.class", "remove it: TLS is OpenSSL's here"),
    ("security.providers", "remove it: TLS is OpenSSL's here"),
    ("sasl.jaas.config", "here the login is sasl.username and sasl.password"),
    ("sasl.client.callback.handler.class", "here the login is sasl.mechanism, sasl.username and sasl.password"),
    ("sasl.login.*", "here the login is sasl.mechanism, sasl.username and sasl.password"),
    ("fetch.max.wait.ms", "here it is fetch.wait.max.ms"),
    ("max.poll.records", "remove it: memory_mib_max of the link bounds what is in flight"),
    ("buffer.memory", "here it is memory_mib_max of the link"),
    ("max.request.size", "here it is batch_kib_max of the link"),
    ("max.block.ms", "remove it: a link waits until the target takes records again"),
    ("default.api.timeout.ms", "here it is socket.timeout.ms"),
    ("send.buffer.bytes", "here it is socket.send.buffer.bytes"),
    ("receive.buffer.bytes", "here it is socket.receive.buffer.bytes"),
    ("socket.connection.setup.timeout.max.ms", "here it is socket.connection.setup.timeout.ms"),
    ("compression.gzip.level", "here it is compression.level"),
    ("compression.lz4.level", "here it is compression.level"),
    ("compression.zstd.level", "here it is compression.level"),
    ("partitioner.*", "remove it: a record keeps its partition, or follows its key as in Kafka's own clients"),
    ("key.*", "remove it: Strait copies bytes and reads no record"),
    ("value.*", "remove it: Strait copies bytes and reads no record"),
    ("interceptor.classes", "remove it: a link processes records with plugins"),
    ("consumer.interceptor.classes", "remove it: a link processes records with plugins"),
    ("producer.interceptor.classes", "remove it: a link processes records with plugins"),
    ("metric.reporters", "remove it: the admin API has /metrics"),
    ("metrics.*", "remove it: the admin API has /metrics"),
    ("auto.include.jmx.reporter", "remove it: the admin API has /metrics"),
    ("exclude.internal.topics", "remove it: a link never copies internal topics"),
    ("config.providers*", "here secrets are references: ${file:/path} or ${env:NAME}"),
    ("consumer.*", "leave out the prefix: a property holds for every client of the cluster"),
    ("producer.*", "leave out the prefix: a property holds for every client of the cluster"),
    ("admin.*", "leave out the prefix: a property holds for every client of the cluster"),
];

/// Returns what takes the place of a property that only Kafka's Java clients have.
#[must_use]
pub fn instead(property: &str) -> Option<&'static str> {
    let covers = |name: &str| match name.strip_suffix('*') {
        Some(start) => property.starts_with(start),
        None => property == name,
    };
    JAVA.iter().find(|(name, _)| covers(name)).map(|(_, instead)| *instead)
}

/// Returns why a login mechanism cannot be used; `None` where it can. `unsecured` is the property
/// that allows unsigned tokens.
#[must_use]
pub fn mechanism(mechanism: &str, unsecured: bool) -> Option<&'static str> {
    match mechanism {
        "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512" => None,
        "OAUTHBEARER" if unsecured => None,
        _ => Some(match mechanism.to_ascii_uppercase().as_str() {
            "AWS_MSK_IAM" => "it exists in Java only; here it is [clusters.<name>.auth] with kind = \"aws-msk-iam\"",
            "GSSAPI" => "Strait is built without Kerberos; use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
            "OAUTHBEARER" => "[clusters.<name>.auth] sets it, and says where the tokens come from",
            "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512" => "write it in capital letters",
            _ => "use one of PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::refused::{known_properties, refusal};
    use super::*;

    #[test]
    fn no_entry_covers_a_property_of_librdkafka() {
        for name in known_properties() {
            assert_eq!(instead(name), None, "{name}");
        }
        for (name, text) in JAVA {
            let shortest = name.trim_end_matches('*');
            assert!(refusal(shortest).is_none(), "{name} is refused with another reason");
            let named = text.strip_prefix("here it is ").and_then(|rest| rest.split([' ', ',', ':']).next());
            let is_option = |name: &str| ["memory_mib_max", "batch_kib_max"].contains(&name);
            assert!(
                named.is_none_or(|name| is_option(name) || known_properties().any(|known| known == name)),
                "{text}"
            );
        }
    }

    #[test]
    fn mechanisms_that_cannot_log_in_are_refused() {
        for usable in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            assert_eq!(mechanism(usable, false), None);
        }
        assert_eq!(mechanism("OAUTHBEARER", true), None);
        for unusable in ["AWS_MSK_IAM", "GSSAPI", "OAUTHBEARER", "plain", "SCRAM-SHA-1", "", "SCRAM", " PLAIN"] {
            assert!(mechanism(unusable, false).is_some(), "{unusable}");
        }
    }
}
