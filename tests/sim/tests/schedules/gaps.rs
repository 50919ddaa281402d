//! Records that the source loses before they are copied.

use strait_flow::{OnGap, Policies};
use strait_sim::cluster::Cluster;
use strait_sim::run::lenient;
use strait_sim::world::World;
use strait_sim::world::source::Rules;

use crate::{all_met, begin, feed, next, play, until, wait_ms};

/// Stops the lanes, lets the source change, and starts them again.
async fn meanwhile(cluster: &mut Cluster, change: impl FnOnce(&mut World)) {
    cluster.give_up(0, 0).await;
    cluster.give_up(1, 0).await;
    change(&mut cluster.sim.lock());
    cluster.assign(0, 1);
    cluster.assign(1, 1);
    wait_ms(6_000).await;
    cluster.topics_are_known().await;
    wait_ms(2_000).await;
}

#[test]
fn gaps_stop_or_continue_as_policy_says_and_emit_an_event() {
    for on_gap in [OnGap::Stop, OnGap::Continue] {
        let policies = Policies { on_gap, ..lenient() };
        let retention = play(policies, Rules::default(), |mut cluster| async move {
            begin(&mut cluster).await;
            meanwhile(&mut cluster, |world| {
                feed(world);
                feed(world);
                world.retain("a", 0, 35);
            })
            .await;
            cluster
        });
        all_met(&retention, "retention_overrun");
        let truncated = play(policies, Rules::default(), |mut cluster| async move {
            begin(&mut cluster).await;
            until(&cluster, "all is copied", |w| next(w, "a", 0).0 >= 20).await;
            meanwhile(&mut cluster, |world| {
                world.elect("a", 0, Some(5));
                // Shorter than before in some runs, longer in others.
                let more = world.rng.within(1, 40);
                world.append("a", 0, more, false);
            })
            .await;
            cluster
        });
        all_met(&truncated, "truncated");
        for fill in [0, 60] {
            let recreated = play(policies, Rules::default(), move |mut cluster| async move {
                begin(&mut cluster).await;
                meanwhile(&mut cluster, |world| {
                    world.delete_source_topic("a");
                    world.create_source_topic("a", 2);
                    world.append("a", 0, fill, false);
                    world.append("a", 1, fill, false);
                })
                .await;
                cluster
            });
            all_met(&recreated, "topic_recreated");
        }
    }
}

#[test]
fn what_a_recreated_topic_loses_before_it_is_read_is_told() {
    let policies = Policies { on_gap: OnGap::Continue, ..lenient() };
    let outcomes = play(policies, Rules::default(), move |mut cluster| async move {
        begin(&mut cluster).await;
        meanwhile(&mut cluster, |world| {
            world.delete_source_topic("a");
            world.create_source_topic("a", 2);
            world.append("a", 0, 60, false);
            world.retain("a", 0, 35);
        })
        .await;
        cluster
    });
    all_met(&outcomes, "topic_recreated");
    all_met(&outcomes, "retention_overrun");
}

#[test]
fn a_topic_recreated_under_a_running_lane_is_reported_whatever_its_length() {
    for fill in [0, 5, 100] {
        let outcomes = play(lenient(), Rules::default(), move |mut cluster| async move {
            begin(&mut cluster).await;
            {
                let mut world = cluster.sim.lock();
                world.delete_source_topic("a");
                world.create_source_topic("a", 2);
                world.append("a", 0, fill, false);
                world.append("a", 1, fill, false);
            }
            wait_ms(5_000).await;
            cluster.topics_are_known().await;
            wait_ms(1_000).await;
            cluster
        });
        all_met(&outcomes, "topic_recreated");
    }
}
