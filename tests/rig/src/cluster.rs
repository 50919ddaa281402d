use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, thread};

use rand::RngExt as _;
use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};

use crate::broker::{BrokerSetup, tail_of};
use crate::ports::loopback;
use crate::properties::{self, BrokerPorts, ListenerPorts};
use crate::spec::{ClusterSpec, Listener};
use crate::{Broker, Certificates, ClusterError, HeldPort, KafkaJars, Proxy, process};

const BROKERS_MAX: usize = 3;
/// Another process may take a port between its release here and the broker's bind.
const ATTEMPTS: usize = 3;
const SCRAM: [&str; 2] = ["SCRAM-SHA-256", "SCRAM-SHA-512"];
const FORMAT_DEADLINE: Duration = Duration::from_secs(90);

/// A running Kafka cluster. Dropping it ends every process and removes its folder. The logs are
/// kept, and their path is printed, if a test is panicking, the start failed,
/// [`Cluster::keep_logs`] was called or `STRAIT_KEEP_LOGS` is set.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    brokers: Vec<Broker>,
    listeners: Vec<Listener>,
    /// Listener by listener, each in the order of the brokers.
    proxies: Vec<Proxy>,
    certificates: Option<Certificates>,
    folder: Option<TempDir>,
    keep_logs: AtomicBool,
}

impl Cluster {
    /// Formats, starts and waits until every broker counts all of them as alive.
    ///
    /// # Errors
    /// Any [`ClusterError`]; nothing is left running.
    pub async fn start(spec: ClusterSpec) -> Result<Self, ClusterError> {
        if !(1..=BROKERS_MAX).contains(&spec.brokers) {
            let reason = format!("{} brokers: 1 to {BROKERS_MAX} are possible", spec.brokers);
            return Err(ClusterError::Spec { cluster: spec.name, reason });
        }
        let twice = |listener: &Listener| spec.listeners.iter().filter(|other| *other == listener).count() > 1;
        if spec.listeners.is_empty() || spec.listeners.iter().any(twice) {
            let reason = format!("listeners {:?}: one or more are needed, each once", spec.listeners);
            return Err(ClusterError::Spec { cluster: spec.name, reason });
        }
        let jars = KafkaJars::locate()?;
        let mut attempt = 1;
        loop {
            match Self::start_once(&spec, &jars).await {
                Err(ClusterError::Ended { tail, .. })
                    if attempt < ATTEMPTS && tail.contains("Address already in use") =>
                {
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn start_once(spec: &ClusterSpec, jars: &KafkaJars) -> Result<Self, ClusterError> {
        let prefix = format!("strait-test-cluster-{}-", spec.name);
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix);
        let folder = match &spec.base_dir {
            Some(base) => builder.tempdir_in(base),
            None => builder.tempdir(),
        }
        .map_err(ClusterError::io(format!("making the folder of cluster {}", spec.name)))?;

        let mut ports = Ports::default();
        for _ in 0..spec.brokers {
            ports.add_broker()?;
        }
        for listener in &spec.listeners {
            ports.add_listener(*listener, spec.per_broker_proxy)?;
        }
        let certificates = if spec.listeners.iter().any(|listener| listener.has_tls()) {
            Some(Certificates::make(folder.path())?)
        } else {
            None
        };

        let brokers = Self::lay_out(spec, jars, &ports.brokers, certificates.as_ref(), folder.path())?;
        let cluster = Self {
            name: spec.name.clone(),
            brokers,
            listeners: spec.listeners.clone(),
            proxies: ports.proxies,
            certificates,
            folder: Some(folder),
            keep_logs: AtomicBool::new(false),
        };
        let started = cluster.bring_up(spec, jars, ports.held).await;
        if started.is_err() {
            cluster.keep_logs();
        }
        started.map(|()| cluster)
    }

    /// Writes every broker's files.
    fn lay_out(
        spec: &ClusterSpec,
        jars: &KafkaJars,
        ports: &[BrokerPorts],
        certificates: Option<&Certificates>,
        folder: &Path,
    ) -> Result<Vec<Broker>, ClusterError> {
        let write = |path: &Path, text: &str| {
            fs::write(path, text).map_err(ClusterError::io(format!("writing {}", path.display())))
        };
        let log4j = folder.join("log4j2.properties");
        write(&log4j, properties::LOG4J)?;
        let mut brokers = Vec::new();
        for (index, own) in ports.iter().enumerate() {
            let id = index + 1;
            let properties = folder.join(format!("broker-{id}.properties"));
            let text = properties::server_properties(spec, ports, certificates, index, &data_path(folder, id));
            write(&properties, &text)?;
            brokers.push(Broker::new(BrokerSetup {
                cluster: spec.name.clone(),
                id,
                ports: own.clone(),
                class_path: jars.class_path_with(&spec.class_path),
                jvm: jvm_flags(spec, jars),
                properties,
                log4j: log4j.clone(),
                log: folder.join(format!("broker-{id}.log")),
                deadline: spec.ready_deadline,
            }));
        }
        Ok(brokers)
    }

    async fn bring_up(&self, spec: &ClusterSpec, jars: &KafkaJars, held: Vec<HeldPort>) -> Result<(), ClusterError> {
        self.format(spec, jars).await?;
        for port in held {
            port.release();
        }
        for broker in &self.brokers {
            broker.spawn()?;
        }
        let ids: Vec<usize> = self.brokers.iter().map(Broker::id).collect();
        for broker in &self.brokers {
            broker.wait_ready(&ids).await?;
        }
        Ok(())
    }

    /// Formats the storage of all brokers at once, one StorageTool each.
    async fn format(&self, spec: &ClusterSpec, jars: &KafkaJars) -> Result<(), ClusterError> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let cluster_id = random_uuid();
        let mut tools = Vec::new();
        for broker in &self.brokers {
            let id = broker.id();
            let log = folder.path().join(format!("format-{id}.log"));
            let what = || format!("formatting broker {id} of {}", spec.name);
            let output = File::create(&log).map_err(ClusterError::io(what()))?;
            let errors = output.try_clone().map_err(ClusterError::io(what()))?;
            let mut command = Command::new("java");
            command
                .args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"])
                .args(jars.class_archive_flag())
                .arg("-cp")
                .arg(jars.class_path_with(&spec.class_path))
                .args(["kafka.tools.StorageTool", "format", "-t", &cluster_id, "-c"])
                .arg(broker.properties())
                .args(format_options(spec))
                .stdin(Stdio::null())
                .stdout(output)
                .stderr(errors);
            tools.push((id, log, process::spawn(command).map_err(ClusterError::io(what()))?));
        }
        let deadline = Instant::now() + FORMAT_DEADLINE;
        let mut outcome = Ok(());
        for (id, log, mut tool) in tools {
            let status = loop {
                match tool.try_wait() {
                    Ok(None) if Instant::now() < deadline && outcome.is_ok() => sleep(Duration::from_millis(20)).await,
                    Ok(None) => {
                        tool.kill().map_err(ClusterError::io("killing StorageTool"))?;
                    }
                    Ok(Some(status)) => break status,
                    Err(error) => return Err(ClusterError::io("waiting for StorageTool")(error)),
                }
            };
            if !status.success() && outcome.is_ok() {
                outcome = Err(ClusterError::Format { cluster: spec.name.clone(), broker: id, output: tail_of(&log) });
            }
        }
        outcome
    }

    /// The cluster's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `bootstrap.servers` of the first listener for clients, through its proxies.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.listeners.first().map_or_else(String::new, |first| self.bootstrap_of(*first))
    }

    /// `bootstrap.servers` of a listener, through its proxies; empty if the cluster does not have
    /// it.
    #[must_use]
    pub fn bootstrap_of(&self, listener: Listener) -> String {
        self.addresses(|broker| broker.advertised_port(listener))
    }

    /// The certificates of the listeners with TLS.
    ///
    /// # Errors
    /// [`ClusterError::Spec`] if there is no such listener.
    pub fn certificates(&self) -> Result<&Certificates, ClusterError> {
        self.certificates
            .as_ref()
            .ok_or_else(|| ClusterError::Spec { cluster: self.name.clone(), reason: "no listener has TLS".to_owned() })
    }

    /// `bootstrap.servers` of the internal listener: plaintext, as super user, around the proxies.
    /// For setting up and for checking, so that neither suffers from the faults.
    #[must_use]
    pub fn internal_bootstrap(&self) -> String {
        self.addresses(|broker| Some(broker.internal_port()))
    }

    /// All brokers, by node id.
    #[must_use]
    pub fn brokers(&self) -> &[Broker] {
        &self.brokers
    }

    /// The broker with this index, from 0.
    ///
    /// # Errors
    /// [`ClusterError::NoSuch`].
    pub fn broker(&self, index: usize) -> Result<&Broker, ClusterError> {
        self.brokers.get(index).ok_or_else(|| self.no_such("broker", index))
    }

    /// All proxies, listener by listener in the order of the brokers; empty without
    /// `per_broker_proxy`.
    #[must_use]
    pub fn proxies(&self) -> &[Proxy] {
        &self.proxies
    }

    /// The proxy of the broker with this index, from 0, at the first listener.
    ///
    /// # Errors
    /// [`ClusterError::NoSuch`].
    pub fn proxy(&self, index: usize) -> Result<&Proxy, ClusterError> {
        let of_first = self.proxies.get(..self.brokers.len()).unwrap_or_default();
        of_first.get(index).ok_or_else(|| self.no_such("proxy", index))
    }

    /// The folder of properties, data and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().map_or_else(|| Path::new(""), TempDir::path)
    }

    /// The folder in which the broker with this node id has the log of a partition.
    #[must_use]
    pub fn partition_folder(&self, broker: usize, topic: &str, partition: i32) -> PathBuf {
        data_path(self.folder(), broker).join(format!("{topic}-{partition}"))
    }

    /// Keeps the logs when the cluster is dropped.
    pub fn keep_logs(&self) {
        self.keep_logs.store(true, Ordering::Relaxed);
    }

    fn addresses(&self, port: impl Fn(&Broker) -> Option<u16>) -> String {
        let ports = self.brokers.iter().filter_map(port);
        let addresses: Vec<String> = ports.map(|port| loopback(port).to_string()).collect();
        addresses.join(",")
    }

    fn no_such(&self, what: &'static str, index: usize) -> ClusterError {
        ClusterError::NoSuch { cluster: self.name.clone(), what, index }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let ids: Vec<usize> = self.brokers.iter().map(Broker::id).collect();
        self.brokers.clear();
        let Some(folder) = self.folder.take() else {
            return;
        };
        if !(self.keep_logs.load(Ordering::Relaxed) || thread::panicking() || env::var_os("STRAIT_KEEP_LOGS").is_some())
        {
            return;
        }
        let kept = folder.keep();
        for id in ids {
            let data = data_path(&kept, id);
            // A broker that was never formatted has no data.
            if data.exists()
                && let Err(error) = fs::remove_dir_all(&data)
            {
                eprintln!("test cluster: removing {}: {error}", data.display());
            }
        }
        eprintln!("test cluster: logs of cluster {} kept in {}", self.name, kept.display());
    }
}

/// The ports of a cluster that is about to start, held until its brokers bind them.
#[derive(Default)]
struct Ports {
    held: Vec<HeldPort>,
    brokers: Vec<BrokerPorts>,
    proxies: Vec<Proxy>,
}

impl Ports {
    fn add_broker(&mut self) -> Result<(), ClusterError> {
        let [internal, controller] = [HeldPort::take()?, HeldPort::take()?];
        self.brokers.push(BrokerPorts {
            clients: Vec::new(),
            internal: internal.port(),
            controller: controller.port(),
        });
        self.held.extend([internal, controller]);
        Ok(())
    }

    fn add_listener(&mut self, listener: Listener, proxied: bool) -> Result<(), ClusterError> {
        for broker in &mut self.brokers {
            let bound = HeldPort::take()?;
            let mut advertised = bound.port();
            if proxied {
                let proxy = Proxy::start(HeldPort::take()?, loopback(bound.port()))?;
                advertised = proxy.port();
                self.proxies.push(proxy);
            }
            broker.clients.push(ListenerPorts { listener, bound: bound.port(), advertised });
            self.held.push(bound);
        }
        Ok(())
    }
}

fn data_path(folder: &Path, id: usize) -> PathBuf {
    folder.join(format!("data-{id}"))
}

fn jvm_flags(spec: &ClusterSpec, jars: &KafkaJars) -> Vec<String> {
    let heap = spec.heap_mb;
    let flags: &[&str] = if spec.production_jvm {
        // As Kafka's own kafka-run-class.sh and kafka-server-start.sh set them.
        &[
            "-server",
            "-XX:+UseG1GC",
            "-XX:MaxGCPauseMillis=20",
            "-XX:InitiatingHeapOccupancyPercent=35",
            "-XX:+ExplicitGCInvokesConcurrent",
        ]
    } else {
        &["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
    };
    let start = if spec.production_jvm { heap } else { heap.min(128) };
    let sizes = [format!("-Xmx{heap}m"), format!("-Xms{start}m"), "-Djava.awt.headless=true".to_owned()];
    let archive = if spec.production_jvm { None } else { jars.class_archive_flag() };
    let flags = flags.iter().map(|flag| (*flag).to_owned());
    // Kafka reads keys from allowed addresses only.
    let keys = spec.token_keys.iter().map(|path| {
        let url = format!("file://{}", path.display());
        format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={url}")
    });
    sizes.into_iter().chain(keys).chain(flags).chain(archive).chain(spec.extra_jvm.iter().cloned()).collect()
}

fn format_options(spec: &ClusterSpec) -> Vec<String> {
    let mut options = Vec::new();
    for (feature, level) in &spec.features {
        options.extend(["--feature".to_owned(), format!("{feature}={level}")]);
    }
    if spec.listeners.iter().any(|listener| listener.has_sasl()) {
        for (user, mechanism) in spec.users.iter().flat_map(|user| SCRAM.map(|mechanism| (user, mechanism))) {
            let credential = format!("{mechanism}=[name={},password={}]", user.name, user.password);
            options.extend(["--add-scram".to_owned(), credential]);
        }
    }
    options
}

/// A cluster id as Kafka's `Uuid` prints it: 16 bytes in URL-safe base64 without padding.
fn random_uuid() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bits: u128 = rand::rng().random();
    // Cleared top bit: the text then never starts with '-', which the tool would take for an
    // option.
    bits &= u128::MAX >> 1;
    let mut text = String::new();
    for digit in 0..22_u32 {
        // 22 digits of 6 bits are 132: the last digit holds the lowest 2 bits and 4 zeros.
        let shift = 122_i64 - i64::from(digit) * 6;
        let value = if shift >= 0 { bits >> shift } else { bits << -shift } & 63;
        text.extend(ALPHABET.get(value as usize).map(|letter| char::from(*letter)));
    }
    text
}
