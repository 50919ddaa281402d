//! `strait quarantine …`: lists, shows, replays and discards refused records.

mod discard;
mod judge;
mod lanes;
mod list;
mod replay;
mod show;
mod summary;
mod trim;

use std::sync::Arc;
use std::time::Duration;

use strait_core::books::{BookFilter, BookState, StateFilter};
use strait_core::config::Link;
use strait_kafka::{BooksRead, ClusterConfig, ReplaySpec, TargetTuning, read_books};

use super::{End, REQUEST, block_on, cluster_of, link_of, load, print_message, reach};
use crate::cli::quarantine::{Offsets, QuarantineCommand, RecordsOf};
use crate::cli::{ConfigFile, LogFormat};
use crate::load::Loaded;
use crate::telemetry;

/// Runs the command.
#[must_use]
pub fn quarantine(command: &QuarantineCommand, log: Option<&str>, format: Option<LogFormat>) -> End {
    let logging = Logging { log, format };
    match command {
        QuarantineCommand::List(args) => list::list(args),
        QuarantineCommand::Show(args) => show::show(args, &logging),
        QuarantineCommand::Replay(args) => replay::replay(args, &logging),
        QuarantineCommand::Discard(args) => discard::discard(args, &logging),
        QuarantineCommand::Trim(args) => trim::trim(args, &logging),
    }
}

/// How the command logs what it does.
struct Logging<'a> {
    log: Option<&'a str>,
    format: Option<LogFormat>,
}

impl Logging<'_> {
    /// Starts the log.
    ///
    /// # Errors
    /// [`End::BadConfig`]; the error is printed by then.
    fn start(&self, loaded: &Loaded) -> Result<(), End> {
        telemetry::start(self.log, self.format, &loaded.config).map_err(|error| {
            print_message(&error.to_string());
            End::BadConfig
        })
    }
}

/// A link and its clusters.
struct Sides {
    loaded: Loaded,
    link: Link,
    source: ClusterConfig,
    target: ClusterConfig,
}

impl Sides {
    fn of(config: &ConfigFile, link: &str) -> Result<Self, End> {
        let loaded = load(config)?;
        let link = link_of(&loaded, link)?.clone();
        let (source, target) = (cluster_of(&loaded, &link.source)?, cluster_of(&loaded, &link.target)?);
        Ok(Self { loaded, link, source, target })
    }

    /// Reads the books, once the target answers.
    fn books(&self, filter: BookFilter) -> Result<BooksRead, End> {
        reach(&self.target)?;
        block_on(read_books(&self.target, &self.link.name, filter, REQUEST))
    }

    /// Asks what the target can do. Returns the link for a job on its books.
    fn job_spec(&self) -> Result<ReplaySpec, End> {
        Ok(ReplaySpec {
            link: self.link.name.clone(),
            source: self.source.clone(),
            target: reach(&self.target)?,
            tuning: TargetTuning { request_timeout: REQUEST, ..TargetTuning::default() },
            timeout: REQUEST,
        })
    }
}

/// Returns the entries that a command is about.
fn filter(of: &RecordsOf, offsets: Option<&Offsets>, state: StateFilter) -> BookFilter {
    BookFilter {
        topic: of.topic.as_deref().map(Arc::from),
        partition: of.partition,
        offsets: offsets.map(|offsets| offsets.offsets.clone()).unwrap_or_default(),
        code: of.code.as_deref().map(Arc::from),
        state,
    }
}

fn state_of(word: &str) -> StateFilter {
    match word {
        "all" => StateFilter::Any,
        "open" => StateFilter::Open,
        word => StateFilter::Is(BookState::from(Arc::<str>::from(word))),
    }
}

/// Returns how old the books are, and what of them is left out.
fn as_of(books: &BooksRead) -> String {
    let mut text = format!("as of offset {} of the books, read {:.1} s ago", books.stable, seconds(books.at.elapsed()));
    let undecided = books.end - books.stable;
    if undecided > 0 {
        text.push_str(&format!("; {undecided} offsets behind it belong to transactions that are not decided"));
    }
    if books.index.unreadable > 0 {
        text.push_str(&format!(
            "; {} entries cannot be read, and are left out: does a newer strait run the link?",
            books.index.unreadable
        ));
    }
    text
}

fn seconds(age: Duration) -> f64 {
    age.as_secs_f64()
}

/// Returns a time in milliseconds since the Unix epoch as text.
fn time(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms / 1_000 * 1_000).map_or_else(|_| "-".to_owned(), |time| time.to_string())
}

/// Returns "1 record", "2 records".
fn records(count: usize) -> String {
    if count == 1 { "1 record".to_owned() } else { format!("{count} records") }
}
