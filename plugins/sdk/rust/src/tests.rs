//! Batches laid out by hand from `plugin.wit`, and the resulting edits.

use crate::{
    bindings::strait::plugin::types::Batch,
    testing::{TestRecord, Tester, link, take_counts, take_logs},
    *,
};

/// The contents of the first record of a batch, and the actions to return.
struct Probe;

thread_local! {
    static SEEN: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) };
}

impl Plugin for Probe {
    fn about() -> About {
        About { name: "probe".into(), ..About::default() }
    }

    fn configure(_config: &str, _link: &LinkInfo) -> Result<Self, Vec<ConfigError>> {
        Ok(Self)
    }

    fn open_topic(&mut self, _topic: &str, _partitions: u32) -> Result<TopicPlan, String> {
        let needs = Needs::columns(column::KEY, effect::FIELD).fields(["$.a", "$..b"]).field_pointers().all_headers();
        Ok(TopicPlan::reads(needs.and(column::KEY).lookback(7, 60_000)))
    }

    fn on_record(&mut self, record: &Record<'_>) -> Action {
        let headers: Vec<_> = record.headers().iter().map(|h| (h.name.len(), h.value.map(<[u8]>::len))).collect();
        let fields: Vec<_> = record
            .fields()
            .iter()
            .map(|f| format!("{}:{}@{}={}", f.occurrence, f.field, text(f.pointer), text(f.json)))
            .collect();
        let line = format!(
            "{} key {:?} {:?} {} headers {headers:?} b {} text {:?}",
            record.offset(),
            record.key().map(text),
            record.value_state(),
            fields.join(" "),
            record.field(1).len(),
            record.field_text(0),
        );
        SEEN.with_borrow_mut(|seen| seen.push(line));
        Change::new().key(None).into()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn u32s(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

/// Lays out columns in the given order, as the host does.
fn batch(count: u32, mode: u32, columns: &[(u32, Vec<u8>)]) -> Batch {
    let (mut directory, mut data) = (Vec::new(), Vec::new());
    for (number, bytes) in columns {
        data.resize(usize::next_multiple_of(data.len(), 8), 0xee);
        directory.extend([*number, data.len() as u32, bytes.len() as u32]);
        data.extend(bytes);
    }
    Batch {
        topic: "orders".into(),
        partition: 3,
        count,
        base_offset: 1 << 40,
        mode,
        options: vec![],
        origins: vec![],
        columns: directory,
        data,
    }
}

/// Two records: three occurrences, then one.
fn columns() -> Vec<(u32, Vec<u8>)> {
    let pointers: Vec<u8> = [u32s(&[2, 4, 4, 2]), b"/a/x/b/y/b/b".to_vec()].concat();
    vec![
        (11, pointers),
        (1, u32s(&[0, 9])),
        (3, u32s(&[2, u32::MAX])),
        (4, b"k1".to_vec()),
        (7, vec![0, 5]),
        (8, u32s(&[1, 2, 0, 1])),
        (9, u32s(&[9, 1, 2, 4])),
        (10, br#""e\u0075"1[]null"#.to_vec()),
        (12, u32s(&[2, 0])),
        (13, u32s(&[1, 2])),
        (14, b"hhh".to_vec()),
        (15, u32s(&[u32::MAX, 0])),
        (16, vec![]),
        (99, vec![1]),
    ]
}

#[test]
fn columns_are_read_by_the_layout_of_the_interface() {
    let columns = columns();
    let mut plugin = Probe;
    let edits = run::process(Some(&mut plugin), &batch(2, 0, &columns)).unwrap();
    assert_eq!(
        SEEN.take(),
        [
            r#"1099511627776 key Some("k1") Parsed 0:0@/a="e\u0075" 1:1@/x/b=1 2:1@/y/b=[] headers [(1, None), (2, Some(0))] b 2 text Some("eu")"#,
            "1099511627785 key None TrailingBytes 0:1@/b=null headers [] b 1 text None",
        ]
    );
    assert_eq!(edits.ops, [0, 1, 0, u32::MAX, 1, 1, 0, u32::MAX]);

    let warm_up = run::process(Some(&mut plugin), &batch(2, 1, &columns)).unwrap();
    assert!(warm_up.ops == edits.ops && SEEN.take().len() == 2, "those behind see what it leaves");
    assert!(run::process(Some(&mut plugin), &batch(3, 0, &columns)).is_err(), "counts for other records");
    assert!(run::process::<Probe>(None, &batch(0, 0, &columns)).is_err());
    let mut outside = batch(2, 0, &columns);
    outside.columns[2] = u32::MAX;
    assert!(run::process(Some(&mut plugin), &outside).is_err());
}

#[test]
fn needs_contain_each_request_once() {
    let plan = run::open_topic(Some(&mut Probe), "orders", 6).unwrap();
    let needs = plan.needs.unwrap();
    assert_eq!(needs.columns, [3, 4, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    assert_eq!(needs.fields, ["$.a", "$..b"]);
    assert!(needs.all_headers && needs.lookback.is_some_and(|l| (l.records, l.millis) == (7, 60_000)));
}

/// Returns an action chosen by the record's key.
struct Answers;

impl Plugin for Answers {
    fn about() -> About {
        About { reject_codes: vec!["code-a".into(), "code-b".into()], ..About::default() }
    }

    fn configure(config: &str, link: &LinkInfo) -> Result<Self, Vec<ConfigError>> {
        assert_eq!(link.source_region.as_deref(), Some("eu-west-1"));
        if config == "wrong" { Err(vec![config_error("/a", "no")]) } else { Ok(Self) }
    }

    fn open_topic(&mut self, topic: &str, _partitions: u32) -> Result<TopicPlan, String> {
        if topic == "other" {
            return Ok(TopicPlan::ignore().named("new"));
        }
        Ok(TopicPlan::reads(Needs::columns(column::KEY, !0).and(column::TIMESTAMP).headers(["h", "g"])))
    }

    fn on_record(&mut self, record: &Record<'_>) -> Action {
        count(0, 1);
        log(Level::Warn, "seen");
        match record.key().map(text).unwrap_or_default() {
            "drop" => Action::Drop,
            "reject" => Action::Reject { code: 1, reason: "é".into() },
            "rule" => Action::reject_of(0, "code-b", "é"),
            "all" => Change::new()
                .key(Some(b"k"))
                .value(None)
                .field(3, b"1")
                .remove_field(4)
                .insert_field(0, b"{}")
                .header(0, None)
                .remove_header(1)
                .add_header(b"n", Some(b"v"))
                .add_header(b"n", None)
                .timestamp_ms(-1)
                .topic("t")
                .partition(5)
                .partition_by(b"p")
                .emit()
                .drop_original()
                .into(),
            "set" => Change::new().set_header(record, b"h", Some(b"1")).set_header(record, b"x", None).into(),
            "remove" => Change::new().remove_headers(record, b"h").into(),
            _ => Change::new().into(),
        }
    }
}

#[test]
fn every_edit_has_its_number() {
    let mut tester = Tester::<Answers>::new("").unwrap();
    let record =
        |key: &str| TestRecord::new().key(key).header("h", None).header("-", None).header("g", None).header("h", None);
    let lines = tester.process(&["drop", "pass", "reject", "all", "set", "remove", "rule"].map(record)).unwrap();
    assert_eq!(
        lines,
        [
            "0 drop",
            "2 reject 1 = é",
            "3 key = k",
            "3 value = null",
            "3 field 3 = 1",
            "3 field 4 = null",
            "3 insert 0 = {}",
            "3 header 0 = null",
            "3 remove header 1",
            "3 add header 1 = nv",
            "3 add null header = n",
            "3 timestamp = -1",
            "3 topic = t",
            "3 partition 5",
            "3 partition by = p",
            "3 emit",
            "3 drop",
            "4 header 0 = 1",
            "4 remove header 2",
            "4 add null header = x",
            "5 remove header 0",
            "5 remove header 2",
            "6 rule 0",
            "6 reject 1 = é",
        ]
    );
    assert_eq!((take_counts().len(), take_logs()[5].as_str()), (7, "Level::Warn: seen"));
    assert_eq!(tester.open("other", 1).unwrap().as_deref(), Some("new"));
    assert_eq!(Tester::<Answers>::new("wrong").err().as_deref(), Some("/a: no"));
    assert_eq!(link().source, "aws");
}

#[test]
#[should_panic(expected = "needs do not request column 2")]
fn a_column_that_was_not_requested_is_not_null() {
    struct Wrong;
    impl Plugin for Wrong {
        fn about() -> About {
            About::default()
        }
        fn configure(_: &str, _: &LinkInfo) -> Result<Self, Vec<ConfigError>> {
            Ok(Self)
        }
        fn open_topic(&mut self, _: &str, _: u32) -> Result<TopicPlan, String> {
            Ok(TopicPlan::reads(Needs::columns(column::KEY, 0)))
        }
        fn on_record(&mut self, record: &Record<'_>) -> Action {
            let _ = record.timestamp_ms();
            Action::Pass
        }
    }
    let _ = Tester::<Wrong>::new("").unwrap().process(&[TestRecord::new()]);
}
