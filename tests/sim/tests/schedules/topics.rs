//! Topics that plugins name for single records.

use strait_flow::{OnRefused, Policies};
use strait_sim::run::{Outcome, lenient};
use strait_sim::world::source::Rules;

use crate::{begin, feed, play, wait_ms};

#[test]
fn records_to_topics_that_may_not_be_created_are_refused_and_all_others_arrive() {
    let rules = Rules { route: 100, split: 50, reject: 20, ..Rules::default() };
    let outcomes = play(lenient(), rules, |mut cluster| async move {
        cluster.limits.new_topics_max = 0;
        cluster.sim.lock().no_new_topics = true;
        begin(&mut cluster).await;
        feed(&mut cluster.sim.lock());
        wait_ms(3_000).await;
        cluster
    });
    let told = |o: &&Outcome| o.events.contains("new_topics_refused") && o.events.contains("quarantined");
    assert!(outcomes.iter().filter(told).count() > 30);
    let stop = Policies { on_refused: OnRefused::Stop, ..lenient() };
    let outcomes = play(stop, Rules { route: 20, ..Rules::default() }, |mut cluster| async move {
        cluster.limits.new_topics_max = 0;
        cluster.sim.lock().no_new_topics = true;
        begin(&mut cluster).await;
        cluster
    });
    assert!(outcomes.iter().any(|o| o.events.contains("record_stopped")));
}
