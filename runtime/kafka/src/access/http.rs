//! HTTP requests for tokens: bounded in time and size, without redirects.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, RequestBuilder, Url};
use serde_json::Value;
use strait_core::text::clean;

/// How long a request may take, from the connection to the end of its answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer.
const BYTES_MAX: usize = 64 << 10;
/// Length of what an error shows of an answer.
const SHOWN_MAX: usize = 200;

/// An answer.
pub(super) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Metadata servers by name. Their addresses are local to the machine.
const METADATA: [&str; 2] = ["metadata.google.internal", "[fd00:ec2::254]"];

/// Returns whether an address is asked without the proxy of the environment. It would read what is
/// not encrypted, and no proxy knows the metadata server of this machine.
fn is_direct(url: &Url) -> bool {
    let is_metadata = |host: &str| host.starts_with("169.254.") || METADATA.contains(&host);
    url.scheme() != "https" || url.host_str().is_some_and(is_metadata)
}

/// Returns a client for an address that trusts the authorities of a PEM file, or those of the
/// system. `connect` is how long a connection may take, if that is less than the request.
pub(super) fn client(url: &Url, ca: Option<&Path>, connect: Option<Duration>) -> Result<Client, String> {
    // A redirect could lead the secret elsewhere, and to a plain connection.
    let mut builder = Client::builder().redirect(Policy::none()).timeout(TIMEOUT).pool_max_idle_per_host(0);
    if is_direct(url) {
        builder = builder.no_proxy();
    }
    if let Some(connect) = connect {
        builder = builder.connect_timeout(connect);
    }
    if let Some(path) = ca {
        let bad = |error: &dyn std::fmt::Display| format!("ca {}: {error}", path.display());
        let pem = std::fs::read(path).map_err(|error| bad(&error))?;
        let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| bad(&innermost(&error)))?;
        if certificates.is_empty() {
            return Err(bad(&"there is no certificate in it"));
        }
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().map_err(|error| format!("the HTTPS client does not start: {}", innermost(&error)))
}

/// Reads an address.
pub(super) fn url(text: &str) -> Result<Url, String> {
    Url::parse(text).map_err(|error| format!("not an address of HTTP: {error}"))
}

/// Sends a request and reads the answer. The errors name the host, and nothing of the request.
pub(super) async fn send(url: &Url, request: RequestBuilder) -> Result<Answer, String> {
    let host = host(url);
    let failed = |error: &reqwest::Error| {
        if error.is_timeout() {
            return format!("{host} did not answer within {} s", TIMEOUT.as_secs());
        }
        format!("{host} cannot be asked: {}", innermost(error))
    };
    let mut response = request.send().await.map_err(|error| failed(&error))?;
    let status = response.status().as_u16();
    let text = |(name, value): (&HeaderName, &HeaderValue)| Some((name.to_string(), value.to_str().ok()?.to_owned()));
    let headers = response.headers().iter().filter_map(text).collect();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
        if body.len() + chunk.len() > BYTES_MAX {
            return Err(format!("{host} answers with more than {BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, headers, body })
}

/// Sends a request and returns the JSON object that it is answered with.
pub(super) async fn send_for_json(url: &Url, request: RequestBuilder) -> Result<Value, String> {
    let Answer { status, body, .. } = send(url, request).await?;
    let parsed = serde_json::from_slice::<Value>(&body).ok().filter(Value::is_object);
    match parsed {
        Some(object) if status == 200 => Ok(object),
        Some(object) => Err(format!("{} answers {status}{}", host(url), reason(&object))),
        None if (300..400).contains(&status) => {
            Err(format!("{} answers {status}: redirects are not followed", host(url)))
        }
        None => Err(format!("{} answers {status}, and not with JSON", host(url))),
    }
}

/// Returns what an error answer says (RFC 6749, 5.2; AWS and the metadata servers alike).
fn reason(answer: &Value) -> String {
    let text = |name: &str| answer.get(name).and_then(Value::as_str);
    let (error, why) = (text("error"), text("error_description").or_else(|| text("message")));
    let parts: Vec<&str> = error.into_iter().chain(why).collect();
    if parts.is_empty() { String::new() } else { format!(": {}", clean(&parts.join(": "), SHOWN_MAX)) }
}

fn host(url: &Url) -> String {
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}{port}", url.host_str().unwrap_or_default())
}

/// Returns the text of the first cause. Those around it repeat the address.
fn innermost(error: &reqwest::Error) -> String {
    // Its own text has the address, which may have a secret in it.
    let mut text = "the request failed".to_owned();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    clean(&text, SHOWN_MAX)
}

/// Returns a form of names and values (`application/x-www-form-urlencoded`).
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let mut url = String::new();
    for (name, value) in fields {
        if !url.is_empty() {
            url.push('&');
        }
        url.push_str(&encoded(name));
        url.push('=');
        url.push_str(&encoded(value));
    }
    url
}

/// Percent-encodes all but the unreserved characters.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn forms_are_encoded_and_errors_say_what_the_answer_says() {
        assert_eq!(form(&[("scope", "a b"), ("x", "é&=+~")]), "scope=a%20b&x=%C3%A9%26%3D%2B~");
        let answer = serde_json::json!({ "error": "invalid_client", "error_description": "no\nsuch client" });
        // On one line.
        assert_eq!(reason(&answer), r": invalid_client: no\nsuch client");
        assert_eq!(reason(&serde_json::json!({})), "");
    }

    const IN_CHILD: &str = "STRAIT_TEST_BEHIND_A_PROXY";

    /// In a process of its own, whose environment names the proxy.
    #[test]
    fn a_proxy_sees_no_request_that_it_could_read() {
        if std::env::var_os(IN_CHILD).is_some() {
            return ask_behind_a_proxy();
        }
        let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", proxy.local_addr().unwrap());
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "access::http::tests::a_proxy_sees_no_request_that_it_could_read"]);
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            child.env(name, &address).env(name.to_lowercase(), &address);
        }
        let child = child.env_remove("NO_PROXY").env_remove("no_proxy").env(IN_CHILD, "1");
        let seen = std::thread::spawn(move || first_line(&proxy));
        let output = child.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        // The first that comes, so that no other came before it.
        assert_eq!(seen.join().unwrap(), "CONNECT tokens.example:443 HTTP/1.1");
    }

    /// Returns the first line of the next connection, which is closed then.
    fn first_line(listener: &TcpListener) -> String {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        let length = stream.read(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").unwrap();
        text.lines().next().unwrap_or_default().to_owned()
    }

    fn ask_behind_a_proxy() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ask = |address: &str| {
            let url = url(address).unwrap();
            let request = client(&url, None, None).unwrap().post(url.clone()).body("client_secret=hunter2");
            runtime.block_on(send_for_json(&url, request))
        };
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/token", server.local_addr().unwrap());
        let seen = std::thread::spawn(move || first_line(&server));
        ask(&address).unwrap();
        assert_eq!(seen.join().unwrap(), "POST /token HTTP/1.1");
        assert!(ask("https://tokens.example/token").is_err(), "the proxy is none");
        for direct in ["http://tokens.example", "https://169.254.169.254", "http://metadata.google.internal"] {
            assert!(is_direct(&url(direct).unwrap()), "{direct}");
        }
    }
}
