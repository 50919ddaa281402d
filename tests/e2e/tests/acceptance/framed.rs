//! Values with the framing of a schema registry: JSON behind it is filtered and redacted, the five
//! bytes arrive as they were, and what is no JSON goes to quarantine as it was.

use strait_e2e::{Isolation, Record};

use crate::support::{Pair, Turn, copy, key_range, keys, link, numbered};

fn framed(content: &str) -> Vec<u8> {
    [&[0, 0, 0, 0, 42][..], content.as_bytes()].concat()
}

#[test]
fn framed_json_is_redacted_behind_its_five_bytes_and_other_formats_go_to_quarantine() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    pair.at_source().create_topic("framed", 1, &[]).unwrap();
    let mut records = numbered(0, 0, 20);
    for record in &mut records {
        record.value = Some(framed(r#"{"region":"eu","email":"canary@example.org"}"#));
    }
    records[5].value = Some(framed(r#"{"region":"us","email":"canary@example.org"}"#));
    records[6].value = None;
    records[7].value = Some(framed("\u{6}canary as Avro"));
    records[8].value = Some(br#"{"region":"eu","email":"canary without framing"}"#.to_vec());
    pair.at_source().write("framed", &records).unwrap();
    let config = pair.config(&link(
        "framed",
        &["framed"],
        1,
        "[[links.values]]\ntopics = [\"fra.*\"]\nframe = \"confluent\"\n\
         [[links.plugins]]\nplugin = \"filter\"\nconfig = { keep = \"value.region == 'eu'\" }\n\
         [[links.plugins]]\nplugin = \"redact\"\nconfig = { rules = [{ fields = [\"$.email\"], with = \"remove\" }] }\n",
    ));
    copy(&config);

    let copies = pair.at_target().read_records("source.framed", Isolation::Committed).unwrap();
    let kept: Vec<String> =
        key_range(0, 20).into_iter().filter(|key| !["5", "7", "8"].contains(&key.as_str())).collect();
    assert_eq!(keys(&copies, 0), kept);
    for copy in copies {
        let is_tombstone = copy.key.as_deref() == Some(b"6");
        assert_eq!(copy.value, (!is_tombstone).then(|| framed(r#"{"region":"eu"}"#)));
    }
    let refused = pair.at_source().read_records("strait.framed.quarantine", Isolation::Committed).unwrap();
    let header = |record: &Record, name: &[u8]| {
        let found = record.headers.iter().rev().find(|(found, _)| found == name);
        String::from_utf8(found.unwrap().1.clone().unwrap()).unwrap()
    };
    let told: Vec<[String; 2]> =
        refused.iter().map(|record| [header(record, b"strait-plugin"), header(record, b"strait-code")]).collect();
    assert_eq!(told, [["filter", "not-judged"], ["strait", "frame-missing"]]);
    let as_they_were: Vec<_> = refused.iter().map(|record| record.value.clone()).collect();
    assert_eq!(as_they_were, [records[7].value.clone(), records[8].value.clone()]);
}
