//! A failed call is narrowed down to the guilty records, to which `on_error` applies; the others go
//! on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use strait_core::batch::Batch;
use strait_core::config::OnError;
use strait_core::edit::{Disposition, Processed, Reject};
use strait_flow::ports::{Chain, ChainError, ChainFactory, Next};
use strait_host::{
    BreakerState, ChainSpec, FailureKind, HostChains, HostEngine, HostOptions, LoadProblem, PluginSpec, TopicNaming,
};

use crate::support::guest::{GROW, Guest, Process, RECURSE, SPIN};
use crate::support::world::World;
use crate::support::{Row, batch, fates, file, load, load_bytes};

/// Bit 1 of the mode: a second try.
const AGAIN: &str = "(i32.and (local.get $mode) (i32.const 2))";

/// A guest that executes this when it sees a key with '!'. It counts its calls and logs in each.
fn poisoned(how: &str) -> Guest {
    Guest {
        columns: vec![4],
        in_process: format!(
            r"(call $count (i32.const 0) (i64.const 1))
            (if {AGAIN} (then (call $count (i32.const 1) (i64.const 1))))
            (local.set $p (local.get $data))
            (block $out (loop $scan
              (br_if $out (i32.ge_u (local.get $p) (i32.add (local.get $data) (local.get $data_len))))
              (if (i32.eq (i32.load8_u (local.get $p)) (i32.const 33)) (then {how}))
              (local.set $p (i32.add (local.get $p) (i32.const 1)))
              (br $scan)))"
        ),
        counters: vec!["calls", "again"],
        ..Guest::default()
    }
}

/// Records with one key byte each: '!' at these positions.
fn records(count: usize, poison: &[usize]) -> Batch {
    let rows: Vec<Row<'_>> = (0..count)
        .map(|index| {
            let key: &[u8] = if poison.contains(&index) { b"!" } else { b"." };
            (Some(key), None, &[][..])
        })
        .collect();
    batch(&rows)
}

/// Loads a plugin in an engine of its own, as an engine keeps the health of its plugins.
fn one(guest: &[u8], change: impl FnOnce(&mut PluginSpec)) -> Arc<HostChains> {
    chains(&HostEngine::new().unwrap(), vec![file(guest, change)])
}

fn rejects(processed: &Processed) -> Vec<(usize, &Reject)> {
    let all = processed.dispositions.iter();
    all.filter_map(|(index, d)| if let Disposition::Reject(r) = d { Some((*index, &**r)) } else { None }).collect()
}

fn count(chains: &HostChains, kind: FailureKind) -> u64 {
    chains.health()[0].failures.iter().find(|(k, _)| *k == kind).unwrap().1
}

#[test]
fn the_guilty_record_is_found_for_every_kind_of_failure_and_the_others_pass() {
    let words = "(call $log (i32.const 4) (i32.const 1024) (i32.const 9)) unreachable";
    for (how, kind, text) in [
        ("unreachable", FailureKind::Trap, "unreachable"),
        (SPIN, FailureKind::Timeout, "200 ms"),
        (GROW, FailureKind::Memory, "memory"),
        (RECURSE, FailureKind::Trap, "call stack exhausted"),
        ("(i32.store (i32.const -1) (i32.const 0))", FailureKind::Trap, "out of bounds"),
        (words, FailureKind::Trap, "its last words: hand-made"),
    ] {
        let chains = one(&poisoned(how).wasm(), |_| {});
        let mut chain = chains.chain().unwrap();
        for round in 1..=2 {
            let processed = chain.apply(records(100, &[57]), 6).unwrap();
            let [(57, reject)] = rejects(&processed)[..] else { panic!("{how}: {:?}", processed.dispositions) };
            assert_eq!((&*reject.code, &*reject.plugin), (kind.name(), "made"), "{how}");
            assert!(reject.text.contains(text) && reject.digest.starts_with("sha256:"), "{how}: {}", reject.text);
            assert_eq!(processed.dispositions.len(), 1);
            let health = &chains.health()[0];
            assert_eq!((health.guilty, health.narrowed, health.unjudged), (round, round, 0));
            // The batch, its first half (which passes) and then at most one failing call per half.
            assert!((2 * round..=8 * round).contains(&count(&chains, kind)), "{how}: {health:?}");
            assert_eq!(health.breaker, BreakerState::Closed);
        }
    }
}

#[test]
fn every_guilty_record_of_a_call_is_found() {
    for poison in [&[0][..], &[99], &[0, 99], &[49, 50], &[3, 4, 5, 6, 7, 8, 9, 10, 11, 12], &[1, 50, 51, 98]] {
        let chains = one(&poisoned("unreachable").wasm(), |_| {});
        let processed = chains.chain().unwrap().apply(records(100, poison), 6).unwrap();
        assert_eq!(fates(&processed), (vec![], poison.to_vec(), vec![]));
    }
    // Alone in its batch. A record that breaks only together with others is not guilty.
    let chains = one(&poisoned("unreachable").wasm(), |_| {});
    let processed = chains.chain().unwrap().apply(records(1, &[0]), 6).unwrap();
    assert_eq!(fates(&processed).1, [0]);
    let company = "(if (i32.gt_u (local.get $count) (i32.const 3)) (then unreachable))";
    let chains = one(&poisoned(company).wasm(), |_| {});
    let processed = chains.chain().unwrap().apply(records(100, &[7, 8]), 6).unwrap();
    assert!(processed.dispositions.is_empty());
    assert!(count(&chains, FailureKind::Trap) > 0);
}

#[test]
fn on_error_applies_to_guilty_records() {
    let guest = poisoned("unreachable").wasm();
    let apply = |on_error: OnError| {
        let chains = one(&guest, |spec| spec.on_error = on_error);
        chains.chain().unwrap().apply(records(100, &[20, 80]), 6).unwrap()
    };
    assert_eq!(fates(&apply(OnError::Quarantine)), (vec![], vec![20, 80], vec![]));
    assert_eq!(fates(&apply(OnError::Drop)), (vec![20, 80], vec![], vec![]));
    assert!(apply(OnError::Pass).dispositions.is_empty());
    let stopped = apply(OnError::Stop);
    let Some((20, Disposition::Halt(reject))) = stopped.dispositions.first() else {
        panic!("{:?}", stopped.dispositions)
    };
    assert!(reject.text.contains("unreachable"), "{}", reject.text);

    let closed = Guest { fails_closed: true, ..poisoned("unreachable") }.wasm();
    let error = load_bytes(&closed, |spec| spec.on_error = OnError::Pass).unwrap_err();
    assert!(matches!(error.problem, LoadProblem::PassRefused), "{error}");
    let error = load_bytes(&guest, |spec| (spec.on_error, spec.required) = (OnError::Pass, true)).unwrap_err();
    assert!(error.to_string().contains("on_error"), "{error}");
}

#[test]
fn output_of_failed_calls_is_discarded_and_that_of_successful_ones_counts() {
    let chains = one(&poisoned("unreachable").wasm(), |_| {});
    let mut chain = chains.chain().unwrap();
    chain.apply(records(8, &[3]), 6).unwrap();
    // Of 0..8, 0..4, 0..2, 2, 3, 4..8 those with record 3 fail; all but the first are second tries.
    let sums: Vec<u64> = chains.counters().iter().map(|counter| counter.value).collect();
    assert_eq!(sums, [3, 3]);
    chain.apply(records(8, &[]), 6).unwrap();
    assert_eq!(chains.counters().iter().map(|c| c.value).collect::<Vec<_>>(), [4, 3]);
}

#[test]
fn an_answer_with_a_bad_edit_leaves_nothing_behind() {
    // The first plugin adds a header to every record; the second one's answer is valid for record 0
    // and not for record 1.
    let header = Process::Edits((0..2).flat_map(|record| [record, 8, 0, 1]).collect(), b"aa".to_vec());
    let first = Guest { columns: vec![4], process: header, ..Guest::default() };
    let bad = Guest {
        columns: vec![4],
        process: Process::Edits(vec![0, 1, 0, 3, 0, 8, 0, 1, 1, 99, 0, 0], b"keyb".to_vec()),
        ..Guest::default()
    };
    let specs = vec![file(&first.wasm(), |_| {}), file(&bad.wasm(), |spec| spec.on_error = OnError::Pass)];
    let chains = load(specs, TopicNaming::Identity).unwrap();
    let processed = chains.chain().unwrap().apply(records(2, &[]), 6).unwrap();
    assert_eq!(processed.dispositions.len(), 2);
    for (_, disposition) in &processed.dispositions {
        let Disposition::Replace(copies) = disposition else { panic!("{disposition:?}") };
        let [copy] = &copies[..] else { panic!("{copies:?}") };
        assert_eq!(copy.headers.as_deref(), Some(&[(b"a".to_vec(), None)][..]));
        assert_eq!(copy.key, strait_core::edit::Content::Original);
    }
    assert_eq!(chains.health()[1].guilty, 2);
}

#[test]
fn a_spinning_record_costs_no_more_than_its_budget() {
    // A call and the search, and what a busy machine adds. Without the budget the search alone
    // takes 20 s.
    let budget = Duration::from_millis(200 + 600 + 2_500);
    let guest = poisoned(SPIN).wasm();
    let chains = one(&guest, |spec| spec.limits.narrow_ms_max = 600);
    let mut chain = chains.chain().unwrap();
    let start = Instant::now();
    let processed = chain.apply(records(256, &[200]), 6).unwrap();
    assert_eq!(fates(&processed).1, [200]);
    let took = start.elapsed();
    println!("a spinning record among 256, 200 ms per call: {took:?}");
    assert!(took < budget, "{took:?}");

    // More than there is time for: they are not found guilty, so not even `drop` drops them.
    let poison: Vec<usize> = (100..200).collect();
    for (on_error, left) in [(OnError::Quarantine, true), (OnError::Drop, true), (OnError::Pass, false)] {
        let chains = one(&guest, |spec| (spec.limits.narrow_ms_max, spec.on_error) = (600, on_error));
        let start = Instant::now();
        let processed = chains.chain().unwrap().apply(records(256, &poison), 6).unwrap();
        assert!(start.elapsed() < budget, "{:?}", start.elapsed());
        let rejects = rejects(&processed);
        assert_eq!(rejects.iter().any(|(_, reject)| &*reject.code == "plugin-unjudged"), left, "{on_error:?}");
        if left {
            let refused: Vec<usize> = fates(&processed).1.into_iter().chain(fates(&processed).0).collect();
            assert!(poison.iter().all(|index| refused.contains(index)), "{refused:?}");
            assert!(!refused.contains(&0), "what was judged goes on");
        }
    }
}

#[test]
fn a_trap_in_a_rust_plugin_delays_its_partition_by_milliseconds() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/target/plugins/test/poison.wasm");
    let guest = std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}; run plugins/build.sh"));
    let chains = one(&guest, |_| {});
    let mut chain = chains.chain().unwrap();
    let value = vec![b'v'; 1_000];
    let rows = |poison: &'static [u8]| -> Vec<Row<'_>> {
        let key = |index: usize| if index == 150 { poison } else { &b"good"[..] };
        (0..256).map(|index| (Some(key(index)), Some(&value[..]), &[][..])).collect()
    };
    let (mut best_usual, mut best_bad) = (Duration::MAX, Duration::MAX);
    for _ in 0..5 {
        let (good, bad) = (batch(&rows(b"good")), batch(&rows(b"panic")));
        let start = Instant::now();
        chain.apply(good, 6).unwrap();
        best_usual = best_usual.min(start.elapsed());
        let start = Instant::now();
        let processed = chain.apply(bad, 6).unwrap();
        best_bad = best_bad.min(start.elapsed());
        assert_eq!(fates(&processed).1, [150]);
    }
    let failed = count(&chains, FailureKind::Trap) / 5;
    println!(
        "a batch of 256 records of 1 KB: {best_usual:?}; with a trap in a Rust plugin, {failed} failed calls: {best_bad:?}"
    );
    assert!(best_bad < Duration::from_millis(50), "{best_bad:?}");
}

fn chains(engine: &HostEngine, specs: Vec<PluginSpec>) -> Arc<HostChains> {
    let link = strait_host::LinkInfo { link: "l".into(), ..strait_host::LinkInfo::default() };
    HostChains::load(engine, ChainSpec { plugins: specs, link, naming: TopicNaming::Identity }).unwrap()
}

fn waits(chain: &mut dyn Chain, batch: Batch) -> (u64, ChainError) {
    let error = chain.apply(batch, 6).unwrap_err();
    (error.next.wait().unwrap_or_else(|| panic!("{error}")).as_millis() as u64, error)
}

#[test]
fn the_breaker_of_a_plugin_that_judges_nothing_opens_for_longer_each_time_and_closes_again() {
    let folder = tempfile::tempdir().unwrap();
    let state_dir = Some(folder.path().join("state"));
    let world = Arc::new(World::default());
    let engine =
        HostEngine::with(HostOptions { clock: world.clock(), state_dir: state_dir.clone(), ..HostOptions::default() })
            .unwrap();
    let spec = || file(&poisoned("unreachable").wasm(), |_| {});
    let all: Vec<usize> = (0..50).collect();

    let loaded = chains(&engine, vec![spec()]);
    let mut chain = loaded.plugin_chain().unwrap();
    let mut other = loaded.plugin_chain().unwrap();
    let (after, error) = waits(&mut chain, records(50, &all));
    assert!(after == 1_000 && error.reason.contains("unreachable"), "{after} {error}");
    // It is not called now, in this lane or another, with any records.
    let failures = count(&loaded, FailureKind::Trap);
    world.pass(Duration::from_millis(400));
    let (after, error) = waits(&mut other, records(5, &[]));
    assert!(after == 600 && error.reason.contains("not called"), "{after} {error}");
    assert_eq!(count(&loaded, FailureKind::Trap), failures);
    assert_eq!(loaded.health()[0].breaker, BreakerState::Open);

    // A probe that judges nothing doubles the time, up to five minutes.
    for expected in [2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000, 300_000] {
        world.pass(Duration::from_millis(400_000));
        assert_eq!(waits(&mut chain, records(3, &[0, 1, 2])).0, expected);
    }
    assert_eq!(loaded.health()[0].opened, 11);
    // The next process reads the saved breaker: it starts with a probe and keeps the backoff.
    drop((chain, other, loaded, engine));
    let again =
        HostEngine::with(HostOptions { clock: world.clock(), state_dir: state_dir.clone(), ..HostOptions::default() })
            .unwrap();
    let loaded = chains(&again, vec![spec()]);
    let mut chain = loaded.plugin_chain().unwrap();
    assert_eq!(waits(&mut chain, records(5, &[])).0, 300_000);
    world.pass(Duration::from_millis(300_000));
    assert_eq!(waits(&mut chain, records(3, &[0, 1, 2])).0, 300_000);
    world.pass(Duration::from_millis(300_000));
    // A probe with some judged records closes it, and `on_error` applies to the guilty ones.
    let processed = chain.apply(records(40, &[4, 7]), 6).unwrap();
    assert_eq!(fates(&processed).1, [4, 7]);
    assert_eq!(loaded.health()[0].breaker, BreakerState::Closed);
    assert_eq!(std::fs::read_dir(folder.path().join("state/breakers")).unwrap().count(), 0);
    // After a long while the next failure starts with a short backoff again.
    world.pass(Duration::from_millis(3_600_000));
    assert_eq!(waits(&mut chain, records(50, &all)).0, 1_000);
    // Another version of the plugin has a breaker of its own.
    let mended = chains(&again, vec![file(&poisoned("nop").wasm(), |_| {})]);
    mended.plugin_chain().unwrap().apply(records(50, &all), 6).unwrap();
}

#[test]
fn many_guilty_records_open_the_breaker_unless_they_are_few_among_many() {
    let engine =
        |world: &Arc<World>| HostEngine::with(HostOptions { clock: world.clock(), ..HostOptions::default() }).unwrap();
    let world = Arc::new(World::default());
    let engine = engine(&world);
    let spec = |on_error: OnError| file(&poisoned("unreachable").wasm(), |spec| spec.on_error = on_error);
    let loaded = chains(&engine, vec![spec(OnError::Quarantine)]);
    let mut chain = loaded.plugin_chain().unwrap();
    // 1 in 100: a bad producer.
    for _ in 0..150 {
        assert_eq!(fates(&chain.apply(records(100, &[9]), 6).unwrap()).1, [9]);
    }
    assert_eq!(loaded.health()[0].breaker, BreakerState::Closed);
    // 1 in 2: a bad plugin. The records that it has judged by then go on.
    world.pass(Duration::from_millis(61_000));
    let half: Vec<usize> = (0..100).step_by(2).collect();
    for _ in 0..2 {
        assert_eq!(fates(&chain.apply(records(100, &half), 6).unwrap()).1, half);
    }
    assert_eq!(waits(&mut chain, records(100, &[])).0, 1_000);
    world.pass(Duration::from_millis(1_000));
    chain.apply(records(100, &[]), 6).unwrap();
    assert_eq!(loaded.health()[0].breaker, BreakerState::Closed);

    // With `pass` nothing waits: records pass unjudged while it is open.
    let loaded = chains(&engine, vec![file(&Guest::default().wasm(), |_| {}), spec(OnError::Pass)]);
    let mut chain = loaded.plugin_chain().unwrap();
    let all: Vec<usize> = (0..50).collect();
    assert!(chain.apply(records(50, &all), 6).unwrap().dispositions.is_empty());
    let (failures, before) = (loaded.health()[1].clone(), loaded.counters());
    assert_eq!(failures.breaker, BreakerState::Open);
    assert!(chain.apply(records(50, &[]), 6).unwrap().dispositions.is_empty());
    assert_eq!((loaded.health()[1].clone(), loaded.counters()), (failures, before));
}

#[test]
fn the_host_works_without_a_writable_state_folder() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let world = Arc::new(World::default());
    let options =
        HostOptions { clock: world.clock(), state_dir: Some(file.path().join("state")), ..HostOptions::default() };
    let loaded = chains(
        &HostEngine::with(options).unwrap(),
        vec![crate::support::file(&poisoned("unreachable").wasm(), |_| {})],
    );
    let mut chain = loaded.plugin_chain().unwrap();
    let all: Vec<usize> = (0..50).collect();
    assert_eq!(waits(&mut chain, records(50, &all)).0, 1_000);
    world.pass(Duration::from_millis(1_000));
    assert!(chain.apply(records(50, &[]), 6).unwrap().dispositions.is_empty());
}

#[test]
fn a_topic_whose_opening_breaks_is_retried_and_a_refused_one_is_not() {
    let spin = Guest { in_open_topic: SPIN.into(), ..Guest::default() };
    let chains = one(&spin.wasm(), |spec| spec.limits.open_topic_ms_max = 100);
    let (after, error) = waits(&mut chains.plugin_chain().unwrap(), records(1, &[]));
    assert!(after == 30_000 && error.reason.contains("open-topic for 'orders': it did not end"), "{after} {error}");
    assert_eq!((count(&chains, FailureKind::Timeout), chains.health()[0].breaker), (1, BreakerState::Closed));
    let refused = one(&Guest { open_topic_fails: Some("not mine"), ..Guest::default() }.wasm(), |_| {});
    assert_eq!(refused.plugin_chain().unwrap().apply(records(1, &[]), 6).unwrap_err().next, Next::Stop);
}

#[test]
fn nothing_passes_a_broken_required_plugin_and_its_messages_are_withheld() {
    let words = "(call $log (i32.const 4) (i32.const 1024) (i32.const 9)) unreachable";
    let loaded = one(&poisoned(words).wasm(), |spec| (spec.required, spec.show_guest_messages) = (true, false));
    let mut chain = loaded.plugin_chain().unwrap();
    let all: Vec<usize> = (0..50).collect();
    for batch in [records(50, &all), records(50, &[])] {
        let (_, error) = waits(&mut chain, batch);
        assert!(error.reason.contains("unreachable") && !error.to_string().contains("hand-made"), "{error}");
    }
}
