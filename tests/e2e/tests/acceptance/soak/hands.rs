//! What a drill does to clusters, lines, topics and processes. Each hand acts on a thread of its
//! own, at moments and with choices of its own random numbers.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand::rngs::StdRng;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use strait_e2e::{ConfigFolder, LogLine, Strait, TestClient};
use strait_test_cluster::{Cluster, Proxy};

use super::Course;
use super::model::Model;
use crate::support::{SOON, now, wait_until};

const TOPICS_MAX: usize = 8;
const PARTITIONS_MAX: i32 = 4;

fn between(rng: &mut StdRng, ms: std::ops::Range<u64>) -> Duration {
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
        let what = match rng.random_range(0..6) {
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
            2 => ("frozen", Proxy::freeze as fn(&Proxy, bool)),
            3 => ("swallowed", Proxy::black_hole as fn(&Proxy, bool)),
            4 => ("at 100 kB/s", slow as fn(&Proxy, bool)),
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

/// Makes and grows topics, and deletes and remakes one of them where that is asked for.
pub fn topics(course: &Course, mut rng: StdRng, model: &Model, remakes: bool) {
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
            (1, Some((name, partitions))) if remakes => {
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

/// Writes transactions, some of which abort, and records that the target refuses.
pub fn records(course: &Course, mut rng: StdRng, model: &Model, refused: &str, transactions: &str) {
    let mut seed = 0;
    while course.goes_on() {
        course.wait(between(&mut rng, 1_000..6_000));
        if rng.random_bool(0.3) {
            course.trace(format!("a record that the target refuses to {refused}-0"));
            model.write_refused(refused, 0, 60_000);
        }
        seed += 1;
        let count = rng.random_range(10..200);
        match model.write_transactions(transactions, 2, count, seed) {
            Ok(committed) => course.trace(format!("{committed} records in transactions to {transactions}")),
            Err(error) => course.trace(format!("transactions to {transactions} ended early: {error}")),
        }
    }
}

/// The processes of a drill, and the logs of those that are gone.
pub struct Crew<'a> {
    config: &'a ConfigFolder,
    living: Mutex<Vec<Strait>>,
    past: Mutex<Vec<LogLine>>,
    changed: Mutex<Instant>,
}

impl<'a> Crew<'a> {
    pub fn start(config: &'a ConfigFolder, size: usize) -> Self {
        let living = (0..size).map(|index| start(config, index)).collect();
        Self { config, living: Mutex::new(living), past: Mutex::default(), changed: Mutex::new(Instant::now()) }
    }

    fn living(&self) -> MutexGuard<'_, Vec<Strait>> {
        self.living.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every line of every process.
    pub fn lines(&self) -> Vec<LogLine> {
        let mut lines = self.past.lock().unwrap_or_else(PoisonError::into_inner).clone();
        lines.extend(self.living().iter().flat_map(Strait::lines));
        lines
    }

    /// When a process last began, or went on after a standstill of its own.
    pub fn changed(&self) -> Instant {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Fails if a process has ended by itself.
    #[track_caller]
    pub fn assert_alive(&self) {
        for strait in self.living().iter_mut() {
            assert!(strait.poll_end().unwrap().is_none(), "a process ended by itself: {}", strait.stderr());
        }
    }

    fn replace(&self, index: usize, before: impl FnOnce(&mut Strait)) {
        let mut living = self.living();
        let old = &mut living[index];
        before(old);
        self.past.lock().unwrap_or_else(PoisonError::into_inner).extend(old.lines());
        *old = start(self.config, index);
        self.change();
    }

    /// Ends every process in an orderly way.
    pub fn end(&self) {
        for strait in self.living().iter_mut() {
            strait.terminate().unwrap();
            assert_eq!(strait.wait_end(SOON).unwrap().code(), Some(0), "{}", strait.stderr());
        }
    }
}

fn start(config: &ConfigFolder, index: usize) -> Strait {
    Strait::run(&format!("process {index}"), config, &[]).unwrap()
}

/// Kills, ends and freezes processes, and starts others in their place.
pub fn processes(course: &Course, mut rng: StdRng, crew: &Crew<'_>) {
    while course.goes_on() {
        course.wait(between(&mut rng, 20_000..70_000));
        crew.assert_alive();
        let count = crew.living().len();
        let index = rng.random_range(0..count);
        match rng.random_range(0..3) {
            0 => {
                course.trace(format!("process {index}: killed"));
                crew.replace(index, |strait| strait.kill().unwrap());
            }
            1 => {
                course.trace(format!("process {index}: asked to end"));
                crew.replace(index, |strait| {
                    strait.terminate().unwrap();
                    // A process that cannot drain in time ends with an error; what it had in flight
                    // is aborted.
                    strait.wait_end(SOON).unwrap();
                });
            }
            _ => {
                let length = between(&mut rng, 2_000..20_000);
                course.trace(format!("process {index}: frozen for {length:.1?}"));
                crew.living()[index].pause().unwrap();
                course.wait(length);
                crew.living()[index].resume().unwrap();
                crew.change();
            }
        }
    }
}
