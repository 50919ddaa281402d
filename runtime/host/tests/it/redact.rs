//! `redact` through the host: no named field gets past it.

use serde_json::{Value, json};
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

fn apply(config: Value, values: &[Vec<u8>]) -> Processed {
    let rows: Vec<Row<'_>> = values.iter().map(|value| (None, Some(&value[..]), &[][..])).collect();
    let chains = load(vec![bundled("redact", config)], TopicNaming::Identity).unwrap();
    chains.chain().unwrap().apply(batch(&rows), 6).unwrap()
}

/// Returns the value that goes out, or the code of the reject.
fn outcome(processed: &Processed, index: usize, value: &[u8]) -> Result<String, String> {
    let left = match processed.dispositions.iter().find(|(at, _)| *at == index).map(|(_, disposition)| disposition) {
        None => value.to_vec(),
        Some(Disposition::Replace(copies)) => match &copies[0].value {
            Content::Bytes(bytes) => bytes.to_vec(),
            other => panic!("{other:?}"),
        },
        Some(Disposition::Reject(reject)) => return Err(reject.code.to_string()),
        Some(other) => panic!("{other:?}"),
    };
    Ok(String::from_utf8(left).unwrap())
}

#[test]
fn what_an_allow_list_keeps_has_its_bytes_and_rules_apply_to_it() {
    let config = json!({
        "keep_only": ["$.order", "$.lines[*].sku", "$.customer.id"],
        "rules": [
            { "id": "mail", "fields": ["$.order.email"], "with": "mask" },
            { "fields": ["$..customer"], "ignore_case": true, "with": "sha256" },
        ],
    });
    let values: [&[u8]; 6] = [
        br#" { "order" : {"n": 1.50 , "email":"a@b", "t":"\u0041"}, "ssn":"1", "new":{"a":[1]} } "#,
        br#"{"lines":[{"sku":"a","x":1},{"x":2}, null],"secret":1}"#,
        // Its names may be data.
        br#"{"lines":{"z":{"sku":7,"x":1}}}"#,
        // A rule for all of a place of which a part is kept: nothing of it stays.
        br#"{"customer":{"id":1,"name":"eve"},"order":{}}"#,
        br#"{"lines":"[{\"sku\":1}]"}"#,
        br#"{"x":{"order":1}}"#,
    ];
    let values = values.map(<[u8]>::to_vec);
    let processed = apply(config, &values);
    let one = |index: usize| outcome(&processed, index, &values[index]).unwrap_or_else(|code| code);
    let outcomes: Vec<String> = (0..values.len()).map(one).collect();
    assert_eq!(
        outcomes,
        [
            r#" { "order" : {"n": 1.50 , "email":"***", "t":"\u0041"} } "#,
            r#"{"lines":[{"sku":"a"},{}, null]}"#,
            "wrong-shape",
            r#"{"order":{}}"#,
            "wrong-shape",
            "{}",
        ]
    );
}

#[test]
fn a_text_that_is_json_keeps_what_is_not_redacted_in_it() {
    let nested = |levels: usize| format!(r#"{{"p":"{}1{}"}}"#, "[".repeat(levels), "]".repeat(levels));
    let in_texts = |levels: usize, document: &str| {
        let text = |inner: String, _| serde_json::to_string(&inner).unwrap();
        format!(r#"{{"p":{}}}"#, (0..levels).fold(document.to_owned(), text))
    };
    let (ssn, rest) = (r#"{"ssn":1,"x":2}"#, r#"{"x":2}"#);
    let values = [
        r#"{"p":" { \"n\" : 1.50, \"ssn\":\"\\u0041\" , \"t\":\"\\\"\" } ","ssn":1}"#.to_owned(),
        r#"{"p":"{\"q\":\"{\\\"ssn\\\":1,\\\"x\\\":2}\"}"}"#.to_owned(),
        in_texts(2, ssn),
        in_texts(8, ssn),
        in_texts(9, ssn),
        // Twice, the second in another way of writing.
        r#"{"p":"{\"ssn\":1,\"s\\u0073n\":2}"}"#.to_owned(),
        r#"{"p":"{\"\\ud800\":1}"}"#.to_owned(),
        r#"{"p":"\ud800"}"#.to_owned(),
        nested(100),
        nested(200),
        r#"{"p":"[INFO] {name}","q":"{\"x\":1}{\"x\":2}","r":"C:\\ssn"}"#.to_owned(),
    ]
    .map(String::into_bytes);
    let outcomes = |embedded: Value, values: &[Vec<u8>]| -> Vec<String> {
        let config = json!({ "rules": [{ "fields": ["$..ssn"], "with": "remove" }], "embedded": embedded });
        let processed = apply(config, values);
        let one = |index: usize| outcome(&processed, index, &values[index]).unwrap_or_else(|code| code);
        (0..values.len()).map(one).collect()
    };
    let same = |index: usize| String::from_utf8(values[index].clone()).unwrap();
    let redacted = [
        r#"{"p":" { \"n\" : 1.50, \"t\":\"\\\"\" } "}"#.to_owned(),
        r#"{"p":"{\"q\":\"{\\\"x\\\":2}\"}"}"#.to_owned(),
        in_texts(2, rest),
        in_texts(8, rest),
        "not-judged".to_owned(),
        r#"{"p":"{}"}"#.to_owned(),
        "not-judged".to_owned(),
        "value-not-json".to_owned(),
        same(8),
        "not-judged".to_owned(),
        same(10),
    ];
    assert_eq!(outcomes(json!("redact"), &values), redacted);
    let rejected = |index| matches!(index, 0..=3 | 5);
    let expected: Vec<String> = (0..values.len())
        .map(|index| if rejected(index) { "embedded-json".to_owned() } else { redacted[index].clone() })
        .collect();
    assert_eq!(outcomes(json!("reject"), &values), expected);
}

#[test]
fn a_text_in_which_a_lenient_reader_could_find_a_field_does_not_pass() {
    let texts = [
        "{\"ssn\":1}{\"ssn\":2}",
        "{\"x\":1}\n{\"ssn\":2}\n",
        "{\"ssn\":NaN}",
        "{\"ssn\":-Infinity}",
        "\u{feff}{\"ssn\":1}",
        "\u{a0}{\"ssn\":1}",
        "\u{c}{\"ssn\":1}",
        "\u{1e}{\"ssn\":1}\n",
        "{\"ssn\":1,}",
        "{\"ssn\":1",
        "{ssn:1}",
        "{'ssn':1}",
        "// a comment\n{\"ssn\":1}",
        ")]}',\n{\"ssn\":1}",
        "callback({\"ssn\":1})",
        "{\"ssn\":01}",
        "{\"ssn\":\"\t\"}",
        "{\"\\x73sn\":1}",
        "'{\\x22ssn\\x22:1}'",
        "\"{\\\"ssn\\\":NaN}\"",
        "{\"q\":\"{\\\"ssn\\\":NaN}\"}",
        "[INFO] payload={\"ssn\":1}",
    ];
    let values: Vec<Vec<u8>> = texts.iter().map(|text| json!({ "p": text, "q": 1 }).to_string().into_bytes()).collect();
    for embedded in ["redact", "reject"] {
        for any_case in [false, true] {
            let rule = json!({ "fields": ["$..ssn"], "with": "remove", "ignore_case": any_case });
            let processed = apply(json!({ "rules": [rule], "embedded": embedded }), &values);
            for (index, text) in texts.iter().enumerate() {
                let found = outcome(&processed, index, &values[index]);
                assert_eq!(found, Err("embedded-json".to_owned()), "{embedded}: {text}");
            }
        }
    }
}

#[test]
fn a_reject_names_the_rule_by_the_name_that_the_operator_gave_it() {
    let rule = json!({ "id": "card", "fields": ["$.card"], "with": "sha256" });
    let values = [r#"{"card":{"n":4111,"n":1}}"#.as_bytes().to_vec(), b"4111".to_vec()];
    let processed = apply(json!({ "rules": [{ "key": true, "with": "sha256" }, rule] }), &values);
    let rules: Vec<Option<&str>> = processed
        .dispositions
        .iter()
        .map(|(_, disposition)| match disposition {
            Disposition::Reject(reject) => reject.rule.as_deref(),
            other => panic!("{other:?}"),
        })
        .collect();
    // The other one is not about a rule.
    assert_eq!(rules, [Some("card"), None]);
}
