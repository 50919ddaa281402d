//! Why a cluster refuses TLS or the login, in one sentence that names the setting or file to
//! change.
//!
//! librdkafka has one text for several causes ("certificate verify failed"). After such a failure
//! [`diagnose`] makes one handshake of its own, with the same OpenSSL, authorities and client
//! certificate. It decides nothing: no record passes over it, and librdkafka's own verification is
//! untouched.

mod certificates;
mod handshake;
mod stream;

use std::time::Duration;

use crate::config::Settings;
use crate::ffi::{Code, Trouble};

pub(crate) use handshake::diagnose;

/// How long a diagnosis may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// The cause of a connection or a login that fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The broker's certificate, or that of an authority above it, is too old.
    #[error("{whose} expired on {until}: renew it on the broker")]
    Expired { whose: String, until: String },
    /// The broker's certificate is not valid yet.
    #[error(
        "{whose} is not valid before {from}: set the clock of this machine, or wait, or give the broker another certificate"
    )]
    NotYetValid { whose: String, from: String },
    /// No configured authority has signed it.
    #[error("{whose} is signed by '{issuer}', which is not among the authorities of {authorities}: {remedy}")]
    UnknownAuthority { whose: String, issuer: String, authorities: String, remedy: &'static str },
    /// It is one of another host.
    #[error(
        "{whose} is for {names} and not for '{host}': use one of its names in bootstrap_servers and in the brokers' advertised.listeners, or give the broker a certificate for '{host}'"
    )]
    WrongHost { whose: String, host: String, names: String },
    /// It is refused for another reason.
    #[error("{whose} is refused: {reason}")]
    Certificate { whose: String, reason: String },
    /// The listener wants a certificate of the client, and there is none.
    #[error(
        "{address} asks for a client certificate and none is configured: set ssl.certificate.location and ssl.key.location"
    )]
    NoClientCertificate { address: String },
    /// The client's own certificate is too old, or too new.
    #[error("{address} refuses the client certificate of {file}, which {validity}: put a valid one there")]
    ClientValidity { address: String, file: String, validity: String },
    /// The broker does not accept the client's certificate.
    #[error(
        "{address} refuses the client certificate of {file} ({alert}): it must be signed by an authority of the broker's ssl.truststore"
    )]
    ClientRefused { address: String, file: String, alert: String },
    /// Both sides have no version or cipher of TLS in common.
    #[error(
        "{address} and this client find no common TLS ({alert}): compare the broker's ssl.enabled.protocols and ssl.cipher.suites"
    )]
    NoCommonTls { address: String, alert: String },
    /// TLS is spoken to a listener that speaks none.
    #[error(
        "{address} is a listener without TLS, and security.protocol = \"{protocol}\" asks for it: use the port of a TLS listener, or set security.protocol = \"{plain}\""
    )]
    PlainListener { address: String, protocol: String, plain: &'static str },
    /// TLS is not spoken to a listener that does.
    #[error(
        "{address} is a TLS listener, and security.protocol = \"{protocol}\" is without TLS: set security.protocol = \"{tls}\""
    )]
    TlsListener { address: String, protocol: String, tls: &'static str },
    /// The listener takes no login at all.
    #[error(
        "the listener takes no login, and security.protocol = \"{protocol}\" asks for one: use the port of a SASL listener, or set security.protocol = \"{plain}\" and take the sasl.* properties (or auth) out"
    )]
    NoSasl { protocol: String, plain: &'static str },
    /// The mechanism of the login is not offered.
    #[error("the broker does not offer sasl.mechanism = \"{wanted}\": set one that it offers ({offered})")]
    Mechanism { wanted: String, offered: String },
    /// Name and password do not fit.
    #[error(
        "the broker refuses user '{user}' with sasl.mechanism = \"{mechanism}\": check sasl.username, sasl.password and the file or variable that it comes from; with SCRAM the user must exist for this mechanism"
    )]
    Password { user: String, mechanism: String },
}

/// The settings without a value.
const UNSET: &str = "(not set)";

fn setting(settings: &Settings, name: &str) -> String {
    settings.get(name).unwrap_or(UNSET).to_owned()
}

/// Returns what a refused login means, by the text of librdkafka.
pub(crate) fn of_login(settings: &Settings, text: &str) -> Option<Fault> {
    let mechanism = settings.get("sasl.mechanism").or_else(|| settings.get("sasl.mechanisms"));
    // librdkafka's own default.
    let mechanism = mechanism.unwrap_or("GSSAPI").to_owned();
    if is_without_sasl(text) {
        let protocol = setting(settings, "security.protocol");
        let plain = if protocol.eq_ignore_ascii_case("SASL_SSL") { "SSL" } else { "PLAINTEXT" };
        return Some(Fault::NoSasl { protocol, plain });
    }
    if let Some(offered) = offered_mechanisms(text) {
        return Some(Fault::Mechanism { wanted: mechanism, offered: offered.to_owned() });
    }
    let is_refused =
        ["Authentication failed", "invalid credentials", "SaslAuthenticate"].iter().any(|sign| text.contains(sign));
    let has_password = mechanism == "PLAIN" || mechanism.starts_with("SCRAM");
    (is_refused && has_password).then(|| Fault::Password { user: setting(settings, "sasl.username"), mechanism })
}

/// Returns the mechanisms that a broker offers, from the text of librdkafka about another one
/// (`rdkafka_broker.c`: `rd_kafka_broker_handle_SaslHandshake`).
fn offered_mechanisms(text: &str) -> Option<&str> {
    let (_, offered) = text.split_once("supported mechanisms: ")?;
    let offered = offered.split(" (").next()?.trim();
    (!offered.is_empty()).then_some(offered)
}

/// Returns whether a broker says that its listener has no logins: it then offers no mechanism, and
/// its error is ILLEGAL_SASL_STATE.
fn is_without_sasl(text: &str) -> bool {
    text.contains("supported mechanisms:") && text.contains("not valid in current SASL state")
}

/// Returns what to do about a refused login, by the text of librdkafka alone.
pub(crate) fn login_remedy(text: &str) -> &'static str {
    if is_without_sasl(text) {
        return "the listener takes no login: use the port of a SASL listener, or a security.protocol without SASL";
    }
    if offered_mechanisms(text).is_some() {
        return "set sasl.mechanism to one that the broker offers";
    }
    if text.contains("Authentication failed") {
        return "check sasl.username, sasl.password and the file or variable that it comes from; with SCRAM the user must exist for this sasl.mechanism";
    }
    "check sasl.mechanism, sasl.username, sasl.password, the TLS settings and security.protocol in clusters.<name>.kafka"
}

/// Returns whether a client's trouble may come from TLS, or from its absence.
pub(crate) fn may_be_tls(trouble: &Trouble) -> bool {
    let is_closed = trouble.code == Code::TRANSPORT
        && ["security.protocol", "SSL", "hung up", "Disconnected"].iter().any(|sign| trouble.text.contains(sign));
    trouble.code == Code::SSL || is_closed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let mut settings = Settings::default();
        pairs.iter().for_each(|(name, value)| settings.set(name, value));
        settings
    }

    #[test]
    fn a_refused_login_names_what_to_change() {
        let scram = settings(&[("sasl.mechanism", "SCRAM-SHA-256"), ("sasl.username", "copier")]);
        let texts = [
            "sasl_ssl://h:1/bootstrap: SASL authentication error: Authentication failed during authentication due to \
             invalid credentials with SASL mechanism SCRAM-SHA-256 (after 9ms in state AUTH_REQ)",
            "sasl_ssl://h:1/bootstrap: SASL SCRAM-SHA-256 mechanism handshake failed: Broker: Unsupported SASL \
             mechanism: broker's supported mechanisms: PLAIN,SCRAM-SHA-512 (after 3ms in state AUTH_HANDSHAKE)",
        ];
        let said: Vec<String> = texts.iter().map(|text| of_login(&scram, text).unwrap().to_string()).collect();
        insta::assert_snapshot!("logins", said.join("\n"));
        let none = "SASL SCRAM-SHA-256 mechanism handshake failed: Broker: Request not valid in current SASL state: \
                    broker's supported mechanisms:  (after 1ms in state AUTH_HANDSHAKE)";
        for (protocol, instead) in [("SASL_PLAINTEXT", "\"PLAINTEXT\""), ("sasl_ssl", "\"SSL\"")] {
            let settings = settings(&[("sasl.mechanism", "SCRAM-SHA-256"), ("security.protocol", protocol)]);
            let said = of_login(&settings, none).unwrap().to_string();
            assert!(said.contains("takes no login") && said.contains(instead), "{said}");
        }
        assert!(login_remedy(none).contains("takes no login"));
        let lost = "SASL SCRAM-SHA-512 mechanism handshake failed: Local: Broker transport failure: broker's supported \
                    mechanisms:  (after 3ms in state AUTH_HANDSHAKE)";
        assert_eq!(of_login(&scram, lost), None);
        let token = settings(&[("sasl.mechanism", "OAUTHBEARER")]);
        assert_eq!(of_login(&token, texts[0]), None, "there is no password");
        assert!(login_remedy(texts[0]).contains("sasl.password") && login_remedy(texts[1]).contains("mechanism"));
    }

    #[test]
    fn lost_connections_alone_are_not_looked_into() {
        let trouble = |code, text: &str| Trouble { code, text: text.to_owned(), fatal: false };
        assert!(may_be_tls(&trouble(Code::SSL, "SSL handshake failed: …")));
        assert!(may_be_tls(&trouble(Code::TRANSPORT, "Disconnected (after 1ms in state APIVERSION_QUERY)")));
        assert!(!may_be_tls(&trouble(Code::TRANSPORT, "Connect to ipv4#127.0.0.1:1 failed: Connection refused")));
        assert!(!may_be_tls(&trouble(Code::TIMED_OUT, "timed out")));
    }
}
