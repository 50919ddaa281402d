use std::fs;
use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509NameBuilder};

use crate::ClusterError;

const DAYS_VALID: u32 = 2;
const SERIAL_BITS: i32 = 127;

/// A certificate authority made for one test, and what it has signed: a certificate for brokers on
/// the loopback address, and one for clients. All files are PEM, keys are not encrypted.
#[derive(Debug, Clone)]
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Makes them in a folder.
    ///
    /// # Errors
    /// [`ClusterError::Certificates`], or [`ClusterError::Io`].
    pub fn make(folder: &Path) -> Result<Self, ClusterError> {
        let files = files().map_err(|error| ClusterError::Certificates { error: error.to_string() })?;
        for (name, bytes) in files {
            let path = folder.join(name);
            fs::write(&path, bytes).map_err(ClusterError::io(format!("writing {}", path.display())))?;
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// The authority's certificate, for whoever has to trust it.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The client's certificate.
    #[must_use]
    pub fn client_certificate(&self) -> PathBuf {
        self.folder.join("client.pem")
    }

    /// The client's key.
    #[must_use]
    pub fn client_key(&self) -> PathBuf {
        self.folder.join("client-key.pem")
    }

    /// The brokers' key and certificate in one file, as Kafka reads it.
    pub(crate) fn broker(&self) -> PathBuf {
        self.folder.join("broker.pem")
    }
}

type File = (&'static str, Vec<u8>);

fn files() -> Result<[File; 4], ErrorStack> {
    let authority = Authority::new()?;
    let (broker, broker_key) = authority.issue("broker", true)?;
    let (client, client_key) = authority.issue("client", false)?;
    Ok([
        ("ca.pem", authority.certificate.to_pem()?),
        ("broker.pem", [broker_key.private_key_to_pem_pkcs8()?, broker.to_pem()?].concat()),
        ("client.pem", client.to_pem()?),
        ("client-key.pem", client_key.private_key_to_pem_pkcs8()?),
    ])
}

struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

impl Authority {
    fn new() -> Result<Self, ErrorStack> {
        let key = new_key()?;
        let mut builder = begin("authority", &key)?;
        let name = name_of("authority")?;
        builder.set_issuer_name(&name)?;
        builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
        builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
        builder.sign(&key, MessageDigest::sha256())?;
        Ok(Self { certificate: builder.build(), key })
    }

    /// Signs a certificate for a new key: of a server on the loopback address, or of a client.
    fn issue(&self, name: &str, server: bool) -> Result<(X509, PKey<Private>), ErrorStack> {
        let key = new_key()?;
        let mut builder = begin(name, &key)?;
        builder.set_issuer_name(self.certificate.subject_name())?;
        builder.append_extension(BasicConstraints::new().critical().build()?)?;
        let mut usage = ExtendedKeyUsage::new();
        if server {
            usage.server_auth();
            let addresses = SubjectAlternativeName::new()
                .ip("127.0.0.1")
                .dns("localhost")
                .build(&builder.x509v3_context(Some(&self.certificate), None))?;
            builder.append_extension(addresses)?;
        } else {
            usage.client_auth();
        }
        builder.append_extension(usage.build()?)?;
        builder.sign(&self.key, MessageDigest::sha256())?;
        Ok((builder.build(), key))
    }
}

fn new_key() -> Result<PKey<Private>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&group)?)
}

/// A version 3 certificate with subject, key, serial number and validity.
fn begin(name: &str, key: &PKey<Private>) -> Result<X509Builder, ErrorStack> {
    let mut builder = X509Builder::new()?;
    builder.set_version(2)?;
    let mut serial = BigNum::new()?;
    serial.rand(SERIAL_BITS, MsbOption::MAYBE_ZERO, false)?;
    let serial = serial.to_asn1_integer()?;
    builder.set_serial_number(&serial)?;
    let subject = name_of(name)?;
    builder.set_subject_name(&subject)?;
    builder.set_pubkey(key)?;
    let (from, until) = (Asn1Time::days_from_now(0)?, Asn1Time::days_from_now(DAYS_VALID)?);
    builder.set_not_before(&from)?;
    builder.set_not_after(&until)?;
    Ok(builder)
}

fn name_of(name: &str) -> Result<openssl::x509::X509Name, ErrorStack> {
    let mut builder = X509NameBuilder::new()?;
    builder.append_entry_by_nid(Nid::COMMONNAME, name)?;
    Ok(builder.build())
}
