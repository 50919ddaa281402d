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

/// Makes a test of each case, with the turn that it takes, and the list of all for the variants.
macro_rules! cases {
    ($($turn:ident $name:ident: $case:path;)*) => {
        /// The cases that every variant runs.
        const CASES: &[(&str, Case)] = &[$((stringify!($name), $case)),*];
        $(
            #[test]
            fn $name() {
                $turn($case);
            }
        )*
    };
}

cases! {
    base test_replication: replication::replication;
    waiting test_sync_topic_configs: settings::sync_topic_configs;
    waiting test_replicate_source_default: settings::replicate_source_default;
    waiting test_replicate_target_default: settings::replicate_target_default;
    base test_replication_with_empty_partition: groups::replication_with_empty_partition;
    base test_one_way_replication_with_auto_offset_sync: groups::one_way_replication_with_auto_offset_sync;
    base test_one_way_replication_with_frequent_offset_syncs: groups::one_way_replication_with_frequent_offset_syncs;
    base test_replication_without_offset_sync_will_not_create_offset_syncs_topic: replication::replication_without_offset_sync_will_not_create_offset_syncs_topic;
    base test_offset_syncs_topics_on_target: replication::offset_syncs_topics_on_target;
    base test_restart_replication: groups::restart_replication;
    base test_offset_translation_behind_replication_flow: groups::offset_translation_behind_replication_flow;
    base test_replicate_from_latest: replication::replicate_from_latest;
    base test_create_partitions: settings::create_partitions;
    base test_single_node_cluster: replication::single_node_cluster;
    base test_cluster_with_emit_offset_disabled: replication::cluster_with_emit_offset_disabled;
    base test_multi_node_cluster: replication::multi_node_cluster;
}

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
    run(Variant::Identity, CASES);
}

#[test]
#[ignore = "a variant of the suite: minutes"]
fn transactions() {
    run(Variant::Transactional, CASES);
}

#[test]
#[ignore = "a variant of the suite: minutes"]
fn at_least_once() {
    run(Variant::AtLeastOnce, CASES);
}

#[test]
#[ignore = "a variant of the suite: minutes"]
fn tls() {
    run(Variant::Tls, CASES);
}

#[test]
#[ignore = "a variant of the suite: minutes"]
fn logins_and_access_lists() {
    let more = [&[("test_sync_topic_acls", settings::sync_topic_acls as Case)], CASES].concat();
    run(Variant::Secured, &more);
}
