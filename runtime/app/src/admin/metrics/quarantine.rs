//! The records that are open in quarantine. A figure that is not known has no series.

use std::fmt;

use super::{LinkView, Page, number, working};

pub(super) fn write(page: &mut Page<'_>, links: &[LinkView<'_>], now_ms: i64) -> fmt::Result {
    let (mut open, mut oldest, mut known) = (Vec::new(), Vec::new(), Vec::new());
    for (view, work) in working(links) {
        let found = work.status.quarantine().open;
        known.push((view.labels(&[]), if found.is_some() { 1.0 } else { 0.0 }));
        let Some(found) = found else { continue };
        open.push((view.labels(&[]), number(found.records)));
        let age_ms = found.oldest_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms).max(0));
        oldest.push((view.labels(&[]), number(age_ms.unsigned_abs()) / 1000.0));
    }
    let help = "Records that are open in quarantine, over all processes of the link; no series where it is not known.";
    page.gauge("strait_quarantine_open_records", help, open)?;
    let help = "How long the oldest of them has been open; 0 if there is none.";
    page.gauge("strait_quarantine_oldest_seconds", help, oldest)?;
    let help = "1 while the number of open records is known.";
    page.gauge("strait_quarantine_known", help, known)
}
