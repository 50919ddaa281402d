//! The parts of event texts that depend on what is known.

use crate::offset::SourceOffset;
use crate::topic::TopicId;

/// Says that a topic was created again, if it was.
pub(super) fn again(found: Option<TopicId>) -> String {
    found.map_or_else(String::new, |found| format!(" and created again (id {found} now)"))
}

/// Formats a reason as the end of a message; empty if there is none.
pub(super) fn after(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(", {reason}") }
}

/// Describes how far damage goes.
pub(super) fn until(end: Option<SourceOffset>) -> String {
    end.map_or_else(String::new, |end| format!(" up to offset {}", end.0.saturating_sub(1)))
}

/// Describes a batch that is too large.
pub(super) fn batch_size(bytes: Option<u64>) -> String {
    match bytes {
        Some(bytes) => format!("the batch there has {bytes} bytes"),
        None => "the batch there is compressed with zstd and does not fit decompressed".to_owned(),
    }
}

/// Formats a position.
pub(super) fn at(position: Option<SourceOffset>) -> String {
    position.map_or_else(|| "its position is not known".to_owned(), |next| format!("next offset {next}"))
}

/// Formats the end of what can be read.
pub(super) fn end(last_stable: Option<SourceOffset>, age_s: Option<u64>) -> String {
    match (last_stable, age_s) {
        (Some(end), Some(age)) => format!("last stable offset {end} ({age} s old)"),
        _ => "its last stable offset is not known".to_owned(),
    }
}

/// Formats the number of further partitions; empty if there are none.
pub(super) fn and_others(count: u64) -> String {
    if count == 0 { String::new() } else { format!("; so do {count} other partitions of its lane") }
}

/// Returns how long the last token still serves.
pub(super) fn serves(left_s: Option<u64>) -> String {
    match left_s {
        Some(left_s) => format!("the last one serves for another {left_s} s"),
        None => "there is none that serves, and logins fail until there is".to_owned(),
    }
}
