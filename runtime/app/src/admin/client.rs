//! The client of the admin API: one request, one answer, bounded in time and size.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;

/// How long connecting to this machine may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Largest answer, in bytes. Thousands of topics fit.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The text is not the address of an admin API.
    #[error("'{0}' is not the address of an admin API: write http://127.0.0.1:9610")]
    BadAddress(String),
    /// Nothing listens at the address.
    #[error(
        "nothing listens on {address}: {error}; is strait run running there? Its log says where its admin API listens; name it with --admin URL, or with -c the configuration that it runs"
    )]
    Unreachable {
        /// The address.
        address: String,
        /// The system's error.
        error: std::io::Error,
    },
    /// Something else listens there.
    #[error("{address} does not answer as an admin API: {reason}")]
    Broken {
        /// The address.
        address: String,
        /// The fault of the answer.
        reason: String,
    },
    /// The process refuses the request.
    #[error("{reason}")]
    Refused {
        /// HTTP status code.
        status: u16,
        /// The reason that the process gives.
        reason: String,
    },
}

/// A client of one admin API.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
}

impl Client {
    /// Creates a client of the API at this address.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Creates a client of the API at `http://HOST:PORT`. The port may be left out.
    ///
    /// # Errors
    /// [`ClientError::BadAddress`].
    pub fn new(url: &str) -> Result<Self, ClientError> {
        let bad = || ClientError::BadAddress(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let plain = uri.scheme_str().is_none_or(|scheme| scheme == "http") && matches!(uri.path(), "" | "/");
        let host = uri.host().filter(|_| plain && uri.query().is_none()).ok_or_else(bad)?;
        let host = if host.eq_ignore_ascii_case("localhost") { "127.0.0.1" } else { host };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = uri.port_u16().unwrap_or(strait_core::config::admin::PORT_DEFAULT);
        Ok(Self { address: SocketAddr::new(bare.parse().map_err(|_| bad())?, port) })
    }

    /// Sends a `GET` of a path.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn get(&self, path: &str, patience: Duration) -> Result<Value, ClientError> {
        self.ask(Method::GET, path, None, patience)
    }

    /// Sends a `POST` of a path with a body.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn post(&self, path: &str, body: &Value, patience: Duration) -> Result<Value, ClientError> {
        self.ask(Method::POST, path, Some(body), patience)
    }

    fn ask(&self, method: Method, path: &str, body: Option<&Value>, patience: Duration) -> Result<Value, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| self.broken(error.to_string()))?;
        let answer = runtime.block_on(async {
            let asked = tokio::time::timeout(patience, self.send(method, path, body)).await;
            asked.map_err(|_| self.broken(format!("no answer within {} s", patience.as_secs())))?
        });
        let (status, bytes) = answer?;
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|_| self.broken(format!("status {} with something that is not JSON", status.as_u16())))?;
        if status.is_success() {
            return Ok(value);
        }
        let reason = value.get("error").and_then(Value::as_str).unwrap_or("it does not say why").to_owned();
        Err(ClientError::Refused { status: status.as_u16(), reason })
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Bytes), ClientError> {
        let connecting = tokio::net::TcpStream::connect(self.address);
        let stream = match tokio::time::timeout(CONNECT, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.unreachable(error)),
            Err(_) => return Err(self.unreachable(std::io::ErrorKind::TimedOut.into())),
        };
        let broken = |error: &dyn std::fmt::Display| self.broken(error.to_string());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
        let mut request = Request::builder().method(method).uri(path).header("host", self.address.to_string());
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(body))).map_err(|e| broken(&e))?;
        let answered = async {
            let answer = sender.send_request(request).await.map_err(|e| broken(&e))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|e| broken(&e))?;
            Ok((status, body.to_bytes()))
        };
        tokio::pin!(answered, connection);
        tokio::select! { biased;
            answer = &mut answered => answer,
            // The connection may close before its last bytes are read.
            closed = &mut connection => match closed {
                Ok(()) => answered.await,
                Err(error) => Err(broken(&error)),
            },
        }
    }

    fn broken(&self, reason: String) -> ClientError {
        ClientError::Broken { address: self.address.to_string(), reason }
    }

    fn unreachable(&self, error: std::io::Error) -> ClientError {
        ClientError::Unreachable { address: self.address.to_string(), error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_in_a_browser() {
        let of = |url: &str| Client::new(url).map(|client| client.address.to_string()).map_err(|e| e.to_string());
        for (url, address) in [
            ("http://127.0.0.1:1", "127.0.0.1:1"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("http://localhost/", "127.0.0.1:9610"),
            ("http://[::1]:7", "[::1]:7"),
        ] {
            assert_eq!(of(url).as_deref(), Ok(address), "{url}");
        }
        for url in ["", "https://127.0.0.1:1", "http://127.0.0.1:1/api", "http://example.org", "ftp://127.0.0.1"] {
            assert!(of(url).unwrap_err().contains("is not the address"), "{url}");
        }
    }
}
