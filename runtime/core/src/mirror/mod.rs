//! Taking over from MirrorMaker 2: its positions, and what it copied after it last wrote them.

mod checkpoints;
mod positions;
mod tail;

pub use checkpoints::Checkpoints;
pub use positions::{ConnectorsError, MirrorPositions, PositionsError};
pub use tail::{MATCH_MIN, Seen, Tail, match_tail};
