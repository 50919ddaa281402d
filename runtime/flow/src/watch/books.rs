//! Counts the records that are open in the books. A figure that is not known, or too old, is none.

use super::{Watchdog, stale_after};
use crate::status::{OpenInQuarantine, QuarantineFigures};

impl Watchdog {
    /// Asks how many records are open in the books.
    pub(super) async fn look_at_books(&self) {
        let found = self.books.open_records().await;
        let (now, stale) = (self.deps.clock.now(), stale_after(self.intervals));
        let before = self.deps.status.quarantine();
        let unknown = |reason: String| QuarantineFigures { open: None, problem: reason };
        let figures = match found {
            Ok(found) if found.age <= stale => {
                let (records, oldest_ms) = (found.records, found.oldest_ms);
                let open = OpenInQuarantine { records, oldest_ms, as_of: now.saturating_sub(found.age) };
                QuarantineFigures { open: Some(open), problem: String::new() }
            }
            Ok(found) => unknown(format!(
                "a transaction in the books has not ended for {} s, and what is behind it cannot be read",
                found.age.as_secs()
            )),
            Err(error) => {
                let open = before.open.filter(|open| now.saturating_sub(open.as_of) <= stale);
                QuarantineFigures { open, problem: error.to_string() }
            }
        };
        if !figures.problem.is_empty() && before.problem != figures.problem {
            let reason = &figures.problem;
            tracing::warn!(link = %self.spec.link, reason, "cannot count the records in quarantine, will retry");
        }
        self.deps.status.set_quarantine(figures);
    }
}
