//! Records for MirrorMaker 2's clients.

use std::fmt;

use super::{LinkView, Page, working};

pub(super) fn write(page: &mut Page<'_>, links: &[LinkView<'_>]) -> fmt::Result {
    let (mut records, mut failing) = (Vec::new(), Vec::new());
    for (view, work) in working(links) {
        for (topic, figures) in work.status.mm2() {
            let labels = || view.labels(&[("topic", topic.label())]);
            records.push((labels(), figures.records));
            failing.push((labels(), if figures.failing.is_some() { 1.0 } else { 0.0 }));
        }
    }
    let help = "Records that this process has written for MirrorMaker 2's clients: heartbeats, source_heartbeats, \
                checkpoints, offset_syncs.";
    page.counter("strait_mm2_records", help, records)?;
    let help = "1 while this process is to write the topic for MirrorMaker 2's clients and cannot.";
    page.gauge("strait_mm2_failing", help, failing)
}
