//! The claims of chains, and how a weaker configuration of the bundled redactor shows in them.

use serde_json::{Value, json};
use strait_core::protects::{Protection, loosened};
use strait_flow::ports::ChainFactory as _;
use strait_host::TopicNaming;

use crate::support::{bundled, load};

fn protection(rules: &Value) -> Protection {
    let chains = load(vec![bundled("redact", json!({ "rules": rules }))], TopicNaming::Identity).unwrap();
    let protection = chains.chain().unwrap().protection("orders", 6).unwrap();
    assert!(protection.unread == 0 && protection.sights.is_empty(), "{protection:?}");
    protection
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
        (1, json!({ "fields": ["$.Tax"], "with": "mask", "keep": 2 })),
        (1, json!({ "fields": ["$.Tax"], "ignore_case": true, "with": "mask", "keep": 3 })),
        (2, json!({ "headers": ["x-user-id"], "with": "remove" })),
        (2, json!({ "header_prefixes": ["x-user-id"], "with": "remove" })),
        (3, json!({ "key": true, "with": "hmac", "secret": "another secret of 30 characters", "domain": "d" })),
        (3, json!({ "key": true, "with": "hmac", "secret": secret, "domain": "e" })),
        (3, json!({ "key": true, "with": "sha256" })),
        (4, json!({ "fields": ["$.name"], "with": "truncate", "length": 4 })),
    ] {
        assert!(!replaced(index, Some(weaker.clone())).is_empty(), "{weaker}");
    }
    for (index, stronger) in [
        (0, json!({ "fields": ["$.ssn", "$.other"], "with": "remove" })),
        (0, json!({ "fields": ["$..ssn"], "with": "remove" })),
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
