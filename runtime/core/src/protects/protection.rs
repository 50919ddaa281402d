//! What a chain protects in one topic.

use std::collections::BTreeSet;

use super::claim::Claim;
use super::locator::Locator;

/// What the required plugins of a chain protect in one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// What they claim.
    pub claims: Vec<Claim>,
    /// What those look at that make no claims (guests of interface 0.1). What they leave is not
    /// known.
    pub sights: BTreeSet<Locator>,
    /// Number of claims that this version cannot read.
    pub unread: usize,
}

impl Protection {
    /// Adds what another plugin of the chain protects.
    pub fn add(&mut self, other: Self) {
        for claim in other.claims {
            if !self.claims.contains(&claim) {
                self.claims.push(claim);
            }
        }
        self.sights.extend(other.sights);
        self.unread += other.unread;
    }
}
