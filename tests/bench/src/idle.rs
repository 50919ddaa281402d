//! The cost of a link with thousands of partitions and almost no records.

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tokio::runtime::Runtime;

use crate::error::BenchError;
use crate::field::{Field, Results, Settings};
use crate::line::{Idle, Line};
use crate::replicator::{Replicator, System};
use crate::{host, stop};

const READY_DEADLINE: Duration = Duration::from_secs(240);
const LAST_DEADLINE: Duration = Duration::from_secs(60);
const VALUE: [u8; 100] = [b'A'; 100];

/// The settings of an idle benchmark.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub topics: usize,
    pub partitions: i32,
    pub records_s: u32,
    pub settle: Duration,
    pub window: Duration,
}

/// Makes the topics and lets every system idle over them.
///
/// # Errors
/// An error that ends the benchmark. A failed run is reported and does not end it.
pub fn run(runtime: &Runtime, settings: &Settings, plan: Plan, results: &mut Results) -> Result<(), BenchError> {
    let field = Field::start(runtime, settings, false)?;
    let producer: BaseProducer =
        field.source.config().set("linger.ms", "0").create().map_err(BenchError::kafka("making a producer"))?;
    let began = Instant::now();
    for index in 0..plan.topics {
        stop::check()?;
        field.source.create(&name(index), plan.partitions, &[])?;
        send(&producer, index, 0)?;
    }
    flush(&producer)?;
    eprintln!(
        "{} topics of {} partitions made in {:.0} s",
        plan.topics,
        plan.partitions,
        began.elapsed().as_secs_f64()
    );
    for system in &settings.systems {
        let outcome = measure(&field, *system, &producer, plan);
        if let Ok(found) = &outcome {
            eprintln!("{}", line(found));
        }
        results.note("idle", *system, 1, outcome.map(Line::Idle))?;
    }
    Ok(())
}

fn line(found: &Idle) -> String {
    format!(
        "{:13} {} partitions, {:.0} records/s: {:.1} % of a core, {:.0} MiB (peak {:.0}), {} threads, ready after {:.0} s",
        found.system,
        found.partitions,
        found.records_s,
        found.cpu_percent,
        found.rss_mib,
        found.peak_mib,
        found.threads,
        found.ready_s
    )
}

fn name(index: usize) -> String {
    format!("idle-{index:03}")
}

fn measure(field: &Field, system: System, producer: &BaseProducer, plan: Plan) -> Result<Idle, BenchError> {
    let tag = field.tag();
    let job = field.job(system, &tag, "idle-.*");
    let load = host::load();
    let mut replicator = job.start()?;
    let copies: Vec<String> = (0..plan.topics).map(|index| job.target_topic(&name(index))).collect();
    let outcome = idle(field, &mut replicator, &copies, producer, plan);
    let peak_mib = replicator.peak_mib();
    let stopped = replicator.stop();
    field.clean(&job)?;
    let (mut found, ()) = (outcome?, stopped.map(drop)?);
    found.peak_mib = peak_mib;
    found.load = load;
    Ok(found)
}

fn idle(
    field: &Field,
    replicator: &mut Replicator,
    copies: &[String],
    producer: &BaseProducer,
    plan: Plan,
) -> Result<Idle, BenchError> {
    wait_ready(field, replicator, copies, plan)?;
    let ready_s = replicator.started.elapsed().as_secs_f64();
    let mut touched = HashSet::new();
    trickle(producer, plan, plan.settle, &mut touched)?;
    let before = (replicator.cpu_us()?, Instant::now());
    let sent = trickle(producer, plan, plan.window, &mut touched)?;
    let seconds = before.1.elapsed().as_secs_f64();
    let cpu_us = replicator.cpu_us()?.saturating_sub(before.0);
    let rss_kib = host::memory(replicator.pid()).map_or(0, |memory| memory.now_kib);
    let threads = host::threads(replicator.pid());
    wait_copied(field, replicator, copies, plan, &touched)?;
    Ok(Idle {
        system: replicator.system.name().to_owned(),
        partitions: copies.len() * usize::try_from(plan.partitions).unwrap_or_default(),
        records_s: sent as f64 / seconds,
        seconds,
        cpu_percent: cpu_us as f64 / seconds / 1e4,
        rss_mib: rss_kib as f64 / 1024.0,
        peak_mib: 0.0,
        threads,
        ready_s,
        load: 0.0,
    })
}

/// Every topic is there with all partitions, and the record that each held from the beginning has
/// come.
fn wait_ready(field: &Field, replicator: &mut Replicator, copies: &[String], plan: Plan) -> Result<(), BenchError> {
    let began = Instant::now();
    loop {
        replicator.cpu_us()?;
        let due = usize::try_from(plan.partitions).unwrap_or_default();
        let there =
            field.target.topics()?.iter().filter(|(name, count)| *count == due && copies.contains(name)).count();
        if there == copies.len() {
            field.target.renew()?;
            let mut copied = 0;
            for topic in copies {
                copied += usize::from(field.target.stable_end(topic, 1)? > 0);
            }
            if copied == copies.len() {
                return Ok(());
            }
        }
        if began.elapsed() > READY_DEADLINE {
            return Err(replicator.late("ready", READY_DEADLINE, &format!("{there} of {} topics", copies.len())));
        }
        stop::pause(Duration::from_millis(500))?;
    }
}

/// Sends single records to partitions drawn at random.
fn trickle(
    producer: &BaseProducer,
    plan: Plan,
    time: Duration,
    touched: &mut HashSet<(usize, i32)>,
) -> Result<u32, BenchError> {
    let mut rng = StdRng::seed_from_u64(touched.len() as u64);
    let began = Instant::now();
    let mut sent = 0;
    while began.elapsed() < time {
        let (index, partition) = (rng.random_range(0..plan.topics), rng.random_range(0..plan.partitions));
        send(producer, index, partition)?;
        touched.insert((index, partition));
        sent += 1;
        producer.poll(Duration::ZERO);
        stop::check()?;
        thread::sleep(
            (began + sent * Duration::from_secs(1) / plan.records_s).saturating_duration_since(Instant::now()),
        );
    }
    flush(producer)?;
    Ok(sent)
}

fn wait_copied(
    field: &Field,
    replicator: &mut Replicator,
    copies: &[String],
    plan: Plan,
    touched: &HashSet<(usize, i32)>,
) -> Result<(), BenchError> {
    let began = Instant::now();
    loop {
        let mut missing = 0;
        for (index, topic) in copies.iter().enumerate() {
            let ends = field.target.stable_ends(topic, plan.partitions)?;
            let is_missing = |(partition, end): (i32, i64)| end == 0 && touched.contains(&(index, partition));
            missing += (0..).zip(ends).filter(|pair| is_missing(*pair)).count();
        }
        if missing == 0 {
            return Ok(());
        }
        replicator.cpu_us()?;
        if began.elapsed() > LAST_DEADLINE {
            return Err(replicator.late("done", LAST_DEADLINE, &format!("{missing} partitions without their record")));
        }
        stop::pause(Duration::from_millis(500))?;
    }
}

fn send(producer: &BaseProducer, index: usize, partition: i32) -> Result<(), BenchError> {
    let topic = name(index);
    let record = BaseRecord::to(&topic).partition(partition).key("key").payload(VALUE.as_slice());
    producer.send(record).map_err(|(error, _)| BenchError::kafka(format!("sending to {topic}"))(error))
}

fn flush(producer: &BaseProducer) -> Result<(), BenchError> {
    producer.flush(LAST_DEADLINE).map_err(BenchError::kafka("sending"))
}
