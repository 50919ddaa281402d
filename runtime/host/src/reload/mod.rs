//! Replacing a link's plugins while it runs.
//!
//! One chain is active; another may be on standby. A lane polls one number before each batch. When
//! it has changed, the lane swaps in instances that were prepared in the background: one generation
//! judges a batch, and no lane waits for an instance to start. On standby is the previous chain,
//! while the active one is on probation, or a candidate on trial. A chain on probation or on trial
//! that breaks on a batch is rolled back at once, and the other chain judges the same batch.

mod active;
mod compare;
mod guard;
mod history;
mod known_bad;
mod lane_chain;
mod report;
mod shared;
mod silence;
mod state;
mod version;

pub use active::{ActiveChain, ActiveChainDeps, OfferError, Trial};
pub use compare::Comparison;
pub use history::{HistoryEntry, HistoryOutcome};
pub use report::{ChainState, TrialPhase};
pub use silence::ExpectedCounter;
