//! `strait run`.

use std::io::IsTerminal;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{End, load, say};
use crate::admin;
use crate::admin::board::{Board, Phase};
use crate::cli::Run;
use crate::load::Loaded;
use crate::run::{self, RunError, Summary};
use crate::telemetry;

/// Runs the links until a signal, or until they have caught up.
#[must_use]
pub fn run(args: &Run, log: Option<&str>, log_format: Option<crate::cli::LogFormat>) -> End {
    let loaded = match load(&args.config) {
        Ok(loaded) => Arc::new(loaded),
        Err(end) => return end,
    };
    if let Err(error) = telemetry::start(log, log_format, &loaded.config) {
        say(&error);
        return End::BadConfig;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("cannot start: {error}"));
            return End::Failed;
        }
    };
    let result = runtime.block_on(serve(&loaded, args.until_caught_up));
    // librdkafka's last threads end by themselves; nothing of ours is waited for beyond this.
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    match result {
        Ok(summary) => {
            tell(&summary);
            End::Ok
        }
        Err(errors) => {
            for error in &errors {
                say(&format!("error: {error}"));
            }
            if errors.iter().all(RunError::is_configuration) { End::BadConfig } else { End::Failed }
        }
    }
}

/// Runs the links, and beside them the admin API, which answers to the very end: a drain is watched too.
async fn serve(loaded: &Arc<Loaded>, until_caught_up: bool) -> Result<Summary, Vec<RunError>> {
    let board = Board::new(&loaded.config);
    let admin = admin::bind(&loaded.config.admin, Arc::clone(&board)).await;
    let admin = admin.map_err(|error| vec![error.into()])?;
    let stop_admin = CancellationToken::new();
    let answering = async {
        match admin {
            Some(server) => server.run(stop_admin.clone()).await,
            None => stop_admin.cancelled().await,
        }
    };
    let copying = async {
        let result = copy(loaded, until_caught_up, &board).await;
        stop_admin.cancel();
        result
    };
    let (result, ()) = tokio::join!(copying, answering);
    result
}

async fn copy(loaded: &Arc<Loaded>, until_caught_up: bool, board: &Board) -> Result<Summary, Vec<RunError>> {
    let stop = CancellationToken::new();
    let running = run::run(loaded, until_caught_up, stop.clone(), board);
    tokio::pin!(running);
    tokio::select! {
        result = &mut running => result,
        () = signalled() => {
            tracing::info!("stopping: what is in flight is committed first");
            board.enter(Phase::Draining);
            stop.cancel();
            running.await
        }
    }
}

/// Waits for SIGINT or SIGTERM. Where they cannot be listened for, the default action ends the process, which loses nothing.
pub async fn signalled() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn tell(summary: &Summary) {
    for (link, status) in summary {
        let totals = status.totals();
        tracing::info!(
            link,
            records_read = totals.records_read,
            records_written = totals.records_written,
            records_dropped = totals.records_dropped,
            records_quarantined = totals.records_quarantined,
            bytes_written = totals.bytes_written,
            transactions = totals.transactions,
            lane_restarts = totals.lane_restarts,
            "link ended"
        );
        if std::io::stderr().is_terminal() {
            say(&format!(
                "{link}: {} records copied, {} left out by plugins",
                totals.records_written, totals.records_dropped
            ));
        }
    }
}
