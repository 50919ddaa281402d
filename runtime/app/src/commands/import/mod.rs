//! `strait import …`.

mod takeover;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use super::{End, failed, print, print_message};
use crate::cli::import::{ImportCommand, ImportFile};
use crate::import::{FileError, Finding, Imported, Outcome, mirror_maker, strimzi, sums};

/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Translates the text of a file.
type Translate = fn(&[u8]) -> Result<Imported, FileError>;

/// Runs the command.
#[must_use]
pub fn import(command: &ImportCommand) -> End {
    let (args, translate): (_, Translate) = match command {
        ImportCommand::Mm2(args) => (args, mirror_maker),
        ImportCommand::Strimzi(args) => (args, strimzi),
    };
    match try_import(args, translate) {
        Ok(end) => end,
        Err(reason) => failed(&reason),
    }
}

fn try_import(args: &ImportFile, translate: Translate) -> Result<End, String> {
    let name = args.file.display();
    let size = std::fs::metadata(&args.file).map_err(|error| format!("cannot read {name}: {error}"))?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("{name} has {size} bytes, at most {FILE_BYTES_MAX} are read"));
    }
    let text = std::fs::read(&args.file).map_err(|error| format!("cannot read {name}: {error}"))?;
    let imported = translate(&text).map_err(|error| format!("{name}: {error}"))?;
    // What was refused may have been settled in it by hand.
    if let Some(path) = args.output.as_deref().filter(|path| args.take_over && path.exists()) {
        print_message(&format!("{} exists and is used as it is", path.display()));
        return Ok(takeover::take_over(path, &imported.mirrors, args.connector.as_deref()));
    }
    let end = match &args.output {
        None => print(&imported.toml),
        Some(path) => {
            write(path, &imported.toml)?;
            End::Ok
        }
    };
    imported.findings.iter().for_each(|finding| print_message(&line(finding)));
    let sums = sums(&imported.findings);
    let sum = |outcome| sums.get(&outcome).copied().unwrap_or(0);
    let (options, notes, refused) = (sum(Outcome::Option), sum(Outcome::Note), sum(Outcome::Refused));
    print_message(&format!("{options} options, {notes} notes, {refused} refused"));
    match (&args.output, imported.has_refusals()) {
        (Some(path), true) if args.take_over => {
            Err(format!("nothing was taken over: settle in {} what was refused, then run this again", path.display()))
        }
        (_, true) => Ok(End::Failed),
        (Some(path), false) if args.take_over => {
            Ok(takeover::take_over(path, &imported.mirrors, args.connector.as_deref()))
        }
        _ => Ok(end),
    }
}

fn write(path: &Path, toml: &str) -> Result<(), String> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let written = file.and_then(|mut file| file.write_all(toml.as_bytes()));
    written.map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn line(finding: &Finding) -> String {
    let place = match finding.line {
        0 => "not set".to_owned(),
        line => format!("line {line}"),
    };
    format!("{place}: {} -> {}: {}", finding.name, finding.outcome.word(), finding.text)
}
