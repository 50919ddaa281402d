//! Files that are small and would cost the compiler minutes, gigabytes or its stack: each is
//! refused at once by what was counted, in the stack of the smallest thread that loads plugins.

use std::thread;
use std::time::{Duration, Instant};

use strait_corpus::doubling_instances;
use strait_host::LoadProblem;

use crate::support::guest::Guest;
use crate::support::load_bytes;

/// The stack of a thread of the runtime, on which links are loaded.
const STACK_BYTES: usize = 2 << 20;

/// Loads a file in a thread of its own. Returns why it is refused.
fn refusal(bytes: Vec<u8>) -> LoadProblem {
    let began = Instant::now();
    let thread = thread::Builder::new().stack_size(STACK_BYTES);
    let loading = thread.spawn(move || load_bytes(&bytes, |spec| spec.wasi = true).map(drop)).unwrap();
    let problem = loading.join().unwrap().unwrap_err().problem;
    // Far above what it takes, for machines that are busy with other tests.
    assert!(began.elapsed() < Duration::from_secs(10), "{problem}: {:?}", began.elapsed());
    problem
}

/// Asserts that a file is refused for more than `max` of something.
fn refused(bytes: Vec<u8>, expected: &str, least: u64) {
    let problem = refusal(bytes);
    let text = problem.to_string();
    let LoadProblem::TooMuch { what, found, max, .. } = problem else { panic!("{text}") };
    assert!(what.contains(expected) && found >= least && found > max, "{text}");
    assert!(text.contains(&format!("{found} {what}, {max} are allowed")), "{text}");
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

#[test]
fn instantiations_are_counted_with_those_that_they_lead_to() {
    for levels in [10, 24, 28, 40, 60] {
        let bytes = wat(&doubling_instances(levels));
        assert!(bytes.len() < 4_000);
        refused(bytes, "instantiations", 1 << levels);
    }
    // Each with its child inside of it.
    let mut text = "(component $c)".to_owned();
    for _ in 0..12 {
        text = format!("(component $c {text} (instance (instantiate $c)) (instance (instantiate $c)))");
    }
    refused(wat(&format!("(component {text} (instance (instantiate $c)))")), "instantiations", 8_191);
    let mut text = "(component $c)".to_owned();
    for _ in 0..60 {
        text = format!("(component $c {text} (instance (instantiate $c)) (instance (instantiate $c)))");
    }
    refused(wat(&format!("(component {text})")), "levels of components", 61);
    // Core modules.
    let instances = "(core instance (instantiate $m))".repeat(40);
    let child = format!("(component $c {instances})");
    let bytes = wat(&format!("(component (core module $m) {child} {})", "(instance (instantiate $c))".repeat(40)));
    refused(bytes, "instantiations", 1_640);
    // Few, each of much.
    let aliases: String = (0..900).map(|_| "(alias outer 1 0 (type))".to_owned()).collect();
    let child = format!("(component $c {aliases})");
    let bytes = wat(&format!("(component (type u8) {child} {})", "(instance (instantiate $c))".repeat(900)));
    refused(bytes, "items in its components", 810_000);
    // What cannot be counted.
    let cannot = [
        r#"(component (import "c" (component)))"#,
        r#"(component (component $c) (export "c" (component $c)))"#,
        r#"(component (component $d (import "c" (component $c)) (instance (instantiate $c)) (instance (instantiate $c))))"#,
        r#"(component (import "i" (instance $i (export "c" (component)))) (alias export $i "c" (component $c)))"#,
    ];
    for text in cannot {
        assert!(matches!(refusal(wat(text)), LoadProblem::PassesComponents), "{text}");
    }
}

#[test]
fn the_code_of_a_module_is_counted() {
    let function = format!("(func {})", "nop ".repeat(1_400_000));
    refused(wat(&format!("(module {function})")), "bytes in one function", 1_400_000);
    refused(wat(&format!("(component (core module {function}))")), "bytes in one function", 1_400_000);
    // 50,000 is the most that a function may have.
    let locals = format!("(func (local {}))", "i64 ".repeat(50_000)).repeat(170);
    refused(wat(&format!("(module {locals})")), "locals", 8_500_000);
    refused(wat(&format!("(module {})", "(func)".repeat(200_001))), "functions", 200_001);
    let halves = format!("(core module {})", "(func)".repeat(100_001)).repeat(2);
    refused(wat(&format!("(component {halves})")), "functions", 200_002);
}

#[test]
fn claims_of_memory_and_tables_are_refused_before_they_are_made() {
    for pages in ["65536", "2000"] {
        refused(Guest { memory: pages, ..Guest::default() }.wasm(), "bytes of memory", 2_000 << 16);
    }
    let halves = "(core module (memory 600))".repeat(2);
    refused(wat(&format!("(component {halves})")), "bytes of memory", 1_200 << 16);
    refused(wat("(module (table 10000000 funcref))"), "table elements", 10_000_000);
    refused(wat(&format!("(module {})", "(table 3000 funcref)".repeat(99))), "table elements", 297_000);
    let text = load_bytes(&Guest { memory: "65536", ..Guest::default() }.wasm(), |_| {}).unwrap_err().to_string();
    assert!(
        text.contains("4294967296 bytes of memory from the start, 67108864 are allowed; raise memory_mib_max"),
        "{text}"
    );
}

#[test]
fn numbers_and_names_are_bounded() {
    refused(wat(&format!("(module {})", "(type (func))".repeat(500_001))), "types, imports", 500_001);
    let imports = r#"(import "a" "b" (func))"#.repeat(250_000);
    let exports: String = (0..250_001).map(|at| format!(r#"(export "{at}" (func 0))"#)).collect();
    refused(wat(&format!("(module {imports}{exports})")), "types, imports", 500_001);
    let name = "n".repeat(5_000);
    refused(wat(&format!(r#"(module (import "a" "{name}" (func)))"#)), "bytes in the name", 5_000);
    refused(wat(&format!(r#"(module (func (export "{name}")))"#)), "bytes in the name", 5_000);
    refused(wat(&format!(r#"(component (import "{name}" (func)))"#)), "bytes in the name", 5_000);
    refused(wat(&format!("(component {})", "(core module)".repeat(257))), "core modules", 257);
    refused(wat(&format!("(component {})", "(component)".repeat(257))), "components", 258);
}

/// A component whose only type is a component with a type, and so on.
fn nested_types(levels: usize) -> Vec<u8> {
    let mut section = vec![0x01];
    section.extend([0x41, 0x01, 0x01].repeat(levels));
    section.extend([0x41, 0x00]);
    let mut bytes = b"\0asm\x0d\0\x01\0\x07".to_vec();
    bytes.extend(leb128(section.len()));
    bytes.extend(section);
    bytes
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

#[test]
fn types_in_one_another_do_not_end_the_stack() {
    refused(nested_types(1_000), "levels of types", 1_000);
    refused(nested_types(200_000), "levels of types", 200_000);
    // In what describes the world of a core module.
    let mut module = Guest::default().wasm();
    let (name, description) = (b"component-type:p", nested_types(50_000));
    module.push(0);
    module.extend(leb128(1 + name.len() + description.len()));
    module.push(name.len() as u8);
    module.extend(name);
    module.extend(description);
    refused(module, "levels of types", 50_000);
    let wide = format!("(component {})", "(type (func (param \"a\" string) (result string)))".repeat(150_000));
    refused(wat(&wide), "bytes in types", 1 << 20);
    // What a reader takes, the validator and the rest still judge.
    assert!(!matches!(refusal(nested_types(150)), LoadProblem::TooMuch { .. }));
}
