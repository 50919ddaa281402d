//! Whether the clusters of a link answer, its group has this process as a member, and the source
//! lists its topics. Pure: it is told of answers and failures.

use std::time::Duration;

use strait_core::{Outage, Side};

use super::reach::{Change, Reach};

/// Whether each of them is away.
#[derive(Debug)]
pub(super) struct Outages {
    pub source: Reach,
    pub target: Reach,
    /// Whether the link's group has this process as a member.
    pub group: Reach,
    /// Whether the source lists its topics, if this process has to ask for them.
    pub listing: Reach,
}

impl Outages {
    /// All of them are there at this time.
    pub fn new(now: Duration, now_ms: i64) -> Self {
        let there = Reach::new(now, now_ms);
        Self { source: there.clone(), target: there.clone(), group: there.clone(), listing: there }
    }

    /// Returns what has changed since the last call.
    pub fn look(&mut self, now: Duration, now_ms: i64) -> Vec<Outage> {
        let mut changes = Vec::new();
        for (side, reach) in [(Side::Source, &mut self.source), (Side::Target, &mut self.target)] {
            changes.extend(reach.change(now).map(|change| match change {
                Change::Lost { silent, reason } => Outage::Unreachable { side, silent_s: silent.as_secs(), reason },
                Change::Back { silent } => Outage::Reachable { side, silent_s: silent.as_secs() },
            }));
        }
        changes.extend(self.group.change(now).map(|change| match change {
            Change::Lost { silent, reason } => Outage::NotInGroup { silent_s: silent.as_secs(), reason },
            Change::Back { silent } => Outage::InGroupAgain { silent_s: silent.as_secs() },
        }));
        // A source that answers nothing lists nothing either, and has its own event.
        if self.source.unreachable().is_some() && self.listing.unreachable().is_none() {
            self.listing = Reach::new(now, now_ms);
        }
        changes.extend(self.listing.change(now).map(|change| match change {
            Change::Lost { silent, reason } => Outage::TopicsNotListed { silent_s: silent.as_secs(), reason },
            Change::Back { silent } => Outage::TopicsListedAgain { silent_s: silent.as_secs() },
        }));
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_source_that_answers_and_lists_nothing_is_reported_and_one_that_is_away_once() {
        let mut outages = Outages::new(Duration::ZERO, 0);
        for second in 1..=14 {
            outages.source.answered(S * second, 0);
            outages.listing.failed("no answer in time".to_owned());
            assert_eq!(outages.look(S * second, 0), []);
        }
        let reason = "no answer in time".to_owned();
        assert_eq!(outages.look(15 * S, 0), [Outage::TopicsNotListed { silent_s: 15, reason }]);
        assert_eq!(outages.look(20 * S, 0), []);
        outages.listing.answered(40 * S, 0);
        assert_eq!(outages.look(40 * S, 0), [Outage::TopicsListedAgain { silent_s: 40 }]);
        // Away as a whole: one event, and none more when it is back.
        outages.source.failed("refused".to_owned());
        outages.listing.failed("refused".to_owned());
        assert_eq!(outages.look(70 * S, 0).len(), 1);
        outages.listing.failed("refused".to_owned());
        assert_eq!(outages.look(100 * S, 0), []);
        outages.source.answered(101 * S, 0);
        assert!(matches!(&outages.look(102 * S, 0)[..], [Outage::Reachable { .. }]));
        outages.listing.answered(103 * S, 0);
        assert_eq!(outages.look(120 * S, 0), []);
    }
}
