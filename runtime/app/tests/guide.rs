//! Runs the commands of docs/plugins.md exactly as they are written there.
//!
//! Fenced blocks that open with ```` ```sh run ```` are commands; each runs in the folder that the
//! one before it ended in.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers outside of a test function fail the test too"
)]

use std::path::Path;
use std::process::Command;

const GUIDE: &str = include_str!("../../../docs/plugins.md");

/// Returns the blocks whose fence has this info string.
fn blocks(info: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = GUIDE.lines();
    while let Some(line) = lines.next() {
        if line.trim_end() == format!("```{info}") {
            blocks.push(
                lines.by_ref().take_while(|line| line.trim_end() != "```").map(|line| format!("{line}\n")).collect(),
            );
        }
    }
    blocks
}

#[test]
fn the_commands_of_the_guide_work() {
    let blocks = blocks("sh run");
    assert!(blocks.len() >= 3, "the guide has lost its commands");
    let dir = tempfile::tempdir().unwrap();
    let binaries = Path::new(env!("CARGO_BIN_EXE_strait")).parent().unwrap();
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/plugin-tools");
    let tools = std::env::var_os("STRAIT_PLUGIN_TOOLS").unwrap_or_else(|| tools.into_os_string());
    let script = format!("set -euo pipefail\n{}", blocks.concat());
    let mut command = Command::new("bash");
    command.args(["-c", &script]).current_dir(dir.path()).env("PATH", path).env("STRAIT_PLUGIN_TOOLS", tools);
    let output = command.output().unwrap();
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}\n{out}{error}");
    // The page promises an order that is left out, and one that is redacted and goes to its
    // region's topic.
    assert!(out.contains("    - left out\n"), "{out}");
    assert!(out.contains("> aws.orders-eu") && out.contains("\"email\":\"***\""), "{out}");
    let arrived = out.lines().filter(|line| line.contains("    > "));
    assert!(arrived.clone().count() > 0 && arrived.clone().all(|line| !line.contains("@example.com")), "{out}");
}
