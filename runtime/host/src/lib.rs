//! The plugin host: loads Wasm plugins, shows them batches as columns and turns their edits into
//! dispositions.
//!
//! The only crate that names wasmtime. A guest is untrusted: every call has bounds on memory, time
//! and output, its only imports are its log and its counters, and no answer makes the host panic.

pub mod api;
mod chain;
mod component;
mod error;
mod factory;
mod fields;
mod file;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod guest;
mod health;
mod load;
mod reload;
mod text;

pub use chain::{ColumnBytes, PluginChain, StageTrace};
pub use component::component_of;
pub use error::{CompilerError, ConfigMistake, LoadError, LoadProblem, TrustError};
pub use factory::{CounterValue, HostChains, PluginVersion};
pub use file::{FileError, read_file};
pub use guest::{CompilerProcess, GuestLimits, HostEngine, HostOptions, compiler_answer};
pub use health::{BreakerState, FailureKind, PluginHealth};
pub use load::{
    ChainSpec, LinkInfo, Manifest, OtherSigners, PackageKind, PluginInfo, PluginSource, PluginSpec, PrivateKey,
    PublicKey, TopicNaming, Trust, Vouched, bundled_names, generation_of, inspect, signature_path, verify_file,
};
pub use reload::{
    ActiveChain, ActiveChainDeps, ChainState, Comparison, ExpectedCounter, HistoryEntry, HistoryOutcome, OfferError,
    Trial, TrialPhase,
};
pub use text::digest_of;
