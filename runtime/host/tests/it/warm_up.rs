//! Stateful plugins: whatever happens between two records, each is judged by an instance that has
//! seen exactly the records before it. The plugin reports with every record which ones it has seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use strait_core::{
    Batch, BatchBuilder, Disposition, LeaderEpoch, OutRecord, PartitionKey, SourceOffset, TimestampType, TopicId,
};
use strait_flow::ports::{Chain, ChainError, ChainFactory, Next};
use strait_host::{
    ActiveChain, ActiveChainDeps, ChainSpec, HistoryOutcome, HostChains, HostEngine, HostOptions, LinkInfo, PluginSpec,
    TopicNaming, Trial,
};

use crate::support::world::World;

const RECORDS: i64 = 40;
const LOOKBACK: i64 = 6;

fn poison() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/target/plugins/test/poison.wasm");
    std::fs::read(path).expect("run ./dev build first: it builds the guests")
}

fn plugin(lookback: i64) -> PluginSpec {
    crate::support::file(&poison(), |spec| spec.config = json!({ "lookback": lookback }))
}

fn load(plugins: Vec<PluginSpec>) -> Arc<HostChains> {
    crate::support::load(plugins, TopicNaming::Identity).unwrap()
}

/// A log in which every third offset has no record.
#[derive(Clone)]
struct Log(BTreeMap<i64, String>);

impl Log {
    fn new(bad: &[i64]) -> Self {
        let record = |offset: i64| {
            (offset, if bad.contains(&offset) { format!("panic-{offset}") } else { format!("k{offset}") })
        };
        Self((0..RECORDS).filter(|offset| offset % 3 != 2).map(record).collect())
    }

    fn batch(&self, from: i64, to: i64) -> Option<Batch> {
        let mut builder = BatchBuilder::new("orders".into(), 3, TimestampType::Create, LeaderEpoch(0));
        for (offset, key) in self.0.range(from..to) {
            builder.push(SourceOffset(*offset), 1_000, Some(key.as_bytes()), Some(b"v"));
        }
        (!builder.is_empty()).then(|| builder.build())
    }

    /// Returns the records that the plugin must have seen before a record.
    fn before(&self, offset: i64, lookback: i64) -> String {
        let seen = self.0.range((offset - lookback).max(0)..offset).map(|(_, key)| key.clone());
        seen.filter(|key| !key.starts_with("panic")).collect::<Vec<_>>().join(",")
    }
}

fn partition() -> PartitionKey {
    PartitionKey { topic: "orders".into(), topic_id: TopicId::UNKNOWN, partition: 3 }
}

/// Returns the records that the plugin reports.
fn seen_records(copies: &[OutRecord]) -> String {
    let headers = copies[0].headers.as_ref().unwrap();
    let (_, before) = headers.iter().find(|(name, _)| name == b"before").unwrap();
    String::from_utf8(before.clone().unwrap()).unwrap()
}

/// Warms the chain up as a lane does, if it asks for that.
fn show(chain: &mut dyn Chain, log: &Log, first: SourceOffset) -> Result<(), ChainError> {
    let asked = chain.warm_up_needed(&partition(), first, 6);
    let Some(furthest) = asked.iter().map(|asked| i64::from(asked.records)).max() else { return Ok(()) };
    // In batches of three offsets, the last of which goes past the end of the warm-up.
    for from in (first.0 - furthest.min(first.0)..first.0).step_by(3) {
        let Some(part) = log.batch(from, from + 3) else { continue };
        chain.warm_up(&part, first, 6)?;
    }
    chain.warmed_up(&partition(), first);
    Ok(())
}

/// Judges a batch as a lane does. Returns offset, generation and the records that the plugin
/// reports; `None` for a rejected record.
fn judge(chain: &mut dyn Chain, log: &Log, batch: &Batch) -> Vec<(i64, String, Option<String>)> {
    let first = batch.first_offset().unwrap();
    for _round in 0..40 {
        match show(chain, log, first).and_then(|()| chain.apply(batch.clone(), 6)) {
            Err(error) if error.needs_warm_up() => {}
            Err(error) => panic!("{error}"),
            Ok(processed) => {
                let mut found = Vec::new();
                for (index, disposition) in &processed.dispositions {
                    let before = match disposition {
                        Disposition::Reject(reject) => {
                            assert_eq!(&*reject.code, "plugin-trap");
                            None
                        }
                        Disposition::Replace(copies) => Some(seen_records(copies)),
                        other => panic!("{other:?}"),
                    };
                    let offset = batch.get(*index).unwrap().offset.0;
                    found.push((offset, processed.generation.0.to_string(), before));
                }
                assert_eq!(found.len(), batch.len());
                return found;
            }
        }
    }
    panic!("the batch at {first} was never judged");
}

fn check(log: &Log, lookback: i64, judged: &[(i64, String, Option<String>)]) {
    for (offset, _, before) in judged {
        let bad = log.0[offset].starts_with("panic");
        let expected = (!bad).then(|| log.before(*offset, lookback));
        assert_eq!(*before, expected, "at offset {offset}");
    }
}

#[test]
fn each_record_is_judged_by_an_instance_that_has_seen_those_before_it() {
    // No guilty records; single ones; adjacent ones; at the borders of batches; the first and the
    // last.
    for bad in [&[][..], &[13], &[9, 10, 12, 13, 15, 16], &[0, 9, 10, 39], &[12, 18, 24, 30]] {
        let log = Log::new(bad);
        for size in [1, 4, 7, 40] {
            let chains = load(vec![plugin(LOOKBACK)]);
            let mut chain = chains.chain().unwrap();
            let mut judged = Vec::new();
            for from in (0..RECORDS).step_by(size as usize) {
                // A new attempt of the lane has a fresh chain.
                if from == 3 * size {
                    chain = chains.chain().unwrap();
                }
                let Some(batch) = log.batch(from, from + size) else { continue };
                judged.extend(judge(&mut *chain, &log, &batch));
            }
            assert_eq!(judged.len(), log.0.len());
            check(&log, LOOKBACK, &judged);
        }
    }
}

#[test]
fn a_stateful_plugin_sees_the_records_as_the_plugin_before_it_leaves_them() {
    // Drops every key that ends with 1 or 4: the next plugin sees neither.
    let filter = crate::support::bundled("filter", json!({ "keep": "!key.endsWith('1') && !key.endsWith('4')" }));
    let log = Log::new(&[]);
    let mut chain = load(vec![filter, plugin(LOOKBACK)]).chain().unwrap();
    let batch = log.batch(20, 40).unwrap();
    assert_eq!(chain.warm_up_needed(&partition(), SourceOffset(20), 6).len(), 1);
    chain.warm_up(&log.batch(14, 21).unwrap(), SourceOffset(20), 6).unwrap();
    chain.warmed_up(&partition(), SourceOffset(20));
    let processed = chain.apply(batch.clone(), 6).unwrap();
    for (index, disposition) in &processed.dispositions {
        let offset = batch.get(*index).unwrap().offset.0;
        let Disposition::Replace(copies) = disposition else { continue };
        let left = log.before(offset, LOOKBACK);
        let left: Vec<&str> = left.split(',').filter(|key| !key.ends_with('1') && !key.ends_with('4')).collect();
        assert_eq!(seen_records(copies), left.join(","), "at offset {offset}");
    }
}

/// Returns the headers of the records that are not dropped, by offset.
fn marked(chain: &mut dyn Chain, log: &Log, batch: &Batch) -> BTreeMap<i64, Option<String>> {
    show(chain, log, batch.first_offset().unwrap()).unwrap();
    let processed = chain.apply(batch.clone(), 6).unwrap();
    let fate = |(index, disposition): &(usize, Disposition)| {
        let before = match disposition {
            Disposition::Replace(copies) => Some(seen_records(copies)),
            Disposition::Drop => None,
            other => panic!("{other:?}"),
        };
        (batch.get(*index).unwrap().offset.0, before)
    };
    processed.dispositions.iter().map(fate).collect()
}

#[test]
fn a_stateful_plugin_behind_another_one_remembers_the_same_after_a_restart() {
    let plugins = || vec![crate::support::bundled("dedupe", json!({ "records": 10 })), plugin(LOOKBACK)];
    let mut log = Log::new(&[]);
    for (offset, key) in &mut log.0 {
        *key = format!("k{}", offset % 7);
    }
    let chains = load(plugins());
    let whole = marked(&mut *chains.chain().unwrap(), &log, &log.batch(0, RECORDS).unwrap());
    let dropped = whole.values().filter(|before| before.is_none()).count();
    assert!(dropped > 5 && whole.len() - dropped > 5, "{whole:?}");
    for size in [1, 4, 7] {
        let parts = (0..RECORDS).step_by(size).filter_map(|from| log.batch(from, from + size as i64));
        // A restart before each batch.
        let parts: BTreeMap<_, _> =
            parts.flat_map(|batch| marked(&mut *chains.chain().unwrap(), &log, &batch)).collect();
        assert_eq!(parts, whole);
    }
}

#[test]
fn a_chain_that_is_not_warmed_up_judges_nothing() {
    let log = Log::new(&[]);
    let mut chain = load(vec![plugin(LOOKBACK)]).chain().unwrap();
    let batch = log.batch(9, 12).unwrap();
    assert!(chain.apply(batch.clone(), 6).unwrap_err().needs_warm_up());
    assert!(!chain.warm_up_needed(&partition(), SourceOffset(9), 6).is_empty());
    assert!(chain.apply(batch.clone(), 6).unwrap_err().needs_warm_up(), "while it is being shown");
    judge(&mut *chain, &log, &batch);
    // Offsets read again, and another incarnation of the topic: both need a warm-up.
    assert!(!chain.warm_up_needed(&partition(), SourceOffset(9), 6).is_empty());
    judge(&mut *chain, &log, &batch);
    assert!(chain.warm_up_needed(&partition(), SourceOffset(12), 6).is_empty());
    let other = PartitionKey { topic_id: TopicId([1; 16]), ..partition() };
    assert!(!chain.warm_up_needed(&other, SourceOffset(12), 6).is_empty());
}

#[test]
fn a_reload_warms_the_new_plugins_up_and_one_that_breaks_is_rolled_back() {
    let world = Arc::new(World::default());
    let deps = ActiveChainDeps { link: "aws-to-gcp".into(), clock: world.clock(), events: world.events() };
    let slot = ActiveChain::new(deps, load(vec![plugin(LOOKBACK)]));
    let mut chain = slot.chain().unwrap();
    let log = Log::new(&[]);
    let probation = Duration::from_secs(60);
    let mut judged = Vec::new();
    let mut lookback = LOOKBACK;
    for from in (0..RECORDS).step_by(5) {
        match from {
            10 => {
                lookback = 12;
                slot.offer(load(vec![plugin(12)]), None, Trial::Direct, probation, Duration::ZERO).unwrap();
            }
            // It is warmed up and breaks on the first batch that it judges. The previous chain
            // judges the batch after a warm-up of its own.
            20 => {
                let breaks = crate::support::guest::Guest {
                    lookback: Some((7, 0)),
                    in_process: "(unreachable)".into(),
                    ..crate::support::guest::Guest::default()
                };
                let broken = crate::support::load_bytes(&breaks.wasm(), |_| {}).unwrap();
                slot.offer(broken, None, Trial::Direct, probation, Duration::ZERO).unwrap();
            }
            _ => {}
        }
        let part = judge(&mut *chain, &log, &log.batch(from, from + 5).unwrap());
        check(&log, lookback, &part);
        judged.extend(part);
    }
    assert_eq!(judged.len(), log.0.len());
    let outcomes: Vec<HistoryOutcome> = slot.history().iter().map(|entry| entry.outcome).collect();
    assert_eq!(
        &outcomes[..4],
        [HistoryOutcome::Started, HistoryOutcome::Reloaded, HistoryOutcome::Reloaded, HistoryOutcome::RolledBack]
    );
}

#[test]
fn canaries_and_shadows_have_instances_of_their_own() {
    for trial in [
        Trial::Canary { time: Duration::from_secs(60), partition: 3 },
        Trial::Canary { time: Duration::from_secs(60), partition: 0 },
        Trial::Shadow(Duration::from_secs(60)),
    ] {
        let world = Arc::new(World::default());
        let deps = ActiveChainDeps { link: "aws-to-gcp".into(), clock: world.clock(), events: world.events() };
        let slot = ActiveChain::new(deps, load(vec![plugin(LOOKBACK)]));
        let mut chain = slot.chain().unwrap();
        let log = Log::new(&[]);
        for from in (0..RECORDS).step_by(5) {
            if from == 10 {
                slot.offer(load(vec![plugin(12)]), None, trial, Duration::from_secs(5), Duration::ZERO).unwrap();
            }
            if from == 25 {
                world.pass(Duration::from_secs(60));
                slot.tick();
            }
            let is_canary = matches!(trial, Trial::Canary { partition: 3, .. });
            let lookback = if from >= 25 || (from >= 10 && is_canary) { 12 } else { LOOKBACK };
            let part = judge(&mut *chain, &log, &log.batch(from, from + 5).unwrap());
            check(&log, lookback, &part);
        }
    }
}

#[test]
fn dedupe_drops_duplicates_also_after_a_restart() {
    let dedupe = || crate::support::bundled("dedupe", json!({ "records": 10 }));
    let mut log = Log::new(&[]);
    for (offset, key) in &mut log.0 {
        *key = format!("k{}", offset % 7);
    }
    let expected: Vec<i64> = {
        let repeats = |offset: i64, key: &str| log.0.range((offset - 10).max(0)..offset).any(|(_, other)| other == key);
        log.0.iter().filter(|(offset, key)| repeats(**offset, key)).map(|(offset, _)| *offset).collect()
    };
    assert!(expected.len() > 10);
    for size in [1, 6, 40] {
        let chains = load(vec![dedupe()]);
        let mut dropped = Vec::new();
        for from in (0..RECORDS).step_by(size as usize) {
            let Some(batch) = log.batch(from, from + size) else { continue };
            // A restart before each batch.
            let mut chain = chains.chain().unwrap();
            let first = batch.first_offset().unwrap();
            assert_eq!(chain.warm_up_needed(&partition(), first, 6)[0].records, 10);
            if let Some(past) = log.batch(first.0 - 10, first.0) {
                chain.warm_up(&past, first, 6).unwrap();
            }
            chain.warmed_up(&partition(), first);
            let processed = chain.apply(batch.clone(), 6).unwrap();
            dropped.extend(crate::support::fates(&processed).0.iter().map(|index| batch.get(*index).unwrap().offset.0));
        }
        assert_eq!(dropped, expected);
    }
}

/// Loads chains of an engine with memory for one instance, which may have 64 MiB.
fn load_with_room_for_one() -> impl Fn(i64) -> Arc<HostChains> {
    let options = HostOptions { stateful_bytes_max: 100 << 20, ..HostOptions::default() };
    let engine = HostEngine::with(options).unwrap();
    let link = LinkInfo { link: "l".into(), source: "a".into(), target: "b".into(), ..LinkInfo::default() };
    move |lookback| {
        let plugins = vec![plugin(lookback)];
        HostChains::load(&engine, ChainSpec { plugins, link: link.clone(), naming: TopicNaming::Identity }).unwrap()
    }
}

#[test]
fn a_candidate_without_room_in_the_memory_budget_is_rolled_back_and_delays_nothing() {
    for trial in [
        Trial::Shadow(Duration::from_secs(60)),
        Trial::Canary { time: Duration::from_secs(60), partition: 3 },
        Trial::Canary { time: Duration::from_secs(60), partition: 0 },
    ] {
        let (world, load) = (Arc::new(World::default()), load_with_room_for_one());
        let deps = ActiveChainDeps { link: "aws-to-gcp".into(), clock: world.clock(), events: world.events() };
        let slot = ActiveChain::new(deps, load(LOOKBACK));
        let mut chain = slot.chain().unwrap();
        let log = Log::new(&[]);
        for from in (0..RECORDS).step_by(5) {
            if from == 10 {
                slot.offer(load(12), None, trial, Duration::from_secs(5), Duration::ZERO).unwrap();
            }
            check(&log, LOOKBACK, &judge(&mut *chain, &log, &log.batch(from, from + 5).unwrap()));
        }
        let is_tried = !matches!(trial, Trial::Canary { partition: 0, .. });
        let outcomes: Vec<HistoryOutcome> = slot.history().iter().map(|entry| entry.outcome).collect();
        assert_eq!(outcomes.contains(&HistoryOutcome::RolledBack), is_tried, "{trial:?}: {outcomes:?}");
    }
}

#[test]
fn instances_of_all_partitions_share_one_memory_budget() {
    let mut chain = load_with_room_for_one()(4).chain().unwrap();
    let mut judge = |number: i32| {
        let mut builder = BatchBuilder::new("orders".into(), number, TimestampType::Create, LeaderEpoch(0));
        builder.push(SourceOffset(0), 1_000, Some(b"k"), None);
        let place = PartitionKey { partition: number, ..partition() };
        assert_eq!(chain.warm_up_needed(&place, SourceOffset(0), 6).len(), 1);
        chain.warmed_up(&place, SourceOffset(0));
        chain.apply(builder.build(), 6).map(drop)
    };
    judge(0).unwrap();
    for _round in 0..20 {
        let error = judge(1).unwrap_err();
        assert!(error.reason.contains("plugin_memory_mib_max"), "{error}");
        assert_eq!(error.next, Next::RetryAfter(Duration::from_secs(30)));
    }
    // The partition that has its instance goes on.
    judge(0).unwrap();
}

#[test]
fn a_topic_from_an_earlier_plugin_has_no_warm_up() {
    let to_other = json!({ "by": "key", "to": "topic", "table": { "k0": "elsewhere" }, "unmatched": "keep" });
    let mut chain = load(vec![crate::support::bundled("route", to_other), plugin(LOOKBACK)]).chain().unwrap();
    let log = Log::new(&[]);
    chain.warm_up_needed(&partition(), SourceOffset(0), 6);
    chain.warmed_up(&partition(), SourceOffset(0));
    let error = chain.apply(log.batch(0, 6).unwrap(), 6).unwrap_err();
    assert!(error.reason.contains("lookback on topic 'elsewhere'") && error.next == Next::Stop, "{error}");
}

/// Applies a batch until it is judged or has to wait. Returns the number of rejected records, or
/// the time to wait.
fn apply_or_wait(chain: &mut dyn Chain, log: &Log, batch: &Batch) -> Result<usize, Duration> {
    loop {
        let shown = show(chain, log, batch.first_offset().unwrap());
        match shown.and_then(|()| chain.apply(batch.clone(), 6)) {
            Err(error) if error.needs_warm_up() => {}
            Err(error) => return Err(error.next.wait().unwrap_or_else(|| panic!("{error}"))),
            Ok(processed) => return Ok(crate::support::fates(&processed).1.len()),
        }
    }
}

/// Makes a chain with a clock of its own and a plugin with this lookback.
fn with_clock(lookback: i64) -> (Arc<World>, HostEngine, Arc<HostChains>) {
    let world = Arc::new(World::default());
    let options = HostOptions { clock: world.clock(), ..HostOptions::default() };
    let engine = HostEngine::with(options).unwrap();
    let link =
        LinkInfo { link: "aws-to-gcp".into(), source: "aws".into(), target: "gcp".into(), ..LinkInfo::default() };
    let spec = ChainSpec { plugins: vec![plugin(lookback)], link, naming: TopicNaming::Identity };
    let chains = HostChains::load(&engine, spec).unwrap();
    (world, engine, chains)
}

#[test]
fn old_guilty_records_among_good_ones_do_not_keep_the_breaker_open() {
    let (world, _engine, chains) = with_clock(60);
    let key = |at: i64| (at, if at % 2 == 1 { "panic".to_owned() } else { format!("k{at}") });
    let log = Log((0..400).map(key).collect());
    let mut chain = chains.chain().unwrap();
    let mut batches = (0..400).step_by(20).map(|from| log.batch(from, from + 20).unwrap());
    let (batch, wait) = batches
        .find_map(|batch| apply_or_wait(&mut *chain, &log, &batch).err().map(|wait| (batch, wait)))
        .expect("half of the records are bad");
    world.pass(wait);
    // The next attempt of the lane does not know which records of the warm-up are guilty.
    let mut chain = chains.chain().unwrap();
    assert_eq!(apply_or_wait(&mut *chain, &log, &batch), Ok(10));
}

#[test]
fn a_probe_that_only_finds_guilty_records_does_not_close_the_breaker() {
    let (world, engine, chains) = with_clock(LOOKBACK);
    let mut chain = chains.chain().unwrap();
    let log = Log((0..600).map(|at| (at, if at < 3 { format!("k{at}") } else { "panic".to_owned() })).collect());
    // It has judged some records: then a few guilty ones are the records' fault, and a hundred of
    // them open the breaker.
    assert_eq!(apply_or_wait(&mut *chain, &log, &log.batch(0, 3).unwrap()), Ok(0));
    let (mut waits, mut guilty) = (Vec::new(), Vec::new());
    for from in (3..600).step_by(20) {
        let batch = log.batch(from, from + 20).unwrap();
        while let Err(wait) = apply_or_wait(&mut *chain, &log, &batch) {
            waits.push(wait.as_secs());
            guilty.push(engine.plugin_health()[0].guilty);
            world.pass(wait);
        }
        if waits.len() > 4 {
            break;
        }
    }
    assert_eq!(waits[..5], [1, 2, 4, 8, 16]);
    assert!(guilty[0] == 100 && guilty.windows(2).all(|pair| pair[1] <= pair[0] + 8), "{guilty:?}");
}

#[test]
fn a_plugin_that_breaks_on_every_record_waits_and_no_record_is_guilty() {
    let log = Log((0..300).map(|offset| (offset, "panic".to_owned())).collect());
    // A configuration of its own, so that its breaker is not shared.
    let chains = load(vec![plugin(LOOKBACK + 1)]);
    let mut chain = chains.chain().unwrap();
    let batch = log.batch(0, 300).unwrap();
    let mut waited = None;
    for _round in 0..1_000 {
        if !chain.warm_up_needed(&partition(), SourceOffset(0), 6).is_empty() {
            chain.warmed_up(&partition(), SourceOffset(0));
        }
        match chain.apply(batch.clone(), 6) {
            Err(error) if error.needs_warm_up() => {}
            Err(error) => {
                waited = Some(error);
                break;
            }
            Ok(_) => break,
        }
    }
    let error = waited.expect("nothing is judged: the breaker opens and the batch waits");
    assert!(matches!(error.next, Next::RetryAfter(after) if after > Duration::ZERO), "{error}");
}
