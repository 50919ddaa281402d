//! Values with many places of fields, and large ones.

use serde_json::json;
use strait_flow::ports::ChainFactory;
use strait_host::TopicNaming;

use crate::fields::{copies, value, values};
use crate::support::guest::{Guest, Process};
use crate::support::{batch, bundled, fates, file, load};

#[test]
fn values_that_are_read_again_are_those_of_the_same_record() {
    // Far more places than the host remembers of a batch.
    let documents: Vec<String> = (1_000..1_120).map(|n| format!("[{}{n}]", format!("{n},").repeat(9_999))).collect();
    let rows: Vec<Option<&[u8]>> = documents.iter().map(|document| Some(document.as_bytes())).collect();
    // Each replaces an element of the first record of each of its calls.
    let guest = |occurrence: u32| Guest {
        columns: vec![8],
        fields: vec!["$[*]"],
        process: Process::Edits(vec![0, 3, occurrence, 1], b"7".to_vec()),
        ..Guest::default()
    };
    let plugins = [0, 1].map(|occurrence| file(&guest(occurrence).wasm(), |spec| spec.limits.process_ms_max = 20_000));
    let chains = load(plugins.into(), TopicNaming::Identity).unwrap();
    let processed = chains.chain().unwrap().apply(batch(&values(&rows)), 6).unwrap();
    let (dropped, rejected, changed) = fates(&processed);
    assert_eq!((dropped, rejected, changed.first()), (vec![], vec![], Some(&0)));
    for index in changed {
        let text = value(&copies(&processed, index)[0]);
        let own = (1_000 + index).to_string();
        let elements: Vec<&str> = text.trim_matches(['[', ']']).split(',').collect();
        let edited = elements.iter().filter(|element| **element == "7").count();
        assert!((1..=2).contains(&edited) && elements.len() == 10_000, "{index}: {edited} of {}", elements.len());
        assert!(
            elements.iter().enumerate().all(|(at, element)| *element == own || *element == "7" && at < 2),
            "{index}"
        );
    }
}

#[test]
fn a_field_deep_in_a_large_document_does_not_make_it_too_large() {
    let blob = "x".repeat(1_500_000);
    let document = format!(r#"{{"a":{{"b":{{"c":{{"email":"eve","blob":"{blob}"}}}}}}}}"#);
    let plugin = bundled("redact", json!({"rules": [{"fields": ["$.a.b.c.email"], "with": "null"}]}));
    let chains = load(vec![plugin], TopicNaming::Identity).unwrap();
    let processed = chains.chain().unwrap().apply(batch(&values(&[Some(document.as_bytes())])), 6).unwrap();
    assert_eq!(fates(&processed), (vec![], vec![], vec![0]));
    assert!(value(&copies(&processed, 0)[0]) == document.replace("\"eve\"", "null"));
}
