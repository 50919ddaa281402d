//! Refuses links whose copies would be copied for ever: between one cluster under two names, and
//! against a link that another process runs in the opposite direction.

use std::sync::Arc;

use strait_core::config::Link;
use strait_core::opposite::names_of_copies;
use strait_core::{Event, LoopEvent};
use strait_flow::ports::EventSink;
use strait_kafka::{OppositeLinks, opposite_links};

use super::RunError;
use super::clusters::Reached;
use super::tuning::REQUEST;
use crate::board::LinkBoard;

/// Most topics named in a message; the others are counted.
const NAMED_MAX: usize = 5;

/// The result of comparing a link with one in the opposite direction, as far as it concerns us.
pub struct Found {
    /// Name of the other link.
    pub other: String,
    /// The topics of our target that come back to it.
    pub topics: String,
    /// Whether the other link runs now; `None` where that is not known.
    pub is_running: Option<bool>,
    /// Whether the loop is certain, so that ours must not start.
    pub is_certain: bool,
}

/// Returns the links of `links` that form a loop with ours.
pub fn found(link: &Link, links: &OppositeLinks) -> Vec<Found> {
    // Validation has refused patterns that do not parse.
    let Ok(selector) = link.selector() else { return Vec::new() };
    let compared = links.found.iter().map(|opposite| (opposite, opposite.loops_with(link, &selector)));
    let found = compared.filter(|(_, topics)| !topics.is_empty()).map(|(opposite, topics)| Found {
        other: opposite.name.clone(),
        topics: named(&topics),
        is_running: opposite.is_running,
        is_certain: opposite.is_certain(link),
    });
    found.collect()
}

fn named(topics: &[Arc<str>]) -> String {
    let some: Vec<&str> = topics.iter().take(NAMED_MAX).map(|topic| &**topic).collect();
    let more = topics.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", some.join(", "))
}

/// Returns the topics that a link leaves out: beside those of its configuration its own copies,
/// where source and target have one id.
#[must_use]
pub fn excluded(link: &Link, source_id: Option<&str>, target_id: Option<&str>) -> Vec<String> {
    let is_one = source_id.is_some() && source_id == target_id;
    let copies = names_of_copies(link).filter(|_| is_one);
    link.topics_exclude.iter().cloned().chain(copies).collect()
}

/// Refuses a link whose source and target have one id where it keeps the names of topics, and one
/// that would copy back what another link copies in the opposite direction.
///
/// # Errors
/// [`RunError::Loop`]; the event is emitted by then.
pub(super) async fn refuse(board: &LinkBoard, link: &Link, source: &Reached, target: &Reached) -> Result<(), RunError> {
    let Some(target_id) = &target.id else { return Ok(()) };
    if source.id.as_ref() == Some(target_id) {
        let Some(copies) = names_of_copies(link) else {
            return Err(refused(board, LoopEvent::OneCluster { id: Arc::clone(target_id) }));
        };
        let link = link.name.as_str();
        tracing::warn!(link, copies, "source and target are one Kafka cluster; its copies are not copied again");
        return Ok(());
    }
    let links = match opposite_links(&source.config, target_id, REQUEST).await {
        Ok(links) => links,
        // Nothing of the link itself has failed.
        Err(error) => {
            tracing::warn!(link = link.name, %error, "links in the opposite direction cannot be looked for");
            return Ok(());
        }
    };
    for (other, reason) in &links.unread {
        tracing::info!(link = link.name, other, reason, "the direction of another link is not known");
    }
    for Found { other, topics, is_running, is_certain } in found(link, &links) {
        if is_running == Some(false) {
            tracing::info!(link = link.name, other, topics, "a link in the opposite direction is not running");
            continue;
        }
        let event = LoopEvent::Opposite { other: other.into(), topics, refused: is_certain };
        if is_certain {
            return Err(refused(board, event));
        }
        board.emit(&link.name, Event::Loop(event));
    }
    Ok(())
}

fn refused(board: &LinkBoard, event: LoopEvent) -> RunError {
    let event = Event::Loop(event);
    let (link, reason, remedy) = (board.name.clone(), event.to_string(), event.remedy());
    board.emit(&link, event);
    RunError::Loop { link, reason, remedy }
}
