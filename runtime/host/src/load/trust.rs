//! Which plugin files may be loaded: pins and signatures, judged over the very bytes that are compiled.
//!
//! A signature is Ed25519 over [`DOMAIN`] followed by the whole file. It stands in a text file beside the plugin, `x.wasm.sig`
//! for `x.wasm`, one line for each signer: `strait-plugin-v1 ed25519:PUBLIC SIGNATURE`, public key and signature in lower-case
//! hexadecimal digits. It says who vouches for the bytes; which of a signer's plugins a link loads, a pin says.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ed25519_compact::{KeyPair, PublicKey as Point, Seed, Signature};
use strait_core::config::pin;

use super::spec::PluginSource;
use crate::error::{LoadProblem, TrustError};
use crate::file::{FileError, read_file};
use crate::text::hex;

/// Before the file's bytes in what is signed, so that the signature is good for nothing else.
const DOMAIN: &[u8] = b"strait-plugin-v1\n";
/// First word of a line of a signature file.
const FORMAT: &str = "strait-plugin-v1";
const PRIVATE: &str = "strait-plugin-private-v1:";
/// A signature file has a line of some 220 bytes for each signer.
const SIGNATURES_BYTES_MAX: usize = 16 << 10;
const SIGNATURES_MAX: usize = 32;

/// A public key that may vouch for plugins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Reads `ed25519:` and 64 hexadecimal digits.
    ///
    /// # Errors
    /// How it is written, or that no signature can ever be good for it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let key = pin::public_key(text)?;
        Point::new(key).validate().map_err(|_| "these digits are no Ed25519 public key")?;
        Ok(Self(key))
    }

    /// A key that is not judged: one that is no point of the curve vouches for nothing.
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

/// A private key. Nothing prints it but [`PrivateKey::to_file`].
pub struct PrivateKey(KeyPair);

impl PrivateKey {
    /// Makes a key of 32 random bytes.
    ///
    /// # Errors
    /// That they cannot be random: they are all zero.
    pub fn from_random(bytes: [u8; 32]) -> Result<Self, &'static str> {
        let pair = KeyPair::try_from_seed(Seed::new(bytes));
        pair.map(Self).map_err(|_| "the system's random numbers are not random")
    }

    /// Reads the content of a key file.
    ///
    /// # Errors
    /// That it is none. What it holds is not told.
    pub fn from_file(text: &str) -> Result<Self, &'static str> {
        const RULE: &str = "not a private key as strait plugin keygen writes it";
        let digits = text.trim_end().strip_prefix(PRIVATE).ok_or(RULE)?;
        Self::from_random(pin::bytes(digits).ok_or(RULE)?).map_err(|_| RULE)
    }

    /// The content of a key file.
    #[must_use]
    pub fn to_file(&self) -> String {
        format!("{PRIVATE}{}\n", hex(&*self.0.sk.seed()))
    }

    /// Its public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.pk)
    }

    /// The line of a signature file that vouches for these bytes.
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

/// What a plugin's file must be, besides a plugin.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The digest that it must have.
    pub digest: Option<[u8; 32]>,
    /// Keys of which one must vouch for it; none: nobody has to. The bundled plugins are part of this binary and need none.
    pub keys: Arc<[PublicKey]>,
}

impl Trust {
    /// Judges the bytes that will be loaded.
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

/// The signature file of a plugin file.
#[must_use]
pub fn signature_path(plugin: &Path) -> PathBuf {
    let mut name = plugin.as_os_str().to_owned();
    name.push(".sig");
    PathBuf::from(name)
}

/// Which of the keys vouches for a plugin file with these bytes.
///
/// # Errors
/// [`TrustError`]: none of them does.
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
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
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
        // Computed apart, with another implementation (OpenSSL), over the domain line and these bytes.
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
        // The signature of one over the key of the other.
        sign(&[ours.sign(b"code").replace(&ours.public().to_string(), &theirs.public().to_string())]);
        refused(b"code", "does not name");
        sign(&[theirs.sign(b"code").replace(&theirs.public().to_string(), &ours.public().to_string())]);
        refused(b"code", "not for these bytes");
        // Without the domain in front the signature of something else would do.
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

        // What is bundled is this binary; a pin counts there too.
        let bundled = PluginSource::Bundled("filter".into());
        let digest: [u8; 32] = Sha256::digest(b"code").into();
        assert!(trust.check(&bundled, b"code", &digest).is_ok());
        let pinned = Trust { digest: Some([7; 32]), keys: Arc::default() };
        let error = pinned.check(&bundled, b"code", &digest).unwrap_err().to_string();
        assert!(error.contains(&hex(&digest)) && error.contains(&hex(&[7; 32])), "{error}");
        // A key of which every signature would be good, and points that are none.
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
