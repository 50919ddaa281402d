//! `strait partitions skip` moves one partition past a record that cannot be copied, while the link
//! runs.

use strait_e2e::{ConfigFolder, LogLine, Strait};

use crate::support::{COPIED, Pair, SOON, Turn, key_range, link, numbered, run_to_end, stop};

fn skip(config: &ConfigFolder, arguments: &[&str]) -> (Option<i32>, String) {
    let all = [&["partitions", "skip", "skip", "skipping"], arguments].concat();
    run_to_end("skip", config, &all, COPIED)
}

#[test]
fn a_partition_is_moved_past_a_poisoned_record_while_its_link_runs() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    let source = pair.at_source();
    source.create_topic("skipping", 2, &[]).unwrap();
    let json = |partition: i32, first: u64, count: u64| {
        let mut records = numbered(partition, first, count);
        records.iter_mut().for_each(|record| record.value = Some(b"{}".to_vec()));
        records
    };
    let mut records = [json(0, 0, 20), json(1, 0, 20)].concat();
    records[10].value = Some(b"no JSON".to_vec());
    source.write("skipping", &records).unwrap();
    let config = pair.config(&link(
        "skip",
        &["skipping"],
        1,
        "on_refused = \"stop\"\n[[links.plugins]]\nplugin = \"redact\"\nconfig = { rules = [{ fields = [\"$.a\"], with = \"remove\" }] }",
    ));
    let mut strait = Strait::run("skip-run", &config, &[]).unwrap();
    let stopped = |line: &LogLine| line.is_event("record_stopped");
    strait.wait_line("the partition that stops", SOON, stopped).unwrap();
    pair.wait_all_keys("source.skipping", &[(0, &key_range(0, 10)), (1, &key_range(0, 20))]);

    let (code, said) = skip(&config, &["0", "--to", "11"]);
    assert!(code == Some(0) && said.contains("at offset 10. Skipping to 11 leaves out up to 1 records"), "{said}");
    for (to, why) in [("21", "choose one from 0"), ("5", "not past the committed position 10")] {
        let (code, said) = skip(&config, &["0", "--to", to, "--yes"]);
        assert!(code == Some(1) && said.contains(why), "{to}: {said}");
    }
    assert!(strait.events("fenced").is_empty(), "nothing was changed yet: {}", strait.stderr());

    let (code, said) = skip(&config, &["0", "--to", "11", "--yes"]);
    assert!(code == Some(0) && said.contains("was at offset 10 and goes on at 11"), "{code:?} {said}");
    let moved = |line: &LogLine| line.is_event("skipped");
    let line = strait.wait_line("the process that goes on", SOON, moved).unwrap();
    assert!(line.message().starts_with("skipping-0: moved from offset 10 to 11 by "), "{}", line.message());
    source.write("skipping", &[json(0, 20, 5), json(1, 20, 5)].concat()).unwrap();
    let all_but_one = [key_range(0, 10), key_range(11, 14)].concat();
    pair.wait_all_keys("source.skipping", &[(0, &all_but_one), (1, &key_range(0, 25))]);
    assert_eq!(strait.events("skipped").len(), 1, "{}", strait.stderr());
    stop(&mut strait);
}
