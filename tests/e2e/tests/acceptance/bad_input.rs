//! Bad input ends in one clear message and the documented exit code: 1 failed, 2 wrong usage, 64
//! bad configuration.

use std::time::{Duration, Instant};

use regex::Regex;
use strait_e2e::{ConfigFolder, Isolation, Strait, TestClient, write_records};
use strait_test_cluster::{Cluster, ClusterSpec, HeldPort, Listener, User};

use crate::support::{Turn, copy, kafka_tool, keys, link, now, numbered, settings, single};

const END_MAX: Duration = Duration::from_secs(60);

/// Runs the binary to its end. Returns its exit code and output, without what differs between
/// machines.
#[track_caller]
fn ending(name: &str, folder: &ConfigFolder, arguments: &[&str]) -> (Option<i32>, String) {
    let began = Instant::now();
    let mut strait = Strait::start(name, folder.path(), arguments).unwrap();
    let status = strait.wait_end(END_MAX).unwrap();
    println!("{name}: exit code {:?} after {:.1?}", status.code(), began.elapsed());
    // The messages for the person at the terminal; the log is JSON here.
    let stderr = strait.stderr();
    let messages: String =
        stderr.lines().filter(|line| !line.starts_with('{')).map(|line| format!("{line}\n")).collect();
    (status.code(), redacted(&format!("{}{messages}", strait.stdout()), folder))
}

fn redacted(text: &str, folder: &ConfigFolder) -> String {
    let mut text = text.replace(&folder.path().display().to_string(), "FOLDER");
    for (pattern, name) in [
        (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
        (r"after \d+ms in state [A-Z_]+", "after N ms in state STATE"),
        (r"\d+ identical error", "N identical error"),
        (r"\b\d+(\.\d+)? ?m?s\b", "TIME"),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, name).into_owned();
    }
    text
}

const CLUSTERS: &str =
    "[clusters.source]\nbootstrap_servers = \"127.0.0.1:1\"\n[clusters.target]\nbootstrap_servers = \"127.0.0.1:1\"\n";
const RUN: [&str; 6] = ["--log", "warn", "--log-format", "json", "run", "--until-caught-up"];

#[test]
fn a_wrong_command_line_or_file_ends_with_one_message() {
    let good = format!("{CLUSTERS}{}", link("l", &["orders"], 1, ""));
    let folder = |toml: &str| ConfigFolder::new(toml).unwrap();

    let (code, output) = ending("unknown flag", &folder(&good), &["run", "--until-caughtup"]);
    assert_eq!(code, Some(2));
    insta::assert_snapshot!("unknown_flag", output);

    let missing = [&RUN[..], &["--config", "missing.toml"]].concat();
    let (code, output) = ending("missing file", &folder(&good), &missing);
    assert_eq!(code, Some(64));
    insta::assert_snapshot!("missing_file", output);

    for (name, toml) in [
        ("bad_toml", good.replace("name = \"l\"", "name = l\"")),
        ("unknown_key", good.replace("lanes = 1", "lane = 1")),
        ("unknown_cluster", good.replace("target = \"target\"", "target = \"tarjet\"")),
        (
            "forbidden_property",
            good.replace("[clusters.target]", "[clusters.source.kafka]\nacks = \"1\"\n[clusters.target]"),
        ),
    ] {
        let (code, output) = ending(name, &folder(&toml), &RUN);
        assert_eq!(code, Some(64), "{name}: {output}");
        insta::assert_snapshot!(name, output);
    }

    // A port that nobody listens on.
    let closed = HeldPort::take().unwrap().release();
    let (code, output) =
        ending("wrong port", &folder(&good.replace("127.0.0.1:1\"", &format!("127.0.0.1:{closed}\""))), &RUN);
    assert_eq!(code, Some(1), "{output}");
    insta::assert_snapshot!("wrong_port", output);
}

/// Returns the ACLs that a link from topic `orders` needs on its source.
fn source_acls(user: &str) -> Vec<String> {
    let acls = [
        "TOPIC,orders,LITERAL,READ",
        "TOPIC,orders,LITERAL,DESCRIBE",
        "GROUP,strait.,PREFIXED,READ",
        "TOPIC,strait.,PREFIXED,WRITE",
        "TOPIC,strait.,PREFIXED,CREATE",
    ];
    acls.map(|acl| format!("{user},{acl}")).to_vec()
}

/// Returns the ACLs that a link to `source.orders` needs on its target.
fn target_acls(user: &str) -> Vec<String> {
    let acls = [
        "TOPIC,source.,PREFIXED,WRITE",
        "TOPIC,source.,PREFIXED,DESCRIBE",
        "TOPIC,source.,PREFIXED,DESCRIBE_CONFIGS",
        "TOPIC,source.,PREFIXED,ALTER_CONFIGS",
        "TOPIC,source.,PREFIXED,CREATE",
        "TOPIC,source.,PREFIXED,ALTER",
        "TOPIC,strait.,PREFIXED,READ",
        "TOPIC,strait.,PREFIXED,WRITE",
        "TOPIC,strait.,PREFIXED,CREATE",
        "GROUP,strait.,PREFIXED,READ",
        "TRANSACTIONAL_ID,strait.,PREFIXED,WRITE",
        "TRANSACTIONAL_ID,strait.,PREFIXED,DESCRIBE",
    ];
    acls.map(|acl| format!("{user},{acl}")).to_vec()
}

const USERS: [&str; 7] = ["admin", "reader", "writer", "no-read", "no-write", "no-transactions", "read-only"];

fn secured() -> Cluster {
    let users = USERS.map(|name| User { name: name.into(), password: format!("{name}-password") }).to_vec();
    let spec = ClusterSpec { users, acls: true, ..single("secured") }.with_listeners(&[Listener::Sasl]);
    let cluster = now(Cluster::start(spec));
    let cluster = cluster.unwrap();
    let client = TestClient::new(cluster.internal_bootstrap());
    client.create_topic("orders", 1, &[]).unwrap();
    client.create_topic("bare", 1, &[("retention.ms", "86400000")]).unwrap();
    write_records(&client.config(), "orders", &numbered(0, 0, 50)).unwrap();

    let without =
        |acls: Vec<String>, part: &str| acls.into_iter().filter(|acl| !acl.contains(part)).collect::<Vec<_>>();
    let acls = [
        source_acls("reader"),
        vec!["reader,TOPIC,bare,LITERAL,READ".to_owned()],
        without(source_acls("no-read"), "orders,LITERAL,READ"),
        target_acls("writer"),
        without(target_acls("no-write"), "source.,PREFIXED,WRITE"),
        without(target_acls("no-transactions"), "TRANSACTIONAL_ID"),
        ["READ", "DESCRIBE"].map(|operation| format!("read-only,TOPIC,rejecting,LITERAL,{operation}")).to_vec(),
    ];
    kafka_tool("acl", &cluster.internal_bootstrap(), &acls.concat());
    cluster
}

/// Writes the configuration of a link between two users of one cluster.
pub fn secured_config(cluster: &Cluster, users: [(&str, &str); 2], link: &str) -> ConfigFolder {
    let part = |name: &str, (user, password): (&str, &str)| {
        format!(
            "[clusters.{name}]\nbootstrap_servers = \"{}\"\ninsecure = true\n[clusters.{name}.kafka]\n\"security.protocol\" = \"SASL_PLAINTEXT\"\n\
             \"sasl.mechanism\" = \"SCRAM-SHA-512\"\n\"sasl.username\" = \"{user}\"\n\"sasl.password\" = \"{password}\"\n",
            cluster.bootstrap()
        )
    };
    ConfigFolder::new(&format!("{}{}{link}", part("source", users[0]), part("target", users[1]))).unwrap()
}

#[test]
fn wrong_passwords_missing_permissions_and_bad_plugins_end_with_one_message() {
    let _turn = Turn::beside_another();
    let cluster = secured();
    let reader = ("reader", "reader-password");
    let writer = ("writer", "writer-password");

    for (name, users) in [
        ("wrong_password", [("reader", "hunter2hunter2"), writer]),
        ("no_read_on_the_source_topic", [("no-read", "no-read-password"), writer]),
        ("no_write_on_the_target_topic", [reader, ("no-write", "no-write-password")]),
        ("no_transactional_id", [reader, ("no-transactions", "no-transactions-password")]),
    ] {
        let config = secured_config(&cluster, users, &link(&name.replace('_', "-"), &["orders"], 1, ""));
        let (code, output) = ending(name, &config, &RUN);
        assert_eq!(code, Some(1), "{name}: {output}");
        assert!(!output.contains("hunter2") && !output.contains("-password"), "{name}: {output}");
        insta::assert_snapshot!(name, output);
    }

    let import = "(module (import \"env\" \"clock\" (func)) (memory (export \"memory\") 1))";
    let config_of = "config = { pattern = \"(\", replacement = \"x\" }";
    for (name, plugin, more) in [
        ("plugin_that_is_not_wasm", "broken", ""),
        ("plugin_with_an_unknown_import", "imports", ""),
        ("plugin_that_refuses_its_configuration", "rename", config_of),
        ("plugin_that_does_not_exist", "renane", ""),
    ] {
        let plugins = format!("[[links.plugins]]\nplugin = \"{plugin}\"\n{more}");
        let config = secured_config(&cluster, [reader, writer], &link("plugins", &["orders"], 1, &plugins));
        config.write("plugins/broken.wasm", "not wasm at all").unwrap();
        config.write("plugins/imports.wasm", wat::parse_str(import).unwrap()).unwrap();
        let (code, output) = ending(name, &config, &RUN);
        assert_eq!(code, Some(64), "{name}: {output}");
        insta::assert_snapshot!(name, output);
    }

    // Without anything missing the link works.
    let config = secured_config(&cluster, [reader, writer], &link("allowed", &["orders"], 1, ""));
    let (code, output) = ending("allowed", &config, &RUN);
    assert_eq!(code, Some(0), "{output}");
    let client = TestClient::new(cluster.internal_bootstrap());
    let copied = client.read_log("source.orders", Isolation::Committed).unwrap();
    assert_eq!(copied.len(), 50);

    // Nobody may read the settings of the source topic: what is copied is kept.
    let config = secured_config(&cluster, [reader, writer], &link("bare", &["bare"], 1, ""));
    let strait = copy(&config);
    let unknown = strait.events("source_config_unknown");
    assert_eq!(unknown.len(), 1, "{unknown:?}");
    for part in ["source.bare", "source topic bare", "grant DescribeConfigs"] {
        assert!(unknown[0].message().contains(part), "{}", unknown[0].message());
    }
    let settings = settings(&client, "source.bare");
    assert_eq!((&*settings["cleanup.policy"], &*settings["retention.ms"]), ("delete", "-1"));

    a_source_that_may_only_be_read(&cluster);
}

/// A plugin rejects one record, and the link may not write its quarantine topic: that partition
/// stops before it, the other is copied.
fn a_source_that_may_only_be_read(cluster: &Cluster) {
    let client = TestClient::new(cluster.internal_bootstrap());
    client.create_topic("rejecting", 2, &[]).unwrap();
    let mut records = [numbered(0, 0, 20), numbered(1, 0, 20)].concat();
    records.iter_mut().for_each(|record| record.value = Some(b"{}".to_vec()));
    records[10].value = Some(b"no JSON".to_vec());
    write_records(&client.config(), "rejecting", &records).unwrap();
    let users = [("read-only", "read-only-password"), ("writer", "writer-password")];
    let plugin =
        "[[links.plugins]]\nplugin = \"redact\"\nconfig = { rules = [{ fields = [\"$.a\"], with = \"remove\" }] }";

    for (name, policy, event, (code, said)) in [
        (
            "kept",
            "",
            "quarantine_failed",
            (1, "may not write topic strait.kept.quarantine on source: the first record"),
        ),
        ("stops", "on_refused = \"stop\"\n", "record_stopped", (0, "a refused record stops its partition")),
    ] {
        let naming = format!("naming = \"prefix\"\n{policy}{plugin}");
        let config = secured_config(cluster, users, &link(name, &["rejecting"], 1, &naming));
        let (found, output) = ending(name, &config, &["check"]);
        assert!(found == Some(code) && output.contains(said), "{name}: {found:?} {output}");
        let mut strait = Strait::run(name, &config, &["--until-caught-up"]).unwrap();
        assert_eq!(strait.wait_end(END_MAX).unwrap().code(), Some(1), "{}", strait.stderr());
        let stopped = strait.events(event);
        let here = stopped.iter().any(|line| line.message().starts_with("rejecting-0: stopped at offset 10"));
        assert!(here, "{name}: {}", strait.stderr());
        assert!(strait.stderr().contains("1 of its partitions are stopped"), "{}", strait.stderr());
        let copied = client.read_records("source.rejecting", Isolation::Committed).unwrap();
        assert_eq!((keys(&copied, 0).len(), keys(&copied, 1).len()), (10, 20), "{name}");
        client.delete_topic("source.rejecting").unwrap();
    }
}
