//! The product as its users run it: the `strait` binary as a child process, with its log as it
//! comes.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Last lines that an error shows.
const TAIL_LINES: usize = 40;
/// Last lines of librdkafka among them.
const LIBRARY_LINES: usize = 8;
/// The log lines of a process are kept; one that floods is cut off here, and a test that needs more
/// is wrong.
const LINES_MAX: usize = 200_000;
const POLL: Duration = Duration::from_millis(10);

/// An error of the process under test.
#[derive(Debug, thiserror::Error)]
pub enum StraitError {
    /// There is no binary to test.
    #[error("no strait binary at {path}: run cargo build --release -p strait, or set STRAIT_BIN")]
    NoBinary {
        /// The path that was tried.
        path: PathBuf,
    },
    /// The operating system refused something.
    #[error("{what}: {error}")]
    Io {
        /// The operation.
        what: String,
        /// The refusal.
        error: io::Error,
    },
    /// Something did not come about in time, or the process ended before it did.
    #[error("{process}: not {wanted} within {waited_s} s ({state}); end of its log:\n{tail}")]
    Overdue {
        /// Name of the process in the test.
        process: String,
        /// The condition.
        wanted: String,
        /// Seconds waited.
        waited_s: u64,
        /// Whether it was still running.
        state: String,
        /// The last lines of its log.
        tail: String,
    },
}

impl StraitError {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }
}

/// A configuration file in a folder of its own, shared by the processes of a test.
#[derive(Debug)]
pub struct ConfigFolder {
    folder: TempDir,
}

impl ConfigFolder {
    /// Writes `strait.toml`.
    ///
    /// # Errors
    /// [`StraitError::Io`].
    pub fn new(toml: &str) -> Result<Self, StraitError> {
        let folder = tempfile::Builder::new()
            .prefix("strait-accept-")
            .tempdir()
            .map_err(StraitError::io("making the configuration's folder"))?;
        let config = Self { folder };
        config.write("strait.toml", toml)?;
        fs::create_dir(config.folder.path().join("plugins")).map_err(StraitError::io("making the plugins' folder"))?;
        Ok(config)
    }

    /// Writes a file into the folder; plugins go to `plugins/NAME.wasm`.
    ///
    /// # Errors
    /// [`StraitError::Io`].
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<(), StraitError> {
        fs::write(self.folder.path().join(name), bytes).map_err(StraitError::io(format!("writing {name}")))
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// One line of the log.
#[derive(Debug, Clone)]
pub struct LogLine {
    /// When the test read it.
    pub at: Instant,
    /// As written.
    pub text: String,
    /// The same as JSON; null where it is not.
    pub json: Value,
}

impl LogLine {
    /// A field of it as text.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.json.get(name).and_then(Value::as_str)
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        self.field("message").unwrap_or_default()
    }

    /// Reports whether it is this event.
    #[must_use]
    pub fn is_event(&self, name: &str) -> bool {
        self.field("event") == Some(name)
    }
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<LogLine>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Lines>,
    news: Condvar,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads to the end; with `echo` every line is printed as well, under this name.
    fn take_in(&self, stream: impl Read, echo: Option<&str>) {
        // A line that is not UTF-8, or a broken pipe, ends the reading; the process's end is
        // noticed apart from it.
        for text in BufReader::new(stream).lines().map_while(Result::ok) {
            if let Some(name) = echo {
                eprintln!("[{name}] {text}");
            }
            let json = serde_json::from_str(&text).unwrap_or(Value::Null);
            let mut log = self.lock();
            if log.lines.len() < LINES_MAX {
                log.lines.push(LogLine { at: Instant::now(), text, json });
            }
            self.news.notify_all();
        }
        self.lock().closed = true;
        self.news.notify_all();
    }
}

/// A running `strait`. Dropping it kills and reaps the process; if a test is panicking, the end of
/// the log is printed. With `STRAIT_SHOW_LOGS` set every line is printed as it comes.
#[derive(Debug)]
pub struct Strait {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
    log: Arc<Log>,
    stdout: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Strait {
    /// Returns the binary under test: `STRAIT_BIN`, else the one in the target folder.
    ///
    /// # Errors
    /// [`StraitError::NoBinary`].
    pub fn binary() -> Result<PathBuf, StraitError> {
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
        let path = std::env::var_os("STRAIT_BIN").map_or_else(|| target.join("release/strait"), PathBuf::from);
        if path.is_file() {
            return Ok(path);
        }
        Err(StraitError::NoBinary { path })
    }

    /// Starts `strait run` with the folder's configuration, JSON logs and these further arguments.
    ///
    /// # Errors
    /// [`StraitError`].
    pub fn run(name: &str, config: &ConfigFolder, arguments: &[&str]) -> Result<Self, StraitError> {
        Self::run_in(name, config, arguments, &[])
    }

    /// Starts the same with these variables in its environment.
    ///
    /// # Errors
    /// [`StraitError`].
    pub fn run_in(
        name: &str,
        config: &ConfigFolder,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Self, StraitError> {
        let mut all = vec!["run", "--config", "strait.toml", "--log-format", "json"];
        all.extend_from_slice(arguments);
        Self::start_in(name, config.path(), &all, variables)
    }

    /// Starts the binary in a folder.
    ///
    /// # Errors
    /// [`StraitError`].
    pub fn start(name: &str, folder: &Path, arguments: &[&str]) -> Result<Self, StraitError> {
        Self::start_in(name, folder, arguments, &[])
    }

    /// Starts the binary in a folder, with these variables in its environment.
    ///
    /// # Errors
    /// [`StraitError`].
    pub fn start_in(
        name: &str,
        folder: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Self, StraitError> {
        let binary = Self::binary()?;
        let mut command = Command::new(&binary);
        command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Variables with this prefix override the configuration; those of the tests mean something
        // else.
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("STRAIT_") || variable == "RUST_LOG" {
                command.env_remove(variable);
            }
        }
        command.envs(variables.iter().copied());
        let mut child =
            strait_test_cluster::spawn(command).map_err(StraitError::io(format!("starting {}", binary.display())))?;
        let (log, stdout) = (Arc::<Log>::default(), Arc::<Mutex<String>>::default());
        let mut readers = Vec::new();
        if let Some(stream) = child.stderr.take() {
            let log = Arc::clone(&log);
            let echo = std::env::var_os("STRAIT_SHOW_LOGS").map(|_| name.to_owned());
            readers.push(thread::spawn(move || log.take_in(stream, echo.as_deref())));
        }
        if let Some(mut stream) = child.stdout.take() {
            let stdout = Arc::clone(&stdout);
            readers.push(thread::spawn(move || {
                let mut text = String::new();
                // Text read before an error counts as well.
                stream.read_to_string(&mut text).ok();
                *stdout.lock().unwrap_or_else(PoisonError::into_inner) = text;
            }));
        }
        Ok(Self { name: name.to_owned(), child, ended: None, log, stdout, readers })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Every line so far.
    #[must_use]
    pub fn lines(&self) -> Vec<LogLine> {
        self.log.lock().lines.clone()
    }

    /// Lines that are this event.
    #[must_use]
    pub fn events(&self, name: &str) -> Vec<LogLine> {
        self.lines().into_iter().filter(|line| line.is_event(name)).collect()
    }

    /// The log as written.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.log.lock().lines.iter().map(|line| format!("{}\n", line.text)).collect()
    }

    /// Returns its standard output, once it has ended.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `found` makes something of the lines so far.
    ///
    /// # Errors
    /// [`StraitError::Overdue`], at once when the process has ended.
    pub fn wait_for<T>(
        &self,
        wanted: &str,
        within: Duration,
        found: impl Fn(&[LogLine]) -> Option<T>,
    ) -> Result<T, StraitError> {
        let began = Instant::now();
        let mut log = self.log.lock();
        loop {
            if let Some(found) = found(&log.lines) {
                return Ok(found);
            }
            let left = within.saturating_sub(began.elapsed());
            if left.is_zero() || log.closed {
                let state = if log.closed { "it has ended" } else { "it is running" };
                let tail = tail_of(&log.lines);
                return Err(self.overdue(wanted, began, state, tail));
            }
            log = self.log.news.wait_timeout(log, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for a line of this kind.
    ///
    /// # Errors
    /// [`StraitError::Overdue`].
    pub fn wait_line(
        &self,
        wanted: &str,
        within: Duration,
        is: impl Fn(&LogLine) -> bool,
    ) -> Result<LogLine, StraitError> {
        self.wait_for(wanted, within, |lines| lines.iter().find(|line| is(line)).cloned())
    }

    /// Waits for the process's end.
    ///
    /// # Errors
    /// [`StraitError::Overdue`]; it is still running then.
    pub fn wait_end(&mut self, within: Duration) -> Result<ExitStatus, StraitError> {
        let began = Instant::now();
        while began.elapsed() < within {
            if let Some(status) = self.poll_end()? {
                return Ok(status);
            }
            thread::sleep(POLL);
        }
        let tail = tail_of(&self.log.lock().lines);
        Err(self.overdue("ended", began, "it is running", tail))
    }

    /// Returns its exit status, if it has ended.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn poll_end(&mut self) -> Result<Option<ExitStatus>, StraitError> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().map_err(StraitError::io(format!("looking after {}", self.name)))?;
            if self.ended.is_some() {
                self.join_readers();
            }
        }
        Ok(self.ended)
    }

    /// SIGKILL, as a crash, and reaped.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn kill(&mut self) -> Result<(), StraitError> {
        if self.ended.is_none() {
            self.child.kill().map_err(StraitError::io(format!("killing {}", self.name)))?;
            let status = self.child.wait().map_err(StraitError::io(format!("reaping {}", self.name)))?;
            self.ended = Some(status);
            self.join_readers();
        }
        Ok(())
    }

    /// SIGTERM: asks it to drain and end.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn terminate(&self) -> Result<(), StraitError> {
        self.signal(libc::SIGTERM)
    }

    /// SIGSTOP: frozen, its connections open.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn pause(&self) -> Result<(), StraitError> {
        self.signal(libc::SIGSTOP)
    }

    /// SIGCONT: continues.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn resume(&self) -> Result<(), StraitError> {
        self.signal(libc::SIGCONT)
    }

    #[allow(unsafe_code, reason = "the standard library sends no signal but SIGKILL")]
    fn signal(&self, signal: libc::c_int) -> Result<(), StraitError> {
        let failed = || StraitError::io(format!("sending signal {signal} to {}", self.name));
        if self.ended.is_some() {
            return Err(failed()(io::Error::other("it has ended")));
        }
        let pid = libc::pid_t::try_from(self.child.id()).map_err(|error| failed()(io::Error::other(error)))?;
        // SAFETY: kill takes plain integers and has no memory effects; the child is not reaped yet,
        // so the id is its own.
        if unsafe { libc::kill(pid, signal) } == 0 {
            return Ok(());
        }
        Err(failed()(io::Error::last_os_error()))
    }

    fn join_readers(&mut self) {
        for reader in self.readers.drain(..) {
            if reader.join().is_err() {
                eprintln!("{}: a thread that reads its output panicked", self.name);
            }
        }
    }

    fn overdue(&self, wanted: &str, began: Instant, state: &str, tail: String) -> StraitError {
        StraitError::Overdue {
            process: self.name.clone(),
            wanted: wanted.to_owned(),
            waited_s: began.elapsed().as_secs(),
            state: state.to_owned(),
            tail,
        }
    }
}

impl Drop for Strait {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("{error}");
        }
        if thread::panicking() {
            eprintln!("--- end of the log of {}:\n{}", self.name, tail_of(&self.log.lock().lines));
        }
    }
}

/// Returns the product's last lines, and only a few of librdkafka's: those come by the dozen while
/// a broker is down.
fn tail_of(lines: &[LogLine]) -> String {
    let is_library = |(_, line): &(usize, &LogLine)| line.field("target") == Some("librdkafka");
    let (library, own): (Vec<_>, Vec<_>) = lines.iter().enumerate().partition(is_library);
    let mut kept: Vec<_> = own.into_iter().rev().take(TAIL_LINES).collect();
    kept.extend(library.into_iter().rev().take(LIBRARY_LINES));
    kept.sort_by_key(|(at, _)| *at);
    kept.into_iter().map(|(_, line)| format!("{}\n", line.text)).collect()
}
