//! The plugin host: loads Wasm plugins, shows them batches as columns and turns their edits into dispositions.
//!
//! The only crate that names wasmtime. A guest is untrusted: it gets memory, time and output bounds on every call, no imports
//! but its own log and counters, and nothing that it answers can make the host panic.

pub mod api;
mod bundled;
mod chain;
mod columns;
mod edits;
mod error;
mod factory;
mod failure;
mod fields;
mod file;
mod guest;
mod health;
mod memory;
mod package;
mod patch;
mod plan;
mod recall;
mod reload;
mod schema;
mod sight;
mod slots;
mod text;
mod trust;

pub use bundled::bundled_names;
pub use chain::PluginChain;
pub use chain::measure::ColumnBytes;
pub use error::{ConfigMistake, LoadError, LoadProblem, TrustError};
pub use factory::{ChainSpec, CounterValue, HostChains, LinkInfo, Naming, PluginSource, PluginSpec, generation_of};
pub use file::{FileError, read_file};
pub use guest::{HostEngine, HostOptions, Limits};
pub use health::{BreakerState, FailureKind, PluginHealth};
pub use package::{Kind, Manifest, PluginInfo, component_of, inspect};
pub use reload::{
    ChainSlot, ChainState, Comparison, HistoryEntry, OfferError, Outcome, PluginVersion, SlotDeps, Standing, Trial,
};
pub use text::digest_of;
pub use trust::{PrivateKey, PublicKey, Trust, signature_path, verify_file};
