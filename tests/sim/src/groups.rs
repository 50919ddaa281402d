//! A process's view of consumer groups, and of the offset map that leads from one cluster to the
//! other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strait_core::control::SourcePlace;
use strait_core::groups::{Committed, GroupOffset, Lack, Place, Translated, Wish, Write, Written};
use strait_core::map::{Answer, Exactness, NoAnswer, Why};
use strait_core::{PartitionKey, SourceOffset, TargetOffset, TopicId};
use strait_flow::ports::{Class, GroupList, GroupMap, GroupOffsets, PortError};

use crate::world::{Bug, Sim, TIMEOUT_MS, World};

/// Groups and map as one process reaches them.
#[derive(Clone)]
pub struct SimGroups {
    /// The world.
    pub sim: Sim,
    /// The process.
    pub proc: usize,
}

fn committed(topic: &str, offset: Option<i64>) -> Committed {
    let one = |offset| ((topic.into(), 0), GroupOffset { offset, metadata: Arc::default() });
    offset.map(one).into_iter().collect()
}

#[async_trait]
impl GroupOffsets for SimGroups {
    fn selects(&self, _group: &str) -> bool {
        true
    }

    async fn list(&self) -> Result<GroupList, PortError> {
        let list = |world: &mut World| {
            let mut names = world.groups.names();
            // One broker does not answer, and has some of them.
            let is_whole = !world.rng.chance(50);
            names.retain(|_| is_whole || world.rng.chance(500));
            let missing = || PortError::new(Class::Retry, "listing groups", "a broker did not answer");
            GroupList { names, missing: (!is_whole).then(missing) }
        };
        self.sim.call("listing groups", list).await
    }

    async fn at_source(&self, groups: &[Arc<str>]) -> Vec<Result<Committed, PortError>> {
        let mut read = Vec::new();
        for name in groups {
            let name = Arc::clone(name);
            let found = self.sim.call("reading a group", move |world| world.groups.at_source(&name)).await;
            read.push(found.map(|offset| committed("g", offset)));
        }
        read
    }

    async fn at_target(&self, groups: &[Arc<str>]) -> Vec<Result<Committed, PortError>> {
        let mut read = Vec::new();
        for name in groups {
            let (name, proc) = (Arc::clone(name), self.proc);
            let found = self.sim.call("reading a group there", move |world| world.at_target(proc, &name)).await;
            read.push(found.map(|offset| committed("copy.g", offset)));
        }
        read
    }

    async fn write(&self, writes: &[(Arc<str>, Vec<Write>)], within: Duration) -> Vec<BTreeMap<Place, Written>> {
        let until = tokio::time::Instant::now() + within;
        let mut answers = Vec::new();
        for (name, writes) in writes {
            let Some(write) = writes.first() else {
                answers.push(BTreeMap::new());
                continue;
            };
            let (proc, name, offset) = (self.proc, Arc::clone(name), write.offset.0);
            let late = {
                let mut world = self.sim.lock();
                let late = world.groups.late;
                if world.rng.chance(late) { Some(world.rng.within(3_000, 60_000)) } else { None }
            };
            let is_old = tokio::time::Instant::now() >= until && self.sim.lock().bug != Some(Bug::PermitIgnored);
            let unknown = |reason: &str| Written::Unknown(reason.to_owned());
            let answer = match late {
                _ if is_old => unknown("the announcement is too old"),
                Some(late) => {
                    {
                        let mut world = self.sim.lock();
                        let began = world.now();
                        let arrive = move |world: &mut World| drop(world.write_group(proc, &name, offset, began));
                        world.after(late, arrive);
                    }
                    tokio::time::sleep(Duration::from_millis(TIMEOUT_MS)).await;
                    unknown("no answer in time")
                }
                None => {
                    let began = self.sim.lock().now();
                    let arrive = move |world: &mut World| world.write_group(proc, &name, offset, began);
                    let answer = self.sim.call("writing a group", arrive).await;
                    answer.unwrap_or_else(|error| Written::Unknown(error.to_string()))
                }
            };
            answers.push([(write.place.clone(), answer)].into());
        }
        answers
    }
}

#[async_trait]
impl GroupMap for SimGroups {
    async fn refresh(&self) -> Result<(), PortError> {
        Ok(())
    }

    async fn translate(&self, committed: &Committed) -> Result<Translated, PortError> {
        let mut translated = Translated::default();
        let Some(found) = committed.get(&("g".into(), 0)) else { return Ok(translated) };
        let key = PartitionKey { topic: "g".into(), topic_id: TopicId([1; 16]), partition: 0 };
        let mut world = self.sim.lock();
        let place: Place = ("copy.g".into(), 0);
        if world.groups.is_shared {
            translated.lacks.insert(place, Lack::SharedTarget("other".into()));
            return Ok(translated);
        }
        if world.rng.chance(30) {
            translated.lacks.insert(place, Lack::NoAnswer(NoAnswer::Pending(key)));
            return Ok(translated);
        }
        let Some((offset, _, ahead)) = world.groups.resumes(found.offset) else { return Ok(translated) };
        let offset = if world.bug == Some(Bug::GroupSkips) { offset + 1 } else { offset };
        let exactness = if ahead > 0 { Exactness::Inexact(Why::Ahead) } else { Exactness::Exact };
        let answer = Answer { offset: TargetOffset(offset), exactness, ahead, not_copied: 0, left_out: 0 };
        let source = vec![SourcePlace { partition: key, offset: SourceOffset(found.offset) }];
        translated.wishes.insert(place, Wish { answer, source, metadata: Arc::clone(&found.metadata) });
        Ok(translated)
    }
}
