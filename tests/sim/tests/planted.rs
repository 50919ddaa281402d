//! The simulation can fail: each fault planted into the world is found, and by the promise that it breaks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use strait_sim::run::run_seed;
use strait_sim::world::Bug;

/// Runs seeds until one finds the fault; every find must speak of what is really broken.
fn is_found(bug: Bug, seeds: u64, says: &[&str]) {
    for seed in 0..seeds {
        let Some(violation) = run_seed(seed, Some(bug)).violation else { continue };
        assert!(
            says.iter().any(|s| violation.contains(s)),
            "{bug:?} with seed {seed}: found something else: {violation}"
        );
        return;
    }
    panic!("{bug:?} was not found by {seeds} seeds");
}

#[test]
fn a_slot_that_is_not_initialised() {
    is_found(Bug::SingleInit, 2_000, &["twice", "follows offset", "progress fell", "not on the target", "map"]);
}

#[test]
fn brokers_that_do_not_fence() {
    is_found(
        Bug::NoFencing,
        500,
        &["twice", "follows offset", "progress fell", "not on the target", "map", "left open"],
    );
}

#[test]
fn progress_read_before_the_inits() {
    is_found(Bug::ReadBeforeInit, 1_000, &["twice", "follows offset", "progress fell", "map"]);
}

#[test]
fn uncommitted_progress_taken_for_true() {
    is_found(Bug::ReadUncommitted, 500, &["not on the target", "map", "first position"]);
}

#[test]
fn a_commit_that_does_not_wait() {
    is_found(Bug::CommitWithoutWaiting, 100, &["not on the target", "is committed, but progress", "map"]);
}

#[test]
fn a_record_lost_and_acknowledged() {
    is_found(Bug::LoseRecord, 100, &["not on the target", "map"]);
}

#[test]
fn a_record_written_twice() {
    is_found(Bug::WriteTwice, 100, &["twice", "follows offset", "map"]);
}

#[test]
fn two_records_that_change_places() {
    is_found(Bug::Swap, 100, &["follows offset", "map"]);
}

#[test]
fn offsets_reported_wrong() {
    is_found(Bug::WrongOffset, 100, &["map"]);
}

#[test]
fn a_quarantine_that_keeps_nothing() {
    is_found(Bug::QuarantineLies, 100, &["not in quarantine"]);
}

#[test]
fn progress_beside_the_transaction() {
    is_found(Bug::ProgressOutside, 100, &["not on the target", "is committed, but progress", "map"]);
}

#[test]
fn a_source_that_leaves_a_record_out() {
    is_found(Bug::SkipSource, 100, &["not on the target", "not in quarantine", "must stop at"]);
}

#[test]
fn plugins_that_are_not_shown_all_that_they_remember() {
    is_found(Bug::ShortMemory, 100, &["and remember"]);
}
