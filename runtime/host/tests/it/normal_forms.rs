//! Names and texts are compared as they are written, code point by code point: `é` in one of them
//! is not `e` with an accent in two. What a rule misses by that, and what holds it back.

use serde_json::{Value, json};
use strait_core::edit::{Content, Disposition, Processed};
use strait_flow::ports::ChainFactory;
use strait_host::TopicNaming;

use crate::support::{Row, batch, bundled, load};

/// The same name for a human, in the forms NFC and NFD, and NFC with an escape.
const COMPOSED: &str = "pr\u{e9}nom";
const DECOMPOSED: &str = "pre\u{301}nom";
const ESCAPED: &str = "pr\\u00e9nom";

fn judged(plugin: &str, config: Value, value: &str, header: &str) -> Processed {
    let headers: [(&[u8], Option<&[u8]>); 1] = [(header.as_bytes(), Some(b"Zoe"))];
    let rows: [Row<'_>; 1] = [(Some(b"k"), Some(value.as_bytes()), &headers)];
    let mut chain = load(vec![bundled(plugin, config)], TopicNaming::Identity).unwrap().chain().unwrap();
    chain.apply(batch(&rows), 6).unwrap()
}

/// Returns how a record with a field and a header of this name leaves: whether the field is still
/// there, whether the header is, or the code of a reject.
fn left(plugin: &str, config: Value, name: &str) -> Result<(bool, bool), String> {
    let value = format!("{{\"{name}\":\"Zoe\",\"n\":1}}");
    let processed = judged(plugin, config, &value, name);
    match processed.dispositions.first() {
        None => Ok((true, true)),
        Some((_, Disposition::Replace(records))) => {
            let value = match &records[0].value {
                Content::Bytes(bytes) => String::from_utf8(bytes.clone()).unwrap(),
                _ => value,
            };
            let headers = records[0].headers.as_ref();
            Ok((value.contains("Zoe"), headers.is_none_or(|headers| !headers.is_empty())))
        }
        Some((_, Disposition::Reject(reject))) => Err(reject.code.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn redact_finds_a_name_in_the_form_that_a_rule_has_and_an_allow_list_removes_the_others() {
    let rule = |fields: &[&str], more: Value| {
        let paths: Vec<String> = fields.iter().map(|name| format!("$.{name}")).collect();
        let mut rule = json!({ "fields": paths, "headers": fields, "with": "remove" });
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "rules": [rule] })
    };
    let plain = rule(&[COMPOSED], json!({}));
    let any_case = rule(&[COMPOSED], json!({ "ignore_case": true }));
    let both = rule(&[COMPOSED, DECOMPOSED], json!({}));
    let both_any_case = rule(&[COMPOSED, DECOMPOSED], json!({ "ignore_case": true }));
    let anywhere = json!({ "rules": [{ "fields": [format!("$..{COMPOSED}")], "with": "remove" }] });
    let removed = Ok((false, false));
    for config in [&plain, &any_case, &both, &both_any_case] {
        assert_eq!(left("redact", config.clone(), COMPOSED), removed, "{config}");
    }
    // An escape is how a character is written, and no other form.
    assert_eq!(left("redact", plain.clone(), ESCAPED), Ok((false, true)));
    // The other form is another name: it passes where only one is named.
    for config in [plain, any_case, anywhere] {
        assert_eq!(left("redact", config.clone(), DECOMPOSED), Ok((true, true)), "{config}");
    }
    for config in [both, both_any_case] {
        assert_eq!(left("redact", config.clone(), DECOMPOSED), removed, "{config}");
    }
    // So does no field with an allow list, which removes what it does not have.
    let kept = json!({ "keep_only": [format!("$.{COMPOSED}"), "$.n"] });
    assert_eq!(left("redact", kept.clone(), COMPOSED), Ok((true, true)));
    assert_eq!(left("redact", kept, DECOMPOSED), Ok((false, true)));
}

#[test]
fn a_pseudonym_and_a_comparison_tell_the_forms_of_a_text_apart() {
    let hashed = |text: &str| {
        let rules = json!({ "rules": [{ "fields": ["$.name"], "with": "sha256" }] });
        let processed = judged("redact", rules, &format!("{{\"name\":\"{text}\"}}"), "h");
        let Some((_, Disposition::Replace(records))) = processed.dispositions.first() else { panic!("{processed:?}") };
        records[0].value.clone()
    };
    assert_eq!(hashed("Zo\u{e9}"), hashed("Zo\\u00e9"));
    assert_ne!(hashed("Zo\u{e9}"), hashed("Zoe\u{301}"));
}

#[test]
fn filter_and_route_miss_another_form_and_hold_it_back_where_missing_is_rejected() {
    let keep = |missing: &str| json!({ "keep": format!("value['{COMPOSED}'] == 'Zoe'"), "missing": missing });
    assert_eq!(left("filter", keep("unmatched"), COMPOSED), Ok((true, true)));
    assert_eq!(left("filter", keep("unmatched"), ESCAPED), Ok((true, true)));
    assert_eq!(left("filter", keep("unmatched"), DECOMPOSED), Err("evaluation".to_owned()));
    // A rule that drops what it knows passes what it does not find, but where that is rejected.
    let drop = |missing: &str| json!({ "drop": format!("value['{COMPOSED}'] == 'Zoe'"), "missing": missing });
    assert_eq!(left("filter", drop("null"), DECOMPOSED), Ok((true, true)));
    assert_eq!(left("filter", drop("unmatched"), DECOMPOSED), Err("evaluation".to_owned()));
    let route = json!({ "by": format!("$.{COMPOSED}"), "to": "topic", "table": { "Zoe": "orders-fr" } });
    assert_eq!(left("route", route.clone(), COMPOSED), Ok((true, true)));
    assert_eq!(left("route", route, DECOMPOSED), Err("unmatched".to_owned()));
}
