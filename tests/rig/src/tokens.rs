use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openssl::base64::{decode_block, encode_block};
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::Private;
use openssl::sha::sha256;
use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod};

use crate::{Certificates, ClusterError};

/// The audience of every token; brokers expect it.
pub(crate) const AUDIENCE: &str = "strait-test";
const PATIENCE: Duration = Duration::from_secs(5);
const REQUEST_MAX: usize = 16 << 10;

/// How a [`TokenServer`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answering {
    /// With a token.
    Tokens,
    /// Not at all: connections are closed.
    Down,
    /// With a token, after this time.
    Slow(Duration),
    /// With this status, and this text.
    Status(u16, String),
}

/// An identity provider for tests: OAuth's client credentials over HTTPS, tokens signed with ES256.
/// Dropping it ends it.
#[derive(Debug)]
pub struct TokenServer {
    shared: Arc<Shared>,
    certificates: Certificates,
    jwks: PathBuf,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    asked: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    answering: Answering,
    life: Duration,
    client: (String, String),
    /// The keys that are published, the oldest first.
    keys: Vec<Key>,
    /// Whether the newest one signs; else the one before.
    newest_signs: bool,
}

/// A key that signs tokens.
#[derive(Debug, Clone)]
struct Key {
    number: u32,
    key: EcKey<Private>,
}

impl Key {
    fn make(number: u32) -> Result<Self, ErrorStack> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        Ok(Self { number, key: EcKey::generate(&group)? })
    }
}

impl TokenServer {
    /// Starts one that keeps its keys and certificates in this folder, for a client with this id
    /// and secret. The id is the principal of its tokens.
    ///
    /// # Errors
    /// [`ClusterError::Certificates`], or [`ClusterError::Io`].
    pub fn start(folder: &Path, client: &str, secret: &str) -> Result<Self, ClusterError> {
        let certificates = Certificates::make(folder)?;
        let failed = |error: &dyn std::fmt::Display| ClusterError::Certificates { error: error.to_string() };
        let keys = vec![Key::make(1).map_err(|error| failed(&error))?];
        let jwks = folder.join("jwks.json");
        publish(&jwks, &keys)?;
        let acceptor = acceptor(&certificates).map_err(|error| failed(&error))?;
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(ClusterError::io("binding the token server"))?;
        let address = listener.local_addr().map_err(ClusterError::io("binding the token server"))?;
        let client = (client.to_owned(), secret.to_owned());
        let life = Duration::from_secs(3600);
        let state = State { answering: Answering::Tokens, life, client, keys, newest_signs: true };
        let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
        let shared = Arc::new(Shared { stop, asked, state: Mutex::new(state) });
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.stop.load(Ordering::Acquire) {
                    return;
                }
                // A client that breaks off is its own matter.
                drop(stream.and_then(|stream| serving.answer(&acceptor, stream)));
            }
        });
        Ok(Self { shared, certificates, jwks, address, thread: Some(thread) })
    }

    /// The token endpoint.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}/token", self.address)
    }

    /// The authority that its certificate is of.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.certificates.ca()
    }

    /// The public keys of its tokens, for brokers ([`crate::ClusterSpec::token_keys`]).
    #[must_use]
    pub fn keys(&self) -> &Path {
        &self.jwks
    }

    /// Sets how it answers from now on.
    pub fn answer_with(&self, answering: Answering) {
        self.state(|state| state.answering = answering);
    }

    /// Sets the life of the tokens from now on; an hour at first.
    pub fn set_life(&self, life: Duration) {
        self.state(|state| state.life = life);
    }

    /// Sets the client's secret from now on.
    pub fn set_secret(&self, secret: &str) {
        self.state(|state| secret.clone_into(&mut state.client.1));
    }

    /// Publishes another key, with which [`TokenServer::sign_with_new_key`] will sign: brokers must
    /// know it before.
    ///
    /// # Errors
    /// [`ClusterError::Certificates`], or [`ClusterError::Io`].
    pub fn publish_new_key(&self) -> Result<(), ClusterError> {
        let failed = |error: ErrorStack| ClusterError::Certificates { error: error.to_string() };
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let number = state.keys.last().map_or(0, |newest| newest.number) + 1;
        state.keys.push(Key::make(number).map_err(failed)?);
        state.newest_signs = false;
        publish(&self.jwks, &state.keys)
    }

    /// Signs with the newest key from now on.
    pub fn sign_with_new_key(&self) {
        self.state(|state| state.newest_signs = true);
    }

    /// Publishes the newest key alone: no broker takes tokens of the keys before.
    ///
    /// # Errors
    /// [`ClusterError::Io`].
    pub fn withdraw_old_keys(&self) -> Result<(), ClusterError> {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let old = state.keys.len().saturating_sub(1);
        state.keys.drain(..old);
        state.newest_signs = true;
        publish(&self.jwks, &state.keys)
    }

    /// How often it was asked for a token, whatever it answered.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::Acquire)
    }

    fn state(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Wakes the thread.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn answer(&self, acceptor: &SslAcceptor, stream: TcpStream) -> io::Result<()> {
        self.asked.fetch_add(1, Ordering::AcqRel);
        let (answering, life, client, key) = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let behind = usize::from(!state.newest_signs);
            let key = state.keys.iter().rev().nth(behind).cloned();
            (state.answering.clone(), state.life, state.client.clone(), key)
        };
        let key = key.ok_or_else(|| io::Error::other("there is no key"))?;
        if answering == Answering::Down {
            return Ok(());
        }
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut stream = acceptor.accept(stream).map_err(io::Error::other)?;
        let request = read_request(&mut stream)?;
        if let Answering::Slow(wait) = answering {
            std::thread::sleep(wait);
        }
        let (status, body) = match answering {
            Answering::Status(status, text) => (status, text),
            _ if !is_of(&request, &client) => {
                (401, r#"{"error":"invalid_client","error_description":"unknown client or wrong secret"}"#.to_owned())
            }
            _ if !request.contains("grant_type=client_credentials") => {
                (400, r#"{"error":"unsupported_grant_type"}"#.to_owned())
            }
            _ => {
                let token = token(&key, &client.0, life).map_err(io::Error::other)?;
                let life = life.as_secs();
                (200, format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{life}}}"#))
            }
        };
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status} Answer\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n{body}"
        )?;
        stream.flush()?;
        drop(stream.shutdown());
        Ok(())
    }
}

fn acceptor(certificates: &Certificates) -> Result<SslAcceptor, ErrorStack> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    builder.set_private_key_file(certificates.broker(), SslFiletype::PEM)?;
    builder.set_certificate_file(certificates.broker(), SslFiletype::PEM)?;
    Ok(builder.build())
}

/// Reads head and body of a request.
fn read_request(stream: &mut impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = header(head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                return Ok(text.into_owned());
            }
        }
        let read = stream.read(&mut buffer)?;
        if read == 0 || bytes.len() > REQUEST_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        bytes.extend_from_slice(buffer.get(..read).unwrap_or_default());
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let of = |line: &'a str| line.split_once(':').filter(|(found, _)| found.eq_ignore_ascii_case(name));
    head.lines().find_map(of).map(|(_, value)| value.trim())
}

/// Reports whether a request has the id and the secret of the client.
fn is_of(request: &str, (id, secret): &(String, String)) -> bool {
    let given = header(request, "authorization").and_then(|value| value.strip_prefix("Basic "));
    let given = given.and_then(|text| decode_block(text).ok());
    given.is_some_and(|given| given == format!("{}:{}", encoded(id), encoded(secret)).into_bytes())
}

/// Encodes as OAuth has it for the two (RFC 6749, 2.3.1).
fn encoded(text: &str) -> String {
    let of = |byte: u8| {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if is_plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(of).collect()
}

fn token(key: &Key, subject: &str, life: Duration) -> Result<String, ErrorStack> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let header = format!(r#"{{"alg":"ES256","typ":"JWT","kid":"key-{}"}}"#, key.number);
    let claims = format!(
        r#"{{"iss":"strait-test-idp","sub":"{subject}","aud":"{AUDIENCE}","iat":{now},"exp":{}}}"#,
        now + life.as_secs()
    );
    let signed = format!("{}.{}", url_safe(header.as_bytes()), url_safe(claims.as_bytes()));
    let signature = EcdsaSig::sign(&sha256(signed.as_bytes()), &key.key)?;
    let parts = [signature.r().to_vec_padded(32)?, signature.s().to_vec_padded(32)?].concat();
    Ok(format!("{signed}.{}", url_safe(&parts)))
}

/// Writes the public keys as a JWK set. Brokers read the file while it changes.
fn publish(path: &Path, keys: &[Key]) -> Result<(), ClusterError> {
    let keys: Result<Vec<String>, ErrorStack> = keys.iter().map(public).collect();
    let keys = keys.map_err(|error| ClusterError::Certificates { error: error.to_string() })?.join(",");
    let (new, failed) = (path.with_extension("new"), || ClusterError::io(format!("writing {}", path.display())));
    fs::write(&new, format!("{{\"keys\":[{keys}]}}")).map_err(failed())?;
    fs::rename(&new, path).map_err(failed())
}

fn public(Key { number, key }: &Key) -> Result<String, ErrorStack> {
    let (mut x, mut y, mut context) = (BigNum::new()?, BigNum::new()?, BigNumContext::new()?);
    key.public_key().affine_coordinates(key.group(), &mut x, &mut y, &mut context)?;
    let (x, y) = (url_safe(&x.to_vec_padded(32)?), url_safe(&y.to_vec_padded(32)?));
    Ok(format!(r#"{{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"key-{number}","x":"{x}","y":"{y}"}}"#))
}

fn url_safe(bytes: &[u8]) -> String {
    encode_block(bytes).replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned()
}
