//! Claims of plugins about what they leave of parts of records, and whether one set of claims is
//! looser than another.
//!
//! The formats outlive the code. A plugin exports its claims, and the border of a lane keeps them;
//! the host compares the two and knows no plugin's configuration.

mod claim;
mod leaves;
mod locator;
mod loosened;
mod order;
mod protection;

pub use claim::{CLAIMS_BYTES_MAX, CLAIMS_MAX, Claim, ClaimsError, Embedded, Gives, RuleId, Unmade, read_claims};
pub use leaves::{Kept, Leaves, TokenKey};
pub use locator::{LOCATOR_BYTES_MAX, Locator, LocatorError, Part};
pub use loosened::{Loosening, loosened};
pub use order::{Stage, reordered};
pub use protection::{ByTopic, Forbidden, Protection, forbidden, looser, text_digest};

#[cfg(test)]
mod tests;
