//! MirrorMaker 2's own integration tests, under their names and on their fixture, as tests of a
//! link (`docs/mm2-conformance.md`). The base suite runs on the shared pair. Its variants, each on
//! a pair of its own, are run by `./dev test mm2`.

mod fixture;
mod groups;
mod replication;
mod settings;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;

use fixture::{Suite, Variant};

use crate::support::Turn;

type Case = fn(&Suite);

/// The cases that every variant runs.
const CASES: [(&str, Case); 16] = [
    ("test_replication", replication::replication),
    ("test_sync_topic_configs", settings::sync_topic_configs),
    ("test_replicate_source_default", settings::replicate_source_default),
    ("test_replicate_target_default", settings::replicate_target_default),
    ("test_replication_with_empty_partition", groups::replication_with_empty_partition),
    ("test_one_way_replication_with_auto_offset_sync", groups::one_way_replication_with_auto_offset_sync),
    ("test_one_way_replication_with_frequent_offset_syncs", groups::one_way_replication_with_frequent_offset_syncs),
    (
        "test_replication_without_offset_sync_will_not_create_offset_syncs_topic",
        replication::replication_without_offset_sync_will_not_create_offset_syncs_topic,
    ),
    ("test_offset_syncs_topics_on_target", replication::offset_syncs_topics_on_target),
    ("test_restart_replication", groups::restart_replication),
    ("test_offset_translation_behind_replication_flow", groups::offset_translation_behind_replication_flow),
    ("test_replicate_from_latest", replication::replicate_from_latest),
    ("test_create_partitions", settings::create_partitions),
    ("test_single_node_cluster", replication::single_node_cluster),
    ("test_cluster_with_emit_offset_disabled", replication::cluster_with_emit_offset_disabled),
    ("test_multi_node_cluster", replication::multi_node_cluster),
];
/// Cases of a variant that run side by side.
const BESIDE: usize = 3;

fn base(case: Case) {
    let _turn = Turn::beside_another();
    case(&Suite::base());
}

/// Does the same for a case that mostly waits for a look at settings.
fn waiting(case: Case) {
    let _turn = Turn::waiting();
    case(&Suite::base());
}

#[test]
fn test_replication() {
    base(replication::replication);
}

#[test]
fn test_replication_with_empty_partition() {
    base(groups::replication_with_empty_partition);
}

#[test]
fn test_one_way_replication_with_auto_offset_sync() {
    base(groups::one_way_replication_with_auto_offset_sync);
}

#[test]
fn test_one_way_replication_with_frequent_offset_syncs() {
    base(groups::one_way_replication_with_frequent_offset_syncs);
}

#[test]
fn test_replication_without_offset_sync_will_not_create_offset_syncs_topic() {
    base(replication::replication_without_offset_sync_will_not_create_offset_syncs_topic);
}

#[test]
fn test_offset_syncs_topics_on_target() {
    base(replication::offset_syncs_topics_on_target);
}

#[test]
fn test_restart_replication() {
    base(groups::restart_replication);
}

#[test]
fn test_offset_translation_behind_replication_flow() {
    base(groups::offset_translation_behind_replication_flow);
}

#[test]
fn test_sync_topic_configs() {
    waiting(settings::sync_topic_configs);
}

#[test]
fn test_replicate_source_default() {
    waiting(settings::replicate_source_default);
}

#[test]
fn test_replicate_target_default() {
    waiting(settings::replicate_target_default);
}

#[test]
fn test_replicate_from_latest() {
    base(replication::replicate_from_latest);
}

#[test]
fn test_create_partitions() {
    base(settings::create_partitions);
}

#[test]
fn test_single_node_cluster() {
    base(replication::single_node_cluster);
}

#[test]
fn test_cluster_with_emit_offset_disabled() {
    base(replication::cluster_with_emit_offset_disabled);
}

#[test]
fn test_multi_node_cluster() {
    base(replication::multi_node_cluster);
}

/// Runs these cases, some at a time, and fails with the names of those that have failed.
fn run(variant: Variant, cases: &[(&'static str, Case)]) {
    let _turn = Turn::alone();
    let suite = Suite::start(variant);
    let (left, failed) = (Mutex::new(cases.iter()), Mutex::new(Vec::new()));
    let next = || left.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..BESIDE {
            scope.spawn(|| {
                while let Some((name, case)) = next() {
                    let began = Instant::now();
                    let ended = catch_unwind(AssertUnwindSafe(|| case(&suite)));
                    let result = if ended.is_ok() { "passed" } else { "FAILED" };
                    println!("{variant:?} {name}: {result} after {:.1?}", began.elapsed());
                    if ended.is_err() {
                        failed.lock().unwrap().push(*name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{variant:?}: {failed:?}");
}

#[test]
#[ignore = "a variant of the suite: minutes"]
fn identity_replication() {
    run(Variant::Identity, &CASES);
}

#[test]
#[ignore = "a variant of the suite: minutes"]
fn transactions() {
    run(Variant::Transactional, &CASES);
}

#[test]
#[ignore = "a variant of the suite: minutes"]
fn at_least_once() {
    run(Variant::AtLeastOnce, &CASES);
}

#[test]
#[ignore = "a variant of the suite: minutes"]
fn tls() {
    run(Variant::Tls, &CASES);
}

#[test]
#[ignore = "a variant of the suite: minutes"]
fn logins_and_access_lists() {
    let more = [&[("test_sync_topic_acls", settings::sync_topic_acls as Case)], &CASES[..]].concat();
    run(Variant::Secured, &more);
}
