//! Result lines as Markdown: medians with the least and the greatest, and ratios of the runs that
//! lay side by side.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::error::BenchError;
use crate::line::{Idle, Latency, Line, Throughput, Wan};
use crate::stats::spread;

const BASELINE: &str = "mm2-tuned";
/// The systems whose throughput is compared, each with the one that it is divided by.
const RATIOS: &[(&str, &str)] = &[
    ("mm2-default", BASELINE),
    ("strait-before", BASELINE),
    ("strait-eos", BASELINE),
    ("strait-eos", "strait-before"),
    ("strait-filter", "strait-eos"),
    ("strait-alo", BASELINE),
];
/// The order of rows.
const SYSTEMS: &[&str] =
    &["none", "mm2-default", "mm2-tuned", "strait-before", "strait-eos", "strait-filter", "strait-alo"];

/// Reads a file that `--json` wrote.
///
/// # Errors
/// The file system's, or a line that is not a result.
pub fn read(path: &Path) -> Result<Vec<Line>, BenchError> {
    let text = fs::read_to_string(path).map_err(BenchError::io(format!("reading {}", path.display())))?;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let parsed = serde_json::from_str(line).map_err(|error| BenchError::Json {
            path: path.to_owned(),
            line: index + 1,
            error,
        })?;
        lines.push(parsed);
    }
    Ok(lines)
}

/// All tables for which there are results.
pub fn markdown(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        if let Line::Machine(machine) = line {
            section(
                &mut text,
                &format!(
                    "`{}`: {} cores ({}), {} GiB, load average {:.2} before.",
                    machine.command, machine.cores, machine.cpu, machine.memory_gib, machine.load
                ),
            );
        }
    }
    let copies: Vec<&Throughput> =
        lines.iter().filter_map(|line| if let Line::Throughput(found) = line { Some(found) } else { None }).collect();
    let sizes: BTreeSet<usize> = copies.iter().map(|found| found.value_bytes).collect();
    for size in sizes.into_iter().rev() {
        let of_size: Vec<&Throughput> = copies.iter().copied().filter(|found| found.value_bytes == size).collect();
        throughput(&mut text, size, &of_size);
    }
    latency(&mut text, lines);
    wan(&mut text, lines);
    idle(&mut text, lines);
    let mut failures = String::new();
    for line in lines {
        if let Line::Failed(failed) = line {
            let reason = failed.reason.lines().next().unwrap_or_default();
            push(&mut failures, &format!("- {}, {}, run {}: {reason}", failed.bench, failed.system, failed.round));
        }
    }
    if !failures.is_empty() {
        section(&mut text, &format!("Runs without a figure:\n\n{failures}"));
    }
    text
}

fn throughput(text: &mut String, size: usize, found: &[&Throughput]) {
    let mut rows = String::new();
    let mut ratios = String::new();
    for system in SYSTEMS {
        let runs: Vec<&Throughput> = found.iter().copied().filter(|found| found.system == *system).collect();
        if runs.is_empty() {
            continue;
        }
        let cell = |figure: fn(&Throughput) -> f64, digits| median(runs.iter().map(|run| figure(run)), digits);
        push(
            &mut rows,
            &format!(
                "| {system} | {} | {} | {} | {} | {} | {} | {} |",
                runs.len(),
                cell(|run| run.marginal.cpu_us, 2),
                cell(|run| run.all.cpu_us, 2),
                cell(|run| run.marginal.records_s / 1e3, 0),
                cell(|run| run.marginal.mb_s, 0),
                cell(|run| run.peak_mib, 0),
                cell(|run| run.marginal.broker_cpu_us, 2),
            ),
        );
        for (_, base) in RATIOS.iter().filter(|(compared, _)| compared == system) {
            let cell = |figure: fn(&Throughput) -> f64| ratio(found, &runs, base, figure);
            let cells = [
                cell(|run| run.marginal.cpu_us),
                cell(|run| run.all.cpu_us),
                cell(|run| run.marginal.records_s),
                cell(|run| run.peak_mib),
            ];
            if cells.iter().any(|cell| cell != NOTHING) {
                push(&mut ratios, &format!("| {system} / {base} | {} |", cells.join(" | ")));
            }
        }
    }
    section(
        text,
        &format!(
            "{size}-byte values, 4 partitions, median (min-max):\n\n\
             | System | Runs | CPU us/record, marginal | in all | 1000 records/s | MB/s | Peak RSS MiB | Brokers' CPU us/record |\n\
             |---|---|---|---|---|---|---|---|\n{rows}"
        ),
    );
    if !ratios.is_empty() {
        section(
            text,
            &format!(
                "Ratios of neighbouring runs, median (min-max):\n\n\
                 | Ratio | CPU, marginal | CPU, in all | Records/s | Peak RSS |\n|---|---|---|---|---|\n{ratios}"
            ),
        );
    }
}

fn latency(text: &mut String, lines: &[Line]) {
    let found: Vec<&Latency> =
        lines.iter().filter_map(|line| if let Line::Latency(found) = line { Some(found) } else { None }).collect();
    let mut rows = String::new();
    for system in SYSTEMS {
        let runs: Vec<&Latency> = found.iter().copied().filter(|found| found.system == *system).collect();
        if runs.is_empty() {
            continue;
        }
        let cell = |figure: fn(&Latency) -> f64| median(runs.iter().map(|run| figure(run)), 1);
        let cells = [cell(|run| run.p50_ms), cell(|run| run.p99_ms), cell(|run| run.max_ms), cell(|run| run.cpu_us)];
        push(&mut rows, &format!("| {system} | {} | {} |", runs.len(), cells.join(" | ")));
    }
    let Some(first) = found.first() else { return };
    section(
        text,
        &format!(
            "Latency at {} records/s, from sending to the source until a reader of committed records has it, ms, median \
             (min-max) of the runs:\n\n| System | Runs | p50 | p99 | max | CPU us/record |\n|---|---|---|---|---|---|\n{rows}",
            first.records_s
        ),
    );
}

fn wan(text: &mut String, lines: &[Line]) {
    let found: Vec<&Wan> =
        lines.iter().filter_map(|line| if let Line::Wan(found) = line { Some(found) } else { None }).collect();
    let Some(first) = found.first() else { return };
    let mut rows = String::new();
    let mut windows: Vec<u64> = found.iter().map(|run| run.tcp_window_kib).collect();
    windows.sort_unstable();
    windows.dedup();
    for kib in windows {
        for layout in ["near-target", "near-source", "near-source-8mib"] {
            for system in SYSTEMS {
                let matches = |run: &&Wan| run.tcp_window_kib == kib && run.layout == layout && run.system == *system;
                let runs: Vec<&Wan> = found.iter().copied().filter(matches).collect();
                wan_row(&mut rows, &runs);
            }
        }
    }
    for line in lines {
        if let Line::Probe(probe) = line {
            push(
                &mut rows,
                &format!(
                    "| {} | the line | bytes alone, {} connections | 1 | {:.1} | | |",
                    window_text(probe.tcp_window_kib),
                    probe.connections,
                    probe.mb_s
                ),
            );
        }
    }
    section(
        text,
        &format!(
            "{} ms of round trip, median (min-max):\n\n\
             | TCP window | Layout | System | Runs | MB/s | CPU us/record | Peak RSS MiB |\n\
             |---|---|---|---|---|---|---|\n{rows}",
            first.round_trip_ms
        ),
    );
}

/// Appends the row of these runs, if there are any.
fn wan_row(rows: &mut String, runs: &[&Wan]) {
    let Some(first) = runs.first() else { return };
    let cell = |figure: fn(&Wan) -> f64, digits| median(runs.iter().map(|run| figure(run)), digits);
    push(
        rows,
        &format!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            window_text(first.tcp_window_kib),
            first.layout,
            first.system,
            runs.len(),
            cell(|run| run.window.mb_s, 1),
            cell(|run| run.window.cpu_us, 2),
            cell(|run| run.peak_mib, 0)
        ),
    );
}

fn window_text(kib: u64) -> String {
    match kib {
        0 => "none".to_owned(),
        kib if kib % 1024 == 0 => format!("{} MiB", kib / 1024),
        kib => format!("{kib} KiB"),
    }
}

fn idle(text: &mut String, lines: &[Line]) {
    let found: Vec<&Idle> =
        lines.iter().filter_map(|line| if let Line::Idle(found) = line { Some(found) } else { None }).collect();
    let mut rows = String::new();
    for run in &found {
        push(
            &mut rows,
            &format!(
                "| {} | {} | {:.0} | {:.1} | {:.0} | {:.0} | {} | {:.0} |",
                run.system,
                run.partitions,
                run.records_s,
                run.cpu_percent,
                run.rss_mib,
                run.peak_mib,
                run.threads,
                run.ready_s
            ),
        );
    }
    if !rows.is_empty() {
        section(
            text,
            &format!(
                "Mostly idle partitions:\n\n| System | Partitions | Records/s | % of a core | RSS MiB | Peak RSS MiB | \
                 Threads | Ready after s |\n|---|---|---|---|---|---|---|---|\n{rows}"
            ),
        );
    }
}

const NOTHING: &str = "-";

fn median(figures: impl Iterator<Item = f64>, digits: usize) -> String {
    let figures: Vec<f64> = figures.collect();
    let Some(spread) = spread(&figures) else {
        return NOTHING.to_owned();
    };
    if figures.len() == 1 {
        return format!("{:.digits$}", spread.median);
    }
    format!("{:.digits$} ({:.digits$}-{:.digits$})", spread.median, spread.min, spread.max)
}

/// Each run against the run of `base` in the same round: what disturbs the machine disturbs both.
fn ratio(all: &[&Throughput], runs: &[&Throughput], base: &str, figure: fn(&Throughput) -> f64) -> String {
    let pairs = runs.iter().filter_map(|run| {
        let beside = all.iter().find(|other| other.system == base && other.round == run.round)?;
        Some(figure(run) / figure(beside))
    });
    median(pairs, 3)
}

fn push(text: &mut String, line: &str) {
    // Writing to a string does not fail.
    if writeln!(text, "{line}").is_err() {
        text.push('\n');
    }
}

fn section(text: &mut String, part: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    push(text, part.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::{Failed, Rates};

    fn copy(system: &str, round: usize, cpu_us: f64) -> Line {
        let rates = Rates { seconds: 1.0, records: 1, cpu_us, broker_cpu_us: 1.0, records_s: 1e3, mb_s: 1.0 };
        Line::Throughput(Throughput {
            system: system.into(),
            value_bytes: 1000,
            round,
            marginal: rates,
            all: rates,
            first_record_s: 0.1,
            peak_mib: 100.0,
            load: 0.0,
        })
    }

    #[test]
    fn a_ratio_compares_the_runs_of_one_round() {
        let lines = vec![
            copy("mm2-tuned", 1, 10.0),
            copy("strait-eos", 1, 2.0),
            copy("mm2-tuned", 2, 100.0),
            copy("strait-eos", 2, 10.0),
            copy("strait-filter", 2, 11.0),
            // Without a partner: it has a row but no part in the ratio.
            copy("strait-eos", 3, 1000.0),
        ];
        let text = markdown(&lines);
        assert!(text.contains("| strait-eos / mm2-tuned | 0.150 (0.100-0.200) |"), "{text}");
        assert!(text.contains("| strait-filter / strait-eos | 1.100 |"), "{text}");
        assert!(text.contains("| strait-eos | 3 | 10.00 (2.00-1000.00) |"), "{text}");
    }

    #[test]
    fn what_was_not_measured_has_no_table_and_a_failure_is_told() {
        let failed = Failed { bench: "idle".into(), system: "strait-eos".into(), round: 1, reason: "late\nlog".into() };
        let text = markdown(&[Line::Failed(failed)]);
        assert_eq!(text, "Runs without a figure:\n\n- idle, strait-eos, run 1: late\n");
    }
}
