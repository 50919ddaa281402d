//! Tokens of the metadata servers of Google Cloud and Azure.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use strait_core::text::clean;

use super::oidc::token_of;
use super::token::now_ms;
use super::{Token, http};

const GOOGLE: &str = "http://metadata.google.internal";
const AZURE: &str = "http://169.254.169.254";

/// Returns a token of the default service account of a machine in Google Cloud, as Google's Kafka
/// takes it: no JWT, but written like one, with the access token in the place of the signature.
pub(super) async fn google(endpoint: Option<&str>, extensions: &[(String, String)]) -> Result<Token, String> {
    let account = format!("{}/computeMetadata/v1/instance/service-accounts/default", base(endpoint, GOOGLE));
    let ask = |name: &str| -> Result<_, String> {
        let url = http::url(&format!("{account}/{name}"))?;
        Ok((url.clone(), http::client(&url, None, None)?.get(url).header("metadata-flavor", "Google")))
    };
    let asked_ms = now_ms();
    let (url, request) = ask("token")?;
    let answer = http::send_for_json(&url, request).await?;
    let (url, request) = ask("email")?;
    let email = http::send(&url, request).await?;
    let text = String::from_utf8_lossy(&email.body).trim().to_owned();
    if email.status != 200 || !text.contains('@') {
        return Err(format!("the metadata server answers {} about the service account", email.status));
    }
    let access = token_of(&answer, &text, extensions, asked_ms)?;
    Ok(google_token(access, clean(&text, 200), asked_ms))
}

/// Wraps an access token.
fn google_token(access: Token, account: String, asked_ms: i64) -> Token {
    let header = json!({ "typ": "JWT", "alg": "GOOG_OAUTH2_TOKEN" });
    let claims = json!({
        "exp": access.expires_ms / 1000, "iss": "Google", "iat": asked_ms / 1000, "scope": "kafka", "sub": account,
    });
    let parts = [header.to_string(), claims.to_string(), access.value].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
    Token { value: parts.join("."), principal: account, ..access }
}

/// Returns a token of the managed identity of a machine in Azure.
pub(super) async fn azure(
    endpoint: Option<&str>,
    resource: &str,
    client_id: Option<&str>,
    extensions: &[(String, String)],
) -> Result<Token, String> {
    let mut fields = vec![("api-version", "2018-02-01"), ("resource", resource)];
    fields.extend(client_id.map(|id| ("client_id", id)));
    let url = format!("{}/metadata/identity/oauth2/token?{}", base(endpoint, AZURE), http::form(&fields));
    let url = http::url(&url)?;
    let asked_ms = now_ms();
    let request = http::client(&url, None, None)?.get(url.clone()).header("metadata", "true");
    let answer = http::send_for_json(&url, request).await?;
    token_of(&answer, "azure", extensions, asked_ms)
}

fn base<'a>(endpoint: Option<&'a str>, default: &'a str) -> &'a str {
    endpoint.unwrap_or(default).trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;
    use serde_json::Value;

    /// Answers requests in turn with these bodies. Returns the address, and the requests.
    fn serve(bodies: Vec<String>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let mut requests = Vec::new();
            for body in bodies {
                let (mut stream, _) = listener.accept().unwrap();
                let mut buffer = [0; 4096];
                let length = stream.read(&mut buffer).unwrap();
                requests.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
                let length = body.len();
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
                    .unwrap();
            }
            requests
        });
        (address, thread)
    }

    #[tokio::test]
    async fn metadata_servers_are_asked_as_their_clouds_document() {
        let token = r#"{"access_token":"ya29.secret","expires_in":3599,"token_type":"Bearer"}"#;
        let (address, thread) = serve(vec![token.to_owned(), "me@project.iam.gserviceaccount.com".to_owned()]);
        let google = google(Some(&address), &[]).await.unwrap();
        let requests = thread.join().unwrap();
        for (request, name) in requests.iter().zip(["token", "email"]) {
            let line = format!("GET /computeMetadata/v1/instance/service-accounts/default/{name} HTTP/1.1\r\n");
            assert!(request.starts_with(&line) && request.contains("metadata-flavor: Google"), "{request}");
        }
        let parts: Vec<Vec<u8>> =
            google.value.split('.').map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
        let json = |part: &[u8]| serde_json::from_slice::<Value>(part).unwrap();
        assert_eq!(json(&parts[0]), json!({ "typ": "JWT", "alg": "GOOG_OAUTH2_TOKEN" }));
        assert_eq!(json(&parts[1])["sub"], "me@project.iam.gserviceaccount.com");
        assert_eq!((parts[2].as_slice(), json(&parts[1])["scope"].as_str()), (&b"ya29.secret"[..], Some("kafka")));

        let (address, thread) = serve(vec![r#"{"access_token":"e30.e30.x","expires_in":"86399"}"#.to_owned()]);
        let azure = azure(Some(&address), "https://ns.servicebus.windows.net", Some("id"), &[]).await.unwrap();
        let request = thread.join().unwrap().remove(0);
        let line = "GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=\
                    https%3A%2F%2Fns.servicebus.windows.net&client_id=id HTTP/1.1\r\n";
        assert!(request.starts_with(line) && request.contains("metadata: true"), "{request}");
        assert!(azure.value == "e30.e30.x" && azure.expires_ms > now_ms() + 86_000_000);
    }
}
