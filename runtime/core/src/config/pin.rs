//! Pins of a plugin: the digest of its file, and the public keys that may sign it.

/// Size of a digest and of a public key, in bytes.
pub const PIN_BYTES: usize = 32;

/// Parses `sha256:` and 64 hexadecimal digits.
///
/// # Errors
/// The required form, if the text has another.
pub fn digest(text: &str) -> Result<[u8; PIN_BYTES], &'static str> {
    const RULE: &str = "write sha256: and 64 hexadecimal digits, as strait plugin inspect prints them";
    text.strip_prefix("sha256:").and_then(bytes).ok_or(RULE)
}

/// Parses `ed25519:` and 64 hexadecimal digits. The host checks whether they are a valid point of
/// the curve.
///
/// # Errors
/// The required form, if the text has another.
pub fn public_key(text: &str) -> Result<[u8; PIN_BYTES], &'static str> {
    const RULE: &str = "write ed25519: and 64 hexadecimal digits, as strait plugin keygen prints them";
    text.strip_prefix("ed25519:").and_then(bytes).ok_or(RULE)
}

/// Parses hexadecimal digits, exactly two per byte. `None` for any other text.
#[must_use]
pub fn bytes<const N: usize>(digits: &str) -> Option<[u8; N]> {
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_has_exactly_one_form() {
        let digits = "00ff".repeat(16);
        let read = digest(&format!("sha256:{digits}")).unwrap();
        assert_eq!((read[0], read[1], read[31]), (0, 255, 255));
        assert_eq!(public_key(&format!("ed25519:{digits}")), Ok(read));
        assert_eq!(digest(&format!("sha256:{}", digits.to_uppercase())), Ok(read));
        for bad in [digits.clone(), format!("sha256:{digits}0"), format!("sha256:{}+f", &digits[..62]), String::new()] {
            assert!(digest(&bad).is_err() && public_key(&bad).is_err(), "{bad}");
        }
    }
}
