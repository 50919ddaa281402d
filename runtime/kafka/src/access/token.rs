//! A token, and what can be read in it.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

/// A bearer token of a cluster's clients.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The token as the broker gets it.
    pub value: String,
    /// The name that it stands for, for librdkafka's own checks.
    pub principal: String,
    /// Its end, in milliseconds since the Unix epoch.
    pub expires_ms: i64,
    /// SASL extensions.
    pub extensions: Vec<(String, String)>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("principal", &self.principal).field("expires_ms", &self.expires_ms).finish()
    }
}

/// The claims of a JWT that matter here. They are not verified: that is the broker's task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Claims {
    /// `sub`.
    pub subject: Option<String>,
    /// `exp`, in milliseconds.
    pub expires_ms: Option<i64>,
}

impl Claims {
    /// Reads a token. One that is no JWT has no claims.
    pub fn of(token: &str) -> Self {
        let payload = token.split('.').nth(1).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
        let Some(claims) = payload.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok()) else {
            return Self::default();
        };
        // A number of seconds, which may have a fraction.
        let seconds = claims.get("exp").and_then(Value::as_f64).filter(|seconds| (0.0..1e12).contains(seconds));
        #[allow(clippy::cast_possible_truncation, reason = "within the bounds that were checked")]
        let expires_ms = seconds.map(|seconds| (seconds * 1000.0) as i64);
        Self { subject: claims.get("sub").and_then(Value::as_str).map(str::to_owned), expires_ms }
    }
}

/// Returns the time in milliseconds since the Unix epoch. Tokens end by the clock on the wall.
pub(super) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_and_what_is_no_jwt_has_none() {
        let jwt = |payload: &str| format!("e30.{}.x", BASE64_URL_SAFE_NO_PAD.encode(payload));
        let claims = Claims::of(&jwt(r#"{"sub":"me","exp":1700000000.5}"#));
        assert_eq!(claims, Claims { subject: Some("me".to_owned()), expires_ms: Some(1_700_000_000_500) });
        for odd in ["opaque", "a.b.c", "", &jwt("[]"), &jwt(r#"{"exp":-1,"sub":3}"#), &jwt(r#"{"exp":1e300}"#)] {
            assert_eq!(Claims::of(odd), Claims::default(), "{odd}");
        }
    }
}
