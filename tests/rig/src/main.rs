//! Runs a throw-away Kafka cluster: `./dev kafka up`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use strait_test_cluster::{Cluster, ClusterError, ClusterSpec, KafkaJars, archive_classes};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(name = "strait-test-cluster", about = "Kafka clusters for tests, benchmarks and demos")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Throw-away Kafka clusters
    Kafka {
        #[command(subcommand)]
        command: Kafka,
    },
}

#[derive(Subcommand)]
enum Kafka {
    /// Make the class archive that test brokers start faster from
    Archive,
    /// Run a cluster until Ctrl-C; its data is removed at the end
    Up {
        /// How many brokers, 1 to 3
        #[arg(long, default_value_t = 1)]
        brokers: usize,
        /// Heap of each broker in MiB
        #[arg(long, default_value_t = 512)]
        heap_mb: u32,
        /// Name of the cluster
        #[arg(long, default_value = "local")]
        name: String,
    },
}

fn main() -> ExitCode {
    let Command::Kafka { command } = Cli::parse().command;
    let ran = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ClusterError::Io { what: "starting the runtime".into(), error })
        .and_then(|runtime| runtime.block_on(run(command)));
    if let Err(error) = ran {
        eprintln!("strait-test-cluster: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn run(command: Kafka) -> Result<(), ClusterError> {
    match command {
        Kafka::Archive => archive_classes(&KafkaJars::locate()?).await,
        Kafka::Up { brokers, heap_mb, name } => {
            up(ClusterSpec { heap_mb, ..ClusterSpec::new(name).with_brokers(brokers) }).await
        }
    }
}

async fn up(spec: ClusterSpec) -> Result<(), ClusterError> {
    let listen = |kind| signal(kind).map_err(|error| ClusterError::Io { what: "listening for signals".into(), error });
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    eprintln!("starting {} broker(s) ...", spec.brokers);
    let cluster = tokio::select! {
        cluster = Cluster::start(spec) => cluster?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    println!("bootstrap.servers={}", cluster.bootstrap());
    eprintln!("logs in {}; Ctrl-C ends it", cluster.folder().display());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
