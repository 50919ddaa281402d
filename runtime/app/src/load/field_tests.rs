//! Configurations as people write them: spellings of scalars, lists, encodings, and habits from
//! Kafka's Java clients.

use std::path::Path;

use serde_json::json;

use super::document::Format;
use super::*;

const CLUSTERS: &str = "clusters: { a: { bootstrap_servers: 'a:1' }, b: { bootstrap_servers: 'b:1' } }\n";

fn judged(name: &str, text: &str, variables: &[(&str, &str)]) -> Result<Loaded, String> {
    let variables = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let format = Format::of(Path::new(name)).unwrap();
    let environment = Environment { variables, ..Environment::default() };
    judge(name, text, format, Path::new(""), &environment).map_err(|report| report.render(false, 200))
}

/// The same scalar as a property, as a topic, as a provider and in a plugin's configuration.
fn with_scalar(name: &str, scalar: &str) -> String {
    let topic = if scalar.contains(':') { "\"x\"" } else { scalar };
    match name {
        "f.yaml" => format!(
            "clusters:\n  a: {{ bootstrap_servers: 'a:1', provider: {scalar}, kafka: {{ sasl.password: {scalar} }} }}\n  \
             b: {{ bootstrap_servers: 'b:1' }}\nlinks:\n- {{ name: l, source: a, target: b, topics: [{topic}], plugins: \
             [{{ plugin: filter, config: {{ x: {scalar} }} }}] }}\n"
        ),
        "f.toml" => format!(
            "[clusters.a]\nbootstrap_servers = \"a:1\"\nprovider = {scalar}\nkafka = {{ \"sasl.password\" = {scalar} }}\n\
             [clusters.b]\nbootstrap_servers = \"b:1\"\n[[links]]\nname = \"l\"\nsource = \"a\"\ntarget = \"b\"\ntopics = \
             [{topic}]\nplugins = [{{ plugin = \"filter\", config = {{ x = {scalar} }} }}]\n"
        ),
        _ => format!(
            "{{\"clusters\": {{\"a\": {{\"bootstrap_servers\": \"a:1\", \"provider\": {scalar}, \"kafka\": \
             {{\"sasl.password\": {scalar}}}}}, \"b\": {{\"bootstrap_servers\": \"b:1\"}}}}, \"links\": [{{\"name\": \"l\", \
             \"source\": \"a\", \"target\": \"b\", \"topics\": [{topic}], \"plugins\": [{{\"plugin\": \"filter\", \
             \"config\": {{\"x\": {scalar}}}}}]}}]}}"
        ),
    }
}

#[test]
fn texts_are_kept_as_they_were_written() {
    let yaml = ["1e5", "0123456789", "0x1f", "0o17", "1_000", "yes", "No", "True", ".inf", "1.10", "-0", "007"];
    let long = ["12345678901234567890123", "2026-01-31", "190:20:30", "1.0e+2", "18446744073709551616"];
    let toml = ["1e5", "0x1f", "1_000", "true", "inf", "1.10", "-7", "2026-01-31", "0b11", "1979-05-27T07:32:00Z"];
    let json = ["1e5", "true", "1.10", "-0", "12345678901234567890123"];
    let cases = yaml.iter().chain(&long).map(|scalar| ("f.yaml", *scalar));
    let cases = cases.chain(toml.map(|scalar| ("f.toml", scalar))).chain(json.map(|scalar| ("f.json", scalar)));
    for (name, scalar) in cases {
        // Where a plugin reads it, a number that has lost digits is refused instead.
        let text = with_scalar(name, scalar);
        let loaded = match judged(name, &text, &[]) {
            Ok(loaded) => loaded,
            Err(shown) => {
                assert!(scalar.len() > 19 && shown.contains("too large for a number"), "{name} {scalar}: {shown}");
                assert!(shown.contains("1 error") && shown.contains(".x:"), "{shown}");
                let without =
                    text.replace(&format!("x: {scalar}"), "x: 1").replace(&format!("\"x\": {scalar}"), "\"x\": 1");
                judged(name, &without, &[]).unwrap()
            }
        };
        let cluster = &loaded.config.clusters["a"];
        assert_eq!(cluster.kafka.expose("sasl.password"), Some(scalar), "{name}");
        assert_eq!(cluster.provider.as_deref(), Some(scalar), "{name}");
        let topic = if scalar.contains(':') { "x" } else { scalar };
        assert_eq!(loaded.config.links[0].topics, [topic], "{name}");
    }
}

#[test]
fn nothing_is_no_text() {
    for scalar in ["~", "null", ""] {
        let text = with_scalar("f.yaml", scalar).replace(&format!("provider: {scalar},"), "");
        let shown = judged("f.yaml", &text, &[]).unwrap_err();
        assert!(shown.contains("sasl.password\": expected") && shown.contains("in quotes"), "{scalar}: {shown}");
        assert!(shown.contains("f.yaml:2:"), "{shown}");
    }
}

#[test]
fn an_alias_is_read_by_its_own_place() {
    let text = CLUSTERS.to_owned()
        + "links:\n- name: &n 0x1f\n  source: a\n  target: b\n  topics: [*n, &f 1e3]\n  lanes: &l 0x4\n  plugins:\n  - plugin: \
           filter\n    config: &c { x: *n, y: [*f, *l], z: { v: 0o7 } }\n  - plugin: filter\n    config: *c\n";
    let loaded = judged("f.yaml", &text, &[]).unwrap();
    let link = &loaded.config.links[0];
    assert_eq!((link.name.as_str(), link.lanes), ("0x1f", Some(4)));
    assert_eq!(link.topics, ["0x1f", "1e3"]);
    let config = json!({ "x": 31, "y": [1000.0, 4], "z": { "v": 7 } });
    assert_eq!(link.plugins[0].config.expose(), &config);
    assert_eq!(link.plugins[1].config.expose(), &config);
}

#[test]
fn variables_keep_texts_as_they_were_written() {
    let text = CLUSTERS.to_owned() + "links: [{ name: l, source: a, target: b, topics: [x] }]\n";
    let variables = [
        ("STRAIT_CLUSTERS__A__KAFKA__SASL_PASSWORD", "1e5"),
        ("STRAIT_CLUSTERS__B__KAFKA", r#"{"sasl.password": 1e5, "client.id": 0.10}"#),
        ("STRAIT_LINKS__0__TOPICS", "[1e5, true]"),
        ("STRAIT_LINKS__0__NAME", "0123"),
    ];
    let loaded = judged("f.yaml", &text, &variables).unwrap();
    assert_eq!(loaded.config.clusters["a"].kafka.expose("sasl.password"), Some("1e5"));
    assert_eq!(loaded.config.clusters["b"].kafka.expose("sasl.password"), Some("1e5"));
    assert_eq!(loaded.config.clusters["b"].kafka.expose("client.id"), Some("0.10"));
    assert_eq!(loaded.config.links[0].topics, ["1e5", "true"]);
    assert_eq!(loaded.config.links[0].name, "0123");

    let loaded = judged("f.yaml", &text, &[("STRAIT_LINKS__0__TOPICS", "orders")]).unwrap();
    assert_eq!(loaded.config.links[0].topics, ["orders"]);
    for (name, value, said) in [
        ("STRAIT_LINKS__0__TOPICS", "[orders]", "not valid JSON"),
        ("STRAIT_LINKS__0__TOPICS", "orders,payments", "[\"orders\", \"payments\"]"),
        ("STRAIT_LINKS__0__LANES", "010", "write 10"),
        ("STRAIT_LINKS__0__MANAGE_TOPICS", "yes", "write true"),
        ("STRAIT_CLUSTERS__A__KAFKA", r#"{"client.id": "x", "client.id": "y"}"#, "duplicate key"),
        ("STRAIT_CLUSTERS__A__BOOTSTRAP_SERVERS", "a:1;b:1", "separate addresses with commas"),
    ] {
        let shown = judged("f.yaml", &text, &[(name, value)]).unwrap_err();
        assert!(shown.contains(said) && shown.contains(name), "{name}={value}: {shown}");
    }
}

#[test]
fn encodings() {
    let dir = tempfile::tempdir().unwrap();
    let load = |name: &str, bytes: &[u8]| {
        let file = dir.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        load(&file, &Environment::default()).map_err(|report| report.render(false, 200))
    };
    for name in ["f.yaml", "f.toml", "f.json"] {
        let scalar = if name == "f.yaml" { "ä" } else { "\"ä\"" };
        let text = with_scalar(name, scalar).replace(&format!("topics: [{scalar}]"), "topics: [x]");
        let text = text.replace(&format!("topics = [{scalar}]"), "topics = [\"x\"]");
        let text = text.replace(&format!("\"topics\": [{scalar}]"), "\"topics\": [\"x\"]");
        let marked = [b"\xef\xbb\xbf", text.as_bytes()].concat();
        let loaded = load(name, &marked).unwrap();
        assert_eq!(loaded.config.clusters["a"].provider.as_deref(), Some("ä"), "{name}");
        let utf16: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        let shown = load(name, &utf16).unwrap_err();
        assert!(shown.contains("UTF-16") && shown.contains("1 error"), "{name}: {shown}");
        let latin: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        let shown = load(name, &latin).unwrap_err();
        assert!(shown.contains("not UTF-8: line ") && shown.contains("1 error"), "{name}: {shown}");
    }

    let secret = |bytes: &[u8]| {
        std::fs::write(dir.path().join("secret"), bytes).unwrap();
        let text = with_scalar("f.yaml", "x").replace("sasl.password: x", "sasl.password: '${file:secret}'");
        load("f.yaml", text.as_bytes())
    };
    let exposed = |loaded: Loaded| loaded.config.clusters["a"].kafka.expose("sasl.password").map(str::to_owned);
    assert_eq!(exposed(secret(b"\xef\xbb\xbfpass\r\n").unwrap()).as_deref(), Some("pass"));
    assert!(secret(b"\xff\xfep\0a\0").unwrap_err().contains("UTF-16"));
}

#[test]
fn habits_of_java_clients() {
    let text = r#"
[clusters.a]
bootstrap_servers = """
a.example.com:9092
b.example.com:9092
"""
[clusters.a.kafka]
"security.protocol" = "TLS"
"ssl.truststore.location" = "/etc/kafka/canary.jks"
"ssl.truststore.password" = "canary-1"
"sasl.jaas.config" = "org.apache.kafka.common.security.plain.PlainLoginModule required password=\"canary-2\";"
"sasl.mechanism" = "AWS_MSK_IAM"
"max.poll.records" = 500
"socket.timeout.ms" = "30s"
"fetch.max.bytes" = 1e6
"ssl.keystore.location" = "/etc/kafka/client.jks"
[clusters.b]
bootstrap_servers = "b:9092;c:9092"

[[links]]
name = "l"
source = "a"
target = "b"
topics = ["orders,payments", "", "(?!secret).*", "*", "orders-*"]
"#;
    let shown = judged("strait.toml", text, &[]).unwrap_err();
    assert!(!shown.contains("canary-"), "{shown}");
    insta::assert_snapshot!(shown);
}
