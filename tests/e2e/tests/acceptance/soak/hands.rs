//! The hands of a drill: they act on clusters, lines, topics and rights. Each has a thread of its
//! own, and random numbers of its own for its moments and choices.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use strait_e2e::TestClient;
use strait_test_cluster::{Cluster, Proxy};

use super::Course;
use super::damage::Damage;
use super::everything::{DAMAGED, DENSE, REFUSED, TRANSACTIONS};
use super::model::Model;
use super::secured::{deny, no_longer_deny};
use crate::support::{Pair, SOON, now, wait_until};

const TOPICS_MAX: usize = 8;
const PARTITIONS_MAX: i32 = 4;

/// Returns a random time.
pub fn between(rng: &mut StdRng, ms: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(ms))
}

/// Stops, kills and freezes brokers, one of the cluster at a time. Leaders move away with each, and
/// back by Kafka's own balancing.
pub fn brokers(course: &Course, mut rng: StdRng, cluster: &Cluster, client: &TestClient) {
    let watcher: BaseConsumer = client.config().set("group.id", "strait-test-isr").create().unwrap();
    while course.goes_on() {
        course.wait(between(&mut rng, 5_000..25_000));
        let index = rng.random_range(0..cluster.brokers().len());
        let broker = cluster.broker(index).unwrap();
        let down = between(&mut rng, 0..8_000);
        let how = rng.random_range(0..3);
        let name = format!("broker {} of {}", broker.id(), cluster.name());
        match how {
            0 => {
                course.trace(format!("{name}: stopped, down for {down:.1?}"));
                now(broker.stop()).unwrap();
            }
            1 => {
                course.trace(format!("{name}: killed, down for {down:.1?}"));
                broker.kill().unwrap();
            }
            _ => {
                course.trace(format!("{name}: frozen for {down:.1?}"));
                broker.pause().unwrap();
            }
        }
        course.wait(down);
        if how == 2 {
            broker.resume().unwrap();
        } else {
            now(broker.restart()).unwrap();
        }
        // The next one would leave partitions without enough replicas.
        wait_until(&format!("{name} in sync"), SOON * 2, || in_sync(&watcher).then_some(()));
        course.trace(format!("{name}: in sync"));
    }
}

fn in_sync(watcher: &BaseConsumer) -> bool {
    let Ok(metadata) = watcher.fetch_metadata(None, Duration::from_secs(5)) else {
        return false;
    };
    let mut partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
    partitions.all(|partition| partition.leader() >= 0 && partition.isr().len() == partition.replicas().len())
}

/// Cuts, resets, freezes, swallows, slows and lengthens lines.
pub fn lines(course: &Course, mut rng: StdRng, clusters: [&Cluster; 2]) {
    while course.goes_on() {
        course.wait(between(&mut rng, 2_000..12_000));
        let cluster = clusters[rng.random_range(0..2)];
        let index = rng.random_range(0..cluster.brokers().len());
        let proxy = cluster.proxy(index).unwrap();
        let length = between(&mut rng, 500..12_000);
        let name = format!("line to broker {} of {}", index + 1, cluster.name());
        let what = match rng.random_range(0..7) {
            0 => {
                course.trace(format!("{name}: cut"));
                proxy.cut();
                continue;
            }
            1 => {
                course.trace(format!("{name}: reset"));
                proxy.reset();
                continue;
            }
            2 => {
                course.trace(format!("{name}: cut again and again, so that logins are cut"));
                for _ in 0..30 {
                    proxy.cut();
                    course.wait(between(&mut rng, 5..150));
                }
                continue;
            }
            3 => ("frozen", Proxy::freeze as fn(&Proxy, bool)),
            4 => ("swallowed", Proxy::black_hole as fn(&Proxy, bool)),
            5 => ("at 100 kB/s", slow as fn(&Proxy, bool)),
            _ => ("over 80 ms", lengthen as fn(&Proxy, bool)),
        };
        course.trace(format!("{name}: {} for {length:.1?}", what.0));
        what.1(proxy, true);
        course.wait(length);
        proxy.heal();
    }
    clusters.iter().flat_map(|cluster| cluster.proxies()).for_each(Proxy::heal);
}

fn slow(proxy: &Proxy, _on: bool) {
    proxy.throttle(100_000);
}

fn lengthen(proxy: &Proxy, _on: bool) {
    proxy.delay(Duration::from_millis(40));
}

/// Makes, grows, deletes and remakes topics.
pub fn topics(course: &Course, mut rng: StdRng, model: &Model) {
    let mut made = 0;
    while course.goes_on() {
        course.wait(between(&mut rng, 8_000..30_000));
        if !course.goes_on() {
            return;
        }
        let living: Vec<(String, i32)> =
            model.living().into_iter().filter(|(name, _)| name.starts_with("soak.made")).collect();
        let chosen = (!living.is_empty()).then(|| living[rng.random_range(0..living.len())].clone());
        match (rng.random_range(0..3), chosen) {
            (0, Some((name, partitions))) if partitions < PARTITIONS_MAX => {
                course.trace(format!("topic {name}: grown to {}", partitions + 1));
                model.grow(&name, partitions + 1);
            }
            (1, Some((name, partitions))) => {
                course.trace(format!("topic {name}: deleted"));
                model.delete(&name);
                course.wait(between(&mut rng, 0..10_000));
                course.trace(format!("topic {name}: made again"));
                model.make(&name, partitions);
            }
            _ if living.len() < TOPICS_MAX => {
                let (name, partitions) = (format!("soak.made{made}"), rng.random_range(1..=2));
                course.trace(format!("topic {name}: made with {partitions} partitions"));
                model.make(&name, partitions);
                made += 1;
            }
            _ => {}
        }
    }
}

/// Writes transactions, some of which abort, records that the target refuses, dense batches and
/// damaged ones.
pub fn records(course: &Course, mut rng: StdRng, model: &Model, source: &Cluster) {
    let mut seed = 0;
    while course.goes_on() {
        course.wait(between(&mut rng, 1_000..6_000));
        match rng.random_range(0..12) {
            0..3 => {
                course.trace(format!("a record that the target refuses to {REFUSED}-0"));
                model.write_refused(REFUSED, 0, 60_000);
            }
            3 => {
                course.trace(format!("a dense batch to {DENSE}-0"));
                model.write_dense(DENSE);
            }
            4 => damage(course, &mut rng, model, source),
            _ => {}
        }
        seed += 1;
        let count = rng.random_range(10..200);
        match model.write_transactions(TRANSACTIONS, 2, count, seed) {
            Ok(committed) => course.trace(format!("{committed} records in transactions to {TRANSACTIONS}")),
            Err(error) => course.trace(format!("transactions to {TRANSACTIONS} ended early: {error}")),
        }
    }
}

/// Damages a batch for a while.
fn damage(course: &Course, rng: &mut StdRng, model: &Model, source: &Cluster) {
    let length = between(rng, 2_000..15_000);
    let Some(damage) = Damage::make(source, model.source(), DAMAGED) else {
        return;
    };
    course.trace(format!("{DAMAGED}-0: a damaged batch for {length:.1?}"));
    course.wait(length);
    damage.mend();
    course.trace(format!("{DAMAGED}-0: the batch is sound again"));
}

/// Denies reads at the source and writes at the target, a topic at a time.
pub fn rights(course: &Course, mut rng: StdRng, model: &Model, pair: &Pair) {
    while course.goes_on() {
        course.wait(between(&mut rng, 10_000..40_000));
        let living = model.living();
        let topic = living[rng.random_range(0..living.len())].0.clone();
        let length = between(&mut rng, 5_000..45_000);
        let (cluster, name, operation) = if rng.random() {
            (&pair.source, topic, "READ")
        } else {
            (&pair.target, format!("source.{topic}"), "WRITE")
        };
        course.trace(format!("{operation} of {name} denied for {length:.1?}"));
        deny(cluster, &name, operation);
        course.wait(length);
        no_longer_deny(cluster, &name, operation);
        course.trace(format!("{operation} of {name} allowed"));
    }
}
