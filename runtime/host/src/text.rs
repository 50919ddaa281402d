//! Text for logs, errors and headers: escaped text of guests, and digests in hexadecimal digits.

use sha2::{Digest, Sha256};
pub(crate) use strait_core::text::clean;

/// Returns the digest of a file's bytes in the format of a pin: `sha256:` and 64 hexadecimal
/// digits.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// Returns lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
