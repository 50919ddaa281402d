//! `strait quarantine list`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use strait_core::books::{BookKey, Booked, KeptAt};
use strait_kafka::{BooksRead, kept_sizes};

use super::{Sides, as_of, filter, records, state_of, time};
use crate::cli::Output;
use crate::cli::quarantine::ListRecords;
use crate::commands::status::{columns, plain};
use crate::commands::{End, REQUEST, block_on, failed, print, print_message, reached};

/// The size of each record that is listed, by its place.
type Sizes = BTreeMap<(i32, i64), usize>;

/// Runs the command.
pub fn list(args: &ListRecords) -> End {
    match try_list(args) {
        Ok(text) => print(&text),
        Err(end) => end,
    }
}

fn try_list(args: &ListRecords) -> Result<String, End> {
    let sides = Sides::of(&args.of.config, &args.of.link)?;
    let filter = filter(&args.of, None, state_of(&args.state));
    let name = &sides.link.name;
    let books = sides.books(filter)?;
    let limit = args.limit as usize;
    let places: Vec<KeptAt> = books.index.entries.values().take(limit).map(|booked| booked.entry.place).collect();
    // The books are on the target, so that a source that does not answer hides no list.
    let sizes = block_on(async { Ok::<_, String>(sizes(&sides, places).await) })?;
    let sizes = sizes.unwrap_or_else(|error| {
        print_message(&format!("the sizes are not known: {error}"));
        Sizes::new()
    });
    match args.output {
        Output::Text => Ok(text(name, &args.state, &books, &sizes, limit)),
        Output::Json => {
            serde_json::to_string_pretty(&as_json(name, &books, &sizes, limit)).map_err(|error| failed(&error))
        }
    }
}

async fn sizes(sides: &Sides, places: Vec<KeptAt>) -> Result<Sizes, String> {
    if places.is_empty() {
        return Ok(Sizes::new());
    }
    reached(&sides.source).await.map_err(|error| error.to_string())?;
    kept_sizes(&sides.source, &sides.link.name, places, REQUEST).await.map_err(|error| error.to_string())
}

fn text(link: &str, state: &str, books: &BooksRead, sizes: &Sizes, limit: usize) -> String {
    let entries = &books.index.entries;
    let state = if state == "all" { String::new() } else { format!(" {}", plain(state)) };
    let oldest = books.index.oldest_ms().map(|oldest| format!(", the oldest since {}", time(oldest)));
    let mut out = format!(
        "{}: {} in quarantine{state}{} ({})\n",
        plain(link),
        records(entries.len()),
        oldest.unwrap_or_default(),
        as_of(books)
    );
    if entries.is_empty() {
        return out;
    }
    let head =
        ["TOPIC", "PARTITION", "OFFSET", "STATE", "CODE", "PLUGIN", "RULE", "BYTES", "REFUSED", "KEPT AT", "CLOSED"];
    let rows: Vec<Vec<String>> = entries.iter().take(limit).map(|(key, booked)| row(key, booked, sizes)).collect();
    out.push('\n');
    out.push_str(&columns(&head, &rows));
    let more = entries.len().saturating_sub(limit);
    if more > 0 {
        out.push_str(&format!("and {more} more (--limit)\n"));
    }
    out
}

fn row(key: &BookKey, booked: &Booked, sizes: &Sizes) -> Vec<String> {
    let Booked { entry, closed, refused_ms, .. } = booked;
    let place = entry.place;
    let size = sizes.get(&(place.partition, place.offset.0));
    let closed = closed.as_ref().map(|closed| {
        let words = [closed.outcome.as_deref(), closed.reason.as_deref()];
        let words: Vec<&str> = words.into_iter().flatten().collect();
        format!("{} by {} {}", time(closed.at), closed.by, words.join(" "))
    });
    vec![
        plain(&key.partition.topic),
        key.partition.partition.to_string(),
        key.offset.to_string(),
        plain(entry.state.word()),
        plain(&entry.code),
        plain(&entry.plugin),
        entry.rule.as_deref().map_or_else(|| "-".to_owned(), plain),
        size.map_or_else(|| "-".to_owned(), ToString::to_string),
        refused_ms.map_or_else(|| "-".to_owned(), time),
        format!("{}/{}", place.partition, place.offset),
        closed.map(|closed| plain(closed.trim())).unwrap_or_default(),
    ]
}

fn as_json(link: &str, books: &BooksRead, sizes: &Sizes, limit: usize) -> Value {
    let entries =
        books.index.entries.iter().take(limit).map(|(key, Booked { entry, closed, written_ms, refused_ms })| {
            json!({
                "topic": &*key.partition.topic,
                "topic_id": key.partition.topic_id.to_string(),
                "partition": key.partition.partition,
                "offset": key.offset.0,
                "state": entry.state.word(),
                "code": &*entry.code,
                "plugin": &*entry.plugin,
                "rule": entry.rule.as_deref(),
                "generation": &*entry.generation,
                "border": entry.border,
                "bytes": sizes.get(&(entry.place.partition, entry.place.offset.0)),
                "refused_ms": refused_ms,
                "written_ms": written_ms,
                "kept_at": { "partition": entry.place.partition, "offset": entry.place.offset.0 },
                "closed": closed,
            })
        });
    let entries: Vec<Value> = entries.collect();
    json!({
        "link": link,
        "records": books.index.entries.len(),
        "oldest_ms": books.index.oldest_ms(),
        "unreadable": books.index.unreadable,
        "books": {
            "last_stable_offset": books.stable,
            "end_offset": books.end,
            "age_ms": u64::try_from(books.at.elapsed().as_millis()).unwrap_or(u64::MAX),
        },
        "entries": entries,
    })
}
