use std::path::PathBuf;
use std::time::Duration;

/// A user of the SASL listener.
#[derive(Debug, Clone)]
pub struct User {
    /// Name, without the `User:` of Kafka's principals.
    pub name: String,
    /// Password, for PLAIN and SCRAM alike.
    pub password: String,
}

/// How clients reach the brokers. The brokers' internal listener stays plaintext and unproxied; it
/// is the way in for tests that set up topics, users and ACLs.
#[derive(Debug, Clone, Default)]
pub enum Security {
    /// Plaintext, everyone may do everything.
    #[default]
    Plaintext,
    /// `SASL_PLAINTEXT` with the mechanisms PLAIN and SCRAM-SHA-512 for the same users.
    Sasl {
        /// Who may log in.
        users: Vec<User>,
        /// With Kafka's `StandardAuthorizer`: whatever no ACL allows is denied. The super users are
        /// `User:admin` and whoever comes in by the internal listener.
        acls: bool,
    },
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
    /// Lines of server.properties that are added to, or replace, the defaults.
    pub extra_properties: Vec<(String, String)>,
    /// Features to fix when the storage is formatted, e.g. `("transaction.version", "1")`.
    pub features: Vec<(String, String)>,
    /// Puts a [`crate::Proxy`] in front of every broker; clients see only the proxies.
    pub per_broker_proxy: bool,
    /// The client listener's security.
    pub security: Security,
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
            extra_properties: Vec::new(),
            features: Vec::new(),
            per_broker_proxy: false,
            security: Security::Plaintext,
            base_dir: None,
            ready_deadline: Duration::from_secs(120),
        }
    }

    /// Sets the number of brokers.
    #[must_use]
    pub fn with_brokers(mut self, brokers: usize) -> Self {
        self.brokers = brokers;
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
