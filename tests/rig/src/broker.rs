use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::ports::loopback;
use crate::properties::BrokerPorts;
use crate::{ClusterError, Listener, process, wire};

const POLL: Duration = Duration::from_millis(50);
const TAIL_BYTES: u64 = 6_000;

/// One broker (and controller) as a child process. Dropping it kills and reaps the process.
#[derive(Debug)]
pub struct Broker {
    cluster: String,
    id: usize,
    ports: BrokerPorts,
    class_path: OsString,
    jvm: Vec<String>,
    properties: PathBuf,
    log4j: PathBuf,
    log: PathBuf,
    deadline: Duration,
    child: Mutex<Option<Child>>,
}

/// The parts of a broker; its files exist already.
pub(crate) struct BrokerSetup {
    pub cluster: String,
    pub id: usize,
    pub ports: BrokerPorts,
    pub class_path: OsString,
    pub jvm: Vec<String>,
    pub properties: PathBuf,
    pub log4j: PathBuf,
    pub log: PathBuf,
    pub deadline: Duration,
}

impl Broker {
    pub(crate) fn new(setup: BrokerSetup) -> Self {
        let BrokerSetup { cluster, id, ports, class_path, jvm, properties, log4j, log, deadline } = setup;
        Self { cluster, id, ports, class_path, jvm, properties, log4j, log, deadline, child: Mutex::new(None) }
    }

    /// Node id, counted from 1.
    #[must_use]
    pub fn id(&self) -> usize {
        self.id
    }

    /// Process id, if the broker runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    /// The broker's server.properties.
    #[must_use]
    pub fn properties(&self) -> &Path {
        &self.properties
    }

    /// The broker's log file.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Every port the broker binds: those for clients, internal, controller.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        let clients = self.ports.clients.iter().map(|of| of.bound);
        clients.chain([self.ports.internal, self.ports.controller]).collect()
    }

    /// Returns the port that clients of a listener use; `None` if there is no such listener.
    pub(crate) fn advertised_port(&self, listener: Listener) -> Option<u16> {
        self.ports.clients.iter().find(|of| of.listener == listener).map(|of| of.advertised)
    }

    pub(crate) fn internal_port(&self) -> u16 {
        self.ports.internal
    }

    /// Ends the process at once (SIGKILL), as a crash would, and reaps it.
    ///
    /// # Errors
    /// [`ClusterError::NotRunning`], or the system's refusal.
    pub fn kill(&self) -> Result<(), ClusterError> {
        let mut child = self.child().take().ok_or_else(|| self.not_running())?;
        child.kill().map_err(ClusterError::io(format!("killing broker {}", self.id)))?;
        child.wait().map_err(ClusterError::io(format!("reaping broker {}", self.id)))?;
        Ok(())
    }

    /// Shuts the broker down in an orderly way (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// [`ClusterError::NotRunning`], or [`ClusterError::Deadline`] if it goes on running; it is
    /// then killed.
    pub async fn stop(&self) -> Result<(), ClusterError> {
        self.signal(libc::SIGTERM)?;
        let started = Instant::now();
        loop {
            if self.exited()?.is_some() {
                self.child().take();
                return Ok(());
            }
            if started.elapsed() > self.deadline {
                self.kill()?;
                return Err(self.overdue("stopped", "still running"));
            }
            sleep(POLL).await;
        }
    }

    /// Starts the broker again on the same ports and data, after stopping it if it runs, and waits
    /// until the cluster counts it as alive.
    ///
    /// # Errors
    /// As [`Broker::stop`]; [`ClusterError::Ended`] or [`ClusterError::Deadline`] if it does not
    /// come up.
    pub async fn restart(&self) -> Result<(), ClusterError> {
        if self.pid().is_some() {
            self.stop().await?;
        }
        self.spawn()?;
        self.wait_ready(&[self.id]).await
    }

    /// Freezes the process (SIGSTOP): connections stay open, nothing answers.
    ///
    /// # Errors
    /// [`ClusterError::NotRunning`], or the system's refusal.
    pub fn pause(&self) -> Result<(), ClusterError> {
        self.signal(libc::SIGSTOP)
    }

    /// Lets a paused process go on.
    ///
    /// # Errors
    /// [`ClusterError::NotRunning`], or the system's refusal.
    pub fn resume(&self) -> Result<(), ClusterError> {
        self.signal(libc::SIGCONT)
    }

    /// Starts the process without waiting for it.
    pub(crate) fn spawn(&self) -> Result<(), ClusterError> {
        let what = || format!("starting broker {} of {}", self.id, self.cluster);
        let log = File::options().create(true).append(true).open(&self.log).map_err(ClusterError::io(what()))?;
        let errors = log.try_clone().map_err(ClusterError::io(what()))?;
        let mut command = Command::new("java");
        command
            .args(&self.jvm)
            .arg(format!("-Dlog4j2.configurationFile={}", self.log4j.display()))
            .arg("-cp")
            .arg(&self.class_path)
            .arg("kafka.Kafka")
            .arg(&self.properties)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        let child = process::spawn(command).map_err(ClusterError::io(what()))?;
        self.child().replace(child);
        Ok(())
    }

    /// Waits until this broker answers and counts every broker of `ids` among the living.
    pub(crate) async fn wait_ready(&self, ids: &[usize]) -> Result<(), ClusterError> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.exited()? {
                self.child().take();
                return Err(ClusterError::Ended {
                    cluster: self.cluster.clone(),
                    broker: self.id,
                    status: status.to_string(),
                    log: self.log.clone(),
                    tail: self.tail(),
                });
            }
            let answer = wire::live_brokers(loopback(self.ports.internal)).await;
            let alive = |id: &usize| answer.as_ref().is_ok_and(|alive| alive.contains(id));
            if ids.iter().all(alive) {
                return Ok(());
            }
            if started.elapsed() > self.deadline {
                let last = match answer {
                    Ok(alive) => format!("live brokers {alive:?}"),
                    Err(error) => error.to_string(),
                };
                return Err(self.overdue("ready", &last));
            }
            sleep(POLL).await;
        }
    }

    fn signal(&self, signal: libc::c_int) -> Result<(), ClusterError> {
        let child = self.child();
        let running = child.as_ref().ok_or_else(|| self.not_running())?;
        process::signal(running, signal)
            .map_err(ClusterError::io(format!("sending signal {signal} to broker {}", self.id)))
    }

    fn exited(&self) -> Result<Option<ExitStatus>, ClusterError> {
        let mut child = self.child();
        let running = child.as_mut().ok_or_else(|| self.not_running())?;
        running.try_wait().map_err(ClusterError::io(format!("looking after broker {}", self.id)))
    }

    fn overdue(&self, wanted: &'static str, last: &str) -> ClusterError {
        ClusterError::Deadline {
            cluster: self.cluster.clone(),
            broker: self.id,
            wanted,
            waited_s: self.deadline.as_secs(),
            last: last.into(),
            log: self.log.clone(),
            tail: self.tail(),
        }
    }

    fn not_running(&self) -> ClusterError {
        ClusterError::NotRunning { cluster: self.cluster.clone(), broker: self.id }
    }

    fn tail(&self) -> Box<str> {
        tail_of(&self.log).into()
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.pid().is_none() {
            return;
        }
        if let Err(error) = self.kill() {
            eprintln!("test cluster: {error}");
        }
    }
}

/// The last lines of a log, or the reason why they cannot be read.
pub(crate) fn tail_of(log: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let length = fs::metadata(log)?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_else(|error| format!("({error})"))
}
