//! The logins of the clusters.

use std::fmt;

use super::{Labels, Page};
use crate::board::{AccessBoard, Board};

/// Writes the families of the clusters' logins.
pub(super) fn write(page: &mut Page<'_>, board: &Board) -> fmt::Result {
    let labels = |access: &AccessBoard| -> Labels { vec![("cluster", access.cluster.clone())] };
    let ends = board.access().iter().filter_map(|access| {
        #[allow(clippy::cast_precision_loss, reason = "milliseconds fit a double for 285,000 years")]
        let seconds = access.expires_ms()? as f64 / 1000.0;
        Some((labels(access), seconds))
    });
    page.gauge("strait_token_expiry_timestamp_seconds", "When the token of a cluster's clients ends.", ends)?;
    let failures = board.access().iter().filter(|access| access.has_tokens);
    let failures = failures.map(|access| (labels(access), access.token_failures()));
    page.counter("strait_token_failures", "Tries to get a new token that failed.", failures)?;
    let mut rotations = Vec::new();
    for access in board.access() {
        let (used, refused) = access.rotations();
        for (outcome, count) in [("used", used), ("refused", refused)] {
            let mut labels = labels(access);
            labels.push(("outcome", outcome.to_owned()));
            rotations.push((labels, count));
        }
    }
    let help = "Changed secrets and certificates of a cluster, by whether they came into use.";
    page.counter("strait_credentials_rotated", help, rotations)
}
