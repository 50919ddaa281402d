//! The content of a record, a plugin's words about it and a secret show nowhere but in the record's
//! copy and in quarantine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use strait_e2e::{Isolation, Record, Strait};

use crate::admin::{ADMIN, address_of, get};
use crate::support::{Pair, SOON, Turn, link, record, stop, wait_until};

/// Begins every text that must not show.
const CANARY: &str = "canary-";
const LANGUAGES: [(&str, &str, &str); 3] = [
    ("python", "plugin.py", include_str!("plugin.py")),
    ("js", "plugin.js", include_str!("plugin.js")),
    ("go", "main.go", include_str!("main.go")),
];
/// So many guilty records within a minute open the breaker.
const GUILTY: usize = 110;

/// Writes and builds the plugin of a language with the binary under test; returns the file.
fn built(lang: &str, file: &str, code: &str) -> PathBuf {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR")).join("canary");
    fs::create_dir_all(&parent).unwrap();
    let name = format!("told-{lang}");
    let folder = parent.join(&name);
    drop(fs::remove_dir_all(&folder));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let tools = std::env::var_os("STRAIT_PLUGIN_TOOLS").map_or_else(|| root.join(".cache/plugin-tools"), PathBuf::from);
    let strait = |folder: &Path, arguments: &[&str]| {
        let mut command = Command::new(Strait::binary().unwrap());
        command.args(arguments).current_dir(folder).env("STRAIT_PLUGIN_TOOLS", &tools);
        let output = command.env("XDG_CACHE_HOME", tools.join("cache")).output().unwrap();
        assert!(output.status.success(), "{lang}: {}", String::from_utf8_lossy(&output.stderr));
    };
    strait(&parent, &["plugin", "new", "--lang", lang, &name]);
    fs::write(folder.join(file), code).unwrap();
    strait(&folder, &["plugin", "build"]);
    folder.join(format!("build/{name}.wasm"))
}

fn records(word: &str, count: usize) -> Vec<Record> {
    let value = format!("{{\"word\":\"{word}\",\"customer\":{{\"email\":\"canary-email\"}}}}");
    vec![record(Some(b"canary-key"), Some(value.as_bytes())); count]
}

/// Asserts that a text which is not the record's own holds no canary.
#[track_caller]
fn is_clean(what: &str, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    if let Some(at) = text.find(CANARY) {
        let before: String = text[..at].chars().rev().take(200).collect::<Vec<_>>().into_iter().rev().collect();
        panic!("{what}: {before}{}", text[at..].chars().take(200).collect::<String>());
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
    let _turn = Turn::beside_another();
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
    let rules = "rules = [{ fields = [\"$.customer.email\"], with = \"hmac\", secret = \"${file:secret}\" }]";
    let redact = format!("[[links.plugins]]\nplugin = \"redact\"\nconfig = {{ {rules} }}\n");
    links += &link("told-redact", &["told-redact"], 1, &redact);
    let config = pair.config(&(links + ADMIN));
    config.write("secret", "canary-secret-of-redact").unwrap();
    for (lang, file, code) in LANGUAGES {
        fs::copy(built(lang, file, code), config.path().join(format!("plugins/told-{lang}.wasm"))).unwrap();
    }

    let mut strait = Strait::run("canary", &config, &[]).unwrap();
    let address = address_of(&strait);
    for (lang, ..) in LANGUAGES {
        let topic = format!("told-{lang}");
        let few = [records("pass", 5), records("reject", 1), records("raise", 1), records("pass", 5)].concat();
        source.write(&topic, &few).unwrap();
    }
    let shapes = [&b"canary-text"[..], b"[\"canary-text\"]", b"{\"customer\":[\"canary-text\"]}", b"{\"customer\":{}}"];
    let shapes: Vec<Record> = shapes.iter().map(|value| record(Some(b"canary-key"), Some(value))).collect();
    source.write("told-redact", &shapes).unwrap();
    let quarantined = |link: &str, count: usize| {
        let is = |line: &&strait_e2e::LogLine| line.field("link") == Some(link);
        wait_until(&format!("{count} records of {link} in quarantine"), SOON, || {
            (strait.events("quarantined").iter().filter(is).count() >= count).then_some(())
        });
    };
    LANGUAGES.iter().for_each(|(lang, ..)| quarantined(&format!("told-{lang}"), 2));
    quarantined("told-redact", 3);

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
    stop(&mut strait);
    assert!(strait.stderr().contains("told-python"));
    for (what, text) in [("the log", strait.stderr()), ("standard output", strait.stdout())] {
        is_clean(what, text.as_bytes());
    }
    assert!(is_clean_below(&config.path().join("state")) >= LANGUAGES.len());

    for lang in ["python", "js", "go", "redact"] {
        let read = |client: strait_e2e::TestClient, topic: String| {
            client.read_records(&topic, Isolation::Uncommitted).unwrap_or_else(|error| panic!("{topic}: {error}"))
        };
        for entry in read(pair.at_target(), format!("strait.told-{lang}.progress")) {
            is_clean("progress", &entry.key.unwrap_or_default());
            is_clean("progress", &entry.value.unwrap_or_default());
        }
        let kept = read(pair.at_source(), format!("strait.told-{lang}.quarantine"));
        assert!(kept.len() >= 2, "{lang}");
        for kept in kept {
            assert!(String::from_utf8_lossy(&kept.value.unwrap_or_default()).contains(CANARY));
            for (name, value) in kept.headers {
                is_clean(&String::from_utf8_lossy(&name), &value.unwrap_or_default());
            }
        }
    }
}
