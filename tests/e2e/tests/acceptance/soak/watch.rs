//! Standstills: partitions that have something to copy and do not move.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use strait_core::lanes::lane_of;
use strait_e2e::{LogLine, TestClient};

use super::Course;
use super::crew::Crew;
use super::model::Model;

/// A standstill is a partition that does not move for this long although there is something to
/// copy.
const STILL: Duration = Duration::from_secs(30);
/// A process that has just started knows of no standstill before it. One that lasts this long
/// counts although processes start all the time.
const STILL_THROUGH_STARTS: Duration = Duration::from_secs(90);
/// The event may come this long before the standstill begins, and so long after [`STILL`].
const GRACE: Duration = Duration::from_secs(30);
const ASK: Duration = Duration::from_millis(500);

type Place = (String, i32);

/// A standstill that was seen.
#[derive(Debug, Clone)]
pub struct Standstill {
    pub topic: String,
    pub partition: i32,
    /// When the copy last moved.
    pub since: Instant,
    /// When it moved again, or the drill ended.
    pub until: Instant,
}

impl Standstill {
    /// Reports whether a line of a process's log is an event that explains this standstill: it
    /// names the partition or its lane, or is about the whole link.
    pub fn is_explained_by(&self, line: &LogLine, lanes: u32) -> bool {
        let in_time = line.at + GRACE >= self.since && line.at <= self.until + GRACE;
        if !in_time || line.field("event").is_none() {
            return false;
        }
        let (subject, rest) = line.message().split_once(':').unwrap_or_else(|| (line.message(), ""));
        if let Some(lane) = subject.strip_prefix("lane ") {
            return lane.split(' ').next() == Some(&lane_of(&self.topic, self.partition, lanes).0.to_string());
        }
        let Some((topic, partition)) = place(subject) else { return !rest.is_empty() };
        // One event can stand for several partitions of a lane, and says how many.
        let own_lane = || lane_of(topic, partition, lanes) == lane_of(&self.topic, self.partition, lanes);
        let is_of_all = line.field("event") == Some("standing_still") && rest.contains("; so do ") && own_lane();
        (topic, partition) == (self.topic.as_str(), self.partition) || is_of_all
    }
}

/// Returns the topic and partition that a message is about, if it is about one.
fn place(subject: &str) -> Option<(&str, i32)> {
    let (topic, partition) = subject.rsplit_once('-')?;
    Some((topic, partition.parse().ok()?))
}

struct Seen {
    target_end: i64,
    moved: Instant,
    source_at_move: i64,
    pending: Option<Instant>,
}

/// Looks at both ends of every partition until the course is over; returns the standstills.
pub fn watch(
    course: &Course,
    model: &Model,
    crew: &Crew<'_>,
    source: &TestClient,
    target: &TestClient,
) -> Vec<Standstill> {
    let (source, target) = (client(source), client(target));
    let mut seen: BTreeMap<Place, Seen> = BTreeMap::new();
    let mut found: Vec<Standstill> = Vec::new();
    while course.goes_on() {
        for (topic, partitions) in model.living() {
            for partition in 0..partitions {
                let Some(source_end) = end(&source, &topic, partition) else { continue };
                let target_end = end(&target, &format!("source.{topic}"), partition);
                let place = (topic.clone(), partition);
                let state = seen.entry(place).or_insert_with(|| Seen {
                    target_end: target_end.unwrap_or(0),
                    moved: Instant::now(),
                    source_at_move: 0,
                    pending: None,
                });
                if let Some(still) = state.look(source_end, target_end, crew.changed()) {
                    note(
                        course,
                        &mut found,
                        Standstill { topic: topic.clone(), partition, since: still, until: Instant::now() },
                    );
                }
            }
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    found
}

/// Keeps a standstill, or prolongs it.
fn note(course: &Course, found: &mut Vec<Standstill>, now: Standstill) {
    let same =
        |old: &&mut Standstill| old.topic == now.topic && old.partition == now.partition && old.since == now.since;
    if let Some(old) = found.iter_mut().find(same) {
        old.until = now.until;
        return;
    }
    course.trace(format!("STANDSTILL of {}-{} for {:.0?}", now.topic, now.partition, now.since.elapsed()));
    found.push(now);
}

impl Seen {
    /// Takes in both ends; returns since when the partition has not moved, if that is a standstill.
    fn look(&mut self, source_end: i64, target_end: Option<i64>, crew_changed: Instant) -> Option<Instant> {
        if target_end.is_some_and(|end| end != self.target_end) {
            self.target_end = target_end.unwrap_or(self.target_end);
            self.moved = Instant::now();
            self.source_at_move = source_end;
            self.pending = None;
            return None;
        }
        if source_end < self.source_at_move {
            // Another incarnation.
            self.source_at_move = 0;
        }
        if source_end > self.source_at_move && self.pending.is_none() {
            self.pending = Some(Instant::now());
        }
        let pending = self.pending?;
        let stands = pending.max(crew_changed).elapsed() >= STILL || pending.elapsed() >= STILL_THROUGH_STARTS;
        stands.then_some(self.moved)
    }
}

fn client(client: &TestClient) -> BaseConsumer {
    let mut config = client.config();
    config.set("group.id", "strait-test-watch").set("isolation.level", "read_committed");
    config.set("reconnect.backoff.max.ms", "500").set("log_level", "0");
    config.create().unwrap()
}

fn end(consumer: &BaseConsumer, topic: &str, partition: i32) -> Option<i64> {
    consumer.fetch_watermarks(topic, partition, ASK).ok().map(|(_, end)| end)
}
