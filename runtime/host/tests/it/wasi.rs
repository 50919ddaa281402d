//! WASI for guests, where the operator grants it: an empty system.

use strait_core::edit::{Content, Disposition, OutRecord};
use strait_flow::ports::ChainFactory;
use strait_host::{LoadProblem, PluginSpec, inspect};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::support::guest::Guest;
use crate::support::{Row, batch, engine, load_bytes};

const ROWS: [Row<'static>; 2] = [(Some(b"k"), None, &[]), (None, None, &[])];

/// The parts of WASI that these guests use.
const WORLD: &str = r"
package test:guest;
package wasi:io@0.2.6 {
    interface streams {
        resource output-stream { blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>; }
        variant stream-error { last-operation-failed(own<output-stream>), closed }
    }
    interface poll { resource pollable { block: func(); } }
}
package wasi:cli@0.2.6 {
    interface stderr { use wasi:io/streams@0.2.6.{output-stream}; get-stderr: func() -> output-stream; }
    interface exit { exit: func(status: result); }
    interface environment { get-environment: func() -> list<tuple<string, string>>; }
}
package wasi:clocks@0.2.6 {
    interface wall-clock { record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime; }
    interface monotonic-clock {
        use wasi:io/poll@0.2.6.{pollable};
        now: func() -> u64;
        subscribe-duration: func(when: u64) -> pollable;
    }
}
package wasi:random@0.2.6 { interface random { get-random-u64: func() -> u64; } }
package wasi:filesystem@0.2.6 { interface types { open-anything: func(); } }
world guest {
    include strait:plugin/plugin@0.1.0;
    import wasi:io/streams@0.2.6;
    import wasi:io/poll@0.2.6;
    import wasi:cli/stderr@0.2.6;
    import wasi:cli/exit@0.2.6;
    import wasi:cli/environment@0.2.6;
    import wasi:clocks/wall-clock@0.2.6;
    import wasi:clocks/monotonic-clock@0.2.6;
    import wasi:random/random@0.2.6;
    import wasi:filesystem/types@0.2.6;
}";

const IMPORTS: &str = r#"
(import "wasi:io/streams@0.2.6" "[method]output-stream.blocking-write-and-flush" (func $write (param i32 i32 i32 i32)))
(import "wasi:io/poll@0.2.6" "[method]pollable.block" (func $block (param i32)))
(import "wasi:cli/stderr@0.2.6" "get-stderr" (func $stderr (result i32)))
(import "wasi:cli/exit@0.2.6" "exit" (func $exit (param i32)))
(import "wasi:cli/environment@0.2.6" "get-environment" (func $environment (param i32)))
(import "wasi:clocks/wall-clock@0.2.6" "now" (func $wall (param i32)))
(import "wasi:clocks/monotonic-clock@0.2.6" "now" (func $monotonic (result i64)))
(import "wasi:clocks/monotonic-clock@0.2.6" "subscribe-duration" (func $sleep (param i64) (result i32)))
(import "wasi:random/random@0.2.6" "get-random-u64" (func $random (result i64)))
(import "wasi:filesystem/types@0.2.6" "open-anything" (func $open))
"#;

/// A component that runs these statements in `process`.
fn guest(in_process: &str) -> Vec<u8> {
    let guest = Guest { columns: vec![3], import: IMPORTS, in_process: in_process.into(), ..Guest::default() };
    let mut resolve = Resolve::default();
    resolve.push_str("plugin.wit", include_str!("../../../../wit/v0.1/plugin.wit")).unwrap();
    let package = resolve.push_str("guest.wit", WORLD).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    let mut module = guest.wasm();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

fn granted(spec: &mut PluginSpec) {
    spec.wasi = true;
}

/// Sets record 0's timestamp to the wall clock, and its value to the time that the monotonic clock
/// moved in a sleep of an hour, a random number and the length of the environment.
const REPORT: &str = r"
    (call $wall (i32.const 73000))
    (i64.store (i32.const 71000) (i64.add (i64.mul (i64.load (i32.const 73000)) (i64.const 1000))
      (i64.extend_i32_u (i32.div_u (i32.load (i32.const 73008)) (i32.const 1000000)))))
    (i64.store (i32.const 71008) (call $monotonic))
    (call $block (call $sleep (i64.const 3600000000000)))
    (i64.store (i32.const 71008) (i64.sub (call $monotonic) (i64.load (i32.const 71008))))
    (i64.store (i32.const 71016) (call $random))
    (call $environment (i32.const 74000))
    (i64.store (i32.const 71024) (i64.load32_u (i32.const 74004)))
    (i32.store (i32.const 70004) (i32.const 9)) (i32.store (i32.const 70012) (i32.const 8))
    (i32.store (i32.const 70020) (i32.const 2)) (i32.store (i32.const 70028) (i32.const 24))
    (i32.store (i32.const 72004) (i32.const 70000)) (i32.store (i32.const 72008) (i32.const 8))
    (i32.store (i32.const 72012) (i32.const 71000)) (i32.store (i32.const 72016) (i32.const 32))
    (return (i32.const 72000))";

#[test]
fn clocks_and_random_numbers_are_the_same_for_the_same_records_and_the_environment_is_empty() {
    let bytes = guest(REPORT);
    let LoadProblem::WasiNotGranted { import } = load_bytes(&bytes, |_| {}).unwrap_err().problem else { panic!() };
    assert!(import.starts_with("wasi:"), "{import}");
    let chains = load_bytes(&bytes, granted).unwrap();
    let report = || -> OutRecord {
        let mut processed = chains.chain().unwrap().apply(batch(&ROWS), 6).unwrap();
        let Some((0, Disposition::Replace(mut copies))) = processed.dispositions.pop() else { panic!() };
        copies.remove(0)
    };
    let first = report();
    // The timestamp of the last record of the call.
    assert_eq!(first.timestamp_ms, Some(1_001));
    let Content::Bytes(value) = &first.value else { panic!("{first:?}") };
    let numbers: Vec<u64> = value.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    assert!((3_600_000_000_000..3_600_100_000_000).contains(&numbers[0]), "{numbers:?}");
    assert!(numbers[1] != 0 && numbers[2] == 0, "{numbers:?}");
    assert_eq!(report(), first, "another instance, the same records");
}

#[test]
fn standard_output_goes_to_the_log_and_other_imports_trap() {
    let write = "(i64.store (i32.const 75000) (i64.const 0x0a6d6f6f62)) \
                 (call $write (call $stderr) (i32.const 75000) (i32.const 5) (i32.const 76000))";
    let cases = [
        (format!("{write} unreachable"), "its last words: boom"),
        ("(call $exit (i32.const 1))".to_owned(), "it called exit"),
        ("(call $open)".to_owned(), "wasi:filesystem/types@0.2.6#open-anything"),
        // Each handle costs the host: a leak ends.
        ("(loop $leak (drop (call $stderr)) (br $leak))".to_owned(), "1024 handles"),
        ("(loop $leak (drop (call $sleep (i64.const 1))) (br $leak))".to_owned(), "1024 handles"),
    ];
    for (statements, expected) in cases {
        let chains = load_bytes(&guest(&statements), granted).unwrap();
        let processed = chains.chain().unwrap().apply(batch(&ROWS), 6).unwrap();
        let Disposition::Reject(reject) = &processed.dispositions[0].1 else { panic!() };
        assert!(reject.text.contains(expected), "{statements}: {}", reject.text);
    }
}

#[test]
fn inspect_lists_the_imports() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.wasm");
    std::fs::write(&path, guest(REPORT)).unwrap();
    let info = inspect(engine(), &path).unwrap();
    assert!(info.imports.iter().any(|import| import == "wasi:clocks/wall-clock@0.2.6"), "{:?}", info.imports);
}
