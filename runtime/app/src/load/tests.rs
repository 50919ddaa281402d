//! Every kind of message as people see it, in every format. The snapshots are the specification of
//! the wording.

use std::path::Path;

use super::document::Format;
use super::*;

const VALID: &str = include_str!("../../tests/minimal.toml");

fn environment(variables: &[(&str, &str)]) -> Environment {
    let variables = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Environment { variables, ..Environment::default() }
}

fn report(name: &str, text: &str, variables: &[(&str, &str)]) -> String {
    let format = Format::of(Path::new(name)).unwrap();
    let report = match judge(name, text, format, Path::new("/nonexistent"), &environment(variables)) {
        Ok(loaded) => loaded.report,
        Err(report) => report,
    };
    report.render(false, 100)
}

#[test]
fn structure() {
    let text = r#"plugin_dri = "plugins"

[clusters.aws]
bootstrap_servers = "a:9092"
regions = "eu-west-1"

[clusters.gcp]
region = "europe-west4"

[[links]]
name = "aws-to-gcp"
source = "aws"
target = "gcp"
topics = "orders"
delivery = "exactly once"
start = "yesterday"
lanes = 65
manage_topics = "yes"

[[links.plugins]]
config = { rules = [] }
"#;
    insta::assert_snapshot!(report("strait.toml", text, &[]));
}

#[test]
fn references_between_parts() {
    let text = r#"
clusters:
  aws-eu: { bootstrap_servers: "a:9092,https://u:canary@b:1" }
  gcp: { bootstrap_servers: "g:port" }
links:
  - name: aws.to.gcp
    source: aws_eu
    target: gcp
    topics: ["orders(", "__.*", "${env:TOPIC}"]
    topics_exclude: ["[a"]
    plugins: [{ plugin: "https://example.com/x.wasm" }]
  - { name: back, source: gcp, target: gcp, topics: [] }
  - { name: back, source: gcp, target: aws-eu, topics: [x], fetch_mib_max: 64, memory_mib_max: 32 }
"#;
    let shown = report("strait.yaml", text, &[]);
    assert!(!shown.contains("canary-"), "{shown}");
    insta::assert_snapshot!(shown);
}

#[test]
fn properties() {
    let text = r#"
[clusters.aws]
bootstrap_servers = "a:9092"
[clusters.aws.kafka]
"isolation.level" = "read_uncommitted"
"transactional.id" = "mine"
"max.in.flight.requests.per.connection" = 10
"sasl.pasword" = "canary-1"
"sasl.username" = "canary-is-no-secret"
"sasl.password" = "canary-2"
"enable.ssl.certificate.verification" = false
"security.protocol" = "SASL_PLAINTEXT"
"sasl.mechanism" = "GSSAPI"

[clusters.gcp]
bootstrap_servers = ""
kafka = { "sasl.password" = "${env:NOT_SET}", "ssl.key.pem" = "${file:no/such.pem}", "client.id" = "${evn:X}" }

[[links]]
name = "aws-to-gcp"
source = "aws"
target = "gcp"
topics = ["orders"]
"#;
    let shown = report("strait.toml", text, &[]);
    assert!(!shown.contains("canary-1") && !shown.contains("canary-2"), "{shown}");
    insta::assert_snapshot!(shown);
}

#[test]
fn a_reference_is_named_in_full_and_the_secrets_of_addresses_are_not_shown() {
    let text = r#"
[clusters.aws]
bootstrap_servers = "a:9092"
kafka = { "ssl.keystore.password" = "${env:EU_WEST_SSL_KEYSTORE_PASSWORD}", "ssl.key.password" = "${env:SHORT}" }
[clusters.gcp]
bootstrap_servers = "g:9092"
[clusters.gcp.auth]
kind = "oidc"
token_url = "ftp://canary-user@idp.example/token?key=canary-key"
client_id = "c"
client_secret = "${file:run/secrets/eu_west/client_secret_of_strait}"

[[links]]
name = "aws-to-gcp"
source = "aws"
target = "gcp"
topics = ["orders"]
"#;
    let environment = environment(&[("SHORT", "SSL")]);
    let report = judge("strait.toml", text, Format::Toml, Path::new("/nonexistent"), &environment).unwrap_err();
    let shown = format!("{}{}", report.summary(), report.render(false, 100));
    for part in [
        "environment variable EU_WEST_SSL_KEYSTORE_PASSWORD is not set",
        "file run/secrets/eu_west/client_secret_of_strait cannot be read",
        "'ftp://***@idp.example/token?***' cannot be used",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("canary-"), "{shown}");
}

#[test]
fn loops_and_collisions() {
    let text = r#"{
	"clusters": { "a": { "bootstrap_servers": "a" }, "b": { "bootstrap_servers": "b" }, "c": { "bootstrap_servers": "c" } },
	"links": [
		{ "name": "ab", "source": "a", "target": "b", "topics": [".*"] },
		{ "name": "ba", "source": "b", "target": "a", "topics": [".*"] },
		{ "name": "ab2", "source": "a", "target": "b", "topics": ["orders"] },
		{ "name": "ac", "source": "a", "target": "c", "topics": ["sum"], "naming": "identity" },
		{ "name": "bc", "source": "b", "target": "c", "topics": ["sum"], "naming": "identity" }
	]
}"#;
    insta::assert_snapshot!(report("strait.json", text, &[]));
}

#[test]
fn syntax() {
    let toml = "[clusters.aws]\nbootstrap_servers = \"a\"\n\"sasl.password\" = \"canary\n[clusters.aws]\nx = 5 6\n";
    let yaml = "clusters:\n  aws: { bootstrap_servers: a\nlinks: []\n";
    let twice = "clusters:\n  aws: { bootstrap_servers: a }\n  aws: { bootstrap_servers: ä }\n";
    let bomb = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned()
        + &('b'..='h')
            .map(|c| format!("{c}: &{c} [{}]\n", vec![format!("*{}", (c as u8 - 1) as char); 9].join(", ")))
            .collect::<String>();
    let json = "{\n  \"clusters\": {},\n  \"links\": [1, ]\n}";
    let json_twice = "{ \"clusters\": {}, \"clusters\": {} }";
    let shown: Vec<String> = [
        ("strait.toml", toml),
        ("strait.yaml", yaml),
        ("strait.yml", twice),
        ("bomb.yml", &bomb),
        ("strait.json", json),
        ("twice.json", json_twice),
    ]
    .iter()
    .map(|(name, text)| report(name, text, &[]))
    .collect();
    let shown = shown.join("\n");
    assert!(!shown.contains("canary-"), "{shown}");
    insta::assert_snapshot!(shown);
}

#[test]
fn problems_of_variables_name_the_variable() {
    let variables = [
        ("STRAIT_LINKS__0__SOURCE", "awss"),
        ("STRAIT_LINKS__0__LANES", "many"),
        ("STRAIT_LINKS__0__TOPIC", "x"),
        ("STRAIT_LINKS__2__NAME", "x"),
        ("STRAIT_CLUSTERS__AWS__KAFKA__ACKS", "1"),
        ("STRAIT_PLUGINDIR", "x"),
        ("STRAIT_PORT", "tcp://10.0.0.1:9644"),
    ];
    let first = report("strait.toml", VALID, &variables);
    // Without those that keep the model from being made, the others are judged.
    let second = report("strait.toml", VALID, &[variables[0], variables[4]]);
    insta::assert_snapshot!(format!("{first}\n{second}"));
}

#[test]
fn a_missing_file() {
    let load = |name: &str| load(Path::new(name), &Environment::default()).unwrap_err().render(false, 100);
    insta::assert_snapshot!(format!("{}\n{}", load("no-such.toml"), load("strait.properties")));
}

#[test]
fn the_three_formats_are_equal_and_json_output_has_the_line() {
    let yaml = "clusters:\n  aws: {bootstrap_servers: 'a:9092'}\n  gcp: {bootstrap_servers: g:9092}\nlinks:\n- name: aws-to-gcp\n  source: aws\n  target: gcp\n  topics: [orders]\n";
    let load = |text: &str, format| judge("f", text, format, Path::new(""), &Environment::default()).unwrap();
    let toml = load(VALID, Format::Toml);
    let json = serde_json::to_string_pretty(&toml.config).unwrap();
    assert_eq!(toml.config, load(yaml, Format::Yaml).config);
    assert_eq!(toml.config, load(&json, Format::Json).config);
    let shown = toml::to_string_pretty(&toml.config).unwrap();
    assert_eq!(toml.config, load(&shown, Format::Toml).config);

    let bad = VALID.replace("\"gcp\"", "\"gpc\"");
    let report = judge("f", &bad, Format::Toml, Path::new(""), &Environment::default()).unwrap_err().to_json();
    assert_eq!(report[0]["place"], serde_json::json!({ "file": "f", "line": 9, "column": 10 }));
    assert_eq!(report[0]["code"], "unknown-cluster");
}

#[test]
fn secrets_come_from_variables_and_files_relative_to_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("key"), "from-file\n").unwrap();
    let text = VALID.to_owned()
        + "[[links.plugins]]\nplugin = \"redact\"\nconfig = { secret = \"${file:key}\" }\n[clusters.aws.kafka]\n\"sasl.password\" = \"${env:P}\"\n";
    std::fs::write(dir.path().join("strait.toml"), text).unwrap();
    let loaded = load(&dir.path().join("strait.toml"), &environment(&[("P", "from-env")])).unwrap();
    assert_eq!(loaded.config.clusters["aws"].kafka.expose("sasl.password"), Some("from-env"));
    assert_eq!(loaded.config.links[0].plugins[0].config.expose()["secret"], "from-file");
    assert_eq!(loaded.plugin_dir(), dir.path().join("plugins"));
    let everything = format!("{loaded:?} {}", serde_json::to_string(&loaded.config).unwrap());
    assert!(!everything.contains("from-file") && !everything.contains("from-env"), "{everything}");
}
