//! `strait quarantine show`.

use std::sync::Arc;

use serde_json::{Value, json};
use strait_core::books::{BookFilter, BookKey, Booked, RecordShape, StateFilter, shape_of};
use strait_core::config::Config;
use strait_kafka::{Kept, kept_record};

use super::{Logging, Sides, time};
use crate::cli::Output;
use crate::cli::quarantine::ShowRecord;
use crate::commands::partitions::user;
use crate::commands::plugin::jsonl;
use crate::commands::status::plain;
use crate::commands::{End, REQUEST, block_on, failed, print, reach};
use crate::telemetry;

/// Why contents are not shown.
const NOT_SHOWN: &str = "contents of records are not shown with this configuration: set show_records = true under [admin] to allow it; each time is logged";

/// Runs the command.
pub fn show(args: &ShowRecord, logging: &Logging<'_>) -> End {
    match try_show(args, logging) {
        Ok(text) => print(&text),
        Err(end) => end,
    }
}

fn try_show(args: &ShowRecord, logging: &Logging<'_>) -> Result<String, End> {
    let sides = Sides::of(&args.config, &args.link)?;
    if args.show_records {
        if !sides.loaded.config.admin.show_records {
            return Err(failed(&NOT_SHOWN));
        }
        let regions = Regions::of(&sides.loaded.config, &sides.link.source);
        regions.check(args.across_border).map_err(|reason| failed(&reason))?;
        logging.start(&sides.loaded)?;
    }
    let (key, booked) = find(args, &sides)?;
    let place = booked.entry.place;
    reach(&sides.source)?;
    let kept = block_on(kept_record(&sides.source, &sides.link.name, &key, place, REQUEST))?;
    let Some(Kept { mut record, .. }) = kept else {
        let gone = format!(
            "partition {} of the quarantine topic has no record at offset {} any more: it was trimmed or deleted",
            place.partition, place.offset
        );
        return Err(failed(&gone));
    };
    // By its coordinates at the source, as the books have them.
    record.topic = key.partition.topic.to_string();
    (record.partition, record.offset) = (key.partition.partition, key.offset.0);
    if args.show_records {
        audit(args, &sides);
        return Ok(jsonl::write(&record));
    }
    let shape = shape_of(&record);
    match args.output {
        Output::Text => Ok(text(&key, &booked, &shape)),
        Output::Json => {
            let entry = json!({
                "entry": booked.entry, "refused_ms": booked.refused_ms, "closed": booked.closed, "shape": shape,
            });
            serde_json::to_string_pretty(&entry).map_err(|error| failed(&error))
        }
    }
}

/// Returns the entry of the record.
fn find(args: &ShowRecord, sides: &Sides) -> Result<(BookKey, Booked), End> {
    let filter = BookFilter {
        topic: Some(Arc::from(args.topic.as_str())),
        partition: Some(args.partition),
        offsets: vec![args.offset..=args.offset],
        code: None,
        state: StateFilter::Any,
    };
    let books = sides.books(filter)?;
    // A topic that was created again can have several.
    let newest = books.index.entries.into_iter().max_by_key(|(_, booked)| booked.written_ms);
    newest.ok_or_else(|| {
        let ShowRecord { link, topic, partition, offset, .. } = args;
        failed(&format!(
            "the books of link {link} have no record {topic}-{partition} offset {offset}: strait quarantine list {link} shows those that they have"
        ))
    })
}

/// The regions that decide whether contents are shown.
struct Regions {
    /// Where this process runs.
    here: Option<String>,
    cluster: String,
    source: Option<String>,
}

impl Regions {
    fn of(config: &Config, cluster: &str) -> Self {
        let source = config.cluster(cluster).and_then(|cluster| cluster.region.clone());
        Self { here: config.region.clone(), cluster: cluster.to_owned(), source }
    }

    /// Returns why contents may not be shown here.
    fn check(&self, across_border: bool) -> Result<(), String> {
        if across_border || (self.here.is_some() && self.here == self.source) {
            return Ok(());
        }
        let set = |region: &Option<String>| {
            region.as_ref().map_or_else(|| "not set".to_owned(), |name| format!("\"{name}\""))
        };
        Err(format!(
            "a record's contents are shown in the region of its source cluster only: the region of cluster {} is {}, that of this configuration is {}. Run this in that region, with region set to it, or add --across-border: it is logged who did that",
            self.cluster,
            set(&self.source),
            set(&self.here)
        ))
    }
}

/// Logs who is shown contents of a record, whatever the level of the log.
fn audit(args: &ShowRecord, sides: &Sides) {
    let Regions { here, source, .. } = Regions::of(&sides.loaded.config, &sides.link.source);
    tracing::warn!(
        target: telemetry::AUDIT,
        event = "records_shown",
        link = sides.link.name,
        topic = args.topic,
        partition = args.partition,
        offset = args.offset,
        by = user(),
        region = here.as_deref().unwrap_or_default(),
        source_region = source.as_deref().unwrap_or_default(),
        across_border = args.across_border,
        "contents of a quarantined record are shown"
    );
}

fn text(key: &BookKey, booked: &Booked, shape: &RecordShape) -> String {
    let length = |bytes: Option<usize>| bytes.map_or_else(|| "null".to_owned(), |bytes| format!("{bytes} bytes"));
    let entry = &booked.entry;
    let rule = entry.rule.as_deref().map(|rule| format!(", rule {}", plain(rule))).unwrap_or_default();
    let mut out = format!(
        "{} offset {}: {}, refused by {} ({}{rule}) {}\n",
        plain(&key.partition.to_string()),
        key.offset,
        plain(entry.state.word()),
        plain(&entry.plugin),
        plain(&entry.code),
        booked.refused_ms.map(time).unwrap_or_default()
    );
    out.push_str(&format!("plugins {}, border {}\n", plain(&entry.generation), entry.border));
    out.push_str(&format!("key: {}\nvalue: {}\n", length(shape.key_bytes), length(shape.value_bytes)));
    for (name, bytes) in &shape.headers {
        out.push_str(&format!("header {}: {}\n", Value::from(plain(name)), length(*bytes)));
    }
    match &shape.paths {
        Some(paths) => {
            for (path, kinds) in paths {
                let kinds: Vec<&str> = kinds.iter().copied().collect();
                out.push_str(&format!("  {} {}\n", plain(path), kinds.join(" or ")));
            }
        }
        None if shape.value_bytes.is_some() => out.push_str("  the value is no JSON\n"),
        None => {}
    }
    if shape.more_paths {
        out.push_str("  and more paths\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_shown_in_the_region_of_the_source_only_or_across_the_border_by_name() {
        let allowed = |here: Option<&str>, source: Option<&str>, across: bool| {
            let own = |region: Option<&str>| region.map(str::to_owned);
            Regions { here: own(here), cluster: "a".to_owned(), source: own(source) }.check(across).is_ok()
        };
        assert!(allowed(Some("eu-1"), Some("eu-1"), false));
        for (here, source) in [(None, None), (Some("eu-1"), None), (None, Some("eu-1")), (Some("eu-1"), Some("us-1"))] {
            assert!(!allowed(here, source, false), "{here:?} {source:?}");
            assert!(allowed(here, source, true), "{here:?} {source:?}");
        }
    }
}
