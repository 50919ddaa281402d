//! `redact` through the host: no named field gets past it.

use serde_json::json;
use strait_core::batch::Batch;
use strait_core::edit::{Content, Disposition, OutRecord, Processed, Route};
use strait_corpus::{SECRET, corpus, leaks, rules};
use strait_flow::ports::ChainFactory;
use strait_host::{PluginSpec, TopicNaming};

use crate::support::{Row, batch, bundled, load};

/// Returns everything of a record that goes out: nothing if it is dropped or rejected.
fn leaving<'a>(batch: &'a Batch, processed: &'a Processed, index: usize) -> Vec<(Vec<u8>, Option<&'a OutRecord>)> {
    let original = batch.get(index).unwrap();
    let found = processed.dispositions.iter().find(|(i, _)| *i == index);
    let parts = |record: Option<&OutRecord>| {
        let mut all = Vec::new();
        let resolve = |content: Option<&Content>, original: Option<&[u8]>| {
            content.map_or(original, |content| content.resolve(original)).unwrap_or_default().to_vec()
        };
        all.extend(resolve(record.map(|r| &r.key), original.key));
        all.extend(resolve(record.map(|r| &r.value), original.value));
        match record.and_then(|r| r.headers.as_ref()) {
            Some(headers) => headers.iter().for_each(|(_, value)| all.extend(value.iter().flatten())),
            None => original.headers.iter().for_each(|header| all.extend(header.value.unwrap_or_default())),
        }
        all
    };
    match found {
        None => vec![(parts(None), None)],
        Some((_, Disposition::Replace(records))) => {
            records.iter().map(|record| (parts(Some(record)), Some(record))).collect()
        }
        Some(_) => vec![],
    }
}

fn verdict(processed: &Processed, index: usize) -> &'static str {
    match processed.dispositions.iter().find(|(i, _)| *i == index) {
        None => "untouched",
        Some((_, Disposition::Reject(_))) => "rejected",
        Some((_, Disposition::Replace(_))) => "redacted",
        Some(_) => "other",
    }
}

/// Sends the corpus through a chain and checks that nothing leaks.
fn run(plugins: Vec<PluginSpec>, any_case: bool) {
    let trials = corpus(any_case);
    let secret = Some(SECRET.as_bytes());
    let headers: [(&[u8], Option<&[u8]>); 3] = [(b"x-user", secret), (b"x-id", secret), (b"trace", Some(b"t"))];
    let rows: Vec<Row<'_>> =
        trials.iter().map(|trial| (Some(&b"SECRET-key"[..]), Some(&*trial.value), &headers[..])).collect();
    let originals = batch(&rows);
    let processed = load(plugins, TopicNaming::Identity).unwrap().chain().unwrap().apply(batch(&rows), 6).unwrap();
    for (index, trial) in trials.iter().enumerate() {
        let name = &trial.name;
        assert_eq!(
            verdict(&processed, index),
            trial.expect,
            "{name}: {:?}",
            processed.dispositions.iter().find(|(i, _)| *i == index)
        );
        for (bytes, record) in leaving(&originals, &processed, index) {
            assert!(!leaks(&bytes), "{name}: {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(4_000)]));
            let Some(Content::Bytes(value)) = record.map(|record| &record.value) else {
                panic!("{name}: the value is as it was");
            };
            serde_json::from_slice::<serde::de::IgnoredAny>(value).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        if let Some((_, Disposition::Reject(reject))) = processed.dispositions.iter().find(|(i, _)| *i == index) {
            assert!(!leaks(reject.text.as_bytes()), "{name}: {reject:?}");
        }
    }
}

#[test]
fn hostile_json_is_redacted_or_rejected() {
    run(vec![bundled("redact", rules(false))], false);
}

#[test]
fn hostile_json_is_redacted_or_rejected_in_any_case() {
    run(vec![bundled("redact", rules(true))], true);
}

#[test]
fn a_route_before_it_does_not_bypass_it() {
    let route = json!({"by": "key", "to": "topic", "hash": {"topics": 3, "name": "elsewhere-{n}"}});
    run(vec![bundled("route", route), bundled("redact", rules(false))], false);
}

#[test]
fn a_filter_after_it_sees_the_redacted_record() {
    let filter = json!({"drop": "value.customer.email == 'SECRET@x.org' || key == 'SECRET-key'", "missing": "null"});
    run(vec![bundled("redact", rules(false)), bundled("filter", filter)], false);
}

#[test]
fn fields_that_are_not_named_keep_their_bytes_and_tombstones_pass() {
    let config = json!({"rules": [
        {"fields": ["$.customer.email", "$.list[*].a"], "with": "mask", "keep": 2},
        {"fields": ["$..gone"], "with": "remove"},
        {"key": true, "with": "hmac", "secret": "0123456789abcdef"},
    ]});
    let document =
        br#" { "customer" : {"email":"a\u0062cd" , "n" : 1.50 } ,"gone":1, "list":[{"a":1234},{"b":"\/"}]} "#;
    let rows: [Row<'_>; 3] = [(Some(b"k"), Some(document), &[]), (Some(b"k"), None, &[]), (None, None, &[])];
    let processed = load(vec![bundled("redact", config)], TopicNaming::Identity)
        .unwrap()
        .chain()
        .unwrap()
        .apply(batch(&rows), 6)
        .unwrap();
    let [(0, Disposition::Replace(first)), (1, Disposition::Replace(second))] = processed.dispositions.as_slice()
    else {
        panic!("{processed:?}");
    };
    let expected = br#" { "customer" : {"email":"**cd" , "n" : 1.50 }, "list":[{"a":"**34"},{"b":"\/"}]} "#;
    let Content::Bytes(value) = &first[0].value else { panic!("{first:?}") };
    assert_eq!(String::from_utf8_lossy(value), String::from_utf8_lossy(expected));
    assert_eq!((&first[0].key, &first[0].route), (&second[0].key, &Route::Keep));
    assert_eq!(second[0].value, Content::Original);
}
