//! WASI 0.2 for guests whose language runtime needs a system, where the operator grants it.
//!
//! The system is empty: no files, no network, no environment, no arguments. Standard input is at
//! its end; standard output and error go to the plugin's log.
//!
//! The same records give the same edits. The wall clock shows the timestamp of the last record of
//! the call, the monotonic clock counts its readings, a wait ends at once and moves the clock, and
//! random numbers start from the same seed in every instance. They are good for hash tables, not
//! for secrets. Everything else of WASI traps when it is called.

use std::collections::HashMap;

use wasmtime::component::{Component, ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType};
use wasmtime::{Result, StoreContextMut, bail};

use super::store::GuestState;

/// Packages of WASI that can be granted. `http` and others cannot.
const PACKAGES: [&str; 6] = ["cli", "clocks", "filesystem", "io", "random", "sockets"];
/// Handles of an instance at a time: each costs the host some bytes that no memory limit counts.
const HANDLES_MAX: usize = 1_024;
/// Random bytes in one call.
const RANDOM_BYTES_MAX: u64 = 64 << 10;
/// Bytes that a stream accepts at once.
const WRITE_BYTES_MAX: u64 = 4 << 10;
/// Bytes of a line; the log cuts at the same length.
const LINE_BYTES_MAX: usize = 1_024;
/// Nanoseconds by which each reading moves the monotonic clock.
const STEP_NS: u64 = 1_000;
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

const STDIN: u32 = 0;
pub(super) const STDOUT: u32 = 1;
pub(super) const STDERR: u32 = 2;
/// The first handle of a pollable.
const POLLABLE_MIN: u32 = 16;

/// The loader's view of an import.
pub(crate) enum Import {
    /// Not WASI.
    Other,
    /// WASI that can be granted.
    Known,
    /// WASI that is never granted.
    Never,
}

/// Classifies an import by its name, such as `wasi:io/streams@0.2.6`.
pub(crate) fn judge(import: &str) -> Import {
    let Some(rest) = import.strip_prefix("wasi:") else {
        return Import::Other;
    };
    let known = rest.split_once('/').is_some_and(|(package, _)| PACKAGES.contains(&package))
        && rest.split_once('@').is_some_and(|(_, version)| version.starts_with("0.2."));
    if known { Import::Known } else { Import::Never }
}

/// WASI of one instance.
#[derive(Debug)]
pub(crate) struct Wasi {
    /// Timestamp of the last record of the call, in milliseconds since the Unix epoch.
    pub(super) time_ms: i64,
    monotonic_ns: u64,
    random: u64,
    handles: usize,
    /// When each pollable is ready, on the monotonic clock.
    pollables: HashMap<u32, u64>,
    next_pollable: u32,
    /// Incomplete lines of standard output and standard error.
    lines: [Vec<u8>; 2],
}

impl Default for Wasi {
    fn default() -> Self {
        Self {
            time_ms: 0,
            monotonic_ns: 0,
            random: SEED,
            handles: 0,
            pollables: HashMap::new(),
            next_pollable: POLLABLE_MIN,
            lines: [const { Vec::new() }; 2],
        }
    }
}

impl Wasi {
    fn read_clock(&mut self) -> u64 {
        self.monotonic_ns = self.monotonic_ns.saturating_add(STEP_NS);
        self.monotonic_ns
    }

    /// xorshift64*: its period is long enough for hash seeds, and nothing here may be
    /// unpredictable.
    fn random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn new_handle(&mut self, rep: u32) -> Result<Resource<()>> {
        if self.handles >= HANDLES_MAX {
            bail!("it holds {HANDLES_MAX} handles of WASI and may have no more: it leaks them");
        }
        self.handles += 1;
        Ok(Resource::new_own(rep))
    }

    fn drop_handle(&mut self, rep: u32) {
        self.handles = self.handles.saturating_sub(1);
        self.pollables.remove(&rep);
    }

    fn pollable(&mut self, ready_ns: u64) -> Result<Resource<()>> {
        let rep = self.next_pollable;
        let handle = self.new_handle(rep)?;
        self.next_pollable = rep.checked_add(1).unwrap_or(POLLABLE_MIN);
        self.pollables.insert(rep, ready_ns);
        Ok(handle)
    }

    fn ready_ns(&self, pollable: &Resource<()>) -> u64 {
        self.pollables.get(&pollable.rep()).copied().unwrap_or(0)
    }

    /// Returns the indexes of those that are ready. If none is, moves the clock.
    fn poll(&mut self, pollables: &[Resource<()>]) -> Result<Vec<u32>> {
        let Some(first) = pollables.iter().map(|pollable| self.ready_ns(pollable)).min() else {
            bail!("it polls nothing");
        };
        self.monotonic_ns = self.monotonic_ns.max(first);
        let ready = (0_u32..).zip(pollables).filter(|(_, pollable)| self.ready_ns(pollable) <= self.monotonic_ns);
        Ok(ready.map(|(index, _)| index).collect())
    }

    /// Adds written bytes. Returns the complete lines that are not blank, up to a number, and how
    /// many more there were.
    pub(super) fn write(&mut self, stream: u32, bytes: &[u8], lines_max: usize) -> (Vec<String>, u64) {
        let mut complete = Vec::new();
        let mut left_out = 0;
        let Some(line) = self.lines.get_mut(usize::from(stream == STDERR)) else {
            return (complete, left_out);
        };
        for byte in bytes {
            if *byte != b'\n' {
                line.push(*byte);
            }
            if *byte == b'\n' || line.len() >= LINE_BYTES_MAX {
                match line.trim_ascii().is_empty() {
                    true => {}
                    false if complete.len() < lines_max => complete.push(String::from_utf8_lossy(line).into_owned()),
                    false => left_out += 1,
                }
                line.clear();
            }
        }
        (complete, left_out)
    }

    pub(super) fn has_open_line(&self, stream: u32) -> bool {
        self.lines.get(usize::from(stream == STDERR)).is_some_and(|line| !line.is_empty())
    }
}

/// `stream-error`.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum StreamError {
    /// Never returned.
    #[allow(dead_code, reason = "part of the type")]
    #[component(name = "last-operation-failed")]
    Failed(Resource<()>),
    #[component(name = "closed")]
    Closed,
}

/// `datetime`.
#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct DateTime {
    seconds: u64,
    nanoseconds: u32,
}

type Streamed<T> = Result<(std::result::Result<T, StreamError>,)>;
type Store<'a> = StoreContextMut<'a, GuestState>;

/// Defines the WASI interfaces that a component imports, under the same names and versions.
pub(crate) fn define(linker: &mut Linker<GuestState>, component: &Component) -> Result<()> {
    let ty = component.component_type();
    let engine = linker.engine().clone();
    let mut any = false;
    for (name, _) in ty.imports(&engine) {
        if !matches!(judge(name), Import::Known) {
            continue;
        }
        any = true;
        let interface = name.split('@').next().unwrap_or(name);
        let mut instance = linker.instance(name)?;
        match interface {
            "wasi:cli/environment" => environment(&mut instance)?,
            "wasi:cli/exit" => exit(&mut instance)?,
            "wasi:cli/stdin" => standard(&mut instance, "get-stdin", STDIN)?,
            "wasi:cli/stdout" => standard(&mut instance, "get-stdout", STDOUT)?,
            "wasi:cli/stderr" => standard(&mut instance, "get-stderr", STDERR)?,
            "wasi:cli/terminal-stdin" => no_terminal(&mut instance, "get-terminal-stdin")?,
            "wasi:cli/terminal-stdout" => no_terminal(&mut instance, "get-terminal-stdout")?,
            "wasi:cli/terminal-stderr" => no_terminal(&mut instance, "get-terminal-stderr")?,
            "wasi:clocks/monotonic-clock" => monotonic_clock(&mut instance)?,
            "wasi:clocks/wall-clock" => wall_clock(&mut instance)?,
            "wasi:filesystem/preopens" => preopens(&mut instance)?,
            "wasi:io/poll" => poll(&mut instance)?,
            "wasi:io/streams" => streams(&mut instance)?,
            "wasi:random/random" => random(&mut instance, "get-random-bytes", "get-random-u64")?,
            "wasi:random/insecure" => random(&mut instance, "get-insecure-random-bytes", "get-insecure-random-u64")?,
            "wasi:random/insecure-seed" => seed(&mut instance)?,
            // Files and sockets: no import returns a handle to one.
            _ => {}
        }
    }
    if any {
        linker.define_unknown_imports_as_traps(component)?;
    }
    Ok(())
}

fn resource(instance: &mut LinkerInstance<'_, GuestState>, name: &str) -> Result<()> {
    instance.resource(name, ResourceType::host::<()>(), |mut store, rep| {
        store.data_mut().wasi.drop_handle(rep);
        Ok(())
    })
}

fn environment(instance: &mut LinkerInstance<'_, GuestState>) -> Result<()> {
    instance.func_wrap("get-environment", |_: Store<'_>, (): ()| Ok((Vec::<(String, String)>::new(),)))?;
    instance.func_wrap("get-arguments", |_: Store<'_>, (): ()| Ok((Vec::<String>::new(),)))?;
    instance.func_wrap("initial-cwd", |_: Store<'_>, (): ()| Ok((None::<String>,)))
}

fn exit(instance: &mut LinkerInstance<'_, GuestState>) -> Result<()> {
    instance.func_wrap("exit", |_: Store<'_>, (_status,): (std::result::Result<(), ()>,)| -> Result<()> {
        bail!("it called exit")
    })
}

fn standard(instance: &mut LinkerInstance<'_, GuestState>, name: &str, stream: u32) -> Result<()> {
    instance.func_wrap(name, move |mut store: Store<'_>, (): ()| Ok((store.data_mut().wasi.new_handle(stream)?,)))
}

fn no_terminal(instance: &mut LinkerInstance<'_, GuestState>, name: &str) -> Result<()> {
    instance.func_wrap(name, |_: Store<'_>, (): ()| Ok((None::<Resource<()>>,)))
}

fn monotonic_clock(instance: &mut LinkerInstance<'_, GuestState>) -> Result<()> {
    instance.func_wrap("now", |mut store: Store<'_>, (): ()| Ok((store.data_mut().wasi.read_clock(),)))?;
    instance.func_wrap("resolution", |_: Store<'_>, (): ()| Ok((STEP_NS,)))?;
    instance.func_wrap("subscribe-instant", |mut store: Store<'_>, (when,): (u64,)| {
        Ok((store.data_mut().wasi.pollable(when)?,))
    })?;
    instance.func_wrap("subscribe-duration", |mut store: Store<'_>, (wait,): (u64,)| {
        let wasi = &mut store.data_mut().wasi;
        let when = wasi.monotonic_ns.saturating_add(wait);
        Ok((wasi.pollable(when)?,))
    })
}

fn wall_clock(instance: &mut LinkerInstance<'_, GuestState>) -> Result<()> {
    instance.func_wrap("now", |store: Store<'_>, (): ()| {
        let time_ms = u64::try_from(store.data().wasi.time_ms).unwrap_or(0);
        let nanoseconds = u32::try_from(time_ms % 1_000).unwrap_or(0) * 1_000_000;
        Ok((DateTime { seconds: time_ms / 1_000, nanoseconds },))
    })?;
    instance.func_wrap("resolution", |_: Store<'_>, (): ()| Ok((DateTime { seconds: 0, nanoseconds: 1_000_000 },)))
}

fn preopens(instance: &mut LinkerInstance<'_, GuestState>) -> Result<()> {
    instance.func_wrap("get-directories", |_: Store<'_>, (): ()| Ok((Vec::<(Resource<()>, String)>::new(),)))
}

fn poll(instance: &mut LinkerInstance<'_, GuestState>) -> Result<()> {
    resource(instance, "pollable")?;
    instance.func_wrap("[method]pollable.ready", |store: Store<'_>, (pollable,): (Resource<()>,)| {
        let wasi = &store.data().wasi;
        Ok((wasi.ready_ns(&pollable) <= wasi.monotonic_ns,))
    })?;
    instance.func_wrap("[method]pollable.block", |mut store: Store<'_>, (pollable,): (Resource<()>,)| {
        store.data_mut().wasi.poll(&[pollable])?;
        Ok(())
    })?;
    instance.func_wrap("poll", |mut store: Store<'_>, (pollables,): (Vec<Resource<()>>,)| {
        Ok((store.data_mut().wasi.poll(&pollables)?,))
    })
}

fn streams(instance: &mut LinkerInstance<'_, GuestState>) -> Result<()> {
    resource(instance, "input-stream")?;
    resource(instance, "output-stream")?;
    for name in ["read", "blocking-read"] {
        let name = format!("[method]input-stream.{name}");
        instance.func_wrap(&name, |_: Store<'_>, _: (Resource<()>, u64)| -> Streamed<Vec<u8>> {
            Ok((Err(StreamError::Closed),))
        })?;
    }
    for name in ["skip", "blocking-skip"] {
        let name = format!("[method]input-stream.{name}");
        instance.func_wrap(&name, |_: Store<'_>, _: (Resource<()>, u64)| -> Streamed<u64> {
            Ok((Err(StreamError::Closed),))
        })?;
    }
    for name in ["[method]input-stream.subscribe", "[method]output-stream.subscribe"] {
        instance
            .func_wrap(name, |mut store: Store<'_>, _: (Resource<()>,)| Ok((store.data_mut().wasi.pollable(0)?,)))?;
    }
    instance.func_wrap("[method]output-stream.check-write", |_: Store<'_>, _: (Resource<()>,)| -> Streamed<u64> {
        Ok((Ok(WRITE_BYTES_MAX),))
    })?;
    for name in ["write", "blocking-write-and-flush"] {
        let name = format!("[method]output-stream.{name}");
        instance.func_wrap(
            &name,
            |mut store: Store<'_>, (stream, bytes): (Resource<()>, Vec<u8>)| -> Streamed<()> {
                store.data_mut().log_written(stream.rep(), &bytes);
                Ok((Ok(()),))
            },
        )?;
    }
    for name in ["flush", "blocking-flush"] {
        let name = format!("[method]output-stream.{name}");
        instance.func_wrap(&name, |_: Store<'_>, _: (Resource<()>,)| -> Streamed<()> { Ok((Ok(()),)) })?;
    }
    Ok(())
}

fn random(instance: &mut LinkerInstance<'_, GuestState>, bytes: &str, number: &str) -> Result<()> {
    instance.func_wrap(bytes, |mut store: Store<'_>, (len,): (u64,)| {
        if len > RANDOM_BYTES_MAX {
            bail!("it asked for {len} random bytes and may have {RANDOM_BYTES_MAX} at a time");
        }
        let wasi = &mut store.data_mut().wasi;
        let mut random = Vec::new();
        while (random.len() as u64) < len {
            random.extend(wasi.random().to_le_bytes());
        }
        random.truncate(usize::try_from(len).unwrap_or(0));
        Ok((random,))
    })?;
    instance.func_wrap(number, |mut store: Store<'_>, (): ()| Ok((store.data_mut().wasi.random(),)))
}

fn seed(instance: &mut LinkerInstance<'_, GuestState>) -> Result<()> {
    instance.func_wrap("insecure-seed", |mut store: Store<'_>, (): ()| {
        let wasi = &mut store.data_mut().wasi;
        Ok(((wasi.random(), wasi.random()),))
    })
}
