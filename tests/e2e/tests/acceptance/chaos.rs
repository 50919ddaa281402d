//! Crashes, outages and stops do nothing to records.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use strait_e2e::{ConfigFolder, GeneratorSpec, Isolation, Strait, generate, write_records};

use crate::support::{
    Ends, Pair, SOON, SlowLine, Turn, copy, keys, lanes_of, link, now, numbered, records, seeded, single, stop,
    wait_until,
};

/// Small fetches, so that a slow line delivers some records at a time and not all of a fetch at
/// once.
const SMALL_FETCHES: &str = "\"fetch.message.max.bytes\" = \"32768\"";

/// The committed records of a target topic must grow again after a fault.
struct Progress<'a> {
    ends: &'a Ends,
    began: Instant,
    last: i64,
}

impl<'a> Progress<'a> {
    fn new(ends: &'a Ends) -> Self {
        Self { ends, began: Instant::now(), last: 0 }
    }

    /// Waits until more is committed than at the last fault; returns how long that took.
    #[track_caller]
    fn wait(&self) -> Duration {
        let began = Instant::now();
        wait_until("copying on", SOON, || self.ends.sum().filter(|sum| *sum > self.last).map(drop));
        began.elapsed()
    }

    /// Records where the target is as a fault strikes.
    fn strike(&mut self, what: &str, waited: Duration) {
        if let Some(sum) = self.ends.sum() {
            self.last = self.last.max(sum);
        }
        println!("{:>6.1?} {what} at {} (worked again after {waited:.1?})", self.began.elapsed(), self.last);
    }
}

#[test]
fn twenty_kills_three_broker_losses_five_cuts_and_a_zombie_neither_lose_nor_duplicate_nor_reorder_records() {
    let _turn = Turn::long();
    let mut rng = seeded("chaos");
    let pair = Pair::of(single("chaos-source").with_proxies(), single("chaos-target").with_proxies());
    pair.at_source().create_topic("orders", 4, &[]).unwrap();
    let spec = GeneratorSpec { value_bytes_max: 50_000, ..GeneratorSpec::new("orders", 4, records(400_000), 2) };
    let generated = generate(&pair.at_source().config(), &spec).unwrap();
    println!("{} records, {} MB", generated.committed, generated.committed_bytes / 1_000_000);
    // The records must last longer than the faults.
    let throttle = (generated.committed_bytes / 250).max(20_000);
    pair.source.proxy(0).unwrap().throttle(throttle);

    let config = pair.config_by_proxy(SMALL_FETCHES, &link("chaos", &["orders"], 4, ""));
    let start = |name: &str| Strait::run(name, &config, &[]).unwrap();
    let mut crew = [start("first"), start("second")];
    wait_until("the target topic made", SOON, || {
        crew[0].poll_end().unwrap().is_none().then_some(())?;
        pair.has_target_topic("source.orders").then_some(())
    });
    let ends = Ends::new(&pair.at_target(), "source.orders", 4);
    let mut progress = Progress::new(&ends);

    for kill in 1..=20 {
        let waited = progress.wait();
        // At any moment of fetching, producing, committing and taking lanes.
        std::thread::sleep(Duration::from_millis(rng.random_range(0..2500)));
        let victim = rng.random_range(0..2);
        progress.strike(&format!("kill {kill} of process {victim}"), waited);
        crew[victim].kill().unwrap();
        crew[victim] = start(&format!("after kill {kill}"));
    }
    for loss in 1..=3 {
        let waited = progress.wait();
        std::thread::sleep(Duration::from_millis(rng.random_range(0..1000)));
        progress.strike(&format!("loss {loss} of the target broker"), waited);
        let broker = pair.target.broker(0).unwrap();
        broker.kill().unwrap();
        now(broker.restart()).unwrap();
    }
    for cut in 1..=5 {
        let waited = progress.wait();
        let (name, cluster) = if rng.random() { ("source", &pair.source) } else { ("target", &pair.target) };
        progress.strike(&format!("cut {cut}, of the {name}"), waited);
        let proxy = cluster.proxy(0).unwrap();
        if rng.random() {
            proxy.cut()
        } else {
            proxy.reset()
        };
    }
    let waited = progress.wait();
    let zombie = wait_until("some lane of a process", SOON, || crew.iter().position(|s| !lanes_of(s).is_empty()));
    let (zombie, heir) = (&crew[zombie], &crew[1 - zombie]);
    let orphans = lanes_of(zombie);
    progress.strike(&format!("30 s of standstill of the process with lanes {orphans:?}"), waited);
    zombie.pause().unwrap();
    let paused = Instant::now();
    wait_until("taken over by the other process", SOON, || orphans.is_subset(&lanes_of(heir)).then_some(()));
    println!("       lanes taken over {:.1?} after the standstill began", paused.elapsed());
    let worked = progress.wait();
    println!("       worked again after {worked:.1?}");
    // The length of this fault.
    std::thread::sleep(Duration::from_secs(30).saturating_sub(paused.elapsed()));
    let copied = ends.sum().unwrap();
    zombie.resume().unwrap();
    wait_until("copying on beside the zombie", SOON, || ends.sum().filter(|sum| *sum > copied));
    let in_source: i64 = Ends::new(&pair.at_source(), "orders", 4).sum().unwrap();
    println!("{} offsets copied as the faults end, the source has {in_source}", ends.sum().unwrap());
    assert!(ends.sum().unwrap() < in_source * 9 / 10, "too little to copy: the last faults hit an idle link");

    pair.source.proxy(0).unwrap().heal();
    for strait in &mut crew {
        stop(strait);
    }
    copy(&config);
    pair.assert_exact("orders", "source.orders", &generated.aborted_ids);
}

/// Starts a link that copies numbered records of the topic of its name over a slow line; returns
/// when it has copied some.
fn slow_link(pair: &Pair, name: &str, more: &str, count: u64) -> (SlowLine, ConfigFolder, Strait, Ends) {
    pair.at_source().create_topic(name, 4, &[]).unwrap();
    for partition in 0..4 {
        write_records(&pair.at_source().config(), name, &numbered(partition, 0, count)).unwrap();
    }
    let line = SlowLine::throttle(pair, 400_000);
    let config = pair.config_by_proxy(SMALL_FETCHES, &link(name, &[name], 2, more));
    let strait = Strait::run("first", &config, &[]).unwrap();
    let copies = format!("source.{name}");
    pair.wait_target_topic(&copies);
    let ends = Ends::new(&pair.at_target(), &copies, 4);
    wait_until("copying", SOON, || ends.sum().filter(|sum| *sum > 0));
    (line, config, strait, ends)
}

#[test]
fn sigterm_drains_and_the_next_run_begins_where_this_one_ended() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    let count = records(200_000) / 4;
    let (line, config, mut strait, _) = slow_link(&pair, "drain", "", count);

    let asked = Instant::now();
    strait.terminate().unwrap();
    let status = strait.wait_end(Duration::from_secs(25)).unwrap();
    println!("drained in {:.1?}", asked.elapsed());
    assert_eq!(status.code(), Some(0), "{}", strait.stderr());
    let read = |isolation| pair.at_target().read_log("source.drain", isolation).unwrap().len() as u64;
    let drained = read(Isolation::Committed);
    assert!(drained > 0 && drained < 4 * count, "{drained} records: SIGTERM did not come in the middle");
    assert_eq!(read(Isolation::Uncommitted), drained, "what was in flight was aborted instead of committed");

    drop(line);
    copy(&config);
    pair.assert_exact("drain", "source.drain", &Default::default());
    assert_eq!(read(Isolation::Uncommitted), 4 * count, "the second run copied something again");
}

#[test]
fn at_least_once_loses_nothing_and_each_owner_copies_in_order() {
    const KILLS: usize = 3;
    let _turn = Turn::beside_another();
    let mut rng = seeded("at least once");
    let pair = Pair::shared();
    let count = records(200_000) / 4;
    let (line, config, mut strait, ends) = slow_link(&pair, "plain", "delivery = \"at-least-once\"", count);
    let mut progress = Progress::new(&ends);
    for kill in 1..=KILLS {
        let waited = progress.wait();
        std::thread::sleep(Duration::from_millis(rng.random_range(0..1500)));
        progress.strike(&format!("kill {kill}"), waited);
        strait.kill().unwrap();
        strait = Strait::run("next", &config, &[]).unwrap();
    }
    progress.wait();
    assert!(ends.sum().unwrap() < 4 * count as i64, "everything was copied before the last kill");
    drop(line);
    // What moved may have been in flight from the one that was killed.
    strait.wait_line("a lane of the last one", SOON, |line| line.message() == "taking the lane").unwrap();
    stop(&mut strait);
    copy(&config);

    let copies = pair.at_target().read_records("source.plain", Isolation::Committed).unwrap();
    for partition in 0..4 {
        let numbers: Vec<u64> = keys(&copies, partition).iter().map(|key| key.parse().unwrap()).collect();
        let mut times: HashMap<u64, u64> = HashMap::new();
        numbers.iter().for_each(|number| *times.entry(*number).or_default() += 1);
        assert_eq!(times.len() as u64, count, "records lost in partition {partition}");
        // Each owner copies in order; after a kill the next one may begin further back, never
        // further ahead.
        let breaks: Vec<&[u64]> = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
        println!("partition {partition}: {} duplicates, begun again {breaks:?}", numbers.len() as u64 - count);
        assert!(breaks.len() <= KILLS && breaks.iter().all(|pair| pair[1] <= pair[0]), "{breaks:?}");
    }
}
