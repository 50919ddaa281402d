//! Deletes records of the quarantine topic.

use std::collections::BTreeMap;
use std::time::Duration;

use strait_core::progress::quarantine_topic;
use strait_flow::ports::PortError;

use crate::config::ClusterConfig;
use crate::error::blocking;
use crate::ffi::{Client, Code, FfiError, OffsetSpec, Place};
use crate::lazy_client::{connect, fail};
use crate::queries::list;

/// Offsets of a partition of the quarantine topic that are deleted, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trimmed {
    /// Number of the partition.
    pub partition: i32,
    /// The first one.
    pub from: i64,
    /// The one after the last.
    pub to: i64,
}

/// Deletes the records below these offsets of a link's quarantine topic, by partition, that were
/// written before `before_ms`. Without `really` it only says which.
///
/// # Errors
/// [`PortError`].
pub async fn trim_quarantine(
    source: &ClusterConfig,
    link: &str,
    points: BTreeMap<i32, i64>,
    before_ms: i64,
    really: bool,
    timeout: Duration,
) -> Result<Vec<Trimmed>, PortError> {
    let topic = quarantine_topic(link);
    let context = format!("link {link}: trimming {topic} on cluster {}", source.name);
    let (source, label) = (source.clone(), format!("{link}/trim"));
    blocking(&context.clone(), move || {
        let client = connect(&source, &label).map_err(|error| fail(&context, &error, None))?;
        let failed = |error: FfiError| fail(&context, &error, Some(&client));
        let trimmed = plan(&client, &topic, &points, before_ms, timeout).map_err(failed)?;
        if !really || trimmed.is_empty() {
            return Ok(trimmed);
        }
        let places: Vec<Place> = trimmed
            .iter()
            .map(|trimmed| Place { offset: trimmed.to, ..Place::of(&*topic, trimmed.partition) })
            .collect();
        let answers = client.delete_records(&places, timeout).map_err(failed)?;
        match answers.into_iter().find(|answer| answer.code != Code::OK) {
            Some(answer) => {
                let text = format!("partition {}: {}", answer.partition, answer.code.text());
                Err(failed(FfiError::new(answer.code, text)))
            }
            None => Ok(trimmed),
        }
    })
    .await?
}

fn plan(
    client: &Client,
    topic: &str,
    points: &BTreeMap<i32, i64>,
    before_ms: i64,
    timeout: Duration,
) -> Result<Vec<Trimmed>, FfiError> {
    let places: Vec<Place> = points.keys().map(|partition| Place::of(topic, *partition)).collect();
    let starts = list(client, &places, OffsetSpec::Earliest, false, timeout)?;
    let recent = list(client, &places, OffsetSpec::Timestamp(before_ms), false, timeout)?;
    let trimmed = points.iter().filter_map(|(partition, point)| {
        let place = (topic.to_owned(), *partition);
        let from = *starts.get(&place)?;
        // Without an answer nothing was written since.
        let recent = recent.get(&place).copied().filter(|offset| *offset >= 0);
        let to = recent.map_or(*point, |recent| recent.min(*point));
        (to > from).then_some(Trimmed { partition: *partition, from, to })
    });
    Ok(trimmed.collect())
}
