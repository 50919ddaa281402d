//! Strait: one binary that moves records between Kafka clusters, through plugins.

mod admin;
mod board;
mod cli;
mod commands;
mod compiler;
mod compose;
mod heartbeats;
mod import;
mod load;
mod mask;
mod mask_forms;
mod plugin_memory;
mod reload;
mod report;
mod run;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use commands::End;

fn main() -> ExitCode {
    strait_kafka::tune_allocator();
    mask::panics();
    let cli = Cli::parse();
    let log = cli.log.as_deref();
    let end = match &cli.command {
        Command::Run(args) => commands::run::run(args, log, cli.log_format),
        Command::Check(args) => commands::check::check(args),
        Command::Status { at, output } => commands::status::status(at, *output),
        Command::Demo(args) => commands::demo::demo(args),
        Command::Config(command) => commands::config::config(command),
        Command::Plugin(command) => commands::plugin::plugin(command),
        Command::Acl(command) => commands::acl::acl(command),
        Command::Lanes(command) => commands::lanes::lanes(command),
        Command::Partitions(command) => commands::partitions::partitions(command),
        Command::Quarantine(command) => commands::quarantine::quarantine(command, log, cli.log_format),
        Command::Import(command) => commands::import::import(command),
        Command::Groups(command) => commands::groups::groups(command),
        Command::Offsets(command) => commands::offsets::offsets(command),
        Command::Plan(args) => commands::plan::plan(args),
        Command::CompilePlugin { cpu_s_max } => match compiler::compile(*cpu_s_max) {
            Ok(()) => End::Ok,
            Err(error) => commands::failed(&error),
        },
    };
    end.into()
}
