//! Links between ends of every kind, with all that a link does at both of them: copies in lanes
//! that two processes share, transactions, quarantine.

use std::collections::{BTreeMap, BTreeSet};

use strait_e2e::{ConfigFolder, Generated, GeneratorSpec, Isolation, LogLine, Record, Strait, generate};
use strait_test_cluster::{Certificates, Cluster, Listener, TokenServer};

use crate::listeners::section;
use crate::logins::{SECRET, token_section};
use crate::support::{COPIED, Pair, link_between, record, stop, wait_until};

/// A listener and, where passwords count, the mechanism.
pub struct Way {
    pub name: &'static str,
    pub listener: Listener,
    pub mechanism: Option<&'static str>,
}

const fn way(name: &'static str, listener: Listener, mechanism: Option<&'static str>) -> Way {
    Way { name, listener, mechanism }
}

/// All ways into a cluster.
pub const WAYS: [Way; 8] = [
    way("plain", Listener::Plaintext, None),
    way("tls", Listener::Tls, None),
    way("mutual", Listener::MutualTls, None),
    way("tls-plain", Listener::SaslTls, Some("PLAIN")),
    way("tls-256", Listener::SaslTls, Some("SCRAM-SHA-256")),
    way("tls-512", Listener::SaslTls, Some("SCRAM-SHA-512")),
    way("tokens", Listener::OAuth, None),
    way("sasl", Listener::Sasl, Some("SCRAM-SHA-256")),
];

/// Ends alike, and ends of which no pair is one of those before.
pub const ALIKE: (&str, usize) = ("alike", 0);
pub const MIXED: (&str, usize) = ("mixed", 3);

const LANES: u32 = 2;
const PARTITIONS: i32 = 6;
const RECORDS: u64 = 1_500;
/// Refused by the rule, on each of two partitions.
const REFUSED: usize = 5;

/// Copies a topic once over links that have each way as source and as target, with `shift` ways
/// between the two ends.
pub fn copies(pair: &Pair, tokens: &TokenServer, (name, shift): (&str, usize)) {
    let (topic, refused) = (format!("{name}-orders"), format!("{name}-refused"));
    let source = pair.at_source();
    source.create_topic(&topic, PARTITIONS, &[]).unwrap();
    source.create_topic(&refused, 2, &[]).unwrap();
    let rule = format!(
        "[[links.plugins]]\nplugin = \"filter\"\nconfig = {{ keep = \"topic != '{refused}' || value.n > 0\" }}\n"
    );
    let (mut toml, mut links) = (String::new(), Vec::new());
    for (index, from) in WAYS.iter().enumerate() {
        let to = &WAYS[(index + shift) % WAYS.len()];
        let link = format!("{name}-{}", from.name);
        let target = format!("{link}-to-{}", to.name);
        toml.push_str(&section_of(&link, &pair.source, from, tokens));
        toml.push_str(&section_of(&target, &pair.target, to, tokens));
        toml.push_str(&link_between(&link, &link, &target, &[&topic, &refused], LANES, &rule));
        links.push(link);
    }
    let config = ConfigFolder::new(&toml).unwrap();
    config.write("secret", SECRET).unwrap();

    let mut processes = ["one", "two"].map(|number| Strait::run(&format!("{name}-{number}"), &config, &[]).unwrap());
    wait_until("one lane of each link in each process", COPIED, || {
        let all: BTreeSet<&str> = links.iter().map(String::as_str).collect();
        processes.iter().all(|process| has_one_of_each(process, &all)).then_some(())
    });
    let spec = GeneratorSpec {
        transaction_records_max: 100,
        value_bytes_max: 2_000,
        abort_share: 0.2,
        ..GeneratorSpec::new(&topic, PARTITIONS, RECORDS, 13)
    };
    let generated = generate(&source.config(), &spec).unwrap();
    assert!(generated.transactions_aborted > 0);
    let bad = |partition| vec![Record { partition, ..record(Some(b"refused"), Some(b"{\"n\":\"x\"}")) }; REFUSED];
    source.write(&refused, &[bad(0), bad(1)].concat()).unwrap();
    for link in &links {
        arrived(pair, link, &topic, &generated);
    }
    for process in &mut processes {
        for event in ["lane_restarted", "login_refused", "cluster_unreachable"] {
            assert!(process.events(event).is_empty(), "{:?}", process.events(event));
        }
        stop(process);
    }
    for link in &links {
        pair.assert_exact(&topic, &format!("{link}.{topic}"), &generated.aborted_ids);
        assert!(pair.at_target().read_records(&format!("{link}.{refused}"), Isolation::Committed).unwrap().is_empty());
    }
}

/// Waits until a link has copied all and put aside what its rule refuses.
fn arrived(pair: &Pair, link: &str, topic: &str, generated: &Generated) {
    let (copy, quarantine) = (format!("{link}.{topic}"), format!("strait.{link}.quarantine"));
    wait_until(&format!("everything copied by {link}"), COPIED, || {
        let copied = pair.at_target().read_log(&copy, Isolation::Committed).unwrap().len() as u64;
        (copied >= generated.committed).then_some(())
    });
    wait_until(&format!("the refused records of {link} in quarantine"), COPIED, || {
        let kept = pair.at_source().read_log(&quarantine, Isolation::Committed);
        (kept.is_ok_and(|kept| kept.len() == 2 * REFUSED)).then_some(())
    });
}

/// Reports whether a process has one lane of each link.
fn has_one_of_each(process: &Strait, links: &BTreeSet<&str>) -> bool {
    let mut held: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in process.lines() {
        let field = |line: &LogLine, name: &str| line.field(name).unwrap_or_default().to_owned();
        let lanes = held.entry(field(&line, "link")).or_default();
        match line.message() {
            "taking the lane" => drop(lanes.insert(field(&line, "lane"))),
            "giving the lane up" => drop(lanes.remove(&field(&line, "lane"))),
            _ => {}
        }
    }
    links.iter().all(|link| held.get(*link).is_some_and(|lanes| lanes.len() == 1))
}

/// Writes `[clusters.NAME]` for a way into a cluster.
fn section_of(name: &str, cluster: &Cluster, way: &Way, tokens: &TokenServer) -> String {
    let certificates: &Certificates = cluster.certificates().unwrap();
    match way.listener {
        Listener::OAuth => token_section(name, cluster, tokens),
        listener => section(name, cluster, (listener, way.mechanism), certificates),
    }
}
