//! Compiles plugins in a process of its own: this program once more, with little time, memory and
//! nothing else. A file that makes the compiler spin or fills its memory ends that process alone.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::RawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, nice, set_parent_process_death_signal, setrlimit};
use strait_host::{CompilerError, CompilerProcess, compiler_answer};

/// The hidden command of the other process.
const COMMAND: &str = "compile-plugin";

/// Address space of the other process. Python, the largest language, needs a fifth.
const MEMORY_BYTES_MAX: u64 = 2 << 30;
/// How much the other process yields to the links of this one.
const NICE: i32 = 10;
/// Seconds of the clock for one second of processor time, on a machine that is busy otherwise.
const PATIENCE: u64 = 10;
/// Time between two looks at whether it has ended.
const POLL: Duration = Duration::from_millis(5);
/// Machine code is several times larger than its Wasm; a file has at most 256 MiB.
const ANSWER_BYTES_MAX: u64 = 1 << 30;
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Bytes of its last words.
const WORDS_BYTES_MAX: u64 = 1_024;

/// Starts this program once more for each file.
#[derive(Debug)]
struct OwnProcess;

/// Returns the compiler of every engine of this program. Unit tests are another program, without
/// the hidden command.
#[must_use]
pub fn own_process() -> Option<Arc<dyn CompilerProcess>> {
    if cfg!(test) { None } else { Some(Arc::new(OwnProcess)) }
}

impl CompilerProcess for OwnProcess {
    fn answer(&self, file: &[u8], cpu_s_max: u64) -> Result<Vec<u8>, CompilerError> {
        let mut command = Command::new(program());
        command.arg(COMMAND).arg(cpu_s_max.to_string()).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C is for this process, which then ends the other one.
        command.process_group(0);
        let mut child = command.spawn().map_err(CompilerError::NotStarted)?;
        let deadline = Instant::now() + Duration::from_secs(cpu_s_max.saturating_mul(PATIENCE));
        let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        thread::scope(|scope| {
            // Three pipes, three threads: each ends with the other process.
            scope.spawn(move || input.map(|mut input| input.write_all(file)));
            let words = scope.spawn(move || read(errors, WORDS_BYTES_MAX));
            let output = scope.spawn(move || read(output, ANSWER_BYTES_MAX));
            let status = wait(&mut child, deadline);
            let output = output.join().unwrap_or_default();
            let words = words.join().unwrap_or_default();
            judge(status, output, &words, cpu_s_max)
        })
    }
}

/// Returns this program, also where its file was replaced since it started.
fn program() -> PathBuf {
    let running = Path::new("/proc/self/exe");
    match running.exists() {
        true => running.to_owned(),
        false => std::env::current_exe().unwrap_or_else(|_| running.to_owned()),
    }
}

fn read(pipe: Option<impl Read>, bytes_max: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        // What is missing at the end shows: an answer has a digest.
        drop(pipe.take(bytes_max).read_to_end(&mut bytes));
    }
    bytes
}

/// Waits until the other process has ended, and ends it at the deadline.
fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(POLL);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

fn judge(
    status: io::Result<Option<ExitStatus>>,
    output: Vec<u8>,
    words: &[u8],
    cpu_s_max: u64,
) -> Result<Vec<u8>, CompilerError> {
    let status = match status {
        Ok(Some(status)) => status,
        Ok(None) => return Err(CompilerError::Time { cpu_s_max }),
        Err(error) => return Err(CompilerError::NotStarted(error)),
    };
    if status.success() {
        return Ok(output);
    }
    if status.signal() == Some(Signal::Xcpu as i32) {
        return Err(CompilerError::Time { cpu_s_max });
    }
    let words = String::from_utf8_lossy(words);
    Err(CompilerError::Ended(format!("{status}: {}", words.trim())))
}

/// Reads a plugin's file from standard input and writes the answer to standard output: the other
/// process.
///
/// # Errors
/// Of the system.
pub fn compile(cpu_s_max: u64) -> io::Result<()> {
    // First of all, while nothing of the file was read.
    close_inherited();
    limit_itself(cpu_s_max)?;
    let mut file = Vec::new();
    io::stdin().take(FILE_BYTES_MAX).read_to_end(&mut file)?;
    io::stdout().write_all(&compiler_answer(&file))
}

/// Closes what it has beside its three pipes: this program may have been started with more, and
/// passes on whatever is not opened with close-on-exec.
#[allow(unsafe_code, reason = "there is no safe way to close a descriptor that nothing owns")]
fn close_inherited() {
    let Ok(listed) = fs::read_dir("/proc/self/fd") else { return };
    let numbers = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok());
    let open: Vec<RawFd> = numbers.filter(|number| *number > 2).collect();
    for number in open {
        // SAFETY: nothing owns it. This process has one thread and has opened nothing but the list,
        // which is closed by now; to close its number again is an error without effect.
        unsafe { rustix::io::close(number) };
    }
}

fn limit_itself(cpu_s_max: u64) -> io::Result<()> {
    // It must not outlive the thread that waits for it.
    set_parent_process_death_signal(Some(Signal::Kill))?;
    nice(NICE)?;
    limit(Resource::Cpu, cpu_s_max)?;
    limit(Resource::As, MEMORY_BYTES_MAX)?;
    // No file, and no image of its memory.
    limit(Resource::Fsize, 0)?;
    limit(Resource::Core, 0)
}

fn limit(resource: Resource, max: u64) -> io::Result<()> {
    let before = getrlimit(resource).maximum;
    let within = |wanted: u64| before.map_or(wanted, |before| before.min(wanted));
    // One above: at the hard limit of time the signal would not say why.
    let limits = Rlimit { current: Some(within(max)), maximum: Some(within(max.saturating_add(1))) };
    Ok(setrlimit(resource, limits)?)
}
