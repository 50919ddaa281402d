//! Files as people have them: each is translated, and what comes out of it is a configuration.

use super::super::*;
use super::loads;

/// A file, its links with the topics' names on the target, and what is refused.
struct Case {
    name: &'static str,
    text: &'static str,
    links: &'static [(&'static str, &'static str)],
    refused: &'static [&'static str],
}

macro_rules! case {
    ($name:literal, $links:expr, $refused:expr) => {
        Case { name: $name, text: include_str!(concat!("../examples/", $name)), links: &$links, refused: &$refused }
    };
}

const CASES: [Case; 12] = [
    case!("one-way.properties", [("primary-secondary", "primary.x")], []),
    case!("both-ways.properties", [("us-west-us-east", "us-west.x"), ("us-east-us-west", "us-east.x")], []),
    case!("standby-same-names.properties", [("prod-standby", "x")], []),
    case!("cloud-migration.properties", [("onprem-msk", "onprem.x")], []),
    case!(
        "hub.properties",
        [("berlin-centre", "berlin.x"), ("lyon-centre", "lyon.x"), ("porto-centre", "porto.x")],
        []
    ),
    case!("underscore.properties", [("fra-ams", "fra_x"), ("ams-fra", "ams_x")], []),
    case!("tuned-exactly-once.properties", [("tokyo-oregon", "tokyo.x")], []),
    case!("no-names-in-topics.properties", [("A-B", "x")], []),
    case!("filtered.properties", [("shop-lake", "x")], []),
    case!("strimzi-scram.yaml", [("live-backup", "live.x")], []),
    case!("strimzi-same-names.yaml", [("old-new", "x")], []),
    case!("strimzi-v1.yaml", [("north-centre", "north.x"), ("south-centre", "south.x")], []),
];

/// Puts references that resolve here in place of those of the file.
fn resolvable(toml: &str, file: &std::path::Path) -> String {
    let mut out = String::new();
    let mut rest = toml;
    while let Some((before, after)) = rest.split_once("${") {
        let (reference, tail) = after.split_once('}').unwrap();
        let instead =
            if reference.starts_with("env:") { "env:PATH".to_owned() } else { format!("file:{}", file.display()) };
        out.push_str(&format!("{before}${{{instead}}}"));
        rest = tail;
    }
    out + rest
}

#[test]
fn files_as_people_have_them_become_configurations() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    for Case { name, text, links, refused } in CASES {
        let translate = if name.ends_with(".yaml") { strimzi } else { mirror_maker };
        let imported = translate(text.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = imported.findings.iter().filter(|finding| finding.outcome == Outcome::Refused);
        let found: Vec<&str> = found.map(|finding| finding.name.as_str()).collect();
        assert_eq!(found, refused, "{name}: {:?}", imported.findings);
        assert!(!imported.toml.contains("not-in-the-new-file"), "{name}");
        let toml = resolvable(&imported.toml, &secret);
        let config = loads(&toml).unwrap_or_else(|error| panic!("{name}: {error}\n{toml}"));
        let made = config.links.iter().map(|link| (link.name.as_str(), link.naming.apply(&link.source, "x")));
        let wanted = links.iter().map(|(link, topic)| (*link, (*topic).to_owned()));
        assert_eq!(made.collect::<Vec<_>>(), wanted.collect::<Vec<_>>(), "{name}");
        assert_eq!(imported.mirrors.len(), links.len(), "{name}");
    }
}

fn of(name: &str) -> Imported {
    let case = CASES.iter().find(|case| case.name == name).unwrap();
    let translate = if name.ends_with(".yaml") { strimzi } else { mirror_maker };
    translate(case.text.as_bytes()).unwrap()
}

#[test]
fn positions_are_where_the_file_says() {
    let place = |name: &str| {
        let mirror = of(name).mirrors[0].clone();
        (mirror.offsets_topic, mirror.group, mirror.connector, mirror.flush_interval.as_secs(), mirror.reads_committed)
    };
    let none = |topic: &str, group: &str| (topic.to_owned(), group.to_owned(), None, 60, false);
    assert_eq!(place("one-way.properties"), none("mm2-offsets.primary.internal", "primary-mm2"));
    assert_eq!(place("no-names-in-topics.properties"), none("mirror-offsets", "mirror"));
    let tuned = ("mm2-offsets.tokyo.internal".to_owned(), "tokyo-mm2".to_owned(), None, 10, true);
    assert_eq!(place("tuned-exactly-once.properties"), tuned);
    let strimzi = |topic: &str, group: &str, connector: &str| {
        (topic.to_owned(), group.to_owned(), Some(format!("{connector}.MirrorSourceConnector")), 60, false)
    };
    assert_eq!(
        place("strimzi-scram.yaml"),
        strimzi("mirrormaker2-cluster-offsets", "mirrormaker2-cluster", "live->backup")
    );
    assert_eq!(place("strimzi-same-names.yaml"), strimzi("migrate-offsets", "migrate", "old->new"));
    assert_eq!(place("strimzi-v1.yaml"), strimzi("centre-mirror-offsets", "centre-mirror", "north->centre"));
    assert!(of("filtered.properties").mirrors[0].has_transforms && !of("hub.properties").mirrors[0].has_transforms);
}

#[test]
fn secrets_of_a_resource_are_files_and_findings_have_its_lines() {
    let imported = of("strimzi-scram.yaml");
    for part in [
        "\"sasl.password\" = \"${file:/mnt/mirror/password}\"",
        "\"ssl.ca.location\" = \"/mnt/live-cluster-ca-cert/ca.crt\"",
        "\"ssl.ca.location\" = \"/mnt/backup-cluster-ca-cert/ca.crt\"",
        "\"ssl.certificate.pem\" = \"${file:/mnt/mirror-tls/user.crt}\"",
        "\"ssl.key.pem\" = \"${file:/mnt/mirror-tls/user.key}\"",
        "topics = [\"orders.*|payments\"]",
        "lanes = 4",
        "\"compression.type\" = \"zstd\"",
    ] {
        assert!(imported.toml.contains(part), "{part}:\n{}", imported.toml);
    }
    let at = |name: &str| imported.findings.iter().filter(|f| f.name == name).map(|f| f.line).collect::<Vec<_>>();
    assert_eq!(at("spec.mirrors[0].topicsPattern"), [71], "{:?}", imported.findings);
    assert_eq!(at("spec.replicas"), [17], "{:?}", imported.findings);
    let filtered = of("filtered.properties").toml;
    for part in ["drop = \"value == null\"", "'shop\\.debug\\..*'", "replacement = \"raw.$1\""] {
        assert!(
            filtered.contains(part) || filtered.contains(&part.replace('\'', "\"").replace('\\', "\\\\")),
            "{part}:\n{filtered}"
        );
    }
}

#[test]
fn parts_of_a_resource_that_are_not_known_are_refused_by_their_place() {
    let head = "apiVersion: kafka.strimzi.io/v1\nkind: KafkaMirrorMaker2\nspec:\n  target:\n    alias: b\n    bootstrapServers: b:1\n";
    let source = "  mirrors:\n  - source: { alias: a, bootstrapServers: 'a:1' }\n";
    for (more, name) in [
        ("    surprise: 1\n", "spec.target.surprise"),
        ("    authentication: { type: kerberos }\n", "spec.target.authentication"),
        (
            "    tls: { trustedCertificates: [{ secretName: x, certificate: c }, { secretName: y, certificate: c }] }\n",
            "spec.target.tls.trustedCertificates[1]",
        ),
        ("  surprise: 1\n", "spec.surprise"),
    ] {
        let imported = strimzi(format!("{head}{more}{source}").as_bytes()).unwrap();
        let refused = imported.findings.iter().filter(|f| f.outcome == Outcome::Refused);
        let names: Vec<&str> = refused.map(|finding| finding.name.as_str()).collect();
        assert_eq!(names, [name], "{:?}", imported.findings);
    }
    let imported =
        strimzi(format!("{head}{source}    sourceConnector: {{ config: {{ nonsense: 1 }}, more: 2 }}\n").as_bytes())
            .unwrap();
    assert_eq!(
        imported.findings.iter().filter(|f| f.outcome == Outcome::Refused).count(),
        2,
        "{:?}",
        imported.findings
    );
    for (text, why) in [
        ("kind: KafkaConnect\n", "found: KafkaConnect"),
        ("a: [\n", "line "),
        ("clusters = A\n", "nothing with a kind"),
        ("", "found: "),
    ] {
        let said = strimzi(text.as_bytes()).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.contains(why), "{text}: {said}");
    }
}
