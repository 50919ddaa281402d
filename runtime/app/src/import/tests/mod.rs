//! Files of different shape, and each property by itself.

mod files;
mod table;

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
         src.sasl.jaas.config = org.apache.kafka.common.security.scram.ScramLoginModule required \\\n    username=\"mm2\" \\\n    password=\"x${Secret1}hunter-2\";\n\
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
    assert!(!["hunter-2", "Secret1", "other-secret"].iter().any(|part| said.contains(part)), "{said}");
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
fn logins_by_token_become_the_auth_of_the_cluster() {
    let oidc = "A.sasl.mechanism = OAUTHBEARER\nA.sasl.oauthbearer.token.endpoint.url = https://idp.example/token\n";
    let handler = "A.sasl.login.callback.handler.class = org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerLoginCallbackHandler\n";
    let module = "A.sasl.jaas.config = org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required";
    let msk = "A.bootstrap.servers = b-1.x.c2.kafka.eu-west-1.amazonaws.com:9098\n";
    let iam = "software.amazon.msk.auth.iam.IAM";
    let known: &[(String, &[&str])] = &[
        (
            format!(
                "{oidc}{handler}{module} clientId=\"mm2\" clientSecret=\"${{env:PATH}}\" scope=\"kafka\" extension_logicalCluster=\"lkc-1\";\nA.sasl.login.refresh.window.factor = 0.8\n"
            ),
            &["kind = \"oidc\"", "token_url = \"https://idp.example/token\"", "client_id = \"mm2\"", "scope = \"kafka\"",
              "client_secret = \"${env:PATH}\"", "extensions = { logicalCluster = \"lkc-1\" }"],
        ),
        (
            format!(
                "{oidc}A.sasl.oauthbearer.client.credentials.client.id = mm2\nA.sasl.oauthbearer.assertion.file = /run/token\n"
            ),
            &["client_id = \"mm2\"", "assertion_file = \"/run/token\""],
        ),
        (
            format!(
                "A.sasl.mechanism = OAUTHBEARER\nA.sasl.login.callback.handler.class = io.strimzi.kafka.oauth.client.JaasClientOauthLoginCallbackHandler\n{module} oauth.token.endpoint.uri=\"https://idp.example/token\" oauth.client.id=\"mm2\" oauth.client.secret=\"${{env:PATH}}\" oauth.audience=\"kafka\";\n"
            ),
            &["token_url = \"https://idp.example/token\"", "audience = \"kafka\""],
        ),
        (
            format!(
                "{msk}A.security.protocol = SASL_SSL\nA.sasl.mechanism = AWS_MSK_IAM\nA.sasl.jaas.config = {iam}LoginModule required awsProfileName=\"mm2\";\nA.sasl.client.callback.handler.class = {iam}ClientCallbackHandler\n"
            ),
            &["[clusters.A.auth]\nkind = \"aws-msk-iam\"\nregion = \"eu-west-1\"\n"],
        ),
        (
            format!(
                "{msk}A.sasl.mechanism = OAUTHBEARER\n{module};\nA.sasl.login.callback.handler.class = {iam}OAuthBearerLoginCallbackHandler\n"
            ),
            &["kind = \"aws-msk-iam\""],
        ),
        (
            "A.sasl.mechanism = OAUTHBEARER\nA.sasl.login.callback.handler.class = com.google.cloud.hosted.kafka.auth.GcpLoginCallbackHandler\n".to_owned(),
            &["kind = \"gcp\""],
        ),
    ];
    for (properties, parts) in known {
        let imported = import(&format!("{HEAD}A->B.enabled = true\n{properties}"));
        assert!(!imported.has_refusals(), "{properties}: {:?}", imported.findings);
        assert!(parts.iter().all(|part| imported.toml.contains(part)), "{properties}:\n{}", imported.toml);
        loads(&imported.toml).unwrap_or_else(|error| panic!("{error}\n{}", imported.toml));
    }
    let written =
        import(&format!("{HEAD}A->B.enabled = true\n{oidc}{module} clientId=\"m\" clientSecret=\"hunter-2\";\n"));
    let said = format!("{}{:?}", written.toml, written.findings);
    assert!(!said.contains("hunter-2") && said.contains("set the variable A_CLIENT_SECRET"), "{said}");
    for (properties, why) in [
        ("A.sasl.mechanism = OAUTHBEARER\n".to_owned(), "write token_url into [clusters.A.auth]"),
        (oidc.to_owned(), "write client_secret or assertion_file into"),
        (format!("{oidc}A.sasl.login.callback.handler.class = a.Own\n"), "Own has no counterpart"),
        (format!("{oidc}{module} clientId=\"m\" clientSecret=\"s\" ssl.x=\"y\";\n"), "no counterpart: ssl.x"),
        (
            format!("{oidc}{module} clientId=\"m\" clientSecret=\"s\" scope=\"${{env:S}}\";\n"),
            "scope takes no reference",
        ),
        ("A.sasl.mechanism = AWS_MSK_IAM\n".to_owned(), "the addresses do not have the region"),
        (
            format!(
                "{msk}A.sasl.mechanism = AWS_MSK_IAM\nA.sasl.jaas.config = {iam}LoginModule required awsRoleArn=\"x\";\n"
            ),
            "no role is assumed here",
        ),
    ] {
        let imported = import(&format!("{HEAD}A->B.enabled = true\n{properties}"));
        let refused = |finding: &&Finding| finding.outcome == Outcome::Refused;
        let said: Vec<&str> = imported.findings.iter().filter(refused).map(|finding| finding.text.as_str()).collect();
        assert!(said.iter().any(|text| text.contains(why)), "{properties}: {said:?}");
    }
}

#[test]
fn files_of_other_kinds_are_named_with_what_to_do() {
    let class = "org.apache.kafka.connect.mirror.MirrorSourceConnector";
    let connector = "a connector of Kafka Connect (MirrorSourceConnector)";
    for (text, parts) in [
        (
            format!(
                r#"{{"name":"m","config":{{"connector.class":"{class}","source.cluster.alias":"eu","target.cluster.alias":"us"}}}}"#
            ),
            [connector, "clusters = eu, us and eu->us.enabled = true"],
        ),
        (
            format!("name = m\nconnector.class = {class}\nsource.cluster.bootstrap.servers = a:1\n"),
            [connector, "A->B."],
        ),
        (
            "# ours\napiVersion: kafka.strimzi.io/v1beta2\nkind: KafkaMirrorMaker2\nspec:\n  clusters: []\n".to_owned(),
            ["a resource of Strimzi (KafkaMirrorMaker2)", "strait import strimzi"],
        ),
        (
            r#"{"apiVersion":"kafka.strimzi.io/v1","kind":"KafkaMirrorMaker2"}"#.to_owned(),
            ["(KafkaMirrorMaker2)", "strait import strimzi"],
        ),
        ("{ clusters".to_owned(), ["it begins like JSON", "properties file"]),
        ("[1]".to_owned(), ["it is JSON", "properties file"]),
    ] {
        let said = mirror_maker(text.as_bytes()).unwrap_err().to_string();
        assert!(parts.iter().all(|part| said.contains(part)) && !said.contains("misspelt"), "{text}: {said}");
    }
}

#[test]
fn another_separator_or_alias_becomes_a_template_that_leads_into_no_loop() {
    let both = "A->B.enabled = true\nB->A.enabled = true\n";
    let imported = import(&format!("{HEAD}{both}replication.policy.separator = _\n"));
    assert!(!imported.has_refusals(), "{:?}", imported.findings);
    let config = loads(&imported.toml).unwrap_or_else(|error| panic!("{error}\n{}", imported.toml));
    for link in &config.links {
        assert_eq!(link.naming, strait_core::config::Naming::template("{source}_{topic}"));
        let selector = link.selector().unwrap();
        let (own, copied) = (format!("{}_x", link.target), format!("C_{}_x", link.target));
        assert!(!selector.selects(&own) && !selector.selects(&copied) && selector.selects("x"), "{}", imported.toml);
    }
    for (separator, pattern) in [("__", "(.*__)?B__.*"), ("|", r"(.*\|)?B\|.*")] {
        assert_eq!(flows::returning("B", separator), pattern);
    }
    for (lines, naming) in [
        ("source.cluster.alias = old\n", "naming = { template = \"old.{topic}\" }"),
        ("source.cluster.alias = A\n", "naming = \"prefix\""),
        ("replication.policy.separator =\n", "naming = { template = \"{source}{topic}\" }"),
        ("source.cluster.alias =\nreplication.policy.separator =\n", "naming = \"identity\""),
    ] {
        let imported = import(&format!("{HEAD}A->B.enabled = true\n{lines}"));
        assert!(imported.toml.contains(naming) && !imported.has_refusals(), "{lines}:\n{}", imported.toml);
        loads(&imported.toml).unwrap_or_else(|error| panic!("{error}\n{}", imported.toml));
    }
}

#[test]
fn a_clusters_consumer_counts_before_a_flows_own_as_there() {
    let flow = "A->B.enabled = true\nA->B.consumer.auto.offset.reset = latest\n";
    let imported = import(&format!("{HEAD}{flow}A.consumer.auto.offset.reset = earliest\n"));
    assert!(imported.toml.contains("start = \"earliest\""), "{}", imported.toml);
    assert!(
        imported.findings.iter().any(|f| f.line == 5 && f.text.contains("no effect there")),
        "{:?}",
        imported.findings
    );
    let own = "A->B.source.consumer.auto.offset.reset = latest\n";
    let imported = import(&format!("{HEAD}{flow}A.consumer.auto.offset.reset = earliest\n{own}"));
    assert!(imported.toml.contains("start = \"latest\""), "{}", imported.toml);
}

#[test]
fn expressions_that_only_java_has_are_refused_by_name() {
    for (property, is_left) in [("topics = a, (?!tmp).*", true), ("topics.exclude = b, (?<=x)y", false)] {
        let imported = import(&format!("{HEAD}A->B.enabled = true\n{property}\n"));
        let refused = imported.findings.iter().find(|f| f.outcome == Outcome::Refused && f.line == 5).unwrap();
        assert!(refused.text.contains("no look-around"), "{refused:?}");
        assert_eq!(loads(&imported.toml).is_ok(), is_left, "{}", imported.toml);
    }
}

#[test]
fn what_is_synced_is_as_there() {
    let sync = |lines: &str| {
        let imported = import(&format!("{HEAD}A->B.enabled = true\n{lines}"));
        assert!(!imported.has_refusals(), "{:?}", imported.findings);
        loads(&imported.toml).unwrap_or_else(|error| panic!("{error}\n{}", imported.toml)).links[0].sync.clone()
    };
    use strait_core::config::{Replication, SyncConfigs};
    let default = sync("");
    assert_eq!(
        (default.configs, default.acls, default.replication),
        (SyncConfigs::Overrides, true, Replication::Source)
    );
    assert_eq!(sync("sync.topic.configs.enabled = false\nuse.defaults.from = source\n").configs, SyncConfigs::None);
    assert_eq!(sync("A->B.use.defaults.from = source\n").configs, SyncConfigs::Effective);
    assert!(!sync("sync.topic.acls.enabled = false\n").acls);
    let excluded = sync("config.properties.exclude = min\\\\.insync\\\\.replicas, segment\\\\..*\n").configs_exclude;
    assert_eq!(excluded, [r"segment\..*"]);
    assert_eq!(sync("replication.factor = 2\n").replication, Replication::Number(2));
}

#[test]
fn notes_about_settings_that_strait_decides_say_what_holds() {
    for (property, why) in [
        ("A->B.producer.override.acks=1", "acks = all"),
        ("B.producer.acks=1", "acks = all"),
        ("B.producer.retries=1", "with retries"),
        ("A.consumer.fetch.max.bytes=1", "fetch_mib_max"),
        ("A.consumer.session.timeout.ms=1", "Strait decides it"),
    ] {
        let imported = import(&format!("{HEAD}A->B.enabled = true\n{property}\n"));
        let name = property.split('=').next().unwrap();
        let finding = imported.findings.iter().find(|finding| finding.name == name).unwrap();
        assert!(finding.outcome == Outcome::Note && finding.text.contains(why), "{finding:?}");
        assert!(why.contains("mib") || !finding.text.contains("mib"), "{finding:?}");
    }
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
        ("replication.policy.separator=_", bare, "replication.policy.separator", Outcome::Option),
        ("replication.policy.separator=.", flow, "A->B.replication.policy.separator", Outcome::Note),
        ("groups=g.*", flow, "A->B.groups", Outcome::Option),
        ("groups.exclude=g", bare, "groups.exclude", Outcome::Option),
        ("refresh.topics.interval.seconds=5", flow, "A->B.refresh.topics.interval.seconds", Outcome::Option),
        ("sync.topic.configs.enabled=true", bare, "sync.topic.configs.enabled", Outcome::Option),
        ("sync.group.offsets.enabled=true", flow, "A->B.sync.group.offsets.enabled", Outcome::Option),
        ("emit.checkpoints.interval.seconds=1", bare, "emit.checkpoints.interval.seconds", Outcome::Note),
        ("offset-syncs.topic.location=target", flow, "A->B.offset-syncs.topic.location", Outcome::Option),
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
