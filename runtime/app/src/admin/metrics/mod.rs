//! `/metrics`: the board in OpenMetrics text.
//!
//! Nothing is stored here. Every scrape reads the figures where they are counted, so a series ends
//! with its subject. The number of series grows with topics, which the flow bounds, and never with
//! partitions.

mod access;
mod coordinator;
mod groups;
mod mm2;
mod plugins;
mod quarantine;

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use strait_core::Side;
use strait_flow::histogram::Histogram;
use strait_flow::{TopicTotals, Totals};

use super::lag::Lags;
use super::status::{activity, lane_state, state};
use crate::board::{Board, LinkBoard, LinkEvents, Work};

/// The labels of a series. Values are escaped when they are written.
type Labels = Vec<(&'static str, String)>;

/// Events of missing or changed records at the source.
const GAPS: [&str; 6] =
    ["retention_overrun", "truncated", "topic_recreated", "epoch_regression", "offset_regression", "source_gone"];

/// Returns the text of a scrape.
///
/// # Errors
/// [`fmt::Error`] of the encoder.
pub fn encode(board: Arc<Board>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(board)));
    let mut page = String::new();
    text::encode(&mut page, &registry)?;
    Ok(page)
}

struct Scrape(Arc<Board>);

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

/// A link during one scrape.
struct LinkView<'a> {
    link: &'a LinkBoard,
    labels: Labels,
    events: LinkEvents,
    work: Option<Work>,
    lags: Lags,
}

impl LinkView<'_> {
    fn labels(&self, more: &[(&'static str, &str)]) -> Labels {
        let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
        self.labels.iter().cloned().chain(more).collect()
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let board = &*self.0;
        let links: Vec<LinkView<'_>> = board
            .links()
            .iter()
            .map(|link| LinkView {
                link,
                labels: vec![
                    ("link", link.name.clone()),
                    ("source", link.source.clone()),
                    ("target", link.target.clone()),
                ],
                events: link.events(),
                work: link.work().cloned(),
                lags: Lags::of(link, board.unix_ms()),
            })
            .collect();
        let mut page = Page { encoder };
        process(&mut page, board)?;
        records(&mut page, &links)?;
        lanes(&mut page, &links)?;
        lag(&mut page, &links)?;
        standstill(&mut page, &links)?;
        coordinator::write(&mut page, &links, board.unix_ms())?;
        groups::write(&mut page, &links)?;
        mm2::write(&mut page, &links)?;
        quarantine::write(&mut page, &links, board.unix_ms())?;
        events(&mut page, &links)?;
        access::write(&mut page, board)?;
        plugins::write(&mut page, &links)
    }
}

fn process(page: &mut Page<'_>, board: &Board) -> fmt::Result {
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    page.gauge("strait_build_info", "Version of this process; always 1.", [(version, 1.0)])?;
    let ready = if board.not_ready().is_empty() { 1.0 } else { 0.0 };
    page.gauge("strait_ready", "1 while /readyz answers 200.", [(Labels::new(), ready)])?;
    let uptime = [(Labels::new(), board.uptime().as_secs_f64())];
    page.gauge("strait_uptime_seconds", "Time since the process began.", uptime)
}

fn records(page: &mut Page<'_>, links: &[LinkView<'_>]) -> fmt::Result {
    type OfTopic = fn(&TopicTotals) -> u64;
    let by_topic: [(&str, &str, OfTopic); 3] = [
        ("strait_records_consumed", "Records read from the source, by source topic.", |t| t.records_read),
        ("strait_records_replicated", "Records acknowledged by the target, by source topic.", |t| t.records_written),
        ("strait_records_quarantined", "Records written to quarantine, by source topic.", |t| t.records_quarantined),
    ];
    for (name, help, value) in by_topic {
        let mut series = Vec::new();
        for (view, work) in working(links) {
            let topics = work.status.topics();
            series.extend(topics.iter().map(|(topic, totals)| (view.labels(&[("topic", topic)]), value(totals))));
        }
        page.counter(name, help, series)?;
    }
    let mut bytes = Vec::new();
    for (view, work) in working(links) {
        for (topic, totals) in work.status.topics() {
            for (direction, value) in [("read", totals.bytes_read), ("written", totals.bytes_written)] {
                bytes.push((view.labels(&[("topic", &topic), ("direction", direction)]), value));
            }
        }
    }
    page.counter("strait_bytes", "Bytes of keys, values and headers; written ones with 64 for each record.", bytes)?;

    type OfLink = fn(&Totals) -> u64;
    let by_link: [(&str, &str, OfLink); 5] = [
        ("strait_records_filtered", "Records dropped by plugins.", |t| t.records_dropped),
        (
            "strait_records_rejected",
            "Records rejected by plugins; they are in quarantine, or stop their partition.",
            |t| t.records_rejected,
        ),
        (
            "strait_records_without_topic",
            "Records refused because plugins send them to a topic that does not exist, beyond new_topics_max.",
            |t| t.records_without_topic,
        ),
        ("strait_timestamps_replaced", "Records sent with the current time, as theirs was 0.", |t| {
            t.timestamps_replaced
        }),
        ("strait_lane_restarts", "How often a lane failed and was taken again.", |t| t.lane_restarts),
    ];
    for (name, help, value) in by_link {
        let series = working(links).map(|(view, work)| (view.labels(&[]), value(&work.status.totals())));
        page.counter(name, help, series)?;
    }
    let mut transactions = Vec::new();
    for (view, work) in working(links) {
        let totals = work.status.totals();
        for (result, value) in [("committed", totals.transactions), ("aborted", totals.transactions_aborted)] {
            transactions.push((view.labels(&[("result", result)]), value));
        }
    }
    page.counter("strait_transactions", "Transactions on the target, by how they ended.", transactions)?;

    let timings: Vec<_> = working(links).map(|(view, work)| (view.labels(&[]), work.status.timings())).collect();
    let latency = timings.iter().map(|(labels, timings)| (labels.clone(), &timings.latency));
    page.histogram(
        "strait_replication_latency_seconds",
        "From a record's timestamp to its commit on the target, of the last record of each batch read.",
        latency,
    )?;
    let transaction = timings.iter().map(|(labels, timings)| (labels.clone(), &timings.transaction));
    page.histogram(
        "strait_transaction_duration_seconds",
        "From the moment a transaction takes no more records to its commit.",
        transaction,
    )
}

fn lanes(page: &mut Page<'_>, links: &[LinkView<'_>]) -> fmt::Result {
    let states = links.iter().map(|view| {
        let state = state(view.link, &view.events);
        (view.labels(&[]), if state == "running" { 1.0 } else { 0.0 })
    });
    page.gauge("strait_link_up", "1 while the link runs, 0 while it is prepared and once it has ended.", states)?;

    let mut lanes = Vec::new();
    let mut partitions = Vec::new();
    for (view, work) in working(links) {
        let all = work.status.lanes();
        for name in ["taking", "running", "waiting", "refused", "standby"] {
            let count = all.values().filter(|lane| lane_state(lane.state) == name).count();
            lanes.push((view.labels(&[("state", name)]), number(count as u64)));
        }
        let mut counts = std::collections::BTreeMap::from([(("running", ""), 0_u64)]);
        let reasons = work.status.reasons();
        for (key, partition) in work.status.partitions() {
            let state = activity(&partition.activity);
            let reason = reasons.get(&key).filter(|_| state != "running");
            *counts.entry((state, reason.map_or("", |reason| reason.event.name()))).or_default() += 1;
        }
        for ((state, reason), count) in counts {
            partitions.push((view.labels(&[("state", state), ("reason", reason)]), number(count)));
        }
    }
    page.gauge("strait_lanes", "Lanes of this process, by state.", lanes)?;
    let help = "Source partitions of this process, by state; the reason is the event that reported it.";
    page.gauge("strait_partitions", help, partitions)
}

fn lag(page: &mut Page<'_>, links: &[LinkView<'_>]) -> fmt::Result {
    let (mut sums, mut most, mut ages, mut unknown) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for view in links {
        for (topic, lag) in &view.lags.topics {
            let labels = view.labels(&[("topic", topic)]);
            unknown.push((labels.clone(), number(lag.unknown_partitions)));
            let (Some(records), Some(records_max)) = (lag.records, lag.records_max) else { continue };
            sums.push((labels.clone(), number(records)));
            most.push((labels.clone(), number(records_max)));
            ages.push((labels, lag.seconds_max.unwrap_or(0.0)));
        }
    }
    let help = "Partitions whose lag is not known; the other lag metrics lack them, or the whole topic.";
    page.gauge("strait_lag_unknown_partitions", help, unknown)?;
    page.gauge(
        "strait_lag_records",
        "Offsets that the target does not have yet, over a topic's partitions here.",
        sums,
    )?;
    page.gauge("strait_lag_records_max", "The same of the partition furthest behind.", most)?;
    let help = "Age of the newest committed record of the partition furthest behind; 0 where none is behind.";
    page.gauge("strait_lag_seconds", help, ages)
}

fn standstill(page: &mut Page<'_>, links: &[LinkView<'_>]) -> fmt::Result {
    let (mut counts, mut longest, mut reachable, mut member) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut lists = Vec::new();
    for (view, work) in working(links) {
        let (standing, still) = work.status.standing();
        counts.push((view.labels(&[]), number(standing.len() as u64)));
        longest.push((view.labels(&[]), still.as_secs_f64()));
        let unreachable = work.status.unreachable();
        for side in [Side::Source, Side::Target] {
            let labels = view.labels(&[("side", &side.to_string())]);
            reachable.push((labels, if unreachable.contains_key(&side) { 0.0 } else { 1.0 }));
        }
        member.push((view.labels(&[]), if work.status.not_in_group().is_some() { 0.0 } else { 1.0 }));
        lists.push((view.labels(&[]), if work.status.topics_not_listed().is_some() { 0.0 } else { 1.0 }));
    }
    let help = "Partitions that have something to copy and have not moved for 30 s.";
    page.gauge("strait_partitions_standing_still", help, counts)?;
    let help = "Time since the last move of the partition that has waited longest with something to copy; 0 if none.";
    page.gauge("strait_standing_still_seconds_max", help, longest)?;
    let help = "1 while the link's cluster on this side answers.";
    page.gauge("strait_cluster_reachable", help, reachable)?;
    let help = "1 while the link's group has this process as a member; 0 once it has not for 15 s.";
    page.gauge("strait_group_member", help, member)?;
    let help = "0 once the source answers and has not listed its topics for this process for 15 s, else 1.";
    page.gauge("strait_source_lists_topics", help, lists)?;
    let new = working(links).map(|(view, work)| (view.labels(&[]), number(work.status.new_topics() as u64)));
    let help = "Topics that were created because plugins named them for single records.";
    page.gauge("strait_new_topics", help, new)?;
    let hidden = working(links).map(|(view, work)| (view.labels(&[]), number(work.status.hidden().len() as u64)));
    let help = "Topics that the configuration names and the source does not describe.";
    page.gauge("strait_topics_hidden", help, hidden)
}

fn events(page: &mut Page<'_>, links: &[LinkView<'_>]) -> fmt::Result {
    let mut all = Vec::new();
    let mut gaps = Vec::new();
    let mut fenced = Vec::new();
    for view in links {
        for (event, count) in &view.events.counts {
            all.push((view.labels(&[("event", event)]), *count));
        }
        for reason in GAPS {
            let count = view.events.counts.get(reason).copied().unwrap_or(0);
            gaps.push((view.labels(&[("reason", reason)]), count));
        }
        let totals = view.work.as_ref().map(|work| work.status.totals()).unwrap_or_default();
        for (reason, offsets) in [("corrupt", totals.corrupt_skipped), ("skipped", totals.skipped)] {
            gaps.push((view.labels(&[("reason", reason)]), offsets));
        }
        fenced.push((view.labels(&[]), view.events.counts.get("fenced").copied().unwrap_or(0)));
    }
    page.counter("strait_events", "Events emitted, by name.", all)?;
    page.counter("strait_source_gap", "Records missing or changed at the source, by how.", gaps)?;
    page.counter("strait_fenced", "How often another owner took a lane of this process.", fenced)
}

fn working<'a>(links: &'a [LinkView<'a>]) -> impl Iterator<Item = (&'a LinkView<'a>, &'a Work)> {
    links.iter().filter_map(|view| view.work.as_ref().map(|work| (view, work)))
}

#[allow(clippy::cast_precision_loss, reason = "a gauge is a double; counts of 2^53 and more do not come about")]
fn number(count: u64) -> f64 {
    count as f64
}

/// Writes metric families.
struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Page<'_> {
    /// Writes a family of counters. The encoder appends `_total` to the name.
    fn counter<V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels, V)>,
    ) -> fmt::Result {
        let mut series = series.into_iter().peekable();
        if series.peek().is_none() {
            return Ok(());
        }
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in series {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, series: impl IntoIterator<Item = (Labels, f64)>) -> fmt::Result {
        let mut series = series.into_iter().peekable();
        if series.peek().is_none() {
            return Ok(());
        }
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in series {
            if labels.is_empty() {
                family.encode_gauge(&value)?;
                continue;
            }
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn histogram<'h>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels, &'h Histogram)>,
    ) -> fmt::Result {
        let mut series = series.into_iter().peekable();
        if series.peek().is_none() {
            return Ok(());
        }
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, histogram) in series {
            let buckets: Vec<(f64, u64)> = histogram.buckets().collect();
            let (sum, count) = (histogram.sum_s(), histogram.count());
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}
