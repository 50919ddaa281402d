//! A cluster that is down when the process starts holds up only its own links.

use strait_e2e::{Strait, TestClient, write_records};
use strait_test_cluster::Cluster;

use crate::support::{Ends, Pair, SOON, Turn, link, now, numbered, single, stop, wait_until};

#[test]
fn a_link_whose_cluster_is_down_waits_for_it_and_holds_up_no_other_link() {
    let _turn = Turn::waiting();
    let pair = Pair::shared();
    let edge = now(Cluster::start(single("outage-edge"))).unwrap();
    edge.broker(0).unwrap().kill().unwrap();
    pair.at_source().create_topic("outage", 2, &[]).unwrap();
    for partition in 0..2 {
        write_records(&pair.at_source().config(), "outage", &numbered(partition, 0, 500)).unwrap();
    }
    let far = link("far", &["outage"], 1, "").replace("target = \"target\"", "target = \"edge\"");
    let near = link("near", &["outage"], 1, "");
    let config = pair.config(&format!("[clusters.edge]\nbootstrap_servers = \"{}\"\n\n{far}{near}", edge.bootstrap()));

    let mut strait = Strait::run("outage", &config, &[]).unwrap();
    let waits = |line: &strait_e2e::LogLine| line.message() == "the link cannot begin yet";
    strait.wait_line("a link that waits", SOON, waits).unwrap();
    let exact = |client: &TestClient, source: &str| {
        let ends = Ends::new(client, "source.outage", 2);
        wait_until(source, SOON, || ends.sum().filter(|sum| *sum >= 1000));
    };
    pair.wait_target_topic("source.outage");
    exact(&pair.at_target(), "copied by the link that can run");
    assert!(strait.poll_end().unwrap().is_none(), "{}", strait.stderr());

    now(edge.broker(0).unwrap().restart()).unwrap();
    let at_edge = TestClient::new(edge.internal_bootstrap());
    wait_until("the topic of the link that waited", SOON, || {
        at_edge.topics().unwrap().iter().any(|(topic, _)| topic == "source.outage").then_some(())
    });
    exact(&at_edge, "copied by the link that waited");
    stop(&mut strait);
}
