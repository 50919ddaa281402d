//! Routes of topics over several links: loops, and links that write to the same topic.
//!
//! Each pattern is tried with a sample topic, so every problem found is real. Problems that depend
//! on the clusters' topic names are left to `strait check`.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Config, Link};
use super::path::Path;
use super::problem::{Part, Problem, What};
use super::selector::{Selector, sample};
use crate::topic::validate_name;

/// Steps after which the search for loops gives up. A full mesh of links finds its loops in the
/// first steps.
const STEPS_MAX: usize = 20_000;
/// Maximum number of samples per link.
const SAMPLES_MAX: usize = 200;

struct Road<'a> {
    index: usize,
    link: &'a Link,
    selector: Selector,
    samples: Vec<String>,
}

impl Road<'_> {
    fn at(&self) -> Path {
        Path::default().key("links").index(self.index).key("topics")
    }
}

/// Returns loops and collisions among the links. Links that are invalid in themselves are skipped.
pub(super) fn problems(config: &Config) -> Vec<Problem> {
    let roads: Vec<Road<'_>> = config
        .links
        .iter()
        .enumerate()
        .filter(|(_, link)| link.source != link.target)
        .filter_map(|(index, link)| {
            let selector = link.selector().ok()?;
            let samples = link.topics.iter().take(SAMPLES_MAX).filter_map(|pattern| sample(pattern));
            let samples = samples.filter(|topic| selector.selects(topic)).collect();
            Some(Road { index, link, selector, samples })
        })
        .collect();
    let mut problems = loops(&roads);
    problems.extend(collisions(&roads));
    problems
}

fn loops(roads: &[Road<'_>]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut reported = BTreeSet::new();
    let mut steps = 0;
    for start in roads {
        for topic in &start.samples {
            let mut way = Way { roads, passed: Vec::new(), steps: &mut steps };
            if !way.goes_round(&start.link.source, topic) {
                continue;
            }
            let passed = way.passed;
            let links: BTreeSet<usize> = passed.iter().map(|(road, ..)| road.index).collect();
            if !reported.insert(links) {
                continue;
            }
            let certain = passed.iter().all(|(road, ..)| road.link.plugins.is_empty());
            let route: Vec<String> =
                passed.iter().map(|(road, topic)| format!("{}:{topic}", road.link.source)).collect();
            problems.push(Problem {
                at: start.at(),
                part: Part::Value,
                what: What::Loop {
                    cluster: start.link.source.clone(),
                    topic: topic.clone(),
                    route: format!("{} -> ...", route.join(" -> ")),
                    certain,
                },
            });
        }
    }
    problems
}

struct Way<'a, 'b> {
    roads: &'b [Road<'a>],
    /// Links passed so far, each with the topic's name on the way.
    passed: Vec<(&'b Road<'a>, String)>,
    steps: &'b mut usize,
}

impl Way<'_, '_> {
    /// Returns whether a topic passes the same link a third time. The second time may still be
    /// ended by an exclusion.
    fn goes_round(&mut self, cluster: &str, topic: &str) -> bool {
        for road in self.roads.iter().filter(|road| road.link.source == cluster) {
            *self.steps += 1;
            if *self.steps > STEPS_MAX || !road.selector.selects(topic) {
                continue;
            }
            let times = self.passed.iter().filter(|(passed, _)| passed.index == road.index).count();
            if times == 2 {
                return true;
            }
            let next = road.link.naming.apply(cluster, topic);
            if validate_name(&next).is_err() {
                continue;
            }
            self.passed.push((road, topic.to_owned()));
            if self.goes_round(&road.link.target, &next) {
                return true;
            }
            self.passed.pop();
        }
        false
    }
}

fn collisions(roads: &[Road<'_>]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (n, first) in roads.iter().enumerate() {
        for second in roads.iter().skip(n + 1) {
            if first.link.target != second.link.target {
                continue;
            }
            problems.extend(collision(first, second));
        }
    }
    problems
}

fn collision(first: &Road<'_>, second: &Road<'_>) -> Option<Problem> {
    let candidates = || first.samples.iter().chain(&second.samples);
    let written: BTreeMap<String, &String> = candidates()
        .filter(|topic| first.selector.selects(topic))
        .map(|topic| (first.link.naming.apply(&first.link.source, topic), topic))
        .collect();
    let found = candidates().filter(|topic| second.selector.selects(topic)).find_map(|topic| {
        let name = second.link.naming.apply(&second.link.source, topic);
        let other = written.get(&name)?;
        Some((name, *other == topic && first.link.source == second.link.source))
    });
    let (topic, same_source) = found?;
    // A plugin may filter or rename, which is a way to split one topic among several links.
    let plain = first.link.plugins.is_empty() && second.link.plugins.is_empty();
    Some(Problem {
        at: second.at(),
        part: Part::Value,
        what: What::Collision {
            other: first.link.name.clone(),
            topic,
            target: first.link.target.clone(),
            same_source: same_source && plain,
        },
    })
}
