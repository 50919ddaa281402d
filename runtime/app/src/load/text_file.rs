//! Reads a file as text, and says which encoding it has where that is not UTF-8.

use std::io::{Error, ErrorKind, Result};
use std::path::Path;

/// Bytes at the start of a file that are looked at for the zeros of UTF-16.
const LOOKED_AT: usize = 256;

/// Reads a file in UTF-8, with or without a byte order mark.
///
/// # Errors
/// The system's, or [`ErrorKind::InvalidData`] with the encoding or the place of the first byte
/// that is not UTF-8.
pub fn read(path: &Path) -> Result<String> {
    decode(std::fs::read(path)?).map_err(|reason| Error::new(ErrorKind::InvalidData, reason))
}

fn decode(mut bytes: Vec<u8>) -> std::result::Result<String, String> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) || has_zeros(&bytes) {
        return Err("it is UTF-16 and must be UTF-8".to_owned());
    }
    if bytes.starts_with(&[0xef, 0xbb, 0xbf]) {
        bytes.drain(..3);
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default()).into_owned();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("it is not UTF-8: line {line}, column {column} has a byte of another encoding")
    })
}

/// Returns whether a quarter of the first bytes are zero: ASCII text in UTF-16 without a mark.
fn has_zeros(bytes: &[u8]) -> bool {
    let start = bytes.get(..LOOKED_AT).unwrap_or(bytes);
    let zeros = start.iter().filter(|byte| **byte == 0).count();
    zeros > 0 && zeros * 4 >= start.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf_8_is_read_with_and_without_a_mark_and_other_encodings_are_named() {
        assert_eq!(decode("\u{feff}a: ä".into()).unwrap(), "a: ä");
        assert_eq!(decode("a: ä".into()).unwrap(), "a: ä");
        assert_eq!(decode(Vec::new()).unwrap(), "");
        let text = "clusters: {}\n";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let wide: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        for bytes in [&little, &big, &[&[0xff, 0xfe][..], &little].concat(), &[&[0xfe, 0xff][..], &big].concat(), &wide]
        {
            assert!(decode(bytes.clone()).unwrap_err().contains("UTF-16"));
        }
        assert_eq!(
            decode(b"a: 1\nb: gr\xfc\xdf".to_vec()).unwrap_err(),
            "it is not UTF-8: line 2, column 6 has a byte of another encoding"
        );
    }
}
