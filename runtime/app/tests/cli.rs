//! The command line from outside: exit codes, standard output and error, and that no secret is
//! printed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers outside of a test function fail the test too"
)]

mod stamp;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A configuration with secrets. Its brokers are port 1 of this machine, which refuses at once.
fn config() -> String {
    let secrets = r#"
[clusters.aws.kafka]
"sasl.username" = "someone"
"sasl.password" = "${env:CANARY}"
"ssl.key.password" = "canary-written"
"#;
    let config = include_str!("minimal.toml").replace("\"a:9092\"", "\"127.0.0.1:1\"\nregion = \"eu-west-1\"");
    config.replace("\"g:9092\"", "\"127.0.0.1:1\"") + secrets
}

fn strait(dir: &Path, args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
    // Without the environment of the test run, as STRAIT_ variables would override the
    // configuration.
    command.args(args).current_dir(dir).env_clear().env("CANARY", "canary-resolved");
    command.envs(variables.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(!text.contains("canary-"), "{text}");
    text
}

#[test]
fn exit_codes_and_outputs_are_as_documented() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("strait.toml"), config()).unwrap();
    let run = |args: &[&str], variables: &[(&str, &str)]| {
        let output = strait(dir.path(), args, variables);
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };

    let (code, shown, _) = run(&["config", "show"], &[("STRAIT_LINKS__0__LANES", "2")]);
    assert_eq!(code, Some(0));
    assert!(shown.contains("lanes = 2") && shown.contains("${env:CANARY}") && shown.contains("***"), "{shown}");
    let (code, shown, _) = run(&["config", "show", "-o", "json"], &[]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((code, &shown["links"][0]["naming"]), (Some(0), &Value::from("prefix")));

    let (code, schema, _) = run(&["config", "schema"], &[]);
    let schema: Value = serde_json::from_str(&schema).unwrap();
    assert_eq!((code, &schema["additionalProperties"]), (Some(0), &Value::from(false)));

    let bad = [("STRAIT_LINKS__0__SOURCE", "nowhere")];
    for command in ["run", "check"] {
        let (code, _, error) = run(&[command], &bad);
        assert_eq!(code, Some(64), "{error}");
        assert!(
            error.contains("there is no cluster 'nowhere'") && error.contains("STRAIT_LINKS__0__SOURCE"),
            "{error}"
        );
    }
    let (code, result, _) = run(&["check", "-o", "json"], &bad);
    let result: Value = serde_json::from_str(&result).unwrap();
    assert_eq!((code, &result["findings"][0]["code"]), (Some(64), &Value::from("unknown-cluster")));

    let (code, steps, _) = run(&["check"], &[]);
    assert_eq!(code, Some(1), "{steps}");
    for line in ["✓ configuration: valid", "✗ cluster aws", "✗ cluster gcp", "- topics of aws-to-gcp"] {
        assert!(steps.contains(line), "{line}: {steps}");
    }

    let identity = "source=arn:aws:iam::123456789012:role/strait";
    for (args, code, why) in [
        (&["--principal", "user:copier"][..], 2, "as in User:copier"),
        (&["--principal", "sorce=User:copier"], 2, "source=User:copier"),
        (&["--principal", "User:copier", "-o", "msk-iam"], 1, "does not fit -o"),
        (&["--principal", identity], 1, "does not fit -o"),
        (&["--principal", identity, "-o", "msk-iam"], 0, "attach the statements Source… to arn:aws:iam:"),
        (&["--cluster-arn", "arn:aws:kafka:eu-west-1:1:cluster/x", "-o", "msk-iam"], 2, "as in arn:aws:kafka:"),
    ] {
        let (found, _, said) = run(&[&["acl", "print", "aws-to-gcp", "--offline"], args].concat(), &[]);
        assert!(found == Some(code) && said.contains(why), "{args:?}: {said}");
    }

    assert_eq!(run(&["no-such-command"], &[]).0, Some(2));
    let (code, _, error) = run(&["plugin", "inspect", "no-such.wasm"], &[]);
    assert_eq!(code, Some(64), "{error}");
    let (code, _, error) = run(&["check", "-c", "none.toml"], &[]);
    assert_eq!(code, Some(64), "{error}");
}

#[test]
fn commands_say_which_cluster_they_wait_for_and_why_one_cannot_be_reached() {
    let dir = tempfile::tempdir().unwrap();
    // Accepts connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    for (name, text) in [("strait.toml", config()), ("silent.toml", config().replace("127.0.0.1:1", &address))] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    for (command, cluster) in [
        (&["offsets", "translate", "aws-to-gcp", "--group", "g"][..], "aws"),
        (&["offsets", "translate", "aws-to-gcp", "--group", "g", "--inverse"], "aws"),
        (&["quarantine", "list", "aws-to-gcp"], "gcp"),
        (&["quarantine", "show", "aws-to-gcp", "orders", "0", "1"], "gcp"),
        (&["quarantine", "replay", "aws-to-gcp", "--yes"], "aws"),
        (&["quarantine", "discard", "aws-to-gcp", "--topic", "orders", "--reason", "r"], "gcp"),
        (&["quarantine", "trim", "aws-to-gcp"], "gcp"),
        (&["plan", "aws-to-gcp"], "aws"),
        (&["lanes", "resize", "aws-to-gcp", "4"], "gcp"),
        (&["partitions", "skip", "aws-to-gcp", "orders", "0", "--to", "5"], "aws"),
    ] {
        let output = strait(dir.path(), command, &[]);
        let said = text(&output.stderr);
        let cause = format!("error: cluster {cluster}: nothing listens at 127.0.0.1:1 (");
        assert!(output.status.code() == Some(1) && said.contains(&cause), "{command:?}: {said}");

        let mut waiting = Command::new(env!("CARGO_BIN_EXE_strait"));
        let waiting = waiting.args(command).args(["-c", "silent.toml"]).current_dir(dir.path()).env_clear();
        let mut waiting = waiting.env("CANARY", "canary-resolved").stderr(Stdio::piped()).spawn().unwrap();
        let began = Instant::now();
        let lines = BufReader::new(waiting.stderr.take().unwrap()).lines().map(Result::unwrap);
        let first = lines.into_iter().find(|line| line.starts_with("waiting for"));
        assert_eq!(first, Some(format!("waiting for cluster {cluster} at {address}, for up to 15 s")));
        assert!(began.elapsed() < Duration::from_secs(10), "{command:?}: {:?}", began.elapsed());
        waiting.kill().unwrap();
        waiting.wait().unwrap();
    }
}

#[test]
fn residency_demands_required_plugins_of_every_way_to_start() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = "plugin = \"filter\"\nconfig = { keep = \"key == 'a'\" }\n";
    std::fs::write(dir.path().join("strait.toml"), format!("{}\n[[links.plugins]]\n{plugin}", config())).unwrap();
    for command in [&["check"][..], &["run", "--until-caught-up"]] {
        let output = strait(dir.path(), command, &[("STRAIT_LINKS__0__RESIDENCY", "true")]);
        let said = text(&output.stdout) + &text(&output.stderr);
        let refusal = "plugin filter (bundled): the link has residency = true";
        assert!(output.status.code() == Some(64) && said.contains(refusal), "{command:?}: {said}");
    }
}

#[test]
fn a_file_is_refused_in_the_same_words_by_every_way_to_start() {
    let dir = tempfile::tempdir().unwrap();
    let schema = include_str!("doubling.json").trim();
    std::fs::create_dir(dir.path().join("plugins")).unwrap();
    std::fs::write(dir.path().join("plugins/stamp.wasm"), stamp::stamp("X", schema)).unwrap();
    let plugin = "\n[[links.plugins]]\nplugin = \"stamp\"\n";
    std::fs::write(dir.path().join("strait.toml"), config() + plugin).unwrap();
    // A reload says the same (src/reload/tests.rs).
    let words = "its references are followed 2047 times, each counted with what it leads to, 1000 are allowed";
    for command in [&["check"][..], &["run", "--until-caught-up"], &["plugin", "inspect", "plugins/stamp.wasm"]] {
        let output = strait(dir.path(), command, &[]);
        let said = text(&output.stdout) + &text(&output.stderr);
        // Wrapped for a terminal.
        let said = said.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(output.status.code() == Some(64) && said.contains(words), "{command:?}: {said}");
    }
}

#[test]
fn secrets_that_a_plugin_quotes_are_masked() {
    let dir = tempfile::tempdir().unwrap();
    // Refused by the schema, by the plugin, and where it reads its configuration.
    for plugin in [
        "plugin = \"redact\"\nconfig = { rules = [{ fields = [\"$.a\"], with = \"${env:CANARY}\" }] }\n",
        "plugin = \"filter\"\nconfig = { keep = \"key == ${env:CANARY} (\" }\n",
        "plugin = \"sample\"\nconfig = { fraction = \"${env:CANARY}\" }\n",
    ] {
        std::fs::write(dir.path().join("strait.toml"), format!("{}\n[[links.plugins]]\n{plugin}", config())).unwrap();
        for command in [&["check"][..], &["run", "--until-caught-up"]] {
            let output = strait(dir.path(), command, &[]);
            let said = text(&output.stdout) + &text(&output.stderr);
            assert!(output.status.code() == Some(64) && !said.is_empty(), "{command:?}: {said}");
        }
    }
}

/// Runs records through the plugins of the link, of which the configuration is given.
fn run_link(dir: &Path, plugins: &str, records: &str, more: &[&str]) -> Vec<String> {
    std::fs::write(dir.join("strait.toml"), config() + plugins).unwrap();
    std::fs::write(dir.join("records.jsonl"), records).unwrap();
    let args = [&["plugin", "run", "records.jsonl", "--link", "aws-to-gcp"], more].concat();
    let output = strait(dir, &args, &[]);
    let (shown, said) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}");
    shown.lines().map(str::to_owned).collect()
}

#[test]
fn all_plugins_of_a_link_run_over_records_without_a_broker() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = r#"
[[links.plugins]]
plugin = "filter"
config = { drop = "key == 'test'" }
[[links.plugins]]
plugin = "redact"
config = { rules = [{ fields = ["$.email"], with = "null" }] }
[[links.plugins]]
plugin = "route"
config = { by = "$.region", to = "topic", table = { eu = "orders-eu", xx = "elsewhere" }, unmatched = "keep" }
output_topics = ["orders.*"]
"#;
    let records = r#"{"topic":"orders","key":"test","value":{"json":{"email":"a@x"}}}
{"topic":"orders","key":"a","value":{"json":{"email":"a@x","region":"eu"}}}
{"topic":"orders","key":"b","value":"no document"}
{"topic":"orders","key":"c","value":{"json":{"region":"us"}}}
{"topic":"orders","key":"d","value":{"json":{"region":"xx"}}}
"#;
    let lines = run_link(dir.path(), plugins, records, &[]);
    let place = |offset: u32| format!(r#"{{"topic":"orders","partition":0,"offset":{offset},"stages":"#);
    let value = r#""value":{"json":{"email":null,"region":"eu"}}"#;
    let passed = r#"{"plugin":"filter","pass":{}},{"plugin":"redact","pass":{}}"#;
    assert_eq!(lines[0], place(0) + r#"[{"plugin":"filter","drop":{}}],"drop":{}}"#);
    assert_eq!(
        lines[1],
        place(1)
            + r#"[{"plugin":"filter","pass":{}},{"plugin":"redact","send":[{"#
            + value
            + r#"}]},{"plugin":"route","send":[{"topic":"orders-eu","#
            + value
            + r#"}]}],"send":[{"topic":"aws.orders-eu","partition_by":"a","#
            + value
            + "}]}"
    );
    assert!(
        lines[2].starts_with(
            &(place(2) + r#"[{"plugin":"filter","pass":{}},{"plugin":"redact","reject":{"code":"value-not-json""#)
        ),
        "{}",
        lines[2]
    );
    assert_eq!(lines[2].matches("value-not-json").count(), 2, "{}", lines[2]);
    assert_eq!(
        lines[3],
        format!(r#"{}[{passed},{{"plugin":"route","pass":{{}}}}],"pass":{{"topic":"aws.orders"}}}}"#, place(3))
    );
    assert!(
        lines[4].contains(r#""reject":{"code":"edit-topic","reason":"the topic 'elsewhere' is not among"#),
        "{}",
        lines[4]
    );

    let run = |args: &[&str]| strait(dir.path(), &[&["plugin", "run", "records.jsonl"], args].concat(), &[]);
    let unknown = run(&["--link", "none"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("there are: aws-to-gcp"), "{}", text(&unknown.stderr));
    assert_eq!(run(&["--link", "aws-to-gcp", "--plugin", "filter"]).status.code(), Some(2));
}

#[test]
fn a_topic_that_cannot_be_judged_ends_alone_and_the_exit_codes_are_the_documented_ones() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = r#"
[[links.plugins]]
plugin = "rename"
config = { prefix = "x." }
output_topics = ["x.orders"]
"#;
    let records = r#"{"topic":"orders","key":"a"}
{"topic":"payments","key":"b"}
{"topic":"orders","key":"c"}
{"topic":"payments","key":"d"}
{"topic":"payments","partition":1,"key":"e"}
"#;
    std::fs::write(dir.path().join("strait.toml"), config() + plugins).unwrap();
    std::fs::write(dir.path().join("records.jsonl"), records).unwrap();
    let run = |args: &[&str]| strait(dir.path(), &[&["plugin"], args].concat(), &[]);
    let output = run(&["run", "records.jsonl", "--link", "aws-to-gcp"]);
    let (shown, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(shown.matches("\"topic\":\"orders\",\"partition\":0,\"offset\":").count(), 2, "{shown}");
    assert_eq!(shown.lines().count(), 2, "{shown}");
    for stopped in
        ["topic \"payments\", partition 0: 2 records were not judged", "topic \"payments\", partition 1: 1 records"]
    {
        assert!(said.contains(stopped), "{said}");
    }

    std::fs::create_dir(dir.path().join("p")).unwrap();
    std::fs::write(dir.path().join("p/strait-plugin.toml"), "name = 1\n").unwrap();
    let of_filter = ["--plugin", "filter", "--plugin-config"];
    for (args, code) in [
        (&[&["run", "records.jsonl"], &of_filter[..], &[r#"{"keep":"key == 'a'"}"#]].concat()[..], 0),
        (&[&["run", "records.jsonl"], &of_filter[..], &[r#"{"keep":"kay == 'a'"}"#]].concat(), 64),
        (&[&["run", "records.jsonl"], &of_filter[..], &[r#"{"keep":""}"#]].concat(), 64),
        (&[&["run", "records.jsonl"], &of_filter[..], &["{"]].concat(), 64),
        (&[&["run", "none.jsonl"], &of_filter[..], &["{\"keep\":\"true\"}"]].concat(), 1),
        (&[&["bench", "records.jsonl"], &of_filter[..], &["{}"]].concat(), 64),
        (&["run", "records.jsonl", "--plugin", "records.jsonl"], 64),
        (&["inspect", "records.jsonl"], 64),
        (&["test", "p"], 64),
        (&["test", "."], 1),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_stateful_plugin_that_breaks_is_shown_the_records_before_again() {
    let dir = tempfile::tempdir().unwrap();
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/target/plugins/test/poison.wasm");
    std::fs::create_dir(dir.path().join("plugins")).unwrap();
    std::fs::copy(built, dir.path().join("plugins/poison.wasm")).unwrap();
    let plugins = "\n[[links.plugins]]\nplugin = \"poison\"\nconfig = { lookback = 3 }\n";
    // The record of another partition ends a batch, so that the state is that of an earlier one.
    let records = r#"{"topic":"orders","key":"a"}
{"topic":"orders","key":"b"}
{"topic":"orders","partition":1,"key":"x"}
{"topic":"orders","key":"c"}
{"topic":"orders","key":"panic"}
{"topic":"orders","key":"d"}
"#;
    let lines = run_link(dir.path(), plugins, records, &[]);
    let before = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["stages"][0]["plugin"], "poison");
        line["send"][0]["headers"][1][1].as_str().map(str::to_owned)
    };
    let all: Vec<Option<String>> = lines.iter().map(|line| before(line)).collect();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(all, [some(""), some("a"), some(""), some("a,b"), None, some("b,c")]);
    assert!(lines[4].contains(r#""reject":{"code":"plugin-trap""#) && lines[4].contains("a record with the key panic"));
}

#[test]
fn the_sdk_of_a_project_is_brought_up_to_date_and_says_what_changed() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let output = strait(dir.path(), &[&["plugin"], args].concat(), &[]);
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    assert_eq!(run(&["new", "--lang", "wat", "mine"]).0, Some(0));
    let (code, said) = run(&["update", "mine"]);
    assert!(code == Some(0) && said.starts_with("the SDK is up to date: "), "{said}");
    let edited = dir.path().join("mine/sdk/wit/plugin.wit");
    std::fs::write(&edited, "edited").unwrap();
    let (code, said) = run(&["update", "mine"]);
    assert!(code == Some(1) && said.contains("edited by hand") && said.contains("sdk/wit/plugin.wit"), "{said}");
    assert_eq!(std::fs::read_to_string(&edited).unwrap(), "edited");
    let (code, said) = run(&["update", "mine", "--force"]);
    assert!(code == Some(0) && said.contains("\n  changed  sdk/wit/plugin.wit\n"), "{said}");
    assert!(std::fs::read_to_string(&edited).unwrap().contains("package strait:plugin"));
    std::fs::write(dir.path().join("mine/strait-plugin.toml"), "name = \"mine\"\nbuild = { command = [\"make\"] }\n")
        .unwrap();
    let (code, said) = run(&["update", "mine"]);
    assert!(code == Some(1) && said.contains("names no lang"), "{said}");
}

#[test]
fn a_test_of_a_plugin_names_the_rules_that_found_nothing_in_any_case() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/target/plugins/redact.wasm");
    put("build/mine.wasm", &std::fs::read(built).unwrap());
    let rules =
        ["email", "phone", "card"].map(|name| format!("{{ id = '{name}', fields = ['$.{name}'], with = 'null' }}"));
    let config = rules.join(", ");
    let manifest = format!("name = 'mine'\nbuild.command = ['true']\nconfig = {{ rules = [{config}] }}\n");
    put("strait-plugin.toml", manifest.as_bytes());
    put("tests/one.jsonl", br#"{"topic":"t","value":{"json":{"email":"e"}}}"#);
    put("tests/two.jsonl", br#"{"topic":"t","value":{"json":{"phone":"p"}}}"#);
    let test = |args: &[&str]| {
        let output = strait(dir.path(), &[&["plugin", "test"], args].concat(), &[]);
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    assert_eq!(test(&["--update"]).0, Some(0));
    let (code, said) = test(&[]);
    assert!(code == Some(0) && said.ends_with("2 passed, 0 failed\n"), "{code:?} {said}");
    let notes: Vec<&str> = said.lines().filter(|line| line.starts_with("note")).collect();
    assert_eq!(notes, ["note  counter matched of rule card is expected to count and has counted nothing in any case"]);
}
