//! The certificates and keys that a cluster's settings name, in memory.
//!
//! librdkafka would read the files for each client anew, and so get the certificate of one moment
//! and the key of another. From here all clients have those that were tried together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use openssl::error::ErrorStack;
use openssl::pkcs12::Pkcs12;

/// Most bytes that a setting may name.
const BYTES_MAX: u64 = 1 << 20;
/// Most files of a folder.
const FILES_MAX: usize = 2000;

const AUTHORITIES: &str = "ssl.ca.location";
const STORE: &str = "ssl.keystore.location";
const STORE_PASSWORD: &str = "ssl.keystore.password";
const KEY: &str = "ssl.key.pem";

/// The settings that name a PEM file, and the properties that take its content.
const TEXTS: [(&str, &str); 3] =
    [(AUTHORITIES, "ssl.ca.pem"), ("ssl.certificate.location", "ssl.certificate.pem"), ("ssl.key.location", KEY)];

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PemFault {
    /// The setting that names it.
    pub what: &'static str,
    /// The file, and the cause.
    pub reason: String,
}

/// The contents of the files that settings name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PemFiles(BTreeMap<&'static str, Content>);

#[derive(Clone, Default, PartialEq, Eq)]
struct Content {
    /// A PKCS#12 file and its password, to know them again: it takes long to decrypt.
    store: Option<(Vec<u8>, String)>,
    /// By the property that takes it.
    pem: Vec<(&'static str, String)>,
}

impl Content {
    fn text(property: &'static str, text: String) -> Self {
        Self { store: None, pem: vec![(property, text)] }
    }
}

impl PemFiles {
    /// Returns whether any of these settings names a file. `setting` returns the value of one.
    pub fn any(setting: impl Fn(&str) -> Option<String>) -> bool {
        let texts = TEXTS.iter().map(|(location, _)| *location);
        texts.chain([STORE]).any(|location| setting(location).is_some())
    }

    /// Reads the files. `before` is an earlier reading, which spares work.
    ///
    /// # Errors
    /// The file that cannot be used, and why.
    pub fn read(setting: impl Fn(&str) -> Option<String>, before: &Self) -> Result<Self, PemFault> {
        let mut all = BTreeMap::new();
        for (what, property) in TEXTS {
            let Some(path) = setting(what).map(PathBuf::from) else { continue };
            let fault = |reason: String| PemFault { what, reason: format!("{}: {reason}", path.display()) };
            let text = if what == AUTHORITIES && path.is_dir() {
                folder(&path).map_err(fault)?
            } else if what == AUTHORITIES && path == Path::new("probe") && !path.is_file() {
                // The word by which librdkafka looks for the system's.
                continue;
            } else {
                file(&path).map_err(fault)?
            };
            all.insert(what, Content::text(property, text));
        }
        if let Some(path) = setting(STORE).map(PathBuf::from) {
            let fault = |reason: String| PemFault { what: STORE, reason: format!("{}: {reason}", path.display()) };
            let store = (bytes(&path).map_err(fault)?, setting(STORE_PASSWORD).unwrap_or_default());
            let known = before.0.get(STORE).filter(|content| content.store.as_ref() == Some(&store));
            let pem = match known {
                Some(content) => content.pem.clone(),
                None => unpacked(&store.0, &store.1).map_err(|reason| fault(reason.to_owned()))?,
            };
            all.insert(STORE, Content { store: Some(store), pem });
        }
        Ok(Self(all))
    }

    /// Returns the settings whose files have another content than before.
    pub fn changed<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'static str> + 'a {
        let is_other = |(what, content): &(&&'static str, &Content)| before.0.get(**what) != Some(*content);
        self.0.iter().filter(is_other).map(|(what, _)| *what)
    }

    /// Returns the contents by the properties that take them. A PKCS#12 file counts where a key is
    /// named beside it, as with librdkafka.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<String, String> {
        let of = |(property, text): &(&'static str, String)| ((*property).to_owned(), text.clone());
        let texts = self.0.iter().filter(|(what, _)| **what != STORE).flat_map(|(_, content)| &content.pem);
        let stores = self.0.get(STORE).into_iter().flat_map(|content| &content.pem);
        texts.chain(stores).map(of).collect()
    }

    /// Returns the keys, which nothing may show.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let all = self.0.values().flat_map(|content| &content.pem);
        all.filter(|(property, _)| *property == KEY).map(|(_, text)| text.as_str())
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > BYTES_MAX {
        return Err(format!("it is larger than {BYTES_MAX} bytes"));
    }
    std::fs::read(path).map_err(|error| error.to_string())
}

/// Reads a PEM file, which must be whole.
fn file(path: &Path) -> Result<String, String> {
    let text = String::from_utf8(bytes(path)?).unwrap_or_default();
    let (begins, ends) = (text.matches("-----BEGIN ").count(), text.matches("-----END ").count());
    if begins == 0 || begins != ends {
        return Err("it is no whole PEM file".to_owned());
    }
    Ok(text)
}

/// Reads the authorities of a folder, which OpenSSL finds by their hashes.
fn folder(path: &Path) -> Result<String, String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| error.to_string())? {
        let name = entry.map_err(|error| error.to_string())?.file_name().into_string();
        names.extend(name.ok().filter(|name| is_hash(name)));
    }
    if names.is_empty() {
        return Err("no file in it is named by a hash, such as 5ed36f99.0; openssl rehash makes these names".to_owned());
    }
    if names.len() > FILES_MAX {
        return Err(format!("it has more than {FILES_MAX} authorities"));
    }
    names.sort_unstable();
    let mut all = String::new();
    for name in names {
        let text = file(&path.join(&name)).map_err(|reason| format!("{name}: {reason}"))?;
        all.push_str(text.trim_end());
        all.push('\n');
        if all.len() as u64 > BYTES_MAX {
            return Err(format!("its authorities are larger than {BYTES_MAX} bytes"));
        }
    }
    Ok(all)
}

/// Returns whether a file has the name of a certificate's hash, with a number behind it.
fn is_hash(name: &str) -> bool {
    name.split_once('.').is_some_and(|(hash, number)| {
        hash.len() == 8
            && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Returns certificate, authorities above it and key of a PKCS#12 file.
fn unpacked(store: &[u8], password: &str) -> Result<Vec<(&'static str, String)>, &'static str> {
    const NO_PEM: &str = "its content cannot be written as PEM";
    let store = Pkcs12::from_der(store).map_err(|_| "it is no whole PKCS#12 file")?;
    let parsed = store.parse2(password);
    let parsed = parsed.map_err(|_| {
        "it cannot be opened: check ssl.keystore.password, and whether it is encrypted in a way that OpenSSL 3 knows"
    })?;
    let (Some(certificate), Some(key)) = (parsed.cert, parsed.pkey) else {
        return Err("it has no certificate with a key");
    };
    let chain = [certificate].into_iter().chain(parsed.ca.into_iter().flatten());
    let chain: Result<Vec<Vec<u8>>, ErrorStack> = chain.map(|certificate| certificate.to_pem()).collect();
    let chain = String::from_utf8(chain.map_err(|_| NO_PEM)?.concat()).map_err(|_| NO_PEM)?;
    let key = String::from_utf8(key.private_key_to_pem_pkcs8().map_err(|_| NO_PEM)?).map_err(|_| NO_PEM)?;
    Ok(vec![("ssl.certificate.pem", chain), (KEY, key)])
}

#[cfg(test)]
mod tests {
    use openssl::asn1::Asn1Time;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::hash::MessageDigest;
    use openssl::nid::Nid;
    use openssl::pkey::PKey;
    use openssl::x509::X509;

    use super::*;
    use crate::access::Access;
    use crate::config::{ClusterConfig, Settings};

    /// A certificate that has signed itself, its PEM, and a PKCS#12 file with it.
    fn made(password: &str) -> (String, String, Vec<u8>) {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        let certificate = builder.build();
        let store = Pkcs12::builder().pkey(&key).cert(&certificate).build2(password).unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let pem = certificate.to_pem().unwrap();
        (text(pem), text(key.private_key_to_pem_pkcs8().unwrap()), store.to_der().unwrap())
    }

    #[test]
    fn the_content_of_a_pkcs12_file_is_handed_over_as_pem_and_known_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.p12");
        let read = |password: &str, before: &PemFiles| {
            let value = |name: &str| match name {
                STORE => Some(path.display().to_string()),
                STORE_PASSWORD => Some(password.to_owned()),
                _ => None,
            };
            assert!(PemFiles::any(value));
            PemFiles::read(value, before)
        };
        let (certificate, key, store) = made("canary");
        std::fs::write(&path, &store).unwrap();
        let first = read("canary", &PemFiles::default()).unwrap();
        let contents = first.contents();
        assert_eq!(contents["ssl.certificate.pem"], certificate);
        assert_eq!((&contents["ssl.key.pem"], contents.len()), (&key, 2));
        assert_eq!(first.keys().collect::<Vec<_>>(), [&key]);
        let location = path.display().to_string();
        let properties = [("security.protocol", "SSL"), (STORE, location.as_str()), ("ssl.ca.pem", "x")];
        let cluster = ClusterConfig {
            properties: properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            name: "a".to_owned(),
            bootstrap_servers: "a:9092".to_owned(),
            access: Access::default(),
        };
        cluster.access.set_files(contents);
        let settings = Settings::of(&cluster, "a");
        assert_eq!((settings.get(STORE), settings.get("ssl.key.pem")), (None, Some(key.as_str())));
        assert_eq!(settings.written_as("ssl.certificate.pem"), Some(format!("{STORE} = {location}")));
        assert!(read("canary", &first).unwrap() == first && first.changed(&first).next().is_none());

        let said = |files: Result<PemFiles, PemFault>| {
            let fault = files.err().unwrap();
            assert_eq!(fault.what, STORE);
            fault.reason
        };
        assert!(said(read("other", &first)).contains("check ssl.keystore.password"));
        std::fs::write(&path, &store[..store.len() / 2]).unwrap();
        assert!(said(read("canary", &first)).ends_with("client.p12: it is no whole PKCS#12 file"));
        std::fs::write(&path, made("canary").2).unwrap();
        let second = read("canary", &first).unwrap();
        assert_eq!(second.changed(&first).collect::<Vec<_>>(), [STORE]);
    }

    #[test]
    fn a_folder_gives_the_authorities_that_are_named_by_their_hashes() {
        let folder = tempfile::tempdir().unwrap();
        let read = || {
            let value = |name: &str| (name == AUTHORITIES).then(|| folder.path().display().to_string());
            PemFiles::read(value, &PemFiles::default()).map(|files| files.contents()["ssl.ca.pem"].clone())
        };
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let ((first, ..), (second, ..)) = (made(""), made(""));
        write("first.pem", &first);
        assert!(read().unwrap_err().reason.contains("openssl rehash"));
        std::os::unix::fs::symlink("first.pem", folder.path().join("9d66eef0.0")).unwrap();
        write("0a1b2c3d.1", &second);
        // A list of revoked certificates, which nobody asked for.
        write("9d66eef0.r0", "text");
        assert_eq!(read().unwrap(), format!("{second}{first}"));
        write("0a1b2c3d.1", &second[..60]);
        assert!(read().unwrap_err().reason.ends_with("0a1b2c3d.1: it is no whole PEM file"));
    }
}
