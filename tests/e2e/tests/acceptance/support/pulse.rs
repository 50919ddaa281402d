//! A steady stream of records, and the pace at which a topic grows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use strait_e2e::{TestClient, Writer};

use super::{numbered, wait_until};

/// So often in a second a [`Feed`] writes at most; then several records at a time.
const BURSTS_MAX: u32 = 200;

/// The committed ends of a topic's partitions; cheap enough for a loop.
pub struct Ends {
    consumer: BaseConsumer,
    topic: String,
    partitions: i32,
}

impl Ends {
    pub fn new(client: &TestClient, topic: &str, partitions: i32) -> Self {
        let mut config = client.config();
        config.set("group.id", "strait-test-ends").set("isolation.level", "read_committed");
        config.set("reconnect.backoff.max.ms", "200").set("log_level", "2");
        Self { consumer: config.create().unwrap(), topic: topic.to_owned(), partitions }
    }

    /// Returns the last stable offset of each partition, `None` where the cluster does not answer.
    pub fn get(&self) -> Vec<Option<i64>> {
        let ask = |partition| self.consumer.fetch_watermarks(&self.topic, partition, Duration::from_secs(1));
        (0..self.partitions).map(|partition| ask(partition).ok().map(|(_, end)| end)).collect()
    }

    /// Returns their sum; `None` while one of them is not known.
    pub fn sum(&self) -> Option<i64> {
        self.get().into_iter().sum()
    }
}

/// Plain records at a steady rate until stopped.
pub struct Feed {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Feed {
    /// Writes `per_second` records to each partition, numbered per partition from 0.
    pub fn start(client: &TestClient, topic: &str, partitions: i32, per_second: u32) -> Self {
        let writer = Writer::new(&client.config(), topic).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let burst = (per_second / BURSTS_MAX).max(1);
            let pause = Duration::from_secs(1) * burst / per_second;
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                for partition in 0..partitions {
                    for record in numbered(partition, number, burst.into()) {
                        writer.send(&record).unwrap();
                    }
                }
                number += u64::from(burst);
                // The rate, not a wait for something.
                std::thread::sleep(pause.saturating_sub(began.elapsed()));
            }
            writer.flush().unwrap();
            number
        });
        Self { stop, thread: Some(thread) }
    }

    /// Stops the stream; returns the number of records of each partition.
    pub fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Polls a topic's committed ends and records the longest standstill of each partition since the
/// last mark.
pub struct Pulse {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Seen>>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy)]
struct Seen {
    end: i64,
    at: Instant,
    longest: Duration,
}

impl Pulse {
    pub fn start(client: &TestClient, topic: &str, partitions: i32) -> Self {
        let ends = Ends::new(client, topic, partitions);
        let start = Seen { end: 0, at: Instant::now(), longest: Duration::ZERO };
        let seen = Arc::new(Mutex::new(vec![start; usize::try_from(partitions).unwrap()]));
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, shared) = (Arc::clone(&stop), Arc::clone(&seen));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let found = ends.get();
                let now = Instant::now();
                for (seen, found) in shared.lock().unwrap().iter_mut().zip(found) {
                    seen.longest = seen.longest.max(now - seen.at);
                    if let Some(end) = found.filter(|end| *end > seen.end) {
                        seen.end = end;
                        seen.at = now;
                    }
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Self { stop, seen, thread: Some(thread) }
    }

    /// Forgets the standstills so far.
    pub fn mark(&self) {
        let now = Instant::now();
        for seen in self.seen.lock().unwrap().iter_mut() {
            *seen = Seen { at: now, longest: Duration::ZERO, ..*seen };
        }
    }

    /// Returns the longest standstill of each partition, the present one included.
    pub fn longest(&self) -> Vec<Duration> {
        self.seen.lock().unwrap().iter().map(|seen| seen.longest.max(seen.at.elapsed())).collect()
    }

    /// Returns the committed end of each partition as last polled.
    pub fn ends(&self) -> Vec<i64> {
        self.seen.lock().unwrap().iter().map(|seen| seen.end).collect()
    }

    /// Waits until each of these partitions has moved on from where it is now.
    #[track_caller]
    pub fn wait_moved(&self, partitions: &[usize], within: Duration) {
        let before = self.ends();
        let wanted = format!("moved on in partitions {partitions:?}");
        wait_until(&wanted, within, || {
            let ends = self.ends();
            partitions.iter().all(|p| ends[*p] > before[*p]).then_some(())
        });
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
