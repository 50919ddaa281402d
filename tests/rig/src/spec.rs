use std::path::PathBuf;
use std::time::Duration;

/// A user of the listeners with SASL.
#[derive(Debug, Clone)]
pub struct User {
    /// Name, without the `User:` of Kafka's principals.
    pub name: String,
    /// Password, for PLAIN and SCRAM alike.
    pub password: String,
}

/// A way for clients to reach the brokers. Beside these, the brokers' internal listener stays
/// plaintext and unproxied; it is the way in for tests that set up topics, users and ACLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// `PLAINTEXT`.
    Plaintext,
    /// `SASL_PLAINTEXT` with the mechanisms PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512.
    Sasl,
    /// `SSL`; clients have no certificate.
    Tls,
    /// `SSL`; clients need a certificate of the cluster's authority.
    MutualTls,
    /// `SASL_SSL` with the mechanisms of [`Listener::Sasl`].
    SaslTls,
    /// `SASL_SSL` with the mechanism OAUTHBEARER; needs [`ClusterSpec::token_keys`], or a class of
    /// [`ClusterSpec::class_path`] that judges tokens.
    OAuth,
}

impl Listener {
    /// The listener's name in server.properties.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAIN",
            Self::Sasl => "SASL",
            Self::Tls => "TLS",
            Self::MutualTls => "MUTUAL",
            Self::SaslTls => "SASLTLS",
            Self::OAuth => "OAUTH",
        }
    }

    /// The value of clients' `security.protocol`.
    #[must_use]
    pub fn protocol(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Sasl => "SASL_PLAINTEXT",
            Self::Tls | Self::MutualTls => "SSL",
            Self::SaslTls | Self::OAuth => "SASL_SSL",
        }
    }

    pub(crate) fn has_tls(self) -> bool {
        matches!(self, Self::Tls | Self::MutualTls | Self::SaslTls | Self::OAuth)
    }

    pub(crate) fn has_sasl(self) -> bool {
        matches!(self, Self::Sasl | Self::SaslTls)
    }
}

/// The cluster to start.
#[derive(Debug, Clone)]
pub struct ClusterSpec {
    /// Name for folders, logs and errors.
    pub name: String,
    /// 1 to 3 brokers, each broker and controller at once; a cluster of three survives the loss of
    /// one.
    pub brokers: usize,
    /// Heap of each broker, MiB.
    pub heap_mb: u32,
    /// The JVM flags a production broker has (G1), instead of those that start fastest.
    pub production_jvm: bool,
    /// JVM flags of the brokers, after the defaults.
    pub extra_jvm: Vec<String>,
    /// Folders and jars on the brokers' class path, behind Kafka's own.
    pub class_path: Vec<PathBuf>,
    /// Lines of server.properties that are added to, or replace, the defaults.
    pub extra_properties: Vec<(String, String)>,
    /// Features to fix when the storage is formatted, e.g. `("transaction.version", "1")`.
    pub features: Vec<(String, String)>,
    /// Puts a [`crate::Proxy`] in front of every listener of every broker; clients see only the
    /// proxies.
    pub per_broker_proxy: bool,
    /// The ways in for clients, each at most once. The first one is that of
    /// [`crate::Cluster::bootstrap`].
    pub listeners: Vec<Listener>,
    /// Who may log in at the listeners with SASL.
    pub users: Vec<User>,
    /// Public keys of the tokens that [`Listener::OAuth`] takes ([`crate::TokenServer::keys`]).
    pub token_keys: Option<PathBuf>,
    /// With Kafka's `StandardAuthorizer`: whatever no ACL allows is denied. The super users are
    /// `User:admin` and whoever comes in by a listener that asks nobody who they are.
    pub acls: bool,
    /// Parent of the cluster's folder; the system's temporary folder if not given.
    pub base_dir: Option<PathBuf>,
    /// Deadline of a start, or of a broker's restart.
    pub ready_deadline: Duration,
}

impl ClusterSpec {
    /// One plaintext broker with test settings.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            brokers: 1,
            heap_mb: 384,
            production_jvm: false,
            extra_jvm: Vec::new(),
            class_path: Vec::new(),
            extra_properties: Vec::new(),
            features: Vec::new(),
            per_broker_proxy: false,
            listeners: vec![Listener::Plaintext],
            users: Vec::new(),
            token_keys: None,
            acls: false,
            base_dir: None,
            ready_deadline: Duration::from_secs(240),
        }
    }

    /// Sets the number of brokers.
    #[must_use]
    pub fn with_brokers(mut self, brokers: usize) -> Self {
        self.brokers = brokers;
        self
    }

    /// Sets the ways in for clients.
    #[must_use]
    pub fn with_listeners(mut self, listeners: &[Listener]) -> Self {
        self.listeners = listeners.to_vec();
        self
    }

    /// Puts a proxy in front of every broker.
    #[must_use]
    pub fn with_proxies(mut self) -> Self {
        self.per_broker_proxy = true;
        self
    }

    /// Adds a line of server.properties.
    #[must_use]
    pub fn with_property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.extra_properties.push((key.into(), value.into()));
        self
    }
}
