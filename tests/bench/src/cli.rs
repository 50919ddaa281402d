use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tokio::runtime::Builder;

use crate::error::BenchError;
use crate::field::{Results, Settings};
use crate::line::{Line, Machine};
use crate::replicator::System;
use crate::{host, idle, latency, plugins, report, stop, throughput, wan};

/// Strait beside MirrorMaker 2, on the same brokers, in one run. Without a command: throughput and
/// CPU per record.
#[derive(Debug, Parser)]
#[command(name = "./dev bench")]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    sizes: Sizes,
}

#[derive(Debug, Args)]
struct Common {
    /// Runs of each system [default: throughput 5, wan and latency 1]
    #[arg(long, global = true)]
    runs: Option<usize>,
    /// Append results as JSON lines, for `report`
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Few records, one run: whether it works, not how fast it is
    #[arg(long, global = true)]
    quick: bool,
    /// The replicators to compare, separated by commas [default: what the command is about]
    #[arg(long, global = true, value_delimiter = ',')]
    systems: Vec<System>,
    /// The binary under test [default: beside this one]
    #[arg(long, global = true, value_name = "FILE")]
    strait: Option<PathBuf>,
    /// Another build of Strait to compare with: adds the system strait-before
    #[arg(long, global = true, value_name = "FILE")]
    before: Option<PathBuf>,
    /// One more line of Strait's `[[links]]`, e.g. 'lanes = 1'; may be repeated
    #[arg(long, global = true, value_name = "LINE")]
    link: Vec<String>,
    /// Folder of the brokers' data [default: the system's temporary folder]
    #[arg(long, global = true, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Sizes {
    /// Records with values of 1000 bytes; 0 leaves them out
    #[arg(long, default_value_t = 2_000_000)]
    records_1000: u64,
    /// Records with values of 100 bytes; 0 leaves them out
    #[arg(long, default_value_t = 6_000_000)]
    records_100: u64,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The time until a reader of committed records on the target sees a record
    Latency {
        #[arg(long, default_value_t = 1000)]
        records_s: u64,
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        #[arg(long, default_value_t = 15)]
        warm_up_s: u64,
    },
    /// Copying over a long line
    Wan {
        /// Round trip in milliseconds
        #[arg(long, default_value_t = 80)]
        round_trip_ms: u64,
        /// TCP windows of each connection and direction in KiB, separated by commas; 0 is none, 100
        /// what Kafka's default buffers give
        #[arg(long, default_values_t = [0, 100, 4096], value_delimiter = ',', value_name = "KIB")]
        windows: Vec<u64>,
        /// Records to have at the source; a window ends with them
        #[arg(long, default_value_t = 4_000_000)]
        records: u64,
        /// Length of the window
        #[arg(long, default_value_t = 25)]
        seconds: u64,
    },
    /// Thousands of partitions with next to nothing to do
    Idle {
        #[arg(long, default_value_t = 40)]
        topics: usize,
        /// Partitions of each
        #[arg(long, default_value_t = 100)]
        partitions: i32,
        /// Records per second over all of them
        #[arg(long, default_value_t = 10)]
        records_s: u32,
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
    /// The cost of plugins per record: bundled ones and the example in each language, without
    /// brokers, and a link with a plugin beside one without
    Plugins {
        /// Duration of each measurement
        #[arg(long, default_value_t = 3)]
        seconds: u64,
        /// Folder in which the examples are built
        #[arg(long, value_name = "FOLDER", default_value = ".cache/bench-plugins")]
        folder: PathBuf,
    },
    /// Print a result file as Markdown
    Report { file: PathBuf },
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Latency { .. } => "./dev bench latency",
            Self::Wan { .. } => "./dev bench wan",
            Self::Idle { .. } => "./dev bench idle",
            Self::Plugins { .. } => "./dev bench plugins",
            Self::Report { .. } => "./dev bench report",
        }
    }
}

/// Does what the command line says.
///
/// # Errors
/// An error that ends the benchmark.
pub fn run(cli: Cli) -> Result<(), BenchError> {
    if let Some(Command::Report { file }) = &cli.command {
        print!("{}", report::markdown(&report::read(file)?));
        return Ok(());
    }
    let settings = settings(&cli)?;
    if let Some(Command::Plugins { seconds, folder }) = &cli.command {
        plugins::run(&settings.strait, folder, if cli.common.quick { 1 } else { *seconds })?;
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(BenchError::io("starting the runtime"))?;
    let signals = stop::listen(&runtime)?;
    let mut results = Results::new(open(cli.common.json.as_ref())?);
    let machine = machine(&cli);
    eprintln!(
        "{}: {} cores ({}), {} GiB, load average {:.2}",
        machine.command, machine.cores, machine.cpu, machine.memory_gib, machine.load
    );
    results.add(Line::Machine(machine))?;
    let outcome = dispatch(&cli, &runtime, &settings, &mut results);
    signals.abort();
    print!("{}", report::markdown(&results.lines));
    outcome
}

fn dispatch(
    cli: &Cli,
    runtime: &tokio::runtime::Runtime,
    settings: &Settings,
    results: &mut Results,
) -> Result<(), BenchError> {
    let quick = cli.common.quick;
    let rounds = |usual| cli.common.runs.unwrap_or(if quick { 1 } else { usual });
    let seconds = |usual, quickly| Duration::from_secs(if quick { quickly } else { usual });
    match &cli.command {
        None => {
            let few = |records: u64, most: u64| if quick { records.min(most) } else { records };
            let mut sizes =
                vec![(1000, few(cli.sizes.records_1000, 200_000)), (100, few(cli.sizes.records_100, 600_000))];
            sizes.retain(|(_, records)| *records > 0);
            throughput::run(runtime, settings, &sizes, rounds(5), results)
        }
        Some(Command::Latency { records_s, seconds: window, warm_up_s }) => {
            let (warm_up, window) = (seconds(*warm_up_s, 3), seconds(*window, 5));
            let plan = latency::Plan { records_s: *records_s, value_bytes: 1000, warm_up, window, rounds: rounds(1) };
            latency::run(runtime, settings, plan, results)
        }
        Some(Command::Wan { round_trip_ms, windows, records, seconds: window }) => {
            let plan = wan::Plan {
                one_way: Duration::from_millis(round_trip_ms / 2),
                tcp_windows_kib: windows.clone(),
                records: if quick { 400_000 } else { *records },
                value_bytes: 1000,
                warm_up: seconds(5, 0),
                window: seconds(*window, 5),
                rounds: rounds(1),
            };
            wan::run(runtime, settings, &plan, results)
        }
        Some(Command::Idle { topics, partitions, records_s, seconds: window }) => {
            let plan = idle::Plan {
                topics: if quick { 4 } else { *topics },
                partitions: *partitions,
                records_s: *records_s,
                settle: seconds(20, 3),
                window: seconds(*window, 5),
            };
            idle::run(runtime, settings, plan, results)
        }
        Some(Command::Plugins { .. }) => {
            let records = if quick { 200_000 } else { cli.sizes.records_1000 };
            throughput::run(runtime, settings, &[(1000, records)], rounds(3), results)
        }
        Some(Command::Report { .. }) => Ok(()),
    }
}

fn settings(cli: &Cli) -> Result<Settings, BenchError> {
    let strait = match &cli.common.strait {
        Some(path) => path.clone(),
        None => std::env::current_exe().map_err(BenchError::io("finding this program"))?.with_file_name("strait"),
    };
    let mut systems = cli.common.systems.clone();
    if systems.is_empty() {
        systems = match cli.command {
            None => vec![System::Mm2Tuned, System::StraitEos, System::StraitFilter, System::StraitAlo],
            Some(Command::Plugins { .. }) => vec![System::StraitEos, System::StraitFilter],
            Some(Command::Idle { .. }) => vec![System::StraitEos, System::StraitAlo, System::Mm2Default],
            Some(_) => vec![System::Mm2Tuned, System::StraitEos, System::Mm2Default, System::StraitAlo],
        };
    }
    let before = cli.common.before.clone();
    if before.is_some() && !systems.contains(&System::StraitBefore) {
        systems.push(System::StraitBefore);
    }
    let is_used = |system: &System| system.is_strait() && *system != System::StraitBefore;
    let mut binaries = systems.iter().any(is_used).then_some(&strait).into_iter().chain(&before);
    if let Some(path) = binaries.find(|path| !path.exists()) {
        return Err(BenchError::NoStrait { path: path.clone() });
    }
    if systems.contains(&System::StraitBefore) && before.is_none() {
        return Err(BenchError::NoBefore);
    }
    Ok(Settings { strait, before, link_lines: cli.common.link.clone(), base_dir: cli.common.data.clone(), systems })
}

fn open(path: Option<&PathBuf>) -> Result<Option<File>, BenchError> {
    let Some(path) = path else {
        return Ok(None);
    };
    let file = File::options().create(true).append(true).open(path);
    file.map(Some).map_err(BenchError::io(format!("opening {}", path.display())))
}

fn machine(cli: &Cli) -> Machine {
    let (cpu, memory_gib) = host::hardware();
    let command = cli.command.as_ref().map_or("./dev bench", Command::name).to_owned();
    Machine { command, cores: host::cores(), cpu, memory_gib, load: host::load() }
}
