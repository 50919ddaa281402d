//! Measures Strait beside MirrorMaker 2, on the same brokers, in one run. `docs/benchmarks.md` has
//! the method.

mod cli;
mod error;
mod field;
mod host;
mod idle;
mod kafka;
mod latency;
mod line;
mod plugins;
mod preload;
mod probe;
mod replicator;
mod report;
mod stats;
mod stop;
mod throughput;
mod verify;
mod wan;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
