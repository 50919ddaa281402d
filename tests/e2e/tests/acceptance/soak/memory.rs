//! The memory of a link whose chain makes many copies of each record.

use std::path::Path;
use std::time::{Duration, Instant};

use strait_e2e::{Strait, write_records};

use crate::support::{Ends, Pair, SOON, Turn, link, noise, record, single, status_kib, wait_until};

const MEMORY_MIB: u64 = 128;
/// Each of these plugins doubles what the previous one made: sixteen copies in all.
const DOUBLINGS: usize = 4;
const RECORDS: usize = 40_000;
const VALUE_BYTES: usize = 2_000;
const LINE_BYTES_S: u64 = 20_000_000;
const MEASURED: Duration = Duration::from_secs(45);

#[test]
#[ignore = "soak: a minute"]
fn sixteen_copies_of_each_record_stay_within_the_memory_of_the_link() {
    let _turn = Turn::alone();
    let pair = Pair::of(single("copies-source"), single("copies-target").with_proxies());
    pair.at_source().create_topic("copies", 4, &[]).unwrap();
    let plugin = "[[links.plugins]]\nplugin = \"bypass\"\nconfig = { way = \"emit\" }\n";
    let more = format!("memory_mib_max = {MEMORY_MIB}\n{}", plugin.repeat(DOUBLINGS));
    let config = pair.config(&link("copies", &["copies"], 2, &more));
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/target/plugins/test/bypass.wasm");
    config.write("plugins/bypass.wasm", std::fs::read(&guest).unwrap()).unwrap();
    let strait = Strait::run("copies", &config, &[]).unwrap();
    let one = strait_e2e::Record { partition: 0, ..record(None, Some(b"first")) };
    write_records(&pair.at_source().config(), "copies", &[one]).unwrap();
    pair.wait_target_topic("source.copies");
    let ends = Ends::new(&pair.at_target(), "source.copies", 4);
    wait_until("the first copies", SOON, || ends.sum().filter(|sum| *sum >= 1 << DOUBLINGS));
    let idle_kib = status_kib(&strait, "VmRSS").unwrap();

    // A line on which the copies pile up.
    pair.target.proxies().iter().for_each(|proxy| proxy.throttle(LINE_BYTES_S));
    // Bytes that are not the same in the next record: no codec makes the batches smaller.
    let value = |number: usize| noise(VALUE_BYTES + number % 1_000);
    let records: Vec<_> = (0..RECORDS)
        .map(|number| strait_e2e::Record { partition: (number % 4) as i32, ..record(None, Some(&value(number))) })
        .collect();
    write_records(&pair.at_source().config(), "copies", &records).unwrap();
    let began = Instant::now();
    let mut most_kib = idle_kib;
    while began.elapsed() < MEASURED {
        most_kib = most_kib.max(status_kib(&strait, "VmRSS").unwrap());
        std::thread::sleep(Duration::from_millis(50));
    }
    let copied = ends.sum().unwrap();
    let (above, allowed) = ((most_kib - idle_kib) / 1024, MEMORY_MIB * 5 / 4);
    println!("{above} MiB above {} MiB idle, {allowed} allowed; {copied} offsets copied", idle_kib / 1024);
    assert!(copied > 10_000, "{copied} offsets: too slow to prove anything");
    assert!(above <= allowed, "{above} MiB above the idle process, {allowed} are allowed");
}
