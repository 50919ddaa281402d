//! One handshake with a broker, to find out why those of librdkafka fail.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use openssl::error::ErrorStack;
use openssl::ssl::{HandshakeError, Ssl, SslContext, SslMethod, SslRef, SslStream, SslVerifyMode};
use openssl::x509::X509Ref;

use super::certificates::{Own, authorities, context, hosts_of, is_past, name_of, validity};
use super::stream::{Bounded, ask_versions};
use super::{Fault, setting};
use crate::config::Settings;

/// Most brokers that are asked.
const BROKERS_MAX: usize = 3;
/// OpenSSL adds this to the number of an alert that the other side has sent.
const ALERT_REASONS: i32 = 1000;
/// The alerts about a client's certificate: bad, unsupported, revoked, expired, unknown, of an
/// unknown authority, denied, required.
const ABOUT_CERTIFICATES: [i32; 8] = [42, 43, 44, 45, 46, 48, 49, 116];
/// The alerts for which there is no common version or cipher, or no certificate before TLS 1.3.
const HANDSHAKE_FAILURE: i32 = 40;
const PROTOCOL_VERSION: i32 = 70;
const INSUFFICIENT_SECURITY: i32 = 71;

/// The results of OpenSSL's verification that have a sentence of their own (`x509_vfy.h`).
mod result {
    pub const OK: i32 = 0;
    pub const NOT_YET_VALID: i32 = 9;
    pub const EXPIRED: i32 = 10;
    pub const HOSTNAME_MISMATCH: i32 = 62;
    pub const IP_ADDRESS_MISMATCH: i32 = 64;
    /// No issuer, a signature of another key, self-signed, no way to an authority.
    pub const UNKNOWN_AUTHORITY: [i32; 8] = [2, 7, 18, 19, 20, 21, 24, 27];
}

/// Finds out why TLS fails, for a client with these settings. `texts` are librdkafka's, which name
/// the brokers. `None` where nothing is found. Blocks for `patience` at most, and for as long as
/// the system takes to resolve a name.
pub(crate) fn diagnose(settings: &Settings, texts: &[&str], patience: Duration) -> Option<Fault> {
    let until = Instant::now() + patience;
    brokers(settings, texts).into_iter().take(BROKERS_MAX).find_map(|address| examine(settings, &address, until))
}

/// Returns the brokers to ask: those that librdkafka names, then those of the configuration.
fn brokers(settings: &Settings, texts: &[&str]) -> Vec<String> {
    let named = texts.iter().filter_map(|text| {
        let (_, address) = text.split_once("://")?;
        let (address, _) = address.split_once('/')?;
        address.contains(':').then_some(address)
    });
    let configured = settings.get("bootstrap.servers").unwrap_or_default().split(',').filter(|s| !s.is_empty());
    let mut all: Vec<String> = Vec::new();
    for address in named.chain(configured) {
        if !all.iter().any(|known| known == address) {
            all.push(address.to_owned());
        }
    }
    all
}

fn examine(settings: &Settings, address: &str, until: Instant) -> Option<Fault> {
    let protocol = settings.get("security.protocol").unwrap_or("plaintext").to_ascii_lowercase();
    let shown = settings.get("security.protocol").unwrap_or("PLAINTEXT").to_owned();
    let has_login = protocol.starts_with("sasl");
    if !protocol.contains("ssl") {
        let tls = if has_login { "SASL_SSL" } else { "SSL" };
        return speaks_tls(address, until).then(|| Fault::TlsListener {
            address: address.to_owned(),
            protocol: shown,
            tls,
        });
    }
    let (context, own) = context(settings)?;
    let stream = Bounded::connect(address, until).ok()?;
    let examined = Examined { settings, address, own };
    match connect(&context, settings, address, stream) {
        Ok(mut stream) => examined.after_handshake(&mut stream),
        Err(HandshakeError::Failure(failed)) => {
            if let Some(alert) = failed.error().ssl_error().and_then(alert_of) {
                return examined.of_alert(alert);
            }
            if failed.get_ref().has_heard_tls() == Some(true) || !is_plain(address, until) {
                return None;
            }
            let plain = if has_login { "SASL_PLAINTEXT" } else { "PLAINTEXT" };
            Some(Fault::PlainListener { address: address.to_owned(), protocol: shown, plain })
        }
        Err(_) => None,
    }
}

/// A broker whose TLS is examined.
struct Examined<'a> {
    settings: &'a Settings,
    address: &'a str,
    own: Option<Own>,
}

impl Examined<'_> {
    fn after_handshake(&self, stream: &mut SslStream<Bounded>) -> Option<Fault> {
        let verifies = self.settings.get("enable.ssl.certificate.verification").is_none_or(|text| text != "false");
        if verifies && let Some(fault) = self.of_certificate(stream.ssl()) {
            return Some(fault);
        }
        // A broker refuses the client's certificate after the handshake is done for the client.
        let error = ask_versions(stream).err()?;
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<openssl::ssl::Error>());
        self.of_alert(inner.and_then(openssl::ssl::Error::ssl_error).and_then(alert_of)?)
    }

    /// Returns what is wrong with the broker's certificate.
    fn of_certificate(&self, ssl: &SslRef) -> Option<Fault> {
        let found = ssl.verify_result();
        if found.as_raw() == result::OK {
            return None;
        }
        let certificate = ssl.peer_certificate()?;
        let whose = self.whose(&certificate);
        Some(match found.as_raw() {
            result::EXPIRED if is_past(certificate.not_after()) => {
                Fault::Expired { whose, until: certificate.not_after().to_string() }
            }
            result::NOT_YET_VALID if !is_past(certificate.not_before()) => {
                Fault::NotYetValid { whose, from: certificate.not_before().to_string() }
            }
            result::HOSTNAME_MISMATCH | result::IP_ADDRESS_MISMATCH => {
                Fault::WrongHost { whose, host: split(self.address).0.to_owned(), names: hosts_of(&certificate) }
            }
            number if result::UNKNOWN_AUTHORITY.contains(&number) => Fault::UnknownAuthority {
                whose,
                issuer: name_of(certificate.issuer_name()),
                authorities: authorities(self.settings),
                remedy: "put the certificate of that authority there (ssl.ca.location takes a file in PEM)",
            },
            _ => Fault::Certificate { whose, reason: found.error_string().to_owned() },
        })
    }

    fn whose(&self, certificate: &X509Ref) -> String {
        format!("the certificate '{}' of {}", name_of(certificate.subject_name()), self.address)
    }

    /// Returns what an alert of the broker means.
    fn of_alert(&self, (number, text): (i32, String)) -> Option<Fault> {
        let address = self.address.to_owned();
        let is_certificate = ABOUT_CERTIFICATES.contains(&number);
        match &self.own {
            None if is_certificate || number == HANDSHAKE_FAILURE => Some(Fault::NoClientCertificate { address }),
            Some(own) if is_certificate => Some(match validity(&own.certificate) {
                Some(validity) => Fault::ClientValidity { address, file: own.file.clone(), validity },
                None => Fault::ClientRefused { address, file: own.file.clone(), alert: text },
            }),
            _ if [HANDSHAKE_FAILURE, PROTOCOL_VERSION, INSUFFICIENT_SECURITY].contains(&number) => {
                Some(Fault::NoCommonTls { address, alert: text })
            }
            _ => None,
        }
    }
}

/// Returns host and port, without the brackets of an IPv6 address.
fn split(address: &str) -> (&str, &str) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    (host.trim_start_matches('[').trim_end_matches(']'), port)
}

/// Makes the handshake as librdkafka does (`rdkafka_ssl.c`:
/// `rd_kafka_transport_ssl_set_endpoint_id`).
fn connect(
    context: &SslContext,
    settings: &Settings,
    address: &str,
    stream: Bounded,
) -> Result<SslStream<Bounded>, HandshakeError<Bounded>> {
    let (host, _) = split(address);
    let mut ssl = Ssl::new(context)?;
    let checks_host = !["none", ""].contains(&&*setting(settings, "ssl.endpoint.identification.algorithm"));
    match (host.parse::<IpAddr>(), checks_host) {
        (Ok(ip), true) => ssl.param_mut().set_ip(ip)?,
        (Ok(_), false) => {}
        (Err(_), checks) => {
            ssl.set_hostname(host)?;
            if checks {
                ssl.param_mut().set_host(host)?;
            }
        }
    }
    ssl.connect(stream)
}

/// Returns the alert among the errors of OpenSSL, with its name.
fn alert_of(errors: &ErrorStack) -> Option<(i32, String)> {
    errors.errors().iter().find_map(|error| {
        let number = error.reason_code() - ALERT_REASONS;
        let name = error.reason().unwrap_or("alert");
        (0..256).contains(&number).then(|| (number, name.to_owned()))
    })
}

/// Returns whether a listener speaks TLS.
fn speaks_tls(address: &str, until: Instant) -> bool {
    let handshake = || -> Option<bool> {
        let mut builder = SslContext::builder(SslMethod::tls_client()).ok()?;
        builder.set_verify(SslVerifyMode::NONE);
        let stream = Bounded::connect(address, until).ok()?;
        match Ssl::new(&builder.build()).ok()?.connect(stream) {
            Ok(_) => Some(true),
            Err(HandshakeError::Failure(failed) | HandshakeError::WouldBlock(failed)) => {
                failed.get_ref().has_heard_tls()
            }
            Err(HandshakeError::SetupFailure(_)) => None,
        }
    };
    handshake().unwrap_or(false)
}

/// Returns whether a listener speaks Kafka's protocol without TLS.
fn is_plain(address: &str, until: Instant) -> bool {
    let ask = || -> io::Result<()> { ask_versions(&mut Bounded::connect(address, until)?) };
    ask().is_ok()
}
