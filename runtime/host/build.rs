//! Embeds the bundled plugins that `plugins/build.sh` has built, as far as they exist: `cargo
//! check` works without them, and the host reports at run time that they are missing.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=STRAIT_BUNDLED_PLUGINS");
    println!("cargo::rerun-if-changed=build.rs");
    let default = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../plugins/target/plugins");
    let folder = env::var_os("STRAIT_BUNDLED_PLUGINS").map_or(default, PathBuf::from);
    // A folder that is not there yet makes cargo ask again the next time.
    println!("cargo::rerun-if-changed={}", folder.display());

    let mut files = Vec::new();
    if folder.is_dir() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "wasm") {
                println!("cargo::rerun-if-changed={}", path.display());
                files.push(fs::canonicalize(path)?);
            }
        }
    }
    files.sort();
    let mut code = String::from("&[\n");
    for file in files {
        let name = file.file_stem().and_then(|stem| stem.to_str()).ok_or("a plugin's file name is not UTF-8")?;
        writeln!(code, "    ({name:?}, include_bytes!({:?})),", file.display().to_string())?;
    }
    code.push_str("]\n");
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("bundled.rs"), code)?;
    Ok(())
}
