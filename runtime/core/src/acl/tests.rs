//! The rights of whole links, as they are printed.

use serde_json::{Value, json};

use super::commands::{Place, script, to_json};
use super::grants::granting;
use super::*;
use crate::config::{PluginUse, structure};

fn link(changes: Value) -> Link {
    // Without what it writes for MirrorMaker 2's clients: each test that wants it says so.
    let mut link = json!({
        "name": "a-to-b", "source": "a", "target": "b", "topics": ["orders", "payments\\..*"],
        "mm2": { "heartbeats": "off", "checkpoints": false },
    });
    let changes = changes.as_object().unwrap().clone();
    link.as_object_mut().unwrap().extend(changes);
    let clusters = json!({ "a": { "bootstrap_servers": "a:1" }, "b": { "bootstrap_servers": "b:1" } });
    let (config, problems) = structure::read(json!({ "clusters": clusters, "links": [link] }));
    assert_eq!(problems, []);
    config.unwrap().links.remove(0)
}

fn place(side: Side) -> Place {
    let (cluster, principal) = match side {
        Side::Source => ("a", "User:reader"),
        Side::Target => ("b", "User:CN=copier, O=it's ours"),
    };
    Place { side, cluster: cluster.into(), servers: format!("{cluster}:1"), principal: principal.into() }
}

/// Returns the rights of a link as `operation pattern name`.
fn short(link: &Link, names: &Names) -> Vec<String> {
    let line = |grant: Grant| {
        let lead = if grant.right.need == Need::Sometimes { "(" } else { "" };
        let pattern = grant.pattern.name();
        format!(
            "{lead}{} {} {} {pattern} {}",
            grant.side(),
            grant.right.operation.name(),
            grant.resource.name(),
            grant.name
        )
    };
    grants(link, names).into_iter().map(line).collect()
}

fn plugins(link: &Link) -> Vec<&PluginUse> {
    link.plugins.iter().collect()
}

#[test]
fn a_link_needs_these_rights_and_no_others() {
    let plain = link(json!({}));
    let names = Names::of(&plain, &[], &[]);
    assert_eq!(
        short(&plain, &names),
        [
            "source Read topic prefixed payments.",
            "source Read topic literal orders",
            "source DescribeConfigs topic prefixed payments.",
            "source DescribeConfigs topic literal orders",
            "source Write topic literal strait.a-to-b.quarantine",
            "source Create topic literal strait.a-to-b.quarantine",
            "source Read topic literal strait.a-to-b.quarantine",
            "(source Delete topic literal strait.a-to-b.quarantine",
            "(source Describe group literal GROUP",
            "(source IdempotentWrite cluster literal ",
            "(source DescribeConfigs cluster literal ",
            "target Write topic prefixed a.payments.",
            "target Write topic literal a.orders",
            "target Create topic prefixed a.payments.",
            "target Create topic literal a.orders",
            "target Alter topic prefixed a.payments.",
            "target Alter topic literal a.orders",
            "target DescribeConfigs topic prefixed a.payments.",
            "target DescribeConfigs topic literal a.orders",
            "target AlterConfigs topic prefixed a.payments.",
            "target AlterConfigs topic literal a.orders",
            "target Read topic prefixed strait.a-to-b.",
            "target Write topic prefixed strait.a-to-b.",
            "target Create topic prefixed strait.a-to-b.",
            "target Alter topic prefixed strait.a-to-b.",
            "target DescribeConfigs topic prefixed strait.a-to-b.",
            "target Read group literal strait.a-to-b",
            "(target Describe group literal GROUP",
            "target Write transactional-id prefixed strait.a-to-b.",
            "(target DescribeConfigs cluster literal ",
            "(target Read topic prefixed a.payments.",
            "(target Read topic literal a.orders",
            "(target Read topic literal mm2-offsets.a.internal",
        ]
    );
    let modest = link(json!({
        "topics": ["orders"], "on_refused": "stop", "manage_topics": false, "delivery": "at-least-once"
    }));
    assert_eq!(
        short(&modest, &Names::of(&modest, &[], &[])),
        [
            "source Read topic literal orders",
            "source DescribeConfigs topic literal orders",
            "(source Describe group literal GROUP",
            "(source DescribeConfigs cluster literal ",
            "target Write topic literal a.orders",
            "target DescribeConfigs topic literal a.orders",
            "target AlterConfigs topic literal a.orders",
            "target Read topic prefixed strait.a-to-b.",
            "target Write topic prefixed strait.a-to-b.",
            "target Alter topic prefixed strait.a-to-b.",
            "target DescribeConfigs topic prefixed strait.a-to-b.",
            "target Read group literal strait.a-to-b",
            "(target Describe group literal GROUP",
            "target Write transactional-id prefixed strait.a-to-b.",
            "(target IdempotentWrite cluster literal ",
            "(target DescribeConfigs cluster literal ",
            "(target Read topic literal a.orders",
            "(target Read topic literal mm2-offsets.a.internal",
        ]
    );
}

#[test]
fn what_a_link_writes_for_the_clients_of_mirror_maker_needs_rights_of_its_own() {
    let more = |mm2: Value| {
        let without = link(json!({}));
        let without = short(&without, &Names::of(&without, &[], &[]));
        let with = link(json!({ "mm2": mm2 }));
        let with = short(&with, &Names::of(&with, &[], &[]));
        with.into_iter().filter(|right| !without.contains(right)).collect::<Vec<_>>()
    };
    assert_eq!(
        more(json!({})),
        [
            "source Read topic literal heartbeats",
            "source DescribeConfigs topic literal heartbeats",
            "target Write topic literal a.heartbeats",
            "target Create topic literal a.heartbeats",
            "target Alter topic literal a.heartbeats",
            "target DescribeConfigs topic literal a.heartbeats",
            "target AlterConfigs topic literal a.heartbeats",
            "target Write topic literal heartbeats",
            "target Write topic literal a.checkpoints.internal",
            "target Create topic literal heartbeats",
            "target Create topic literal a.checkpoints.internal",
            "target DescribeConfigs topic literal heartbeats",
            "target DescribeConfigs topic literal a.checkpoints.internal",
            "(target Read topic literal a.heartbeats",
        ]
    );
    let syncs = json!({ "heartbeats": "off", "checkpoints": false, "offset_syncs": "target" });
    assert_eq!(
        more(syncs),
        ["Write", "Create", "DescribeConfigs"]
            .map(|operation| format!("target {operation} topic literal mm2-offset-syncs.a.internal"))
    );
    let both = more(json!({ "heartbeats": "both", "checkpoints": false }));
    let on_source: Vec<&String> = both.iter().filter(|right| right.starts_with("source ")).collect();
    assert_eq!(
        on_source,
        ["Read", "DescribeConfigs", "Write", "Create"]
            .map(|operation| format!("source {operation} topic literal heartbeats"))
            .iter()
            .collect::<Vec<_>>()
    );
    let mut excluded = link(json!({ "mm2": {}, "topics_exclude": ["heartbeats"] }));
    excluded.naming = crate::config::Naming::Identity;
    let rights = short(&excluded, &Names::of(&excluded, &[], &[]));
    assert!(!rights.iter().any(|right| right.starts_with("source") && right.ends_with("heartbeats")), "{rights:?}");
}

#[test]
fn a_link_whose_access_lists_follow_needs_to_see_and_to_change_them() {
    let acls = link(json!({ "sync": { "acls": true, "configs": "none" } }));
    let rights = short(&acls, &Names::of(&acls, &[], &[]));
    let more: Vec<&str> = rights
        .iter()
        .map(String::as_str)
        .filter(|right| !right.contains("Configs") && right.contains(" cluster "))
        .collect();
    assert_eq!(
        more,
        [
            "(source IdempotentWrite cluster literal ",
            "source Describe cluster literal ",
            "target Describe cluster literal ",
            "target Alter cluster literal ",
        ]
    );
    assert!(!rights.iter().any(|right| right.contains("AlterConfigs")), "{rights:?}");
    let all = grants(&acls, &Names::of(&acls, &[], &[]));
    let cluster = &msk::statements(&acls.name, Side::Target, msk::CLUSTER_ARN, &all)[0];
    let actions = ["Connect", "WriteDataIdempotently", "DescribeCluster", "AlterCluster"]
        .map(|name| format!("kafka-cluster:{name}"));
    assert_eq!(cluster["Action"], json!(actions));
}

#[test]
fn groups_are_named_by_name_beginning_or_all_together() {
    let kept = |groups: &[&str]| {
        let link = link(json!({ "topics": ["orders"], "groups": groups }));
        let rights = short(&link, &Names::of(&link, &[], &[]));
        let of_groups =
            |line: &&String| line.contains(" group ") && !line.contains("GROUP") && !line.contains("strait.");
        let mut found: Vec<String> = rights.iter().filter(of_groups).cloned().collect();
        found.extend(rights.into_iter().filter(|line| line.starts_with("target Read topic literal a.")));
        found
    };
    assert!(kept(&[]).is_empty());
    let expected = [
        "source Describe group literal billing",
        "source Describe group prefixed search-",
        "target Read group literal billing",
        "target Read group prefixed search-",
        "target Read topic literal a.orders",
    ];
    assert_eq!(kept(&["billing", "search-.*"]), expected);
    for any in [".*", "a group"] {
        assert_eq!(kept(&[any])[..2], ["source Describe group literal *", "target Read group literal *"], "{any}");
    }
}

#[test]
fn topics_that_were_seen_are_named_where_no_beginning_includes_them() {
    let seen = [("orders-eu", "a.orders-eu"), ("payments.v1", "a.payments.v1")];
    let seen = seen.map(|(source, target)| (source.to_owned(), target.to_owned()));
    let all = link(json!({ "topics": [".*"], "naming": "identity" }));
    let same = [("x".to_owned(), "x".to_owned())];
    let topics =
        |texts: &[&str]| texts.iter().map(|text| topics::Topics::Named((*text).to_owned())).collect::<Vec<_>>();
    let any = topics::Topics::Matching(".*".to_owned());
    assert_eq!(Names::of(&all, &[], &same).source, [topics(&["x"]), vec![any.clone()]].concat());
    assert_eq!(Names::of(&all, &[], &same).target, [topics(&["x"]), vec![any]].concat());
    let plain = link(json!({ "topics": ["(orders|payments).*"] }));
    assert_eq!(Names::of(&plain, &[], &seen).source.len(), 2, "both have a beginning");
    // With the source's name before each, they begin alike.
    let prefixed = link(json!({ "topics": [".*"] }));
    assert_eq!(Names::of(&prefixed, &[], &seen).target, [topics::Topics::Beginning("a.".to_owned())]);
    let named = |template: &str, entry: &str| {
        let link = link(json!({ "topics": [entry], "naming": { "template": template } }));
        Names::of(&link, &[], &[]).target
    };
    assert_eq!(named("{source}_{topic}", ".*"), [topics::Topics::Beginning("a_".to_owned())]);
    assert_eq!(named("{topic}.{source}", "x"), [topics::Topics::Named("x.a".to_owned())]);
    assert_eq!(named("{topic}.{source}", "x-.*"), [topics::Topics::Beginning("x-".to_owned())]);
    assert_eq!(
        named("{topic}.{source}", ".*"),
        [topics::Topics::Matching(".*, with .a behind each".to_owned())],
        "no access list knows how names end"
    );
}

#[test]
fn plugins_that_name_topics_widen_what_is_written_and_not_what_is_read() {
    let route = |output: Value| {
        let plugin = json!([{ "plugin": "route", "config": {}, "output_topics": output }]);
        link(json!({ "topics": ["orders"], "naming": "identity", "plugins": plugin }))
    };
    let bounded = route(json!(["eu-.*", "rest"]));
    let names = Names::of(&bounded, &plugins(&bounded), &[]);
    let expected = ["Beginning(\"eu-\")", "Named(\"orders\")", "Named(\"rest\")"];
    assert_eq!(names.target.iter().map(|topics| format!("{topics:?}")).collect::<Vec<_>>(), expected);
    assert_eq!(names.source.len(), 1);
    let free = route(Value::Null);
    let names = Names::of(&free, &plugins(&free), &[]);
    assert!(names.target.contains(&topics::Topics::Matching("those that plugin route names".to_owned())), "{names:?}");
}

#[test]
fn each_command_stands_under_its_reason_and_words_are_quoted() {
    let link = link(json!({ "topics": ["orders", ".*-x"] }));
    let grants = grants(&link, &Names::of(&link, &[], &[]));
    let source = script(&link.name, &place(Side::Source), &grants);
    let lines: Vec<&str> = source.lines().collect();
    assert_eq!(lines[0], "# link a-to-b, source: cluster a");
    assert!(lines[1].starts_with("# lists the topics, reads their offsets and records; without it: "), "{source}");
    assert_eq!(
        lines[2],
        "kafka-acls.sh --bootstrap-server a:1 --add --allow-principal User:reader --operation Read --topic orders"
    );
    assert!(source.contains("\n# Read on the topics '.*-x': their names have no common beginning"), "{source}");
    assert!(
        source.contains(
            "\n# kafka-acls.sh --bootstrap-server a:1 --add --allow-principal User:reader --operation \
                             IdempotentWrite --cluster\n"
        ),
        "{source}"
    );
    let target = script(&link.name, &place(Side::Target), &grants);
    let id = "--allow-principal 'User:CN=copier, O=it'\\''s ours' --operation Write --transactional-id \
              strait.a-to-b. --resource-pattern-type prefixed";
    assert!(target.contains(id), "{target}");
    let commands = target.lines().filter(|line| line.contains("kafka-acls.sh")).count();
    let json = to_json(&place(Side::Target), &grants);
    assert_eq!(json["rights"].as_array().unwrap().len(), commands, "{json:#}");
    assert_eq!(json["rights"][0]["pattern"], "prefixed");
}

#[test]
fn what_is_missing_finds_the_grant_that_includes_it() {
    let link = link(json!({}));
    let grants = grants(&link, &Names::of(&link, &[], &[]));
    let found = |on, operation, name| granting(&grants, on, operation, name).map(|grant| (grant.pattern, grant.name));
    let progress = "strait.a-to-b.progress";
    assert_eq!(found(On::OwnTopics, Operation::Read, progress), Some((Pattern::Prefixed, "strait.a-to-b.".to_owned())));
    assert_eq!(
        found(On::SourceTopics, Operation::Read, "payments.v1"),
        Some((Pattern::Prefixed, "payments.".to_owned()))
    );
    // A topic that nothing names.
    assert_eq!(found(On::SourceTopics, Operation::Read, "other"), Some((Pattern::Literal, "other".to_owned())));
    assert_eq!(found(On::SourceTopics, Operation::Alter, "orders"), None);
}

#[test]
fn a_policy_has_the_actions_and_those_that_they_require() {
    let link = link(json!({}));
    let grants = grants(&link, &Names::of(&link, &[], &[]));
    let arn = "arn:aws:kafka:eu-west-1:1:cluster/main/u-1";
    let all = [Side::Source, Side::Target].map(|side| msk::statements(&link.name, side, arn, &grants)).concat();
    let statement = |id: &str| {
        let found = all.iter().find(|statement| statement["Sid"] == id).unwrap_or_else(|| panic!("{id}: {all:#?}"));
        (found["Action"].clone(), found["Resource"].clone())
    };
    let actions = |names: &[&str]| json!(names.iter().map(|name| format!("kafka-cluster:{name}")).collect::<Vec<_>>());
    let of = |kind: &str, name: &str| format!("arn:aws:kafka:eu-west-1:1:{kind}/main/u-1/{name}");
    assert_eq!(statement("SourceCluster"), (actions(&["Connect", "WriteDataIdempotently"]), json!([arn])));
    assert_eq!(
        statement("SourceTopics"),
        (
            actions(&["DescribeTopic", "ReadData", "DescribeTopicDynamicConfiguration"]),
            json!([of("topic", "payments.*"), of("topic", "orders")])
        )
    );
    assert_eq!(
        statement("SourceGroup"),
        (actions(&["DescribeGroup", "AlterGroup"]), json!([of("group", "strait.a-to-b")]))
    );
    assert_eq!(
        statement("TargetTransactionalIds"),
        (
            actions(&["DescribeTransactionalId", "AlterTransactionalId"]),
            json!([of("transactional-id", "strait.a-to-b.*")])
        )
    );
    let own = statement("TargetOwnTopics").0;
    let expected =
        ["DescribeTopic", "ReadData", "WriteData", "CreateTopic", "AlterTopic", "DescribeTopicDynamicConfiguration"];
    assert_eq!(own, actions(&expected));
}

#[test]
fn principals_and_arns_are_told_from_misspelt_ones() {
    for (text, is) in [
        ("User:copier", true),
        ("User:CN=copier, O=it's ours", true),
        ("User:*", true),
        ("user:copier", false),
        ("copier", false),
        ("sorce=User:copier", false),
        ("User:", false),
        ("User: copier", false),
    ] {
        assert_eq!(commands::is_principal(text), is, "{text}");
    }
    for (text, is_cluster, is_identity) in [
        ("arn:aws:kafka:eu-west-1:123456789012:cluster/main/0f1e-2", true, false),
        ("arn:aws-us-gov:kafka:us-gov-west-1:123456789012:cluster/main/0f1e-2", true, false),
        ("arn:aws:kafka:eu-west-1:123456789012:cluster/main", false, false),
        ("arn:aws:kafka:eu-west-1:12345678901:cluster/main/0f1e-2", false, false),
        ("arn:aws:kafka:eu-west-1:123456789012:topic/main/0f1e-2/orders", false, false),
        ("arn:aws:kafka:euwest1:123456789012:cluster/main/0f1e-2", false, false),
        ("arn:aws:kafka::123456789012:cluster/main/0f1e-2", false, false),
        ("arn:aws:kakfa:eu-west-1:123456789012:cluster/main/0f1e-2", false, false),
        ("arn:aws:iam::123456789012:role/team/strait", false, true),
        ("arn:aws:iam::123456789012:user/strait@x", false, true),
        ("arn:aws:iam::123456789012:rol/strait", false, false),
        ("arn:aws:iam:eu-west-1:123456789012:role/strait", false, false),
        ("arn:aws:sts::123456789012:assumed-role/strait/me", false, false),
    ] {
        assert_eq!((msk::is_cluster_arn(text), msk::is_identity_arn(text)), (is_cluster, is_identity), "{text}");
    }
}

#[test]
fn every_right_is_of_some_link_and_has_its_reason() {
    let exact = link(json!({}));
    let loose = link(json!({
        "delivery": "at-least-once",
        "sync": { "acls": true },
        "groups": ["g"],
        "mm2": { "heartbeats": "both" },
        "on_deleted": "delete",
    }));
    let deletes =
        |link: &Link| short(link, &Names::of(link, &[], &[])).iter().any(|right| right.contains("target Delete topic"));
    assert!(deletes(&loose) && !deletes(&exact), "the right to delete goes with the option");
    for right in &RIGHTS {
        assert!(right.when.is(&exact) || right.when.is(&loose), "{right:?}");
        assert!(!right.why.is_empty() && !right.without.is_empty() && !right.why.ends_with('.'), "{right:?}");
        let of = |right: &Right| (right.on, right.operation, right.when);
        let same = RIGHTS.iter().filter(|other| of(other) == of(right)).count();
        assert!(same == 1 || right.on == On::TransactionalIds, "{right:?}");
    }
    for request in MetadataRight::ALL {
        let (on, operation) = right_of(request);
        assert!(RIGHTS.iter().any(|right| (right.on, right.operation) == (on, operation)), "{request:?}");
    }
}
