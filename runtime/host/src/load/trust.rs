//! Pins and signatures of plugin files, checked over the same bytes that are compiled.
//!
//! A signature is Ed25519 over [`DOMAIN`] followed by the whole file. It is in a text file beside
//! the plugin, `x.wasm.sig` for `x.wasm`, with one line per signer: `strait-plugin-v1
//! ed25519:PUBLIC SIGNATURE`, public key and signature in lower-case hexadecimal digits. A
//! signature tells who vouches for the bytes; a pin tells which of a signer's plugins a link loads.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ed25519_compact::{KeyPair, PublicKey as Point, Seed, Signature};
use strait_core::config::pin;

use super::spec::PluginSource;
use crate::error::{LoadProblem, TrustError};
use crate::file::{FileError, read_file};
use crate::text::hex;

/// Prefix of the signed bytes, so that a signature is valid for nothing else.
const DOMAIN: &[u8] = b"strait-plugin-v1\n";
/// First word of a line of a signature file.
const FORMAT: &str = "strait-plugin-v1";
const PRIVATE: &str = "strait-plugin-private-v1:";
/// Bytes of a signature file, which has a line of about 220 bytes per signer.
const SIGNATURES_BYTES_MAX: usize = 16 << 10;
const SIGNATURES_MAX: usize = 32;

/// A public key that may vouch for plugins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Reads `ed25519:` and 64 hexadecimal digits.
    ///
    /// # Errors
    /// The expected format, or that the key is not valid.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let key = pin::public_key(text)?;
        Point::new(key).validate().map_err(|_| "not a valid Ed25519 public key")?;
        Ok(Self(key))
    }

    /// Makes a key without a check. An invalid one verifies no signature.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn verify(&self, bytes: &[u8], signature: &Signature) -> bool {
        let Ok(mut state) = Point::new(self.0).verify_incremental(signature) else { return false };
        state.absorb(DOMAIN);
        state.absorb(bytes);
        state.verify().is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519:{}", hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A private key. Only [`PrivateKey::to_file`] prints it.
pub struct PrivateKey(KeyPair);

impl PrivateKey {
    /// Makes a key of 32 random bytes.
    ///
    /// # Errors
    /// The bytes cannot be random: they are all zero.
    pub fn from_random(bytes: [u8; 32]) -> Result<Self, &'static str> {
        let pair = KeyPair::try_from_seed(Seed::new(bytes));
        pair.map(Self).map_err(|_| "the system's random numbers are not random")
    }

    /// Reads the content of a key file.
    ///
    /// # Errors
    /// The expected format, without the content.
    pub fn from_file(text: &str) -> Result<Self, &'static str> {
        const RULE: &str = "not a private key as strait plugin keygen writes it";
        let digits = text.trim_end().strip_prefix(PRIVATE).ok_or(RULE)?;
        Self::from_random(pin::bytes(digits).ok_or(RULE)?).map_err(|_| RULE)
    }

    /// Returns the content of a key file.
    #[must_use]
    pub fn to_file(&self) -> String {
        format!("{PRIVATE}{}\n", hex(&*self.0.sk.seed()))
    }

    /// Returns the public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.pk)
    }

    /// Signs bytes. Returns a line for the signature file.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> String {
        let signature = self.0.sk.sign([DOMAIN, bytes].concat(), None);
        format!("{FORMAT} {} {}\n", self.public(), hex(&*signature))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {})", self.public())
    }
}

/// The conditions on a plugin's file.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Its pinned digest.
    pub digest: Option<[u8; 32]>,
    /// One of these keys must have signed it; if empty, none has to. Bundled plugins are part of
    /// this binary and need no signature.
    pub keys: Arc<[PublicKey]>,
}

impl Trust {
    /// Checks the bytes that will be loaded.
    pub(crate) fn check(&self, source: &PluginSource, bytes: &[u8], digest: &[u8; 32]) -> Result<(), LoadProblem> {
        if let Some(pinned) = self.digest.filter(|pinned| pinned != digest) {
            return Err(LoadProblem::OtherDigest { found: hex(digest), pinned: hex(&pinned) });
        }
        match source {
            PluginSource::File(path) if !self.keys.is_empty() => {
                verify_file(path, bytes, &self.keys).map(drop).map_err(LoadProblem::Untrusted)
            }
            PluginSource::File(_) | PluginSource::Bundled(_) => Ok(()),
        }
    }
}

/// Returns the path of a plugin's signature file.
#[must_use]
pub fn signature_path(plugin: &Path) -> PathBuf {
    let mut name = plugin.as_os_str().to_owned();
    name.push(".sig");
    PathBuf::from(name)
}

/// Returns the key that vouches for a plugin file with these bytes.
///
/// # Errors
/// [`TrustError`]: none of the keys does.
pub fn verify_file(plugin: &Path, bytes: &[u8], keys: &[PublicKey]) -> Result<PublicKey, TrustError> {
    let path = signature_path(plugin);
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => TrustError::Unsigned(path.clone()),
        _ => TrustError::Unreadable { path: path.clone(), error },
    };
    let malformed = |reason| TrustError::Malformed { path: path.clone(), reason };
    let text = read_file(&path, SIGNATURES_BYTES_MAX).map_err(|error| match error {
        FileError::Unreadable(error) => unreadable(error),
        FileError::TooLarge { .. } => malformed("it is too large"),
    })?;
    let text = String::from_utf8(text).map_err(|_| malformed("it is not text"))?;
    let signatures = parse(&text).map_err(malformed)?;
    let trusted: Vec<_> = signatures.iter().filter(|(signer, _)| keys.contains(signer)).collect();
    if let Some((signer, _)) = trusted.iter().find(|(signer, signature)| signer.verify(bytes, signature)) {
        return Ok(*signer);
    }
    if let Some((signer, _)) = trusted.first() {
        return Err(TrustError::OtherBytes { signer: signer.to_string() });
    }
    let signers: Vec<String> = signatures.iter().map(|(signer, _)| signer.to_string()).collect();
    Err(TrustError::OtherSigners { signers: signers.join(", ") })
}

fn parse(text: &str) -> Result<Vec<(PublicKey, Signature)>, &'static str> {
    let mut signatures = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [FORMAT, key, signature] = words[..] else { return Err("a line is not: strait-plugin-v1 KEY SIGNATURE") };
        let signature = pin::bytes(signature).ok_or("a signature is not 128 hexadecimal digits")?;
        signatures.push((PublicKey::parse(key)?, Signature::new(signature)));
    }
    match signatures.len() {
        0 => Err("it is empty"),
        1..=SIGNATURES_MAX => Ok(signatures),
        _ => Err("it has too many lines"),
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn key(byte: u8) -> PrivateKey {
        PrivateKey::from_random([byte; 32]).unwrap()
    }

    #[test]
    fn the_format_stays_as_it_is_documented() {
        // RFC 8032, 7.1, test 1: the seed and its public key.
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let key = PrivateKey::from_file(&format!("strait-plugin-private-v1:{seed}\n")).unwrap();
        let public = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(key.public().to_string(), public);
        assert_eq!(key.to_file(), format!("strait-plugin-private-v1:{seed}\n"));
        assert!(!format!("{key:?}").contains(seed));
        // Computed with another implementation (OpenSSL) over the domain line and these bytes.
        let line = key.sign(b"\0asm");
        let words: Vec<&str> = line.trim_end().split(' ').collect();
        assert_eq!((words[0], words[1]), ("strait-plugin-v1", public));
        assert_eq!(words[2], SIGNED_BY_OPENSSL);
        for bad in ["", seed, "strait-plugin-private-v1:00", &format!("strait-plugin-private-v1:{}", "0".repeat(64))] {
            assert!(PrivateKey::from_file(bad).is_err(), "{bad}");
        }
    }

    const SIGNED_BY_OPENSSL: &str = "06f7d13163f5f0878b36a00dd140f4f07a2500c2d74880d6ab60665c2ac085717739d795b9e6ce9c8cb1f6375dda05da64cc58b5e6825897a8a9a9f23bcd3b0b";

    #[test]
    fn only_the_signed_bytes_of_a_trusted_signer_pass() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.wasm");
        let source = PluginSource::File(path.clone());
        let (ours, theirs) = (key(1), key(2));
        let trust = Trust { digest: None, keys: [ours.public()].into() };
        let check = |bytes: &[u8]| {
            let digest = Sha256::digest(bytes).into();
            trust.check(&source, bytes, &digest).map_err(|problem| problem.to_string())
        };
        let refused = |bytes: &[u8], wanted: &str| {
            let error = check(bytes).unwrap_err();
            assert!(error.contains(wanted), "{wanted}: {error}");
        };
        refused(b"code", "it is not signed");
        let sign = |lines: &[String]| std::fs::write(signature_path(&path), lines.concat()).unwrap();
        sign(&[theirs.sign(b"code")]);
        refused(b"code", &theirs.public().to_string());
        sign(&[theirs.sign(b"code"), ours.sign(b"code")]);
        assert_eq!(check(b"code"), Ok(()));
        refused(b"Code", "not for these bytes");
        // One signer's signature with the other's key.
        sign(&[ours.sign(b"code").replace(&ours.public().to_string(), &theirs.public().to_string())]);
        refused(b"code", "does not name");
        sign(&[theirs.sign(b"code").replace(&theirs.public().to_string(), &ours.public().to_string())]);
        refused(b"code", "not for these bytes");
        // A signature without the domain prefix could be one of something else.
        let plain = hex(&*ours.0.sk.sign(b"code", None));
        sign(&[format!("strait-plugin-v1 {} {plain}\n", ours.public())]);
        refused(b"code", "not for these bytes");
        for bad in ["", "\n", "strait-plugin-v2 a b\n", &format!("strait-plugin-v1 {} 00\n", ours.public())] {
            sign(&[bad.to_owned()]);
            refused(b"code", "is not as strait plugin sign writes it");
        }
        sign(&vec![ours.sign(b"code"); 40]);
        refused(b"code", "too many lines");
        sign(&vec![ours.sign(b"code"); 400]);
        refused(b"code", "too large");

        // Bundled plugins are in this binary; a pin applies to them too.
        let bundled = PluginSource::Bundled("filter".into());
        let digest: [u8; 32] = Sha256::digest(b"code").into();
        assert!(trust.check(&bundled, b"code", &digest).is_ok());
        let pinned = Trust { digest: Some([7; 32]), keys: Arc::default() };
        let error = pinned.check(&bundled, b"code", &digest).unwrap_err().to_string();
        assert!(error.contains(&hex(&digest)) && error.contains(&hex(&[7; 32])), "{error}");
        // A key for which every signature would be valid, and invalid points.
        for weak in [
            [0; 32],
            {
                let mut one = [0; 32];
                one[0] = 1;
                one
            },
            [0xff; 32],
        ] {
            assert!(PublicKey::parse(&format!("ed25519:{}", hex(&weak))).is_err(), "{weak:?}");
        }
    }
}
