//! One compiler and clock for all plugins of a process.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use strait_flow::ports::Clock;
use strait_flow::{SystemClock, lock, millis};
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Engine, Strategy};

use super::budget::Budget;
use super::compile::{self, CompilerProcess};
use super::compiled::{CompiledCache, deserialize};
use super::exports::GuestPre;
use super::limits::GuestLimits;
use super::store::GuestState;
use super::wasi;
use crate::api::{Interface, v0_1, v0_2};
use crate::error::LoadProblem;
use crate::health::{HealthRegistry, PluginHealth, StateDir};

/// Length of an epoch, the precision of deadlines.
pub(crate) const TICK_MS: u64 = 10;

/// Compiled plugins in memory. Only a bound: a process has a handful.
const COMPILED_MAX: usize = 256;

/// The Wasm engine of a process. Cloning shares it.
#[derive(Clone)]
pub struct HostEngine {
    inner: Arc<Inner>,
}

/// Options of an engine.
#[derive(Clone)]
pub struct HostOptions {
    /// Clock for breakers and for the search for guilty records.
    pub clock: Arc<dyn Clock>,
    /// Folder that keeps open breakers and compiled plugins from one run to the next. Created if
    /// missing.
    pub state_dir: Option<PathBuf>,
    /// Memory for all instances of stateful plugins, one per partition, in bytes.
    pub stateful_bytes_max: usize,
    /// Folder for compiled plugins alone, instead of the one in `state_dir`.
    pub compiled_dir: Option<PathBuf>,
    /// Compiles in a process of its own; without it, this process compiles.
    pub compiler: Option<Arc<dyn CompilerProcess>>,
}

/// The threads that compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Threads {
    One,
    All,
}

impl Default for HostOptions {
    /// The machine's clock, and no folder.
    fn default() -> Self {
        let clock = Arc::new(SystemClock::start());
        Self { clock, state_dir: None, compiled_dir: None, compiler: None, stateful_bytes_max: 4 << 30 }
    }
}

struct Inner {
    engine: Engine,
    clock: Arc<dyn Clock>,
    healths: HealthRegistry,
    linker: Linker<GuestState>,
    compiled: Mutex<HashMap<[u8; 32], GuestPre>>,
    /// The same, from one run to the next.
    cache: CompiledCache,
    compiler: Option<Arc<dyn CompilerProcess>>,
    /// For instances of stateful plugins.
    stateful_budget: Arc<Budget>,
    /// Advances the epoch; ends with the engine.
    _ticker: Ticker,
}

struct Ticker {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts a thread of the operating system, not a task: a guest that spins may block every
    /// worker of the runtime.
    fn start(engine: &Engine) -> std::io::Result<Self> {
        let (stop, stopped) = sync_channel(0);
        let engine = engine.weak();
        let thread = std::thread::Builder::new().name("strait-epoch".into()).spawn(move || {
            while stopped.recv_timeout(Duration::from_millis(TICK_MS)) == Err(RecvTimeoutError::Timeout) {
                let Some(engine) = engine.upgrade() else { return };
                engine.increment_epoch();
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It only counts: there is nothing in its result.
            drop(thread.join());
        }
    }
}

impl HostEngine {
    /// Starts an engine with the default options.
    ///
    /// # Errors
    /// As [`Self::with`].
    pub fn new() -> Result<Self, String> {
        Self::with(HostOptions::default())
    }

    /// Starts an engine. One per process is enough; engines do not share breakers.
    ///
    /// # Errors
    /// The message of wasmtime or of the operating system, where the machine cannot run it.
    pub fn with(options: HostOptions) -> Result<Self, String> {
        let engine = wasmtime_engine(Threads::All)?;
        let mut linker = Linker::new(&engine);
        let added = v0_1::Plugin::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| state);
        added.map_err(cannot_start)?;
        let added = v0_2::Plugin::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| state);
        added.map_err(cannot_start)?;
        let ticker = Ticker::start(&engine).map_err(|e| format!("the epoch thread cannot be started: {e}"))?;
        let state = Arc::new(StateDir::open(options.state_dir.as_deref()));
        let compiled_dir = options.compiled_dir.or_else(|| Some(options.state_dir?.join("compiled")));
        let cache = CompiledCache::open(compiled_dir.as_deref());
        let clock = options.clock;
        let healths = HealthRegistry::new(Arc::clone(&clock), state);
        let compiled = Mutex::new(HashMap::new());
        let stateful_budget = Budget::new(options.stateful_bytes_max);
        let compiler = options.compiler;
        let inner =
            Inner { engine, clock, healths, linker, compiled, cache, compiler, stateful_budget, _ticker: ticker };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    pub(crate) fn stateful_budget(&self) -> &Arc<Budget> {
        &self.inner.stateful_budget
    }

    pub(crate) fn healths(&self) -> &HealthRegistry {
        &self.inner.healths
    }

    /// Returns the health of every plugin that this process has loaded, replaced ones included, in
    /// no order.
    #[must_use]
    pub fn plugin_health(&self) -> Vec<PluginHealth> {
        self.inner.healths.snapshots()
    }

    pub(crate) fn wasmtime(&self) -> &Engine {
        &self.inner.engine
    }

    /// Compiles a plugin's file, once per digest.
    pub(crate) fn compile(
        &self,
        digest: [u8; 32],
        interface: Interface,
        file: &[u8],
        limits: &GuestLimits,
    ) -> Result<GuestPre, LoadProblem> {
        if let Some(found) = self.compiled().get(&digest) {
            return Ok(found.clone());
        }
        let component = self.component(file, limits)?;
        let mut linker = self.inner.linker.clone();
        wasi::define(&mut linker, &component).map_err(|e| LoadProblem::NotAComponent(format!("WASI: {e:#}")))?;
        let pre = linker.instantiate_pre(&component);
        let pre = pre.map_err(|e| LoadProblem::NotAComponent(format!("{e:#}")))?;
        let pre = GuestPre::new(interface, pre).map_err(|e| LoadProblem::MissingExport {
            export: format!("strait:plugin/transform@{}", interface.full()),
            detail: format!(" ({e:#})"),
        })?;
        let mut compiled = self.compiled();
        if compiled.len() >= COMPILED_MAX {
            compiled.clear();
        }
        compiled.insert(digest, pre.clone());
        Ok(pre)
    }

    /// Takes the machine code from the cache, or compiles the file.
    fn component(&self, file: &[u8], limits: &GuestLimits) -> Result<Component, LoadProblem> {
        let Inner { engine, cache, compiler, .. } = &*self.inner;
        if let Some(found) = cache.get(engine, file) {
            return Ok(found);
        }
        let began = Instant::now();
        let compiled = match compiler {
            Some(process) => process.answer(file, limits.compile_s_max)?,
            None => compile::compile(engine, file)?,
        };
        let code = if compiler.is_some() { compile::code_of(&compiled)? } else { &compiled };
        let compile_ms = millis(began.elapsed());
        tracing::debug!(bytes = file.len(), compile_ms, "a plugin is compiled");
        cache.put(engine, file, code);
        deserialize(engine, code).map_err(|e| LoadProblem::NotWasm(format!("{e:#}")))
    }

    fn compiled(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], GuestPre>> {
        lock(&self.inner.compiled)
    }
}

impl std::fmt::Debug for HostEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostEngine").finish_non_exhaustive()
    }
}

/// Starts wasmtime. Engines differ in their threads only: what one compiles, another one runs.
///
/// # Errors
/// The message of wasmtime, where the machine cannot run it.
pub(super) fn wasmtime_engine(threads: Threads) -> Result<Engine, String> {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        // The interface is synchronous, and support for concurrency costs every call (wasmtime
        // issue 12311).
        .concurrency_support(false)
        .epoch_interruption(true)
        // Reserves the whole 32-bit space and its guards, so that no access needs a bounds
        // check.
        .memory_reservation(4 << 30)
        .memory_guard_size(32 << 20)
        .max_wasm_stack(512 << 10)
        // The same input gives the same edits on every machine.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_memory64(false)
        .parallel_compilation(threads == Threads::All);
    Engine::new(&config).map_err(cannot_start)
}

fn cannot_start(error: wasmtime::Error) -> String {
    format!("wasmtime cannot start here: {error:#}")
}
