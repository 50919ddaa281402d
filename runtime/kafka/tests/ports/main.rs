//! The ports against a real broker. All scenarios share a cluster and run side by side, each on its
//! own topics.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers outside of a test function fail the test too"
)]

mod common;
mod control;
mod group;
mod leaders;
mod mm2;
mod planning;
mod reading;
mod side;
mod writing;

use std::time::Instant;

use common::Rig;
use strait_test_cluster::{Cluster, ClusterSpec};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ports_hold_their_contracts_on_a_real_broker() {
    let cluster = Cluster::start(ClusterSpec::new("ports").with_proxies()).await.unwrap();
    let rig = Rig::new(&cluster.bootstrap());
    let mut scenarios = tokio::task::JoinSet::new();
    macro_rules! scenario {
        ($module:ident :: $name:ident) => {
            let rig = rig.clone();
            scenarios.spawn(async move {
                let started = Instant::now();
                let outcome = tokio::spawn($module::$name(rig)).await;
                (stringify!($name), started.elapsed(), outcome.is_ok())
            });
        };
    }
    scenario!(planning::a_plan_that_is_carried_out_leaves_nothing_to_do);
    scenario!(writing::a_committed_transaction_is_read_back_byte_for_byte);
    scenario!(writing::a_second_taker_fences_the_first);
    scenario!(writing::a_take_that_is_dropped_fences_nobody);
    scenario!(writing::refusals_name_the_guilty_record);
    scenario!(writing::at_least_once_delivers_without_transactions);
    scenario!(reading::lost_positions_are_told_apart);
    scenario!(reading::a_seek_voids_what_was_fetched_before);
    scenario!(reading::starts_and_bounds_are_numbers);
    scenario!(group::two_members_share_lanes_and_one_inherits);
    scenario!(control::one_coordinator_writes_and_all_read_what_it_has_committed);
    scenario!(mm2::topics_for_mirror_makers_clients_are_made_and_written_in_order);
    scenario!(mm2::the_map_is_followed_from_near_its_end);
    scenario!(side::lanes_are_fixed_when_the_topics_are_made);
    scenario!(side::quarantine_keeps_the_record_and_its_reason);
    scenario!(side::discovery_selects_by_full_match);
    scenario!(side::a_probe_says_what_is_wrong);
    let mut failed = Vec::new();
    while let Some(done) = scenarios.join_next().await {
        let (name, took, ok) = done.unwrap();
        println!("{} {name} ({took:.1?})", if ok { "ok    " } else { "FAILED" });
        if !ok {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
    // Alone, because it makes the line to the broker long.
    writing::topics_that_exist_are_opened_in_few_round_trips(rig, cluster.proxy(0).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_is_read_over_a_line_too_slow_for_an_answer_of_the_usual_size() {
    let cluster = Cluster::start(ClusterSpec::new("slow-progress").with_proxies()).await.unwrap();
    let rig = Rig::new(&cluster.internal_bootstrap());
    let line = Rig::new(&cluster.bootstrap());
    writing::progress_is_read_over_a_slow_line(rig, line, cluster.proxy(0).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mock_cluster_serves_a_demonstration() {
    side::a_mock_cluster_serves_a_demonstration().await;
}
