//! `strait import …`.

use std::fs::OpenOptions;
use std::io::Write as _;

use super::{End, failed, print, print_message};
use crate::cli::import::{ImportCommand, ImportFile};
use crate::import::{Finding, Outcome, mirror_maker, sums};

/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Runs the command.
#[must_use]
pub fn import(command: &ImportCommand) -> End {
    let ImportCommand::Mm2(args) = command;
    match try_import(args) {
        Ok(end) => end,
        Err(reason) => failed(&reason),
    }
}

fn try_import(args: &ImportFile) -> Result<End, String> {
    let name = args.file.display();
    let size = std::fs::metadata(&args.file).map_err(|error| format!("cannot read {name}: {error}"))?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("{name} has {size} bytes, at most {FILE_BYTES_MAX} are read"));
    }
    let text = std::fs::read(&args.file).map_err(|error| format!("cannot read {name}: {error}"))?;
    let imported = mirror_maker(&text).map_err(|error| format!("{name}: {error}"))?;
    let end = match &args.output {
        None => print(&imported.toml),
        Some(path) => {
            let file = OpenOptions::new().write(true).create_new(true).open(path);
            let written = file.and_then(|mut file| file.write_all(imported.toml.as_bytes()));
            written.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
            End::Ok
        }
    };
    imported.findings.iter().for_each(|finding| print_message(&line(finding)));
    let sums = sums(&imported.findings);
    let sum = |outcome| sums.get(&outcome).copied().unwrap_or(0);
    let (options, notes, refused) = (sum(Outcome::Option), sum(Outcome::Note), sum(Outcome::Refused));
    print_message(&format!("{options} options, {notes} notes, {refused} refused"));
    Ok(if imported.has_refusals() { End::Failed } else { end })
}

fn line(finding: &Finding) -> String {
    let place = match finding.line {
        0 => "not set".to_owned(),
        line => format!("line {line}"),
    };
    format!("{place}: {} -> {}: {}", finding.name, finding.outcome.word(), finding.text)
}
