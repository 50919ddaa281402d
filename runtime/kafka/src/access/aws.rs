//! Tokens for Amazon MSK's IAM: a presigned request that the broker verifies.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use strait_core::text::clean;

use super::{Token, http};

/// Life of a token; MSK takes no longer one.
const LIFE: Duration = Duration::from_secs(900);
const USER_AGENT: &str = concat!("strait/", env!("CARGO_PKG_VERSION"));
/// The parameters of a signature, in the order in which AWS's own signers write them.
const PARAMETERS: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
];
/// Length of what an error shows.
const SHOWN_MAX: usize = 400;
const CONNECT: Duration = Duration::from_secs(3);

/// Makes a token with the credentials that AWS's chain finds. `secret` hears what nothing may show.
pub(super) async fn fetch(
    region: &str,
    extensions: &[(String, String)],
    secret: &(dyn Fn(&str) + Sync),
) -> Result<Token, String> {
    let loader = aws_config::defaults(BehaviorVersion::latest());
    let config = loader.region(Region::new(region.to_owned())).http_client(Http).load().await;
    let provider = config.credentials_provider().ok_or("there is no source of AWS credentials")?;
    let found = provider.provide_credentials().await;
    let found = found.map_err(|error| format!("no AWS credentials: {}", causes(&error)))?;
    secret(found.secret_access_key());
    if let Some(token) = found.session_token() {
        secret(token);
    }
    let token = presigned(region, &found, SystemTime::now())?;
    Ok(Token { extensions: extensions.to_vec(), ..token })
}

/// Returns an error and its causes. Their `Debug` form would show whole answers.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    clean(&text, SHOWN_MAX)
}

/// A GET request to sign.
struct Request<'a> {
    url: String,
    service: &'a str,
    region: &'a str,
    life: Duration,
    body: SignableBody<'a>,
}

/// Returns the address of a request with its signature in it.
fn signed(request: Request<'_>, credentials: &Credentials, at: SystemTime) -> Result<String, String> {
    let failed = |error: &dyn std::fmt::Display| format!("the token cannot be signed: {error}");
    let Request { mut url, service, region, life, body } = request;
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(life);
    let identity = credentials.clone().into();
    let builder = SigningParams::builder().identity(&identity).region(region).name(service);
    let params = builder.time(at).settings(settings).build().map_err(|error| failed(&error))?.into();
    let request = SignableRequest::new("GET", url.as_str(), std::iter::empty(), body);
    let request = request.map_err(|error| failed(&error))?;
    let (signature, _) = sign(request, &params).map_err(|error| failed(&error))?.into_parts();
    for name in PARAMETERS {
        let Some((_, value)) = signature.params().iter().find(|(found, _)| *found == name) else { continue };
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(&format!("{name}={}", http::encoded(value)));
    }
    Ok(url)
}

/// Signs a request to connect to a cluster of this region.
fn presigned(region: &str, credentials: &Credentials, at: SystemTime) -> Result<Token, String> {
    let url = format!("https://kafka.{region}.amazonaws.com/?Action=kafka-cluster%3AConnect");
    let request = Request { url, service: "kafka-cluster", region, life: LIFE, body: SignableBody::Bytes(&[]) };
    let mut url = signed(request, credentials, at)?;
    // Behind the signature, as it is not part of it.
    url.push_str(&format!("&User-Agent={}", http::encoded(USER_AGENT)));
    let unix_ms = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX).saturating_mul(1000)
    };
    let ends = credentials.expiry().map_or(at + LIFE, |expiry| expiry.min(at + LIFE));
    Ok(Token {
        value: BASE64_URL_SAFE_NO_PAD.encode(url),
        principal: credentials.access_key_id().to_owned(),
        expires_ms: unix_ms(ends),
        extensions: Vec::new(),
    })
}

/// The HTTP client of AWS's chain: ours, on OpenSSL (decision 37).
#[derive(Clone, Debug)]
struct Http;

impl HttpClient for Http {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        // Where there is no metadata server, the chain finds out by this time.
        let connect = settings.connect_timeout().unwrap_or(CONNECT).min(CONNECT);
        SharedHttpConnector::new(Connector(connect))
    }
}

/// Connects within this time.
#[derive(Debug)]
struct Connector(Duration);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let connect = self.0;
        HttpConnectorFuture::new(async move {
            exchange(connect, request).await.map_err(|reason| ConnectorError::io(reason.into()))
        })
    }
}

async fn exchange(connect: Duration, request: HttpRequest) -> Result<HttpResponse, String> {
    let method = reqwest::Method::from_bytes(request.method().as_bytes()).map_err(|error| error.to_string())?;
    let url = http::url(request.uri())?;
    let mut asked = http::client(&url, None, Some(connect))?.request(method, url.clone());
    for (name, value) in request.headers() {
        asked = asked.header(name, value);
    }
    let body = request.body().bytes().ok_or("the request has a body of unknown length")?;
    let answer = http::send(&url, asked.body(body.to_vec())).await?;
    let status = StatusCode::try_from(answer.status).map_err(|error| error.to_string())?;
    let mut response = HttpResponse::new(status, SdkBody::from(answer.body));
    for (name, value) in answer.headers {
        // One that is not ASCII matters to nobody here.
        drop(response.headers_mut().try_append(name, value));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// 2026-01-02T03:04:05Z, as in the vectors.
    const FROZEN: Duration = Duration::from_secs(1_767_323_045);

    #[test]
    fn tokens_equal_those_of_aws_own_signer() {
        let vectors: Value = serde_json::from_str(include_str!("msk-vectors.json")).unwrap();
        for vector in vectors["vectors"].as_array().unwrap() {
            let text = |name: &str| vector[name].as_str().map(str::to_owned);
            let (key, secret) = (text("access_key").unwrap(), text("secret_key").unwrap());
            let credentials = Credentials::new(key.clone(), secret, text("session_token"), None, "test");
            let token = presigned(&text("region").unwrap(), &credentials, UNIX_EPOCH + FROZEN).unwrap();
            let url = |token: &str| String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(token).unwrap()).unwrap();
            let (ours, agent) =
                url(&token.value).split_once("&User-Agent=").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
            let theirs = url(&text("token").unwrap());
            assert_eq!(ours, theirs.split_once("&User-Agent=").unwrap().0);
            assert!(agent.starts_with("strait%2F"), "{agent}");
            assert_eq!((token.expires_ms, token.principal), (vector["expires_ms"].as_i64().unwrap(), key));
        }
        let soon = UNIX_EPOCH + FROZEN + Duration::from_secs(60);
        let passing = Credentials::new("a", "b", None, Some(soon), "test");
        let token = presigned("eu-west-1", &passing, UNIX_EPOCH + FROZEN).unwrap();
        assert_eq!(token.expires_ms, 1_767_323_105_000, "it ends with the credentials");
    }

    /// "Authenticating Requests: Using Query Parameters" in the API reference of Amazon S3.
    #[test]
    fn the_signature_of_aws_published_example_comes_out() {
        let credentials =
            Credentials::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None, None, "test");
        let request = Request {
            url: "https://examplebucket.s3.amazonaws.com/test.txt".to_owned(),
            service: "s3",
            region: "us-east-1",
            life: Duration::from_secs(86_400),
            body: SignableBody::UnsignedPayload,
        };
        // 2013-05-24T00:00:00Z.
        let url = signed(request, &credentials, UNIX_EPOCH + Duration::from_secs(1_369_353_600)).unwrap();
        assert_eq!(
            url,
            "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }
}
