//! Tokens of an identity provider, by OAuth's client credentials (RFC 6749, 4.4).

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use strait_flow::lock;

use super::token::{Claims, now_ms};
use super::{Token, file, http};

/// Life of a token that tells no end.
const LIFE_DEFAULT_S: u64 = 300;
const LIFE_MAX_S: u64 = 7 * 24 * 3600;

/// How this process proves who it is.
#[derive(Clone)]
pub enum Proof {
    /// A secret, which may be exchanged while the process runs.
    Secret(Arc<Mutex<String>>),
    /// A file with a signed assertion (RFC 7523), read for each token.
    Assertion(PathBuf),
}

/// A client of an identity provider.
#[derive(Clone)]
pub struct Oidc {
    /// Token endpoint.
    pub token_url: String,
    /// Client id.
    pub client_id: String,
    /// How the client proves who it is.
    pub proof: Proof,
    /// Scope to ask for.
    pub scope: Option<String>,
    /// Audience to ask for.
    pub audience: Option<String>,
    /// PEM file of the authorities of the provider.
    pub ca: Option<PathBuf>,
    /// SASL extensions.
    pub extensions: Vec<(String, String)>,
}

impl fmt::Debug for Oidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oidc").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

impl Oidc {
    /// Asks for a token.
    pub(super) async fn fetch(&self) -> Result<Token, String> {
        let url = http::url(&self.token_url)?;
        let mut fields = vec![("grant_type", "client_credentials")];
        fields.extend(self.scope.as_deref().map(|scope| ("scope", scope)));
        fields.extend(self.audience.as_deref().map(|audience| ("audience", audience)));
        let assertion;
        let mut authorization = None;
        match &self.proof {
            Proof::Secret(secret) => {
                let secret = lock(secret).clone();
                let pair = format!("{}:{}", http::encoded(&self.client_id), http::encoded(&secret));
                authorization = Some(format!("Basic {}", BASE64_STANDARD.encode(pair)));
            }
            Proof::Assertion(path) => {
                assertion = file::text(path)?;
                fields.push(("client_id", &self.client_id));
                fields.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
                fields.push(("client_assertion", &assertion));
            }
        }
        let mut request = http::client(&url, self.ca.as_deref(), None)?
            .post(url.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(http::form(&fields));
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let asked_ms = now_ms();
        let answer = http::send_for_json(&url, request).await?;
        token_of(&answer, &self.client_id, &self.extensions, asked_ms)
    }
}

/// Reads a token endpoint's answer. `asked_ms` is when it was asked: a life counts from there.
pub(super) fn token_of(
    answer: &Value,
    client_id: &str,
    extensions: &[(String, String)],
    asked_ms: i64,
) -> Result<Token, String> {
    let value = answer.get("access_token").and_then(Value::as_str).unwrap_or_default();
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the answer has no usable access_token".to_owned());
    }
    let claims = Claims::of(value);
    // Azure writes the number as text.
    let life = answer.get("expires_in").and_then(|life| {
        let text = life.as_str().and_then(|text| text.parse().ok());
        life.as_u64().or(text)
    });
    let after = |life_s: u64| asked_ms.saturating_add(i64::try_from(life_s.min(LIFE_MAX_S) * 1000).unwrap_or(0));
    // The life first: it does not depend on the clocks of both machines.
    let expires_ms = life.map(after).or(claims.expires_ms).unwrap_or_else(|| after(LIFE_DEFAULT_S));
    let principal = claims.subject.unwrap_or_else(|| client_id.to_owned());
    Ok(Token { value: value.to_owned(), principal, expires_ms, extensions: extensions.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_token_lives_as_the_answer_says_or_the_token_or_five_minutes() {
        let of = |answer: Value| token_of(&answer, "client", &[], 1_000_000);
        assert_eq!(of(json!({ "access_token": "t", "expires_in": 60 })).unwrap().expires_ms, 1_060_000);
        assert_eq!(of(json!({ "access_token": "t", "expires_in": "60" })).unwrap().expires_ms, 1_060_000);
        let opaque = of(json!({ "access_token": "t" })).unwrap();
        assert_eq!((opaque.principal.as_str(), opaque.expires_ms), ("client", 1_300_000));
        // {"sub":"me","exp":2000}
        let jwt = of(json!({ "access_token": "e30.eyJzdWIiOiJtZSIsImV4cCI6MjAwMH0.x" })).unwrap();
        assert_eq!((jwt.principal.as_str(), jwt.expires_ms), ("me", 2_000_000));
        assert_eq!(of(json!({ "access_token": "t", "expires_in": u64::MAX })).unwrap().expires_ms, 605_800_000);
        for bad in [json!({}), json!({ "access_token": "" }), json!({ "access_token": "a b" })] {
            assert!(of(bad).is_err());
        }
    }
}
