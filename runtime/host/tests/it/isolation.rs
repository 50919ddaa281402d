//! Guests that attack the host: each gives an error with its cause, while another chain in the same
//! process goes on undisturbed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use strait_core::edit::Disposition;
use strait_flow::ports::ChainFactory;
use strait_host::{FailureKind, LoadProblem};

use crate::support::guest::{GROW, Guest, Process, RECURSE, SPIN};
use crate::support::{Row, batch, fates, load_bytes};

const ROWS: [Row<'static>; 3] = [(Some(b"k"), Some(b"v"), &[]), (None, None, &[]), (Some(b"x"), None, &[])];

/// Grows a table until that fails, then traps.
const GROW_TABLE: &str = "(loop $grow (br_if $grow (i32.ne (table.grow (ref.null func) (i32.const 10000)) (i32.const -1)))) \
                          unreachable";
const TABLE: &str = "(table 1 funcref)";

/// Runs `attacks` beside a chain that drops the first record of each batch, which it must do all
/// the time and without delay.
fn beside_another_chain(attacks: impl FnOnce()) {
    let drops = Guest { process: Process::Edits(vec![0, 0, 0, 0], vec![]), ..Guest::default() };
    let chains = load_bytes(&drops.wasm(), |_| {}).unwrap();
    let (over, judged) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let neighbour = scope.spawn(|| {
            let mut chain = chains.chain().unwrap();
            let mut longest = Duration::ZERO;
            while !over.load(Ordering::Relaxed) {
                let began = Instant::now();
                let processed = chain.apply(batch(&ROWS), 6).unwrap();
                longest = longest.max(began.elapsed());
                assert_eq!(fates(&processed), (vec![0], vec![], vec![]));
                judged.fetch_add(1, Ordering::Relaxed);
            }
            longest
        });
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let end = Over(&over);
        attacks();
        drop(end);
        let longest = neighbour.join().unwrap();
        println!("the neighbour's slowest of {} batches: {longest:?}", judged.load(Ordering::Relaxed));
        assert!(longest < Duration::from_secs(2), "{longest:?}");
    });
    assert!(judged.load(Ordering::Relaxed) > 100, "the neighbour was held up: {judged:?}");
    assert_eq!(chains.health()[0].failures.iter().map(|(_, count)| count).sum::<u64>(), 0);
}

#[test]
fn a_guest_that_attacks_during_load_does_not_disturb_another_chain() {
    let with = |change: fn(&mut Guest)| {
        let mut guest = Guest::default();
        change(&mut guest);
        guest
    };
    let cases: Vec<(&str, Guest, &str)> = vec![
        ("spin in start", with(|g| g.in_start = SPIN.into()), "start did not end within 300 ms"),
        ("endless describe", with(|g| g.in_describe = SPIN.into()), "describe did not end within 300 ms"),
        ("endless configure", with(|g| g.in_configure = SPIN.into()), "configure did not end within 300 ms"),
        ("memory in start", with(|g| g.in_start = GROW.into()), "bytes of memory"),
        ("recursion in start", with(|g| g.in_start = RECURSE.into()), "call stack exhausted"),
        ("memory from the beginning", with(|g| g.memory = "2000"), "bytes of memory"),
        ("a table from the beginning", with(|g| g.parts = "(table 300000 funcref)"), "table elements"),
        ("lists that alias", with(|g| (g.aliases, g.memory) = (Some((100_000, 30 << 20)), "700")), "bytes in one call"),
        ("a counter too many", with(|g| g.counters = vec!["c"; 257]), "at most 256 counters"),
        ("lengths beyond memory", with(|g| g.aliases = Some((1, u32::MAX))), "in describe"),
    ];
    beside_another_chain(|| {
        for (name, guest, expected) in &cases {
            let error = load_bytes(&guest.wasm(), |_| {}).unwrap_err();
            assert!(error.to_string().contains(expected), "{name}: {error}");
        }
        // Half a second of compiling at most: larger files are not compiled.
        let many = format!("(module {})", "(func)".repeat(5_000));
        let error = load_bytes(&wat::parse_str(many).unwrap(), |spec| spec.limits.functions_max = 1_000).unwrap_err();
        assert!(matches!(error.problem, LoadProblem::TooMuch { what: "functions", found: 5_000, max: 1_000, .. }));
    });
}

#[test]
fn a_guest_that_attacks_during_a_call_does_not_disturb_another_chain() {
    let flood = "(local.set $p (i32.const 0)) (loop $flood (call $log (i32.const 4) (i32.const 200000) (i32.const 60000)) \
                 (call $count (i32.const 4000000000) (i64.const -1)) (call $count (i32.const 0) (i64.const -1)) \
                 (local.set $p (i32.add (local.get $p) (i32.const 1))) \
                 (br_if $flood (i32.lt_u (local.get $p) (i32.const 500))))";
    let cases: Vec<(&str, Guest, &str)> = vec![
        ("spin", Guest { in_process: SPIN.into(), ..Guest::default() }, "200 ms"),
        ("memory", Guest { in_process: GROW.into(), ..Guest::default() }, "bytes of memory"),
        ("table", Guest { in_process: GROW_TABLE.into(), parts: TABLE, ..Guest::default() }, "table elements"),
        ("recursion", Guest { in_process: RECURSE.into(), ..Guest::default() }, "call stack exhausted"),
        (
            "a flood of messages, then a trap",
            Guest { in_process: format!("{flood} unreachable"), ..Guest::default() },
            "unreachable",
        ),
        (
            "huge lists",
            Guest { process: Process::Claims { ops: u32::MAX / 16, data: 0 }, memory: "1000", ..Guest::default() },
            "process",
        ),
    ];
    beside_another_chain(|| {
        for (name, guest, expected) in &cases {
            let chains = load_bytes(&guest.wasm(), |_| {}).unwrap();
            // Fewer records than mean a broken plugin: each is found guilty.
            let processed = chains.chain().unwrap().apply(batch(&ROWS), 6).unwrap();
            assert_eq!(processed.dispositions.len(), ROWS.len(), "{name}");
            for (_, disposition) in &processed.dispositions {
                let Disposition::Reject(reject) = disposition else { panic!("{name}: {disposition:?}") };
                assert!(reject.text.contains(expected), "{name}: {}", reject.text);
            }
        }
        // Only messages, and many: they are cut and the records pass. The counter saturates.
        let chains = load_bytes(&Guest { in_process: flood.into(), ..Guest::default() }.wasm(), |_| {}).unwrap();
        assert!(chains.chain().unwrap().apply(batch(&ROWS), 6).unwrap().dispositions.is_empty());
        assert_eq!(chains.counters()[0].value, u64::MAX);
    });
}

#[test]
fn a_guest_that_leaks_memory_is_replaced_and_no_record_is_lost() {
    let leak = "(if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))";
    let chains = load_bytes(&Guest { in_process: leak.into(), ..Guest::default() }.wasm(), |_| {}).unwrap();
    let mut chain = chains.chain().unwrap();
    for _ in 0..1_000 {
        assert!(chain.apply(batch(&ROWS), 6).unwrap().dispositions.is_empty());
    }
    let health = &chains.health()[0];
    let memory = health.failures.iter().find(|(kind, _)| *kind == FailureKind::Memory).unwrap().1;
    assert!(memory > 5 && health.guilty == 0, "{health:?}");
}

#[test]
fn a_file_with_flipped_or_missing_bytes_is_refused_or_loads_and_nothing_panics() {
    let good = Guest { process: Process::Edits(vec![0, 0, 0, 0], vec![]), ..Guest::default() }.wasm();
    beside_another_chain(|| {
        let mut refused = 0;
        for at in (0..good.len()).step_by(7) {
            let mut bytes = good.clone();
            bytes[at] ^= 0x55;
            refused += usize::from(load_bytes(&bytes, |_| {}).is_err());
            if at % 5 == 0 {
                assert!(load_bytes(&good[..at], |_| {}).is_err(), "{at} of {} bytes", good.len());
            }
        }
        println!("{refused} files with a flipped byte were refused");
        assert!(refused > 10);
    });
}
