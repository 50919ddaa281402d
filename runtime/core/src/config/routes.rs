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

/// A link, as an edge in the graph of clusters.
struct Edge<'a> {
    index: usize,
    link: &'a Link,
    selector: Selector,
    samples: Vec<String>,
}

impl Edge<'_> {
    fn at(&self) -> Path {
        Path::default().key("links").index(self.index).key("topics")
    }
}

/// Returns loops and collisions among the links. Links that are invalid in themselves are skipped.
pub(super) fn problems(config: &Config) -> Vec<Problem> {
    let edges: Vec<Edge<'_>> = config
        .links
        .iter()
        .enumerate()
        .filter(|(_, link)| link.source != link.target)
        .filter_map(|(index, link)| {
            let selector = link.selector().ok()?;
            let samples = link.topics.iter().take(SAMPLES_MAX).filter_map(|pattern| sample(pattern));
            let samples = samples.filter(|topic| selector.selects(topic)).collect();
            Some(Edge { index, link, selector, samples })
        })
        .collect();
    let mut problems = loops(&edges);
    problems.extend(collisions(&edges));
    problems
}

fn loops(edges: &[Edge<'_>]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut reported = BTreeSet::new();
    let mut steps = 0;
    for start in edges {
        for topic in &start.samples {
            let mut search = LoopSearch { edges, passed: Vec::new(), steps: &mut steps };
            if !search.finds_loop(&start.link.source, topic) {
                continue;
            }
            let passed = search.passed;
            let links: BTreeSet<usize> = passed.iter().map(|(edge, ..)| edge.index).collect();
            if !reported.insert(links) {
                continue;
            }
            let certain = passed.iter().all(|(edge, ..)| edge.link.plugins.is_empty());
            let route: Vec<String> =
                passed.iter().map(|(edge, topic)| format!("{}:{topic}", edge.link.source)).collect();
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

/// Depth-first search for a loop.
struct LoopSearch<'a, 'b> {
    edges: &'b [Edge<'a>],
    /// Links passed so far, each with the topic's name there.
    passed: Vec<(&'b Edge<'a>, String)>,
    steps: &'b mut usize,
}

impl LoopSearch<'_, '_> {
    /// Returns whether a topic passes the same link a third time. The second time may still be
    /// ended by an exclusion.
    fn finds_loop(&mut self, cluster: &str, topic: &str) -> bool {
        for edge in self.edges.iter().filter(|edge| edge.link.source == cluster) {
            *self.steps += 1;
            if *self.steps > STEPS_MAX || !edge.selector.selects(topic) {
                continue;
            }
            let times = self.passed.iter().filter(|(passed, _)| passed.index == edge.index).count();
            if times == 2 {
                return true;
            }
            let next = edge.link.naming.apply(cluster, topic);
            if validate_name(&next).is_err() {
                continue;
            }
            self.passed.push((edge, topic.to_owned()));
            if self.finds_loop(&edge.link.target, &next) {
                return true;
            }
            self.passed.pop();
        }
        false
    }
}

fn collisions(edges: &[Edge<'_>]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (n, first) in edges.iter().enumerate() {
        for second in edges.iter().skip(n + 1) {
            if first.link.target != second.link.target {
                continue;
            }
            problems.extend(collision(first, second));
        }
    }
    problems
}

fn collision(first: &Edge<'_>, second: &Edge<'_>) -> Option<Problem> {
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
