//! Tokens from a file that another program writes.

use std::path::Path;
use std::time::Duration;

use super::Token;
use super::token::Claims;

/// How often the file is read.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// The largest file.
const BYTES_MAX: u64 = 64 << 10;

/// Reads the token in a file.
pub(super) fn read(path: &Path, extensions: &[(String, String)]) -> Result<Token, String> {
    let value = text(path)?;
    let claims = Claims::of(&value);
    let Some(expires_ms) = claims.expires_ms else {
        return Err(format!("{} holds no JWT with an end (exp)", path.display()));
    };
    let principal = claims.subject.unwrap_or_else(|| "token".to_owned());
    Ok(Token { value, principal, expires_ms, extensions: extensions.to_vec() })
}

/// Reads a small file of one line.
pub(super) fn text(path: &Path) -> Result<String, String> {
    let fail = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let length = std::fs::metadata(path).map_err(fail)?.len();
    if length > BYTES_MAX {
        return Err(format!("{} is larger than {BYTES_MAX} bytes", path.display()));
    }
    let text = std::fs::read_to_string(path).map_err(fail)?;
    let text = text.trim();
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("{} holds no token: one line without spaces is expected", path.display()));
    }
    Ok(text.to_owned())
}
