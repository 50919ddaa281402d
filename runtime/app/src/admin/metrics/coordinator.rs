//! Whether this process coordinates its links, and whether anybody does.

use std::fmt;

use strait_flow::CoordinatorState;

use super::{LinkView, Page, number, working};

pub(super) fn write(page: &mut Page<'_>, links: &[LinkView<'_>], now_ms: i64) -> fmt::Result {
    let (mut here, mut silent) = (Vec::new(), Vec::new());
    let (mut denied, mut resting, mut failing) = (Vec::new(), Vec::new(), Vec::new());
    for (view, work) in working(links) {
        let known = work.status.coordinator();
        here.push((view.labels(&[]), if known.state == CoordinatorState::Coordinating { 1.0 } else { 0.0 }));
        denied.extend(known.denied.keys().map(|right| (view.labels(&[("right", right.name())]), 1.0)));
        failing.extend(known.failing.keys().map(|work| (view.labels(&[("work", work)]), 1.0)));
        resting.push((view.labels(&[]), number(known.resting.len() as u64)));
        let Some(heard) = known.heard_of else { continue };
        let age_ms = now_ms.saturating_sub(heard.at_ms).max(0).unsigned_abs();
        silent.push((view.labels(&[]), number(age_ms) / 1000.0));
    }
    page.gauge("strait_coordinator", "1 while this process coordinates the link.", here)?;
    let help = "Time since this process has heard of the link's coordinator, which says once a second that it is at \
                work; no series before the first time.";
    page.gauge("strait_coordinator_silent_seconds", help, silent)?;
    let help = "1 while a right is missing for what the target takes over besides records (event metadata_denied).";
    page.gauge("strait_metadata_denied", help, denied)?;
    let help = "Settings of target topics that are left alone although they differ, 100 at most: the target refuses \
                them, or somebody else keeps on changing them.";
    page.gauge("strait_settings_resting", help, resting)?;
    page.gauge(
        "strait_link_work_failing",
        "1 while work for the link as a whole fails (event link_work_failed).",
        failing,
    )
}
