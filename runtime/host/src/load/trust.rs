//! Pins and signatures of plugin files, checked over the same bytes that are compiled.
//!
//! A signature is Ed25519 over [`DOMAIN`], the name under which the plugin may be loaded and its
//! version, each ended by a line feed, and the whole file. It is in a text file beside the plugin,
//! `x.wasm.sig` for `x.wasm`, with one line per signer: `strait-plugin-v2 ed25519:PUBLIC NAME
//! VERSION SIGNATURE`, public key and signature in lower-case hexadecimal digits. A signature tells
//! who vouches for the bytes in this place; a pin tells which of a signer's versions a link loads.

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
const DOMAIN: &[u8] = b"strait-plugin-v2\n";
/// First word of a line of a signature file.
const FORMAT: &str = "strait-plugin-v2";
/// The same of the format before, which bound neither name nor version.
const FORMER: &str = "strait-plugin-v1";
const PRIVATE: &str = "strait-plugin-private-v1:";
/// Bytes of a signature file, which has a line of about 250 bytes per signer.
const SIGNATURES_BYTES_MAX: usize = 16 << 10;
const SIGNATURES_MAX: usize = 32;
/// Longest name, and longest version, that is signed.
const WORD_BYTES_MAX: usize = 128;

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

    fn verify(&self, head: &[u8], bytes: &[u8], signature: &Signature) -> bool {
        let Ok(mut state) = Point::new(self.0).verify_incremental(signature) else { return false };
        state.absorb(head);
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

    /// Signs the bytes of a plugin's file, to be loaded under this name and with this version in
    /// its description. Returns a line for the signature file.
    ///
    /// # Errors
    /// The name or the version cannot be signed.
    pub fn sign(&self, name: &str, version: &str, bytes: &[u8]) -> Result<String, &'static str> {
        if !is_word(name) {
            return Err("its name must be 1 to 128 visible ASCII characters");
        }
        if !is_word(version) {
            return Err("the version in its description must be 1 to 128 visible ASCII characters");
        }
        let signature = self.0.sk.sign([&head(name, version)[..], bytes].concat(), None);
        Ok(format!("{FORMAT} {} {name} {version} {}\n", self.public(), hex(&*signature)))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {})", self.public())
    }
}

/// Returns the bytes that are signed before the file.
fn head(name: &str, version: &str) -> Vec<u8> {
    [DOMAIN, name.as_bytes(), b"\n", version.as_bytes(), b"\n"].concat()
}

/// Returns whether a text can stand in a line of a signature file.
fn is_word(text: &str) -> bool {
    (1..=WORD_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A valid signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vouched {
    /// Whose it is.
    pub signer: PublicKey,
    /// The version that its description must have.
    pub version: String,
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
    /// Checks the bytes that will be loaded. Returns the signature, where there has to be one.
    pub(crate) fn check(
        &self,
        source: &PluginSource,
        bytes: &[u8],
        digest: &[u8; 32],
    ) -> Result<Option<Vouched>, LoadProblem> {
        if let Some(pinned) = self.digest.filter(|pinned| pinned != digest) {
            return Err(LoadProblem::OtherDigest { found: hex(digest), pinned: hex(&pinned) });
        }
        match source {
            PluginSource::File(path) if !self.keys.is_empty() => {
                verify_file(path, bytes, &self.keys).map(Some).map_err(LoadProblem::Untrusted)
            }
            PluginSource::File(_) | PluginSource::Bundled(_) => Ok(None),
        }
    }
}

/// The signatures of a plugin that are not of one signer.
#[derive(Debug, Default)]
pub struct OtherSigners {
    /// Their lines, as they are.
    pub lines: String,
    /// Those whose signature is not for the bytes that the file has now.
    pub outdated: Vec<PublicKey>,
}

impl OtherSigners {
    /// Reads them from the signature file of a plugin with these bytes. Lines of the format before,
    /// which vouch for nothing any more, are left out.
    ///
    /// # Errors
    /// [`TrustError`]: the file holds something else, which must not be written over.
    pub fn of(plugin: &Path, own: &PublicKey, bytes: &[u8]) -> Result<Self, TrustError> {
        let path = signature_path(plugin);
        let text = match read_signatures(&path) {
            Ok(text) => text,
            Err(TrustError::Unsigned(_)) => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let current: Vec<&str> = text.lines().filter(|line| !line.starts_with(FORMER)).collect();
        if current.is_empty() {
            return Ok(Self::default());
        }
        let malformed = |reason| TrustError::Malformed { path: path.clone(), reason };
        let mut others = Self::default();
        let text = current.join("\n");
        let parsed = parse(&text).map_err(malformed)?;
        let kept = parsed.iter().zip(&current).filter(|(line, _)| line.signer != *own);
        for (line, text) in kept {
            others.lines.push_str(&format!("{text}\n"));
            if !line.is_for(bytes) && !others.outdated.contains(&line.signer) {
                others.outdated.push(line.signer);
            }
        }
        if others.lines.lines().count() >= SIGNATURES_MAX {
            return Err(malformed("it has as many signatures of others as are allowed"));
        }
        Ok(others)
    }
}

/// Returns the path of a plugin's signature file.
#[must_use]
pub fn signature_path(plugin: &Path) -> PathBuf {
    let mut name = plugin.as_os_str().to_owned();
    name.push(".sig");
    PathBuf::from(name)
}

/// Returns the signature that vouches for a plugin file with these bytes in this place. Its version
/// is still to be compared with the plugin's description.
///
/// # Errors
/// [`TrustError`]: none of the keys vouches for it.
pub fn verify_file(plugin: &Path, bytes: &[u8], keys: &[PublicKey]) -> Result<Vouched, TrustError> {
    let path = signature_path(plugin);
    let text = read_signatures(&path)?;
    let lines = parse(&text).map_err(|reason| TrustError::Malformed { path, reason })?;
    let trusted = || lines.iter().filter(|line| keys.contains(&line.signer));
    let Some(first) = trusted().next() else {
        let signers: Vec<String> = lines.iter().map(|line| line.signer.to_string()).collect();
        return Err(TrustError::OtherSigners { signers: signers.join(", ") });
    };
    // Each signature is verified once at most: that reads the whole file.
    let name = plugin.file_stem().unwrap_or_default().to_string_lossy();
    if let Some(line) = trusted().find(|line| line.name == name && line.is_for(bytes)) {
        return Ok(Vouched { signer: line.signer, version: line.version.to_owned() });
    }
    Err(match trusted().find(|line| line.name != name && line.is_for(bytes)) {
        Some(line) => TrustError::OtherName { signed: line.name.to_owned(), name: name.into_owned() },
        None => TrustError::OtherBytes { signer: first.signer.to_string() },
    })
}

fn read_signatures(path: &Path) -> Result<String, TrustError> {
    let malformed = |reason| TrustError::Malformed { path: path.to_owned(), reason };
    let text = read_file(path, SIGNATURES_BYTES_MAX).map_err(|error| match error {
        FileError::Unreadable(error) if error.kind() == std::io::ErrorKind::NotFound => {
            TrustError::Unsigned(path.to_owned())
        }
        FileError::Unreadable(error) => TrustError::Unreadable { path: path.to_owned(), error },
        FileError::TooLarge { .. } => malformed("it is too large"),
    })?;
    String::from_utf8(text).map_err(|_| malformed("it is not text"))
}

/// A line of a signature file.
struct Line<'a> {
    signer: PublicKey,
    name: &'a str,
    version: &'a str,
    signature: Signature,
}

impl Line<'_> {
    fn is_for(&self, bytes: &[u8]) -> bool {
        self.signer.verify(&head(self.name, self.version), bytes, &self.signature)
    }
}

fn parse(text: &str) -> Result<Vec<Line<'_>>, &'static str> {
    let mut lines = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if words.first() == Some(&FORMER) {
            return Err(
                "it has the format v1, which is bound neither to a name nor to a version: sign the plugin again",
            );
        }
        let [FORMAT, key, name, version, signature] = words[..] else {
            return Err("a line is not: strait-plugin-v2 KEY NAME VERSION SIGNATURE");
        };
        if !is_word(name) || !is_word(version) {
            return Err("a name or version is not 1 to 128 visible ASCII characters");
        }
        let signature = pin::bytes(signature).ok_or("a signature is not 128 hexadecimal digits")?;
        lines.push(Line { signer: PublicKey::parse(key)?, name, version, signature: Signature::new(signature) });
    }
    match lines.len() {
        0 => Err("it is empty"),
        1..=SIGNATURES_MAX => Ok(lines),
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
        let line = key.sign("x", "1.2.0", b"\0asm").unwrap();
        assert_eq!(line, format!("strait-plugin-v2 {public} x 1.2.0 {SIGNED_BY_OPENSSL}\n"));
        for (name, version) in [("", "1"), ("x", ""), ("a b", "1"), ("x", "1\n2"), ("ü", "1"), ("x", &"1".repeat(129))]
        {
            assert!(key.sign(name, version, b"").is_err(), "{name} {version}");
        }
        for bad in ["", seed, "strait-plugin-private-v1:00", &format!("strait-plugin-private-v1:{}", "0".repeat(64))] {
            assert!(PrivateKey::from_file(bad).is_err(), "{bad}");
        }
    }

    const SIGNED_BY_OPENSSL: &str = "e7bac2ad15cd5526975276ce8429e82b257ac4446a0229a21e4b287ee29095c6502aeda8fa39ba194eed616b21d885a7c16a47e256acbbd3af8dab5cdb660906";

    #[test]
    fn only_the_signed_bytes_of_a_trusted_signer_pass() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.wasm");
        let source = PluginSource::File(path.clone());
        let (ours, theirs) = (key(1), key(2));
        let trust = Trust { digest: None, keys: [ours.public()].into() };
        let check = |bytes: &[u8]| {
            let digest = Sha256::digest(bytes).into();
            let checked = trust.check(&source, bytes, &digest).map_err(|problem| problem.to_string());
            checked.map(|vouched| vouched.unwrap().version)
        };
        let refused = |bytes: &[u8], wanted: &str| {
            let error = check(bytes).unwrap_err();
            assert!(error.contains(wanted), "{wanted}: {error}");
        };
        let line = |key: &PrivateKey| key.sign("x", "1.0", b"code").unwrap();
        refused(b"code", "it is not signed");
        let sign = |lines: &[String]| std::fs::write(signature_path(&path), lines.concat()).unwrap();
        sign(&[line(&theirs)]);
        refused(b"code", &theirs.public().to_string());
        sign(&[line(&theirs), line(&ours)]);
        assert_eq!(check(b"code"), Ok("1.0".to_owned()));
        refused(b"Code", "not for these bytes");
        // One signer's signature with the other's key.
        sign(&[line(&ours).replace(&ours.public().to_string(), &theirs.public().to_string())]);
        refused(b"code", "does not name");
        sign(&[line(&theirs).replace(&theirs.public().to_string(), &ours.public().to_string())]);
        refused(b"code", "not for these bytes");
        // Another plugin of the signer, put in this one's place, and another name or version than
        // the signed one.
        sign(&[ours.sign("y", "1.0", b"code").unwrap()]);
        refused(b"code", "signed to be loaded as y, and not as x");
        sign(&[ours.sign("y", "1.0", b"code").unwrap(), ours.sign("x", "2.0", b"code").unwrap()]);
        assert_eq!(check(b"code"), Ok("2.0".to_owned()));
        for (is, was) in [(" x 1.0 ", " y 1.0 "), (" x 1.0 ", " x 1.1 ")] {
            sign(&[line(&ours).replace(is, was)]);
            refused(b"code", "not for these bytes");
        }
        // A signature without the domain prefix could be one of something else.
        let plain = hex(&*ours.0.sk.sign(b"code", None));
        sign(&[format!("strait-plugin-v2 {} x 1.0 {plain}\n", ours.public())]);
        refused(b"code", "not for these bytes");
        let public = ours.public();
        let words = ["", "\n", "strait-plugin-v3 a b\n", &format!("strait-plugin-v2 {public} x 1.0 00\n")];
        for bad in words.into_iter().chain([&*format!("strait-plugin-v2 {public}  1.0 {plain}\n")]) {
            sign(&[bad.to_owned()]);
            refused(b"code", "is not as strait plugin sign writes it");
        }
        sign(&[format!("strait-plugin-v1 {public} {plain}\n")]);
        refused(b"code", "sign the plugin again");
        sign(&vec![line(&ours); 40]);
        refused(b"code", "too many lines");
        sign(&vec![line(&ours); 400]);
        refused(b"code", "too large");

        // Who signs keeps the lines of others, and replaces own ones.
        sign(&[line(&theirs), line(&ours), format!("strait-plugin-v1 {public} {plain}\n")]);
        let others = OtherSigners::of(&path, &ours.public(), b"code").unwrap();
        assert!(others.lines == line(&theirs) && others.outdated.is_empty(), "{others:?}");
        let others = OtherSigners::of(&path, &ours.public(), b"Code").unwrap();
        assert!(others.lines == line(&theirs) && others.outdated == [theirs.public()], "{others:?}");
        let many: Vec<String> = (2..34).map(|byte| line(&key(byte))).collect();
        for bad in [&["something\n".to_owned()][..], &many] {
            sign(bad);
            assert!(OtherSigners::of(&path, &ours.public(), b"code").is_err(), "{bad:?}");
        }

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
