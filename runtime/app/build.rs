//! Embeds the files that `strait plugin new` writes: the SDKs, the examples that are its templates,
//! and the interface. So the binary alone is enough to write a plugin.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Files and folders to embed, from the root of the repository.
const ROOTS: &[&str] = &["plugins/Cargo.toml", "plugins/sdk", "examples/plugins", "wit"];
/// Output of builds, which is not embedded.
const NOT_SOURCES: &[&str] = &["target", "build", "node_modules", "__pycache__", ".strait", "Cargo.lock"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let root = fs::canonicalize(PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../.."))?;
    let mut files = Vec::new();
    for part in ROOTS {
        collect(&root.join(part), &mut files)?;
    }
    files.sort();
    let mut code = String::from("&[\n");
    for file in files {
        let name = file.strip_prefix(&root)?.to_str().ok_or("a file's name is not UTF-8")?;
        println!("cargo::rerun-if-changed={}", file.display());
        writeln!(code, "    ({name:?}, include_str!({:?})),", file.display().to_string())?;
    }
    code.push_str("]\n");
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("embedded.rs"), code)?;
    Ok(())
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // A build copies the SDK into an example. The copy is not one of its sources.
        let copied_sdk = name == "sdk" && !path.ends_with("plugins/sdk");
        if copied_sdk || NOT_SOURCES.contains(&name) {
            continue;
        }
        collect(&path, files)?;
    }
    Ok(())
}
