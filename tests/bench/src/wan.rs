//! Copies across a long line: the proxy of the test cluster delays every byte.

use std::time::Duration;

use tokio::runtime::Runtime;

use crate::error::BenchError;
use crate::field::{Field, Results, SAMPLE_EVERY, Sample, Settings};
use crate::line::{Line, Wan};
use crate::preload::{self, Source};
use crate::replicator::{Replicator, System};
use crate::{host, probe, verify};

const PARTITIONS: i32 = 4;
const FIRST_DEADLINE: Duration = Duration::from_secs(90);
const LARGE_MESSAGE_BYTES: &str = "8388608";

/// The side that the replicator runs on, and the batches that the target topic permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Near the target, so that reading crosses the line: the usual advice.
    Target,
    /// Near the source: writing crosses it.
    Source,
    /// The same with larger batches permitted.
    SourceLarge,
}

impl Layout {
    fn name(self) -> &'static str {
        match self {
            Self::Target => "near-target",
            Self::Source => "near-source",
            Self::SourceLarge => "near-source-8mib",
        }
    }
}

/// The settings of a WAN benchmark.
#[derive(Debug, Clone)]
pub struct Plan {
    pub one_way: Duration,
    /// TCP windows to measure with, KiB; 0 is none.
    pub tcp_windows_kib: Vec<u64>,
    pub records: u64,
    pub value_bytes: usize,
    /// Batch and fetch sizes follow the line; this is their time to do so, from the first record
    /// on.
    pub warm_up: Duration,
    pub window: Duration,
    pub rounds: usize,
}

/// Runs every system in every layout, in turns.
///
/// # Errors
/// An error that ends the benchmark. A failed run is reported and does not end it.
pub fn run(runtime: &Runtime, settings: &Settings, plan: &Plan, results: &mut Results) -> Result<(), BenchError> {
    for kib in &plan.tcp_windows_kib {
        let probe = probe::proxy(plan.one_way, *kib)?;
        let (mb_s, ms) = (probe.mb_s, probe.round_trip_ms);
        eprintln!("the proxy alone, window of {kib} KiB (0 is none): {mb_s:.1} MB/s over {ms} ms");
        results.add(Line::Probe(probe))?;
    }
    let field = Field::start(runtime, settings, true)?;
    let (records, value_bytes) = (plan.records, plan.value_bytes);
    let source = Source { topic: "line".to_owned(), partitions: PARTITIONS, records, value_bytes };
    preload::fill(&field.source, &source)?;
    for kib in &plan.tcp_windows_kib {
        for layout in [Layout::Target, Layout::Source, Layout::SourceLarge] {
            lengthen(&field, layout, plan.one_way, *kib);
            compare(&field, settings, LongLine { layout, tcp_window_kib: *kib }, &source, plan, results)?;
        }
    }
    Ok(())
}

/// A layout and the TCP window of its long line.
#[derive(Debug, Clone, Copy)]
struct LongLine {
    layout: Layout,
    tcp_window_kib: u64,
}

/// Measures the systems in turns.
fn compare(
    field: &Field,
    settings: &Settings,
    long: LongLine,
    source: &Source,
    plan: &Plan,
    results: &mut Results,
) -> Result<(), BenchError> {
    for round in 1..=plan.rounds {
        for system in &settings.systems {
            // MirrorMaker 2 does not fit its batches to the topic, so the larger limit changes
            // nothing for it.
            let same = long.layout == Layout::SourceLarge && !system.is_strait();
            if same || *system == System::StraitFilter {
                continue;
            }
            let outcome = measure(field, *system, long, source, plan, round);
            if let Ok(found) = &outcome {
                eprintln!("{}", line(found));
            }
            results.note(&format!("wan-{}", long.layout.name()), *system, round, outcome.map(Line::Wan))?;
        }
    }
    Ok(())
}

fn line(found: &Wan) -> String {
    format!(
        "{:16} {:5} KiB {:13} run {}: {:7.2} MB/s, {:6.2} us/record, {:5.0} MiB, window of {:.0} s",
        found.layout,
        found.tcp_window_kib,
        found.system,
        found.round,
        found.window.mb_s,
        found.window.cpu_us,
        found.peak_mib,
        found.window.seconds
    )
}

fn lengthen(field: &Field, layout: Layout, one_way: Duration, tcp_window_kib: u64) {
    let far = if layout == Layout::Target { &field.source_cluster } else { &field.target_cluster };
    for cluster in [&field.source_cluster, &field.target_cluster] {
        cluster.proxies().iter().for_each(strait_test_cluster::Proxy::heal);
    }
    for proxy in far.proxies() {
        proxy.delay(one_way);
        proxy.window(probe::bytes(tcp_window_kib));
    }
}

fn measure(
    field: &Field,
    system: System,
    long: LongLine,
    source: &Source,
    plan: &Plan,
    round: usize,
) -> Result<Wan, BenchError> {
    let tag = field.tag();
    let layout = long.layout;
    // Only the long line leads through its proxy.
    let (mut far_source, mut far_target) = (field.source.bootstrap.clone(), field.target.bootstrap.clone());
    if layout == Layout::Target {
        far_source = field.source_cluster.bootstrap();
    } else {
        far_target = field.target_cluster.bootstrap();
    }
    let mut job = field.job(system, &tag, &source.topic);
    job.source = &far_source;
    job.target = &far_target;
    let topic = job.target_topic(&source.topic);
    if layout == Layout::SourceLarge {
        field.target.create(&topic, PARTITIONS, &[("max.message.bytes", LARGE_MESSAGE_BYTES)])?;
    }
    let load = host::load();
    let mut replicator = job.start()?;
    let outcome = window(field, &mut replicator, &topic, source, plan);
    let peak_mib = replicator.peak_mib();
    // Records in flight on a slow line are not waited for: only committed ones count.
    drop(replicator);
    let verified = outcome.and_then(|window| {
        let found = verify::read(&field.target, &topic, PARTITIONS)?;
        verify::judge(system.name(), &found, None, source.value_bytes)?;
        Ok(window)
    });
    field.clean(&job)?;
    let (first, last) = verified?;
    Ok(Wan {
        system: system.name().to_owned(),
        layout: layout.name().to_owned(),
        round,
        round_trip_ms: u64::try_from(plan.one_way.as_millis()).unwrap_or_default() * 2,
        tcp_window_kib: long.tcp_window_kib,
        window: first.rates(&last, last.end.saturating_sub(first.end), source.value_bytes),
        peak_mib,
        load,
    })
}

/// Looks at the first and the last commit within the window; a copy that is complete sooner ends it
/// sooner.
fn window(
    field: &Field,
    replicator: &mut Replicator,
    topic: &str,
    source: &Source,
    plan: &Plan,
) -> Result<(Sample, Sample), BenchError> {
    let begin = field.first(replicator, topic, PARTITIONS, FIRST_DEADLINE)?.at + plan.warm_up;
    let mut previous = None;
    let mut first: Option<Sample> = None;
    let mut last: Option<Sample> = None;
    loop {
        std::thread::sleep(SAMPLE_EVERY);
        let sample = field.sample(replicator, topic, PARTITIONS)?;
        let moved = previous.replace(sample.end) != Some(sample.end);
        if sample.at >= begin && moved {
            // Both ends of the window are moments of a commit: between them lie whole commits.
            first.get_or_insert(sample);
            if sample.end <= source.records {
                last = Some(sample);
            }
        }
        if sample.at >= begin + plan.window || sample.end >= source.records {
            break;
        }
    }
    match (first, last) {
        (Some(first), Some(last)) if last.end > first.end => Ok((first, last)),
        _ => Err(replicator.late("committing twice", plan.window, "fewer than two commits within the window")),
    }
}
