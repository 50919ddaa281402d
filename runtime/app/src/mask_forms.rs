//! The forms of a secret in URLs and in base64.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

/// Length of the shortest text in base64 that is masked: shorter ones are found in words.
const BASE64_LENGTH_MIN: usize = 8;
/// Of longer secrets, such as a file with keys, only so much is encoded.
const ENCODED_LENGTH_MAX: usize = 4 << 10;

/// Adds the forms of a secret.
pub fn add(secret: &str, forms: &mut Vec<String>) {
    let bytes = secret.as_bytes();
    let bytes = bytes.get(..ENCODED_LENGTH_MAX).unwrap_or(bytes);
    let all = |kept: &[u8], lower| bytes.iter().map(|byte| escaped(*byte, kept, lower)).collect::<String>();
    for lower in [false, true] {
        let url = all(b"-._~", lower);
        // As a form is sent, where a space is a plus.
        let form = all(b"-._*", lower).replace("%20", "+");
        forms.extend([url.replace("%20", "+"), url, form]);
    }
    // The header of OAuth's client credentials has them percent-encoded, in base64.
    let url = all(b"-._~", false);
    for text in [bytes, url.as_bytes()] {
        forms.extend((0..3).flat_map(|offset| base64(text, offset)));
    }
}

fn escaped(byte: u8, kept: &[u8], lower: bool) -> String {
    if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
        return char::from(byte).to_string();
    }
    if lower { format!("%{byte:02x}") } else { format!("%{byte:02X}") }
}

/// Returns the letters that a secret alone decides in the base64 of a longer text, in both
/// alphabets. `offset` is the length of the text before it, modulo 3.
fn base64(secret: &[u8], offset: usize) -> Vec<String> {
    let mut bytes = vec![0; offset];
    bytes.extend_from_slice(secret);
    let first = (offset * 8).div_ceil(6);
    let end = bytes.len() * 8 / 6;
    let decided = |text: String| text.get(first..end).unwrap_or_default().to_owned();
    let both = [BASE64_STANDARD_NO_PAD.encode(&bytes), BASE64_URL_SAFE_NO_PAD.encode(&bytes)];
    both.map(decided).into_iter().filter(|text| text.len() >= BASE64_LENGTH_MIN).collect()
}
