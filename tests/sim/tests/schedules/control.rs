//! Progress and map topics that refuse large batches.

use strait_sim::run::lenient;
use strait_sim::world::source::Rules;

use crate::{begin, feed, next, play, until};

#[test]
fn progress_that_is_too_large_for_its_topic_is_sent_in_smaller_batches() {
    let outcomes = play(lenient(), Rules::default(), |mut cluster| async move {
        cluster.set_lanes(1);
        begin(&mut cluster).await;
        // A record of progress has some 300 bytes: two of them are too many.
        cluster.sim.lock().control_bytes_max = 400;
        for end in [20, 30, 40] {
            feed(&mut cluster.sim.lock());
            until(&cluster, "it goes on", |w| (0..2).all(|p| next(w, "a", p).0 >= end)).await;
        }
        cluster
    });
    // The lane has to find out how much the topic takes, once.
    assert!(outcomes.iter().any(|outcome| outcome.events.contains("lane_restarted")));
}
