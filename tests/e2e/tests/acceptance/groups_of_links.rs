//! Consumer groups where there are several links: of topics that two links write to, and of copies
//! of the target's own topics.

use strait_e2e::{Isolation, Record, Strait, TestClient};

use crate::groups::{FILTER, commit, committed, consumer, groups_list, write};
use crate::support::{Pair, SOON, Turn, link, link_between, single, stop, unix_ms, wait_until};

/// Two links split one topic, first in two processes and then in one.
#[test]
fn a_topic_that_two_links_write_to_has_no_offsets_of_groups_from_either() {
    let _turn = Turn::beside_another();
    // The more links a target has had, the more rarely others are looked for.
    let pair = Pair::of(single("split-source"), single("split-target"));
    for topic in ["split", "split-not"] {
        pair.at_source().create_topic(topic, 1, &[]).unwrap();
        write(&pair, topic, 1, 0, 60);
        commit(&consumer(&pair.at_source(), "split-group"), topic, &[(0, 12)]);
    }
    let others = FILTER.replace("key-", "drop-");
    let one = link("split-one", &["split", "split-not"], 1, &format!("groups = [\"split-.*\"]\n{FILTER}"));
    let other = link("split-other", &["split"], 1, &format!("groups = [\"split-.*\"]\n{others}"));
    let (alone, beside, both) = (pair.config(&one), pair.config(&other), pair.config(&(one.clone() + &other)));
    let there = |topic: &str| {
        let at = committed(&consumer(&pair.at_target(), "split-group"), topic, 0);
        at.map(|(offset, _)| offset)
    };
    let mut first = Strait::run("split-one", &alone, &[]).unwrap();
    wait_until("it is kept", SOON, || there("source.split").and_then(|_| there("source.split-not")));
    let kept = there("source.split");
    let mut second = Strait::run("split-other", &beside, &[]).unwrap();
    second.wait_line("it sees the first one", SOON, |line| line.is_event("shared_target")).unwrap();
    first.wait_line("it sees the second one", 2 * SOON, |line| line.is_event("shared_target")).unwrap();
    commit(&consumer(&pair.at_source(), "split-group"), "split", &[(0, 30)]);
    commit(&consumer(&pair.at_source(), "split-group"), "split-not", &[(0, 30)]);
    let before = there("source.split-not");
    wait_until("its other topic is kept", SOON, || (there("source.split-not") > before).then_some(()));
    assert_eq!(there("source.split"), kept);
    stop(&mut first);
    stop(&mut second);

    let mut strait = Strait::run("split-both", &both, &[]).unwrap();
    wait_until("both say so", SOON, || (strait.events("shared_target").len() == 2).then_some(()));
    for (link, other) in [("split-one", "split-other"), ("split-other", "split-one")] {
        let listed = groups_list(&both, link, "split-group");
        let partitions = listed["partitions"].as_array().unwrap();
        let shared = partitions.iter().find(|partition| partition["topic"] == "source.split").unwrap();
        let why = shared["why"].as_str().unwrap();
        assert!(why.contains("shared_target") && why.contains(other), "{listed}");
    }
    assert_eq!(there("source.split"), kept);
    assert!(strait.events("group_taken_over").is_empty());
    stop(&mut strait);
}

/// Two links in opposite directions: a group of a topic and of the other side's copies moves
/// exactly with both.
#[test]
fn a_group_of_the_targets_own_topic_moves_by_the_map_of_the_opposite_link() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    pair.at_source().create_topic("there-and", 1, &[]).unwrap();
    pair.at_target().create_topic("back-again", 2, &[]).unwrap();
    write(&pair, "there-and", 1, 0, 60);
    for partition in 0..2 {
        let key = |number: u64| format!("{}-{number}", if number.is_multiple_of(3) { "drop" } else { "key" });
        let one = |number: u64| Record {
            partition,
            offset: -1,
            timestamp: unix_ms(),
            key: Some(key(number).into_bytes()),
            value: Some(b"value".to_vec()),
            headers: Vec::new(),
        };
        pair.at_target().write("back-again", &(0..90).map(one).collect::<Vec<_>>()).unwrap();
    }
    let there = link("there", &["there-and"], 1, &format!("groups = [\"there-.*\"]\n{FILTER}"));
    let back = link_between("back", "target", "source", &["back-again"], 1, FILTER);
    let config = pair.config(&(there + &back));
    let mut strait = Strait::run("there", &config, &[]).unwrap();
    let read = |client: TestClient, topic: &str, count: usize| {
        wait_until("all is copied", SOON, || {
            let read = client.read_records(topic, Isolation::Committed).ok()?;
            (read.len() == count).then_some(read)
        })
    };
    let copies = read(pair.at_source(), "target.back-again", 120);
    let native = read(pair.at_target(), "back-again", 180);
    read(pair.at_target(), "source.there-and", 40);
    for (group, at) in [("there-behind", [4, 31]), ("there-on", [20, 0]), ("there-end", [60, 60])] {
        // The copy that it would read next in each partition; behind the last one it has read all.
        let place = |partition: i32| {
            let of = copies.iter().filter(|copy| copy.partition == partition);
            of.map(|copy| copy.offset).nth(at[partition as usize])
        };
        let end = |partition: i32| {
            let of = copies.iter().filter(|copy| copy.partition == partition);
            of.map(|copy| copy.offset + 1).max().unwrap()
        };
        let offsets: Vec<(i32, i64)> =
            (0..2).map(|partition| (partition, place(partition).unwrap_or_else(|| end(partition)))).collect();
        let reader = consumer(&pair.at_source(), group);
        commit(&reader, "target.back-again", &offsets);
        commit(&reader, "there-and", &[(0, 30)]);
        let at_target = consumer(&pair.at_target(), group);
        for (partition, offset) in offsets {
            let next = copies.iter().find(|copy| copy.partition == partition && copy.offset >= offset);
            let last = |key: &[u8]| native.iter().rfind(|r| r.partition == partition && r.key.as_deref() == Some(key));
            // Behind the last copy nothing was copied: the place is behind the last kept record.
            let wanted = match next {
                Some(next) => last(next.key.as_deref().unwrap()).unwrap().offset,
                None => {
                    let kept = copies.iter().rfind(|copy| copy.partition == partition).unwrap();
                    last(kept.key.as_deref().unwrap()).unwrap().offset + 1
                }
            };
            wait_until(&format!("{group} at {wanted} of {partition}"), SOON, || {
                (committed(&at_target, "back-again", partition)?.0 == wanted).then_some(())
            });
        }
        wait_until("and in the link's copies", SOON, || committed(&at_target, "source.there-and", 0).map(drop));
        let listed = groups_list(&config, "there", group);
        let partitions = listed["partitions"].as_array().unwrap();
        assert!(partitions.len() == 3 && partitions.iter().all(|at| at["exact"] == true), "{listed}");
    }
    assert!(strait.events("group_taken_over").is_empty());
    stop(&mut strait);
}
