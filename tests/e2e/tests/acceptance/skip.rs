//! Commands on the lanes of a link: one skips a record that cannot be copied, others close lanes.

use strait_core::LaneId;
use strait_core::lanes::lane_of;
use strait_core::progress::{LaneRecord, ProgressRecord};
use strait_e2e::{ConfigFolder, LogLine, Record, Strait};

use crate::admin::{ADMIN, address_of, get, status};
use crate::identity::progress_of;
use crate::support::{COPIED, Pair, SOON, Turn, copy, key_range, link, numbered, record, run_to_end, stop, wait_until};

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

#[test]
fn a_process_that_finds_lanes_closed_stays_in_standby_until_they_are_open() {
    let _turn = Turn::waiting();
    let pair = Pair::shared();
    pair.at_source().create_topic("shut", 4, &[]).unwrap();
    let send = |first: u64| (0..4).for_each(|p| pair.at_source().write("shut", &numbered(p, first, 5)).unwrap());
    let config = pair.config(&format!("{ADMIN}{}", link("shut", &["shut"], 2, "")));
    send(0);
    copy(&config);
    let opened = progress_of(&pair, "shut").lane.unwrap();
    assert!(opened.closing().is_none());
    // As `strait lanes resize` leaves them when it is killed.
    let put = |lane: i32, closed: bool| {
        let (key, value) = ProgressRecord::Lane(LaneRecord { closed, ..opened.clone() }).encode();
        let marked = Record { partition: lane, ..record(Some(&key), Some(&value)) };
        pair.at_target().write("strait.shut.progress", &[marked]).unwrap();
    };
    (0..2).for_each(|lane| put(lane, true));
    send(5);

    let mut ends = Strait::run("shut-ends", &config, &["--until-caught-up"]).unwrap();
    assert_eq!(ends.wait_end(SOON).unwrap().code(), Some(1), "{}", ends.stderr());
    assert!(ends.stderr().contains("`strait lanes resize` is running on the link"), "{}", ends.stderr());

    let mut strait = Strait::run("shut-stays", &config, &[]).unwrap();
    let said = strait.wait_line("the standby", SOON, |line| line.is_event("standby")).unwrap();
    assert!(said.message().starts_with("the link is in standby and copies nothing: `strait lanes resize`"));
    let address = address_of(&strait);
    let of_link = |name: &str| status(&address)["links"][0][name].clone();
    assert_eq!((get(&address, "/readyz").0, of_link("state")), (200, "standby".into()));

    // Lane 0 decides about the start; the other lane stands by on its own.
    put(0, false);
    let of_lane = |line: &LogLine| line.is_event("standby") && line.message().starts_with("lane 1 is in standby");
    strait.wait_line("the lane in standby", SOON, of_lane).unwrap();
    let states = || -> Vec<String> {
        let lanes = of_link("lanes");
        lanes.as_array().unwrap().iter().map(|lane| lane["state"].as_str().unwrap().to_owned()).collect()
    };
    wait_until("one lane that runs beside it", SOON, || (states() == ["running", "standby"]).then_some(()));
    assert_eq!(get(&address, "/readyz").0, 200);
    let (copied, waiting): (Vec<i32>, Vec<i32>) = (0..4).partition(|p| lane_of("shut", *p, 2) == LaneId(0));
    assert!(!copied.is_empty() && !waiting.is_empty(), "{copied:?} {waiting:?}");
    let (all, first) = (key_range(0, 10), key_range(0, 5));
    let of = |partitions: &[i32], keys| partitions.iter().map(|p| (*p, keys)).collect::<Vec<(i32, &[String])>>();
    pair.wait_all_keys("source.shut", &[of(&copied, &all), of(&waiting, &first)].concat());

    put(1, false);
    pair.wait_all_keys("source.shut", &of(&[0, 1, 2, 3], &all));
    assert_eq!(strait.events("standby").len(), 2, "{}", strait.stderr());
    assert!(strait.events("lane_restarted").is_empty(), "{}", strait.stderr());
    stop(&mut strait);
}
