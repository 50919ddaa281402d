//! Files that would cost a busy process its stack, its memory or its time, put in the place of a
//! plugin that works: each is refused by name, and the neighbour does not notice.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use strait_corpus::{doubling_instances, schema_chain};
use strait_e2e::{Isolation, Strait};

use crate::reload::{Stamp, put};
use crate::support::{COPIED, Feed, Pair, Pulse, SOON, Turn, authored, link, record, status_kib, stop, wait_until};

const PARTITIONS: i32 = 2;
const PER_SECOND: u32 = 200;
/// Growth of the process that is allowed, also while a file is judged.
const GROWN_KIB_MAX: u64 = 64 << 10;
const GAP_MAX: Duration = Duration::from_secs(1);
/// Time for a refusal by counting, until the event is read here.
const COUNTED: Duration = Duration::from_secs(3);
/// Time for a start that never ends: `start_ms_max`, once more for a second try, and the rest.
const STARTED: Duration = Duration::from_secs(8);
const START_MS_MAX: u32 = 2_000;
/// Processor time that the compiler may take here. It is niced, so that it takes longer.
const COMPILE_S_MAX: u32 = 3;

/// A file, what is said of it, and how long that may take.
struct Bomb {
    name: &'static str,
    bytes: Vec<u8>,
    refusal: &'static str,
    within: Duration,
}

/// A function with so many loops over 200 locals.
fn function(loops: usize) -> String {
    let sets: String =
        (0..20).map(|at| format!("(local.set {at} (i32.add (local.get {}) (local.get 7)))", at + 90)).collect();
    let body = format!("(loop {sets} (br_if 0 (local.get 3)))").repeat(loops);
    format!("(func (local {}) {body})", "i32 ".repeat(200))
}

fn bombs() -> Vec<Bomb> {
    let stamp = || Stamp::version('X');
    let with = |schema: Value| Stamp { schema: schema.to_string(), ..stamp() }.wasm();
    let parts = |parts: String| Stamp { parts, ..stamp() }.wasm();
    let counted = |name, bytes, refusal| Bomb { name, bytes, refusal, within: COUNTED };
    vec![
        counted(
            "a chain of references",
            with(schema_chain(12_000, |next| json!({ "allOf": [next] }))),
            "65536 are allowed",
        ),
        counted("a shorter chain", with(schema_chain(1_000, |next| json!({ "not": next }))), "128 is allowed"),
        counted(
            "references that double",
            with(schema_chain(40, |next| json!({ "allOf": [next.clone(), next] }))),
            "1000 are allowed",
        ),
        counted("instances that double", wat::parse_str(doubling_instances(40)).unwrap(), "instantiations"),
        counted("one huge function", parts(function(40_000)), "bytes in one function"),
        counted("4 GiB of memory", Stamp { pages: 65_536, ..stamp() }.wasm(), "4294967296 bytes of memory"),
        Bomb {
            name: "a start that never ends",
            bytes: parts("(func $start (loop $spin (br $spin))) (start $start)".to_owned()),
            refusal: "did not end within",
            within: STARTED,
        },
        Bomb {
            name: "functions that are slow to compile",
            bytes: parts(function(4_500).repeat(8)),
            refusal: "compiling it takes more than",
            within: SOON,
        },
    ]
}

#[test]
fn a_bomb_in_the_plugin_folder_of_a_busy_process_costs_nobody_anything() {
    let _turn = Turn::alone();
    let pair = Pair::shared();
    for topic in ["bombed", "calm"] {
        pair.at_source().create_topic(topic, PARTITIONS, &[]).unwrap();
    }
    let limits = format!("{{ start_ms_max = {START_MS_MAX}, compile_s_max = {COMPILE_S_MAX} }}");
    let plugin = format!("reload = {{ settle_ms = 100 }}\n[[links.plugins]]\nplugin = \"stamp\"\nlimits = {limits}\n");
    let config = pair.config(&(link("bombed", &["bombed"], 1, &plugin) + &link("calm", &["calm"], 1, "")));
    Stamp::version('A').put(&config);
    let mut strait = Strait::run("bombs", &config, &[]).unwrap();
    let feeds: Vec<Feed> =
        ["bombed", "calm"].iter().map(|topic| Feed::start(&pair.at_source(), topic, PARTITIONS, PER_SECOND)).collect();
    let pulses: Vec<Pulse> = ["source.bombed", "source.calm"]
        .iter()
        .map(|topic| {
            pair.wait_target_topic(topic);
            Pulse::start(&pair.at_target(), topic, PARTITIONS)
        })
        .collect();
    let flows = || pulses.iter().for_each(|pulse| pulse.wait_moved(&[0, 1], SOON));
    flows();
    // A reload of a good file is part of what is usual.
    Stamp::version('B').put(&config);
    strait.wait_line("plugins_reloaded", SOON, |line| line.is_event("plugins_reloaded")).unwrap();
    flows();

    let before_kib = status_kib(&strait, "VmRSS").unwrap();
    let mut most_kib = before_kib;
    for (refusals, Bomb { name, bytes, refusal, within }) in (1..).zip(bombs()) {
        pulses.iter().for_each(Pulse::mark);
        let began = Instant::now();
        put(&config, &bytes);
        let refused = loop {
            most_kib = most_kib.max(status_kib(&strait, "VmRSS").unwrap());
            if let Some(line) = strait.events("plugins_refused").into_iter().nth(refusals - 1) {
                break line;
            }
            assert!(began.elapsed() < SOON, "{name} is not refused: {}", strait.stderr());
            std::thread::sleep(Duration::from_millis(20));
        };
        let took = began.elapsed();
        flows();
        let gaps: Vec<Duration> = pulses.iter().flat_map(Pulse::longest).collect();
        println!(
            "{name}, {} KiB: refused after {took:.1?}, gaps {gaps:.1?}, at most {} MiB",
            bytes.len() >> 10,
            most_kib >> 10
        );
        assert!(refused.message().contains(refusal), "{name}: {}", refused.message());
        assert!(took <= within, "{name}: {took:?}");
        assert!(gaps.iter().all(|gap| *gap <= GAP_MAX), "{name}: {gaps:?}");
    }
    println!("{} MiB before, at most {} MiB since", before_kib >> 10, most_kib >> 10);
    assert!(most_kib <= before_kib + GROWN_KIB_MAX, "{before_kib} KiB before, {most_kib} KiB since");
    // A good file is still taken.
    Stamp::version('C').put(&config);
    strait
        .wait_for("the second reload", SOON, |lines| {
            lines.iter().filter(|line| line.is_event("plugins_reloaded")).nth(1).cloned()
        })
        .unwrap();
    let sent: u64 = feeds.into_iter().map(Feed::stop).sum();
    assert!(sent > 0);
    for event in ["plugin_failed", "lane_restarted", "quarantined"] {
        assert!(strait.events(event).is_empty(), "{:?}", strait.events(event));
    }
    stop(&mut strait);
}

#[test]
fn the_largest_honest_plugin_is_compiled_and_loaded_beside_a_busy_link() {
    // The template of the language, which takes topics of this beginning and redacts an e-mail. Its
    // compiler needs no machine of its own.
    let building = Turn::beside_another();
    let honest = authored("python", "honest", None);
    drop(building);
    let _turn = Turn::alone();
    let pair = Pair::shared();
    for topic in ["orders-honest", "busy"] {
        pair.at_source().create_topic(topic, PARTITIONS, &[]).unwrap();
    }
    let links = |plugin: &str| link("honest", &["orders-honest"], 1, plugin) + &link("busy", &["busy"], 1, "");
    let config = pair.config(&links("reload = { settle_ms = 0 }\n"));
    std::fs::copy(honest, config.path().join("plugins/honest.wasm")).unwrap();
    let mut strait = Strait::run("honest", &config, &[]).unwrap();
    let feed = Feed::start(&pair.at_source(), "busy", PARTITIONS, 5 * PER_SECOND);
    pair.wait_target_topic("source.busy");
    let pulse = Pulse::start(&pair.at_target(), "source.busy", PARTITIONS);
    pulse.wait_moved(&[0, 1], SOON);

    pulse.mark();
    let began = Instant::now();
    let with_plugin = pair.config(&links("reload = { settle_ms = 0 }\n[[links.plugins]]\nplugin = \"honest\"\n"));
    std::fs::rename(with_plugin.path().join("strait.toml"), config.path().join("strait.toml")).unwrap();
    strait.wait_line("plugins_reloaded", COPIED, |line| line.is_event("plugins_reloaded")).unwrap();
    let took = began.elapsed();
    pulse.wait_moved(&[0, 1], SOON);
    println!("in force after {took:.1?}; gaps beside it {:.1?}", pulse.longest());
    assert!(pulse.longest().iter().all(|gap| *gap <= GAP_MAX), "{:?}", pulse.longest());

    let value = br#"{"customer":{"email":"eve@example.org"}}"#;
    pair.at_source().write("orders-honest", &vec![record(Some(b"k"), Some(value)); 50]).unwrap();
    pair.wait_target_topic("source.orders-honest");
    let copies = wait_until("copies by way of the plugin", SOON, || {
        let copies = pair.at_target().read_records("source.orders-honest", Isolation::Committed).unwrap();
        (copies.len() == 50).then_some(copies)
    });
    let redacted = br#"{"customer":{"email":"***"}}"#;
    assert!(copies.iter().all(|copy| copy.value.as_deref() == Some(redacted)), "{:?}", copies.first());
    assert!(feed.stop() > 0);
    for event in ["plugin_failed", "lane_restarted", "plugins_refused"] {
        assert!(strait.events(event).is_empty(), "{:?}", strait.events(event));
    }
    stop(&mut strait);
}
