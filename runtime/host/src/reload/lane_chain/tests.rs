//! A lane whose instances of the active plugins do not start.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use strait_core::batch::{BatchBuilder, TimestampType};
use strait_core::offset::LeaderEpoch;
use strait_flow::ports::{Clock, EventSink};

use super::*;
use crate::factory::HostChains;
use crate::guest::HostEngine;
use crate::load::{ChainSpec, LinkInfo, PluginSource, PluginSpec, TopicNaming};
use crate::reload::ActiveChainDeps;

#[derive(Default)]
struct World {
    seconds: AtomicU64,
    events: Mutex<Vec<Event>>,
}

impl Clock for World {
    fn now(&self) -> Duration {
        Duration::from_secs(self.seconds.load(Ordering::SeqCst))
    }

    fn unix_ms(&self) -> i64 {
        0
    }
}

impl EventSink for World {
    fn emit(&self, _link: &str, event: Event) {
        self.events.lock().unwrap().push(event);
    }
}

impl World {
    /// Returns the new events about plugins that were not taken: whether the lane waits.
    fn not_taken(&self) -> Vec<bool> {
        let events = std::mem::take(&mut *self.events.lock().unwrap());
        let waits = |event| match event {
            Event::Chain(ChainEvent::NotTaken { waits, .. }) => Some(waits),
            _ => None,
        };
        events.into_iter().filter_map(waits).collect()
    }
}

/// Loads `rename` with this prefix, which refuses every topic if it must not rename.
fn renamed(prefix: &str, may_rename: bool) -> Arc<HostChains> {
    let config = json!({ "prefix": prefix });
    let mut spec = PluginSpec::new("rename", PluginSource::Bundled("rename".into()), config);
    spec.output_topics = Some(vec![if may_rename { ".*".into() } else { "none".into() }]);
    let spec = ChainSpec { plugins: vec![spec], link: LinkInfo::default(), naming: TopicNaming::Identity };
    HostChains::load(&HostEngine::new().unwrap(), spec).unwrap()
}

fn judged(lane: &mut LaneChain) -> Result<String, ChainError> {
    let mut batch = BatchBuilder::new("orders".into(), 0, TimestampType::Create, LeaderEpoch(0));
    batch.push(SourceOffset(0), 0, None, None);
    lane.apply(batch.build(), 1).map(|processed| processed.target_topic.to_string())
}

#[test]
fn a_lane_that_cannot_start_the_active_plugins_says_so_and_waits_unless_its_own_protect_as_much() {
    for protects_as_much in [true, false] {
        let world = Arc::new(World::default());
        let (clock, events) = (Arc::<World>::clone(&world), Arc::<World>::clone(&world));
        let deps = ActiveChainDeps { link: "l".into(), clock, events };
        let shared = Arc::new(Shared::new(deps, renamed("a.", true)));
        let mut lane = LaneChain::new(Arc::clone(&shared)).unwrap();
        assert_eq!(judged(&mut lane).unwrap(), "a.orders");

        // Past its probation, and without instances that were prepared for the lane.
        let activate = |chains| {
            let version = shared.versions.add(chains, None, protects_as_much);
            shared.change(|state| {
                state.activate(version, Duration::ZERO, Duration::ZERO);
                state.standby = None;
            });
        };
        activate(renamed("b.", false));
        let is_behind = |lane: &LaneChain| lane.handle.revision() != shared.revision();
        for round in 0..3 {
            match judged(&mut lane) {
                Ok(topic) => assert!(protects_as_much && topic == "a.orders", "{topic}"),
                Err(error) => {
                    assert!(!protects_as_much && error.next == Next::RetryAfter(START_RETRY), "{error:?}");
                    assert!(lane.target_topic("orders", 1).is_err());
                }
            }
            assert_eq!(world.not_taken(), if round == 0 { vec![!protects_as_much] } else { vec![] });
            assert!(is_behind(&lane));
            world.seconds.fetch_add(START_RETRY.as_secs(), Ordering::SeqCst);
        }
        activate(renamed("c.", true));
        assert_eq!(judged(&mut lane).unwrap(), "c.orders");
        assert!(!is_behind(&lane) && world.not_taken().is_empty());
    }
}

#[test]
fn a_lane_without_batches_takes_other_plugins_too_and_does_not_start_broken_ones_over_and_over() {
    let world = Arc::new(World::default());
    let (clock, events) = (Arc::<World>::clone(&world), Arc::<World>::clone(&world));
    let shared = Arc::new(Shared::new(ActiveChainDeps { link: "l".into(), clock, events }, renamed("a.", true)));
    let mut lane = LaneChain::new(Arc::clone(&shared)).unwrap();
    assert_eq!(judged(&mut lane).unwrap(), "a.orders");
    let activate = |chains| {
        let version = shared.versions.add(chains, None, false);
        shared.change(|state| {
            state.activate(version, Duration::ZERO, Duration::ZERO);
            state.standby = None;
        });
    };
    let before = lane.generation();
    activate(renamed("b.", false));
    lane.keep_up();
    assert_eq!((lane.generation(), world.not_taken()), (before.clone(), vec![true]));
    activate(renamed("c.", true));
    lane.keep_up();
    assert_eq!(lane.generation(), before, "not before the pause is over");
    world.seconds.fetch_add(START_RETRY.as_secs(), Ordering::SeqCst);
    lane.keep_up();
    assert!(lane.generation() != before && lane.handle.revision() == shared.revision());
    assert_eq!(judged(&mut lane).unwrap(), "c.orders");
}
