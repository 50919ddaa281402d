//! The claims of chains, and how a weaker configuration of the bundled redactor shows in them.

use serde_json::{Value, json};
use strait_core::edit::{Content, Disposition};
use strait_core::protects::{Protection, loosened};
use strait_flow::ports::ChainFactory as _;
use strait_host::TopicNaming;

use crate::support::{Row, batch, bundled, load};

fn protection(rules: &Value) -> Protection {
    let protection = protection_of(json!({ "rules": rules }));
    assert!(protection.unread == 0 && protection.sights.is_empty(), "{protection:?}");
    protection
}

fn protection_of(config: Value) -> Protection {
    let chains = load(vec![bundled("redact", config)], TopicNaming::Identity).unwrap();
    chains.chain().unwrap().protection("orders", 6).unwrap()
}

#[test]
fn each_weaker_rule_of_the_redactor_is_a_loosening_and_a_stronger_or_equal_one_is_none() {
    let secret = "0123456789abcdef0123456789abcdef";
    let ssn = json!({ "fields": ["$.ssn"], "with": "remove" });
    let any = json!({ "fields": ["$.Tax"], "ignore_case": true, "with": "mask", "keep": 2 });
    let users = json!({ "header_prefixes": ["x-user-"], "with": "remove" });
    let key = json!({ "key": true, "with": "hmac", "secret": secret, "domain": "d" });
    let cut = json!({ "fields": ["$.name"], "with": "truncate", "length": 3 });
    let all = json!([ssn, any, users, key, cut]);
    let before = protection(&all);
    assert_eq!(before.claims.len(), 5);
    let replaced = |index: usize, rule: Option<Value>| {
        let mut rules = all.as_array().unwrap().clone();
        match rule {
            Some(rule) => rules[index] = rule,
            None => drop(rules.remove(index)),
        }
        loosened(&before, &protection(&Value::from(rules)))
    };
    for index in 0..5 {
        assert!(!replaced(index, None).is_empty(), "rule {index} is gone");
    }
    for (index, weaker) in [
        (0, json!({ "fields": ["$.ssn"], "with": "mask", "keep": 6 })),
        (0, json!({ "fields": ["$.ssn"], "with": "sha256" })),
        (0, json!({ "fields": ["$.ssn.number"], "with": "remove" })),
        // A document that is no object is rejected only where the path steps.
        (0, json!({ "fields": ["$..ssn"], "with": "remove" })),
        (1, json!({ "fields": ["$.Tax"], "with": "mask", "keep": 2 })),
        (1, json!({ "fields": ["$.Tax"], "ignore_case": true, "with": "mask", "keep": 3 })),
        (2, json!({ "headers": ["x-user-id"], "with": "remove" })),
        (2, json!({ "header_prefixes": ["x-user-id"], "with": "remove" })),
        (3, json!({ "key": true, "with": "hmac", "secret": "another secret of 30 characters", "domain": "d" })),
        (3, json!({ "key": true, "with": "hmac", "secret": secret, "domain": "e" })),
        (3, json!({ "key": true, "with": "sha256" })),
        (
            3,
            json!({ "key": true, "with": "hmac", "secret": "another secret of 30 characters", "domain": "d", "key_id": "k1" }),
        ),
        (4, json!({ "fields": ["$.name"], "with": "truncate", "length": 4 })),
    ] {
        assert!(!replaced(index, Some(weaker.clone())).is_empty(), "{weaker}");
    }
    for (index, stronger) in [
        (0, json!({ "fields": ["$.ssn", "$.other"], "with": "remove" })),
        (1, json!({ "fields": ["$.tax"], "ignore_case": true, "with": "constant", "value": "x" })),
        (2, json!({ "header_prefixes": ["x-"], "with": "remove" })),
        (4, json!({ "fields": ["$.name"], "with": "null" })),
    ] {
        assert_eq!(replaced(index, Some(stronger.clone())), [], "{stronger}");
    }
    let mut turned = all.as_array().unwrap().clone();
    turned.reverse();
    assert_eq!(loosened(&before, &protection(&Value::from(turned))), []);
}

#[test]
fn a_rule_claims_nothing_of_what_an_earlier_rule_takes_first() {
    let remove = json!({ "fields": ["$.email"], "with": "remove" });
    let before = protection(&json!([remove]));
    let mask = json!({ "fields": ["$..email"], "with": "mask", "keep": 4 });
    assert!(!loosened(&before, &protection(&json!([mask, remove]))).is_empty(), "the mask comes first");
    assert_eq!(loosened(&before, &protection(&json!([remove, mask]))), []);
    let around = json!({ "fields": ["$.customer"], "with": "sha256" });
    let inner = json!({ "fields": ["$.customer.email"], "with": "remove" });
    let removed = protection(&json!([inner]));
    assert!(!loosened(&removed, &protection(&json!([inner, around]))).is_empty(), "a digest of it stays");
}

#[test]
fn a_rule_that_ignores_case_hides_no_other_one_behind_it() {
    let before = protection(&json!([{ "fields": ["$.Email"], "with": "remove" }]));
    let mask = json!({ "fields": ["$.Email"], "ignore_case": true, "with": "mask", "keep": 4 });
    let after = protection(&json!([mask, { "fields": ["$.Email"], "with": "remove" }]));
    assert!(!loosened(&before, &after).is_empty(), "the mask comes first: {after:?}");
    let before = protection(&json!([{ "headers": ["X-User"], "with": "remove" }]));
    let cut = json!({ "header_prefixes": ["x-"], "ignore_case": true, "with": "truncate", "length": 5 });
    let after = protection(&json!([cut, { "headers": ["X-User"], "with": "remove" }]));
    assert!(!loosened(&before, &after).is_empty(), "{after:?}");
    // The pseudonym of all that is around it stays.
    let before = protection(&json!([{ "fields": ["$.Customer.email"], "with": "remove" }]));
    let around = json!({ "fields": ["$.customer"], "ignore_case": true, "with": "sha256" });
    let after = protection(&json!([{ "fields": ["$.Customer.email"], "with": "remove" }, around]));
    assert!(!loosened(&before, &after).is_empty(), "{after:?}");
}

#[test]
fn many_rules_are_all_held_or_refused_and_lenient_shapes_hold_the_places() {
    let headers = |count: usize| -> Value {
        (0..count).map(|n| json!({ "headers": [format!("h{n:03}")], "with": "remove" })).collect()
    };
    let all = protection(&headers(200));
    for gone in [0, 100, 199] {
        let mut rules = headers(200).as_array().unwrap().clone();
        rules.remove(gone);
        assert_eq!(loosened(&all, &protection(&Value::from(rules))).len(), 1, "rule {gone}");
    }
    assert_eq!(loosened(&protection(&headers(199)), &all), [], "one more");
    let names: Vec<String> = (0..2_000).map(|n| format!("$.a_field_with_a_long_name_{n:04}")).collect();
    let too_many = json!({ "rules": [{ "fields": names, "ignore_case": true, "with": "remove" }] });
    let error = load(vec![bundled("redact", too_many)], TopicNaming::Identity).unwrap_err().to_string();
    assert!(error.contains("can be held") || error.contains("maxItems") || error.contains("256"), "{error}");

    let lenient =
        |field: &str| protection_of(json!({ "rules": [{ "fields": [field], "with": "remove" }], "shapes": "lenient" }));
    assert!(!loosened(&lenient("$.ssn"), &lenient("$.other")).is_empty());
    assert_eq!(loosened(&lenient("$.ssn"), &lenient("$.ssn")), []);
}

#[test]
fn a_longer_allow_list_is_a_loosening_and_a_shorter_one_is_none() {
    let ssn = json!([{ "fields": ["$.ssn"], "with": "remove" }]);
    let list = protection_of(json!({ "keep_only": ["$.order", "$.a.b"] }));
    for weaker in [
        json!({ "keep_only": ["$.order", "$.a.b", "$.c"] }),
        json!({ "keep_only": ["$.order", "$.a"] }),
        json!({ "keep_only": ["$[*]"] }),
        json!({ "rules": ssn }),
    ] {
        assert!(!loosened(&list, &protection_of(weaker.clone())).is_empty(), "{weaker}");
    }
    for stronger in [
        json!({ "keep_only": ["$.order", "$.a.b"] }),
        json!({ "keep_only": ["$.order.id"] }),
        json!({ "keep_only": ["$.order"], "rules": [{ "fields": ["$.order.x"], "with": "null" }] }),
    ] {
        assert_eq!(loosened(&list, &protection_of(stronger.clone())), [], "{stronger}");
    }
    // What a rule removed is gone with the list too, unless the list keeps it.
    let rule = protection_of(json!({ "rules": ssn }));
    assert_eq!(loosened(&rule, &list), []);
    assert!(!loosened(&rule, &protection_of(json!({ "keep_only": ["$.ssn"] }))).is_empty());
    assert_eq!(loosened(&rule, &protection_of(json!({ "keep_only": ["$.ssn"], "rules": ssn }))), []);
}

#[test]
fn looking_into_texts_is_claimed_and_to_stop_it_is_a_loosening() {
    let protection = |embedded: Option<&str>, rules: Value| -> Protection {
        let mut config = json!({ "rules": rules });
        if let Some(embedded) = embedded {
            config["embedded"] = embedded.into();
        }
        protection_of(config)
    };
    let ssn = json!([{ "fields": ["$.p.ssn"], "with": "remove" }]);
    let of = |embedded| protection(embedded, ssn.clone());
    let is_looser = |before, after| !loosened(&of(before), &of(after)).is_empty();
    assert!(is_looser(Some("redact"), None) && is_looser(Some("reject"), None));
    assert!(!is_looser(None, Some("redact")) && !is_looser(None, Some("reject")));
    assert!(is_looser(Some("reject"), Some("redact")) && !is_looser(Some("redact"), Some("reject")));
    // The last characters of a text around it may be any of those inside.
    let around = json!([{ "fields": ["$.p"], "with": "mask", "keep": 4 }, ssn[0]]);
    let refused =
        load(vec![bundled("redact", json!({ "rules": around, "embedded": "redact" }))], TopicNaming::Identity);
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("the rule keeps a part of $['p'], and rule 1 names $['p']['ssn']"), "{error}");
    // A part of another text is none of it: a record in which it could be does not pass.
    let anywhere = json!({ "fields": ["$..ssn"], "with": "remove" });
    let with_card = json!([{ "fields": ["$.card"], "with": "mask", "keep": 4 }, anywhere]);
    let before = protection(Some("redact"), json!([anywhere]));
    assert_eq!(loosened(&before, &protection(Some("redact"), with_card)), []);
}

/// Long paths of 60 fields are more text than one answer of a guest had room for.
#[test]
fn sixty_fields_of_the_redactor_are_planned_claimed_and_removed() {
    let name = |number: usize| format!("field_number_{number:02}");
    let paths: Vec<String> =
        (0..60).map(|number| format!("$.payload.after.customer.contact_details.{}", name(number))).collect();
    let config = json!({ "rules": [{ "fields": paths, "with": "remove" }] });
    assert_eq!(protection_of(config.clone()).claims.len(), 60);
    let members: Vec<String> = (0..60).map(|number| format!("\"{}\":{number}", name(number))).collect();
    let details =
        |members: &str| format!(r#"{{"payload":{{"after":{{"customer":{{"contact_details":{{{members}}}}}}}}}}}"#);
    let (value, kept) = (details(&members.join(",")), details(""));
    let rows: [Row<'_>; 1] = [(None, Some(value.as_bytes()), &[])];
    let chains = load(vec![bundled("redact", config)], TopicNaming::Identity).unwrap();
    let processed = chains.chain().unwrap().apply(batch(&rows), 6).unwrap();
    let [(0, Disposition::Replace(copies))] = processed.dispositions.as_slice() else { panic!("{processed:?}") };
    assert_eq!(copies[0].value, Content::Bytes(kept.into_bytes()));
}
