//! Keys, signatures and pins from outside: created files, refusals, and their texts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers outside of a test function fail the test too"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Runs a command and returns exit code, standard output and standard error.
fn strait(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
    let output = command.args(args).current_dir(dir).env_clear().output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Returns a report without its frame and line breaks.
fn flat(report: &str) -> String {
    report.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Creates a folder with a folder for plugins in it.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("plugins")).unwrap();
    dir
}

/// Returns a plugin with this version, one character.
fn plugin(version: &str) -> Vec<u8> {
    let text = include_str!("../../../plugins/test-guests/trap.wat");
    wat::parse_str(text.replace("trap1", &format!("trap{version}"))).unwrap()
}

/// Writes a configuration with the plugin `x`, these lines at its top and these for the plugin.
fn config(dir: &Path, top: &str, plugin: &str) {
    let text = format!(
        "{top}\n[clusters.aws]\nbootstrap_servers = \"127.0.0.1:1\"\n[clusters.gcp]\nbootstrap_servers = \"127.0.0.1:1\"\n\
         [[links]]\nname = \"l\"\nsource = \"aws\"\ntarget = \"gcp\"\ntopics = [\"t\"]\n\
         [[links.plugins]]\nplugin = \"x\"\n{plugin}\n"
    );
    fs::write(dir.join("strait.toml"), text).unwrap();
}

#[test]
fn a_plugin_is_signed_verified_and_refused_by_name() {
    let dir = folder();
    let dir = dir.path();
    let run = |args: &[&str]| strait(dir, args);
    let file = "plugins/x.wasm";
    fs::write(dir.join(file), plugin("1")).unwrap();

    let (code, printed, error) = run(&["plugin", "keygen", "--key", "our.key"]);
    assert_eq!(code, Some(0), "{error}");
    let public = printed.lines().next().unwrap().to_owned();
    let secret = fs::read_to_string(dir.join("our.key")).unwrap();
    assert!(public.starts_with("ed25519:") && public.len() == 72, "{printed}");
    assert!(!printed.contains(secret.trim().rsplit(':').next().unwrap()), "the private key was printed");
    let mode = |mode| fs::set_permissions(dir.join("our.key"), fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(fs::metadata(dir.join("our.key")).unwrap().permissions().mode() & 0o777, 0o600);
    let (code, _, error) = run(&["plugin", "keygen", "--key", "our.key"]);
    assert!(code == Some(1) && error.contains("is there already"), "{error}");
    assert_eq!(fs::read_to_string(dir.join("our.key")).unwrap(), secret, "a key was written over");

    // With trusted keys, an unsigned file is not even parsed.
    config(dir, &format!("trusted_plugin_keys = [\"{public}\"]"), "");
    let (code, steps, _) = run(&["check"]);
    assert!(code == Some(64) && steps.contains("trusted_plugin_keys is set, and it is not signed"), "{steps}");
    let (code, _, error) = run(&["plugin", "verify", file]);
    assert!(code == Some(1) && error.contains("it is not signed: plugins/x.wasm.sig is not there"), "{error}");

    mode(0o640);
    let (code, _, error) = run(&["plugin", "sign", "--key", "our.key", file]);
    assert!(code == Some(1) && error.contains("mode 0640"), "{error}");
    mode(0o600);
    let (code, printed, error) = run(&["plugin", "sign", "--key", "our.key", file]);
    assert!(code == Some(0) && printed.contains(&format!("{public} as x, version 1")), "{printed}{error}");
    let digest = printed.split_whitespace().find(|word| word.starts_with("sha256:")).unwrap().to_owned();
    for args in [&["plugin", "verify", file][..], &["plugin", "verify", file, "--trust", &public]] {
        let (code, printed, error) = run(args);
        assert!(code == Some(0) && printed.contains(&digest) && printed.contains(&public), "{printed}{error}");
    }
    let (_, steps, _) = run(&["check"]);
    assert!(steps.contains("✓ plugins of l"), "{steps}");
    // Under another name, and by the format before.
    fs::copy(dir.join(file), dir.join("plugins/y.wasm")).unwrap();
    fs::copy(dir.join("plugins/x.wasm.sig"), dir.join("plugins/y.wasm.sig")).unwrap();
    let (code, _, error) = run(&["plugin", "verify", "plugins/y.wasm"]);
    assert!(code == Some(1) && error.contains("signed to be loaded as x, and not as y"), "{error}");
    let former = format!("strait-plugin-v1 {public} {}\n", "0".repeat(128));
    fs::write(dir.join("plugins/y.wasm.sig"), former).unwrap();
    let (code, _, error) = run(&["plugin", "verify", "plugins/y.wasm"]);
    assert!(code == Some(1) && error.contains("sign the plugin again"), "{error}");
    fs::write(dir.join("plugins/z.wasm"), b"no plugin").unwrap();
    let (code, _, error) = run(&["plugin", "sign", "--key", "our.key", "plugins/z.wasm"]);
    assert!(code == Some(64) && error.contains("not valid WebAssembly"), "{error}");

    fs::write(dir.join(file), plugin("2")).unwrap();
    let (code, _, error) = run(&["plugin", "verify", file]);
    assert!(code == Some(1) && error.contains("not for these bytes"), "{error}");
    let (_, steps, _) = run(&["check"]);
    assert!(steps.contains("not for these bytes"), "{steps}");

    config(dir, "", &format!("digest = \"{digest}\""));
    let (_, steps, _) = run(&["check"]);
    assert!(steps.contains(&format!("the configuration pins {digest}")), "{steps}");
    fs::write(dir.join(file), plugin("1")).unwrap();
    let (_, steps, _) = run(&["check"]);
    assert!(steps.contains("✓ plugins of l"), "{steps}");

    // A second signer keeps the signature of the first, also when it signs again.
    let (_, printed, _) = run(&["plugin", "keygen", "--key", "their.key"]);
    let theirs = printed.lines().next().unwrap().to_owned();
    let lines = || fs::read_to_string(dir.join("plugins/x.wasm.sig")).unwrap();
    let first = lines();
    for _ in 0..2 {
        let (code, printed, error) = run(&["plugin", "sign", "--key", "their.key", file]);
        assert!(code == Some(0) && !printed.contains("not for these bytes"), "{printed}{error}");
        assert!(lines().starts_with(&first) && lines().lines().count() == 2, "{}", lines());
    }
    for signer in [&public, &theirs] {
        assert_eq!(run(&["plugin", "verify", file, "--trust", signer]).0, Some(0));
    }
    fs::write(dir.join(file), plugin("2")).unwrap();
    let (code, printed, error) = run(&["plugin", "sign", "--key", "their.key", file]);
    assert!(
        code == Some(0) && printed.contains(&format!("the signature of {public} is not for these bytes")),
        "{printed}{error}"
    );
    assert!(lines().starts_with(&first) && lines().lines().count() == 2, "{}", lines());
    // Something else is not written over.
    fs::write(dir.join("plugins/x.wasm.sig"), "notes\n").unwrap();
    let (code, _, error) = run(&["plugin", "sign", "--key", "their.key", file]);
    assert!(code == Some(1) && error.contains("move that file away first") && lines() == "notes\n", "{error}");

    let zero = format!("ed25519:{}", "0".repeat(64));
    for (top, plugin, wanted) in [
        ("trusted_plugin_keys = [\"ed25519:12\"]", "", "write ed25519: and 64 hexadecimal digits"),
        (&*format!("trusted_plugin_keys = [\"{zero}\"]"), "", "not a valid Ed25519 public key"),
        ("", "digest = \"sha256:abc\"", "write sha256: and 64 hexadecimal digits"),
    ] {
        config(dir, top, plugin);
        let (code, _, error) = run(&["check"]);
        assert!(code == Some(64) && flat(&error).contains(wanted), "{wanted}: {error}");
    }
}

#[test]
fn anything_but_a_regular_file_is_refused_without_waiting() {
    let dir = folder();
    let dir = dir.path();
    let run = |args: &[&str]| strait(dir, args);
    let pipe = |name: &str| assert!(Command::new("mkfifo").arg(dir.join(name)).status().unwrap().success());
    pipe("plugins/x.wasm");
    config(dir, "", "");
    let (_, printed, _) = run(&["plugin", "keygen", "--key", "our.key"]);
    let public = printed.lines().next().unwrap();
    let (file, verify) = ("plugins/x.wasm", ["plugin", "verify", "plugins/x.wasm", "--trust", public]);
    for args in [&["check"][..], &["plugin", "inspect", file], &["plugin", "sign", "--key", "our.key", file], &verify] {
        let (code, steps, error) = run(args);
        let said = steps + &error;
        let wanted = if args == verify { 1 } else { 64 };
        assert!(code == Some(wanted) && said.contains("cannot be read: it is not a regular file"), "{args:?}: {said}");
    }
    fs::remove_file(dir.join(file)).unwrap();
    fs::write(dir.join(file), b"no plugin, but a file").unwrap();
    pipe("plugins/x.wasm.sig");
    let (code, _, error) = run(&verify);
    assert!(code == Some(1) && error.contains("x.wasm.sig cannot be read: it is not a regular file"), "{error}");
}

#[test]
fn status_reports_why_there_is_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let run = |args: &[&str]| strait(dir, args);
    let (code, _, error) = run(&["status", "--admin", "http://127.0.0.1:1"]);
    assert!(
        code == Some(1) && error.contains("nothing listens on 127.0.0.1:1") && error.contains("is strait run"),
        "{error}"
    );
    let (code, _, error) = run(&["status", "--admin", "https://example.org"]);
    assert!(code == Some(1) && error.contains("http://127.0.0.1:9610"), "{error}");
    for (listen, code, wanted) in [
        ("off", 1, "cannot be asked"),
        ("0.0.0.0:9610", 64, "TLS and a token"),
        ("127.0.0.1:0", 64, "their log says which"),
        ("127.0.0.1:1", 1, "nothing listens on 127.0.0.1:1"),
    ] {
        // The secret is missing and not needed.
        config(dir, "plugin_dir = \"${env:NOT_SET}\"", &format!("[admin]\nlisten = \"{listen}\""));
        let (found, _, error) = run(&["status"]);
        assert!(found == Some(code) && error.contains(wanted), "{listen}: {error}");
    }
    config(dir, "", "[admin]\nlisten = \"0.0.0.0:9610\"");
    let (code, _, error) = run(&["check"]);
    assert!(code == Some(64) && flat(&error).contains("TLS and a token"), "{error}");
}
