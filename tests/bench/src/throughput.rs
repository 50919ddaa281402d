//! The CPU time of a record, and the speed at which a backlog is copied.

use std::time::{Duration, Instant};

use crate::error::BenchError;
use crate::field::{Field, Results, SAMPLE_EVERY, Sample, Settings};
use crate::line::{Line, Throughput};
use crate::preload::{self, Source};
use crate::replicator::{Replicator, System};
use crate::{host, verify};

use tokio::runtime::Runtime;

const PARTITIONS: i32 = 4;
const FIRST_DEADLINE: Duration = Duration::from_secs(90);
/// Nothing new on the target for this long, with records missing, is a failure.
const STALL: Duration = Duration::from_secs(60);
/// A copy with at least as many offsets as records, and nothing new for this long, is taken to be
/// complete, and read.
const SETTLED: Duration = Duration::from_millis(1500);

/// Runs every system on every source topic, in turns.
///
/// # Errors
/// An error that ends the benchmark. A failed run is reported and does not end it.
pub fn run(
    runtime: &Runtime,
    settings: &Settings,
    sizes: &[(usize, u64)],
    rounds: usize,
    results: &mut Results,
) -> Result<(), BenchError> {
    let field = Field::start(runtime, settings, false)?;
    for (value_bytes, records) in sizes {
        let topic = format!("values-{value_bytes}");
        let source = Source { topic, partitions: PARTITIONS, records: *records, value_bytes: *value_bytes };
        preload::fill(&field.source, &source)?;
        for round in 1..=rounds {
            for system in &settings.systems {
                // Reading the key costs the same whatever the value, and 1000-byte values are the
                // stated case.
                if *system == System::StraitFilter && *value_bytes < 1000 {
                    continue;
                }
                let outcome = measure(&field, *system, &source, round);
                if let Ok(found) = &outcome {
                    eprintln!("{}", line(found));
                }
                let bench = format!("throughput-{value_bytes}");
                results.note(&bench, *system, round, outcome.map(Line::Throughput))?;
            }
        }
        field.source.delete_where(|name| name == source.topic)?;
    }
    Ok(())
}

fn line(found: &Throughput) -> String {
    format!(
        "{:4} bytes, {:13} run {}: {:6.2} us/record marginal, {:6.2} in all, {:9.0} records/s, {:5.0} MB/s, {:5.0} MiB, \
         first record after {:.1} s",
        found.value_bytes,
        found.system,
        found.round,
        found.marginal.cpu_us,
        found.all.cpu_us,
        found.marginal.records_s,
        found.marginal.mb_s,
        found.peak_mib,
        found.first_record_s
    )
}

fn measure(field: &Field, system: System, source: &Source, round: usize) -> Result<Throughput, BenchError> {
    let tag = field.tag();
    let job = field.job(system, &tag, &source.topic);
    let topic = job.target_topic(&source.topic);
    let load = host::load();
    let zero = Sample { broker_cpu_us: field.broker_cpu_us(), ..Sample::default() };
    let mut replicator = job.start()?;
    let outcome = copy(field, &mut replicator, &topic, source);
    let peak_mib = replicator.peak_mib();
    let stopped = replicator.stop();
    let verified = outcome.and_then(|ends| {
        stopped?;
        let found = verify::read(&field.target, &topic, PARTITIONS)?;
        verify::judge(system.name(), &found, Some(source.records), source.value_bytes)?;
        Ok(ends)
    });
    field.clean(&job)?;
    let (first, last) = verified?;
    let missing = source.records.saturating_sub(first.end);
    Ok(Throughput {
        system: system.name().to_owned(),
        value_bytes: source.value_bytes,
        round,
        marginal: first.rates(&last, missing, source.value_bytes),
        all: zero.rates(&last, source.records, source.value_bytes),
        first_record_s: first.at.as_secs_f64(),
        peak_mib,
        load,
    })
}

/// Waits until everything is copied. Returns the samples at the first and at the last record.
fn copy(
    field: &Field,
    replicator: &mut Replicator,
    topic: &str,
    source: &Source,
) -> Result<(Sample, Sample), BenchError> {
    let first = field.first(replicator, topic, PARTITIONS, FIRST_DEADLINE)?;
    let mut last = first;
    let mut last_news = Instant::now();
    loop {
        // Transactions end with markers, which have offsets too; without them the count is exact.
        let complete = !replicator.system.is_strait() && last.end == source.records;
        let settled = last.end >= source.records && last_news.elapsed() > SETTLED;
        if complete || settled {
            return Ok((first, last));
        }
        if last_news.elapsed() > STALL {
            let seen = format!("{} of {} records", last.end, source.records);
            return Err(replicator.late("moving on", STALL, &seen));
        }
        std::thread::sleep(SAMPLE_EVERY);
        let sample = field.sample(replicator, topic, PARTITIONS)?;
        if sample.end != last.end {
            last = sample;
            last_news = Instant::now();
        }
    }
}
