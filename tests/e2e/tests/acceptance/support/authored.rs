//! Plugins of other languages, written by `strait plugin new` and built with the binary under test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use strait_e2e::Strait;

/// Makes and builds a new plugin of a language; returns its file. `code` replaces a file of the
/// template.
#[track_caller]
pub fn authored(lang: &str, name: &str, code: Option<(&str, &str)>) -> PathBuf {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR")).join("authored");
    fs::create_dir_all(&parent).unwrap();
    let folder = parent.join(name);
    drop(fs::remove_dir_all(&folder));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let tools = std::env::var_os("STRAIT_PLUGIN_TOOLS").map_or_else(|| root.join(".cache/plugin-tools"), PathBuf::from);
    let strait = |folder: &Path, arguments: &[&str]| {
        let mut command = Command::new(Strait::binary().unwrap());
        command.args(arguments).current_dir(folder).env("STRAIT_PLUGIN_TOOLS", &tools);
        let output = command.env("XDG_CACHE_HOME", tools.join("cache")).output().unwrap();
        assert!(output.status.success(), "{lang}: {}", String::from_utf8_lossy(&output.stderr));
    };
    strait(&parent, &["plugin", "new", "--lang", lang, name]);
    if let Some((file, code)) = code {
        fs::write(folder.join(file), code).unwrap();
    }
    strait(&folder, &["plugin", "build"]);
    folder.join(format!("build/{name}.wasm"))
}
