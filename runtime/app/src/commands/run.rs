//! `strait run`.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{End, load, print_message};
use crate::admin::{self, AdminError};
use crate::board::{Board, Phase};
use crate::cli::{LogFormat, Run};
use crate::load::Loaded;
use crate::run::{self, RunError, Stop, Summary, Until};
use crate::telemetry;

/// How long librdkafka's last threads may take to end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long aborting may take once a second signal has come.
const ABORT_TIMEOUT: Duration = Duration::from_millis(1500);

/// Why a run ended badly.
enum ServeError {
    /// The admin API does not start.
    Admin(AdminError),
    /// Links ended with errors.
    Links(Vec<RunError>),
    /// A second signal ended the run before it had drained.
    Interrupted,
}

/// Runs the links until a signal, or until they have caught up.
#[must_use]
pub fn run(args: &Run, log: Option<&str>, log_format: Option<LogFormat>) -> End {
    let loaded = match load(&args.config) {
        Ok(mut loaded) => {
            loaded.only_records = args.read_only_metadata;
            Arc::new(loaded)
        }
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
    let interrupted = matches!(result, Err(ServeError::Interrupted));
    runtime.shutdown_timeout(if interrupted { Duration::ZERO } else { SHUTDOWN_TIMEOUT });
    match result {
        Ok(summary) => {
            report(&summary);
            End::Ok
        }
        Err(ServeError::Admin(error)) => {
            print_message(&format!("error: {error}"));
            End::BadConfig
        }
        Err(ServeError::Interrupted) => End::Interrupted,
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
    let board = Board::new(&loaded.config, loaded.mask());
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
    result
}

async fn copy(loaded: &Arc<Loaded>, until: Until, board: &Board) -> Result<Summary, ServeError> {
    let stop = Stop::default();
    let mut signals = Signals::listen();
    let running = run::run(loaded, until, stop.clone(), board);
    tokio::pin!(running);
    tokio::select! {
        result = &mut running => return result.map_err(ServeError::Links),
        () = signals.next() => {}
    }
    tracing::info!("stopping: what is in flight is committed first; a second signal aborts it");
    board.enter(Phase::Draining);
    stop.drain.cancel();
    tokio::select! {
        result = &mut running => return result.map_err(ServeError::Links),
        () = signals.next() => {}
    }
    tracing::warn!("stopping at once: open transactions are aborted, and the next run copies their records again");
    stop.abort.cancel();
    // What does not end by then is fenced by the next owner of its lane.
    tokio::time::timeout(ABORT_TIMEOUT, running).await.ok();
    Err(ServeError::Interrupted)
}

/// SIGINT and SIGTERM. Where they cannot be listened for, their default action ends the process,
/// which loses nothing.
pub struct Signals(Option<(Signal, Signal)>);

impl Signals {
    /// Starts to listen. No signal from now on is missed.
    #[must_use]
    pub fn listen() -> Self {
        Self(signal(SignalKind::interrupt()).ok().zip(signal(SignalKind::terminate()).ok()))
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) {
        let Some((interrupt, terminate)) = &mut self.0 else { return std::future::pending().await };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
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
