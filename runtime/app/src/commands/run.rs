//! `strait run`.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{End, load, print_message};
use crate::admin::{self, AdminError};
use crate::board::{Board, Phase};
use crate::cli::{LogFormat, Run};
use crate::load::Loaded;
use crate::run::{self, RunError, Summary, Until};
use crate::telemetry;

/// How long librdkafka's last threads may take to end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a run ended badly.
enum ServeError {
    /// The admin API does not start.
    Admin(AdminError),
    /// Links ended with errors.
    Links(Vec<RunError>),
}

/// Runs the links until a signal, or until they have caught up.
#[must_use]
pub fn run(args: &Run, log: Option<&str>, log_format: Option<LogFormat>) -> End {
    let loaded = match load(&args.config) {
        Ok(loaded) => Arc::new(loaded),
        Err(end) => return end,
    };
    if let Err(error) = telemetry::start(log, log_format, &loaded.config) {
        print_message(&error.to_string());
        return End::BadConfig;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            print_message(&format!("cannot start: {error}"));
            return End::Failed;
        }
    };
    let until = if args.until_caught_up { Until::CaughtUp } else { Until::Stopped };
    let result = runtime.block_on(serve(&loaded, until));
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    match result {
        Ok(summary) => {
            report(&summary);
            End::Ok
        }
        Err(ServeError::Admin(error)) => {
            print_message(&format!("error: {error}"));
            End::BadConfig
        }
        Err(ServeError::Links(errors)) => {
            for error in &errors {
                print_message(&format!("error: {error}"));
            }
            if errors.iter().all(RunError::is_configuration) { End::BadConfig } else { End::Failed }
        }
    }
}

/// Runs the links and the admin API beside them. The API answers to the very end, so that a drain
/// can be watched.
async fn serve(loaded: &Arc<Loaded>, until: Until) -> Result<Summary, ServeError> {
    let board = Board::new(&loaded.config);
    let admin = admin::bind(&loaded.config.admin, Arc::clone(&board)).await.map_err(ServeError::Admin)?;
    let stop_admin = CancellationToken::new();
    let answering = async {
        match admin {
            Some(server) => server.run(stop_admin.clone()).await,
            None => stop_admin.cancelled().await,
        }
    };
    let copying = async {
        let result = copy(loaded, until, &board).await;
        stop_admin.cancel();
        result
    };
    let (result, ()) = tokio::join!(copying, answering);
    result.map_err(ServeError::Links)
}

async fn copy(loaded: &Arc<Loaded>, until: Until, board: &Board) -> Result<Summary, Vec<RunError>> {
    let stop = CancellationToken::new();
    let running = run::run(loaded, until, stop.clone(), board);
    tokio::pin!(running);
    tokio::select! {
        result = &mut running => result,
        () = stop_signal() => {
            tracing::info!("stopping: what is in flight is committed first");
            board.enter(Phase::Draining);
            stop.cancel();
            running.await
        }
    }
}

/// Waits for SIGINT or SIGTERM. Where they cannot be listened for, their default action ends the
/// process, which loses nothing.
pub async fn stop_signal() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn report(summary: &Summary) {
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
            print_message(&format!(
                "{link}: {} records copied, {} dropped by plugins",
                totals.records_written, totals.records_dropped
            ));
        }
    }
}
