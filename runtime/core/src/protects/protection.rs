//! The protection that a chain gives to one topic, and its stored text.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::claim::{Claim, RuleId};
use super::locator::Locator;
use super::loosened::{Loosening, loosened};
use super::order::{Stage, StoredStage};

/// The protection that the required plugins of a chain give to one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// Their claims.
    pub claims: Vec<Claim>,
    /// Places that those look at that make no claims (guests of interface 0.1). Nobody knows how
    /// much they leave of them.
    pub sights: BTreeSet<Locator>,
    /// The plugins in their order; empty where there is one.
    pub order: Vec<Stage>,
    /// Number of claims that this version cannot read. Never written.
    pub unread: usize,
}

/// Protection by source topic.
pub type ByTopic = BTreeMap<Arc<str>, Protection>;

/// A reason why a chain must not come into force, whatever an operator says. There is none yet: a
/// policy over regions will give some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forbidden {}

#[derive(Serialize)]
struct Written<'a> {
    claims: Vec<&'a RawValue>,
    #[serde(skip_serializing_if = "<[Stage]>::is_empty")]
    order: &'a [Stage],
    sights: &'a BTreeSet<Locator>,
}

#[derive(Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    claims: Vec<&'a RawValue>,
    #[serde(default)]
    order: Vec<StoredStage>,
    sights: Vec<String>,
}

impl Protection {
    /// Adds the protection of another plugin of the chain.
    pub fn add(&mut self, other: Self) {
        for claim in other.claims {
            if !self.claims.contains(&claim) {
                self.claims.push(claim);
            }
        }
        self.sights.extend(other.sights);
        if self.order.is_empty() {
            self.order = other.order;
        }
        self.unread += other.unread;
    }

    /// Returns what this one and another one protect, both by themselves.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        if loosened(self, other).is_empty() {
            return self.clone();
        }
        if loosened(other, self).is_empty() {
            return other.clone();
        }
        let mut common = Self::default();
        for (one, other) in [(self, other), (other, self)] {
            for claim in one.claims.iter().filter(|claim| !common.claims.contains(claim)).cloned().collect::<Vec<_>>() {
                let alone = Self { claims: vec![claim.clone()], ..Self::default() };
                if loosened(&alone, other).is_empty() {
                    common.claims.push(claim);
                }
            }
            for sight in &one.sights {
                let alone = Self { sights: [sight.clone()].into(), ..Self::default() };
                if loosened(&alone, other).is_empty() {
                    common.sights.insert(sight.clone());
                }
            }
        }
        common
    }

    /// Returns its part in an order: what the one plugin that it is of does, or looks at.
    #[must_use]
    pub fn stage(&self, edits: bool) -> Stage {
        let rules: BTreeSet<&RuleId> = self.claims.iter().map(|claim| &claim.rule).collect();
        Stage { edits, rules: rules.into_iter().cloned().collect(), sights: self.sights.iter().cloned().collect() }
    }

    /// Returns the text to store: canonical JSON, the same for the same claims in any order.
    #[must_use]
    pub fn text(&self) -> String {
        let one = |claim: &Claim| canonical(&serde_json::to_vec(claim).unwrap_or_default());
        let claims: BTreeSet<String> = self.claims.iter().map(one).collect();
        let claims: Vec<Box<RawValue>> =
            claims.into_iter().filter_map(|text| RawValue::from_string(text).ok()).collect();
        let claims = claims.iter().map(|text| &**text).collect();
        let written = Written { claims, order: &self.order, sights: &self.sights };
        canonical(&serde_json::to_vec(&written).unwrap_or_default())
    }

    /// Reads a stored text. Claims and places that this version does not know are counted: whoever
    /// wrote them meant something by them.
    ///
    /// # Errors
    /// It is not such a text.
    pub fn read(text: &str) -> Result<Self, serde_json::Error> {
        let stored: Stored<'_> = serde_json::from_str(text)?;
        let mut protection = Self::default();
        for text in stored.claims {
            match Claim::read(text) {
                Ok(claim) => protection.claims.push(claim),
                Err(_) => protection.unread += 1,
            }
        }
        protection.order = stored.order.into_iter().map(StoredStage::read).collect();
        for text in stored.sights {
            match text.parse() {
                Ok(sight) => drop(protection.sights.insert(sight)),
                Err(_) => protection.unread += 1,
            }
        }
        Ok(protection)
    }
}

/// Returns the digest of a stored text.
#[must_use]
pub fn text_digest(text: &str) -> Arc<str> {
    strait_scheme::digest(text.as_bytes()).unwrap_or_default().into()
}

/// Our own JSON, of texts and small numbers only, has a canonical form.
fn canonical(json: &[u8]) -> String {
    let mut out = Vec::new();
    match strait_scheme::canonical::write(json, &mut out) {
        Ok(()) => String::from_utf8(out).unwrap_or_default(),
        Err(_) => String::new(),
    }
}

/// Judges a chain against the border: returns, by topic, how it would protect less. An operator may
/// agree to it. A topic that `chain` does not have is not copied any more.
#[must_use]
pub fn looser(border: &ByTopic, chain: &ByTopic) -> Vec<(Arc<str>, Loosening)> {
    let copied = border.iter().filter_map(|(topic, before)| Some((topic, before, chain.get(topic)?)));
    let found = copied.flat_map(|(topic, before, now)| {
        loosened(before, now).into_iter().map(move |loosening| (Arc::clone(topic), loosening))
    });
    found.collect()
}

/// Judges a chain against what nobody can agree to.
#[must_use]
pub fn forbidden(_chain: &ByTopic) -> Vec<Forbidden> {
    Vec::new()
}
