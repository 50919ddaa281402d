//! Child processes that cannot outlive this one.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

struct Job {
    command: Command,
    reply: SyncSender<io::Result<Child>>,
}

/// Starts `command` so that the kernel kills it when this process ends, however it ends.
///
/// One thread, which is never joined, starts all children: the kernel sends the parent-death signal
/// when the starting *thread* ends, and a test's thread ends long before its process.
///
/// # Errors
/// The system's refusal.
pub fn spawn(mut command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<SyncSender<Job>> = OnceLock::new();

    die_with_parent(&mut command);
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, jobs) = sync_channel::<Job>(16);
        let started = thread::Builder::new().name("process-spawner".into()).spawn(move || {
            for mut job in jobs {
                // A caller that gave up needs no answer.
                drop(job.reply.send(job.command.spawn()));
            }
        });
        // Without the thread the channel is closed, and every use of it below is an error.
        drop(started);
        sender
    });
    let (reply, answer) = sync_channel(1);
    let gone = |_| io::Error::other("the thread that starts processes has ended");
    spawner.send(Job { command, reply }).map_err(|_| gone(()))?;
    answer.recv().map_err(|_| gone(()))?
}

#[allow(unsafe_code, reason = "prctl between fork and exec has no safe form in the standard library")]
fn die_with_parent(command: &mut Command) {
    // SAFETY: the closure runs between fork and exec and calls nothing but prctl, which is
    // async-signal-safe and touches no memory of ours.
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0 {
                return Ok(());
            }
            Err(io::Error::last_os_error())
        });
    }
}

/// Runs `end` when the process exits in an orderly way: when `main` returns or
/// [`std::process::exit`] is called. For what lives in a static, which is never dropped.
///
/// # Errors
/// The system's refusal.
#[allow(unsafe_code, reason = "the standard library has no exit handlers")]
pub fn at_exit(end: extern "C" fn()) -> io::Result<()> {
    // SAFETY: the handler is a function of this program and therefore valid until the process ends.
    if unsafe { libc::atexit(end) } == 0 {
        return Ok(());
    }
    Err(io::Error::other("the system takes no more exit handlers"))
}

/// Sends a signal to a child that has not been waited for, so that its id is certainly its own.
///
/// # Errors
/// The system's refusal.
#[allow(unsafe_code, reason = "the standard library sends no signal but SIGKILL")]
pub fn signal(child: &Child, signal: libc::c_int) -> io::Result<()> {
    let pid = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    // SAFETY: kill takes plain integers and has no memory effects.
    if unsafe { libc::kill(pid, signal) } == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}
