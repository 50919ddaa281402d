//! The consumer groups whose offsets this process keeps on the targets of its links.

use std::fmt;

use strait_flow::CoordinatorState;

use super::{LinkView, Page, number, working};
use crate::admin::groups::STATES;

pub(super) fn write(page: &mut Page<'_>, links: &[LinkView<'_>]) -> fmt::Result {
    let (mut groups, mut written) = (Vec::new(), Vec::new());
    for (view, work) in working(links) {
        let known = work.status.groups();
        written.push((view.labels(&[]), number(known.written)));
        if work.status.coordinator().state != CoordinatorState::Coordinating {
            continue;
        }
        for (state, name) in STATES {
            let count = known.states.get(&state).copied().unwrap_or_default();
            groups.push((view.labels(&[("state", name)]), number(count)));
        }
    }
    let help = "Consumer groups whose offsets the link keeps on the target, by what they are like there; in the \
                process that coordinates the link.";
    page.gauge("strait_groups", help, groups)?;
    page.counter("strait_group_offsets_written", "Offsets of groups that the target has taken.", written)
}
