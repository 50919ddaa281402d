//! A record that the target refuses is handled by policy; all others are copied in order.

use strait_e2e::{ConfigFolder, Header, Isolation, LogLine, Record, Strait, TestClient, write_records};

use crate::copy::record_of_batch_bytes;
use crate::support::{
    Pair, SOON, Turn, kafka_tool, key_range, keys, link, numbered, record, stop, unix_ms, wait_until,
};

const LIMIT_BYTES: usize = 100_000;
const HOUR_MS: i64 = 3_600_000;

/// A record that the target refuses.
enum Bad {
    /// Larger than the target topic allows.
    Big(Record),
    /// Newer than the target topic allows.
    Late(Record),
    /// With timestamp 0, which librdkafka cannot write.
    Zero,
}

impl Bad {
    fn big() -> Self {
        Self::Big(record_of_batch_bytes(LIMIT_BYTES + 1))
    }

    fn late() -> Self {
        let header = |name: &[u8], value: Option<&[u8]>| -> Header { (name.to_vec(), value.map(<[u8]>::to_vec)) };
        Self::Late(Record {
            timestamp: unix_ms() + 24 * HOUR_MS,
            headers: vec![header(b"a", Some(b"\xff")), header(b"a", None), header(b"\xfe", Some(b""))],
            ..record(Some(b"late"), Some(b"too late"))
        })
    }

    /// The setting of the target topic that refuses it.
    fn target_config(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Big(_) => Some(("max.message.bytes", LIMIT_BYTES.to_string())),
            Self::Late(_) => Some(("message.timestamp.after.max.ms", HOUR_MS.to_string())),
            Self::Zero => None,
        }
    }

    fn original(&self) -> Record {
        match self {
            Self::Big(record) | Self::Late(record) => record.clone(),
            Self::Zero => Record { timestamp: 0, ..record(Some(b"zero"), Some(b"0")) },
        }
    }
}

/// Topics with a refused record each, copied by a link of the topic's name.
struct Refusals {
    pair: Pair,
    config: ConfigFolder,
}

impl Refusals {
    /// Creates the topics: partition 0 has 50 good records, the bad one and 50 good ones, partition
    /// 1 has 100 good ones.
    fn prepare(cases: &[(&str, &Bad, &str)]) -> Self {
        let pair = Pair::shared();
        let (source, target) = (pair.at_source(), pair.at_target());
        let write = |topic: &str, records: &[Record]| write_records(&source.config(), topic, records).unwrap();
        for (topic, bad, _) in cases {
            source.create_topic(topic, 2, &[("message.timestamp.after.max.ms", "9223372036854775807")]).unwrap();
            let limit = bad.target_config();
            let limit: Vec<(&str, &str)> = limit.iter().map(|(name, value)| (*name, value.as_str())).collect();
            target.create_topic(&format!("source.{topic}"), 2, &limit).unwrap();
            write(topic, &numbered(1, 0, 100));
            write(topic, &numbered(0, 0, 50));
            if let Bad::Big(record) | Bad::Late(record) = bad {
                write(topic, std::slice::from_ref(record));
            }
        }
        let zeros = cases.iter().filter(|(_, bad, _)| matches!(bad, Bad::Zero));
        let zeros: Vec<String> = zeros.map(|(topic, ..)| (*topic).to_owned()).collect();
        if !zeros.is_empty() {
            kafka_tool("zero", &pair.source.internal_bootstrap(), &zeros);
        }
        cases.iter().for_each(|(topic, ..)| write(topic, &numbered(0, 50, 50)));
        let links: Vec<String> = cases
            .iter()
            .map(|(topic, _, policy)| link(topic, &[topic], 1, &format!("sync.configs = \"none\"\n{policy}")))
            .collect();
        let config = pair.config(&links.concat());
        Self { pair, config }
    }

    fn read(&self, topic: &str) -> Vec<Record> {
        self.pair.at_target().read_records(&format!("source.{topic}"), Isolation::Committed).unwrap()
    }

    /// Waits for these keys in partition 0, and for all of the good partition.
    #[track_caller]
    fn wait(&self, topic: &str, wanted: &[String]) {
        wait_until(&format!("{topic} copied"), SOON, || (keys(&self.read(topic), 0) == wanted).then_some(()));
        wait_until(&format!("the good partition of {topic} copied"), SOON, || {
            (keys(&self.read(topic), 1) == key_range(0, 100)).then_some(())
        });
    }

    fn assert_no_quarantine(&self, topic: &str) {
        let name = format!("strait.{topic}.quarantine");
        assert!(!self.pair.at_source().topics().unwrap().iter().any(|(found, _)| *found == name), "{name} exists");
    }
}

/// The event names the record, and no other event comes.
#[track_caller]
fn assert_events(strait: &Strait, event: &str, places: &[(&str, String)]) {
    for (link, place) in places {
        let is = |line: &LogLine| line.is_event(event) && line.field("link") == Some(link);
        let line = strait.wait_line(&format!("{event} of {link}"), SOON, is).unwrap();
        assert!(line.message().starts_with(place), "{}", line.text);
    }
    for line in strait.lines() {
        let expected = [event, "lane_restarted"];
        assert!(line.field("event").is_none_or(|event| expected.contains(&event)), "{}", line.text);
    }
}

/// Quarantine has the record as it was, and headers with its place.
fn assert_quarantined(source: &TestClient, topic: &str, original: &Record) {
    let kept = source.read_records(&format!("strait.{topic}.quarantine"), Isolation::Committed).unwrap();
    assert_eq!(kept.len(), 1, "{topic}");
    assert!((&kept[0].key, &kept[0].value) == (&original.key, &original.value), "{topic}");
    let (first, added) = kept[0].headers.split_at(original.headers.len());
    assert_eq!(first, original.headers, "{topic}");
    let added = |name: &str| {
        let found = added.iter().find(|(found, _)| found == name.as_bytes());
        String::from_utf8(found.unwrap().1.clone().unwrap()).unwrap()
    };
    let place = ["strait-link", "strait-source-topic", "strait-source-partition", "strait-source-offset"].map(added);
    assert_eq!(place, [topic, topic, "0", "50"]);
    assert_eq!(added("strait-source-timestamp"), original.timestamp.to_string());
    println!("{topic}: {} ({}): {}", added("strait-plugin"), added("strait-code"), added("strait-text"));
}

#[test]
fn refused_records_are_in_quarantine_as_they_were_and_all_others_are_copied() {
    let _turn = Turn::beside_another();
    let (big, late, zero) = (Bad::big(), Bad::late(), Bad::Zero);
    let cases = [("big", &big, ""), ("late", &late, ""), ("zero-keep", &zero, "on_timestamp_zero = \"quarantine\"")];
    let refusals = Refusals::prepare(&cases);
    let mut strait = Strait::run("refused", &refusals.config, &[]).unwrap();
    let topics = cases.map(|(topic, ..)| topic);
    topics.iter().for_each(|topic| refusals.wait(topic, &key_range(0, 100)));
    assert_events(&strait, "quarantined", &topics.map(|topic| (topic, format!("{topic}-0: record at offset 50 "))));
    for (topic, bad, _) in &cases {
        assert_quarantined(&refusals.pair.at_source(), topic, &bad.original());
    }
    stop(&mut strait);
}

#[test]
fn refused_records_stop_their_partition_at_the_same_record_in_every_run() {
    let _turn = Turn::beside_another();
    let (big, zero) = (Bad::big(), Bad::Zero);
    let refusals = Refusals::prepare(&[("big-stop", &big, "on_refused = \"stop\""), ("zero", &zero, "")]);
    let topics = ["big-stop", "zero"];
    let mut strait = Strait::run("stops", &refusals.config, &[]).unwrap();
    topics.iter().for_each(|topic| refusals.wait(topic, &key_range(0, 50)));
    let places = topics.map(|topic| (topic, format!("{topic}-0: stopped at offset 50:")));
    assert_events(&strait, "record_stopped", &places);
    topics.iter().for_each(|topic| refusals.assert_no_quarantine(topic));
    stop(&mut strait);

    let mut again = Strait::run("again", &refusals.config, &["--until-caught-up"]).unwrap();
    assert_eq!(again.wait_end(SOON).unwrap().code(), Some(1), "{}", again.stderr());
    let mut stopped: Vec<String> =
        again.events("record_stopped").iter().map(|l| l.field("link").unwrap().to_owned()).collect();
    stopped.sort();
    assert_eq!(stopped, topics);
    assert_eq!(keys(&refusals.read("big-stop"), 0), key_range(0, 50));
}

#[test]
fn a_record_with_timestamp_zero_gets_the_present_time_where_policy_says_so() {
    let _turn = Turn::beside_another();
    let refusals = Refusals::prepare(&[("zero-now", &Bad::Zero, "on_timestamp_zero = \"now\"")]);
    let began_ms = unix_ms();
    let mut strait = Strait::run("zero now", &refusals.config, &[]).unwrap();
    refusals.wait("zero-now", &[key_range(0, 50), vec!["zero".to_owned()], key_range(50, 50)].concat());
    let copies = refusals.read("zero-now");
    let now: Vec<i64> =
        copies.iter().filter(|r| r.key.as_deref() == Some(b"zero")).map(|record| record.timestamp).collect();
    assert!(now.len() == 1 && (began_ms..=unix_ms()).contains(&now[0]), "{now:?}");
    refusals.assert_no_quarantine("zero-now");
    stop(&mut strait);
}
