//! The process that compiles plugins: it has bounds before it reads a byte, and ends alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers outside of a test function fail the test too"
)]

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const SIGXCPU: i32 = 24;

fn start(cpu_s_max: u32) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
    command.arg("compile-plugin").arg(cpu_s_max.to_string()).env_clear();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn compile(file: &[u8], cpu_s_max: u32) -> Output {
    let mut child = start(cpu_s_max);
    // It may be ended before it has read all.
    drop(child.stdin.take().unwrap().write_all(file));
    child.wait_with_output().unwrap()
}

/// Waits until a process has limited itself.
fn limits(process: u32) -> String {
    let began = Instant::now();
    loop {
        let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        if core.split_whitespace().nth(4) == Some("0") && limits.contains("2147483648") {
            return limits;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{limits}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for the process that compiles for another one.
fn compiler_of(process: u32) -> u32 {
    let began = Instant::now();
    let is_its = |number: &u32| {
        let read = |file: &str| fs::read(format!("/proc/{number}/{file}")).unwrap_or_default();
        let stat = String::from_utf8_lossy(&read("stat")).into_owned();
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        parent == Some(process) && String::from_utf8_lossy(&read("cmdline")).contains("compile-plugin")
    };
    loop {
        let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        if let Some(found) = all.into_iter().find(is_its) {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "nothing is compiled");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// One function below all limits that takes long to compile.
fn slow() -> Vec<u8> {
    let set = "(local.set 1 (i32.add (local.get 2) (i32.mul (local.get 1) (local.get 3))))".repeat(20);
    let block = format!("(loop {set} (br_if 0 (local.get 1)))");
    let function = format!("(func (param i32) (local {}) {})", "i32 ".repeat(200), block.repeat(3_000));
    wat::parse_str(format!("(component (core module {}))", function.repeat(4))).unwrap()
}

#[test]
fn it_has_its_bounds_before_it_reads_a_file() {
    let mut child = start(7);
    let limits = limits(child.id());
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(limit("Max cpu time"), "7");
    assert_eq!(limit("Max address space"), "2147483648");
    assert_eq!(limit("Max file size"), "0");
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let nice: i32 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap();
    assert!(nice >= 10, "{stat}");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn it_answers_with_code_or_with_the_reason_and_ends_at_its_time() {
    let good = compile(&wat::parse_str("(component (core module (func (export \"f\"))))").unwrap(), 60);
    assert!(good.status.success() && good.stdout.first() == Some(&0), "{good:?}");
    let bad = compile(b"no", 60);
    assert!(bad.status.success() && bad.stdout.first() == Some(&1), "{bad:?}");
    let slow = compile(&slow(), 1);
    assert_eq!(slow.status.signal(), Some(SIGXCPU), "{:?} {}", slow.status, slow.stdout.len());
}

#[test]
fn a_plugin_that_takes_too_long_to_compile_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("plugins")).unwrap();
    let module = slow();
    // Beside the slow module it exports what a plugin exports, as far as names tell.
    let name = "strait:plugin/transform@0.1.0";
    let export = wat::parse_str(format!(
        "(component (component $c) (instance $i (instantiate $c)) (export \"{name}\" (instance $i)))"
    ));
    let mut bytes = module;
    bytes.extend(&export.unwrap()[8..]);
    fs::write(dir.path().join("plugins/x.wasm"), bytes).unwrap();
    let text = "[clusters.aws]\nbootstrap_servers = \"127.0.0.1:1\"\n[clusters.gcp]\nbootstrap_servers = \"127.0.0.1:1\"\n\
                [[links]]\nname = \"l\"\nsource = \"aws\"\ntarget = \"gcp\"\ntopics = [\"t\"]\n\
                [[links.plugins]]\nplugin = \"x\"\nlimits = { compile_s_max = 2 }\n";
    fs::write(dir.path().join("strait.toml"), text).unwrap();
    // Strait's environment, and all that it has beside standard input and output, is not for the
    // compiler.
    let given = fs::File::open(dir.path().join("strait.toml")).unwrap();
    rustix::io::fcntl_setfd(&given, rustix::io::FdFlags::empty()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
    command.arg("check").current_dir(dir.path()).env_clear().env("CANARY", "canary");
    let strait = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let descriptors = |process: u32| {
        let all = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
        let mut all: Vec<u32> =
            all.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
        all.sort_unstable();
        all
    };
    let compiler = compiler_of(strait.id());
    limits(compiler);
    assert!(descriptors(strait.id()).contains(&(given.as_raw_fd() as u32)));
    assert_eq!(
        (fs::read(format!("/proc/{compiler}/environ")).unwrap(), descriptors(compiler)),
        (vec![], vec![0, 1, 2])
    );
    drop(given);
    let output = strait.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).replace('\n', " ");
    let printed = printed.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(printed.contains("compiling it takes more than 2 s of processor time"), "{printed} {output:?}");
}
