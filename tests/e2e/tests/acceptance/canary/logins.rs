//! No form of a login's secrets shows anywhere, also not of one that was exchanged.

use std::fs;

use serde_json::json;
use strait_e2e::{ConfigFolder, Isolation, Strait, TestClient};
use strait_test_cluster::{Answering, Certificates, ClusterSpec, Listener, TokenServer, User};

use super::{is_clean_below, is_without};
use crate::admin::{ADMIN, address_of, get};
use crate::logins::{CLIENT, token_section};
use crate::support::{Pair, SOON, Turn, kafka_tool, link, record, run_to_end, single, stop, wait_until};

const PASSWORD: &str = "nightingale-first-password";
const OTHER_PASSWORD: &str = "nightingale \"other/pass\\word+=?";
const WRONG_PASSWORD: &str = "nightingale wrong/pass\"word";
const SECRET: &str = "nightingale first/secret+\"\\";
const OTHER_SECRET: &str = "nightingale%other/secret ~*";
const STORE_PASSWORD: &str = "nightingale-store/password";
const OF_A_PLUGIN: &str = "nightingale of/a plugin";
/// All of it in the log, that of the HTTP crates too.
const FILTER: &str = "debug,strait=trace,strait_kafka=trace,hyper=trace,hyper_util=trace,reqwest=trace";

const ALL: [&str; 7] = [PASSWORD, OTHER_PASSWORD, WRONG_PASSWORD, SECRET, OTHER_SECRET, STORE_PASSWORD, OF_A_PLUGIN];

/// Returns the forms in which a secret could show.
fn forms(secret: &str) -> Vec<String> {
    let quoted = |text: String| text.trim_matches('"').to_owned();
    let url = |lower: bool| -> String {
        let of = |byte: u8| match byte {
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => char::from(b).to_string(),
            b if lower => format!("%{b:02x}"),
            b => format!("%{b:02X}"),
        };
        secret.bytes().map(of).collect()
    };
    let id = format!("{CLIENT}:");
    vec![
        secret.to_owned(),
        quoted(json!(secret).to_string()),
        quoted(format!("{secret:?}")),
        url(false),
        url(true),
        url(false).replace("%20", "+"),
        base64(secret.as_bytes()),
        base64(format!("{id}{secret}").as_bytes()),
        base64(format!("{id}{}", url(false)).as_bytes()),
        base64(secret.as_bytes()).replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned(),
    ]
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let letter = char::from(LETTERS[(bits >> (18 - 6 * at) & 63) as usize]);
            text.push(if at <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

/// Returns what must be nowhere: each form, a line of the client's key, and the beginning of each
/// token.
fn hidden(key: &str) -> Vec<String> {
    let mut all: Vec<String> = ALL.iter().flat_map(|secret| forms(secret)).collect();
    all.push(key.lines().nth(1).unwrap().to_owned());
    all.push("eyJhbGciOiJFUzI1NiI".to_owned());
    all
}

#[test]
fn no_form_of_a_login_s_secrets_shows_also_not_of_those_before() {
    let _turn = Turn::beside_another();
    let folder = tempfile::tempdir().unwrap();
    let server = TokenServer::start(folder.path(), CLIENT, SECRET).unwrap();
    let users = vec![User { name: CLIENT.to_owned(), password: PASSWORD.to_owned() }];
    let token_keys = Some(server.keys().to_owned());
    let pair = Pair::of(
        ClusterSpec { users, ..single("secrets-source") }.with_listeners(&[Listener::SaslTls]),
        ClusterSpec { token_keys, ..single("secrets-target") }.with_listeners(&[Listener::OAuth]),
    );
    pair.at_source().create_topic("logins", 1, &[]).unwrap();
    let certificates: &Certificates = pair.source.certificates().unwrap();
    let store = folder.path().join("client.p12");
    certificates.write_client_store(STORE_PASSWORD, &store).unwrap();
    let source = format!(
        "[clusters.source]\nbootstrap_servers = \"{}\"\n[clusters.source.kafka]\n\
         \"security.protocol\" = \"SASL_SSL\"\n\"sasl.mechanism\" = \"SCRAM-SHA-512\"\n\
         \"sasl.username\" = \"{CLIENT}\"\n\"sasl.password\" = \"${{file:password}}\"\n\
         \"ssl.ca.location\" = {:?}\n\"ssl.keystore.location\" = {store:?}\n\
         \"ssl.keystore.password\" = \"{STORE_PASSWORD}\"\n\"debug\" = \"security,broker,protocol\"\n",
        pair.source.bootstrap(),
        certificates.ca(),
    );
    let rules = "rules = [{ fields = [\"$.email\"], with = \"hmac\", secret = \"${file:plugin}\" }]";
    let plugin = format!("[[links.plugins]]\nplugin = \"redact\"\nconfig = {{ {rules} }}\n");
    let target = token_section("target", &pair.target, &server);
    let link = link("logins", &["logins"], 1, &plugin);
    let config = ConfigFolder::new(&format!("{source}{target}{link}{ADMIN}")).unwrap();
    for (file, text) in [("password", PASSWORD), ("secret", SECRET), ("plugin", OF_A_PLUGIN)] {
        config.write(file, text).unwrap();
    }

    let mut strait = Strait::run("logins", &config, &["--log", FILTER]).unwrap();
    let address = address_of(&strait);
    // No JSON: the plugin refuses it.
    pair.at_source().write("logins", &[record(Some(b"key"), Some(b"no document"))]).unwrap();
    let told = |event: &str, count: usize| {
        wait_until(&format!("{count} of {event}"), SOON, || (strait.events(event).len() >= count).then_some(()));
    };
    told("quarantined", 1);
    kafka_tool("password", &pair.source.internal_bootstrap(), &[CLIENT.to_owned(), OTHER_PASSWORD.to_owned()]);
    config.write("password", OTHER_PASSWORD).unwrap();
    told("credentials_rotated", 1);
    server.set_secret(OTHER_SECRET);
    config.write("secret", OTHER_SECRET).unwrap();
    told("credentials_rotated", 2);
    config.write("password", WRONG_PASSWORD).unwrap();
    told("credentials_refused", 1);
    config.write("password", OTHER_PASSWORD).unwrap();

    // An identity provider that says what it was sent.
    let mut seen: Vec<(String, String)> = Vec::new();
    let quoting = |text: &str| {
        let answer = json!({ "error": "invalid_client", "error_description": format!("not {text} at all") });
        server.answer_with(Answering::Status(400, answer.to_string()));
    };
    for form in forms(OTHER_SECRET) {
        quoting(&form);
        let (code, said) = run_to_end("check", &config, &["check"], SOON);
        assert!(code == Some(1) && said.contains("invalid_client: not "), "{said}");
        seen.push((format!("strait check with {form:?}"), said));
    }
    for (count, secret) in [(2, SECRET), (3, OTHER_SECRET)] {
        quoting(&forms(secret).join(" "));
        // No other answer is for a secret that it does not know.
        config.write("secret", format!("nightingale-refused-{count}")).unwrap();
        told("credentials_refused", count);
    }
    for path in ["/metrics", "/api/v1/status", "/readyz", "/api/v1/plugins"] {
        seen.push((path.to_owned(), get(&address, path).1));
    }
    let shown = run_to_end("config", &config, &["config", "show"], SOON).1;
    seen.push(("strait config show".to_owned(), shown));
    stop(&mut strait);
    seen.push(("the log".to_owned(), strait.stderr()));
    seen.push(("standard output".to_owned(), strait.stdout()));
    let key = fs::read_to_string(certificates.client_key()).unwrap();
    let hidden = hidden(&key);
    for (what, text) in &seen {
        is_without(what, text, &hidden);
        is_without(what, text, &["nightingale"]);
    }
    assert!(seen.iter().any(|(what, text)| what == "the log" && text.contains("invalid_client: not ***")));
    is_clean_below(&config.path().join("state"));
    for (client, topic) in [
        (pair.at_target(), "progress"),
        (pair.at_target(), "operate"),
        (pair.at_target(), "map"),
        (pair.at_source(), "quarantine"),
    ] {
        holds_none(&client, &format!("strait.logins.{topic}"), &hidden);
    }
}

fn holds_none(client: &TestClient, topic: &str, hidden: &[String]) {
    let records = client.read_records(topic, Isolation::Uncommitted).unwrap_or_else(|error| panic!("{topic}: {error}"));
    for record in records {
        let headers = record.headers.into_iter().flat_map(|(name, value)| [Some(name), value]);
        for bytes in [record.key, record.value].into_iter().chain(headers).flatten() {
            is_without(topic, &String::from_utf8_lossy(&bytes), hidden);
        }
    }
}
