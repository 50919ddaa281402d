//! The logins of the clients of a cluster, while they live.
//!
//! Every librdkafka client of a process is listed with the [`Access`] of its cluster from its
//! creation to its end. What changes of a login (a renewed token, a rotated password) reaches all
//! of them from here, also those that are created later (decision 39).

mod aws;
mod clients;
mod cloud;
mod file;
mod http;
mod oidc;
mod pem;
mod source;
mod token;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use strait_flow::lock;
use tokio::sync::watch;

pub use clients::{Listed, LiveClient};
pub use oidc::{Oidc, Proof};
pub use pem::{PemFault, PemFiles};
use source::{Source, State};
pub use token::Token;

/// How the clients of a cluster log in by token.
#[derive(Clone, Debug)]
pub enum Login {
    /// An identity provider with OAuth's client credentials.
    Oidc(Oidc),
    /// A file that another program writes.
    TokenFile {
        /// The file.
        path: PathBuf,
        /// SASL extensions.
        extensions: Vec<(String, String)>,
    },
    /// Signed here with AWS credentials, for Amazon MSK's IAM.
    AwsMskIam {
        /// Region of the cluster.
        region: String,
        /// SASL extensions.
        extensions: Vec<(String, String)>,
    },
    /// The metadata server of Google Cloud.
    Gcp {
        /// Another address of it.
        endpoint: Option<String>,
        /// SASL extensions.
        extensions: Vec<(String, String)>,
    },
    /// The metadata server of Azure.
    Azure {
        /// Another address of it.
        endpoint: Option<String>,
        /// The service that the token is for.
        resource: String,
        /// A user-assigned identity.
        client_id: Option<String>,
        /// SASL extensions.
        extensions: Vec<(String, String)>,
    },
}

/// User name and password of a cluster's clients.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `sasl.username`.
    pub user: String,
    /// `sasl.password`.
    pub password: String,
}

/// There is no new token, or a client does not take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenTrouble {
    /// The cause, and what to do.
    pub reason: String,
    /// How long the last token still serves; `None` where there is none that does.
    pub serves: Option<Duration>,
    /// Time until the next try.
    pub again: Duration,
    /// Whether this is news: it begins, the last token has ended, or a minute has passed.
    pub is_news: bool,
}

/// Hears what happens to the login of a cluster. Called from threads of its own; must be quick.
pub trait AccessObserver: Send + Sync {
    /// A secret was fetched or minted: nothing may show it.
    fn secret(&self, value: &str) {
        let _ = value;
    }

    /// A token could not be fetched.
    fn token_failed(&self, cluster: &str, trouble: &TokenTrouble) {
        let _ = (cluster, trouble);
    }

    /// All clients have a new token, which ends at this time (Unix, in milliseconds). `failed` is
    /// how long there was trouble before.
    fn token_renewed(&self, cluster: &str, expires_ms: i64, failed: Option<Duration>) {
        let _ = (cluster, expires_ms, failed);
    }
}

struct Silent;

impl AccessObserver for Silent {}

/// The login of a cluster in this process, and its clients. Clones are the same.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    login: Option<Login>,
    source: Mutex<Option<Source>>,
    changes: AtomicBool,
    /// Certificates and keys that were read from files, by property.
    files: Mutex<BTreeMap<String, String>>,
    /// How often clients were to be made anew.
    client_rolls: AtomicU64,
    /// How often members of groups were.
    member_rolls: AtomicU64,
    /// Signs that the cluster answers.
    answers: AtomicU64,
}

/// The part that the source's thread shares with the clients.
struct Shared {
    cluster: String,
    clients: clients::Clients,
    state: Mutex<State>,
    observer: Mutex<Arc<dyn AccessObserver>>,
    /// Counts new tokens and rotations.
    version: watch::Sender<u64>,
}

impl Default for Access {
    fn default() -> Self {
        Self::new("", None)
    }
}

impl PartialEq for Access {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Access {}

impl Access {
    /// Creates the access to a cluster. Tokens are fetched once a client needs one.
    #[must_use]
    pub fn new(cluster: &str, login: Option<Login>) -> Self {
        let shared = Shared {
            cluster: cluster.to_owned(),
            clients: clients::Clients::default(),
            state: Mutex::default(),
            observer: Mutex::new(Arc::new(Silent)),
            version: watch::Sender::new(0),
        };
        Self(Arc::new(Inner {
            shared: Arc::new(shared),
            login,
            source: Mutex::default(),
            changes: AtomicBool::new(false),
            files: Mutex::default(),
            client_rolls: AtomicU64::new(0),
            member_rolls: AtomicU64::new(0),
            answers: AtomicU64::new(0),
        }))
    }

    /// Sets who hears what happens from now on.
    pub fn observe(&self, observer: Arc<dyn AccessObserver>) {
        *lock(&self.0.shared.observer) = observer;
    }

    /// Lists a client for as long as the returned value lives, and gives it the login of now.
    pub fn list(&self, client: Box<dyn LiveClient>) -> Listed {
        self.start_source();
        let id = self.0.shared.clients.add(client);
        Listed::new(self.clone(), id)
    }

    /// Returns the number of clients.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.0.shared.clients.len()
    }

    /// Returns user name and password, where they were rotated since the start.
    #[must_use]
    pub fn credentials(&self) -> Option<Credentials> {
        self.0.shared.clients.credentials()
    }

    /// Gives all clients another user name and password, for their next logins. Returns the number
    /// of clients.
    ///
    /// # Errors
    /// The reason why a client does not take them.
    pub fn rotate(&self, credentials: Credentials) -> Result<usize, String> {
        let count = self.0.shared.clients.set_credentials(credentials)?;
        self.0.shared.version.send_modify(|version| *version += 1);
        Ok(count)
    }

    /// Returns whether a login that is refused now may be taken later without a restart.
    #[must_use]
    pub fn may_change(&self) -> bool {
        self.0.login.is_some() || self.0.changes.load(Ordering::Relaxed)
    }

    /// Says that somebody watches for another user name or password.
    pub fn expect_changes(&self) {
        self.0.changes.store(true, Ordering::Relaxed);
    }

    /// Returns an access with the present token and no clients, to try something.
    #[must_use]
    pub fn fresh(&self) -> Self {
        let fresh = Self::new(&self.0.shared.cluster, None);
        if let Some(token) = self.0.shared.clients.token() {
            // There is no client yet that could refuse it.
            drop(fresh.0.shared.clients.set_token(token));
        }
        fresh
    }

    /// Sets certificates and keys (`ssl.ca.pem` and others) for the clients that are made from now
    /// on. They take the place of the files' names.
    pub fn set_files(&self, files: BTreeMap<String, String>) {
        *lock(&self.0.files) = files;
    }

    /// Returns the certificates and keys that were read from files.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, String> {
        lock(&self.0.files).clone()
    }

    /// Has the clients for requests made anew when they are used next.
    pub fn roll_clients(&self) {
        self.0.client_rolls.fetch_add(1, Ordering::Release);
    }

    /// Has the members of groups made anew.
    pub fn roll_members(&self) {
        self.0.member_rolls.fetch_add(1, Ordering::Release);
    }

    /// Returns a counter of [`Access::roll_clients`].
    #[must_use]
    pub fn client_rolls(&self) -> u64 {
        self.0.client_rolls.load(Ordering::Acquire)
    }

    /// Returns a counter of [`Access::roll_members`].
    #[must_use]
    pub fn member_rolls(&self) -> u64 {
        self.0.member_rolls.load(Ordering::Acquire)
    }

    /// Records that the cluster has answered one of the clients.
    pub fn answered(&self) {
        self.0.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns a counter of [`Access::answered`].
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.0.answers.load(Ordering::Relaxed)
    }

    /// Asks the identity provider for a token with another client secret, and uses that from then
    /// on.
    ///
    /// # Errors
    /// Why there is no token for it. The one before stays in use.
    pub async fn change_client_secret(&self, secret: &str) -> Result<(), String> {
        let Some(Login::Oidc(oidc)) = &self.0.login else {
            return Err("the cluster has no client secret".to_owned());
        };
        let Proof::Secret(in_use) = &oidc.proof else { return Err("the cluster has no client secret".to_owned()) };
        let tried = Oidc { proof: Proof::Secret(Arc::new(Mutex::new(secret.to_owned()))), ..oidc.clone() };
        let token = tried.fetch().await?;
        secret.clone_into(&mut lock(in_use));
        self.0.shared.take(token).map(drop)
    }

    /// Returns a counter of new tokens and passwords: a refused login may be retried.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.shared.version.subscribe()
    }

    /// Waits until there is a token, where the cluster needs one. Blocks.
    ///
    /// # Errors
    /// Why there is none.
    pub fn wait_token(&self, patience: Duration) -> Result<(), String> {
        if self.0.login.is_none() {
            return Ok(());
        }
        self.start_source();
        let (until, mut pause) = (Instant::now() + patience, Duration::from_millis(5));
        loop {
            let (valid, trouble) = {
                let state = lock(&self.0.shared.state);
                (state.serves(token::now_ms()).is_some(), state.trouble())
            };
            if valid {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(trouble.unwrap_or_else(|| format!("no answer within {} s", patience.as_secs())));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    fn start_source(&self) {
        let Some(login) = &self.0.login else { return };
        let mut source = lock(&self.0.source);
        if source.is_none() {
            *source = Source::start(&self.0.shared, login.clone());
        }
    }
}

impl Shared {
    fn observer(&self) -> Arc<dyn AccessObserver> {
        Arc::clone(&lock(&self.observer))
    }
}
