//! Records in, edits out.

use strait_plugin_sdk::testing::{TestRecord, Tester, take_counts};

use super::*;

mod random;

const SECRET: &str = "0123456789abcdef";

fn redact(config: serde_json::Value) -> Tester<Redact> {
    Tester::new(&config.to_string()).unwrap()
}

/// Returns whether the only record is rejected with this code, by whatever rule.
fn is_reject(lines: &[String], code: u32) -> bool {
    let Some((reject, rule)) = lines.split_last() else { return false };
    reject.starts_with(&format!("0 reject {code} = "))
        && rule.len() <= 1
        && rule.iter().all(|line| line.starts_with("0 rule "))
}

fn refused(rule: serde_json::Value) -> Vec<String> {
    let config = serde_json::json!({ "rules": [rule] }).to_string();
    let Err(problems) = Tester::<Redact>::new(&config) else { return vec![] };
    problems.lines().map(|line| line.split(':').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn only_what_the_rules_name_is_requested() {
    let keys = redact(serde_json::json!({"rules": [{"key": true, "with": "sha256"}]}));
    assert_eq!((keys.columns(), keys.effects()), (&[3, 4][..], effect::KEY));

    let headers = redact(serde_json::json!({"rules": [{"headers": ["x-user", "x-ip", "x-user"], "with": "remove"}]}));
    assert_eq!(headers.headers(), Some(&[b"x-ip".to_vec(), b"x-user".to_vec()][..]));
    assert_eq!(headers.effects(), effect::HEADER);
    let prefixed = redact(serde_json::json!({"rules": [{"header_prefixes": ["x-"], "with": "remove"}]}));
    assert_eq!(prefixed.headers(), None);

    let rules = serde_json::json!([{"fields": ["$.customer.email", "$.contacts[*].email", "$.customer.email"], "with": "null"}]);
    let lenient = redact(serde_json::json!({"rules": rules, "shapes": "lenient"}));
    assert_eq!(lenient.fields(), ["$['customer']['email']", "$['contacts'][*]['email']"]);
    assert_eq!(lenient.columns(), [7, 8, 9, 10]);
    // The host judges the shapes around them.
    let strict = redact(serde_json::json!({"rules": rules}));
    assert_eq!((strict.fields(), strict.columns()), (lenient.fields(), lenient.columns()));
    let overlapping =
        redact(serde_json::json!({"rules": [{"fields": ["$.a", "$..b"], "with": "null"}], "shapes": "lenient"}));
    assert_eq!(overlapping.columns(), [7, 8, 9, 10, 11]);
}

#[test]
fn fields_headers_and_the_key_are_edited_in_place() {
    let mut tester = redact(serde_json::json!({
        "rules": [
            {"fields": ["$.email"], "with": "mask", "keep": 4},
            {"fields": ["$.ssn", "$.tags[*]"], "with": "remove"},
            {"fields": ["$.name"], "with": "hmac", "secret": SECRET, "prefix": "n:", "encoding": "base64url"},
            {"headers": ["x-user"], "with": "truncate", "length": 1},
            {"headers": ["x-ip"], "with": "null"},
            {"header_prefixes": ["auth"], "with": "remove"},
            {"key": true, "with": "hmac", "secret": SECRET},
        ],
        "shapes": "lenient",
    }));
    let records = [
        TestRecord::new()
            .key("k")
            .value("{…}")
            .field(0, "/email", r#""a@b.com""#)
            .field(1, "/ssn", "7")
            .field(2, "/tags/0", "1")
            .field(2, "/tags/1", "null")
            .field(3, "/name", r#""Ann""#)
            .header("x-user", Some(b"ann"))
            .header("other", Some(b"o"))
            .header("x-ip", Some(b"10.0.0.1"))
            .header("x-user", None)
            .header("authorization", None)
            .header("auth", Some(b"")),
        TestRecord::new(),
        TestRecord::new().key("k").value("{}"),
        TestRecord::new().key(""),
    ];
    let lines = tester.process(&records).unwrap();
    let (name, key) = (lines[4].as_str(), lines[9].as_str());
    assert_eq!(
        lines[..10],
        [
            r#"0 field 0 = "***.com""#,
            "0 field 1 = null",
            "0 field 2 = null",
            "0 field 3 = null",
            name,
            "0 header 0 = a",
            "0 header 2 = null",
            "0 remove header 4",
            "0 remove header 5",
            key,
        ]
    );
    assert!(name.starts_with("0 field 4 = \"n:") && name.len() == "0 field 4 = \"n:\"".len() + 43, "{name}");
    // The same key has the same pseudonym; a null key stays null.
    let of_key: Vec<_> = lines[9..].iter().map(|line| line.split_once(" key = ").unwrap()).collect();
    assert_eq!(of_key.iter().map(|(record, _)| *record).collect::<Vec<_>>(), ["0", "2", "3"]);
    assert_eq!((of_key[0].1, of_key[0].1.len()), (of_key[1].1, 64));
    assert_ne!(of_key[0].1, of_key[2].1);
    // By rule: a null field or header counts as found, a null key does not.
    assert_eq!(take_counts(), [(0, 1), (1, 3), (2, 1), (3, 2), (4, 1), (5, 2), (6, 3)]);
}

#[test]
fn unjudgeable_values_are_rejected_and_tombstones_pass() {
    let mut tester = redact(
        serde_json::json!({"rules": [{"fields": ["$.a"], "with": "hmac", "secret": SECRET}, {"key": true, "with": "sha256"}]}),
    );
    let states = [
        ValueState::Empty,
        ValueState::NotJson,
        ValueState::NotUtf8,
        ValueState::TrailingBytes,
        ValueState::DuplicateName,
        ValueState::TooLarge,
        ValueState::WrongShape,
        ValueState::Unknown,
    ];
    let records: Vec<_> = states.iter().map(|state| TestRecord::new().key("k").value("{}").state(*state)).collect();
    let lines = tester.process(&records).unwrap();
    assert_eq!(lines.len(), states.len());
    for (index, line) in lines.iter().enumerate() {
        assert!(line.starts_with(&format!("{index} reject 0 = ")), "{line}");
    }
    let lines = tester.process(&[TestRecord::new().key("k")]).unwrap();
    assert!(lines.len() == 1 && lines[0].starts_with("0 key = "), "{lines:?}");
    let half = TestRecord::new().value("{}").field(0, "/a", r#""secret\udc00""#);
    let lines = tester.process(&[half]).unwrap();
    // The rule is named by its counter.
    assert!(is_reject(&lines, 0) && lines[0] == "0 rule 0" && !lines[1].contains("secret"), "{lines:?}");
}

#[test]
fn the_outer_place_wins_then_the_first_rule() {
    let mut tester = redact(serde_json::json!({
        "rules": [
            {"fields": ["$.a.b"], "with": "null"},
            {"fields": ["$.a"], "with": "sha256"},
            {"fields": ["$..b"], "with": "remove"},
        ],
        "shapes": "lenient",
    }));
    let inside = TestRecord::new()
        .value("{…}")
        .field(0, "/a/b", "1")
        .field(1, "/a", r#"{"b":1}"#)
        .field(2, "/a/b", "1")
        .field(2, "/a-z/b", "1")
        .field(2, "/ab/b", "2");
    let lines = tester.process(&[inside]).unwrap();
    assert!(lines.len() == 3 && lines[0].starts_with("0 field 1 = \""), "{lines:?}");
    assert_eq!(lines[1..], ["0 field 3 = null", "0 field 4 = null"]);

    let mut tester = redact(serde_json::json!({
        "rules": [{"fields": ["$.a.b"], "with": "constant", "value": 7}, {"fields": ["$..b"], "with": "remove"}],
        "shapes": "lenient",
    }));
    let same = TestRecord::new().value("{…}").field(0, "/a/b", "1").field(1, "/a/b", "1").field(1, "/b", "1");
    assert_eq!(tester.process(&[same]).unwrap(), ["0 field 0 = 7", "0 field 2 = null"]);
}

#[derive(serde::Deserialize)]
struct Vectors {
    pseudonyms: Vec<Vector>,
}

#[derive(serde::Deserialize)]
struct Vector {
    secret: String,
    domain: String,
    json: Option<String>,
    bytes: Option<String>,
    prefix: String,
    key_id: String,
    hex: String,
    base64url: String,
}

#[test]
fn pseudonyms_are_those_of_the_vectors() {
    let vectors: Vectors = serde_json::from_str(include_str!("../../../../wit/vectors/pseudonyms.json")).unwrap();
    let value = |digits: &str| u8::from_str_radix(digits, 16).unwrap();
    for vector in vectors.pseudonyms {
        let Vector { secret, domain, json, bytes, prefix, key_id, .. } = vector;
        for (encoding, expected) in [("hex", vector.hex), ("base64url", vector.base64url)] {
            let mut rule = serde_json::json!({"key": true, "fields": ["$.a"], "headers": ["h"], "with": "hmac"});
            let settings =
                serde_json::json!({"secret": secret, "domain": domain, "prefix": prefix, "encoding": encoding});
            rule.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
            if !key_id.is_empty() {
                rule["key_id"] = key_id.clone().into();
                rule["show_key_id"] = true.into();
            }
            let mut tester = redact(serde_json::json!({"rules": [rule], "shapes": "lenient"}));
            let (record, expected) = match (&json, &bytes) {
                (Some(json), _) => {
                    let json = json.trim().to_owned();
                    (TestRecord::new().value("{…}").field(0, "/a", &json), format!("0 field 0 = \"{expected}\""))
                }
                (None, bytes) => {
                    let digits = bytes.as_deref().unwrap();
                    let bytes: Vec<u8> = (0..digits.len()).step_by(2).map(|at| value(&digits[at..at + 2])).collect();
                    (TestRecord::new().header("h", Some(&bytes)), format!("0 header 0 = {expected}"))
                }
            };
            assert_eq!(tester.process(&[record]).unwrap(), [expected]);
        }
    }
}

#[test]
fn a_domain_is_the_only_place_or_has_a_name() {
    let token = |rule: serde_json::Value, pointer: &str| {
        let mut rule = rule;
        rule["with"] = "hmac".into();
        rule["secret"] = SECRET.into();
        let mut tester = redact(serde_json::json!({"rules": [rule], "shapes": "lenient"}));
        let record = TestRecord::new().key("eve").value("{…}").field(0, pointer, "\"eve\"").header("h", Some(b"eve"));
        let lines = tester.process(&[record]).unwrap();
        lines.iter().map(|line| line.rsplit(' ').next().unwrap().trim_matches('"').to_owned()).collect::<Vec<_>>()
    };
    let email = token(serde_json::json!({"fields": ["$.email"]}), "/email");
    assert_eq!(email, token(serde_json::json!({"fields": ["$.x"], "domain": "value$['email']"}), "/x"));
    assert_eq!(email, token(serde_json::json!({"fields": ["$[\"email\"]", "$.email"]}), "/email"));
    assert_ne!(email, token(serde_json::json!({"fields": ["$.mail"]}), "/mail"));
    assert_ne!(email, token(serde_json::json!({"fields": ["$.email"], "ignore_case": true, "domain": "d"}), "/email"));
    let joined =
        token(serde_json::json!({"fields": ["$.a"], "headers": ["h"], "key": true, "domain": "customer"}), "/a");
    assert!(joined.len() == 3 && joined.iter().all(|token| *token == joined[0]), "{joined:?}");
    let of_id = token(serde_json::json!({"headers": ["h"], "show_key_id": true}), "/a");
    let same = token(
        serde_json::json!({"headers": ["h"], "domain": "header['h']", "show_key_id": true, "key_id": "k-1"}),
        "/a",
    );
    let id = strait_scheme::pseudonym::key_id(SECRET.as_bytes());
    assert_eq!(of_id[0].strip_prefix(&format!("{id}.")), same[0].strip_prefix("k-1."));
}

#[test]
fn a_configuration_mistake_is_reported_with_its_place() {
    let rule = |change: serde_json::Value| {
        let mut rule = serde_json::json!({"fields": ["$.a"], "with": "remove"});
        rule.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        refused(rule)
    };
    assert!(rule(serde_json::json!({})).is_empty());
    assert_eq!(rule(serde_json::json!({"fields": ["$.a", "b", "$..a.b"]})), ["/rules/0/fields/1", "/rules/0/fields/2"]);
    assert_eq!(rule(serde_json::json!({"fields": []})), ["/rules/0"]);
    assert_eq!(rule(serde_json::json!({"header_prefixes": [""]})), ["/rules/0/header_prefixes"]);
    assert_eq!(rule(serde_json::json!({"keep": 1, "prefix": "x"})), ["/rules/0/keep", "/rules/0/prefix"]);
    assert_eq!(rule(serde_json::json!({"with": "hmac"})), ["/rules/0"]);
    assert_eq!(rule(serde_json::json!({"with": "hmac", "secret": "short"})), ["/rules/0/secret"]);
    let keyed = |change: serde_json::Value| {
        let mut all = serde_json::json!({"with": "hmac", "secret": SECRET});
        all.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        rule(all)
    };
    assert!(keyed(serde_json::json!({})).is_empty());
    for several in [
        serde_json::json!({"fields": ["$.a", "$.b"]}),
        serde_json::json!({"key": true}),
        serde_json::json!({"headers": ["x"]}),
        serde_json::json!({"header_prefixes": ["x"]}),
    ] {
        assert_eq!(keyed(several.clone()), ["/rules/0"]);
        let mut named = several;
        named["domain"] = "customer".into();
        assert!(keyed(named).is_empty());
    }
    assert_eq!(keyed(serde_json::json!({"domain": ""})), ["/rules/0/domain"]);
    assert_eq!(keyed(serde_json::json!({"key_id": "A"})), ["/rules/0/key_id"]);
    for setting in [
        serde_json::json!({"domain": "d"}),
        serde_json::json!({"key_id": "k"}),
        serde_json::json!({"show_key_id": true}),
    ] {
        assert_eq!(rule(setting).len(), 1, "it belongs to hmac");
    }
    assert_eq!(rule(serde_json::json!({"with": "truncate"})), ["/rules/0"]);
    assert_eq!(rule(serde_json::json!({"with": "constant"})), ["/rules/0"]);
    assert_eq!(rule(serde_json::json!({"with": "constant", "value": 1, "headers": ["x"]})), ["/rules/0/value"]);
    assert_eq!(rule(serde_json::json!({"fields": ["$.a.b", "$.a[0]"]})), ["/rules"]);
    assert_eq!(rule(serde_json::json!({"fields": ["$.a", "$[0]"]})), ["/rules"]);
    assert!(rule(serde_json::json!({"fields": ["$.a.b", "$.a[*].b"]})).is_empty());
    for method in ["remove", "null", "mask"] {
        assert_eq!(rule(serde_json::json!({"key": true, "with": method})), ["/rules/0/with"]);
    }
    assert!(rule(serde_json::json!({"key": true, "with": "sha256"})).is_empty());
}

#[test]
fn an_allow_list_has_paths_of_names_and_rules_inside_of_them() {
    let refused = |config: serde_json::Value| -> Vec<String> {
        let Err(problems) = Tester::<Redact>::new(&config.to_string()) else { return vec![] };
        problems.lines().map(|line| line.split(':').next().unwrap_or_default().to_owned()).collect()
    };
    let rule = |path: &str| serde_json::json!([{"fields": [path], "with": "remove"}]);
    assert!(refused(serde_json::json!({"keep_only": ["$.a", "$.b[*].c"]})).is_empty());
    assert_eq!(
        refused(serde_json::json!({"keep_only": ["a", "$.a[0]", "$..a", "$", "$.a"]})),
        ["/keep_only/0", "/keep_only/1", "/keep_only/2", "/keep_only/3"]
    );
    assert_eq!(refused(serde_json::json!({"keep_only": ["$.a"], "shapes": "lenient"})), ["/shapes"]);
    for inside in ["$.a", "$.a.b", "$.a[*]", "$..ssn", "$.b[*].c", "$.b[0].c"] {
        assert!(refused(serde_json::json!({"keep_only": ["$.a", "$.b[*].c"], "rules": rule(inside)})).is_empty());
    }
    for outside in ["$.ssn", "$.b", "$.b[*]", "$.b[*].d", "$.b.x.c"] {
        let config = serde_json::json!({"keep_only": ["$.a", "$.b[*].c"], "rules": rule(outside)});
        assert_eq!(refused(config), ["/rules/0/fields"], "{outside}");
    }
    assert_eq!(refused(serde_json::json!({"rules": []})), ["/rules"]);
}

#[test]
fn an_allow_list_claims_that_nothing_is_left_but_what_it_names() {
    let config = serde_json::json!({"keep_only": ["$.a", "$.b[*].c"]});
    let redact = Redact::configure(&config.to_string(), &strait_plugin_sdk::testing::link()).unwrap();
    let claims: serde_json::Value = serde_json::from_str(redact.claims.as_deref().unwrap()).unwrap();
    let except = ["value$['a']", "value$['b'][*]['c']"];
    assert_eq!(
        claims,
        serde_json::json!([{ "rule": "keep_only", "at": "value", "except": except, "leaves": "nothing" }])
    );
    // Names of members would stay below [*], and they may be data.
    let named = TestRecord::new().value("{…}").field(0, "/b", r#"{"4111":{"c":1}}"#);
    let root = TestRecord::new().value("{…}").field(0, "/4111", "1");
    let lines = self::redact(config).process(&[named]).unwrap();
    assert!(is_reject(&lines, 1), "{lines:?}");
    let lines = self::redact(serde_json::json!({"keep_only": ["$[*]"]})).process(&[root]).unwrap();
    // It has no other rule, so its counter is the first.
    assert!(is_reject(&lines, 1) && lines[0] == "0 rule 0", "{lines:?}");
}

#[test]
fn a_part_of_a_text_is_not_kept_where_another_rule_names_fields() {
    let config = |outer: &str, inner: &str| {
        let outer = serde_json::json!({"fields": [outer], "with": "mask", "keep": 4});
        serde_json::json!({"rules": [{"fields": [inner], "with": "remove"}, outer], "embedded": "redact"})
    };
    for (outer, inner) in [
        ("$.p", "$.p.ssn"),
        ("$.p", "$.p.q[*].ssn"),
        ("$.p", "$.p..ssn"),
        ("$[*]", "$.p.ssn"),
        ("$..p", "$.q.p.ssn"),
        ("$.l[*]", "$.l[0].ssn"),
    ] {
        let Err(problems) = Tester::<Redact>::new(&config(outer, inner).to_string()) else {
            panic!("{outer} {inner}");
        };
        assert!(problems.starts_with("/rules/1/fields: the rule keeps a part of"), "{problems}");
        let mut without = config(outer, inner);
        without.as_object_mut().unwrap().remove("embedded");
        Tester::<Redact>::new(&without.to_string()).unwrap_or_else(|problems| panic!("{problems}"));
    }
    // A name anywhere may be in any text, which each record shows.
    for rule in [serde_json::json!({"with": "mask", "keep": 4}), serde_json::json!({"with": "truncate", "length": 12})]
    {
        let mut config = config("$.card", "$..ssn");
        config["rules"][1] = rule;
        config["rules"][1]["fields"] = serde_json::json!(["$.card", "$..note"]);
        let lines = |pointer: &str, json: &str| {
            let record = TestRecord::new().value("{…}").field(0, pointer, json);
            redact(config.clone()).process(&[record]).unwrap()
        };
        for (pointer, held) in [
            ("/card", r#""{\"ssn\":\"1234567\"}""#),
            ("/card", r#""{\"ssn\":NaN}""#),
            ("/card", r#""\"{\\\"ssn\\\":1234567}\"""#),
            ("/x", r#"{"note":"{\"a\":[{\"ssn\":\"1234567\"}]}"}"#),
        ] {
            let lines = lines(pointer, held);
            assert!(is_reject(&lines, 2), "{held}: {lines:?}");
        }
        for passes in [r#""4111111111111111""#, r#""{\"card\":\"1234567\"}""#, "4111111111111111", r#"{"ssn":1}"#] {
            let lines = lines("/card", passes);
            assert!(lines.len() == 1 && lines[0].starts_with("0 field 0 = "), "{passes}: {lines:?}");
        }
    }
}

#[test]
fn counters_are_named_as_the_claims() {
    let config = serde_json::json!({"keep_only": ["$.a"], "rules": [
        {"id": "mail", "fields": ["$.a.email"], "with": "remove"},
        {"fields": ["$.a.Ssn"], "with": "remove", "ignore_case": true},
    ]});
    let redact = Redact::configure(&config.to_string(), &strait_plugin_sdk::testing::link()).unwrap();
    let counters = redact.counters();
    let claims: serde_json::Value = serde_json::from_str(redact.claims.as_deref().unwrap()).unwrap();
    let claimed = |index: usize| claims[index]["rule"].as_str().unwrap();
    // The claim of the list comes first, its counter last.
    let expected = [("matched", claimed(1), true), ("matched", claimed(2), true), ("removed", claimed(0), false)];
    assert_eq!(counters.iter().map(|c| (&*c.name, &*c.rule, c.expected)).collect::<Vec<_>>(), expected);
    assert_eq!((claimed(1), claimed(0)), ("mail", KEEP_ONLY));

    let mut tester = self::redact(config);
    let record = TestRecord::new()
        .value("{…}")
        .field(0, "/a", r#"{"email":1,"SSN":2,"sSn":null,"x":3}"#)
        .field(0, "/b", "{}")
        .field(0, "/c", "4");
    assert_eq!(tester.process(&[record]).unwrap(), [r#"0 field 0 = {"x":3}"#, "0 field 1 = null", "0 field 2 = null"]);
    assert_eq!(take_counts(), [(0, 1), (1, 2), (2, 2)]);
}

#[test]
fn names_in_any_case_are_found_at_any_depth() {
    let config = |shapes| {
        serde_json::json!({
            "rules": [
                {"fields": ["$.Customer.eMail", "$.list[*].id", "$.straße", "$.ΑΣ"], "with": "constant", "value": "x", "ignore_case": true},
                {"fields": ["$..ssn"], "with": "remove", "ignore_case": true},
                {"fields": ["$.exact"], "with": "null"},
            ],
            "shapes": shapes,
        })
    };
    let tester = redact(config("strict"));
    assert_eq!((tester.fields(), tester.columns()), (&[EVERYTHING.to_owned()][..], &[7, 8, 9, 10, 11, 5, 6][..]));
    let cases = [
        (
            "/CUSTOMER",
            r#"{"EMAIL":"a","email":"b","\u0065mail":"c","other":[1]}"#,
            r#" = {"EMAIL":"x","email":"x","\u0065mail":"x","other":[1]}"#,
        ),
        ("/customer", r#"{ "a" : 1 , "Ssn":{"ssn":1} , "email" : "b" }"#, r#" = { "a" : 1 , "email" : "x" }"#),
        ("/x", r#"[{"y":{"ſsn":"a\"b\\"}},{"SSN":1,"z":[]},2]"#, r#" = [{"y":{}},{"z":[]},2]"#),
        ("/SSN", "{}", " = null"),
        ("/ssn~0", "[ ]", ""),
        ("/LIST", r#"[{"ID":1},{"Id" : 2},null]"#, r#" = [{"ID":"x"},{"Id" : "x"},null]"#),
        ("/STRASSE", "7", r#" = "x""#),
        ("/STRAẞE", "7", r#" = "x""#),
        ("/Straẞe", "7", r#" = "x""#),
        ("/ας", "7", r#" = "x""#),
        ("/ασ", "7", r#" = "x""#),
        ("/exact", "1", " = null"),
        ("/EXACT", "1", ""),
        ("/customer", "null", ""),
    ];
    for (pointer, json, expected) in cases {
        let record = TestRecord::new().value(" {…}").field(0, "/first", "1").field(0, pointer, json);
        let lines = redact(config("strict")).process(&[record]).unwrap();
        let expected: Vec<_> = if expected.is_empty() { vec![] } else { vec![format!("0 field 1{expected}")] };
        assert_eq!(lines, expected, "{pointer} {json}");
    }
    for (value, pointer, json) in
        [("{…}", "/CUSTOMER", "[]"), ("{…}", "/List", r#"["{\"id\":1}"]"#), ("[…]", "/0", "1"), ("\"\"", "/0", "1")]
    {
        let record = TestRecord::new().value(value).field(0, pointer, json);
        let lines = redact(config("strict")).process(std::slice::from_ref(&record)).unwrap();
        assert!(is_reject(&lines, 1), "{pointer} {json} {lines:?}");
        assert!(redact(config("lenient")).process(&[record]).unwrap().is_empty());
    }
    // The host never passes such text; if it did, the record would not pass.
    for json in [r#"{"email":1"#, "{\"email\" 1}", "[1,]", "{\"a\":1]", "{\"\\ud800\":1}", "", "1 2", "{} {}"] {
        let record = TestRecord::new().value("{…}").field(0, "/customer", json);
        let lines = redact(config("lenient")).process(&[record]).unwrap();
        assert!(is_reject(&lines, 0), "{json} {lines:?}");
    }
}
