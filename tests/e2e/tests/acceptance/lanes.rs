//! Processes share lanes; topics, partitions and lanes are added.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use strait_core::lanes::lane_of;
use strait_e2e::{Isolation, LogLine, Strait, write_records};

use crate::support::{
    Feed, Pair, Pulse, SOON, Turn, copy, key_range, keys, lanes_of, link, numbered, stop, wait_until,
};

const TAKEOVER_MAX: Duration = Duration::from_secs(15);

/// Returns the lanes that a process took or gave up at or after `since`.
fn moves(strait: &Strait, message: &str, since: Instant) -> Vec<(u32, Instant)> {
    let of = |line: &LogLine| Some((line.field("lane")?.parse().ok()?, line.at));
    let lines = strait.lines();
    lines.iter().filter(|line| line.message() == message && line.at >= since).filter_map(of).collect()
}

#[test]
fn processes_share_lanes_take_over_in_seconds_and_a_newcomer_stops_only_what_it_takes() {
    let _turn = Turn::alone();
    let pair = Pair::shared();
    pair.at_source().create_topic("shared", 4, &[]).unwrap();
    let feed = Feed::start(&pair.at_source(), "shared", 4, 100);
    let config = pair.config(&link("shared", &["shared"], 4, ""));
    let partitions = |lanes: &HashSet<u32>| -> Vec<usize> {
        (0..4).filter(|p| lanes.contains(&lane_of("shared", *p as i32, 4).0)).collect()
    };

    let start = |name: &str| Strait::run(name, &config, &[]).unwrap();
    let first = start("first");
    wait_until("four lanes taken", SOON, || (lanes_of(&first).len() == 4).then_some(()));
    let pulse = Pulse::start(&pair.at_target(), "source.shared", 4);
    pulse.wait_moved(&[0, 1, 2, 3], SOON);
    let mut second = start("second");
    wait_until("two lanes each", SOON, || (lanes_of(&first).len() == 2 && lanes_of(&second).len() == 2).then_some(()));
    assert!(lanes_of(&first).is_disjoint(&lanes_of(&second)));
    pulse.wait_moved(&[0, 1, 2, 3], SOON);

    // A third joins.
    pulse.mark();
    let joined = Instant::now();
    let third = start("third");
    wait_until("a lane for the third", SOON, || (!lanes_of(&third).is_empty()).then_some(()));
    pulse.wait_moved(&[0, 1, 2, 3], SOON);
    let taken = lanes_of(&third);
    let given: Vec<u32> =
        [&first, &second].iter().flat_map(|s| moves(s, "giving the lane up", joined)).map(|(lane, _)| lane).collect();
    assert_eq!(given.iter().copied().collect::<HashSet<_>>(), taken, "lanes that stay were given up");
    assert_eq!(given.len(), taken.len(), "a lane was given up twice");
    for (name, before) in [("first", &first), ("second", &second)] {
        let again = moves(before, "taking the lane", joined);
        assert!(again.is_empty(), "{name} took lanes again: {again:?}");
    }
    let stay: HashSet<u32> = (0..4).filter(|lane| !taken.contains(lane)).collect();
    let longest = pulse.longest();
    println!("the third took lanes {taken:?}; longest standstill by partition {longest:.1?}");
    for partition in partitions(&stay) {
        assert!(longest[partition] < Duration::from_secs(3), "partition {partition} did not move: {longest:?}");
    }

    // One dies.
    pulse.mark();
    let orphans = lanes_of(&second);
    let killed = Instant::now();
    second.kill().unwrap();
    let ends = pulse.ends();
    let taken = wait_until("the orphans taken over", SOON, || {
        let moved = [&first, &third].into_iter().flat_map(|s| moves(s, "taking the lane", killed));
        let moved: Vec<(u32, Instant)> = moved.filter(|(lane, _)| orphans.contains(lane)).collect();
        (moved.iter().map(|(lane, _)| *lane).collect::<HashSet<_>>() == orphans).then_some(moved)
    });
    let taken = taken.iter().map(|(_, at)| *at - killed).max().unwrap();
    wait_until("progress of the orphans", SOON, || {
        let now = pulse.ends();
        // Records that the dead process had in flight are not committed before its lanes are taken.
        partitions(&orphans).iter().all(|p| now[*p] > ends[*p] + 100).then_some(())
    });
    let moved = killed.elapsed();
    println!("lanes {orphans:?} taken over {taken:.1?} after the kill, their records move after {moved:.1?}");
    assert!(taken <= TAKEOVER_MAX && moved <= TAKEOVER_MAX + Duration::from_secs(5));

    let count = feed.stop();
    let copied = || pair.at_target().read_log("source.shared", Isolation::Committed).unwrap().len() as u64;
    wait_until("everything copied", SOON, || (copied() >= 4 * count).then_some(()));
    pair.assert_exact("shared", "source.shared", &HashSet::new());
}

#[test]
fn new_topics_and_partitions_are_copied_from_their_beginning_while_the_link_runs() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    let source = pair.at_source();
    let write = |topic: &str, partition, first, count| {
        write_records(&source.config(), topic, &numbered(partition, first, count)).unwrap();
    };
    source.create_topic("growing.a", 2, &[]).unwrap();
    source.create_topic("not-growing", 1, &[]).unwrap();
    write("growing.a", 0, 0, 10);
    write("not-growing", 0, 0, 10);

    // `latest` leaves out the records from before the link's start.
    let config = pair.config(&link("growing", &["growing\\..*"], 3, "start = \"latest\""));
    let _strait = Strait::run("growing", &config, &[]).unwrap();
    let read = |topic: &str, partition| {
        let records = pair.at_target().read_records(topic, Isolation::Committed).unwrap();
        keys(&records, partition)
    };
    let partitions = |topic: &str| pair.at_target().topics().unwrap().into_iter().find(|(name, _)| name == topic);
    // Progress is committed before the first record is read, so that is when `latest` is decided.
    wait_until("the link's start decided", SOON, || {
        pair.has_target_topic("strait.growing.progress").then_some(())?;
        let progress = pair.at_target().read_records("strait.growing.progress", Isolation::Committed).unwrap();
        let positions: BTreeSet<String> = progress
            .iter()
            .map(|r| String::from_utf8_lossy(r.key.as_deref().unwrap()).into_owned())
            .filter(|key| key.contains("growing.a"))
            .collect();
        (positions.len() == 2).then_some(())
    });
    write("growing.a", 0, 10, 5);
    write("growing.a", 1, 0, 5);
    wait_until("new records of the old topic", SOON, || {
        partitions("source.growing.a")?;
        (read("source.growing.a", 0) == key_range(10, 5) && read("source.growing.a", 1) == key_range(0, 5))
            .then_some(())
    });

    let began = Instant::now();
    source.create_topic("growing.b", 3, &[]).unwrap();
    for partition in 0..3 {
        write("growing.b", partition, 0, 7);
    }
    wait_until("the new topic", SOON, || {
        partitions("source.growing.b")?;
        (0..3).all(|p| read("source.growing.b", p) == key_range(0, 7)).then_some(())
    });
    println!("a new topic was copied {:.1?} after it was made", began.elapsed());

    let began = Instant::now();
    source.grow_topic("growing.a", 5).unwrap();
    for partition in 2..5 {
        write("growing.a", partition, 0, 7);
    }
    wait_until("the new partitions", SOON, || {
        (2..5).all(|p| read("source.growing.a", p) == key_range(0, 7)).then_some(())
    });
    println!("new partitions were copied {:.1?} after they were made", began.elapsed());

    let of_source = |name: &str| name.starts_with("source.") && name.contains("growing");
    let made: Vec<(String, usize)> =
        pair.at_target().topics().unwrap().into_iter().filter(|(name, _)| of_source(name)).collect();
    let wanted = [("source.growing.a".to_owned(), 5), ("source.growing.b".to_owned(), 3)];
    assert_eq!(made.into_iter().collect::<BTreeSet<_>>(), wanted.into_iter().collect());
    assert_eq!(read("source.growing.a", 0), key_range(10, 5), "the old partition was copied again from its beginning");
}

#[test]
fn a_link_with_more_lanes_resumes_where_it_was() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    pair.at_source().create_topic("resized", 6, &[]).unwrap();
    pair.at_source().create_topic("resized-quiet", 3, &[]).unwrap();
    let write = |first: u64| {
        let records: Vec<_> = (0..6).flat_map(|partition| numbered(partition, first, 300)).collect();
        write_records(&pair.at_source().config(), "resized", &records).unwrap();
    };
    let config = |lanes: u32| pair.config(&link("grow", &["resized", "resized-quiet"], lanes, ""));
    let resize = |lanes: &str| {
        let folder = config(2);
        let mut strait = Strait::start("resize", folder.path(), &["lanes", "resize", "grow", lanes]).unwrap();
        let status = strait.wait_end(Duration::from_secs(60)).unwrap();
        (status.code(), format!("{}{}", strait.stdout(), strait.stderr()))
    };
    let (code, output) = resize("3");
    assert!(code == Some(1) && output.contains("has not been run yet"), "{output}");

    write(0);
    copy(&config(2));
    // A topic without records is created on the target too.
    let topics = pair.at_target().topics().unwrap();
    assert!(topics.contains(&("source.resized-quiet".to_owned(), 3)), "{topics:?}");

    let folder = config(2);
    let mut running = Strait::run("running", &folder, &[]).unwrap();
    wait_until("both lanes taken", SOON, || (lanes_of(&running).len() == 2).then_some(()));
    let (code, output) = resize("5");
    assert!(code == Some(1) && output.contains("is being run"), "{output}");
    stop(&mut running);

    let (code, output) = resize("5");
    assert_eq!(code, Some(0), "{output}");
    let (code, output) = resize("5");
    assert!(code == Some(0) && output.contains("has 5 lanes already"), "{output}");
    let (code, output) = resize("4");
    assert!(code == Some(1) && output.contains("cannot have fewer"), "{output}");

    let mut old = Strait::run("old", &config(2), &["--until-caught-up"]).unwrap();
    assert_eq!(old.wait_end(SOON).unwrap().code(), Some(64), "{}", old.stderr());
    write(300);
    copy(&config(5));
    pair.assert_exact("resized", "source.resized", &HashSet::new());
}
