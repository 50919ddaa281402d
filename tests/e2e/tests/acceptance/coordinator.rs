//! One process of a link coordinates it: the one that has lane 0.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use strait_e2e::{Isolation, LogLine, Strait};

use crate::admin::{ADMIN, address_of, get, series, status};
use crate::support::{Pair, SOON, Turn, key_range, keys, lanes_of, link, stop, wait_until, write_numbered};

/// Returns what a process says of the coordinator.
fn coordinator(address: &str) -> Value {
    status(address)["links"][0]["coordinator"].clone()
}

/// Returns the ticks, in the order of the log.
fn ticks(pair: &Pair) -> Vec<Value> {
    let topic = "strait.led.control";
    let records = pair.at_target().read_records(topic, Isolation::Committed).unwrap();
    let ticks = records.iter().filter(|record| record.key.as_deref() == Some(&br#"{"kind":"tick"}"#[..]));
    ticks.map(|tick| serde_json::from_slice(tick.value.as_deref().unwrap()).unwrap()).collect()
}

fn owners(ticks: &[Value]) -> Vec<u64> {
    let mut owners: Vec<u64> = ticks.iter().map(|tick| tick["owner"].as_u64().unwrap() >> 32).collect();
    owners.dedup();
    owners
}

/// Waits until a process coordinates the link. Returns the number of coordinators by then.
#[track_caller]
fn wait_coordinates(strait: &Strait, address: &str) -> u64 {
    let says =
        |line: &LogLine| line.message() == "this process coordinates the link" && line.json.get("event").is_none();
    strait.wait_line("it coordinates the link", SOON, says).unwrap();
    let found = wait_until("the status says so", SOON, || {
        let found = coordinator(address);
        (found["state"] == "coordinating").then_some(found)
    });
    found["owner"].as_u64().unwrap()
}

/// Makes a topic with ten records, and waits until they are copied. Returns how long that took.
fn new_topic(pair: &Pair, name: &str) -> Duration {
    pair.at_source().create_topic(name, 1, &[]).unwrap();
    write_numbered(&pair.at_source(), name, 0, 0, 10);
    let made = Instant::now();
    let copy = format!("source.{name}");
    wait_until("the new topic copied", SOON, || {
        pair.has_target_topic(&copy).then_some(())?;
        let read = pair.at_target().read_records(&copy, Isolation::Committed).ok()?;
        (keys(&read, 0) == key_range(0, 10)).then_some(())
    });
    made.elapsed()
}

#[test]
fn the_process_with_lane_0_coordinates_and_one_that_was_stopped_changes_nothing_more() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    pair.at_source().create_topic("led.a", 4, &[]).unwrap();
    write_numbered(&pair.at_source(), "led.a", 0, 0, 10);
    let config = pair.config(&(link("led", &["led\\..*"], 2, "") + ADMIN));
    let first = Strait::run("first", &config, &[]).unwrap();
    let at_first = address_of(&first);
    assert_eq!(wait_coordinates(&first, &at_first), 1);
    let second = Strait::run("second", &config, &[]).unwrap();
    let at_second = address_of(&second);
    wait_until("a lane each", SOON, || (lanes_of(&first).len() == 1 && lanes_of(&second).len() == 1).then_some(()));

    // The one with lane 0 is it, and the other one knows that.
    let is_first = lanes_of(&first).contains(&0);
    let (mut led, at_led, mut other, at_other) =
        if is_first { (first, at_first, second, at_second) } else { (second, at_second, first, at_first) };
    let owner = wait_until("one coordinator", SOON, || {
        let (here, there) = (coordinator(&at_led), coordinator(&at_other));
        let agree = here["state"] == "coordinating" && there["state"] == "elsewhere" && here["owner"] == there["owner"];
        agree.then(|| here["owner"].as_u64().unwrap())
    });
    let labels = "link=\"led\",source=\"source\",target=\"target\"";
    let metric = |address: &str| series(&get(address, "/metrics").1, &format!("strait_coordinator{{{labels}}}"));
    assert_eq!((metric(&at_led), metric(&at_other)), (Some(1.0), Some(0.0)));
    let took: Vec<Duration> = (0..6).map(|number| new_topic(&pair, &format!("led.new{number}"))).collect();
    println!("new topics were copied after {took:.1?}");
    assert!(took.iter().max().unwrap() < &Duration::from_secs(5), "{took:?}");

    // It is stopped past its session: the group gives lane 0 away.
    led.pause().unwrap();
    let paused = Instant::now();
    wait_until("the other one coordinates", SOON, || (coordinator(&at_other)["state"] == "coordinating").then_some(()));
    println!("the coordinator changed after {:.1?}", paused.elapsed());
    let successor = coordinator(&at_other)["owner"].as_u64().unwrap();
    assert!(successor > owner);
    let taken_over = other.events("coordinator_began");
    assert!(taken_over.len() == 1 && taken_over[0].message().contains("has not said that it ended"), "{taken_over:?}");
    assert!(new_topic(&pair, "led.later") < Duration::from_secs(10));

    // Resumed, it learns that it has lost the lane, and writes nothing more.
    led.resume().unwrap();
    wait_until("it knows", SOON, || {
        let found = coordinator(&at_led);
        let owner = found["owner"].as_u64()?;
        // It may have been given the lane back since, as a coordinator with a number of its own.
        (owner > successor || owner == successor && found["state"] == "elsewhere").then_some(())
    });
    let before = ticks(&pair).len();
    wait_until("some more ticks", SOON, || (ticks(&pair).len() > before + 2).then_some(()));
    let all = ticks(&pair);
    let order = owners(&all);
    assert!(order.is_sorted(), "an owner wrote after its successor: {order:?}");
    let mut released = BTreeMap::new();
    for tick in &all {
        released.insert(tick["owner"].as_u64().unwrap() >> 32, tick["released"] == true);
    }
    assert!(!released[&owner], "the one that was stopped has not said that it ends: {all:?}");

    stop(&mut other);
    stop(&mut led);
    let last = ticks(&pair).pop().unwrap();
    assert_eq!(last["released"], true, "the last one says that it ends: {last}");
}
