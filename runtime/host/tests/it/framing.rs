//! Keys and values with the framing of a schema registry: plugins see the content alone, and the
//! five bytes stay.

use serde_json::json;
use strait_core::edit::{Content, Disposition, OutRecord, Processed};
use strait_core::generation::Framing;
use strait_flow::ports::ChainFactory;
use strait_host::{ChainSpec, HostChains, LinkInfo, PluginSpec, TopicNaming};

use crate::support::{Row, batch, bundled, engine, link};

/// The framing with the schema of id 42.
const PREFIX: [u8; 5] = [0, 0, 0, 0, 42];
const HEADER: &[u8] = b"__value_schema_id";

fn framed(content: &[u8]) -> Vec<u8> {
    [&PREFIX[..], content].concat()
}

fn entry(topics: &str, part: &str, frame: &str) -> Framing {
    Framing { topics: vec![topics.into()], part: part.into(), frame: frame.into() }
}

fn load(plugins: Vec<PluginSpec>, framing: Vec<Framing>) -> std::sync::Arc<HostChains> {
    let link = LinkInfo { framing, ..link() };
    HostChains::load(engine(), ChainSpec { plugins, link, naming: TopicNaming::Identity }).unwrap()
}

fn redact() -> PluginSpec {
    let rules = json!([{ "fields": ["$.email"], "with": "remove" }, { "key": true, "with": "sha256" }]);
    bundled("redact", json!({ "rules": rules }))
}

fn fate(processed: &Processed, index: usize) -> &Disposition {
    &processed.dispositions.iter().find(|(at, _)| *at == index).unwrap().1
}

fn sent(processed: &Processed, index: usize) -> &OutRecord {
    let Disposition::Replace(records) = fate(processed, index) else { panic!("{:?}", fate(processed, index)) };
    &records[0]
}

fn refused(processed: &Processed, index: usize) -> (&str, &str, &str) {
    let Disposition::Reject(reject) = fate(processed, index) else { panic!("{:?}", fate(processed, index)) };
    (&reject.plugin, &reject.code, &reject.text)
}

fn bytes(content: &Content) -> &[u8] {
    let Content::Bytes(bytes) = content else { panic!("{content:?}") };
    bytes
}

#[test]
fn plugins_see_what_is_behind_the_framing_and_the_framing_stays() {
    let person = br#"{"email":"e","n":1}"#;
    let (with_person, key, avro) = (framed(person), framed(b"k"), framed(b"\x06\xff\xfe"));
    let id: (&[u8], Option<&[u8]>) = (HEADER, Some(b"\x00"));
    let rows: [Row<'_>; 7] = [
        (Some(&key), Some(&with_person), &[]),
        (Some(&key), None, &[]),
        (Some(&key), Some(person), &[]),
        (Some(&key), Some(person), &[id]),
        (Some(&key), Some(&with_person), &[id, id]),
        (Some(&key), Some(&avro), &[]),
        (Some(b"k"), Some(&with_person), &[]),
    ];
    let framing = || vec![entry("orders", "value", "confluent"), entry("ord.*", "key", "confluent")];
    let chains = load(vec![redact()], framing());
    let processed = chains.chain().unwrap().apply(batch(&rows), 6).unwrap();
    assert_eq!(bytes(&sent(&processed, 0).value), framed(br#"{"n":1}"#));
    assert_eq!(bytes(&sent(&processed, 3).value), br#"{"n":1}"#);
    // The pseudonym is that of the key without its framing.
    let plain = load(vec![redact()], Vec::new()).chain().unwrap().apply(batch(&[(Some(b"k"), None, &[])]), 6).unwrap();
    for (index, value) in [(0, true), (1, false), (3, true)] {
        let key = bytes(&sent(&processed, index).key);
        assert_eq!(key, framed(bytes(&sent(&plain, 0).key)), "{index}");
        assert_eq!(sent(&processed, index).value != Content::Original, value, "{index}");
    }
    assert_eq!(refused(&processed, 2).0, "strait");
    assert_eq!([2, 4, 6].map(|at| refused(&processed, at).1), ["frame-missing", "frame-header-twice", "frame-missing"]);
    let (plugin, code, text) = refused(&processed, 5);
    assert!(plugin == "redact" && code.starts_with("value-not-") && text.contains("Avro"), "{code} {text}");
    assert!(text.contains("registry (schema 42) is no JSON"), "{text}");
    // What goes to quarantine is the record as it was.
    assert_eq!(processed.batch.get(5).unwrap().value, Some(&avro[..]));
    assert_ne!(chains.digest(), load(vec![redact()], Vec::new()).digest());

    // Without the declaration the reject says what it looks like.
    let undeclared = load(vec![redact()], vec![entry("orders", "value", "none"), entry(".*", "value", "confluent")]);
    let processed = undeclared.chain().unwrap().apply(batch(&rows), 6).unwrap();
    let (_, code, text) = refused(&processed, 0);
    assert!(code == "value-not-json" && text.contains("[[links.values]]"), "{code} {text}");
    assert!(!text.contains("42"), "it may be data: {text}");
}

#[test]
fn filter_and_route_judge_framed_values() {
    let (eu, us) = (framed(br#"{"region":"eu","n":1}"#), framed(br#"{"region":"us","n":1}"#));
    let rows: [Row<'_>; 2] = [(None, Some(&eu), &[]), (None, Some(&us), &[])];
    let filter = bundled("filter", json!({ "keep": "value.region == 'eu'" }));
    let route = bundled("route", json!({ "by": "$.region", "to": "topic", "table": { "eu": "orders-eu" } }));
    let chains = load(vec![filter, route], vec![entry("orders", "value", "confluent")]);
    let processed = chains.chain().unwrap().apply(batch(&rows), 6).unwrap();
    assert_eq!(sent(&processed, 0).topic.as_deref(), Some("orders-eu"));
    assert_eq!(sent(&processed, 0).value, Content::Original);
    assert_eq!(*fate(&processed, 1), Disposition::Drop);
}
