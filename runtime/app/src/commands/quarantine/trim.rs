//! `strait quarantine trim`.

use strait_core::books::{BookFilter, StateFilter};
use strait_flow::SystemClock;
use strait_flow::ports::Clock as _;
use strait_kafka::{Trimmed, trim_quarantine};

use super::{Logging, Sides, as_of};
use crate::cli::quarantine::TrimRecords;
use crate::commands::{End, REQUEST, block_on, failed, print, reach};

/// Runs the command.
pub fn trim(args: &TrimRecords, logging: &Logging<'_>) -> End {
    match try_trim(args, logging) {
        Ok(text) => print(&text),
        Err(end) => end,
    }
}

fn try_trim(args: &TrimRecords, logging: &Logging<'_>) -> Result<String, End> {
    let sides = Sides::of(&args.config, &args.link)?;
    if args.consent.yes {
        logging.start(&sides.loaded)?;
    }
    let name = &sides.link.name;
    let filter = BookFilter { state: StateFilter::NotClosed, ..BookFilter::default() };
    let books = sides.books(filter)?;
    if books.index.unreadable > 0 {
        let text = format!(
            "{} entries of the books cannot be read, and their records may still be needed: nothing is deleted; use the version of strait that runs the link",
            books.index.unreadable
        );
        return Err(failed(&text));
    }
    let before_ms = SystemClock::start().unix_ms().saturating_sub(i64::from(args.keep_s).saturating_mul(1_000));
    let points = books.index.trim_points();
    reach(&sides.source)?;
    let trimmed = trim_quarantine(&sides.source, name, points, before_ms, args.consent.yes, REQUEST);
    let trimmed: Vec<Trimmed> = block_on(trimmed)?;
    if trimmed.is_empty() {
        return Ok(format!(
            "nothing to delete: no closed record lies before the first open one and is older than {} s ({})",
            args.keep_s,
            as_of(&books)
        ));
    }
    let lines = trimmed.iter().map(|Trimmed { partition, from, to }| {
        format!("partition {partition} of the quarantine topic: offsets {from} to {}", to - 1)
    });
    let lines = lines.collect::<Vec<_>>().join("\n");
    Ok(match args.consent.yes {
        true => {
            tracing::info!(link = name, by = crate::commands::partitions::user(), "trimmed the quarantine topic");
            format!("deleted, for good:\n{lines}")
        }
        false => {
            format!("would be deleted, for good ({}):\n{lines}\nNothing was changed: add --yes to do it", as_of(&books))
        }
    })
}
