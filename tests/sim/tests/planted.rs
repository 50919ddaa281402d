//! The simulation can fail: it finds every fault planted into the world, by the promise that the
//! fault breaks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a simulation ends where it fails"
)]

use strait_sim::run::run_seed;
use strait_sim::world::Bug;

/// Runs seeds until one finds the fault. The violation must name what is really broken.
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
fn a_slot_that_is_not_initialised_is_found() {
    is_found(Bug::SingleInit, 2_000, &["twice", "follows offset", "progress fell", "not on the target", "map"]);
}

#[test]
fn brokers_that_do_not_fence_are_found() {
    is_found(
        Bug::NoFencing,
        500,
        &["twice", "follows offset", "progress fell", "not on the target", "map", "left open"],
    );
}

#[test]
fn progress_read_before_the_inits_is_found() {
    is_found(Bug::ReadBeforeInit, 1_000, &["twice", "follows offset", "progress fell", "map"]);
}

#[test]
fn uncommitted_progress_taken_for_true_is_found() {
    is_found(Bug::ReadUncommitted, 500, &["not on the target", "map", "first position"]);
}

#[test]
fn a_commit_that_does_not_wait_is_found() {
    is_found(Bug::CommitWithoutWaiting, 100, &["not on the target", "is committed, but progress", "map"]);
}

#[test]
fn a_record_lost_and_acknowledged_is_found() {
    is_found(Bug::LoseRecord, 100, &["not on the target", "map"]);
}

#[test]
fn a_record_written_twice_is_found() {
    is_found(Bug::WriteTwice, 100, &["twice", "follows offset", "map"]);
}

#[test]
fn two_records_that_change_places_are_found() {
    is_found(Bug::Swap, 100, &["follows offset", "map"]);
}

#[test]
fn offsets_reported_wrong_are_found() {
    is_found(Bug::WrongOffset, 100, &["map"]);
}

#[test]
fn a_quarantine_that_writes_nothing_is_found() {
    is_found(Bug::QuarantineLies, 100, &["not in quarantine"]);
}

#[test]
fn books_that_lose_their_entries_are_found() {
    is_found(Bug::BooksLie, 100, &["entries in the books", "the books do not say so"]);
}

#[test]
fn books_that_are_not_told_of_what_is_read_again_are_found() {
    is_found(Bug::MarksLost, 1_000, &["the books do not say so"]);
}

#[test]
fn progress_beside_the_transaction_is_found() {
    is_found(Bug::ProgressOutside, 100, &["not on the target", "is committed, but progress", "map"]);
}

#[test]
fn a_source_that_leaves_a_record_out_is_found() {
    let says = ["not on the target", "not in quarantine", "must stop at", "not everything arrived"];
    is_found(Bug::SkipSource, 100, &says);
}

#[test]
fn a_source_that_goes_on_in_another_incarnation_is_found() {
    is_found(Bug::ReadByName, 2_000, &["a record of another incarnation"]);
}

#[test]
fn plugins_whose_warm_up_is_too_short_are_found() {
    is_found(Bug::ShortMemory, 100, &["and remember"]);
}

#[test]
fn plugins_that_loosen_the_border_unasked_are_found() {
    is_found(Bug::AgreedByAll, 500, &["and its border holds"]);
}

#[test]
fn a_border_that_does_not_hold_what_its_plugins_protect_is_found() {
    is_found(Bug::SaysLess, 500, &["and its border holds only"]);
}

#[test]
fn a_process_that_does_not_see_what_groups_have_on_the_target_is_found() {
    is_found(Bug::GroupBlind, 2_000, &["reads on the target", "skips source record"]);
}

#[test]
fn groups_that_are_put_too_far_are_found() {
    is_found(Bug::GroupSkips, 2_000, &["skips source record", "is at"]);
}
