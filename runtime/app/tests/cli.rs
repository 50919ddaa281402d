//! The command line from outside: exit codes, standard output and error, and that no secret is
//! printed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers outside of a test function fail the test too"
)]

use std::path::Path;
use std::process::{Command, Output};

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

    assert_eq!(run(&["no-such-command"], &[]).0, Some(2));
    let (code, _, error) = run(&["plugin", "inspect", "no-such.wasm"], &[]);
    assert_eq!(code, Some(1), "{error}");
    let (code, _, error) = run(&["check", "-c", "none.toml"], &[]);
    assert_eq!(code, Some(64), "{error}");
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
