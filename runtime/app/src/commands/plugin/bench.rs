//! `strait plugin bench`: measures the cost of a plugin per record, host and guest together,
//! without a broker.

use std::time::{Duration, Instant};

use serde::Serialize;
use strait_core::Record;
use strait_core::batch::Batch;
use strait_flow::millis;
use strait_flow::ports::Chain;

use super::Refusal;
use super::runner::{self, Subject};

/// Least number of records of one round. A fetch under load has as many.
const ROUND_RECORDS_MIN: usize = 2_000;

/// The result of a measurement.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Name of the plugin.
    pub plugin: String,
    /// Records judged during the measurement.
    pub records: u64,
    /// Mean size of key, value and headers together.
    pub bytes_per_record: u64,
    /// Of the fastest round, as other work of the machine only adds time.
    pub ns_per_record: f64,
    /// Of the fastest round.
    pub records_per_s: f64,
    /// Of the median round.
    pub ns_per_record_median: f64,
    /// Peak of the plugin's linear memory.
    pub memory_bytes: u64,
    /// The columns that the plugin reads, on the last topic of a round.
    pub columns: Vec<ColumnFigure>,
    /// Time to validate, compile, start, describe and configure the plugin.
    pub load_ms: u64,
}

/// A column that the plugin reads.
#[derive(Debug, Serialize)]
pub struct ColumnFigure {
    /// Name of the column.
    pub name: &'static str,
    /// Mean bytes per record. The host packs them and copies them into the plugin.
    pub bytes_per_record: f64,
}

/// Measures a plugin for `seconds`.
///
/// # Errors
/// Why the plugin does not load, or how it failed.
pub fn run(subject: &Subject, records: &[Record], seconds: u64) -> Result<Figures, Refusal> {
    let began = Instant::now();
    let chains = runner::load(&runner::engine()?, subject)?;
    let load_ms = millis(began.elapsed());
    let (round, partitions) = (round(records), runner::partitions(records));
    let per_round: usize = round.iter().map(Batch::len).sum();
    let bytes: usize = round.iter().map(Batch::data_bytes).sum();
    let mut chain = chains.plugin_chain().map_err(|error| error.to_string())?;
    let mut times = Vec::new();
    let mut memory_bytes = 0;
    let deadline = Instant::now() + Duration::from_secs(seconds.max(1));
    // The first round opens topics and fills caches.
    let mut warm = false;
    while times.is_empty() || Instant::now() < deadline {
        let copies: Vec<Batch> = round.clone();
        let began = Instant::now();
        let mut kept = Vec::with_capacity(copies.len());
        for batch in copies {
            // Nothing precedes a round: its records are the whole log.
            let ready = runner::warm_up(&mut chain, &batch, &[], partitions);
            let judged = ready.and_then(|()| chain.apply(batch, partitions));
            kept.push(judged.map_err(|error| error.to_string())?);
        }
        let took = began.elapsed();
        if warm {
            times.push(took.as_nanos() as f64 / per_round as f64);
        }
        warm = true;
        // An instance that grows near its limit is replaced by a smaller one.
        memory_bytes = memory_bytes.max(chain.memory_bytes());
    }
    times.sort_by(f64::total_cmp);
    let (given, columns) = chain.last_columns();
    let columns = columns
        .iter()
        .map(|column| ColumnFigure { name: column.name, bytes_per_record: column.bytes as f64 / given.max(1) as f64 });
    let fastest = times.first().copied().unwrap_or(f64::NAN);
    Ok(Figures {
        plugin: subject.name.clone(),
        records: (times.len() * per_round) as u64,
        bytes_per_record: (bytes / per_round.max(1)) as u64,
        ns_per_record: fastest,
        records_per_s: 1e9 / fastest,
        ns_per_record_median: times.get(times.len() / 2).copied().unwrap_or(f64::NAN),
        memory_bytes: memory_bytes as u64,
        columns: columns.collect(),
        load_ms,
    })
}

/// Repeats the records until they fill a round, in batches like those of a fetch, with ascending
/// offsets.
fn round(records: &[Record]) -> Vec<Batch> {
    let times = ROUND_RECORDS_MIN.div_ceil(records.len().max(1)).max(1);
    let span = records.iter().map(|record| record.offset).max().unwrap_or(0).saturating_add(1);
    let mut sorted: Vec<Record> = Vec::with_capacity(records.len() * times);
    for repetition in 0..times {
        let shift = span.saturating_mul(i64::try_from(repetition).unwrap_or(0));
        sorted.extend(
            records.iter().cloned().map(|record| Record { offset: record.offset.saturating_add(shift), ..record }),
        );
    }
    sorted.sort_by(|a, b| (&a.topic, a.partition, a.offset).cmp(&(&b.topic, b.partition, b.offset)));
    runner::batches(&sorted)
}

/// Returns the figures for people.
#[must_use]
pub fn text(figures: &Figures) -> String {
    let rows = [
        ("plugin", figures.plugin.clone()),
        ("records", format!("{} of {} bytes", figures.records, figures.bytes_per_record)),
        ("per record", format!("{:.0} ns (median {:.0} ns)", figures.ns_per_record, figures.ns_per_record_median)),
        ("records/s", format!("{:.0} per core", figures.records_per_s)),
        ("memory", format!("{:.1} MiB at most", figures.memory_bytes as f64 / f64::from(1 << 20))),
        ("load", format!("{} ms", figures.load_ms)),
    ];
    let mut text: String = rows.iter().map(|(name, value)| format!("{name:<12}{value}\n")).collect();
    for column in &figures.columns {
        text.push_str(&format!(
            "{:<12}{:<22}{:>8.1} bytes per record\n",
            "reads", column.name, column.bytes_per_record
        ));
    }
    if figures.columns.is_empty() {
        text.push_str("reads       nothing: its plan does not look at these topics\n");
    }
    text
}
