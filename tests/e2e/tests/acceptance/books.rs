//! The books: where each record in quarantine is, on the target, and what a target without them
//! stops.

use std::time::Duration;

use serde_json::{Value, json};
use strait_e2e::{Isolation, Record, Strait};

use crate::admin::{ADMIN, address_of, get, series, status};
use crate::support::{Pair, SOON, Turn, key_range, link, numbered, record, stop, unix_ms, wait_event, wait_until};

const HOUR_MS: i64 = 3_600_000;
/// Deadline of what is retried after 30 s.
const RETRIED: Duration = Duration::from_secs(90);

/// Returns a record that the target refuses for its time.
fn late(key: &str) -> Record {
    Record { timestamp: unix_ms() + 24 * HOUR_MS, ..record(Some(key.as_bytes()), Some(b"late")) }
}

/// Returns keys and values of the books of a link, in order.
fn books(pair: &Pair, link: &str) -> Vec<(Value, Value)> {
    let records = pair.at_target().read_records(&format!("strait.{link}.operate"), Isolation::Committed).unwrap();
    let json = |bytes: &Option<Vec<u8>>| serde_json::from_slice(bytes.as_deref().unwrap()).unwrap();
    let of_books = records.iter().filter(|record| record.partition == 1);
    of_books.map(|record| (json(&record.key), json(&record.value))).collect()
}

/// Checks that the books tell where the record of partition 0 with this offset and key is.
#[track_caller]
fn assert_entry(pair: &Pair, link: &str, (key, value): &(Value, Value), offset: i64, kept: &str) {
    let id = key["topic_id"].as_str().unwrap().len();
    let named = (&key["topic"], &key["partition"], &key["offset"], id);
    assert_eq!(named, (&json!(link), &json!(0), &json!(offset), 32), "{key}");
    assert_eq!(
        (&value["state"], &value["code"], &value["plugin"]),
        (&json!("open"), &json!("timestamp"), &json!("strait"))
    );
    let quarantine = pair.at_source().read_records(&format!("strait.{link}.quarantine"), Isolation::Committed).unwrap();
    let place = (&value["place"]["partition"], &value["place"]["offset"]);
    let there = quarantine.iter().find(|record| (&json!(record.partition), &json!(record.offset)) == place);
    assert_eq!(there.unwrap().key.as_deref(), Some(kept.as_bytes()), "{value}");
}

/// Returns what the status and the metrics say of open records.
fn open(address: &str, link: &str) -> (Option<u64>, Option<f64>) {
    let (status, (_, page)) = (status(address), get(address, "/metrics"));
    let shown = status["links"].as_array().unwrap().iter().find(|shown| shown["name"] == link).unwrap();
    let labels = format!("link=\"{link}\",source=\"source\",target=\"target\"");
    let known = series(&page, &format!("strait_quarantine_known{{{labels}}}"));
    let records = series(&page, &format!("strait_quarantine_open_records{{{labels}}}"));
    assert_eq!(known, Some(if records.is_some() { 1.0 } else { 0.0 }), "{page}");
    assert_eq!(series(&page, &format!("strait_quarantine_oldest_seconds{{{labels}}}")).is_some(), records.is_some());
    (shown["quarantine"]["open_records"].as_u64(), records)
}

#[track_caller]
fn wait_open(address: &str, link: &str, wanted: Option<u64>) {
    wait_until(&format!("{wanted:?} open in {link}"), RETRIED, || {
        let shown = open(address, link);
        (shown == (wanted, wanted.map(|records| records as f64))).then_some(())
    });
}

#[test]
fn the_books_tell_where_refused_records_are_and_without_books_only_partitions_with_them_stop() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    let (source, target) = (pair.at_source(), pair.at_target());
    let links = [("booked", ""), ("booked-plain", "delivery = \"at-least-once\"")];
    for (name, _) in links {
        source.create_topic(name, 2, &[("message.timestamp.after.max.ms", "9223372036854775807")]).unwrap();
        let limit = HOUR_MS.to_string();
        let limit = [("message.timestamp.after.max.ms", limit.as_str())];
        target.create_topic(&format!("source.{name}"), 2, &limit).unwrap();
        source.write(name, &[numbered(0, 0, 20), vec![late("first")], numbered(0, 20, 20)].concat()).unwrap();
        source.write(name, &numbered(1, 0, 20)).unwrap();
    }
    let config: Vec<String> = links.iter().map(|(name, more)| link(name, &[name], 1, more)).collect();
    let config = pair.config(&format!("{}{ADMIN}", config.concat()));
    let mut strait = Strait::run("books", &config, &[]).unwrap();
    let address = address_of(&strait);
    for (name, _) in links {
        pair.wait_keys(&format!("source.{name}"), 0, &key_range(0, 40));
        let found = wait_until("an entry", SOON, || Some(books(&pair, name)).filter(|found| !found.is_empty()));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_entry(&pair, name, &found[0], 20, "first");
        wait_open(&address, name, Some(1));
    }
    let (_, page) = get(&address, "/metrics");
    let oldest = "strait_quarantine_oldest_seconds{link=\"booked\",source=\"source\",target=\"target\"}";
    assert!(series(&page, oldest).is_some_and(|seconds| (0.0..600.0).contains(&seconds)), "{page}");

    target.delete_topic("strait.booked.operate").unwrap();
    source.write("booked", &[vec![late("second")], numbered(0, 40, 20)].concat()).unwrap();
    source.write("booked", &numbered(1, 20, 20)).unwrap();
    let failed = wait_event(&strait, "booked", "quarantine_failed", "booked-0");
    assert!(failed.message().contains("topic strait.booked.operate does not exist"), "{}", failed.message());
    pair.wait_keys("source.booked", 1, &key_range(0, 40));
    wait_open(&address, "booked", None);
    // The other partition goes on beside the retries.
    source.write("booked", &numbered(1, 40, 20)).unwrap();
    pair.wait_keys("source.booked", 1, &key_range(0, 60));
    assert_eq!(pair.keys("source.booked", 0), key_range(0, 40));
    let failed = strait.events("quarantine_failed");
    assert!(failed.iter().all(|line| line.message().starts_with("booked-0: stopped at offset 41:")), "{failed:?}");
    let restarts = strait.events("lane_restarted").len();
    assert!(restarts <= 3, "{restarts} restarts of lanes");

    target.create_topic("strait.booked.operate", 2, &[("cleanup.policy", "compact")]).unwrap();
    wait_until("everything copied", RETRIED * 2, || (pair.keys("source.booked", 0) == key_range(0, 60)).then_some(()));
    let found = books(&pair, "booked");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_entry(&pair, "booked", &found[0], 41, "second");
    wait_open(&address, "booked", Some(1));
    stop(&mut strait);
}
