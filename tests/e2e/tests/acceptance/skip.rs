//! `strait partitions skip` moves one partition past a record that cannot be copied, while the link
//! runs.

use strait_e2e::{ConfigFolder, Isolation, LogLine, Strait, write_records};

use crate::support::{COPIED, Pair, SOON, Turn, key_range, keys, link, numbered, wait_until};

fn skip(config: &ConfigFolder, arguments: &[&str]) -> (Option<i32>, String) {
    let all = [&["partitions", "skip", "skip", "skipping"], arguments].concat();
    let mut strait = Strait::start("skip", config.path(), &all).unwrap();
    let code = strait.wait_end(COPIED).unwrap().code();
    (code, format!("{}\n{}", strait.stdout(), strait.stderr()))
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
    write_records(&source.config(), "skipping", &records).unwrap();
    let config = pair.config(&link(
        "skip",
        &["skipping"],
        1,
        "on_refused = \"stop\"\n[[links.plugins]]\nplugin = \"redact\"\nconfig = { rules = [{ fields = [\"$.a\"], with = \"remove\" }] }",
    ));
    let mut strait = Strait::run("skip-run", &config, &[]).unwrap();
    let stopped = |line: &LogLine| line.is_event("record_stopped");
    strait.wait_line("the partition that stops", SOON, stopped).unwrap();
    let copied = |partition: i32| {
        keys(&pair.at_target().read_records("source.skipping", Isolation::Committed).unwrap(), partition)
    };
    wait_until("what can be copied", SOON, || {
        (copied(0) == key_range(0, 10) && copied(1) == key_range(0, 20)).then_some(())
    });

    let (code, said) = skip(&config, &["0", "--to", "11"]);
    assert!(code == Some(0) && said.contains("at offset 10. Skipping to 11 leaves out up to 1 records"), "{said}");
    for (to, why) in [("21", "choose one from 0"), ("5", "not behind the committed position 10")] {
        let (code, said) = skip(&config, &["0", "--to", to, "--yes"]);
        assert!(code == Some(1) && said.contains(why), "{to}: {said}");
    }
    assert!(strait.events("fenced").is_empty(), "nothing was changed yet: {}", strait.stderr());

    let (code, said) = skip(&config, &["0", "--to", "11", "--yes"]);
    assert!(code == Some(0) && said.contains("was at offset 10 and goes on at 11"), "{code:?} {said}");
    let moved = |line: &LogLine| line.is_event("skipped");
    let line = strait.wait_line("the process that goes on", SOON, moved).unwrap();
    assert!(line.message().starts_with("skipping-0: moved from offset 10 to 11 by "), "{}", line.message());
    write_records(&source.config(), "skipping", &[json(0, 20, 5), json(1, 20, 5)].concat()).unwrap();
    let all_but_one = [key_range(0, 10), key_range(11, 14)].concat();
    wait_until("the partition to go on", SOON, || {
        (copied(0) == all_but_one && copied(1) == key_range(0, 25)).then_some(())
    });
    assert_eq!(strait.events("skipped").len(), 1, "{}", strait.stderr());
    strait.terminate().unwrap();
    assert_eq!(strait.wait_end(SOON).unwrap().code(), Some(0), "{}", strait.stderr());
}
