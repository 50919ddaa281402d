//! `strait quarantine …`

use std::ops::RangeInclusive;

use clap::{Args, Subcommand};

use super::{ConfigFile, Output};

/// `strait quarantine …`
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// List refused records: where each is from, why, and where it is kept. No key and no value.
    List(ListRecords),
    /// Show the shape of a refused record: header names, lengths, JSON paths and types.
    Show(ShowRecord),
    /// Copy refused records after all, once their cause is mended.
    ///
    /// Reads them from the source, judges them by the plugins of the configuration and writes them
    /// to the target, each once and in source order, behind what is there already. The link may
    /// run. Interrupted, run it again.
    Replay(ReplayRecords),
    /// Close entries of records that are not needed. Nothing is deleted.
    Discard(DiscardRecords),
    /// Delete records of the quarantine topic up to the first one that is still open.
    Trim(TrimRecords),
}

/// Refused records of a link.
#[derive(Clone, Debug, Args)]
pub struct RecordsOf {
    /// Name of the link.
    #[arg(value_name = "LINK")]
    pub link: String,
    /// Only those of this source topic.
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
    /// Only those of this source partition.
    #[arg(long, value_name = "N", requires = "topic", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,
    /// Only those refused for this reason.
    #[arg(long, value_name = "CODE")]
    pub code: Option<String>,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// Whether a command changes something.
#[derive(Clone, Copy, Debug, Args)]
pub struct Consent {
    /// Do it. Without this the command only says what it would do.
    #[arg(long)]
    pub yes: bool,
    /// Only say what would be done.
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
}

/// Source offsets.
#[derive(Clone, Debug, Args)]
pub struct Offsets {
    /// Only these source offsets, as in 5,7-9.
    #[arg(long, value_name = "OFFSETS", requires = "partition", value_delimiter = ',', value_parser = range)]
    pub offsets: Vec<RangeInclusive<i64>>,
}

/// The arguments of `strait quarantine list`.
#[derive(Debug, Args)]
pub struct ListRecords {
    /// The records.
    #[command(flatten)]
    pub of: RecordsOf,
    /// Only those in this state: open, replayed, discarded, all, or a word that a newer version
    /// writes.
    #[arg(long, value_name = "STATE", default_value = "open")]
    pub state: String,
    /// Most records that are listed. All are counted.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    /// How to print them.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

/// The arguments of `strait quarantine show`.
#[derive(Debug, Args)]
pub struct ShowRecord {
    /// Name of the link.
    #[arg(value_name = "LINK")]
    pub link: String,
    /// Source topic.
    #[arg(value_name = "TOPIC")]
    pub topic: String,
    /// Source partition.
    #[arg(value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: i32,
    /// Source offset.
    #[arg(value_name = "OFFSET", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(0..))]
    pub offset: i64,
    /// Print the record itself: key, value and headers. It is logged who did that. Only with
    /// show_records = true in the admin section of the configuration, and only where the region of
    /// the configuration is the source cluster's.
    #[arg(long)]
    pub show_records: bool,
    /// Print it in another region than the source cluster's too, or where a region is not set.
    #[arg(long, requires = "show_records")]
    pub across_border: bool,
    /// How to print it.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// The arguments of `strait quarantine replay`.
#[derive(Debug, Args)]
pub struct ReplayRecords {
    /// The records.
    #[command(flatten)]
    pub of: RecordsOf,
    /// The source offsets.
    #[command(flatten)]
    pub offsets: Offsets,
    /// End before the first record that is refused again, instead of leaving it open.
    #[arg(long)]
    pub stop_at_reject: bool,
    /// Replay into compacted topics and through stateful plugins too: an older value then lands
    /// behind newer ones.
    #[arg(long)]
    pub accept_late: bool,
    /// Whether to do it.
    #[command(flatten)]
    pub consent: Consent,
}

/// The arguments of `strait quarantine discard`.
#[derive(Debug, Args)]
pub struct DiscardRecords {
    /// The records.
    #[command(flatten)]
    pub of: RecordsOf,
    /// The source offsets.
    #[command(flatten)]
    pub offsets: Offsets,
    /// Why they are not needed. It is stored on the target, so it must hold no data of records.
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub reason: String,
    /// Whether to do it.
    #[command(flatten)]
    pub consent: Consent,
}

/// The arguments of `strait quarantine trim`.
#[derive(Debug, Args)]
pub struct TrimRecords {
    /// Name of the link.
    #[arg(value_name = "LINK")]
    pub link: String,
    /// Keep what was written within so many last seconds, whatever its state.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    pub keep_s: u32,
    /// Whether to do it.
    #[command(flatten)]
    pub consent: Consent,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
}

fn range(text: &str) -> Result<RangeInclusive<i64>, String> {
    let number = |text: &str| text.trim().parse::<i64>().ok().filter(|number| *number >= 0);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err("write an offset, or a first and a last one as in 7-9".to_owned()),
    }
}

/// Most bytes of a reason.
const REASON_BYTES_MAX: usize = 500;

fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.len() > REASON_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(format!("write 1 to {REASON_BYTES_MAX} bytes on one line"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_reasons_are_checked() {
        assert_eq!((range("5"), range("7-9")), (Ok(5..=5), Ok(7..=9)));
        for text in ["", "-", "a", "9-7", "-1", "1-2-3", "1-"] {
            assert!(range(text).is_err(), "{text}");
        }
        assert_eq!(reason(" a test record "), Ok("a test record".to_owned()));
        for text in ["", " ", "two\nlines", &"x".repeat(501)] {
            assert!(reason(text).is_err(), "{text}");
        }
    }
}
