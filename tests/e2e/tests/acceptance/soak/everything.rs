//! Half an hour with everything at once.

use std::thread::{self, Scope};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use strait_e2e::{LogLine, Strait};
use strait_test_cluster::ClusterSpec;

use super::crew::{Crew, processes};
use super::hands::{brokers, lines, records, rights, topics};
use super::model::Model;
use super::watch::{Standstill, watch};
use super::{Course, EndsCourse, seconds, secured};
use crate::support::{COPIED, Pair, SOON, Turn, link, seeded, wait_until};

const LANES: u32 = 4;
pub const REFUSED: &str = "soak.refused";
pub const DAMAGED: &str = "soak.damaged";
pub const DENSE: &str = "soak.dense";
pub const TRANSACTIONS: &str = "soak.transactions";

/// Three brokers that give leaders back soon after a restart.
fn three(name: &str) -> ClusterSpec {
    ClusterSpec { heap_mb: 320, ..ClusterSpec::new(name) }
        .with_brokers(3)
        .with_property("leader.imbalance.check.interval.seconds", "5")
        .with_property("leader.imbalance.per.broker.percentage", "0")
}

/// `STRAIT_SOAK_S` is the length in seconds. Brokers stop, die and freeze, leaders move with them,
/// lines are cut and slow, topics are made, grown, deleted and made again, rights are taken away
/// and given back, records are refused, batches are dense and damaged, transactions abort, and two
/// processes die, end and freeze.
#[test]
#[ignore = "soak: half an hour; STRAIT_SOAK_S shortens it"]
fn everything_at_once_loses_doubles_and_reorders_nothing_and_no_standstill_is_without_an_event() {
    let _turn = Turn::alone();
    let mut rng = seeded("soak");
    let pair = secured::pair(three("soak-source"), three("soak-target"));
    let model = Model::new(pair.at_source(), pair.at_target());
    pair.at_target().create_topic(&format!("source.{REFUSED}"), 2, &[("max.message.bytes", "50000")]).unwrap();
    for (topic, partitions) in [("soak.steady", 4), (REFUSED, 2), (TRANSACTIONS, 2), (DAMAGED, 1), (DENSE, 1)] {
        model.make(topic, partitions);
    }
    let config =
        secured::config(&pair, &link("soak", &["soak\\..*"], LANES, "on_gap = \"continue\"\nsync.configs = \"none\""));
    let crew = Crew::start(&config, 2);
    wait_until("the first copies", SOON, || pair.has_target_topic("source.soak.steady").then_some(()));

    let course = Course::new(seconds("STRAIT_SOAK_S", 1_800));
    let mut seed = || StdRng::seed_from_u64(rng.random());
    let seeds: [StdRng; 7] = std::array::from_fn(|_| seed());
    let standstills = act(&course, seeds, &pair, &model, &crew);
    course.trace("the faults end");
    let lines_of_crew = crew.lines();
    crew.end();
    let mut last = Strait::run("last", &config, &["--until-caught-up"]).unwrap();
    let status = last.wait_end(COPIED).unwrap();
    assert_eq!(status.code(), Some(0), "{}", last.stderr());

    let (wrong, count) = model.judge();
    println!("{count} records copied, {} standstills", standstills.len());
    let unexplained = unexplained(&standstills, &lines_of_crew);
    tell(&wrong, &lines_of_crew);
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(model.missing_in_quarantine("soak"), 0, "refused records are in quarantine");
    assert!(unexplained.is_empty(), "standstills without an event: {unexplained:#?}");
}

/// Lets every hand act until the course is over; returns the standstills.
fn act(course: &Course, seeds: [StdRng; 7], pair: &Pair, model: &Model, crew: &Crew<'_>) -> Vec<Standstill> {
    let [of_source, of_target, of_lines, of_topics, of_records, of_processes, of_rights] = seeds;
    let (source, target) = (pair.at_source(), pair.at_target());
    thread::scope(|scope| {
        hand(scope, course, || model.feed(course, Duration::from_millis(100)));
        hand(scope, course, || brokers(course, of_source, &pair.source, &source));
        hand(scope, course, || brokers(course, of_target, &pair.target, &target));
        hand(scope, course, || lines(course, of_lines, [&pair.source, &pair.target]));
        hand(scope, course, || topics(course, of_topics, model));
        hand(scope, course, || records(course, of_records, model, &pair.source));
        hand(scope, course, || rights(course, of_rights, model, pair));
        hand(scope, course, || processes(course, of_processes, crew));
        watch(course, model, crew, &source, &target)
    })
}

/// Lets a hand act on a thread of its own.
fn hand<'scope>(scope: &'scope Scope<'scope, '_>, course: &'scope Course, act: impl FnOnce() + Send + 'scope) {
    scope.spawn(move || {
        let _ends = EndsCourse(course);
        act();
    });
}

/// Prints what the processes have said of the topics that are wrong.
fn tell(wrong: &[String], lines: &[LogLine]) {
    let topics: Vec<&str> = wrong.iter().filter_map(|wrong| wrong.split(' ').next()).collect();
    for line in lines.iter().filter(|line| topics.iter().any(|topic| line.text.contains(topic))) {
        println!("{}", line.text);
    }
}

/// Prints what explains each standstill; returns those that nothing does.
fn unexplained(standstills: &[Standstill], lines: &[LogLine]) -> Vec<String> {
    let mut silent = Vec::new();
    for still in standstills {
        let name = format!("{}-{} for {:.0?}", still.topic, still.partition, still.until - still.since);
        match lines.iter().find(|line| still.is_explained_by(line, LANES)) {
            Some(line) => println!("{name}: {} {}", line.field("event").unwrap_or_default(), line.message()),
            None => silent.push(name),
        }
    }
    silent
}
