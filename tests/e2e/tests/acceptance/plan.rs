//! `strait plan`: names each difference between two clusters and nothing else, and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rdkafka::admin::{AdminClient, AdminOptions, OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use serde_json::Value;
use strait_e2e::{ConfigFolder, Strait, TestClient};
use strait_test_cluster::{Cluster, ClusterSpec, Listener, User};

use crate::bad_input::secured_config;
use crate::support::{
    COPIED, Pair, SOON, Turn, caught_up, kafka_tool, kafka_tool_output, link, now, run_to_end, single, stop,
    wait_until, write_numbered,
};

type Settings = &'static [(&'static str, &'static str)];

/// A topic with its settings at the source, and those at the target if it is there.
const TOPICS: [(&str, Settings, Option<Settings>); 24] = [
    ("same", &[("segment.ms", "1000000")], Some(&[("segment.ms", "1000000")])),
    ("plain", &[], Some(&[])),
    ("new", &[], None),
    ("new-set", &[("segment.ms", "2000000"), ("retention.ms", "5000000")], None),
    ("new-compacted", &[("cleanup.policy", "compact")], None),
    ("retention", &[("retention.ms", "900000000")], Some(&[])),
    ("purged", &[("retention.ms", "3600000")], Some(&[("retention.ms", "7200000")])),
    ("by-hand", &[], Some(&[("retention.ms", "86400000")])),
    ("bytes", &[("retention.bytes", "1000000000")], Some(&[])),
    ("policy", &[("cleanup.policy", "compact,delete")], Some(&[("cleanup.policy", "delete")])),
    ("tombstones", &[("delete.retention.ms", "172800000")], Some(&[])),
    ("large", &[("max.message.bytes", "2000000")], Some(&[])),
    ("small", &[("max.message.bytes", "500000")], Some(&[])),
    ("times", &[], Some(&[("message.timestamp.type", "LogAppendTime")])),
    ("segments", &[("segment.ms", "3000000")], Some(&[])),
    ("codec", &[("compression.type", "zstd")], Some(&[("compression.type", "lz4")])),
    ("edited", &[("flush.ms", "60000")], Some(&[("flush.ms", "70000")])),
    ("replicas", &[("min.insync.replicas", "2")], Some(&[])),
    ("unclean", &[("unclean.leader.election.enable", "true")], Some(&[])),
    ("window", &[("message.timestamp.before.max.ms", "100000000")], Some(&[])),
    ("excluded", &[("flush.messages", "5")], Some(&[])),
    ("own", &[], Some(&[("index.interval.bytes", "9000")])),
    ("grows", &[], Some(&[])),
    ("shrunk", &[], Some(&[])),
];

/// The lines of a plan about them: sign, kind, topic, name, reason or new value.
const EXPECTED: [&str; 36] = [
    "+ topic source.p-new",
    "+ topic source.p-new-compacted",
    "+ topic source.p-new-set",
    "~ config source.p-new-set segment.ms 2000000",
    "~ config source.p-retention retention.ms 900000000 purges",
    "~ config source.p-purged retention.ms 3600000 purges",
    "~ config source.p-by-hand retention.ms -1",
    "~ config source.p-bytes retention.bytes 1000000000 purges",
    "~ config source.p-policy cleanup.policy compact,delete purges",
    "~ config source.p-tombstones delete.retention.ms 172800000",
    "~ config source.p-large max.message.bytes 2000000",
    "= config source.p-small max.message.bytes never_lowered",
    "~ config source.p-times message.timestamp.type CreateTime",
    "~ config source.p-segments segment.ms 3000000",
    "~ config source.p-codec compression.type zstd",
    "~ config source.p-edited flush.ms 60000",
    "= config source.p-replicas min.insync.replicas excluded",
    "= config source.p-unclean unclean.leader.election.enable excluded",
    "= config source.p-window message.timestamp.before.max.ms excluded",
    "= config source.p-excluded flush.messages excluded",
    "= config source.p-own index.interval.bytes targets_own",
    "~ partitions source.p-grows 3",
    "= partitions source.p-shrunk not_shrunk",
    "= topic source.p-gone target_gone",
    "= topic source.p-target-again target_recreated",
    "= topic source.p-source-again source_recreated",
    "+ acl source.p-same allow Read User:app-eu",
    "+ acl source.p-same allow Read User:root",
    "+ acl source.p-same deny Read User:mallory",
    "+ acl source.p-plain allow Describe User:other",
    "= acl p-same allow Write User:writer only_we_write",
    "= acl p-same deny Write User:* hits_ourselves",
    "= acl p-same deny All User:* hits_ourselves",
    "= acl p- allow Read User:many wide",
    "= acl * allow Read User:all wide",
    "= acl p-plain deny AlterConfigs User:* hits_ourselves",
];

/// Entries of the access list at the source, and one that both have.
const ACLS: [&str; 13] = [
    "app,TOPIC,p-same,LITERAL,READ",
    "root,TOPIC,p-same,LITERAL,ALL",
    "mallory,TOPIC,p-same,LITERAL,READ,DENY",
    "other,TOPIC,p-plain,LITERAL,DESCRIBE",
    "both,TOPIC,p-plain,LITERAL,READ",
    "writer,TOPIC,p-same,LITERAL,WRITE",
    "*,TOPIC,p-same,LITERAL,WRITE,DENY",
    "*,TOPIC,p-same,LITERAL,ALL,DENY",
    "*,TOPIC,p-plain,LITERAL,ALTER_CONFIGS,DENY",
    "many,TOPIC,p-,PREFIXED,READ",
    "all,TOPIC,*,LITERAL,READ",
    "stranger,TOPIC,elsewhere,LITERAL,READ",
    "strangers,TOPIC,else,PREFIXED,READ",
];

/// A pair with access lists, whose brokers have other defaults.
fn pair() -> Pair {
    let of = |name: &str| ClusterSpec { acls: true, ..single(name) };
    Pair::of(
        of("plan-source").with_property("log.index.interval.bytes", "8192"),
        of("plan-target").with_property("log.segment.bytes", "536870912"),
    )
}

/// Topics with what is known of each, and the access list.
type Dump = (BTreeMap<String, Vec<String>>, BTreeSet<String>);

/// Returns what the clusters have: topics with partitions, settings and where they come from, and
/// the access list.
fn dump(cluster: &Cluster) -> Dump {
    let client = TestClient::new(cluster.internal_bootstrap());
    let admin: AdminClient<DefaultClientContext> = client.config().create().unwrap();
    let topics = client.topics().unwrap();
    let asked: Vec<ResourceSpecifier<'_>> = topics.iter().map(|(topic, _)| ResourceSpecifier::Topic(topic)).collect();
    let described = now(admin.describe_configs(&asked, &AdminOptions::new())).unwrap();
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (topic, partitions) in &topics {
        let name = format!("{:?}", OwnedResourceSpecifier::Topic(topic.clone()));
        all.entry(name).or_default().push(format!("{partitions} partitions"));
    }
    for described in described.into_iter().map(Result::unwrap) {
        let mut entries: Vec<String> = described.entries.iter().map(|entry| format!("{entry:?}")).collect();
        entries.sort();
        all.entry(format!("{:?}", described.specifier)).or_default().extend(entries);
    }
    let acls = kafka_tool_output("acls", &cluster.internal_bootstrap(), &[]);
    (all, acls.lines().map(str::to_owned).collect())
}

pub fn planned(config: &ConfigFolder, link: &str, more: &[&str]) -> (Option<i32>, Value, String) {
    let all = [&["plan", link, "-o", "json"], more].concat();
    let mut strait = Strait::start("plan", config.path(), &all).unwrap();
    let code = strait.wait_end(COPIED).unwrap().code();
    let (out, err) = (strait.stdout(), strait.stderr());
    let json = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    (code, json, err)
}

fn texts<'a>(entry: &'a Value, names: &[&str]) -> Vec<&'a str> {
    names.iter().filter_map(|name| entry[*name].as_str().filter(|text| !text.is_empty())).collect()
}

/// Returns the lines of a plan in the form of [`EXPECTED`].
pub fn short(plan: &Value) -> BTreeSet<String> {
    let entries = ["changes", "left", "unknown"].iter().flat_map(|part| plan[*part].as_array().unwrap());
    let line = |entry: &Value| {
        let mut words = texts(entry, &["sign", "kind"]);
        match words[1] {
            "acl" => words.extend(texts(entry, &["name", "permission", "operation", "principal", "why"])),
            _ => words.extend(texts(entry, &["topic", "name", "to", "why", "of"])),
        }
        words.extend((entry["purges"] == true).then_some("purges"));
        words.join(" ")
    };
    entries.map(line).collect()
}

fn plant(pair: &Pair) {
    let (source, target) = (pair.at_source(), pair.at_target());
    for (topic, settings, copy) in TOPICS {
        let (here, there) = match topic {
            "grows" => (3, 1),
            "shrunk" => (1, 2),
            _ => (1, 1),
        };
        source.create_topic(&format!("p-{topic}"), here, settings).unwrap();
        if let Some(copy) = copy {
            target.create_topic(&format!("source.p-{topic}"), there, copy).unwrap();
        }
    }
    source.create_topic("elsewhere", 1, &[("segment.ms", "1000000")]).unwrap();
    target.create_topic("source.elsewhere", 2, &[("segment.ms", "4000000")]).unwrap();
    kafka_tool("acl", &pair.source.internal_bootstrap(), &ACLS.map(str::to_owned));
    let there = ["both,TOPIC,source.p-plain,LITERAL,READ", "theirs,TOPIC,source.p-plain,LITERAL,READ"];
    kafka_tool("acl", &pair.target.internal_bootstrap(), &there.map(str::to_owned));
}

#[test]
fn a_plan_names_each_of_the_planted_differences_and_nothing_else() {
    let _turn = Turn::beside_another();
    let pair = pair();
    let (source, target) = (pair.at_source(), pair.at_target());
    // What the link has copied before, and what became of the topics since.
    let again = ["gone", "target-again", "source-again"].map(|topic| format!("p-{topic}"));
    for topic in &again {
        source.create_topic(topic, 1, &[]).unwrap();
        write_numbered(&source, topic, 0, 0, 5);
    }
    let names: Vec<&str> = again.iter().map(String::as_str).collect();
    caught_up("plan-before", &pair.config(&link("plan", &names, 1, "")));
    target.delete_topic("source.p-gone").unwrap();
    target.delete_topic("source.p-target-again").unwrap();
    target.create_topic("source.p-target-again", 1, &[]).unwrap();
    source.delete_topic("p-source-again").unwrap();
    source.create_topic("p-source-again", 1, &[]).unwrap();
    plant(&pair);

    let sync = "[links.sync]\nacls = true\nconfigs_exclude = [\"flush\\\\.messages\"]\n\
                principals = { \"User:app\" = \"User:app-eu\" }";
    let config = pair.config(&link("plan", &["p-.*"], 1, sync));
    let before = [dump(&pair.source), dump(&pair.target)];
    let (code, plan, err) = planned(&config, "plan", &[]);
    assert_eq!(code, Some(0), "{err}");
    let found = short(&plan);
    let expected: BTreeSet<String> = EXPECTED.map(str::to_owned).into();
    let missing: Vec<_> = expected.difference(&found).collect();
    let more: Vec<_> = found.difference(&expected).collect();
    assert!(missing.is_empty() && more.is_empty(), "missing {missing:#?}\nmore {more:#?}\n{plan:#}");
    let refused: Vec<_> =
        plan["changes"].as_array().unwrap().iter().filter(|change| !change["refused"].is_null()).collect();
    assert!(refused.is_empty(), "{refused:#?}");

    let (code, again, _) = planned(&config, "plan", &["--fail-on-change"]);
    assert_eq!((code, short(&again)), (Some(1), found));
    let (code, text) = run_to_end("plan-text", &config, &["plan", "plan"], COPIED);
    assert_eq!(code, Some(0), "{text}");
    for line in [
        "link plan: source -> target, 27 topics",
        "~ topic source.p-purged: retention.ms 7200000 -> 3600000 (the target deletes records by it)",
        "= topic source.p-small: max.message.bytes 500000 at the source, 1048588 at the target: never lowered",
        "+ acl source.p-same: deny Read to User:mallory",
        "7 to make, 13 to change, 0 to delete; 16 left as they are, 0 not known",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert_eq!([dump(&pair.source), dump(&pair.target)], before, "a plan has changed something");

    let none = pair.config(&link("plan", &["p-(same|plain|segments)"], 1, "[links.sync]\nconfigs = \"none\""));
    let (code, found, _) = planned(&none, "plan", &["--fail-on-change"]);
    assert_eq!((code, short(&found)), (Some(0), ["= config source.p-segments segment.ms sync_off".to_owned()].into()));

    // A run does exactly that, and a second plan is empty.
    let mut strait = Strait::run("plan-run", &config, &[]).unwrap();
    let after = wait_until("all done", SOON, || {
        let (_, after, _) = planned(&config, "plan", &[]);
        after["changes"].as_array().unwrap().is_empty().then_some(after)
    });
    stop(&mut strait);
    let rest: BTreeSet<String> = expected.iter().filter(|line| line.starts_with("= ")).cloned().collect();
    assert_eq!(short(&after), rest);
    assert_eq!(dump(&pair.source).1, before[0].1, "the access list of the source");
    done_and_nothing_else(&plan, &before[1], &dump(&pair.target));
    assert_eq!(strait.events("metadata_denied").len() + strait.events("config_refused").len(), 0);
}

/// Compares the target before and after a plan was carried out.
fn done_and_nothing_else(plan: &Value, before: &Dump, after: &Dump) {
    let is_own = |name: &str| name.contains("\"strait.");
    let changed: BTreeSet<&String> = after
        .0
        .iter()
        .filter(|(name, entries)| !is_own(name) && before.0.get(*name) != Some(*entries))
        .map(|(name, _)| name)
        .collect();
    let changes = plan["changes"].as_array().unwrap();
    let named =
        |change: &Value| format!("{:?}", OwnedResourceSpecifier::Topic(change["topic"].as_str().unwrap().into()));
    let wanted: BTreeSet<String> = changes.iter().filter(|change| change["kind"] != "acl").map(named).collect();
    assert_eq!(changed, wanted.iter().collect());
    assert!(before.0.keys().all(|name| after.0.contains_key(name)), "a topic is gone");
    let added = after.1.difference(&before.1).count();
    let wanted = changes.iter().filter(|change| change["kind"] == "acl").count();
    assert_eq!((added, before.1.difference(&after.1).count()), (wanted, 0));
}

/// Rights that a link has, and those that only its plan needs.
const RIGHTS: [&str; 4] = [
    "writer,TOPIC,source.q,PREFIXED,DESCRIBE",
    "writer,TOPIC,source.q,PREFIXED,CREATE",
    "reader,TOPIC,q,PREFIXED,DESCRIBE",
    "reader,TOPIC,q,PREFIXED,READ",
];
const MORE: [&str; 6] = [
    "reader,TOPIC,q,PREFIXED,DESCRIBE_CONFIGS",
    "writer,TOPIC,source.q,PREFIXED,DESCRIBE_CONFIGS",
    "writer,TOPIC,source.q,PREFIXED,ALTER_CONFIGS",
    "writer,TOPIC,strait.plan.,PREFIXED,READ",
    "reader,CLUSTER,kafka-cluster,LITERAL,DESCRIBE",
    "writer,CLUSTER,kafka-cluster,LITERAL,DESCRIBE",
];

#[test]
fn without_rights_a_plan_says_which_part_is_not_known() {
    let _turn = Turn::beside_another();
    let users = ["reader", "writer"].map(|name| User { name: name.into(), password: format!("{name}-password") });
    let spec = ClusterSpec { users: users.to_vec(), acls: true, ..single("plan-rights") };
    let cluster = Arc::new(now(Cluster::start(spec.with_listeners(&[Listener::Sasl]))).unwrap());
    let client = TestClient::new(cluster.internal_bootstrap());
    client.create_topic("q", 1, &[("segment.ms", "1000000")]).unwrap();
    client.create_topic("source.q", 1, &[]).unwrap();
    client.create_topic("q-new", 1, &[]).unwrap();
    let give = |acls: &[&str]| {
        let acls: Vec<String> = acls.iter().map(|acl| (*acl).to_owned()).collect();
        kafka_tool("acl", &cluster.internal_bootstrap(), &acls);
    };
    give(&RIGHTS);
    let users = [("reader", "reader-password"), ("writer", "writer-password")];
    let config = secured_config(&cluster, users, &link("plan", &["q.*"], 1, "[links.sync]\nacls = true"));
    let (code, plan, _) = planned(&config, "plan", &["--fail-on-change"]);
    let expected = [
        "+ topic source.q-new",
        "? unknown settings of source topic q",
        "? unknown settings of source topic q-new",
        "? unknown access list of the source",
        "? unknown access list of the target",
        "? unknown topics that the link has copied before",
    ];
    assert_eq!((code, short(&plan)), (Some(1), expected.map(str::to_owned).into()), "{plan:#}");
    assert!(plan.to_string().contains("the principal lacks an ACL"), "{plan:#}");

    // With all but the right to change settings, the target refuses the change in advance.
    give(&MORE.iter().copied().filter(|acl| !acl.contains("ALTER")).collect::<Vec<_>>());
    let (_, plan, _) = planned(&config, "plan", &[]);
    let changes = plan["changes"].as_array().unwrap();
    let refused: Vec<&Value> = changes.iter().filter(|change| !change["refused"].is_null()).collect();
    assert!(refused.len() == 1 && refused[0]["name"] == "segment.ms", "{plan:#}");
    assert!(refused[0]["refused"].as_str().unwrap().contains("the target refuses it"), "{plan:#}");
    give(&MORE);
    let (_, plan, _) = planned(&config, "plan", &[]);
    let expected = ["+ topic source.q-new", "~ config source.q segment.ms 1000000"];
    let found: BTreeSet<String> = short(&plan).into_iter().filter(|line| !line.contains(" acl ")).collect();
    assert_eq!(found, expected.map(str::to_owned).into(), "{plan:#}");
    assert!(plan["changes"].as_array().unwrap().iter().all(|change| change["refused"].is_null()), "{plan:#}");
}
