//! Computes where each record of the progress topic belongs after a resize.

use std::collections::BTreeMap;

use strait_core::PartitionKey;
use strait_core::lanes::lane_of;
use strait_core::progress::{Border, HeldBorder, LaneProgress, LaneRecord, Position, ProgressRecord};

use crate::link_admin::LaneEntry;

/// The records of all lanes after the resize.
pub(super) struct Plan {
    /// Number of lanes before.
    pub before: u32,
    lanes: u32,
    /// The record of each lane.
    pub record: LaneRecord,
    positions: BTreeMap<PartitionKey, Position>,
    /// The newest border of each partition, so that numbers continue. Older ones stay where they
    /// were written.
    borders: BTreeMap<PartitionKey, Border>,
    /// The protection of all lanes together: a topic may have partitions in every lane.
    held: HeldBorder,
    /// Positions that belong to another lane now, with the lane that has them.
    pub leaving: Vec<(u32, PartitionKey)>,
}

impl Plan {
    /// Makes the plan from the progress of all lanes. After an interrupted resize a position may
    /// exist twice; the newer one counts.
    pub fn new(known: &[LaneProgress], lanes: u32) -> Self {
        let mut record = LaneRecord::new(BTreeMap::new(), lanes);
        let mut held = HeldBorder::default();
        let mut positions: BTreeMap<PartitionKey, Position> = BTreeMap::new();
        let mut borders: BTreeMap<PartitionKey, Border> = BTreeMap::new();
        let mut leaving = Vec::new();
        let mut before = 0;
        let mut common: Option<BTreeMap<String, i32>> = None;
        for (lane, progress) in (0_u32..).zip(known) {
            if let Some(lane) = &progress.lane {
                // A topic that some lane did not have at its first take may be newer, so it is
                // copied from its beginning.
                record.created_with = match common.take() {
                    None => lane.created_with.clone(),
                    Some(common) => intersection(&common, &lane.created_with),
                };
                common = Some(record.created_with.clone());
                if lane.lanes_before.len() > record.lanes_before.len() {
                    record.lanes_before.clone_from(&lane.lanes_before);
                }
                before = before.max(if lane.closed { 0 } else { lane.lanes });
                keep_newest(&mut record, lane);
            }
            held.join(&HeldBorder::of(progress));
            for (key, border) in &progress.borders {
                if borders.get(key).is_none_or(|old| border.number > old.number) {
                    borders.insert(key.clone(), border.clone());
                }
            }
            for (key, position) in &progress.positions {
                before = before.max(position.lanes);
                if positions.get(key).is_none_or(|old| !old.supersedes(position)) {
                    positions.insert(key.clone(), position.clone());
                }
                if lane_of(&key.topic, key.partition, lanes).0 != lane {
                    leaving.push((lane, key.clone()));
                }
            }
        }
        if before > 0 && before != lanes && record.lanes_before.last() != Some(&before) {
            record.lanes_before.push(before);
        }
        for position in positions.values_mut() {
            position.lanes = lanes;
        }
        Self { before, lanes, record, positions, borders, held, leaving }
    }

    /// Returns the records to write, each with its lane.
    pub fn records(&self) -> Vec<LaneEntry> {
        let positions = self.positions.iter().map(|(key, position)| {
            let lane = lane_of(&key.topic, key.partition, self.lanes).0;
            (lane, ProgressRecord::Partition(key.clone(), position.clone()).encode())
        });
        let facts = (0..self.lanes).map(|lane| (lane, ProgressRecord::Lane(self.record.clone()).encode()));
        let borders = self.borders.iter().map(|(key, border)| {
            let lane = lane_of(&key.topic, key.partition, self.lanes).0;
            (lane, ProgressRecord::Border(key.clone(), border.clone()).encode())
        });
        let everywhere = |record: ProgressRecord| (0..self.lanes).map(move |lane| (lane, record.encode()));
        let protects = self.held.protects_records().into_iter().flat_map(everywhere);
        positions.chain(borders).chain(protects).chain(facts).collect()
    }
}

/// Takes over what every lane of the link has in common, as the lane knows it that was taken last.
fn keep_newest(record: &mut LaneRecord, lane: &LaneRecord) {
    record.source_cluster = lane.source_cluster.clone().or_else(|| record.source_cluster.take());
    record.naming = lane.naming.clone().or_else(|| record.naming.take());
    record.delivery = lane.delivery.clone().or_else(|| record.delivery.take());
    let number = |record: &LaneRecord| record.border.as_ref().map_or(0, |border| border.number);
    if number(lane) > number(record) {
        record.border.clone_from(&lane.border);
    }
}

/// Returns the topics in both, with the smaller numbers of partitions.
fn intersection(one: &BTreeMap<String, i32>, other: &BTreeMap<String, i32>) -> BTreeMap<String, i32> {
    let shared = one.iter().filter_map(|(topic, count)| Some((topic.clone(), *count.min(other.get(topic)?))));
    shared.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use strait_core::progress::{LaneBorder, Protects, ProtectsText};
    use strait_core::protects::text_digest;
    use strait_core::{LeaderEpoch, OwnerEpoch, SourceOffset, TopicId};

    fn lane(lanes: u32, positions: &[(i32, u64, i64)]) -> LaneProgress {
        let created_with = [("t".to_owned(), 8)].into();
        let record = LaneRecord {
            source_cluster: Some("abc".into()),
            naming: Some("aws.{topic}".into()),
            ..LaneRecord::new(created_with, lanes)
        };
        let mut progress = LaneProgress { lane: Some(record), ..LaneProgress::default() };
        for (partition, owner, next) in positions {
            let key = PartitionKey { topic: "t".into(), topic_id: TopicId([1; 16]), partition: *partition };
            let position = Position {
                next: SourceOffset(*next),
                leader_epoch: LeaderEpoch(0),
                generation: "none".into(),
                owner: OwnerEpoch(*owner << 32),
                ids: "ab".into(),
                lanes,
                config: "c".into(),
                origin: Some(SourceOffset(7)),
                ..Position::default()
            };
            progress.positions.insert(key, position);
        }
        progress
    }

    #[test]
    fn every_position_goes_to_its_lane_and_leaves_the_others() {
        let mut known = [lane(2, &[]), lane(2, &[])];
        for partition in 0..8 {
            let at = lane_of("t", partition, 2).0 as usize;
            known[at].positions.extend(lane(2, &[(partition, 3, 100 + i64::from(partition))]).positions);
        }
        let border = LaneBorder { number: 2, generation: "g".into(), ..LaneBorder::default() };
        known[1].lane.as_mut().unwrap().border = Some(border.clone());
        // Each lane has a text of its own for the topic.
        for (at, progress) in ["key", "value$['a']"].into_iter().zip(&mut known) {
            let text: Arc<str> =
                format!("{{\"claims\":[{{\"at\":\"{at}\",\"leaves\":\"nothing\",\"rule\":\"r\"}}],\"sights\":[]}}")
                    .into();
            let digest = text_digest(&text);
            progress.texts.insert(Arc::clone(&digest), ProtectsText { text });
            progress.protects.insert("t".into(), Protects { digest });
        }
        let plan = Plan::new(&known, 4);
        assert_eq!(plan.record.border, Some(border));
        assert_eq!((plan.before, plan.record.lanes_before.as_slice()), (2, &[2][..]));
        assert_eq!(plan.positions.len(), 8);
        for (lane, key) in &plan.leaving {
            assert_ne!(lane_of("t", key.partition, 4).0, *lane);
        }
        assert_eq!(plan.leaving.len(), 4);
        // And the record of each lane, and what is protected.
        assert_eq!(plan.records().len(), 8 + 4 + 2 * 4);
        assert_eq!(plan.held.protection("t").unwrap().claims.len(), 2);
        assert_eq!(plan.record.source_cluster.as_deref(), Some("abc"));
        assert_eq!(plan.record.naming.as_deref(), Some("aws.{topic}"));
        assert!(plan.positions.values().all(|position| position.origin == Some(SourceOffset(7))));

        // Run again after an interruption that left old copies: the newest position counts, and
        // nothing else changes.
        let again = Plan::new(&[known[0].clone(), known[1].clone(), lane(4, &[(0, 4, 999)])], 4);
        assert_eq!(again.positions.values().map(|p| p.next.0).max(), Some(999));
    }
}
