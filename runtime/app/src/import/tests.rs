//! Files of different shape, and each property by itself.

use super::*;

fn import(text: &str) -> Imported {
    mirror_maker(text.as_bytes()).unwrap()
}

/// Returns `line name outcome` of each finding.
fn found(imported: &Imported) -> Vec<String> {
    let line = |finding: &Finding| format!("{} {} {}", finding.line, finding.name, finding.outcome.word());
    imported.findings.iter().map(line).collect()
}

/// Loads the configuration as `strait check` does.
fn loads(toml: &str) -> Result<strait_core::config::Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strait.toml");
    std::fs::write(&path, toml).unwrap();
    match crate::load::load(&path, &crate::load::Environment::of_process()) {
        Ok(loaded) => Ok(loaded.config),
        Err(report) => Err(report.render(false, 200)),
    }
}

/// The two clusters of most files, in ten lines.
const HEAD: &str = "clusters = A, B\nA.bootstrap.servers = a1:9092,a2:9092\nB.bootstrap.servers = b:9092\n";

#[test]
fn the_file_of_kafkas_documentation_becomes_two_links() {
    let imported = import(
        "# as in connect-mirror-maker.properties\n\
         clusters = us-west, us-east\n\
         us-west.bootstrap.servers = w1:9092, w2:9092\n\
         us-east.bootstrap.servers = e1:9092\n\
         us-west->us-east.enabled = true\n\
         us-west->us-east.topics = foo.*, bar\n\
         us-east->us-west.enabled = true\n\
         replication.factor = 3\n\
         tasks.max = 8\n\
         checkpoints.topic.replication.factor=1\n\
         sync.topic.acls.enabled=false\n\
         emit.heartbeats.interval.seconds = 5\n",
    );
    assert!(!imported.has_refusals(), "{:?}", imported.findings);
    let config = loads(&imported.toml).unwrap_or_else(|error| panic!("{error}\n{}", imported.toml));
    let names: Vec<_> =
        config.links.iter().map(|link| (link.name.as_str(), link.topics.join("|"), link.lanes)).collect();
    assert_eq!(
        names,
        [("us-west-us-east", "foo.*|bar".to_owned(), Some(8)), ("us-east-us-west", ".*".to_owned(), Some(8))]
    );
    assert!(config.links.iter().all(|link| link.topics_exclude.len() == 4));
}

#[test]
fn two_directions_copy_no_copies_back() {
    let imported = import(&format!("{HEAD}A->B.enabled = true\nB->A.enabled = true\ntasks.max = 2\n"));
    let config = loads(&imported.toml).unwrap_or_else(|error| panic!("{error}\n{}", imported.toml));
    let selector = config.links[1].selector().unwrap();
    assert!(selector.selects("x.AB.y") && !selector.selects("A.x") && !selector.selects("C.A.x"), "{}", imported.toml);
    let lines: Vec<_> = imported.findings.iter().filter(|finding| finding.name == "tasks.max").collect();
    assert_eq!(lines.len(), 1, "said once: {lines:?}");
    assert!(found(&imported).contains(&"4 A->B.enabled option".to_owned()), "{:?}", imported.findings);
}

#[test]
fn logins_and_certificates_are_carried_over_and_secrets_are_not_shown() {
    let imported = import(
        "clusters = src, dst\n\
         src.bootstrap.servers = s.example:9093\n\
         src.security.protocol = SASL_SSL\n\
         src.sasl.mechanism = SCRAM-SHA-512\n\
         src.sasl.jaas.config = org.apache.kafka.common.security.scram.ScramLoginModule required \\\n    username=\"mm2\" \\\n    password=\"hunter-2\";\n\
         src.ssl.truststore.type = PEM\n\
         src.ssl.truststore.location = /etc/ca.pem\n\
         dst.bootstrap.servers = d.example:9093\n\
         dst.security.protocol = SSL\n\
         dst.ssl.keystore.type = PKCS12\n\
         dst.ssl.keystore.location = /etc/client.p12\n\
         dst.ssl.keystore.password = ${dir:/run/secrets:keystore}\n\
         dst.ssl.key.password = other-secret\n\
         src->dst.enabled = true\n\
         src->dst.replication.policy.class = org.apache.kafka.connect.mirror.IdentityReplicationPolicy\n\
         dst.exactly.once.source.support = enabled\n\
         src.consumer.isolation.level = read_committed\n\
         src.consumer.auto.offset.reset = latest\n\
         dst.producer.compression.type = zstd\n\
         dst.producer.linger.ms = 100\n",
    );
    assert!(!imported.has_refusals(), "{:?}", imported.findings);
    let said = format!("{}{:?}", imported.toml, imported.findings);
    assert!(!said.contains("hunter-2") && !said.contains("other-secret"), "{said}");
    for part in [
        "\"sasl.username\" = \"mm2\"",
        "\"sasl.password\" = \"${env:SRC_SASL_PASSWORD}\"",
        "\"ssl.ca.location\" = \"/etc/ca.pem\"",
        "\"ssl.keystore.password\" = \"${file:/run/secrets/keystore}\"",
        "\"ssl.key.password\" = \"${env:DST_SSL_KEY_PASSWORD}\"",
        "\"compression.type\" = \"zstd\"",
        "naming = \"identity\"",
        "delivery = \"exactly-once\"",
        "start = \"latest\"",
    ] {
        assert!(imported.toml.contains(part), "{part}:\n{}", imported.toml);
    }
    let at: Vec<_> = imported.findings.iter().filter(|finding| finding.name == "src.sasl.jaas.config").collect();
    assert!(at.iter().all(|finding| finding.line == 5) && !at.is_empty(), "{at:?}");
}

#[test]
fn each_property_is_an_option_a_note_or_a_refusal_with_its_line() {
    type Whole = fn(&str) -> String;
    let flow = |name: &str| format!("A->B.{name}");
    let bare = |name: &str| name.to_owned();
    let cases: &[(&str, Whole, &str, Outcome)] = &[
        ("topics=x", flow, "A->B.topics", Outcome::Option),
        ("topics.blacklist=x", flow, "A->B.topics.blacklist", Outcome::Option),
        ("tasks.max=0", flow, "A->B.tasks.max", Outcome::Refused),
        ("replication.factor=-1", bare, "replication.factor", Outcome::Option),
        ("replication.policy.class=a.Own", bare, "replication.policy.class", Outcome::Refused),
        ("replication.policy.separator=_", bare, "replication.policy.separator", Outcome::Refused),
        ("replication.policy.separator=.", flow, "A->B.replication.policy.separator", Outcome::Note),
        ("groups=g.*", flow, "A->B.groups", Outcome::Note),
        ("groups.exclude=g", bare, "groups.exclude", Outcome::Note),
        ("refresh.topics.interval.seconds=5", flow, "A->B.refresh.topics.interval.seconds", Outcome::Note),
        ("sync.topic.configs.enabled=true", bare, "sync.topic.configs.enabled", Outcome::Note),
        ("sync.group.offsets.enabled=true", flow, "A->B.sync.group.offsets.enabled", Outcome::Note),
        ("emit.checkpoints.interval.seconds=1", bare, "emit.checkpoints.interval.seconds", Outcome::Note),
        ("offset-syncs.topic.location=target", flow, "A->B.offset-syncs.topic.location", Outcome::Note),
        ("offset.lag.max=1", bare, "offset.lag.max", Outcome::Note),
        ("topic.filter.class=a.B", flow, "A->B.topic.filter.class", Outcome::Refused),
        ("forwarding.admin.class=a.B", bare, "forwarding.admin.class", Outcome::Refused),
        ("consumer.isolation.level=read_uncommitted", flow, "A->B.consumer.isolation.level", Outcome::Refused),
        ("consumer.fetch.max.bytes=1", flow, "A->B.consumer.fetch.max.bytes", Outcome::Note),
        ("producer.override.compression.type=lz4", flow, "A->B.producer.override.compression.type", Outcome::Refused),
        ("producer.override.nonsense=1", flow, "A->B.producer.override.nonsense", Outcome::Refused),
        ("nonsense=1", flow, "A->B.nonsense", Outcome::Refused),
        ("nonsense=1", bare, "nonsense", Outcome::Refused),
        ("consumer.fetch.max.bytes=1", bare, "consumer.fetch.max.bytes", Outcome::Refused),
        ("A.nonsense=1", bare, "A.nonsense", Outcome::Refused),
        ("A.consumer.nonsense=1", bare, "A.consumer.nonsense", Outcome::Refused),
        ("B.offset.storage.topic=x", bare, "B.offset.storage.topic", Outcome::Note),
        ("dedicated.mode.enable.internal.rest=true", bare, "dedicated.mode.enable.internal.rest", Outcome::Note),
        ("config.providers.file.class=x", bare, "config.providers.file.class", Outcome::Note),
        ("A.ssl.truststore.location=/t.jks", bare, "A.ssl.truststore.location", Outcome::Refused),
        ("A.ssl.endpoint.identification.algorithm=", bare, "A.ssl.endpoint.identification.algorithm", Outcome::Refused),
        ("A.sasl.mechanism=GSSAPI", bare, "A.sasl.mechanism", Outcome::Refused),
        ("A.sasl.jaas.config=x", bare, "A.sasl.jaas.config", Outcome::Refused),
        ("A.sasl.login.callback.handler.class=x", bare, "A.sasl.login.callback.handler.class", Outcome::Refused),
        ("A.ssl.key.password=${file:/x:y}", bare, "A.ssl.key.password", Outcome::Refused),
        ("B->A.topics=x", bare, "B->A.topics", Outcome::Note),
        ("transforms=r", flow, "A->B.transforms", Outcome::Note),
    ];
    for (property, whole, name, outcome) in cases {
        let imported = import(&format!("{HEAD}A->B.enabled = true\n\n{}\n", whole(property)));
        let mine: Vec<&Finding> = imported.findings.iter().filter(|finding| finding.name == *name).collect();
        assert!(mine.iter().any(|finding| finding.outcome == *outcome && finding.line == 6), "{property}: {mine:?}");
        assert_eq!(imported.has_refusals(), *outcome == Outcome::Refused, "{property}: {:?}", found(&imported));
        assert!(imported.findings.iter().all(|finding| !finding.text.is_empty()));
    }
}

#[test]
fn a_router_of_names_becomes_plugin_rename_and_other_transforms_are_refused() {
    let router = "A->B.transforms = r\nA->B.transforms.r.type = org.apache.kafka.connect.transforms.RegexRouter\n\
                  A->B.transforms.r.regex = (.*)\\\\.old\nA->B.transforms.r.replacement = $1\n";
    let identity = "replication.policy.class = IdentityReplicationPolicy\n";
    let imported = import(&format!("{HEAD}A->B.enabled = true\n{router}{identity}"));
    assert!(!imported.has_refusals(), "{:?}", imported.findings);
    assert!(
        imported.toml.contains("pattern = '(.*)\\.old'") || imported.toml.contains("(.*)\\\\.old"),
        "{}",
        imported.toml
    );
    loads(&imported.toml).unwrap();
    assert!(
        import(&format!("{HEAD}A->B.enabled = true\n{router}")).has_refusals(),
        "the prefix stands before the name"
    );
    let other = "A->B.transforms = m\nA->B.transforms.m.type = org.apache.kafka.connect.transforms.MaskField$Value\n";
    let imported = import(&format!("{HEAD}A->B.enabled = true\n{other}"));
    assert!(
        imported.findings.iter().any(|finding| finding.text.contains("write what MaskField does")),
        "{:?}",
        imported.findings
    );
}

#[test]
fn a_link_without_its_transforms_does_not_validate_and_names_break_out_of_no_comment() {
    let other = "A->B.transforms = m\nA->B.transforms.m.type = a.MaskField$Value\n";
    let imported = import(&format!("{HEAD}A->B.enabled = true\n{other}"));
    assert!(imported.toml.contains("plugin = \"todo-m\""), "{}", imported.toml);
    let imported = import(&format!("{HEAD}A->B.enabled = true\nA.x\\u001b\\nplugin_dir\\ =\\ 1 = 1\n"));
    assert!(imported.has_refusals() && !imported.toml.contains('\u{1b}'), "{}", imported.toml);
    assert!(!imported.toml.lines().any(|line| line.starts_with("plugin_dir")), "{}", imported.toml);
    loads(&imported.toml).unwrap();
}

#[test]
fn what_cannot_be_a_configuration_says_so() {
    assert!(mirror_maker(b"x = \\uZZZZ\n").is_err());
    for (text, why) in [
        ("", "0 clusters refused"),
        ("clusters = A\nA.bootstrap.servers = a:1\n", "0 A->B.enabled refused"),
        ("clusters = A, B\nA.bootstrap.servers = a:1\nA->B.enabled = true\n", "0 B.bootstrap.servers refused"),
        ("clusters = us.east, B\n", "1 clusters refused"),
    ] {
        let found = found(&import(text));
        assert!(found.iter().any(|line| line == why), "{text}: {found:?}");
    }
    // Java's lists, escapes and separators; the last of two values counts.
    let imported = import(
        "clusters: A , B\nA.bootstrap.servers a:1\nA.bootstrap.servers = a:2\nB.bootstrap.servers=b\\:1\nA->B.enabled=TRUE\n",
    );
    assert!(imported.toml.contains("\"a:2\"") && imported.toml.contains("\"b:1\""), "{}", imported.toml);
}
