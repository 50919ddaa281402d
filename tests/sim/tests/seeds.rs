//! Many seeds, each a run of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a simulation ends where it fails"
)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use strait_sim::run::{Outcome, run_seed};

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_seed_keeps_every_promise() {
    if let Some(seed) = setting("STRAIT_SIM_SEED") {
        run_seed(seed, None).assert_good();
        return;
    }
    let seeds = setting("STRAIT_SIM_SEEDS").unwrap_or(10_000);
    let from = setting("STRAIT_SIM_FROM").unwrap_or(0);
    let end = from + seeds;
    let next = AtomicU64::new(from);
    let work = || {
        let mut done: Vec<Outcome> = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return done;
            }
            let outcome = run_seed(seed, None);
            if outcome.violation.is_some() {
                next.store(end, Ordering::Relaxed);
            }
            done.push(Outcome {
                tail: if outcome.violation.is_some() { outcome.tail } else { String::new() },
                ..outcome
            });
        }
    };
    let mut outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads.into_iter().flat_map(|t| t.join().expect("a run panicked")).collect()
    });
    outcomes.sort_by_key(|o| o.seed);
    for outcome in &outcomes {
        outcome.assert_good();
    }
    let records: u64 = outcomes.iter().map(|o| o.records).sum();
    let transactions: u64 = outcomes.iter().map(|o| o.transactions).sum();
    let events: BTreeSet<&str> = outcomes.iter().flat_map(|o| o.events.iter().copied()).collect();
    println!("seeds {from} to {}, {records} records, {transactions} transactions, events {events:?}", end - 1);
    if seeds >= 500 {
        // Seeds in which nothing goes wrong prove nothing.
        assert!(records > seeds * 20);
        for name in [
            "fenced",
            "lane_restarted",
            "quarantined",
            "record_stopped",
            "quarantine_failed",
            "resumed",
            "retention_overrun",
            "target_stuck",
            "topic_recreated",
            "truncated",
            "source_gone",
            "standing_still",
            "moves_again",
            "plugin_failed",
            "target_partitions_missing",
        ] {
            assert!(events.contains(name), "no run met {name}");
        }
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..40 {
        let (first, second) = (run_seed(seed, None), run_seed(seed, None));
        let differs = first.tail.lines().zip(second.tail.lines()).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}: first difference within the last lines (STRAIT_SIM_TRACE keeps more)");
        assert_eq!((first.hash, first.records), (second.hash, second.records), "seed {seed}");
    }
    assert_ne!(run_seed(1, None).hash, run_seed(2, None).hash);
}
