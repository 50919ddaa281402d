//! `strait status`.

use std::time::Duration;

use super::{End, failed, print, print_message};
use crate::admin::client::Client;
use crate::admin::coordinator::Coordinator;
use crate::admin::lag::Lag;
use crate::admin::plugins::Plugin;
use crate::admin::status::{Link, Quarantine, StandingStill, Status};
use crate::cli::{AdminAt, Output};
use crate::load::{self, Environment};

/// How long an answer may take. It comes from memory.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the command.
#[must_use]
pub fn status(at: &AdminAt, output: Output) -> End {
    let client = match client(at) {
        Ok(client) => client,
        Err(end) => return end,
    };
    let answer = match client.get("/api/v1/status", ANSWER_TIMEOUT) {
        Ok(answer) => answer,
        Err(error) => return failed(&error),
    };
    if output == Output::Json {
        return print(&format!("{answer:#}"));
    }
    match serde_json::from_value(answer) {
        Ok(status) => print(&table(&status)),
        Err(error) => {
            print_message(&format!("error: the status cannot be read: {error}; is it a Strait of another version?"));
            End::Failed
        }
    }
}

/// Returns the client of the named API, else of the one that the configuration sets.
///
/// # Errors
/// How the command ends; the error is printed by then.
pub fn client(at: &AdminAt) -> Result<Client, End> {
    if let Some(url) = &at.admin {
        return Client::new(url).map_err(|error| failed(&error));
    }
    match load::admin_address(&at.config.file, &Environment::of_process()) {
        Ok(Some(address)) => Ok(Client::at(address)),
        Ok(None) => Err(failed(&"the configuration says [admin] listen = \"off\": its processes cannot be asked")),
        Err(reason) => {
            print_message(&format!("error: {reason}; or name the admin API with --admin URL"));
            Err(End::BadConfig)
        }
    }
}

fn table(status: &Status) -> String {
    let mut text = format!(
        "strait {}, {}{}, up {}\n",
        plain(&status.version),
        plain(&status.phase),
        if status.ready { ", ready" } else { "" },
        time(status.uptime_s)
    );
    for missing in &status.not_ready {
        text.push_str(&format!("  not ready: {}\n", plain(missing)));
    }
    let rows: Vec<Vec<String>> = status.links.iter().map(row).collect();
    text.push('\n');
    let head = [
        "LINK",
        "SOURCE",
        "TARGET",
        "STATE",
        "LANES",
        "PARTITIONS",
        "READ",
        "WRITTEN",
        "DROPPED",
        "QUARANTINED",
        "LAG",
        "BEHIND",
    ];
    text.push_str(&columns(&head, &rows));
    for link in &status.links {
        details(&mut text, link);
    }
    text
}

fn row(link: &Link) -> Vec<String> {
    let running = link.lanes.iter().filter(|lane| lane.state == "running").count();
    let partitions = link.partitions;
    let mut held = format!("{}", partitions.running + partitions.stuck + partitions.stopped);
    if partitions.stuck + partitions.stopped > 0 {
        held.push_str(&format!(" ({} stopped or stuck)", partitions.stuck + partitions.stopped));
    }
    let totals = &link.totals;
    vec![
        plain(&link.name),
        plain(&link.source),
        plain(&link.target),
        plain(&link.state),
        format!("{running} of {}", link.lanes_total),
        held,
        totals.records_read.to_string(),
        totals.records_written.to_string(),
        totals.records_dropped.to_string(),
        totals.records_quarantined.to_string(),
        lag(&link.lag),
        link.lag.seconds_max.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s")),
    ]
}

fn details(text: &mut String, link: &Link) {
    let mut lines = Vec::new();
    if let Some(error) = &link.error {
        lines.push(format!("{}: {}", plain(&link.state), plain(error)));
    }
    for cluster in &link.unreachable {
        let (side, name, reason) = (plain(&cluster.side), plain(&cluster.cluster), plain(&cluster.reason));
        lines.push(format!("its {side} cluster {name} does not answer: {reason}"));
    }
    for hidden in &link.hidden_topics {
        lines.push(format!("topic {} cannot be described: {}", plain(&hidden.topic), plain(&hidden.reason)));
    }
    lines.extend(quarantine(&link.quarantine));
    let refused = link.totals.records_without_topic;
    if refused > 0 {
        lines.push(format!(
            "{refused} records were refused: plugins send them to topics that do not exist, and {} topics were created for that (new_topics_max)",
            link.new_topics
        ));
    }
    if let Some(outside) = &link.not_in_group {
        lines.push(format!("this process is not a member of its group: {}", plain(&outside.reason)));
    }
    if let Some(unlisted) = &link.topics_not_listed {
        let reason = plain(&unlisted.reason);
        lines.push(format!("its source does not list its topics, so new ones are not found: {reason}"));
    }
    lines.extend(coordinator(&link.coordinator));
    for (right, reason) in &link.coordinator.denied {
        lines.push(format!("a right is missing ({}): {}", plain(right), plain(reason)));
    }
    for (setting, why) in &link.coordinator.resting {
        lines.push(format!("target topic {} is left alone: {}", plain(setting), plain(why)));
    }
    for (work, reason) in &link.coordinator.failing {
        lines.push(format!("{} for the link as a whole failed and will be retried: {}", plain(work), plain(reason)));
    }
    if !link.groups.problem.is_empty() {
        lines.push(format!("the offsets of groups cannot be kept: {}", plain(&link.groups.problem)));
    }
    for lane in link.lanes.iter().filter(|lane| lane.state != "running") {
        let trouble = if lane.trouble.is_empty() { String::new() } else { format!(": {}", plain(&lane.trouble)) };
        lines.push(format!("lane {} is {}{trouble}", lane.lane, plain(&lane.state)));
    }
    for paused in &link.paused {
        let (topic, state) = (plain(&paused.topic), plain(&paused.state));
        let reason = if paused.event.is_empty() { "no event of this process has the reason" } else { &paused.reason };
        lines.push(format!(
            "{topic}-{} is {state} at offset {}: {} {}",
            paused.partition,
            paused.offset,
            plain(&paused.event),
            plain(reason)
        ));
    }
    if link.paused_left_out > 0 {
        lines.push(format!("and {} more partitions", link.paused_left_out));
    }
    lines.extend(link.standing_still.iter().map(standing_still));
    if link.standing_still_left_out > 0 {
        lines.push(format!("and {} more partitions do not move", link.standing_still_left_out));
    }
    if !link.plugins.is_empty() {
        lines.push(format!("plugins {} (generation {})", plain(&link.generation), plain(&link.generation_digest)));
    }
    lines.extend(link.plugins.iter().map(plugin));
    if !matches!(&*link.standing, "" | "steady") {
        lines.push(format!("the plugins are on {}", plain(&link.standing)));
    }
    if let Some(problem) = &link.problem {
        lines.push(format!("the last change of plugins was not taken over: {}", plain(problem)));
    }
    if !link.needs_restart.is_empty() {
        lines.push(format!("takes effect at the next start only: {}", plain(&link.needs_restart.join(", "))));
    }
    if lines.is_empty() {
        return;
    }
    text.push_str(&format!("\n{}\n", plain(&link.name)));
    for line in lines {
        text.push_str(&format!("  {line}\n"));
    }
}

/// Returns how far behind a link is; what is not known is never shown as 0.
fn lag(lag: &Lag) -> String {
    match lag.records {
        None if lag.unknown_partitions > 0 => "unknown".to_owned(),
        None => "-".to_owned(),
        Some(records) if lag.unknown_partitions > 0 => format!("{records} ({} unknown)", lag.unknown_partitions),
        Some(records) => records.to_string(),
    }
}

/// Returns the line about the coordinator of a link; `None` where another process is it.
fn coordinator(found: &Coordinator) -> Option<String> {
    let problem = if found.problem.is_empty() { String::new() } else { format!(": {}", plain(&found.problem)) };
    if let Some(other) = &found.other_settings {
        return Some(format!("another process has other settings for the link as a whole ({})", plain(other)));
    }
    match &*found.state {
        "coordinating" => Some("this process coordinates the link".to_owned()),
        "taking" | "waiting" => Some(format!("this process should coordinate the link, and does not yet{problem}")),
        _ if found.missing => {
            let heard = found.heard_s.map_or_else(String::new, |seconds| format!(" for {}", time(seconds)));
            Some(format!("no process has coordinated the link{heard}{problem}"))
        }
        _ => None,
    }
}

/// Returns the line about quarantine; `None` if nothing is open there.
fn quarantine(found: &Quarantine) -> Option<String> {
    let problem = plain(&found.problem);
    match found.open_records {
        Some(0) => None,
        Some(records) => {
            let oldest = found.oldest_s.map(|seconds| format!(", the oldest for {}", time(seconds)));
            Some(format!("quarantine: {records} open{}", oldest.unwrap_or_default()))
        }
        None if problem.is_empty() => None,
        None => Some(format!("quarantine: the number of open records is unknown: {problem}")),
    }
}

fn standing_still(found: &StandingStill) -> String {
    let number = |known: Option<i64>| known.map_or_else(|| "unknown".to_owned(), |known| known.to_string());
    format!(
        "{}-{} has not moved for {} at offset {} of {}: {}",
        plain(&found.topic),
        found.partition,
        time(found.still_s),
        number(found.offset),
        number(found.last_stable_offset),
        plain(&found.reason)
    )
}

fn plugin(plugin: &Plugin) -> String {
    let digest = plugin.digest.get(..19).unwrap_or(&plugin.digest);
    let mut line =
        format!("plugin {} {} ({digest}): {} records", plain(&plugin.name), plain(&plugin.version), plugin.records);
    for (kind, count) in &plugin.failures {
        line.push_str(&format!(", {count} {}", plain(kind)));
    }
    if plugin.breaker != "closed" {
        line.push_str(&format!("; its breaker is {}: {}", plain(&plugin.breaker), plain(&plugin.breaker_reason)));
    }
    for counter in plugin.counters.iter().filter(|counter| counter.silent) {
        let of = if counter.rule.is_empty() { "" } else { " of rule " };
        line.push_str(&format!("; silent: counter {}{of}{}", plain(&counter.name), plain(&counter.rule)));
    }
    line
}

/// Escapes control characters: texts of brokers and plugins must not control the terminal.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

fn time(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Returns a table whose columns are as wide as their widest cell.
pub fn columns(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
