//! Collects the facts about the partitions of a link, from outside of its lanes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use strait_core::{LaneId, PartitionKey, Side, SourceOffset, TopicId, lanes};

use crate::ports::SourceTopic;
use crate::status::{Activity, LaneState, LaneStatus, LinkStatus, PartitionStatus, Reason, Unreachable};

/// A source partition of the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Watched {
    pub key: PartitionKey,
    pub lane: LaneId,
    /// Its status in this process. `None` where no lane of this process has reported it.
    pub here: Option<PartitionStatus>,
    /// The source's topic of this name is another one by now.
    pub is_former: bool,
}

/// The knowledge of a process of itself and of its link at one moment.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub lanes: BTreeMap<LaneId, LaneStatus>,
    pub has_joined: bool,
    pub reasons: BTreeMap<PartitionKey, Arc<Reason>>,
    pub unreachable: BTreeMap<Side, Unreachable>,
    /// Why this process is not a member of the link's group.
    pub not_in_group: Option<Unreachable>,
    /// Why the source gives no bounds of a partition.
    pub failed: BTreeMap<PartitionKey, String>,
    /// Why the target gives no end of a lane's progress.
    pub failed_lanes: BTreeMap<LaneId, String>,
}

/// Returns the partitions of the link's topics, and those that only the status has.
pub(super) fn watched(topics: &[SourceTopic], status: &LinkStatus, lanes: u32) -> Vec<Watched> {
    let ids: BTreeMap<&str, TopicId> = topics.iter().map(|topic| (&*topic.topic, topic.id)).collect();
    let lane = |key: &PartitionKey| lanes::lane_of(&key.topic, key.partition, lanes);
    let mut all = Vec::new();
    let mut reported: BTreeSet<(Arc<str>, i32)> = BTreeSet::new();
    for (key, here) in status.partitions() {
        let is_former = ids.get(&*key.topic).is_some_and(|id| key.topic_id.is_other_than(*id));
        reported.insert((Arc::clone(&key.topic), key.partition));
        all.push(Watched { lane: lane(&key), key, here: Some(here), is_former });
    }
    for topic in topics {
        for partition in 0..topic.partitions {
            if reported.contains(&(Arc::clone(&topic.topic), partition)) {
                continue;
            }
            let key = PartitionKey { topic: Arc::clone(&topic.topic), topic_id: topic.id, partition };
            all.push(Watched { lane: lane(&key), key, here: None, is_former: false });
        }
    }
    all
}

impl Watched {
    /// Returns the committed position that this process knows.
    pub fn position(&self) -> Option<SourceOffset> {
        self.here.as_ref().map(|here| here.committed)
    }
}

impl Facts {
    /// Returns what the lane of a partition does in this process.
    pub fn lane_state(&self, lane: LaneId) -> &'static str {
        match self.lanes.get(&lane).map(|lane| lane.state) {
            Some(LaneState::Taking) => "is being taken",
            Some(LaneState::Running) => "is running",
            Some(LaneState::Waiting) => "waits to be taken again",
            Some(LaneState::Refused) => "refuses its plugins",
            Some(LaneState::Standby) => "is in standby",
            None => "is not in this process",
        }
    }

    /// Returns why a partition does not move, as far as that is known, and what to do. It last
    /// moved at `since`.
    pub fn reason(&self, watched: &Watched, since: Duration, now: Duration) -> String {
        let last = self.reasons.get(&watched.key);
        let is_paused = watched.here.as_ref().is_some_and(|here| here.activity != Activity::Running);
        if let Some(last) = last.filter(|_| is_paused || watched.is_former) {
            return of_event(last);
        }
        if let Some(Unreachable { reason, .. }) = self.unreachable.get(&Side::Source) {
            return format!("the source does not answer: {reason}");
        }
        if let Some(failed) = self.failed.get(&watched.key) {
            return format!("the source gives no log bounds of it: {failed}");
        }
        if let Some(Unreachable { reason, .. }) = self.unreachable.get(&Side::Target) {
            return format!("the target does not answer: {reason}");
        }
        let Some(lane) = self.lanes.get(&watched.lane) else { return self.nobody(watched.lane) };
        let (number, waited) = (watched.lane, now.saturating_sub(lane.since).as_secs());
        if let Some(failed) = self.failed_lanes.get(&number) {
            return format!("the progress of lane {number} cannot be read on the target: {failed}");
        }
        let trouble = Some(lane.trouble.as_str()).filter(|trouble| !trouble.is_empty());
        match (lane.state, trouble) {
            (LaneState::Running, _) => {}
            (LaneState::Taking, Some(trouble)) => {
                return format!("lane {number} has been taken for {waited} s: {trouble}");
            }
            (LaneState::Taking, None) => {
                return format!("lane {number} has been taken for {waited} s, and nothing says what it waits for");
            }
            (LaneState::Waiting, trouble) => {
                return format!("lane {number} failed: {}", trouble.unwrap_or("nothing says why"));
            }
            (LaneState::Standby, trouble) => {
                return format!("lane {number} is in standby: {}", trouble.unwrap_or("nothing says why"));
            }
            (LaneState::Refused, trouble) => {
                return format!("lane {number} refuses its plugins: {}", trouble.unwrap_or("nothing says why"));
            }
        }
        if let Some(last) = last.filter(|last| last.at >= since) {
            return of_event(last);
        }
        if !lane.present_trouble().is_empty() {
            return lane.present_trouble().to_owned();
        }
        if let Some(trouble) = trouble.filter(|_| lane.trouble_at >= since) {
            return format!("lane {number} failed lately: {trouble}");
        }
        if watched.here.is_none() {
            return format!(
                "lane {number} has not begun with it; if that lasts, restart the process and report it with the log"
            );
        }
        "no reason is known: the lane may be busy with other partitions; if that lasts, restart the process and report it with the log".to_owned()
    }

    /// Returns why a lane that this process does not have does not move.
    fn nobody(&self, lane: LaneId) -> String {
        if let Some(Unreachable { reason, .. }) = &self.not_in_group {
            return format!("this process is not a member of the link's group: {reason}");
        }
        let mine: Vec<String> = self.lanes.keys().map(ToString::to_string).collect();
        if !self.has_joined {
            return "the group has not assigned lanes to this process yet: the target's group coordinator may be away"
                .to_owned();
        }
        let has = if mine.is_empty() { "no lane".to_owned() } else { format!("lanes {}", mine.join(", ")) };
        format!(
            "no process of the link moves lane {lane}, and the group has given this process {has}; see whether the others run, or restart them"
        )
    }
}

fn of_event(last: &Reason) -> String {
    let (event, remedy) = (&last.event, last.event.remedy());
    if remedy.is_empty() {
        format!("{}: {event}", event.name())
    } else {
        format!("{}: {event}; {remedy}", event.name())
    }
}

#[cfg(test)]
mod tests {
    use strait_core::Event;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn key(id: u8, partition: i32) -> PartitionKey {
        PartitionKey { topic: "orders".into(), topic_id: TopicId([id; 16]), partition }
    }

    fn orders(id: u8, partitions: i32) -> [SourceTopic; 1] {
        [SourceTopic { topic: "orders".into(), id: TopicId([id; 16]), partitions }]
    }

    #[test]
    fn partitions_that_no_lane_has_begun_with_are_watched_and_former_topics_are_told_apart() {
        let status = LinkStatus::default();
        status.set(&key(1, 0), SourceOffset(5), Activity::Stopped);
        status.set(&key(0, 1), SourceOffset(7), Activity::Running);
        let all = watched(&orders(2, 3), &status, 4);
        let found: Vec<_> = all.iter().map(|w| (w.key.clone(), w.position(), w.is_former)).collect();
        // Topics without an id are those of old clusters.
        let wanted = [
            (key(0, 1), Some(SourceOffset(7)), false),
            (key(1, 0), Some(SourceOffset(5)), true),
            (key(2, 2), None, false),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn the_nearest_known_reason_is_named() {
        let status = LinkStatus::default();
        status.set(&key(1, 0), SourceOffset(5), Activity::Stopped);
        let stopped = watched(&orders(1, 1), &status, 1).remove(0);
        let mut running = stopped.clone();
        running.here = running.here.map(|here| PartitionStatus { activity: Activity::Running, ..here });
        let unknown = Watched { here: None, ..running.clone() };
        let mut facts = Facts { has_joined: true, ..Facts::default() };
        let reason = |facts: &Facts, watched: &Watched| facts.reason(watched, 10 * S, 60 * S);

        assert!(reason(&facts, &running).contains("no process of the link moves lane 0"));
        facts.not_in_group = Some(Unreachable { since_ms: 0, reason: "wrong password".to_owned() });
        assert!(reason(&facts, &running).contains("not a member of the link's group: wrong password"));
        let mut lane = LaneStatus { state: LaneState::Taking, since: S, trouble: String::new(), trouble_at: S };
        facts.lanes.insert(LaneId(0), lane.clone());
        assert!(reason(&facts, &running).contains("has been taken for 59 s, and nothing says"));
        lane.trouble = "no coordinator".to_owned();
        facts.lanes.insert(LaneId(0), lane.clone());
        assert!(reason(&facts, &running).contains("taken for 59 s: no coordinator"));
        lane.state = LaneState::Running;
        facts.lanes.insert(LaneId(0), lane);
        assert!(reason(&facts, &running).contains("no reason is known"), "the trouble is older than its last move");
        assert!(reason(&facts, &unknown).contains("has not begun with it"));

        let event = Event::SourceDenied { partition: key(1, 0), reason: "no ACL".to_owned(), retry_ms: 1 };
        facts.reasons.insert(key(1, 0), Arc::new(Reason { event, at: 5 * S }));
        assert!(reason(&facts, &running).contains("no reason is known"), "so is the event");
        assert!(
            reason(&facts, &stopped).contains("source_denied: ") && reason(&facts, &stopped).contains("grant Read")
        );
        let down = Unreachable { since_ms: 0, reason: "refused".to_owned() };
        facts.unreachable.insert(Side::Source, down);
        assert!(reason(&facts, &running).contains("the source does not answer: refused"));
    }
}
