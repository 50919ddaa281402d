//! Events to the log: one line each, with the event's name and coordinates as fields.

use strait_core::{Event, Severity};
use strait_flow::ports::EventSink;

/// Writes events to the log.
#[derive(Debug, Default)]
pub struct LogEvents;

impl EventSink for LogEvents {
    fn emit(&self, link: &str, event: Event) {
        let name = event.name();
        match event.severity() {
            Severity::Info => tracing::info!(link, event = name, "{event}"),
            Severity::Warning => tracing::warn!(link, event = name, "{event}"),
            Severity::Error => tracing::error!(link, event = name, "{event}"),
        }
    }
}
