//! The content of a record, a plugin's words about it and a secret show nowhere but in the record's
//! copy and in quarantine.

mod logins;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use strait_core::progress::{map_topic, operate_topic, progress_topic, quarantine_topic};
use strait_e2e::{ConfigFolder, Isolation, Record, Strait, TestClient};

use crate::admin::{ADMIN, address_of, get};
use crate::support::{COPIED, Pair, SOON, Turn, authored, link, record, run_to_end, stop, wait_until};

/// Begins every text that must not show.
const CANARY: &str = "canary-";
const SECRET: &str = "canary-secret-of-redact";
const LANGUAGES: [(&str, &str, &str); 3] = [
    ("python", "plugin.py", include_str!("plugin.py")),
    ("js", "plugin.js", include_str!("plugin.js")),
    ("go", "main.go", include_str!("main.go")),
];
/// So many guilty records within a minute open the breaker.
const GUILTY: usize = 110;

fn records(word: &str, count: usize) -> Vec<Record> {
    let value = format!("{{\"word\":\"{word}\",\"customer\":{{\"email\":\"canary-email\"}}}}");
    vec![record(Some(b"canary-key"), Some(value.as_bytes())); count]
}

/// Asserts that a text which is not the record's own holds no canary.
#[track_caller]
fn is_clean(what: &str, text: &[u8]) {
    is_without(what, &String::from_utf8_lossy(text), &[CANARY]);
}

/// Asserts that a text has none of these in it.
#[track_caller]
fn is_without(what: &str, text: &str, hidden: &[impl AsRef<str>]) {
    for hidden in hidden {
        if let Some(at) = text.find(hidden.as_ref()) {
            let before: String = text[..at].chars().rev().take(200).collect::<Vec<_>>().into_iter().rev().collect();
            panic!("{what}: {before}{}", text[at..].chars().take(200).collect::<String>());
        }
    }
}

/// Asserts the same of each file below a folder.
fn is_clean_below(folder: &Path) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files += is_clean_below(&path);
            continue;
        }
        // Compiled plugins hold their own code, with the word in it.
        if path.components().any(|part| part.as_os_str() == "compiled") {
            continue;
        }
        is_clean(&path.display().to_string(), &fs::read(&path).unwrap());
        files += 1;
    }
    files
}

#[test]
fn what_records_plugins_and_secrets_say_shows_nowhere() {
    let _turn = Turn::long();
    let pair = Pair::shared();
    let source = pair.at_source();
    let secret = "config = { secret = \"${file:secret}\" }\n";
    let mut links = String::new();
    for (lang, ..) in LANGUAGES {
        let topic = format!("told-{lang}");
        source.create_topic(&topic, 1, &[]).unwrap();
        let plugin = format!("[[links.plugins]]\nplugin = \"told-{lang}\"\n{secret}");
        links += &link(&topic, &[&topic], 1, &plugin);
    }
    source.create_topic("told-redact", 1, &[]).unwrap();
    let rules = "rules = [{ id = \"email-rule\", fields = [\"$.customer.email\"], with = \"hmac\", secret = \"${file:secret}\" }]";
    let redact = format!("[[links.plugins]]\nplugin = \"redact\"\nconfig = {{ {rules} }}\n");
    links += &link("told-redact", &["told-redact"], 1, &redact);
    let config = pair.config(&(links + ADMIN));
    config.write("secret", SECRET).unwrap();
    for (lang, file, code) in LANGUAGES {
        let built = authored(lang, &format!("told-{lang}"), Some((file, code)));
        fs::copy(built, config.path().join(format!("plugins/told-{lang}.wasm"))).unwrap();
    }
    configure_with_exceptions(&pair, &config);

    let ours = "info,strait=debug,strait_host=debug,strait_flow=debug,strait_kafka=debug,strait_core=debug";
    let mut strait = Strait::run("canary", &config, &["--log", ours]).unwrap();
    let address = address_of(&strait);
    for (lang, ..) in LANGUAGES {
        let topic = format!("told-{lang}");
        let few = [records("pass", 5), records("reject", 1), records("raise", 1), records("pass", 5)].concat();
        source.write(&topic, &few).unwrap();
    }
    let shapes = [
        &b"canary-text"[..],
        b"[\"canary-text\"]",
        b"{\"customer\":[\"canary-text\"]}",
        b"{\"customer\":{}}",
        b"{\"customer\":{\"email\":{\"a\":\"canary-email\",\"a\":1}}}",
    ];
    let shapes: Vec<Record> = shapes.iter().map(|value| record(Some(b"canary-key"), Some(value))).collect();
    source.write("told-redact", &shapes).unwrap();
    let quarantined = |link: &str, count: usize| {
        let is = |line: &&strait_e2e::LogLine| line.field("link") == Some(link);
        wait_until(&format!("{count} records of {link} in quarantine"), SOON, || {
            (strait.events("quarantined").iter().filter(is).count() >= count).then_some(())
        });
    };
    LANGUAGES.iter().for_each(|(lang, ..)| quarantined(&format!("told-{lang}"), 2));
    quarantined("told-redact", 4);

    // Now the plugins break for good, and their breakers are stored.
    for (lang, ..) in LANGUAGES {
        source.write(&format!("told-{lang}"), &records("raise", GUILTY)).unwrap();
    }
    wait_until("three open breakers", SOON, || {
        let waiting = strait.events("plugin_waiting");
        let links: BTreeSet<String> = waiting.iter().filter_map(|line| Some(line.field("link")?.to_owned())).collect();
        (links.len() == LANGUAGES.len()).then_some(())
    });
    for path in ["/metrics", "/api/v1/status", "/readyz", "/api/v1/plugins"] {
        let (code, body) = get(&address, path);
        assert!(code == 200 || code == 503, "{path}: {code} {body}");
        assert!(path == "/readyz" || body.contains("told-python"), "{path}: {body}");
        is_clean(path, body.as_bytes());
    }
    let (code, said) = run_to_end("status", &config, &["status", "--admin", &format!("http://{address}")], SOON);
    assert!(code.is_some() && said.contains("told-python"), "{code:?} {said}");
    is_clean("strait status", said.as_bytes());
    stop(&mut strait);
    assert!(strait.stderr().contains("told-python"));
    for (what, text) in [("the log", strait.stderr()), ("standard output", strait.stdout())] {
        is_clean(what, text.as_bytes());
    }
    assert!(is_clean_below(&config.path().join("state")) >= LANGUAGES.len());

    let (code, said) = run_to_end("check", &config, &["check"], SOON);
    assert!(code.is_some() && said.contains("told-redact"), "{code:?} {said}");
    is_clean("strait check", said.as_bytes());
    for (lang, refused) in [("python", "5"), ("js", "5"), ("go", "5"), ("redact", "0")] {
        let name = format!("told-{lang}");
        topics_are_clean(&pair, &name);
        for arguments in [&["list", &name][..], &["show", &name, &name, "0", refused]] {
            let (code, said) = run_to_end(&name, &config, &[&["quarantine"][..], arguments].concat(), SOON);
            assert!(code == Some(0) && said.contains(&name), "{arguments:?}: {code:?} {said}");
            is_clean(&arguments.join(" "), said.as_bytes());
            // The rule that refused a record is named by the operator's name for it.
            assert_eq!(said.contains("email-rule"), lang == "redact" && arguments[0] == "list", "{said}");
        }
    }
}

/// Has each plugin throw its configuration, with the secret in it, while it is configured.
#[track_caller]
fn configure_with_exceptions(pair: &Pair, config: &ConfigFolder) {
    let mut links = String::new();
    for (lang, ..) in LANGUAGES {
        let config = "config = { secret = \"${file:secret}\", refuse = true }\n";
        let plugin = format!("[[links.plugins]]\nplugin = \"told-{lang}\"\n{config}");
        links += &link(&format!("told-{lang}"), &[&format!("told-{lang}")], 1, &plugin);
    }
    let text = fs::read(pair.config(&links).path().join("strait.toml")).unwrap();
    config.write("refused.toml", text).unwrap();
    for command in ["check", "run"] {
        let arguments = [command, "--config", "refused.toml", "--log-format", "json"];
        let arguments = [&arguments[..], if command == "run" { &["--until-caught-up"][..] } else { &[] }].concat();
        // All three are compiled first.
        let (code, said) = run_to_end(command, config, &arguments, COPIED);
        assert!(code.is_some_and(|code| code != 0) && said.contains("told-"), "{code:?} {said}");
        assert!(!said.contains(SECRET), "{said}");
    }
}

/// Asserts that Strait's own topics have no canary, and neither have the headers that it writes.
#[track_caller]
fn topics_are_clean(pair: &Pair, link: &str) {
    let read = |client: TestClient, topic: String| {
        client.read_records(&topic, Isolation::Uncommitted).unwrap_or_else(|error| panic!("{topic}: {error}"))
    };
    for topic in [progress_topic(link), operate_topic(link), map_topic(link)] {
        let entries = read(pair.at_target(), topic.clone());
        assert!(topic == map_topic(link) || !entries.is_empty(), "{topic}");
        for entry in entries {
            is_clean(&topic, &entry.key.unwrap_or_default());
            is_clean(&topic, &entry.value.unwrap_or_default());
        }
    }
    let kept = read(pair.at_source(), quarantine_topic(link));
    assert!(kept.len() >= 2, "{link}");
    for kept in kept {
        assert!(String::from_utf8_lossy(&kept.value.unwrap_or_default()).contains(CANARY));
        for (name, value) in kept.headers {
            is_clean(&String::from_utf8_lossy(&name), &value.unwrap_or_default());
        }
    }
    for copy in read(pair.at_target(), format!("source.{link}")) {
        assert!(copy.headers.is_empty(), "{link}: {:?}", copy.headers);
    }
}
