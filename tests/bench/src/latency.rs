//! The time until a reader of committed records on the target sees a record, under a small steady
//! load.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use tokio::runtime::Runtime;

use crate::error::BenchError;
use crate::field::{Field, Results, Settings};
use crate::kafka::Kafka;
use crate::line::{Latency, Line};
use crate::preload::{self, key, number};
use crate::replicator::{Replicator, System};
use crate::{host, stats, stop};

const PARTITIONS: i32 = 4;
const TOPIC_DEADLINE: Duration = Duration::from_secs(90);
const LAST_DEADLINE: Duration = Duration::from_secs(30);

/// The settings of a latency benchmark.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub records_s: u64,
    pub value_bytes: usize,
    /// Not measured: compilers of the JVM, first transactions, a backlog from before the copy
    /// began.
    pub warm_up: Duration,
    pub window: Duration,
    pub rounds: usize,
}

impl Plan {
    fn records_in(&self, time: Duration) -> u64 {
        (time.as_secs_f64() * self.records_s as f64) as u64
    }
}

/// Runs the reader on the source itself, and then every system, in turns.
///
/// # Errors
/// An error that ends the benchmark. A failed run is reported and does not end it.
pub fn run(runtime: &Runtime, settings: &Settings, plan: Plan, results: &mut Results) -> Result<(), BenchError> {
    let field = Field::start(runtime, settings, false)?;
    let pool = preload::pool();
    for round in 1..=plan.rounds {
        let alone = at_source(&field, &pool, plan, round)?;
        eprintln!("{}", line(&alone));
        results.add(Line::Latency(alone))?;
        for system in &settings.systems {
            if *system == System::StraitFilter {
                continue;
            }
            let outcome = measure(&field, *system, &pool, plan, round);
            if let Ok(found) = &outcome {
                eprintln!("{}", line(found));
            }
            results.note("latency", *system, round, outcome.map(Line::Latency))?;
        }
    }
    Ok(())
}

fn line(found: &Latency) -> String {
    format!(
        "{:13} run {}: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms over {} records, {:.1} us/record",
        found.system, found.round, found.p50_ms, found.p99_ms, found.max_ms, found.records, found.cpu_us
    )
}

/// The floor: the same records seen by the same reader on the source topic.
fn at_source(field: &Field, pool: &[u8], plan: Plan, round: usize) -> Result<Latency, BenchError> {
    let topic = format!("latency-{}", field.tag());
    field.source.create(&topic, PARTITIONS, &[])?;
    let load = host::load();
    let times = drive(&field.source, &topic, &field.source, &topic, pool, plan, || Ok(0))?;
    field.source.delete_where(|name| name == topic)?;
    times.summary("none", round, plan, load)
}

fn measure(field: &Field, system: System, pool: &[u8], plan: Plan, round: usize) -> Result<Latency, BenchError> {
    let tag = field.tag();
    let topic = format!("latency-{tag}");
    field.source.create(&topic, PARTITIONS, &[])?;
    // A topic without records may not be there on the target until it has some.
    seed(&field.source, &topic)?;
    let job = field.job(system, &tag, &topic);
    let target_topic = job.target_topic(&topic);
    let load = host::load();
    let mut replicator = job.start()?;
    let outcome = wait_for(field, &mut replicator, &target_topic)
        .and_then(|()| drive(&field.source, &topic, &field.target, &target_topic, pool, plan, || replicator.cpu_us()));
    let stopped = replicator.stop();
    field.clean(&job)?;
    field.source.delete_where(|name| name == topic)?;
    let times = outcome?;
    stopped?;
    times.summary(system.name(), round, plan, load)
}

fn wait_for(field: &Field, replicator: &mut Replicator, topic: &str) -> Result<(), BenchError> {
    let began = Instant::now();
    while field.target.partitions(topic)? != Some(PARTITIONS) {
        replicator.cpu_us()?;
        if began.elapsed() > TOPIC_DEADLINE {
            return Err(replicator.late("ready", TOPIC_DEADLINE, "no topic on the target"));
        }
        stop::pause(Duration::from_millis(200))?;
    }
    Ok(())
}

/// Latencies of the window, in the order of the records, and what the replicator spent in it.
struct Times {
    latencies_ms: Vec<f64>,
    cpu_us: u64,
}

impl Times {
    fn summary(mut self, system: &str, round: usize, plan: Plan, load: f64) -> Result<Latency, BenchError> {
        self.latencies_ms.sort_by(f64::total_cmp);
        let at = |quantile| {
            stats::percentile(&self.latencies_ms, quantile)
                .ok_or_else(|| BenchError::Wrong { system: system.to_owned(), reason: "no record was measured".into() })
        };
        Ok(Latency {
            system: system.to_owned(),
            round,
            records: self.latencies_ms.len(),
            records_s: plan.records_s,
            p50_ms: at(0.5)?,
            p99_ms: at(0.99)?,
            max_ms: at(1.0)?,
            cpu_us: self.cpu_us as f64 / self.latencies_ms.len() as f64,
            load,
        })
    }
}

/// Sends to the one topic at the steady rate on a thread of its own while this one reads the other.
fn drive(
    source: &Kafka,
    source_topic: &str,
    target: &Kafka,
    target_topic: &str,
    pool: &[u8],
    plan: Plan,
    mut cpu_us: impl FnMut() -> Result<u64, BenchError>,
) -> Result<Times, BenchError> {
    let reader = target.reader()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(target_topic, partition, Offset::Beginning)
            .map_err(BenchError::kafka("reading the target"))?;
    }
    reader.assign(&list).map_err(BenchError::kafka("reading the target"))?;
    let skipped = plan.records_in(plan.warm_up);
    let total = skipped + plan.records_in(plan.window);
    let mut seen: HashMap<u64, Instant> = HashMap::new();
    let (sent, spent) = thread::scope(|scope| {
        let sender = scope.spawn(|| send(source, source_topic, pool, plan, total));
        let spent = read(&reader, &mut seen, skipped, total, plan, &mut cpu_us);
        let sent = sender.join().unwrap_or_else(|_| {
            Err(BenchError::Wrong { system: "sender".into(), reason: "its thread panicked".into() })
        });
        (sent, spent)
    });
    let (sent, spent) = (sent?, spent?);
    let mut latencies_ms = Vec::new();
    for (number, sent) in (0..total).zip(&sent).skip(usize::try_from(skipped).unwrap_or_default()) {
        let Some(seen) = seen.get(&number) else {
            let reason = format!("record {number} never came to {target_topic}");
            return Err(BenchError::Wrong { system: target_topic.to_owned(), reason });
        };
        latencies_ms.push(seen.saturating_duration_since(*sent).as_secs_f64() * 1e3);
    }
    Ok(Times { latencies_ms, cpu_us: spent })
}

/// Puts a record without a number into every partition.
fn seed(kafka: &Kafka, topic: &str) -> Result<(), BenchError> {
    let failed = || BenchError::kafka(format!("sending to {topic}"));
    let producer: BaseProducer = kafka.config().create().map_err(failed())?;
    for partition in 0..PARTITIONS {
        let record = BaseRecord::to(topic).partition(partition).key("seed").payload("seed");
        producer.send(record).map_err(|(error, _)| failed()(error))?;
    }
    producer.flush(LAST_DEADLINE).map_err(failed())
}

/// Sends record n at its time, and returns when each was handed to the library.
fn send(kafka: &Kafka, topic: &str, pool: &[u8], plan: Plan, total: u64) -> Result<Vec<Instant>, BenchError> {
    let failed = || BenchError::kafka(format!("sending to {topic}"));
    let producer: BaseProducer =
        kafka.config().set("linger.ms", "0").set("compression.type", "lz4").create().map_err(failed())?;
    let began = Instant::now();
    let mut sent = Vec::new();
    for number in 0..total {
        let due = began + Duration::from_nanos(number * 1_000_000_000 / plan.records_s);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let start = usize::try_from(number).unwrap_or_default() * 997 % (pool.len() - plan.value_bytes);
        let value = pool.get(start..start + plan.value_bytes).unwrap_or_default();
        let key = key(number);
        let partition = i32::try_from(number % 4).unwrap_or_default();
        sent.push(Instant::now());
        producer
            .send(BaseRecord::to(topic).partition(partition).key(&key).payload(value))
            .map_err(|(error, _)| failed()(error))?;
        producer.poll(Duration::ZERO);
        stop::check()?;
    }
    producer.flush(LAST_DEADLINE).map_err(failed())?;
    Ok(sent)
}

/// Notes when each record was first seen, until all were. Returns the CPU time spent in the window.
fn read(
    reader: &BaseConsumer,
    seen: &mut HashMap<u64, Instant>,
    skipped: u64,
    total: u64,
    plan: Plan,
    cpu_us: &mut impl FnMut() -> Result<u64, BenchError>,
) -> Result<u64, BenchError> {
    let deadline = Instant::now() + plan.warm_up + plan.window + LAST_DEADLINE;
    let mut spent_before = None;
    while (seen.len() as u64) < total && Instant::now() < deadline {
        match reader.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let now = Instant::now();
                let Some(number) = message.key().and_then(number) else { continue };
                seen.entry(number).or_insert(now);
                if spent_before.is_none() && number >= skipped {
                    spent_before = Some(cpu_us()?);
                }
            }
            None | Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) => return Err(BenchError::kafka("reading the target")(error)),
        }
        stop::check()?;
    }
    let spent_after = cpu_us()?;
    Ok(spent_after.saturating_sub(spent_before.unwrap_or(spent_after)))
}
