//! Takes over secrets whose files change while the links run.
//!
//! The files that `${file:…}` and `ssl.*.location` name, folders of authorities and PKCS#12 files
//! too, are read once a second, through symbolic links, and compared by content. What has come to
//! rest is tried with a login of its own first. Then every client of the cluster has a password for
//! its next login, while open connections stay as they are. Certificates are read once in the life
//! of a client, so the lanes are taken again one by one, and the members of the groups are made
//! anew at last.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use strait_core::config::{Cluster, Setting};
use strait_flow::LaneState;
use strait_kafka::access::{Credentials, PemFault, PemFiles};
use strait_kafka::config::ClusterConfig;
use strait_kafka::probe::{ProbeError, probe};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::clusters::Clusters;
use super::reading::{Read, Reading};
use super::roll::{Lanes, Place, Roll, Rolling};
use crate::board::{AccessBoard, Board, LinkBoard, Work};
use crate::load::Loaded;

/// How often the files are read. A changed content must be the same twice.
const LOOK: Duration = Duration::from_secs(1);
/// How long a reading may take. It goes on after that, and no other begins meanwhile.
const READ: Duration = Duration::from_secs(5);
/// How long the login with a changed password may take.
const LOGIN: Duration = Duration::from_secs(15);
/// Waits before a refused password is retried: the brokers may get it later than the file. The
/// last one repeats.
const AGAIN: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(10), Duration::from_secs(60)];

/// The names of the secrets, in the order of [`Secrets`].
const NAMES: [&str; 3] = ["sasl.username", "sasl.password", "client_secret"];

/// The parts of a login that can change.
#[derive(Clone, Default, PartialEq, Eq)]
struct Secrets {
    /// In the order of [`NAMES`]; `None` where a cluster does not have one.
    values: [Option<String>; 3],
    /// Certificates and keys.
    files: PemFiles,
}

/// Watches the secrets of all clusters.
pub struct Rotation {
    loaded: Arc<Loaded>,
    watched: Vec<Watched>,
}

/// A cluster with secrets in files.
struct Watched {
    name: String,
    config: ClusterConfig,
    board: Option<Arc<AccessBoard>>,
    links: Vec<Arc<LinkBoard>>,
    in_use: Secrets,
    reading: Reading<Result<Secrets, Fault>>,
    /// The last reading.
    seen: Result<Secrets, Fault>,
    /// The reading that was tried and refused.
    refused: Option<Refused>,
    /// The names of what changed, and the lanes that are being taken again for it.
    rolling: Option<(String, Roll)>,
}

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    what: &'static str,
    reason: String,
}

/// Secrets that are in use.
struct Applied {
    /// The names of what changed.
    what: String,
    /// The number of clients that have it; `None` if they are to be made anew for it.
    clients: Option<usize>,
}

struct Refused {
    secrets: Result<Secrets, Fault>,
    tries: usize,
    next: Option<Instant>,
}

impl Rotation {
    /// Watches the clusters that have secrets in files.
    #[must_use]
    pub fn new(loaded: &Arc<Loaded>, clusters: &Clusters, board: &Board) -> Self {
        let watched = loaded.config.clusters.iter().filter(|(_, cluster)| has_files(cluster));
        let watched = watched.filter_map(|(name, cluster)| {
            let config = clusters.config(name)?.clone();
            let values = settings(cluster).map(|setting| setting.map(|setting| setting.expose().to_owned()));
            // What cannot be read is librdkafka's to report, by the name of the file.
            let files = pem_files(loaded, cluster, &PemFiles::default()).unwrap_or_default();
            let in_use = Secrets { values, files };
            config.access.set_files(in_use.files.contents());
            config.access.expect_changes();
            let links = board.links().iter().filter(|link| link.source == *name || link.target == *name);
            let (board, links, seen) = (board.access_to(name).cloned(), links.cloned().collect(), Ok(in_use.clone()));
            let (name, reading) = (name.clone(), Reading::default());
            Some(Watched { name, config, board, links, in_use, reading, seen, refused: None, rolling: None })
        });
        Self { watched: watched.collect(), loaded: Arc::clone(loaded) }
    }

    /// Watches for as long as it is polled.
    pub async fn run(self) {
        // A task each: neither a file that hangs nor a cluster that is away holds up the others.
        let mut tasks = JoinSet::new();
        for watched in self.watched {
            tasks.spawn(watched.watch(Arc::clone(&self.loaded)));
        }
        while tasks.join_next().await.is_some() {}
        std::future::pending().await
    }
}

fn settings(cluster: &Cluster) -> [Option<&Setting>; 3] {
    let property = |name: &str| cluster.kafka.0.get(name);
    let secret = cluster.auth.as_ref().and_then(|auth| auth.client_secret.as_ref());
    [property("sasl.username"), property("sasl.password"), secret]
}

/// Returns whether a cluster has secrets that can change.
fn has_files(cluster: &Cluster) -> bool {
    let has_reference = settings(cluster).into_iter().flatten().any(|setting| setting.written().contains("${file:"));
    has_reference || PemFiles::any(|name| cluster.kafka.expose(name).map(str::to_owned))
}

/// Reads the certificates and keys of a cluster. References are read anew: a PKCS#12 file may come
/// with another password.
fn pem_files(loaded: &Loaded, cluster: &Cluster, before: &PemFiles) -> Result<PemFiles, Fault> {
    let value = |name: &str| {
        let setting = cluster.kafka.0.get(name)?;
        Some(loaded.resolve_again(setting).unwrap_or_else(|_| setting.expose().to_owned()))
    };
    let files = PemFiles::read(value, before).map_err(|PemFault { what, reason }| Fault { what, reason })?;
    if files != *before {
        loaded.mask().learn(&files.keys().collect::<Vec<_>>());
    }
    Ok(files)
}

/// Reads the secrets of a cluster anew.
fn read(loaded: &Loaded, cluster: &str, before: &PemFiles) -> Result<Secrets, Fault> {
    let mut secrets = Secrets::default();
    let Some(cluster) = loaded.config.cluster(cluster) else { return Ok(secrets) };
    secrets.files = pem_files(loaded, cluster, before)?;
    for ((what, setting), secret) in NAMES.into_iter().zip(settings(cluster)).zip(&mut secrets.values) {
        let Some(setting) = setting else { continue };
        let value = loaded.resolve_again(setting).map_err(|reason| Fault { what, reason })?;
        if value.trim().is_empty() {
            return Err(Fault { what, reason: "the file is empty".to_owned() });
        }
        *secret = Some(value);
    }
    Ok(secrets)
}

impl Watched {
    /// Watches for ever.
    async fn watch(mut self, loaded: Arc<Loaded>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let (loaded, name, before) = (Arc::clone(&loaded), self.name.clone(), self.last_files().clone());
            match self.reading.next(move || read(&loaded, &name, &before), READ).await {
                Read::Done(read) => self.look(read).await,
                Read::Hangs => {
                    let reason = format!(
                        "it cannot be read within {} s: see that what it lies on is mounted and answers",
                        READ.as_secs()
                    );
                    // Whether it has is not known.
                    let what = "one of its secret files may have";
                    self.look(Err(Fault { what, reason })).await;
                }
                Read::Lost => {}
            }
            self.roll_on().await;
        }
    }

    /// Returns the files of the last reading.
    fn last_files(&self) -> &PemFiles {
        self.seen.as_ref().map_or(&self.in_use.files, |seen| &seen.files)
    }

    async fn look(&mut self, read: Result<Secrets, Fault>) {
        let is_at_rest = self.seen == read;
        self.seen.clone_from(&read);
        if !is_at_rest {
            return;
        }
        if read.as_ref() == Ok(&self.in_use) {
            self.refused = None;
            return;
        }
        let is_told = self.refused.as_ref().is_some_and(|refused| refused.secrets == read);
        if !is_told {
            self.refused = None;
        }
        let is_due = self.refused.as_ref().is_none_or(|refused| refused.next.is_some_and(|at| Instant::now() >= at));
        if !is_due {
            return;
        }
        let (fault, may_pass) = match &read {
            Err(fault) => (fault.clone(), false),
            Ok(secrets) => match self.apply(secrets).await {
                Ok(applied) => {
                    self.in_use.clone_from(secrets);
                    self.refused = None;
                    match applied.clients {
                        Some(clients) => self.board.iter().for_each(|board| board.rotated(&applied.what, clients)),
                        None => self.rolling = Some((applied.what, self.roll())),
                    }
                    return;
                }
                Err(fault) => (fault, true),
            },
        };
        let tries = self.refused.as_ref().map_or(0, |refused| refused.tries);
        let wait = AGAIN.get(tries).or(AGAIN.last()).copied().unwrap_or(LOGIN);
        let next = may_pass.then(|| Instant::now() + wait);
        self.refused = Some(Refused { secrets: read, tries: tries + 1, next });
        // Each content is told once.
        if !is_told && let Some(board) = &self.board {
            board.refused(fault.what, fault.reason);
        }
    }

    /// Tries changed secrets and gives them to all clients.
    async fn apply(&self, secrets: &Secrets) -> Result<Applied, Fault> {
        let [old_user, old_password, old_secret] = &self.in_use.values;
        let [user, password, secret] = &secrets.values;
        let access = &self.config.access;
        let what = self.changed(secrets);
        let has_files = secrets.files != self.in_use.files;
        let credentials = secrets.credentials();
        let has_password = (user, password) != (old_user, old_password);
        if has_files || has_password {
            let fault = |reason| Fault { what: if has_files { "ssl.*.location" } else { "sasl.password" }, reason };
            log_in(&self.config, credentials.as_ref(), secrets.files.contents()).await.map_err(fault)?;
        }
        let mut clients = access.clients();
        if let Some(credentials) = credentials.filter(|_| has_password) {
            clients = access.rotate(credentials).map_err(|reason| Fault { what: "sasl.password", reason })?;
        }
        if let Some(secret) = secret.as_ref().filter(|secret| Some(*secret) != old_secret.as_ref()) {
            let fault = |reason| Fault { what: "client_secret", reason };
            access.change_client_secret(secret).await.map_err(fault)?;
        }
        if has_files {
            access.set_files(secrets.files.contents());
            return Ok(Applied { what, clients: None });
        }
        Ok(Applied { what, clients: Some(clients) })
    }

    /// Returns the names of what changes.
    fn changed(&self, secrets: &Secrets) -> String {
        let values = NAMES.into_iter().zip(secrets.values.iter().zip(&self.in_use.values));
        let values = values.filter(|(_, (new, old))| new != old).map(|(name, _)| name);
        let files = secrets.files.changed(&self.in_use.files);
        values.chain(files).collect::<Vec<_>>().join(", ")
    }

    /// Has the clients of requests made anew when they are used next, and begins to take the lanes
    /// again, each once the one before runs.
    fn roll(&self) -> Roll {
        self.config.access.roll_clients();
        let lanes = self.links.iter().enumerate().flat_map(|(link, board)| {
            let lanes = board.work().map(|work| work.status.lanes()).unwrap_or_default();
            lanes.into_keys().map(move |lane| Place { link, lane })
        });
        Roll::of(lanes)
    }

    /// Goes on with the roll that is under way. The members of the groups are made anew at last,
    /// for one rebalance.
    async fn roll_on(&mut self) {
        let Some((what, roll)) = &mut self.rolling else { return };
        let (lanes, board) = (LinkLanes(&self.links), self.board.as_ref());
        match roll.go_on(&lanes, LOOK).await {
            Rolling::Goes => {}
            Rolling::Waits(place) => {
                let reason = format!("{} has not come back for a minute", lanes.name(place));
                board.iter().for_each(|board| board.roll_stopped(what, reason.clone()));
                // Files that are in order are not what keeps it, and every later take has them.
                let credentials = self.in_use.credentials();
                if log_in(&self.config, credentials.as_ref(), self.in_use.files.contents()).await.is_ok() {
                    roll.pass();
                }
            }
            Rolling::Done => {
                self.config.access.roll_members();
                if let (Some(board), Some(later)) = (board, roll.later(&lanes)) {
                    board.roll_later(what, &later);
                }
                board.iter().for_each(|board| board.rotated(what, self.config.access.clients()));
                self.rolling = None;
            }
        }
    }
}

/// The lanes of the links that use a cluster.
struct LinkLanes<'a>(&'a [Arc<LinkBoard>]);

impl LinkLanes<'_> {
    fn work(&self, place: Place) -> Option<&Work> {
        self.0.get(place.link)?.work()
    }
}

impl Lanes for LinkLanes<'_> {
    fn state(&self, place: Place) -> Option<LaneState> {
        Some(self.work(place)?.status.lanes().get(&place.lane)?.state)
    }

    fn roll(&self, place: Place) -> oneshot::Receiver<()> {
        // Without a link the answer is closed at once.
        self.work(place).map_or_else(|| oneshot::channel().1, |work| work.requests.roll(place.lane))
    }

    fn name(&self, place: Place) -> String {
        let link = self.0.get(place.link).map_or("", |board| &board.name);
        format!("lane {} of link {link}", place.lane)
    }
}

impl Secrets {
    fn credentials(&self) -> Option<Credentials> {
        let [user, password, _] = &self.values;
        let (user, password) = user.as_ref().zip(password.as_ref())?;
        Some(Credentials { user: user.clone(), password: password.clone() })
    }
}

/// Logs in with a client of its own.
async fn log_in(
    cluster: &ClusterConfig,
    credentials: Option<&Credentials>,
    files: BTreeMap<String, String>,
) -> Result<(), String> {
    let mut config = ClusterConfig { access: cluster.access.fresh(), ..cluster.clone() };
    config.access.set_files(files);
    if let Some(credentials) = credentials {
        config.properties.insert("sasl.username".to_owned(), credentials.user.clone());
        config.properties.insert("sasl.password".to_owned(), credentials.password.clone());
    }
    match probe(&config, LOGIN).await {
        Ok(_) => Ok(()),
        Err(ProbeError::Authentication { reason, .. }) => Err(format!("the brokers refuse it: {reason}")),
        Err(error) => Err(error.to_string()),
    }
}
