//! Code that the bundled plugins share: the part of a record that identifies it, stable hashes,
//! pointers into configurations, names made by patterns, and counters.

pub mod by;
pub mod hash;
pub mod pointer;
pub mod rewrite;
pub mod tally;
