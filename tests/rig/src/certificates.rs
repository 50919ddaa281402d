use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509NameBuilder};

use crate::ClusterError;

const DAYS_VALID: i64 = 2;
const DAY_S: i64 = 86_400;
const SERIAL_BITS: i32 = 127;

/// A certificate authority made for one test, and what it has signed: certificates for brokers on
/// the loopback address and for clients, good and [`Bad`] ones. All files are PEM, keys are not
/// encrypted.
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
        Self::make_by("authority", folder)
    }

    /// Makes those of an authority with another name: it can take the place of the usual one.
    ///
    /// # Errors
    /// [`ClusterError::Certificates`], or [`ClusterError::Io`].
    pub fn make_by(authority: &str, folder: &Path) -> Result<Self, ClusterError> {
        for (name, bytes) in files(authority).map_err(failed)? {
            write(&folder.join(name), &bytes)?;
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// Signs a certificate with this name for a new key of the client, in the place of the present
    /// one.
    ///
    /// # Errors
    /// [`ClusterError::Certificates`], or [`ClusterError::Io`].
    pub fn renew_client(&self, name: &str) -> Result<(), ClusterError> {
        let (certificate, key) = (read(&self.ca())?, read(&self.folder.join("ca-key.pem"))?);
        let issued = || {
            let authority =
                Authority { certificate: X509::from_pem(&certificate)?, key: PKey::private_key_from_pem(&key)? };
            let (client, key) = authority.issue(name, None, NOW)?;
            Ok([(self.client_certificate(), client.to_pem()?), (self.client_key(), key.private_key_to_pem_pkcs8()?)])
        };
        for (path, bytes) in issued().map_err(failed)? {
            write(&path, &bytes)?;
        }
        Ok(())
    }

    /// Writes the client's key and certificate as a PKCS#12 file.
    ///
    /// # Errors
    /// [`ClusterError::Certificates`], or [`ClusterError::Io`].
    pub fn write_client_store(&self, password: &str, path: &Path) -> Result<(), ClusterError> {
        let (certificate, key) = (read(&self.client_certificate())?, read(&self.client_key())?);
        let store = || {
            let (certificate, key) = (X509::from_pem(&certificate)?, PKey::private_key_from_pem(&key)?);
            Pkcs12::builder().cert(&certificate).pkey(&key).build2(password)?.to_der()
        };
        write(path, &store().map_err(failed)?)
    }

    /// Writes the authority into a folder, by the name that OpenSSL looks for. Returns the file.
    ///
    /// # Errors
    /// [`ClusterError::Certificates`], or [`ClusterError::Io`].
    pub fn write_hashed_ca(&self, folder: &Path) -> Result<PathBuf, ClusterError> {
        let pem = read(&self.ca())?;
        let hash = X509::from_pem(&pem).map_err(failed)?.subject_name_hash();
        let path = folder.join(format!("{hash:08x}.0"));
        write(&path, &pem)?;
        Ok(path)
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
    #[must_use]
    pub fn broker(&self) -> PathBuf {
        self.folder.join("broker.pem")
    }

    /// Key and certificate of a broker in one file, of a certificate that clients must refuse.
    #[must_use]
    pub fn bad_broker(&self, bad: Bad) -> PathBuf {
        self.folder.join(match bad {
            Bad::Expired => "broker-expired.pem",
            Bad::NotYetValid => "broker-early.pem",
            Bad::OtherHost => "broker-elsewhere.pem",
        })
    }

    /// A client's certificate that has expired.
    #[must_use]
    pub fn expired_client_certificate(&self) -> PathBuf {
        self.folder.join("client-expired.pem")
    }

    /// Its key.
    #[must_use]
    pub fn expired_client_key(&self) -> PathBuf {
        self.folder.join("client-expired-key.pem")
    }
}

/// A certificate of a broker that clients must refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It is for `elsewhere.example`.
    OtherHost,
}

/// The time in which a certificate is valid, in days from now.
type Days = (i64, i64);

const NOW: Days = (0, DAYS_VALID);
const PAST: Days = (-2, -1);
const FUTURE: Days = (1, 2);

type File = (&'static str, Vec<u8>);

fn failed(error: ErrorStack) -> ClusterError {
    ClusterError::Certificates { error: error.to_string() }
}

fn read(path: &Path) -> Result<Vec<u8>, ClusterError> {
    fs::read(path).map_err(ClusterError::io(format!("reading {}", path.display())))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ClusterError> {
    fs::write(path, bytes).map_err(ClusterError::io(format!("writing {}", path.display())))
}

fn files(authority: &str) -> Result<Vec<File>, ErrorStack> {
    const HERE: [&str; 2] = ["127.0.0.1", "localhost"];
    let authority = Authority::new(authority)?;
    let mut files =
        vec![("ca.pem", authority.certificate.to_pem()?), ("ca-key.pem", authority.key.private_key_to_pem_pkcs8()?)];
    for (file, hosts, days) in [
        ("broker.pem", &HERE[..], NOW),
        ("broker-expired.pem", &HERE[..], PAST),
        ("broker-early.pem", &HERE[..], FUTURE),
        ("broker-elsewhere.pem", &["elsewhere.example"][..], NOW),
    ] {
        let (broker, key) = authority.issue("broker", Some(hosts), days)?;
        files.push((file, [key.private_key_to_pem_pkcs8()?, broker.to_pem()?].concat()));
    }
    for (file, key_file, days) in
        [("client.pem", "client-key.pem", NOW), ("client-expired.pem", "client-expired-key.pem", PAST)]
    {
        let (client, key) = authority.issue("client", None, days)?;
        files.extend([(file, client.to_pem()?), (key_file, key.private_key_to_pem_pkcs8()?)]);
    }
    Ok(files)
}

struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

impl Authority {
    fn new(name: &str) -> Result<Self, ErrorStack> {
        let key = new_key()?;
        let mut builder = begin(name, &key, NOW)?;
        let name = name_of(name)?;
        builder.set_issuer_name(&name)?;
        builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
        builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
        builder.sign(&key, MessageDigest::sha256())?;
        Ok(Self { certificate: builder.build(), key })
    }

    /// Signs a certificate for a new key: of a server on these hosts, or of a client.
    fn issue(&self, name: &str, hosts: Option<&[&str]>, days: Days) -> Result<(X509, PKey<Private>), ErrorStack> {
        let key = new_key()?;
        let mut builder = begin(name, &key, days)?;
        builder.set_issuer_name(self.certificate.subject_name())?;
        builder.append_extension(BasicConstraints::new().critical().build()?)?;
        let mut usage = ExtendedKeyUsage::new();
        if let Some(hosts) = hosts {
            usage.server_auth();
            let mut names = SubjectAlternativeName::new();
            for host in hosts {
                let is_address = host.parse::<std::net::IpAddr>().is_ok();
                if is_address {
                    names.ip(host)
                } else {
                    names.dns(host)
                };
            }
            let names = names.build(&builder.x509v3_context(Some(&self.certificate), None))?;
            builder.append_extension(names)?;
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
fn begin(name: &str, key: &PKey<Private>, (from, until): Days) -> Result<X509Builder, ErrorStack> {
    let mut builder = X509Builder::new()?;
    builder.set_version(2)?;
    let mut serial = BigNum::new()?;
    serial.rand(SERIAL_BITS, MsbOption::MAYBE_ZERO, false)?;
    let serial = serial.to_asn1_integer()?;
    builder.set_serial_number(&serial)?;
    let subject = name_of(name)?;
    builder.set_subject_name(&subject)?;
    builder.set_pubkey(key)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
    let (from, until) = (Asn1Time::from_unix(now + from * DAY_S)?, Asn1Time::from_unix(now + until * DAY_S)?);
    builder.set_not_before(&from)?;
    builder.set_not_after(&until)?;
    Ok(builder)
}

fn name_of(name: &str) -> Result<openssl::x509::X509Name, ErrorStack> {
    let mut builder = X509NameBuilder::new()?;
    builder.append_entry_by_nid(Nid::COMMONNAME, name)?;
    Ok(builder.build())
}
