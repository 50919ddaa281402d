//! Processes that are killed while plugins come into force that protect more, and what comes
//! after: older plugins, a lost copy of the border, an emptied border, another process.
//!
//! Record fields are a ladder: the plugins of step n remove the first n of them. So a copy tells
//! the step under which it passed, and in each partition that step may only rise.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::{Map, Value};
use strait_core::lanes::lane_of;
use strait_core::progress::{HeldBorder, LaneProgress, ProgressFold, ProgressKey, ProgressRecord};
use strait_e2e::{ConfigFolder, Isolation, LogLine, Record, Strait, TestClient, Writer, write_records};

use crate::support::{Pair, SOON, Turn, key_range, keys, link, record, seeded, unix_ms, wait_until};

/// Processes that are killed, each at a moment of its own.
const PROCESSES: usize = 3;
const LANES: u32 = 2;
const PARTITIONS: i32 = 2;
const FIELDS: usize = 40;
/// The change of a configuration is read, loaded, in force, committed and copied within this time.
const CHANGE: Duration = Duration::from_millis(400);
/// A process that is killed this early has not loaded the new plugins: it looks for changes every
/// 50 ms or later.
const EARLY: Duration = Duration::from_millis(40);
/// A time in which a lane that is not held back would have copied something.
const FLOWS: Duration = Duration::from_millis(500);

/// Two steps of a change, at which some lanes are killed in each round.
const UNLOADED: &str = "before it was told as loaded";
const UNCOPIED: &str = "before the border was copied";

/// The misfortune that follows a kill.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Loss {
    Nothing,
    /// The copy of the border in `state_dir` is gone.
    Copy,
    /// The copy is that of the border before.
    NewCopy,
    /// The border on the target is gone, and the copy is not.
    Border,
}

/// A lane and what holds for it after a kill.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// The step of the border on the target, and its number.
    step: usize,
    number: u64,
    /// The same of the copy.
    copied: (usize, u64),
}

/// A link that is named after its only topic.
struct Link {
    name: String,
    /// The step of the plugins in force.
    step: usize,
}

/// A process with two links. After the kill of its process, the first link is started with its old
/// plugins in another folder too, the second one in the same folder.
struct Place {
    folder: ConfigFolder,
    links: [Link; 2],
}

fn lanes() -> impl Iterator<Item = u32> {
    0..LANES
}

/// Returns the configuration of a link on a step of the ladder.
fn rules(link: &Link, step: usize) -> String {
    let fields: Vec<String> = (0..step).map(|field| format!("$.f{field}")).collect();
    let rules = format!("rules = [{{ fields = {fields:?}, with = \"remove\" }}]");
    let plugin = format!("[[links.plugins]]\nplugin = \"redact\"\nconfig = {{ {rules} }}\n");
    let plugins = if step == 0 { String::new() } else { plugin };
    self::link(&link.name, &[&link.name], LANES, &format!("reload = {{ settle_ms = 0 }}\n{plugins}"))
}

impl Place {
    fn text(&self, pair: &Pair, steps: [usize; 2]) -> Vec<u8> {
        let links: String = self.links.iter().zip(steps).map(|(link, step)| rules(link, step)).collect();
        fs::read(pair.config(&links).path().join("strait.toml")).unwrap()
    }

    /// Renames a configuration into its place.
    fn configure(&self, pair: &Pair, steps: [usize; 2]) {
        self.folder.write("strait.new", self.text(pair, steps)).unwrap();
        let path = self.folder.path();
        fs::rename(path.join("strait.new"), path.join("strait.toml")).unwrap();
    }

    fn steps(&self) -> [usize; 2] {
        [self.links[0].step, self.links[1].step]
    }

    fn copy_of(&self, link: &str, lane: u32) -> PathBuf {
        self.folder.path().join(format!("state/borders/{link}-{lane}.json"))
    }

    /// Lets no copy of a border be written, as if the process were killed before it is: a file has
    /// the place of their folder.
    fn close_copies(&self) {
        let state = self.folder.path().join("state");
        fs::rename(state.join("borders"), state.join("borders-aside")).unwrap();
        fs::write(state.join("borders"), "").unwrap();
    }

    fn open_copies(&self) {
        let state = self.folder.path().join("state");
        fs::remove_file(state.join("borders")).unwrap();
        fs::rename(state.join("borders-aside"), state.join("borders")).unwrap();
    }

    fn copied(&self, link: &str, lane: u32) -> Option<HeldBorder> {
        let text = fs::read(self.copy_of(link, lane)).ok()?;
        Some(serde_json::from_slice(&text).unwrap())
    }
}

/// Returns the step that a border holds for a topic.
fn step_of(held: &HeldBorder, topic: &str) -> usize {
    let text = held.protection(topic).map(|protection| protection.text()).unwrap_or_default();
    (0..FIELDS).filter(|field| text.contains(&format!("value$['f{field}']"))).count()
}

fn progress(pair: &Pair, link: &str, lane: u32) -> LaneProgress {
    let mut fold = ProgressFold::default();
    let records = pair.at_target().read_records(&format!("strait.{link}.progress"), Isolation::Committed).unwrap();
    for record in records.iter().filter(|record| record.partition == lane as i32) {
        fold.fold(record.offset, record.key.as_deref().unwrap(), record.value.as_deref());
    }
    fold.finish().unwrap()
}

fn held(pair: &Pair, place: &Place, link: &str, lane: u32) -> Held {
    let border = HeldBorder::of(&progress(pair, link, lane));
    let copied = place.copied(link, lane).unwrap_or_default();
    Held { step: step_of(&border, link), number: border.number(), copied: (step_of(&copied, link), copied.number()) }
}

/// Takes the border out of the progress of a lane.
fn empty_border(pair: &Pair, link: &str, lane: u32) {
    let progress = progress(pair, link, lane);
    let mut facts = progress.lane.unwrap();
    assert!(facts.border.take().is_some(), "there was a border");
    let (key, value) = ProgressRecord::Lane(facts).encode();
    let gone = progress.protects.into_keys().map(|topic| ProgressKey::Protects { topic });
    let gone = gone.chain(progress.texts.into_keys().map(|digest| ProgressKey::Text { digest }));
    let mut records = vec![record(Some(&key), Some(&value))];
    records.extend(gone.map(|key| record(Some(&serde_json::to_vec(&key).unwrap()), None)));
    let records: Vec<Record> = records.into_iter().map(|kept| Record { partition: lane as i32, ..kept }).collect();
    write_records(&pair.at_target().config(), &format!("strait.{link}.progress"), &records).unwrap();
}

/// Returns the copies of a link and the steps under which those of each partition passed, in order.
#[track_caller]
fn copies(pair: &Pair, link: &str) -> (Vec<Record>, BTreeMap<i32, Vec<usize>>) {
    let copies = pair.at_target().read_records(&format!("source.{link}"), Isolation::Committed).unwrap();
    let mut steps: BTreeMap<i32, Vec<usize>> = (0..PARTITIONS).map(|partition| (partition, Vec::new())).collect();
    for copy in &copies {
        let fields: Map<String, Value> = serde_json::from_slice(copy.value.as_deref().unwrap()).unwrap();
        let left = fields.len();
        assert!((FIELDS - left..FIELDS).all(|field| fields.contains_key(&format!("f{field}"))), "{fields:?}");
        steps.get_mut(&copy.partition).unwrap().push(FIELDS - left);
    }
    (copies, steps)
}

/// Asserts that no copy of a partition passed under plugins that protect less than those of a copy
/// before it.
#[track_caller]
fn only_rises(link: &str, steps: &BTreeMap<i32, Vec<usize>>) {
    for (partition, steps) in steps {
        let fall = steps.windows(2).position(|pair| pair[1] < pair[0]);
        assert_eq!(fall, None, "{link}-{partition}: {steps:?}");
    }
}

/// Numbered records into all topics, at a steady rate.
struct Records {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Records {
    fn start(client: &TestClient, topics: &[String]) -> Self {
        let writers: Vec<Writer> = topics.iter().map(|topic| Writer::new(&client.config(), topic).unwrap()).collect();
        let fields: Map<String, Value> = (0..FIELDS).map(|field| (format!("f{field}"), field.into())).collect();
        let value = Value::from(fields).to_string();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut number = 0_u64;
            while !stopped.load(Ordering::Relaxed) {
                for writer in &writers {
                    for partition in 0..PARTITIONS {
                        let key = number.to_string();
                        let record = record(Some(key.as_bytes()), Some(value.as_bytes()));
                        writer.send(&Record { partition, timestamp: unix_ms(), ..record }).unwrap();
                    }
                }
                number += 1;
                // The rate, not a wait for something.
                thread::sleep(Duration::from_millis(20));
            }
            writers.iter().for_each(|writer| writer.flush().unwrap());
            number
        });
        Self { stop, thread }
    }

    /// Stops; returns the number of records of each partition.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Returns the lanes of a link that a process has taken so far.
fn taken(process: &Strait, link: &str) -> BTreeSet<u32> {
    let of = |line: &LogLine| line.field("link") == Some(link) && line.message() == "taking the lane";
    let lines = process.lines();
    lines.iter().filter(|line| of(line)).filter_map(|line| line.field("lane")?.parse().ok()).collect()
}

fn is_refused(process: &Strait, link: &str, lane: u32) -> bool {
    let begin = format!("lane {lane}:");
    let refused = process.events("border_refused");
    refused.iter().any(|line| line.field("link") == Some(link) && line.message().starts_with(&begin))
}

struct Drill<'a> {
    rng: StdRng,
    pair: &'a Pair,
    places: Vec<Place>,
    processes: Vec<Strait>,
    /// How many lanes were killed at which step of the change.
    stages: BTreeMap<&'static str, usize>,
    rounds: usize,
}

impl<'a> Drill<'a> {
    fn start(pair: &'a Pair, name: &str) -> Self {
        let rng = seeded(name);
        let place = |number: usize| {
            let links = ["other", "same"].map(|kind| Link { name: format!("{name}-{kind}-{number}"), step: 1 });
            for link in &links {
                pair.at_source().create_topic(&link.name, PARTITIONS, &[]).unwrap();
            }
            let all: String = links.iter().map(|link| rules(link, 1)).collect();
            Place { folder: pair.config(&all), links }
        };
        let places: Vec<Place> = (0..PROCESSES).map(place).collect();
        let processes = places.iter().map(|place| Strait::run("first", &place.folder, &[]).unwrap()).collect();
        Self { rng, pair, places, processes, stages: BTreeMap::new(), rounds: 0 }
    }

    fn links(&self) -> impl Iterator<Item = (&Place, &Link)> {
        self.places.iter().flat_map(|place| place.links.iter().map(move |link| (place, link)))
    }

    /// Waits until each partition has copies of the step that is in force.
    #[track_caller]
    fn wait_in_force(&self) {
        for (_, link) in self.links() {
            wait_until(&format!("step {} of {} in force", link.step, link.name), SOON, || {
                self.pair.has_target_topic(&format!("source.{}", link.name)).then_some(())?;
                let (_, steps) = copies(self.pair, &link.name);
                steps.values().all(|steps| steps.last() == Some(&link.step)).then_some(())
            });
        }
    }

    /// Changes all links to a higher step, and kills each process in the change: in turn, one
    /// before it loads the plugins, one when the border is committed and not copied, and one at
    /// some moment.
    fn kill_in_change(&mut self, higher: &[[usize; 2]]) {
        let [early, uncopied, any] = [0, 1, 2].map(|role| (self.rounds + role) % PROCESSES);
        self.rounds += 1;
        self.places[uncopied].close_copies();
        let [soon, later] = [EARLY, CHANGE].map(|most| most.mul_f64(self.rng.random()));
        let mut kills = [(soon, early), (later, any)];
        kills.sort();
        self.places.iter().zip(higher).for_each(|(place, steps)| place.configure(self.pair, *steps));
        let began = Instant::now();
        for (at, place) in kills {
            // A moment, not a wait for something.
            thread::sleep(at.saturating_sub(began.elapsed()));
            self.processes[place].kill().unwrap();
        }
        let place = &self.places[uncopied];
        for (link, step) in place.links.iter().zip(higher[uncopied]) {
            wait_until(&format!("the border of {} committed", link.name), SOON, || {
                lanes().all(|lane| held(self.pair, place, &link.name, lane).step == step).then_some(())
            });
        }
        self.processes[uncopied].kill().unwrap();
        place.open_copies();
    }

    /// Tells where each lane was killed, and asserts that its border covers each of its copies.
    #[track_caller]
    fn judge_kill(&mut self, higher: &[[usize; 2]]) -> BTreeMap<(String, u32), Held> {
        let mut found = BTreeMap::new();
        for ((place, process), higher) in self.places.iter().zip(&self.processes).zip(higher) {
            for (link, higher) in place.links.iter().zip(higher) {
                let (_, steps) = copies(self.pair, &link.name);
                only_rises(&link.name, &steps);
                let loaded = process.events("plugins_reloaded");
                let is_loaded = loaded.iter().any(|line| line.field("link") == Some(&*link.name));
                for lane in lanes() {
                    let held = held(self.pair, place, &link.name, lane);
                    for (partition, steps) in &steps {
                        let is_of = lane_of(&link.name, *partition, LANES).0 == lane;
                        let most = steps.iter().copied().filter(|_| is_of).max().unwrap_or(0);
                        assert!(most <= held.step, "{} lane {lane}: {most} without a border: {held:?}", link.name);
                    }
                    assert!(held.copied.0 <= held.step, "{} lane {lane}: {held:?}", link.name);
                    let stage = match (is_loaded, held.step == *higher, held.copied.0 == *higher) {
                        (false, false, _) => UNLOADED,
                        (true, false, _) => "before its first transaction was committed",
                        (_, true, false) => UNCOPIED,
                        (_, true, true) => "after the border was copied",
                    };
                    *self.stages.entry(stage).or_default() += 1;
                    found.insert((link.name.clone(), lane), held);
                }
            }
        }
        found
    }

    /// Lets something be lost for each lane of the second link of a process.
    fn lose(&mut self, place: usize, before: &BTreeMap<PathBuf, Vec<u8>>, found: &BTreeMap<(String, u32), Held>) {
        let name = self.places[place].links[1].name.clone();
        for lane in lanes() {
            let held = found[&(name.clone(), lane)];
            let loss = match self.rng.random_range(0..4) {
                0 => Loss::Nothing,
                1 => Loss::Copy,
                2 => Loss::NewCopy,
                _ => Loss::Border,
            };
            // If both are lost, or the copy is an older one, nobody knows the border any more.
            let is_known = held.copied == (held.step, held.number);
            let loss = if loss == Loss::Border && !is_known { Loss::Nothing } else { loss };
            let copy = self.places[place].copy_of(&name, lane);
            match loss {
                Loss::Nothing => {}
                Loss::Copy => drop(fs::remove_file(&copy)),
                Loss::NewCopy => fs::write(&copy, &before[&copy]).unwrap(),
                Loss::Border => empty_border(self.pair, &name, lane),
            }
            println!("  {name} lane {lane}: {held:?}, lost: {loss:?}");
        }
    }

    /// Returns the copies of the borders, by file.
    fn stored(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = self.links().flat_map(|(place, link)| lanes().map(|lane| place.copy_of(&link.name, lane)));
        files.map(|file| (file.clone(), wait_until("a copy of the border", SOON, || fs::read(&file).ok()))).collect()
    }

    /// One change of all links, a kill of all processes, and what may come after.
    fn round(&mut self) {
        self.wait_in_force();
        let before = self.stored();
        let old: Vec<[usize; 2]> = self.places.iter().map(Place::steps).collect();
        let higher: Vec<[usize; 2]> =
            old.iter().map(|steps| steps.map(|step| step + self.rng.random_range(1..=2))).collect();
        self.kill_in_change(&higher);
        let found = self.judge_kill(&higher);
        (0..PROCESSES).for_each(|place| self.lose(place, &before, &found));

        // The first link is now in two folders, the other one is weaker than before in its own.
        let others: String = self.places.iter().map(|place| rules(&place.links[0], place.links[0].step)).collect();
        let other = self.pair.config(&others);
        let weaker: Vec<usize> = old.iter().map(|steps| self.rng.random_range(0..=steps[1])).collect();
        let mut older = Strait::run("older", &other, &[]).unwrap();
        for (index, place) in self.places.iter().enumerate() {
            place.configure(self.pair, [higher[index][0], weaker[index]]);
            self.processes[index] = Strait::run("weaker", &place.folder, &[]).unwrap();
        }
        for (index, place) in self.places.iter().enumerate() {
            let [first, second] = [0, 1].map(|link| place.links[link].name.as_str());
            wait_until(&format!("lanes of {first} in the other process"), SOON, || {
                let lanes = taken(&older, first);
                let mut held_back = lanes.iter().filter(|lane| found[&(first.to_owned(), **lane)].step > old[index][0]);
                (!lanes.is_empty() && held_back.all(|lane| is_refused(&older, first, *lane))).then_some(())
            });
            wait_until(&format!("lanes of {second} held back by their border"), SOON, || {
                let process = &self.processes[index];
                let mut held_back = lanes().filter(|lane| found[&(second.to_owned(), *lane)].step > weaker[index]);
                let is_taken = taken(process, second).len() == LANES as usize;
                (is_taken && held_back.all(|lane| is_refused(process, second, lane))).then_some(())
            });
        }
        // A moment in which a lane that is not held back copies: no wait for something.
        thread::sleep(FLOWS);
        for process in self.processes.iter_mut().chain([&mut older]) {
            process.terminate().unwrap();
        }
        for process in self.processes.iter_mut().chain([&mut older]) {
            process.wait_end(SOON).unwrap();
        }
        for (index, place) in self.places.iter_mut().enumerate() {
            place.configure(self.pair, higher[index]);
            place.links.iter_mut().zip(higher[index]).for_each(|(link, step)| link.step = step);
            self.processes[index] = Strait::run("tight again", &place.folder, &[]).unwrap();
        }
    }

    /// Waits for so many copies of each partition, and judges all of them.
    #[track_caller]
    fn finish(mut self, count: u64) {
        self.wait_in_force();
        let wanted = key_range(0, count);
        for (_, link) in self.links() {
            let (all, steps) = wait_until(&format!("all copies of {}", link.name), SOON, || {
                let (all, steps) = copies(self.pair, &link.name);
                (all.len() as u64 >= count * PARTITIONS as u64).then_some((all, steps))
            });
            only_rises(&link.name, &steps);
            for partition in 0..PARTITIONS {
                assert!(keys(&all, partition) == wanted, "{}-{partition}: lost, doubled or out of order", link.name);
            }
        }
        println!("{count} records in each partition; lanes were killed {:?}", self.stages);
        for stage in [UNLOADED, UNCOPIED] {
            assert!(self.stages.contains_key(stage), "no lane was killed {stage}");
        }
        for process in &mut self.processes {
            process.terminate().unwrap();
            process.wait_end(SOON).unwrap();
        }
    }
}

/// Begins rounds as long as this, and while there are fields left.
fn drill(name: &str, length: Duration) {
    let pair = Pair::shared();
    let mut drill = Drill::start(&pair, name);
    let topics: Vec<String> = drill.links().map(|(_, link)| link.name.clone()).collect();
    let records = Records::start(&pair.at_source(), &topics);
    let began = Instant::now();
    for round in 1.. {
        println!("{:>6.1} round {round}", began.elapsed().as_secs_f64());
        drill.round();
        let highest = drill.links().map(|(_, link)| link.step).max().unwrap_or(0);
        if began.elapsed() >= length || highest + 2 > FIELDS {
            break;
        }
    }
    drill.finish(records.stop());
}

#[test]
fn processes_killed_while_tighter_plugins_come_into_force_let_nothing_across_that_was_held_back() {
    let _turn = Turn::beside_another();
    drill("killed", Duration::ZERO);
}

#[test]
#[ignore = "soak: five minutes; STRAIT_SOAK_S shortens it"]
fn many_kills_while_tighter_plugins_come_into_force_let_nothing_across_that_was_held_back() {
    let _turn = Turn::beside_another();
    let seconds = std::env::var("STRAIT_SOAK_S").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    drill("killed-often", Duration::from_secs(seconds));
}
