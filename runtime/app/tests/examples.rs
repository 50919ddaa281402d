//! Every example is a configuration that loads without a finding.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers outside of a test function fail the test too"
)]

use std::path::Path;
use std::process::Command;

#[test]
fn every_example_loads_without_a_warning() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        seen += 1;
        let shown = Command::new(env!("CARGO_BIN_EXE_strait"))
            .args(["config", "show", "-c"])
            .arg(&path)
            .env_clear()
            .envs(
                ["ACTIVE", "PASSIVE", "AWS", "GCP", "PARIS", "TOKYO", "HUB"]
                    .map(|name| (format!("{name}_PASSWORD"), "canary-a")),
            )
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&shown.stderr).into_owned();
        assert!(shown.status.success() && said.is_empty(), "{}: {said}", path.display());
        assert!(!String::from_utf8_lossy(&shown.stdout).contains("canary-"), "{} shows a secret", path.display());
    }
    assert!(seen >= 3, "{seen} examples found");
}
