//! The whole way of a tree: structure, references, validation, difference.

use serde_json::{Value, json};

use super::reference::Reference;
use super::*;

/// Bundled plugins, as the host would name them.
const BUNDLED: [&str; 2] = ["filter", "redact"];

fn minimal() -> Value {
    json!({
        "clusters": {
            "a": { "bootstrap_servers": "a:9092" },
            "b": { "bootstrap_servers": "b:9092" },
        },
        "links": [{ "name": "a-to-b", "source": "a", "target": "b", "topics": ["orders"] }],
    })
}

fn changed(at: &str, value: Value) -> Value {
    let mut tree = minimal();
    let (table, key) = at.rsplit_once('/').unwrap();
    tree.pointer_mut(table).unwrap()[key] = value;
    tree
}

fn judge(tree: Value) -> Vec<(String, &'static str)> {
    let (config, mut problems) = structure::read(tree);
    if let Some(mut config) = config {
        problems.extend(resolve(&mut config, &mut |_: &Reference<'_>| Err("is not set".to_owned())));
        problems.extend(validate(&config, &BUNDLED));
    }
    problems.iter().map(|p| (p.at.to_string(), p.what.code())).collect()
}

#[test]
fn a_minimal_configuration_is_right_and_has_the_documented_defaults() {
    assert_eq!(judge(minimal()), []);
    let (config, _) = structure::read(minimal());
    let config = config.unwrap();
    let link = &config.links[0];
    assert_eq!(
        (&link.naming, link.delivery, link.start),
        (&Naming::Prefix, DeliveryMode::ExactlyOnce, Start::Earliest)
    );
    assert_eq!((link.lanes, link.lanes_to_create()), (None, 4));
    assert_eq!(config.plugin_dir.expose(), "plugins");
    // Whatever is in a plugin's configuration, at any depth, is the plugin's.
    let deep = json!({ "rules": [{ "fields": ["$.a"], "topics": [{ "name": { "x": null } }] }], "topics": 5 });
    let (read, problems) = structure::read(changed("/links/0/plugins", json!([{ "plugin": "p", "config": deep }])));
    assert_eq!((read.unwrap().links[0].plugins[0].config.expose(), problems), (&deep, vec![]));
    // What is shown can be read again.
    let (again, problems) = structure::read(serde_json::to_value(&config).unwrap());
    assert_eq!((again, problems), (Some(config), vec![]));
}

/// A configuration, and the place and the code of its problem.
type Case = (Value, &'static str, &'static str);

fn problems_of_kafka_properties() -> Vec<Case> {
    let kafka = |properties: Value| changed("/clusters/a/kafka", properties);
    vec![
        (
            kafka(json!({ "sasl.password": "${env:NONE}" })),
            "clusters.a.kafka.\"sasl.password\"",
            "unresolved-reference",
        ),
        (kafka(json!({ "acks": "1" })), "clusters.a.kafka.acks", "refused-property"),
        (kafka(json!({ "group.instance.id": "x" })), "clusters.a.kafka.\"group.instance.id\"", "refused-property"),
        (kafka(json!({ "sasl.pasword": "x" })), "clusters.a.kafka.\"sasl.pasword\"", "unknown-property"),
        (kafka(json!({ "sasl.password": 1e5 })), "clusters.a.kafka.\"sasl.password\"", "wrong-type"),
        (kafka(json!({ "sasl.password": null })), "clusters.a.kafka.\"sasl.password\"", "wrong-type"),
        (kafka(json!({ "max.poll.records": 5 })), "clusters.a.kafka.\"max.poll.records\"", "java-property"),
        (kafka(json!({ "security.protocol": "SASL_SSL" })), "clusters.a.kafka", "missing-key"),
        (kafka(json!({ "sasl.mechanism": "AWS_MSK_IAM" })), "clusters.a.kafka.\"sasl.mechanism\"", "unsupported-value"),
        (kafka(json!({ "sasl.mechanism": "OAUTHBEARER" })), "clusters.a.kafka.\"sasl.mechanism\"", "unsupported-value"),
        (
            kafka(json!({ "ssl.endpoint.identification.algorithm": "" })),
            "clusters.a.kafka.\"ssl.endpoint.identification.algorithm\"",
            "unsupported-value",
        ),
        (
            kafka(json!({ "ssl.ca.location": "/x/client.truststore.jks" })),
            "clusters.a.kafka.\"ssl.ca.location\"",
            "unsupported-value",
        ),
        (kafka(json!({ "sasl.mechanism": "GSSAPI" })), "clusters.a.kafka.\"sasl.mechanism\"", "unsupported-value"),
        (
            kafka(json!({ "enable.ssl.certificate.verification": false })),
            "clusters.a.kafka.\"enable.ssl.certificate.verification\"",
            "insecure",
        ),
        (
            kafka(json!({ "ssl.endpoint.identification.algorithm": "none" })),
            "clusters.a.kafka.\"ssl.endpoint.identification.algorithm\"",
            "insecure",
        ),
        (
            kafka(json!({ "security.protocol": "sasl_plaintext" })),
            "clusters.a.kafka.\"security.protocol\"",
            "plaintext",
        ),
    ]
}

#[test]
fn every_kind_of_problem_is_found_at_its_place() {
    let used = |plugin: Value| changed("/links/0/plugins", json!([plugin]));
    let sync = |options: Value| changed("/links/0/sync", options);
    let cases: Vec<Case> = vec![
        (changed("/links/0/topic", json!("x")), "links[0].topic", "unknown-key"),
        (json!({ "clusters": {} }), "(top)", "missing-key"),
        (changed("/links/0/topics", json!(5)), "links[0].topics", "wrong-type"),
        (changed("/links/0/topics", json!("orders,x")), "links[0].topics[0]", "matches-nothing"),
        (changed("/links/0/topics", json!([""])), "links[0].topics[0]", "matches-nothing"),
        (changed("/links/0/topics_exclude", json!(["a b"])), "links[0].topics_exclude[0]", "matches-nothing"),
        (changed("/links/0/groups", json!(["a b", "(?!x).*"])), "links[0].groups[1]", "bad-regex"),
        (changed("/links/0/groups_exclude", json!(["a["])), "links[0].groups_exclude[0]", "bad-regex"),
        (changed("/links/0/topics", json!(["orders-*"])), "links[0].topics[0]", "glob"),
        (changed("/links/0/memory_mib_max", json!(1.5)), "links[0].memory_mib_max", "wrong-type"),
        (changed("/links/0/delivery", json!("once")), "links[0].delivery", "not-a-choice"),
        (changed("/links/0/lanes", json!(0)), "links[0].lanes", "out-of-range"),
        (changed("/links/0/lanes", json!(65)), "links[0].lanes", "out-of-range"),
        (changed("/links/0/start", json!("yesterday")), "links[0].start", "bad-start"),
        (changed("/links/0/topics", json!(["${env:T}"])), "links[0].topics[0]", "reference-not-here"),
        (changed("/links/0/source", json!("c")), "links[0].source", "unknown-cluster"),
        (changed("/links/0/name", json!("a.b")), "links[0].name", "bad-name"),
        (changed("/clusters/a b", json!({ "bootstrap_servers": "a" })), "clusters.\"a b\"", "bad-name"),
        (changed("/links/0/target", json!("a")), "links[0].target", "same-cluster"),
        (
            json!({ "clusters": minimal()["clusters"], "links": [{ "name": "l", "source": "a", "target": "b",
                "topics": ["t"], "residency": true, "reveal_messages": true }] }),
            "links[0].reveal_messages",
            "conflict",
        ),
        (changed("/links/0/residency", json!(true)), "links[0].residency", "conflict"),
        (changed("/links/0/topics", json!([])), "links[0].topics", "empty"),
        (changed("/links/0/topics", json!(["a("])), "links[0].topics[0]", "bad-regex"),
        (
            changed("/links/0/values", json!([{ "topics": ["a("], "frame": "confluent" }])),
            "links[0].values[0].topics[0]",
            "bad-regex",
        ),
        (changed("/links/0/values", json!([{ "topics": [], "frame": "none" }])), "links[0].values[0].topics", "empty"),
        (
            changed("/links/0/values", json!([{ "topics": ["a"], "frame": "avro" }])),
            "links[0].values[0].frame",
            "not-a-choice",
        ),
        (changed("/links/0/topics", json!(["__consumer.*"])), "links[0].topics[0]", "reserved-topics"),
        (changed("/clusters/a/bootstrap_servers", json!("a:x")), "clusters.a.bootstrap_servers", "bad-address"),
        (changed("/clusters/a/bootstrap_servers", json!("a:1;b:1")), "clusters.a.bootstrap_servers", "bad-address"),
        (used(json!({ "plugin": "../x y" })), "links[0].plugins[0].plugin", "bad-plugin"),
        (used(json!({ "plugin": "a,b" })), "links[0].plugins[0].plugin", "bad-plugin"),
        (used(json!({ "plugin": "a@b.wasm" })), "links[0].plugins[0].plugin", "bad-plugin"),
        (
            used(json!({ "plugin": "p", "limits": { "memory_mib_max": 0 } })),
            "links[0].plugins[0].limits.memory_mib_max",
            "out-of-range",
        ),
        (
            used(json!({ "plugin": "p", "limits": { "memory_mb": 1 } })),
            "links[0].plugins[0].limits.memory_mb",
            "unknown-key",
        ),
        (
            used(json!({ "plugin": "p", "required": true, "on_error": "pass" })),
            "links[0].plugins[0].on_error",
            "conflict",
        ),
        (changed("/links/0/fetch_mib_max", json!(300)), "links[0].fetch_mib_max", "conflict"),
        (sync(json!({ "configs": "all" })), "links[0].sync.configs", "not-a-choice"),
        (sync(json!({ "configs_exclude": ["a("] })), "links[0].sync.configs_exclude[0]", "bad-regex"),
        (sync(json!({ "principals": { "User:a": "User:b" } })), "links[0].sync.principals", "conflict"),
        (sync(json!({ "principals": { "a": "User:b" } })), "links[0].sync.principals.a", "bad-setting"),
    ];
    for (tree, at, code) in cases.into_iter().chain(problems_of_kafka_properties()) {
        let found = judge(tree);
        assert!(found.contains(&(at.to_owned(), code)), "{at} {code}: {found:?}");
    }
}

#[test]
fn a_login_in_clear_is_said_once() {
    let auth = json!({ "kind": "aws-msk-iam", "region": "eu-west-1" });
    let in_clear = |more: Value| {
        let mut kafka = json!({ "security.protocol": "SASL_PLAINTEXT" });
        kafka.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "bootstrap_servers": "a:9092", "kafka": kafka })
    };
    let mut token = in_clear(json!({}));
    token["auth"] = auth;
    let plain = in_clear(json!({ "sasl.mechanism": "PLAIN" }));
    let scram = in_clear(json!({ "sasl.mechanism": "SCRAM-SHA-512" }));
    for (cluster, code) in [(token, "password-in-clear"), (plain, "password-in-clear"), (scram, "plaintext")] {
        let place = "clusters.a.kafka.\"security.protocol\"".to_owned();
        assert_eq!(judge(changed("/clusters/a", cluster)), [(place, code)]);
    }
}

#[test]
fn a_text_stands_for_a_list_with_one_entry() {
    for key in ["topics", "topics_exclude"] {
        let (config, problems) = structure::read(changed(&format!("/links/0/{key}"), json!("b.*")));
        assert_eq!(problems, [], "{key}");
        let link = &config.unwrap().links[0];
        assert_eq!(if key == "topics" { &link.topics } else { &link.topics_exclude }, &["b.*"]);
    }
}

#[test]
fn a_value_of_the_wrong_type_is_answered_with_what_to_write() {
    let said = |tree: Value| structure::read(tree).1.iter().find_map(|problem| problem.what.help());
    for (at, value, hint) in [
        ("/links/0/manage_topics", json!("yes"), "write true, without quotes"),
        ("/links/0/manage_topics", json!("Off"), "write false, without quotes"),
        ("/links/0/lanes", json!("1_0"), "write 10, without quotes"),
        ("/links/0/lanes", json!("010"), "write 10, without quotes"),
        ("/links/0/lanes", json!(1e1), "write 10"),
        ("/links", json!({ "name": "x" }), "write a list with this table in it"),
        ("/links/0/plugins", json!("redact"), "write a list"),
        ("/clusters/a/bootstrap_servers", json!(["a:1", "b:1"]), "addresses are separated by commas"),
        ("/links/0/topics", json!([null]), "in quotes"),
    ] {
        let found = said(changed(at, value)).unwrap_or_default();
        assert!(found.contains(hint), "{at}: {found}");
    }
    assert_eq!(said(changed("/links/0/lanes", json!("many"))), None);
}

#[test]
fn texts_take_numbers_as_they_were_written_and_numbers_do_not() {
    let shape = structure::Shape::default();
    let link = || Path::default().key("links").index(0);
    let cluster = || Path::default().key("clusters").key("a");
    for at in [
        cluster().key("kafka").key("sasl.password"),
        cluster().key("bootstrap_servers"),
        cluster().key("region"),
        Path::default().key("region"),
        link().key("name"),
        link().key("topics").index(0),
        link().key("start"),
        link().key("delivery"),
        link().key("plugins").index(0).key("plugin"),
    ] {
        for value in [json!(5), json!(1e5), json!(true)] {
            assert!(shape.takes_as_text(&at, &value), "{at} {value}");
        }
    }
    for at in [link().key("lanes"), link().key("manage_topics"), link().key("plugins").index(0).key("config").key("x")]
    {
        assert!(!shape.takes_as_text(&at, &json!(5)), "{at}");
    }
}

#[test]
fn a_region_has_one_way_to_be_written() {
    for at in ["/clusters/a/region", "/region"] {
        for region in ["eu-west-1", "1", "a-b"] {
            assert_eq!(judge(changed(at, json!(region))), []);
        }
        for region in ["", "EU-West-1", "eu west", "eu_west", "é", &"a".repeat(65)] {
            let codes: Vec<_> = judge(changed(at, json!(region))).into_iter().map(|(_, code)| code).collect();
            assert_eq!(codes, ["bad-name"], "{region}");
        }
    }
}

#[test]
fn an_unknown_key_conceals_no_other_problem_and_insecure_allows_disabled_verification() {
    let mut tree = changed("/links/0/topic", json!("x"));
    tree["links"][0]["source"] = json!("aa");
    let codes: Vec<_> = judge(tree).into_iter().map(|(_, code)| code).collect();
    assert_eq!(codes, ["unknown-key", "unknown-cluster"]);

    let mut tree = changed("/clusters/a/kafka", json!({ "enable.ssl.certificate.verification": false }));
    tree["clusters"]["a"]["insecure"] = json!(true);
    assert_eq!(judge(tree), []);
}

fn links(links: Value) -> Vec<(String, &'static str, Gravity)> {
    let mut tree = minimal();
    tree["clusters"]["c"] = json!({ "bootstrap_servers": "c" });
    tree["links"] = links;
    let (config, problems) = structure::read(tree);
    assert_eq!(problems, []);
    validate(&config.unwrap(), &BUNDLED).iter().map(|p| (p.at.to_string(), p.what.code(), p.what.gravity())).collect()
}

#[test]
fn loops_and_collisions_are_found_unless_exclusions_or_plugins_break_them() {
    let link = |name: &str, source: &str, target: &str, topics: &str, exclude: &str, naming: &str| {
        let mut link =
            json!({ "name": name, "source": source, "target": target, "topics": [topics], "naming": naming });
        if !exclude.is_empty() {
            link["topics_exclude"] = json!([exclude]);
        }
        link
    };
    let error = |at: &str, code| vec![(at.to_owned(), code, Gravity::Error)];
    let both = |topics, naming, exclude| {
        links(json!([link("x", "a", "b", topics, exclude, naming), link("y", "b", "a", topics, exclude, naming)]))
    };
    assert_eq!(both("orders", "identity", ""), error("links[0].topics", "loop"));
    assert_eq!(both(".*", "prefix", ""), error("links[0].topics", "loop"));
    assert_eq!(both("orders", "prefix", ""), []);
    assert_eq!(both(".*", "prefix", "(a|b)\\..*"), []);

    // Round three clusters.
    let ring = |naming| {
        let names = [("x", "a", "b"), ("y", "b", "c"), ("z", "c", "a")];
        let list: Vec<_> = names.iter().map(|(n, s, t)| link(n, s, t, ".*", "", naming)).collect();
        links(json!(list))
    };
    assert_eq!(ring("identity"), error("links[0].topics", "loop"));

    // A plugin on the way may break the loop: it is said, and does not stop anything.
    let mut x = link("x", "a", "b", ".*", "", "identity");
    x["plugins"] = json!([{ "plugin": "filter" }]);
    let found = links(json!([x, link("y", "b", "a", ".*", "", "identity")]));
    assert_eq!(found, [("links[0].topics".to_owned(), "loop", Gravity::Warning)]);

    let twice = json!([link("x", "a", "b", "o.*", "", "prefix"), link("y", "a", "b", "orders", "", "prefix")]);
    assert_eq!(links(twice), error("links[1].topics", "collision"));
    let merged = json!([link("x", "a", "c", "orders", "", "identity"), link("y", "b", "c", "orders", "", "identity")]);
    assert_eq!(links(merged), [("links[1].topics".to_owned(), "collision", Gravity::Warning)]);
    let apart = json!([link("x", "a", "c", "orders", "", "prefix"), link("y", "b", "c", "orders", "", "prefix")]);
    assert_eq!(links(apart), []);
}

#[test]
fn a_template_gives_names_and_loops_and_collisions_are_found_by_them() {
    let link = |name: &str, source: &str, target: &str, template: &str| json!({ "name": name, "source": source, "target": target, "topics": [".*"], "naming": { "template": template } });
    let both = |template: &str| json!([link("x", "a", "b", template), link("y", "b", "a", template)]);
    let loops = [("links[0].topics".to_owned(), "loop", Gravity::Error)];
    assert_eq!(links(both("{source}_{topic}")), loops);
    assert_eq!(links(both("copy.{topic}")), loops);
    let mut guarded = both("{source}_{topic}");
    guarded[0]["topics_exclude"] = json!(["(.*_)?b_.*"]);
    guarded[1]["topics_exclude"] = json!(["(.*_)?a_.*"]);
    assert_eq!(links(guarded), []);
    let merged = json!([link("x", "a", "c", "copy.{topic}"), link("y", "b", "c", "copy.{topic}")]);
    assert_eq!(links(merged), [("links[1].topics".to_owned(), "collision", Gravity::Warning)]);
    assert_eq!(links(json!([link("x", "a", "c", "{source}_{topic}"), link("y", "b", "c", "{source}_{topic}")])), []);

    assert_eq!(
        links(json!([link("x", "a", "b", "__{topic}")])),
        [("links[0].naming".to_owned(), "bad-setting", Gravity::Error)]
    );
    let refused = |naming: Value| {
        let (config, problems) = structure::read(changed("/links/0/naming", naming));
        (config.is_none(), problems.iter().map(|p| (p.at.to_string(), p.what.code())).collect::<Vec<_>>())
    };
    assert_eq!(refused(json!({})), (true, vec![("links[0].naming".to_owned(), "missing-key")]));
    assert_eq!(
        refused(json!({ "template": "{topic}", "x": 1 })),
        (false, vec![("links[0].naming.x".to_owned(), "unknown-key")])
    );
    assert_eq!(refused(json!({ "template": 1 })), (true, vec![("links[0].naming.template".to_owned(), "wrong-type")]));
    assert_eq!(refused(json!(1)), (true, vec![("links[0].naming".to_owned(), "wrong-type")]));
    let at = "links.0.naming.template".split('.').fold(Path::default(), |at, step| match step.parse() {
        Ok(index) => at.index(index),
        Err(_) => at.key(step),
    });
    assert_eq!(structure::Shape::default().expected(&at), structure::Expected::Text, "a variable can set it");
}

#[test]
fn a_diff_names_the_least_action() {
    let read = |tree| structure::read(tree).0.unwrap();
    let old = read(minimal());
    assert_eq!(diff(&old, &old), []);
    let link = || "a-to-b".to_owned();
    assert_eq!(
        diff(&old, &read(changed("/links/0/plugins", json!([{ "plugin": "redact" }])))),
        [Change::Plugins { link: link() }]
    );
    assert_eq!(
        diff(&old, &read(changed("/clusters/b/kafka", json!({ "client.id": "x" })))),
        [Change::LinkChanged { link: link(), options: vec!["clusters.b".to_owned()] }]
    );
    assert_eq!(
        diff(&old, &read(changed("/links/0/name", json!("other")))),
        [Change::LinkAdded { link: "other".to_owned() }, Change::LinkRemoved { link: link() }]
    );
    for (property, changes) in [("client.id", 1), ("sasl.password", 0)] {
        let written = read(changed("/clusters/b/kafka", json!({ property: "${env:P}" })));
        let [before, after] = ["old", "new"].map(|value| {
            let mut config = written.clone();
            assert_eq!(resolve(&mut config, &mut |_: &Reference<'_>| Ok(value.to_owned())), []);
            config
        });
        assert_eq!(diff(&before, &after).len(), changes, "{property}");
        assert_eq!(after.resolved_values(), ["new"]);
    }
}
