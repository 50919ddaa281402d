//! The code that the host and plugins share: formats that they must compute alike, in every
//! language (canonical JSON, digests of it, key ids and pseudonyms), and the rules for names of
//! topics.
//!
//! Data on other clusters depends on the formats for years: none of them ever changes.
//! `wit/vectors` has values that any other implementation must give too, from an independent one.

pub mod canonical;
pub mod names;
pub mod pseudonym;

use sha2::{Digest, Sha256};

/// Number of hexadecimal digits of a rule's digest that name it.
const RULE_DIGITS: usize = 8;

/// Returns `sha256:` and 64 hexadecimal digits, of JSON in its canonical form.
///
/// # Errors
/// [`canonical::NotCanonical`].
pub fn digest(json: &[u8]) -> Result<String, canonical::NotCanonical> {
    Ok(format!("sha256:{}", hex(&digest_bytes(json)?)))
}

/// Returns the name of a rule without one: the first digits of the digest of its JSON, with key ids
/// in place of secrets.
///
/// # Errors
/// [`canonical::NotCanonical`].
pub fn rule_id(json: &[u8]) -> Result<String, canonical::NotCanonical> {
    Ok(hex(&digest_bytes(json)?).chars().take(RULE_DIGITS).collect())
}

fn digest_bytes(json: &[u8]) -> Result<[u8; 32], canonical::NotCanonical> {
    let mut text = Vec::new();
    canonical::write(json, &mut text)?;
    Ok(Sha256::digest(&text).into())
}

/// Returns lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}
