//! The authorities and the client certificate of a configuration, for OpenSSL; and what to say of a
//! certificate.

use std::path::Path;

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::PKey;
use openssl::ssl::{SslContext, SslContextBuilder, SslMethod, SslVerifyMode};
use openssl::x509::{X509, X509NameRef, X509Ref};
use strait_core::text::clean;

use crate::config::Settings;

/// Most names of a certificate that are shown.
const NAMES_MAX: usize = 5;
/// Longest name that is shown.
const NAME_LENGTH_MAX: usize = 200;
/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A client certificate, and where it comes from.
pub(super) struct Own {
    pub file: String,
    pub certificate: X509,
}

/// Returns a context that verifies by the settings' authorities and shows their client certificate.
/// It does not end a handshake because of what it finds. `None` where the files cannot be used,
/// which librdkafka reports itself.
pub(super) fn context(settings: &Settings) -> Option<(SslContext, Option<Own>)> {
    let mut builder = SslContext::builder(SslMethod::tls_client()).ok()?;
    builder.set_verify(SslVerifyMode::NONE);
    trust(&mut builder, settings).ok()?;
    if let Some(ciphers) = settings.get("ssl.cipher.suites") {
        builder.set_cipher_list(ciphers).ok()?;
    }
    let own = show(&mut builder, settings)?;
    Some((builder.build(), own))
}

/// Returns the name of the setting that has the authorities, with its value if that is a path.
pub(super) fn authorities(settings: &Settings) -> String {
    settings.written_as("ssl.ca.pem").unwrap_or_else(|| "this machine".to_owned())
}

fn trust(builder: &mut SslContextBuilder, settings: &Settings) -> Result<(), ErrorStack> {
    if let Some(pem) = settings.get("ssl.ca.pem") {
        for authority in X509::stack_from_pem(pem.as_bytes())? {
            builder.cert_store_mut().add_cert(authority)?;
        }
    }
    match settings.get("ssl.ca.location").filter(|path| *path != "probe").map(Path::new) {
        Some(path) if path.is_dir() => builder.load_verify_locations(None, Some(path)),
        Some(path) => builder.load_verify_locations(Some(path), None),
        None => builder.set_default_verify_paths(),
    }
}

/// Sets the client certificate. `None` where there is one that cannot be used.
fn show(builder: &mut SslContextBuilder, settings: &Settings) -> Option<Option<Own>> {
    let password = settings.get("ssl.key.password").unwrap_or_default();
    if let Some(path) = settings.get("ssl.keystore.location") {
        let password = settings.get("ssl.keystore.password").unwrap_or_default();
        let parsed = Pkcs12::from_der(&read(path)?).ok()?.parse2(password).ok()?;
        let (certificate, key) = (parsed.cert?, parsed.pkey?);
        builder.set_certificate(&certificate).ok()?;
        builder.set_private_key(&key).ok()?;
        return Some(Some(Own { file: format!("ssl.keystore.location = {path}"), certificate }));
    }
    let Some(file) = settings.written_as("ssl.certificate.pem") else { return Some(None) };
    let pem = match (settings.get("ssl.certificate.location"), settings.get("ssl.certificate.pem")) {
        (Some(path), _) => read(path)?,
        (None, pem) => pem?.as_bytes().to_vec(),
    };
    let key = match (settings.get("ssl.key.location"), settings.get("ssl.key.pem")) {
        (Some(path), _) => read(path)?,
        (None, Some(pem)) => pem.as_bytes().to_vec(),
        (None, None) => return None,
    };
    let mut chain = X509::stack_from_pem(&pem).ok()?.into_iter();
    let certificate = chain.next()?;
    builder.set_certificate(&certificate).ok()?;
    chain.try_for_each(|above| builder.add_extra_chain_cert(above)).ok()?;
    // With a password, if only an empty one: OpenSSL would ask for it on the terminal.
    let key = PKey::private_key_from_pem_passphrase(&key, password.as_bytes()).ok()?;
    builder.set_private_key(&key).ok()?;
    Some(Some(Own { file, certificate }))
}

fn read(path: &str) -> Option<Vec<u8>> {
    let is_small = std::fs::metadata(path).ok()?.len() <= FILE_BYTES_MAX;
    if is_small { std::fs::read(path).ok() } else { None }
}

/// Returns what is wrong with the time of a certificate.
pub(super) fn validity(certificate: &X509Ref) -> Option<String> {
    if is_past(certificate.not_after()) {
        return Some(format!("expired on {}", certificate.not_after()));
    }
    (!is_past(certificate.not_before())).then(|| format!("is not valid before {}", certificate.not_before()))
}

/// Returns whether a time is over.
pub(super) fn is_past(time: &Asn1TimeRef) -> bool {
    Asn1Time::days_from_now(0).is_ok_and(|now| *time < *now)
}

/// Returns the common name of a subject or issuer, else its last part.
pub(super) fn name_of(name: &X509NameRef) -> String {
    let common = name.entries_by_nid(Nid::COMMONNAME).last().or_else(|| name.entries().last());
    let text = common.and_then(|entry| entry.data().to_string().ok());
    clean(&text.unwrap_or_default(), NAME_LENGTH_MAX)
}

/// Returns the hosts that a certificate is for.
pub(super) fn hosts_of(certificate: &X509Ref) -> String {
    let mut names: Vec<String> = Vec::new();
    for name in certificate.subject_alt_names().iter().flatten() {
        let address = name.ipaddress().map(|bytes| match bytes {
            [a, b, c, d] => format!("{a}.{b}.{c}.{d}"),
            other => {
                <[u8; 16]>::try_from(other).map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()).unwrap_or_default()
            }
        });
        names.extend(name.dnsname().map(str::to_owned).or(address));
    }
    if names.is_empty() {
        names.push(name_of(certificate.subject_name()));
    }
    let more = names.len().saturating_sub(NAMES_MAX);
    names.truncate(NAMES_MAX);
    let shown: Vec<String> = names.iter().map(|name| format!("'{}'", clean(name, NAME_LENGTH_MAX))).collect();
    let text = shown.join(", ");
    if more > 0 { format!("{text} and {more} more") } else { text }
}
