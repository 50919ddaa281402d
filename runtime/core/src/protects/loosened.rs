//! How one protection is looser than another.

use std::fmt;

use super::claim::{Claim, Embedded, RuleId};
use super::leaves::Leaves;
use super::locator::Locator;
use super::order::reordered;
use super::protection::Protection;

/// One way in which a protection is looser than the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loosening {
    /// The place; `None` where the version that runs cannot read what was claimed.
    pub at: Option<Locator>,
    /// The rule that protected it, where one is known.
    pub rule: Option<RuleId>,
    /// The loss, in words for an operator.
    pub reason: String,
}

/// Writes the place, the rule and what is lost, for an operator.
impl fmt::Display for Loosening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.at {
            write!(f, "{at} ")?;
        }
        if let Some(rule) = &self.rule {
            write!(f, "(rule {rule}) ")?;
        }
        f.write_str(&self.reason)
    }
}

/// Returns how `after` protects less than `before`. Empty only if no record shows more under
/// `after` than under `before`; but it may name a loosening where claims of several rules together
/// would protect as much.
#[must_use]
pub fn loosened(before: &Protection, after: &Protection) -> Vec<Loosening> {
    let mut found = Vec::new();
    let now: Vec<Reach<'_>> = after.claims.iter().map(Reach::of).collect();
    for claim in before.claims.iter().filter(|claim| !is_empty(claim)) {
        let until_now = Reach::of(claim);
        let shortfalls = now.iter().map(|now| until_now.shortfall(now));
        // The claim that comes closest says best what is lost.
        let closest = shortfalls.max_by_key(Shortfall::closeness).unwrap_or(Shortfall::Elsewhere);
        if let Some(reason) = closest.reason(claim) {
            found.push(Loosening { at: Some(claim.at.clone()), rule: Some(claim.rule.clone()), reason });
        }
    }
    for sight in before.sights.difference(&after.sights) {
        // What was left there is not known, so a claim must leave nothing to stand for it.
        let keeps = |now: &Reach<'_>| {
            let most = Claim::new(now.claim.rule.clone(), sight.clone(), Leaves::Nothing);
            matches!(Reach::of(&most).shortfall(now), Shortfall::None)
        };
        if !now.iter().any(keeps) {
            let reason = "is not looked at any more".to_owned();
            found.push(Loosening { at: Some(sight.clone()), rule: None, reason });
        }
    }
    if before.unread > 0 {
        let reason = format!("{} claims were made that this version does not know", before.unread);
        found.push(Loosening { at: None, rule: None, reason });
    }
    found.extend(reordered(before, after));
    found
}

/// The respect in which a claim does not stand for another one.
enum Shortfall<'a> {
    /// It is about other places.
    Elsewhere,
    /// It misses names in another case.
    Case,
    /// It has an exception there.
    Except(&'a Locator),
    /// It misses texts that are JSON.
    Embedded,
    /// It leaves more.
    Leaves(&'a Leaves),
    /// Nothing.
    None,
}

impl Shortfall<'_> {
    fn closeness(&self) -> u8 {
        match self {
            Self::Elsewhere => 0,
            Self::Case => 1,
            Self::Except(_) => 2,
            Self::Embedded => 3,
            Self::Leaves(_) => 4,
            Self::None => 5,
        }
    }

    fn reason(&self, before: &Claim) -> Option<String> {
        Some(match self {
            Self::Elsewhere => "is not protected any more".to_owned(),
            Self::Case => "is not protected any more where its names are in another case".to_owned(),
            Self::Except(place) => format!("is not protected any more at {place}"),
            Self::Embedded => "is not protected as much any more inside of texts that are JSON".to_owned(),
            Self::Leaves(now) => format!("would leave {now}; until now it leaves {}", before.leaves),
            Self::None => return None,
        })
    }
}

/// A claim, with its places ready to be compared.
struct Reach<'a> {
    claim: &'a Claim,
    at: Place<'a>,
    except: Vec<Place<'a>>,
}

/// A place, ready to be compared.
pub(super) struct Place<'a> {
    written: &'a Locator,
    folded: Locator,
    /// Its names match in any case.
    fold: bool,
}

impl<'a> Place<'a> {
    pub(super) fn new(written: &'a Locator, fold: bool) -> Self {
        Self { written, folded: written.folded(), fold }
    }

    fn covers(&self, inner: &Place<'_>) -> bool {
        // A claim about a path also rules out values that it cannot step into; `..name` does not.
        if self.written.goes_anywhere() && !inner.written.goes_anywhere() {
            return false;
        }
        if self.fold {
            return self.folded.covers(&inner.folded);
        }
        // Names in any case are covered only where names do not matter.
        let names_matter = inner.fold && inner.written.has_names() && self.written.has_names();
        !names_matter && self.written.covers(inner.written)
    }

    pub(super) fn may_meet(&self, other: &Place<'_>) -> bool {
        match self.fold || other.fold {
            true => self.folded.may_meet(&other.folded),
            false => self.written.may_meet(other.written),
        }
    }
}

impl<'a> Reach<'a> {
    fn of(claim: &'a Claim) -> Self {
        let except = claim.except.iter().map(|place| Place::new(place, claim.fold)).collect();
        Self { claim, at: Place::new(&claim.at, claim.fold), except }
    }

    /// Returns what `now` lacks to stand for this claim.
    fn shortfall<'b>(&self, now: &Reach<'b>) -> Shortfall<'b> {
        if !now.at.covers(&self.at) {
            let only_case = self.at.fold && !now.at.fold && now.at.folded.covers(&self.at.folded);
            return if only_case { Shortfall::Case } else { Shortfall::Elsewhere };
        }
        // An exception is harmless in another place, or where one was before; but one that reaches
        // into texts opens what was gone with the text.
        let reaches_further = now.claim.embedded.is_some() && self.claim.embedded.is_none();
        let was_open = |place: &Place<'_>| !reaches_further && self.except.iter().any(|open| open.covers(place));
        let is_harmless = |place: &&Place<'_>| !place.may_meet(&self.at) || was_open(place);
        if let Some(place) = now.except.iter().find(|place| !is_harmless(place)) {
            return Shortfall::Except(place.written);
        }
        // Of a whole part that is gone nothing is left to look into.
        let is_gone = now.claim.leaves <= Leaves::Constant;
        let is_whole = now.at.written.path().is_none() && now.except.is_empty();
        let rank = |claim: &Claim| claim.embedded.map_or(2, |embedded| embedded as u8);
        let looks_less = rank(now.claim) > rank(self.claim) && !(is_gone && is_whole);
        // Characters of a text around the place can be any of those inside.
        let takes_around = self.claim.embedded.is_some() && !is_gone && !self.at.covers(&now.at);
        if looks_less || takes_around {
            return Shortfall::Embedded;
        }
        match now.claim.leaves <= self.claim.leaves {
            true => Shortfall::None,
            false => Shortfall::Leaves(&now.claim.leaves),
        }
    }
}

/// Returns whether a claim says nothing.
fn is_empty(claim: &Claim) -> bool {
    claim.leaves == Leaves::All && claim.embedded != Some(Embedded::Reject)
}
