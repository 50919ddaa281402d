//! `strait quarantine discard`.

use std::sync::Arc;

use strait_core::books::{BookKey, BookState, Booked, Closing, StateFilter};
use strait_flow::SystemClock;
use strait_flow::ports::Clock as _;
use strait_kafka::ReplayJob;

use super::{Logging, Sides, as_of, filter, records};
use crate::cli::quarantine::DiscardRecords;
use crate::commands::partitions::user;
use crate::commands::{End, failed, print};

/// Entries of one transaction.
const ENTRIES_MAX: usize = 5_000;

/// Runs the command.
pub fn discard(args: &DiscardRecords, logging: &Logging<'_>) -> End {
    match try_discard(args, logging) {
        Ok(text) => print(&text),
        Err(end) => end,
    }
}

fn try_discard(args: &DiscardRecords, logging: &Logging<'_>) -> Result<String, End> {
    let sides = Sides::of(&args.of.config, &args.of.link)?;
    let (name, filter) = (&sides.link.name, filter(&args.of, Some(&args.offsets), StateFilter::Open));
    let none = || failed(&format!("no such record of link {name} is open in quarantine"));
    if !args.consent.yes {
        let books = sides.books(filter)?;
        let count = books.index.entries.len();
        if count == 0 {
            return Err(none());
        }
        return Ok(format!(
            "{} would be discarded ({}). Nothing was changed: add --yes to do it",
            records(count),
            as_of(&books)
        ));
    }
    logging.start(&sides.loaded)?;
    let spec = sides.job_spec()?;
    let mut job = ReplayJob::begin(spec, None).map_err(|error| failed(&error))?;
    let books = job.books(filter).map_err(|error| failed(&error))?;
    let closed = Closing {
        by: user().into(),
        at: SystemClock::start().unix_ms(),
        generation: None,
        outcome: None,
        reason: Some(Arc::from(args.reason.as_str())),
    };
    let close =
        |(key, booked): (&BookKey, &Booked)| (key.clone(), booked.closing(BookState::Discarded, closed.clone()));
    let entries: Vec<_> = books.index.entries.iter().map(close).collect();
    if entries.is_empty() {
        return Err(none());
    }
    for chunk in entries.chunks(ENTRIES_MAX) {
        job.close(chunk).map_err(|error| failed(&error))?;
    }
    tracing::info!(link = name, by = &*closed.by, records = entries.len(), "discarded records of the quarantine");
    Ok(format!("{} discarded. They stay in the quarantine topic until it is trimmed", records(entries.len())))
}
