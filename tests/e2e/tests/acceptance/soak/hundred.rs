//! A hundred topics, one of them broken in each of ten ways in turn.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::crew::Crew;
use super::stream::{Figures, Stream};
use super::ways::{LIMIT_BYTES, Way, break_topic, mend};
use super::{Course, EndsCourse, seconds, secured};
use crate::poison::poison;
use crate::support::{Pair, SOON, Turn, link, single, wait_until};

const TOPICS: usize = 100;
/// Time between two records of a topic.
const PAUSE: Duration = Duration::from_millis(200);
/// No record of another topic may wait longer after the fault.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// The same where a process is killed as well.
const WAIT_MAX_WITH_KILL: Duration = Duration::from_secs(45);
/// From then on the others are as without the fault.
const SETTLED: Duration = Duration::from_secs(15);
/// Longest pause of the others where no lane has to be taken again, beside that of the stream.
const GAP_MAX: Duration = Duration::from_secs(1);
/// Below this the machine's own noise decides.
const P99_FLOOR: Duration = Duration::from_millis(150);
/// Time for the others to recover from a fault that was taken away.
const RECOVERED: Duration = Duration::from_secs(60);

/// `STRAIT_SOAK_WAY_S` is the time of each way in seconds; `STRAIT_SOAK_WAYS` names the ways to
/// try, with commas between them.
#[test]
#[ignore = "soak: half an hour; STRAIT_SOAK_WAY_S shortens it"]
fn ten_ways_to_break_one_of_a_hundred_topics_hold_up_none_of_the_others() {
    let _turn = Turn::alone();
    let pair = secured::pair(single("hundred-source"), single("hundred-target"));
    let stream = Stream::new((0..TOPICS).map(|number| format!("hundred.t{number:02}")).collect());
    for topic in stream.topics() {
        pair.at_source().create_topic(topic, 1, &[]).unwrap();
        pair.at_target().create_topic(&format!("source.{topic}"), 1, &[("max.message.bytes", LIMIT_BYTES)]).unwrap();
    }
    let plugin = "sync.configs = \"none\"\n[[links.plugins]]\nplugin = \"poison\"\n";
    let link = link("hundred", &["hundred\\..*"], 4, plugin);
    let config = secured::config(&pair, &link);
    config.write("plugins/poison.wasm", poison()).unwrap();
    let crew = Crew::start(&config, 2);

    // It ends with the ways.
    let course = Course::new(Duration::from_secs(7_200));
    let way_s = seconds("STRAIT_SOAK_WAY_S", 120);
    let wrong = thread::scope(|scope| {
        scope.spawn(|| {
            let _ends = EndsCourse(&course);
            stream.write(&course, &pair.at_source(), PAUSE);
        });
        scope.spawn(|| {
            let _ends = EndsCourse(&course);
            stream.read(&course, &pair.at_target(), "source.");
        });
        let _ends = EndsCourse(&course);
        let began = Instant::now();
        wait_until("every topic copied", SOON, || stream.all_move(began).then_some(()));
        let found = try_ways(&course, way_s, &pair, &stream, &crew);
        course.end();
        found
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Breaks a topic in each way; returns what the others suffered beyond what is allowed.
fn try_ways(course: &Course, way_s: Duration, pair: &Pair, stream: &Stream, crew: &Crew<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, way) in Way::chosen().into_iter().enumerate() {
        if !stream.is_calm(number, course, RECOVERED) {
            wrong.push(format!("{way:?}: not begun, the others have not recovered from what came before"));
            continue;
        }
        // The neighbouring run without a fault.
        let calm = Instant::now();
        course.wait(way_s / 2);
        let without = stream.figures(number, calm, Instant::now());
        let fault = Instant::now();
        course.trace(format!("{way:?}: {} breaks", stream.topics()[number]));
        let broken = break_topic(way, pair, stream, number);
        if way.kills_a_process() {
            course.trace("process 0: killed");
            crew.replace(0, |strait| strait.kill().unwrap());
        }
        let struck = Instant::now();
        course.wait(way_s);
        let until = Instant::now();
        let with = stream.figures(number, fault, until);
        let settle = if way.kills_a_process() { WAIT_MAX_WITH_KILL } else { SETTLED };
        let settled = stream.figures(number, struck + settle.min(way_s / 2), until);
        let events = events(crew, fault);
        let retakes = events.get("lane_restarted").copied().unwrap_or(0);
        course.trace(format!("{way:?}: without {without:.0?}, with {with:.0?}, settled {settled:.0?}"));
        course.trace(format!("{way:?}: {retakes} retakes; {events:?}"));
        let outcome = Outcome { way, without, with, settled, retakes, length: until - fault };
        wrong.extend(outcome.wrong());
        mend(way, pair, stream, number, broken);
    }
    wrong
}

/// Names and counts of the events since a moment.
fn events(crew: &Crew<'_>, since: Instant) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in crew.lines().iter().filter(|line| line.at >= since) {
        if let Some(event) = line.field("event") {
            *counts.entry(event.to_owned()).or_insert(0) += 1;
        }
    }
    counts
}

struct Outcome {
    way: Way,
    without: Figures,
    with: Figures,
    settled: Figures,
    retakes: usize,
    length: Duration,
}

impl Outcome {
    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut check = |good: bool, what: String| {
            if !good {
                wrong.push(format!("{:?}: {what}", self.way));
            }
        };
        let wait_max = if self.way.kills_a_process() { WAIT_MAX_WITH_KILL } else { WAIT_MAX };
        let waited = self.with.max.max(self.with.gap);
        check(waited <= wait_max, format!("a record of another topic waited {waited:.1?}"));
        let p99_max = self.without.p99.max(P99_FLOOR).saturating_mul(2);
        check(self.settled.p99 <= p99_max, format!("p99 {:.0?} after it settled", self.settled.p99));
        let minutes = self.length.as_secs_f64() / 60.0;
        check(self.retakes as f64 <= 2.0 * minutes.max(1.0), format!("{} retakes", self.retakes));
        let gap_max = GAP_MAX.max(self.without.gap) + PAUSE;
        if self.way.needs_no_retake() {
            check(self.with.gap <= gap_max, format!("a gap of {:.1?} although nothing is retaken", self.with.gap));
        }
        wrong
    }
}
