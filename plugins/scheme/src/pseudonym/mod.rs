//! Pseudonyms: HMAC-SHA256 of a content, by a key that is derived from a secret for one domain.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::canonical::{self, NotCanonical};
use crate::hex;

/// Salt of the keys.
const SALT: &[u8] = b"strait.pseudonym.v1";
/// Salt of key ids. They tell nothing about the keys.
const KEY_ID_SALT: &[u8] = b"strait.key-id.v1";
/// Bytes of a key id that is not given.
const KEY_ID_BYTES: usize = 8;
/// Maximum length of a key id.
const KEY_ID_MAX: usize = 32;

/// The key of one domain. Within a domain, the same content has the same pseudonym.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

/// How the 32 bytes of a pseudonym are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Lower-case hexadecimal digits.
    #[default]
    Hex,
    /// Base64 for URLs, without padding.
    Base64Url,
}

impl Key {
    /// Derives the key of a domain.
    #[must_use]
    pub fn derive(secret: &[u8], domain: &str) -> Self {
        Self(keyed(&hkdf(secret, SALT, domain.as_bytes())))
    }

    /// Returns the pseudonym of a content.
    #[must_use]
    pub fn of(&self, content: &[u8]) -> [u8; 32] {
        self.0.clone().chain_update(content).finalize().into_bytes().into()
    }
}

impl Encoding {
    /// Appends the text of a pseudonym.
    pub fn write(self, pseudonym: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Hex => out.extend_from_slice(hex(pseudonym).as_bytes()),
            Self::Base64Url => out.extend_from_slice(URL_SAFE_NO_PAD.encode(pseudonym).as_bytes()),
        }
    }
}

/// Returns the id of a secret whose id was not given: 16 hexadecimal digits.
#[must_use]
pub fn key_id(secret: &[u8]) -> String {
    hex(&hkdf(secret, KEY_ID_SALT, b"")[..KEY_ID_BYTES])
}

/// Returns whether a text can be a key id: 1 to 32 lower-case letters, digits and `-`.
#[must_use]
pub fn is_key_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=KEY_ID_MAX).contains(&text.len()) && text.bytes().all(is_plain)
}

/// Returns the content of JSON text: a string's text, and the canonical form of any other value. So
/// 400, 400.0, 4e2 and "400" have one content.
///
/// # Errors
/// [`NotCanonical`].
pub fn content(json: &[u8]) -> Result<Cow<'_, [u8]>, NotCanonical> {
    let Some(start) = json.iter().position(|byte| !byte.is_ascii_whitespace()) else {
        return Err(NotCanonical::NotJson);
    };
    let inner = json[start..].strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    if let Some(inner) = inner
        && inner.iter().all(|byte| *byte >= b' ' && !matches!(byte, b'\\' | b'"'))
        && std::str::from_utf8(inner).is_ok()
    {
        return Ok(Cow::Borrowed(inner));
    }
    let mut canonical = Vec::new();
    canonical::write(json, &mut canonical)?;
    if canonical.first() != Some(&b'"') {
        return Ok(Cow::Owned(canonical));
    }
    let text: String = serde_json::from_slice(&canonical).map_err(|_| NotCanonical::NotText)?;
    Ok(Cow::Owned(text.into_bytes()))
}

/// HKDF-SHA256 (RFC 5869) for 32 bytes: one block.
fn hkdf(secret: &[u8], salt: &[u8], info: &[u8]) -> [u8; 32] {
    let extracted: [u8; 32] = keyed(salt).chain_update(secret).finalize().into_bytes().into();
    keyed(&extracted).chain_update(info).chain_update([1]).finalize().into_bytes().into()
}

/// Returns HMAC with a key of at most 64 bytes, which is filled up with zeros as the RFC says.
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    let mut block = [0; 64];
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    Hmac::new(&block.into())
}

#[cfg(test)]
mod tests;
