//! One running guest.

use wasmtime::{Store, Trap};

use super::engine::{HostEngine, TICK_MS};
use super::exports::{Exports, GuestPre};
use super::limits::{DESCRIBE_BYTES_MAX, GuestLimits, OPEN_TOPIC_BYTES_MAX};
use super::store::{GuestOutput, GuestState};
use super::wear::Wear;
use crate::api::v0_2::exports::strait::plugin::transform::{
    About, Batch, ConfigError, Edits, LinkInfo, Ready, TopicInfo, TopicPlan,
};
use crate::api::v0_2::strait::plugin::host;
use crate::error::LoadProblem;
use crate::health::FailureKind;

/// A call without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Deadline {
        ms_max: u64,
    },
    Broke {
        kind: FailureKind,
        reason: String,
        /// The guest's last message; it may contain personal data.
        message: Option<String>,
    },
}

impl Fault {
    pub(crate) fn kind(&self) -> FailureKind {
        match self {
            Self::Deadline { .. } => FailureKind::Timeout,
            Self::Broke { kind, .. } => *kind,
        }
    }

    /// Returns the text for an operator. `silent` withholds the guest's own message.
    pub(crate) fn text(&self, silent: bool) -> String {
        match self {
            Self::Deadline { ms_max } => format!("it did not end within {ms_max} ms"),
            Self::Broke { reason, message: Some(message), .. } if !silent => {
                format!("{reason}; its last words: {message}")
            }
            Self::Broke { reason, .. } => reason.clone(),
        }
    }
}

/// A guest. After a fault it is never called again: the store of a component that trapped is
/// unusable.
pub(crate) struct Instance {
    store: Store<GuestState>,
    exports: Exports,
    /// Set before each call and cleared after success, so that no path leaves a broken guest in
    /// use.
    broken: bool,
    wear: Wear,
}

impl Instance {
    /// Starts a guest; its start functions run under the deadline.
    pub(crate) fn start(engine: &HostEngine, pre: &GuestPre, limits: &GuestLimits) -> Result<Self, Fault> {
        let state = GuestState::new(limits);
        let mut store = Store::new(engine.wasmtime(), state);
        store.limiter(|state| &mut state.limiter);
        store.set_epoch_deadline(ticks(limits.start_ms_max));
        store.set_hostcall_fuel(DESCRIBE_BYTES_MAX);
        let exports = match pre.instantiate(&mut store) {
            Ok(exports) => exports,
            Err(error) => return Err(fault(&error, store.data(), limits.start_ms_max, DESCRIBE_BYTES_MAX)),
        };
        Ok(Self { store, exports, broken: false, wear: Wear::default() })
    }

    pub(crate) fn describe(&mut self, limits: &GuestLimits) -> Result<About, Fault> {
        self.call(limits.start_ms_max, DESCRIBE_BYTES_MAX, |guest, store| guest.describe(store))
    }

    pub(crate) fn configure(
        &mut self,
        limits: &GuestLimits,
        config: &str,
        link: LinkInfo<'_>,
    ) -> Result<Result<Ready, Vec<ConfigError>>, Fault> {
        let ready =
            self.call(limits.start_ms_max, DESCRIBE_BYTES_MAX, |guest, store| guest.configure(store, config, link))?;
        // Guests of 0.1 could always count with any number.
        if let (Ok(ready), Exports::V0_2(_)) = (&ready, &self.exports) {
            self.store.data_mut().counters = Some(ready.counters.len());
        }
        Ok(ready)
    }

    pub(crate) fn open_topic(
        &mut self,
        limits: &GuestLimits,
        topic: TopicInfo<'_>,
    ) -> Result<Result<TopicPlan, String>, Fault> {
        self.call(limits.open_topic_ms_max, OPEN_TOPIC_BYTES_MAX, |guest, store| guest.open_topic(store, topic))
    }

    /// `ms_max` is the deadline of this call, `time_ms` the time on the guest's clock.
    pub(crate) fn process(
        &mut self,
        limits: &GuestLimits,
        batch: Batch<'_>,
        ms_max: u64,
        time_ms: i64,
    ) -> Result<Result<Edits, String>, Fault> {
        self.store.data_mut().wasi.time_ms = time_ms;
        let output_bytes_max = limits.output_bytes_max.saturating_add(batch.data.len().saturating_mul(4));
        self.call(ms_max, output_bytes_max, |guest, store| guest.process(store, batch))
    }

    /// Returns the bytes of its linear memories.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().limiter.memory_bytes
    }

    /// A batch ended. Returns whether a fresh instance is to judge the next one, because this one's
    /// memory has grown near its limit.
    pub(crate) fn is_worn(&mut self, limits: &GuestLimits) -> bool {
        self.wear.after_batch(self.memory_bytes(), limits.memory_bytes_max)
    }

    /// Returns whether it may be called.
    pub(crate) fn is_sound(&self) -> bool {
        !self.broken
    }

    pub(crate) fn output(&mut self) -> &mut GuestOutput {
        &mut self.store.data_mut().output
    }

    /// Calls the guest, with a deadline and a bound on the answer. The only way into a guest.
    fn call<T>(
        &mut self,
        ms_max: u64,
        output_bytes_max: usize,
        enter: impl FnOnce(&mut Exports, &mut Store<GuestState>) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        if self.broken {
            let reason = "the instance broke earlier and was not replaced".into();
            return Err(Fault::Broke { kind: FailureKind::Trap, reason, message: None });
        }
        self.broken = true;
        self.store.data_mut().limiter.refused = None;
        self.store.data_mut().first_warning = None;
        self.store.data_mut().unknown_counter = None;
        self.store.set_epoch_deadline(ticks(ms_max));
        self.store.set_hostcall_fuel(output_bytes_max);
        let answer = enter(&mut self.exports, &mut self.store);
        self.store.data_mut().end_lines();
        if answer.is_ok()
            && let Some(reason) = self.store.data().miscounted()
        {
            return Err(Fault::Broke { kind: FailureKind::Error, reason, message: None });
        }
        match answer {
            Ok(answer) => {
                self.broken = false;
                Ok(answer)
            }
            Err(error) => Err(fault(&error, self.store.data(), ms_max, output_bytes_max)),
        }
    }
}

/// Bytes that wasmtime counts for a text or list beside its content.
const LIST_BYTES: usize = 24;

/// Returns the epochs until a deadline: one more, as the current one has begun.
fn ticks(ms_max: u64) -> u64 {
    ms_max.div_ceil(TICK_MS) + 1
}

fn fault(error: &wasmtime::Error, state: &GuestState, ms_max: u64, output_bytes_max: usize) -> Fault {
    let trap = error.downcast_ref::<Trap>();
    if trap == Some(&Trap::Interrupt) {
        return Fault::Deadline { ms_max };
    }
    // A guest that panics logs the reason before it aborts.
    let last = state.output.logs.iter().rfind(|(level, _)| matches!(level, host::Level::Error));
    let refused = state.limiter.refused.clone();
    let mut text = trap.map_or_else(|| error.root_cause().to_string(), ToString::to_string);
    let kind = match (&refused, trap) {
        (Some(_), _) => FailureKind::Memory,
        // The error's type is private; only its text shows it.
        (None, None) if text.contains("fuel allocated for hostcalls") => {
            text = format!(
                "it gave the host more than {output_bytes_max} bytes in one call: answer and messages, of which each text and list counts {LIST_BYTES} more than its content"
            );
            FailureKind::Output
        }
        _ => FailureKind::Trap,
    };
    let message = last.map(|(_, message)| message.clone()).or_else(|| state.first_warning.clone());
    Fault::Broke { kind, reason: refused.unwrap_or(text), message }
}

impl Fault {
    /// Converts it to a problem at load, in this call.
    pub(crate) fn at(self, call: &'static str) -> LoadProblem {
        match self {
            Self::Deadline { ms_max } => LoadProblem::Timeout { call, ms_max },
            Self::Broke { .. } => LoadProblem::Trap { call, reason: self.text(false) },
        }
    }
}
