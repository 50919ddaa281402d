//! Personal data stays where it is: whatever a value looks like and whatever stands beside the redactor in the chain, a
//! record is on the target without it, or in quarantine at the source as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use strait_broker::{Isolation, Record, Strait, write_records};

use crate::support::{Pair, SOON, copy, link, record, turn, wait_until};

/// Stands in every value, only where the rules below reach or in what is no JSON document.
const SECRET: &str = "secret";

const REDACT: &str = r#"[[links.plugins]]
plugin = "redact"
[[links.plugins.config.rules]]
fields = ["$.customer.email", "$.contacts[*].email", "$..ssn"]
ignore_case = IGNORE_CASE
with = "hmac"
secret = "0123456789abcdef0123456789abcdef"
[[links.plugins.config.rules]]
headers = ["x-user"]
with = "remove"
[[links.plugins.config.rules]]
key = true
with = "sha256"
"#;

fn redact(ignore_case: bool) -> String {
    REDACT.replace("IGNORE_CASE", if ignore_case { "true" } else { "false" })
}

/// Documents that a redactor can judge: they arrive, without the secret.
fn judged() -> Vec<Vec<u8>> {
    let deep = |levels: usize| format!("{}{{\"ssn\":\"{SECRET}\"}}{}", "{\"a\":[".repeat(levels), "]}".repeat(levels));
    let wide = |bytes: usize| format!("{{\"note\":\"{}\",\"customer\":{{\"email\":\"{SECRET}\"}}}}", "x".repeat(bytes));
    let texts = [
        format!(r#"{{"customer":{{"email":"{SECRET}@x"}}}}"#),
        format!(r#"{{"customer":{{"em\u0061il":"{SECRET}"}}}}"#),
        format!(r#"{{"cust\u006Fmer":{{"\u0065mail":"{SECRET}"}}}}"#),
        r#"{"customer":{"email":"s\u0065cret"}}"#.to_owned(),
        format!(r#"{{"customer":{{"email":{{"nested":"{SECRET}"}}}}}}"#),
        format!(r#"{{"customer":{{"email":["{SECRET}","{SECRET}"]}}}}"#),
        format!(r#"{{"contacts":[{{"email":"{SECRET}1"}},{{"email":"{SECRET}2","x":1}},{{}}]}}"#),
        format!(r#"{{"a":{{"ssn":"{SECRET}"}},"b":[{{"ssn":"{SECRET}"}},[{{"c":{{"ssn":"{SECRET}"}}}}]]}}"#),
        format!(r#"{{"ssn":{{"ssn":"{SECRET}"}}}}"#),
        format!("\n\t {{ \"customer\" : {{ \"email\" :\r\n \"{SECRET}\" }} }} \n"),
        format!(r#"{{"customer":{{"email":"{SECRET}","amount":1e999999999,"big":{}}}}}"#, "9".repeat(10_000)),
        format!(r#"{{"customer":{{"email":"\ud83d\ude00{SECRET}"}},"":{{"":0}}}}"#),
        deep(50),
        wide(700_000),
    ];
    texts.into_iter().map(String::into_bytes).collect()
}

/// What has no one meaning, or none: no parser may guess, so no record of these arrives.
fn not_judged() -> Vec<Vec<u8>> {
    let utf16 = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        format!(r#"{{"customer":{{"email":"{SECRET}"}}}}"#).encode_utf16().flat_map(bytes).collect()
    };
    let texts = [
        format!(r#"{{"customer":{{"email":"a","email":"{SECRET}"}}}}"#),
        format!(r#"{{"customer":{{"email":"{SECRET}","email":"a"}}}}"#),
        format!(r#"{{"customer":{{"email":"a","\u0065mail":"{SECRET}"}}}}"#),
        format!(r#"{{"customer":{{"email":"a"}},"customer":{{"email":"{SECRET}"}}}}"#),
        format!(r#"{{"customer":{{"email":"a"}},"cust\u006fmer":{{"x":"{SECRET}"}}}}"#),
        format!(r#"{{"customer":{{}}}}{{"customer":{{"email":"{SECRET}"}}}}"#),
        format!(r#"{{"customer":{{}}}} {SECRET}"#),
        format!("{{\"customer\":{{\"email\":\"{SECRET}\"}}}}\0"),
        format!("\u{feff}{{\"customer\":{{\"email\":\"{SECRET}\"}}}}"),
        format!("{{\"customer\":{{\"email\":\"{SECRET}\",}}}}"),
        format!("{{'customer':{{'email':'{SECRET}'}}}}"),
        format!("{{customer:{{email:\"{SECRET}\"}}}}"),
        format!("/*c*/{{\"customer\":{{\"email\":\"{SECRET}\"}}}}"),
        format!("{{\"customer\":{{\"email\":\"{SECRET}\",\"n\":01}}}}"),
        format!("{{\"customer\":{{\"email\":\"{SECRET}\",\"n\":NaN}}}}"),
        format!("{{\"customer\":{{\"email\":\"{SECRET}\",\"n\":+1}}}}"),
        format!("{{\"customer\":{{\"email\":\"{SECRET}\\x41\"}}}}"),
        format!("{{\"customer\":{{\"email\":\"{SECRET}\n\"}}}}"),
        format!("{{\"customer\":{{\"email\":\"{SECRET}\\ud800\"}}}}"),
        format!("{{\"customer\":{{\"email\":\"{SECRET}\""),
        format!("\"{SECRET}\""),
        format!("[\"{SECRET}\"]"),
        format!("{{\"customer\":\"{SECRET}\"}}"),
        format!("{{\"customer\":[{{\"email\":\"{SECRET}\"}}]}}"),
        format!("{{\"contacts\":{{\"email\":\"{SECRET}\"}}}}"),
        format!("{}\"{SECRET}\"{}", "[".repeat(10_000), "]".repeat(10_000)),
        format!("{}{{\"ssn\":\"{SECRET}\"}}{}", "{\"a\":".repeat(100_000), "}".repeat(100_000)),
        SECRET.to_owned(),
        format!("email={SECRET}"),
        format!("<customer><email>{SECRET}</email></customer>"),
    ];
    let mut all: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
    all.push(utf16(u16::to_le_bytes));
    all.push(utf16(u16::to_be_bytes));
    all.push([b"{\"customer\":{\"email\":\"".as_slice(), SECRET.as_bytes(), b"\xff\"}}"].concat());
    all.push([b"{\"customer\":{\"em\xc0\xa1il\":\"".as_slice(), SECRET.as_bytes(), b"\"}}"].concat());
    all
}

/// Names in another case: other fields, unless the rule says that case does not count.
fn other_case() -> Vec<Vec<u8>> {
    let texts = [
        format!(r#"{{"Customer":{{"EMAIL":"{SECRET}"}}}}"#),
        format!(r#"{{"customer":{{"email":"{SECRET}","Email":"{SECRET}"}}}}"#),
        format!(r#"{{"CONTACTS":[{{"eMail":"{SECRET}"}}]}}"#),
        format!(r#"{{"a":{{"Ssn":"{SECRET}"}}}}"#),
        format!(r#"{{"a":{{"ſsn":"{SECRET}"}}}}"#),
    ];
    texts.into_iter().map(String::into_bytes).collect()
}

/// Whether the secret can be read in some encoding that the corpus uses.
fn tells(bytes: &[u8]) -> bool {
    let spread = |before: bool| -> Vec<u8> {
        SECRET.bytes().flat_map(|byte| if before { [0, byte] } else { [byte, 0] }).collect()
    };
    let forms = [SECRET.as_bytes().to_vec(), br"s\u0065cret".to_vec(), spread(true), spread(false)];
    forms.iter().any(|form| bytes.windows(form.len()).any(|window| window == form))
}

fn leaks(record: &Record) -> bool {
    let headers = record.headers.iter().any(|(name, value)| tells(name) || value.as_deref().is_some_and(tells));
    headers || record.key.as_deref().is_some_and(tells) || record.value.as_deref().is_some_and(tells)
}

/// The corpus as records: numbered by a header, the secret in the key and in a header as well.
fn records(values: &[Vec<u8>], first: usize) -> Vec<Record> {
    let one = |(index, value): (usize, &Vec<u8>)| {
        let number = first + index;
        let mut one = record(Some(format!("{SECRET}-{}", number % 7).as_bytes()), Some(value));
        one.partition = (number % 3) as i32;
        one.headers = vec![
            (b"number".to_vec(), Some(number.to_string().into_bytes())),
            (b"x-user".to_vec(), Some(SECRET.as_bytes().to_vec())),
        ];
        one
    };
    values.iter().enumerate().map(one).collect()
}

fn number(record: &Record) -> usize {
    let (_, value) = record.headers.iter().find(|(name, _)| name == b"number").unwrap();
    std::str::from_utf8(value.as_deref().unwrap()).unwrap().parse().unwrap()
}

/// Each record that was sent is on the target without the secret, `copies` times, or in quarantine with the bytes it had;
/// gives the numbers that arrived.
#[track_caller]
fn judge(sent: &[Record], arrived: &[Record], quarantined: &[Record], copies: usize) -> BTreeSet<usize> {
    for record in arrived {
        assert!(!leaks(record), "record {} leaked: {:?}", number(record), record);
    }
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for record in arrived {
        *counts.entry(number(record)).or_default() += 1;
    }
    let kept: BTreeMap<usize, &Record> = quarantined.iter().map(|record| (number(record), record)).collect();
    for record in sent {
        let number = number(record);
        match (counts.get(&number), kept.get(&number)) {
            (Some(count), None) => assert_eq!(*count, copies, "record {number}"),
            (None, Some(original)) => {
                assert_eq!((&original.key, &original.value), (&record.key, &record.value), "record {number}");
            }
            found => {
                panic!("record {number} is in {found:?}: {:?}", record.value.as_deref().map(String::from_utf8_lossy))
            }
        }
    }
    counts.into_keys().collect()
}

fn read(pair: &Pair, target: &[&str], link: &str) -> (Vec<Record>, Vec<Record>) {
    let arrived = target.iter().flat_map(|topic| pair.at_target().read_records(topic, Isolation::Committed).unwrap());
    let quarantine = format!("strait.{link}.quarantine");
    (arrived.collect(), pair.at_source().read_records(&quarantine, Isolation::Committed).unwrap())
}

fn guest(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/target/plugins").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run plugins/build.sh", path.display()))
}

fn meddler(way: &str) -> String {
    format!("[[links.plugins]]\nplugin = \"meddler\"\nconfig = {{ way = \"{way}\" }}\n")
}

#[test]
fn hostile_values_arrive_redacted_or_stay_in_quarantine_whatever_stands_before_the_redactor() {
    let _turn = turn();
    let pair = Pair::start("residency");
    pair.at_source().create_topic("people", 3, &[]).unwrap();
    let (judged, not_judged) = (judged(), not_judged());
    let sent = records(&[judged.clone(), not_judged].concat(), 0);
    write_records(&pair.at_source().config(), "people", &sent).unwrap();
    let all_judged: BTreeSet<usize> = (0..judged.len()).collect();

    let folder = |name: &str, plugins: &str| {
        let config = pair.config(&link(name, &["people"], 2, &format!("naming = \"prefix\"\n{plugins}")));
        config.write("plugins/meddler.wasm", guest("test/meddler.wasm")).unwrap();
        config
    };
    copy(&folder("alone", &redact(false)));
    let (arrived, kept) = read(&pair, &["source.people"], "alone");
    assert_eq!(judge(&sent, &arrived, &kept, 1), all_judged);
    // The same key has the same pseudonym, in the same partition.
    let key_of = |record: &Record| (record.partition, record.key.clone());
    let keys: BTreeSet<_> = arrived.iter().map(key_of).collect();
    let sent_keys: BTreeSet<_> = sent.iter().filter(|r| all_judged.contains(&number(r))).map(key_of).collect();
    assert_eq!(keys.len(), sent_keys.len());

    // Copies that are made before it pass through it, and so does what was sent elsewhere.
    let renamed = |prefix: &str, way: &str| {
        let rename = format!("[[links.plugins]]\nplugin = \"rename\"\nconfig = {{ prefix = \"{prefix}.\" }}\n");
        format!("{}{}{rename}", meddler(way), redact(false))
    };
    copy(&folder("emitted", &renamed("emitted", "emit")));
    let (arrived, kept) = read(&pair, &["source.emitted.people"], "emitted");
    assert_eq!(judge(&sent, &arrived, &kept, 2), all_judged);
    copy(&folder("routed", &renamed("routed", "route")));
    let (arrived, kept) = read(&pair, &["source.routed.elsewhere"], "routed");
    assert_eq!(judge(&sent, &arrived, &kept, 1), all_judged);

    // What could put the data back is not loaded behind it.
    for way in ["undo", "emit"] {
        let config = folder("undone", &format!("{}{}", redact(false), meddler(way)));
        let mut refused = Strait::run("undone", &config, &["--until-caught-up"]).unwrap();
        assert_eq!(refused.wait_end(SOON).unwrap().code(), Some(64), "{}", refused.stderr());
        assert!(refused.stderr().contains("allow_after"), "{}", refused.stderr());
    }
}

#[test]
fn names_in_another_case_are_redacted_where_case_does_not_count() {
    let _turn = turn();
    let pair = Pair::start("case");
    pair.at_source().create_topic("people", 3, &[]).unwrap();
    let judged = [judged(), other_case()].concat();
    let sent = records(&[judged.clone(), not_judged()].concat(), 0);
    write_records(&pair.at_source().config(), "people", &sent).unwrap();
    copy(&pair.config(&link("case", &["people"], 2, &redact(true))));
    let (arrived, kept) = read(&pair, &["source.people"], "case");
    let arrived = judge(&sent, &arrived, &kept, 1);
    let missing: Vec<_> = (0..judged.len()).filter(|number| !arrived.contains(number)).collect();
    assert!(missing.is_empty(), "judged, yet in quarantine: {missing:?}");
}
#[test]
fn a_redactor_that_is_swapped_for_one_that_does_nothing_goes_on_redacting() {
    let _turn = turn();
    let pair = Pair::start("swapped");
    pair.at_source().create_topic("people", 3, &[]).unwrap();
    let judged = judged();
    let first = records(&judged, 0);
    let second = records(&judged, judged.len());
    write_records(&pair.at_source().config(), "people", &first).unwrap();
    let config = pair.config(&link("swapped", &["people"], 2, &redact(false)));
    config.write("plugins/redact.wasm", guest("redact.wasm")).unwrap();
    let strait = Strait::run("swapped", &config, &[]).unwrap();
    let arrived = |count: usize| {
        wait_until("copied", SOON, || {
            pair.at_target().topics().unwrap().iter().find(|(name, _)| name == "source.people")?;
            let found = pair.at_target().read_records("source.people", Isolation::Committed).unwrap();
            (found.len() >= count).then_some(found)
        })
    };
    arrived(judged.len());

    config.write("plugins/redact.wasm", guest("test/meddler.wasm")).unwrap();
    let refused = strait.wait_line("plugins_refused", SOON, |line| line.is_event("plugins_refused")).unwrap();
    println!("{}", refused.message());
    write_records(&pair.at_source().config(), "people", &second).unwrap();
    let found = arrived(2 * judged.len());
    assert_eq!(judge(&[first, second].concat(), &found, &[], 1).len(), 2 * judged.len());
}
