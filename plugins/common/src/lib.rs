//! What the bundled plugins share: by what of a record they go, hashes that stay what they are, pointers into
//! their configurations, names made by patterns, counting.

pub mod by;
pub mod hash;
pub mod pointer;
pub mod rewrite;
pub mod tally;
