//! The river: how records move from a source to a target, in order, once, and accounted for.
//!
//! Knows no broker and no plugin, only the ports that [`ports`] declares.
pub mod ports;
