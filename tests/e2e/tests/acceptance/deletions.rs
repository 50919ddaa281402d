//! Target topics whose source topics are deleted.

use std::time::Duration;

use strait_e2e::Strait;

use crate::plan::{planned, short};
use crate::support::{Pair, Turn, key_range, link, settings, stop, wait_event, wait_until, write_numbered};

/// The source is asked three times, 20 s apart, and the positions are read twice.
const BELIEVED: Duration = Duration::from_secs(150);
const DELETES: &str = "on_deleted = \"delete\"\ndelete_after_h = 24";

#[test]
fn a_target_topic_is_deleted_like_its_source_topic_only_if_the_option_says_so_and_the_link_has_made_it() {
    let _turn = Turn::waiting();
    let pair = Pair::shared();
    let (source, target) = (pair.at_source(), pair.at_target());
    target.create_topic("source.leaves.before", 1, &[]).unwrap();
    for topic in ["leaves.made", "leaves.before", "leaves.stays", "remains.made"] {
        // A setting of its own, so that the control topic knows each of them.
        source.create_topic(topic, 1, &[("flush.ms", "5000")]).unwrap();
        write_numbered(&source, topic, 0, 0, 10);
    }
    let links = link("leaves", &["leaves\\..*"], 1, DELETES) + &link("remains", &["remains\\..*"], 1, "");
    let config = pair.config(&links);
    let mut strait = Strait::run("leaves", &config, &[]).unwrap();
    let all = ["source.leaves.made", "source.leaves.before", "source.leaves.stays", "source.remains.made"];
    for copy in all {
        pair.wait_keys(copy, 0, &key_range(0, 10));
    }
    wait_until("the setting is followed", BELIEVED, || {
        (settings(&target, "source.leaves.before").get("flush.ms")? == "5000").then_some(())
    });
    for topic in ["leaves.made", "leaves.before", "remains.made"] {
        source.delete_topic(topic).unwrap();
    }
    let wait = |strait: &Strait, event: &str, topic: &str| {
        let said = strait.wait_line(event, BELIEVED, |line| line.is_event(event) && line.message().contains(topic));
        said.unwrap().message().to_owned()
    };
    let pending = wait(&strait, "target_deletion_pending", "source.leaves.made");
    assert!(pending.contains("source topic leaves.made is gone") && pending.contains("24 h 0 min"), "{pending}");
    let kept = wait(&strait, "target_deletion_refused", "source.leaves.before");
    assert!(kept.contains("nothing says that the link has created it"), "{kept}");
    wait_event(&strait, "leaves", "source_gone", "leaves.made-0");
    let (_, plan, _) = planned(&config, "leaves", &[]);
    let lines = short(&plan);
    for line in ["= topic source.leaves.made deletion_pending", "= topic source.leaves.before not_made"] {
        assert!(lines.contains(line), "{plan:#}");
    }
    stop(&mut strait);
    assert!(strait.events("target_topic_deleted").is_empty());

    // Without a day to wait for.
    let config = pair.config(&links.replace("delete_after_h = 24", "delete_after_h = 0"));
    let (_, plan, _) = planned(&config, "leaves", &[]);
    assert!(short(&plan).contains("- topic source.leaves.made"), "{plan:#}");
    let mut strait = Strait::run("leaves-now", &config, &[]).unwrap();
    wait(&strait, "target_topic_deleted", "source.leaves.made");
    wait_until("deleted", BELIEVED, || (!pair.has_target_topic("source.leaves.made")).then_some(()));
    // The others are copied as before.
    write_numbered(&source, "leaves.stays", 0, 10, 10);
    pair.wait_keys("source.leaves.stays", 0, &key_range(0, 20));
    stop(&mut strait);
    for copy in ["source.leaves.before", "source.remains.made"] {
        assert_eq!(pair.keys(copy, 0), key_range(0, 10), "{copy} is kept");
    }
    assert_eq!(strait.events("target_topic_deleted").len(), 1);
    let (_, plan, _) = planned(&config, "leaves", &[]);
    assert_eq!(short(&plan), ["= topic source.leaves.before not_made".to_owned()].into());
}
