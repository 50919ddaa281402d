//! Placeholder.
/// Placeholder.
#[derive(Debug)]
pub struct Ledger;
