//! The links of a configuration at work: made, run side by side, stopped together.

pub mod bar;
pub mod catch_up;
mod clusters;
pub mod link;
pub mod names;
mod patience;
pub mod reload;
pub mod target_topics;

use std::sync::Arc;

use strait_core::config::Link;
use strait_flow::ports::{Clock, PortError};
use strait_flow::{LinkStatus, SystemClock};
use strait_host::{HostEngine, HostOptions};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::board::{Board, Phase};
use crate::compose;
use crate::load::Loaded;
use bar::Bars;
use catch_up::CatchUp;
use clusters::Clusters;
use link::{Planned, Prepared};
use patience::{Patience, Waits};
use reload::Reloads;

/// Why running did not end well; each was told already, or is the caller's to tell.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A cluster cannot be used.
    #[error(transparent)]
    Probe(#[from] strait_kafka::probe::ProbeError),
    /// A plugin does not load.
    #[error(transparent)]
    Plugin(#[from] strait_host::LoadError),
    /// The plugin engine does not start.
    #[error("the plugin engine does not start: {0}")]
    Engine(String),
    /// The plugins may need more memory than the process may give them.
    #[error("{0}")]
    PluginMemory(String),
    /// The link's own topics are not as they must be.
    #[error(transparent)]
    LinkTopics(#[from] strait_kafka::LinkTopicsError),
    /// Its lanes are being resized, or have been.
    #[error("link {link}: {reason}")]
    Resized {
        /// Which link.
        link: String,
        /// What its lanes say, and what to do.
        reason: String,
    },
    /// The admin API cannot be had where the configuration wants it.
    #[error(transparent)]
    Admin(#[from] crate::admin::AdminError),
    /// A cluster refused something for good.
    #[error(transparent)]
    Port(#[from] PortError),
    /// With `--until-caught-up`: partitions that stand still.
    #[error("link {link}: {count} of its partitions stand still and were not copied to the end: {partitions}")]
    Stopped {
        /// Which link.
        link: String,
        /// How many.
        count: usize,
        /// The first of them.
        partitions: String,
    },
    /// A link's task panicked.
    #[error("link {0} panicked: please report this as a bug")]
    Panicked(String),
}

impl RunError {
    /// Whether the configuration, or a plugin that it names, has to be changed before another try can go better.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::Plugin(_)
                | Self::PluginMemory(_)
                | Self::Admin(_)
                | Self::LinkTopics(strait_kafka::LinkTopicsError::Lanes { .. })
        )
    }
}

/// What a finished run did, per link.
pub type Summary = Vec<(String, Arc<LinkStatus>)>;

/// Runs every link until `stop`, or until all have caught up, and tells the board how they do. A link whose clusters do not
/// answer yet is waited for, while the others run.
///
/// # Errors
/// Every [`RunError`] that a link ended with; the others went on.
pub async fn run(
    loaded: &Arc<Loaded>,
    until_caught_up: bool,
    stop: CancellationToken,
    board: &Board,
) -> Result<Summary, Vec<RunError>> {
    let has_plugins = loaded.config.links.iter().any(|link| !link.plugins.is_empty());
    // Too many plugins are refused below, with the lanes that there are.
    let left_mib = compose::admit_plugins(&loaded.config, Link::lanes_to_create).unwrap_or(0);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let options = HostOptions {
        clock: Arc::clone(&clock),
        state_dir: has_plugins.then(|| loaded.state_dir()),
        remembering_bytes_max: usize::try_from(left_mib).unwrap_or(usize::MAX).saturating_mul(1 << 20),
        ..HostOptions::default()
    };
    let engine = HostEngine::with(options).map_err(|error| vec![RunError::Engine(error)])?;
    let planned = tokio::select! { biased;
        () = stop.cancelled() => return Ok(Vec::new()),
        planned = link::plan(loaded, &engine, &clock, board) => planned.map_err(|error| vec![error])?,
    };
    let slots = planned.iter().map(|link| (link.name().to_owned(), link.slot.clone())).collect();
    let reloads = Reloads::new(loaded, engine, clock, slots);
    board.give_reloads(reloads.clone());
    let summary: Summary = planned.iter().map(|link| (link.name().to_owned(), Arc::clone(&link.status))).collect();
    board.enter(Phase::Running);
    let clusters = Arc::new(Clusters::new(loaded));
    let mut bars = Bars::new(until_caught_up);
    let mut tasks = JoinSet::new();
    for link in planned {
        let (bar, link_stop, clusters) = (bars.add(link.name()), stop.child_token(), Arc::clone(&clusters));
        tasks.spawn(async move {
            let patience = if until_caught_up { Patience::Short } else { Patience::Endless };
            let prepared = tokio::select! { biased;
                () = link_stop.cancelled() => return (link.name().to_owned(), Ok(())),
                prepared = prepare(&link, &clusters, patience) => prepared,
            };
            let ended = match prepared {
                Err(error) => Err(error),
                Ok(prepared) if until_caught_up => run_until_caught_up(prepared, link_stop, bar).await,
                Ok(prepared) => run_link(prepared, link_stop).await,
            };
            (link.name().to_owned(), ended)
        });
    }
    let mut errors = Vec::new();
    let reloading = reloads.run();
    tokio::pin!(reloading);
    loop {
        let ended = tokio::select! {
            ended = tasks.join_next() => ended,
            () = &mut reloading => continue,
        };
        let Some(ended) = ended else { break };
        let error = match ended {
            Ok((_, Ok(()))) => continue,
            Ok((name, Err(error))) => {
                if let Some(link) = board.link(&name) {
                    link.ended(&error.to_string());
                }
                error
            }
            Err(error) => RunError::Panicked(error.to_string()),
        };
        // The other links go on; this one is told now, in case they go on for long.
        tracing::error!(%error, "a link has ended");
        errors.push(error);
    }
    if errors.is_empty() { Ok(summary) } else { Err(errors) }
}

async fn prepare(link: &Planned, clusters: &Clusters, patience: Patience) -> Result<Prepared, RunError> {
    let mut waits = Waits::begin(patience);
    loop {
        let error = match link.prepare(clusters).await {
            Err(error) => error,
            prepared => return prepared,
        };
        let Some(pause) = waits.after(&error) else { return Err(error) };
        tracing::warn!(link = link.name(), %error, again_s = pause.as_secs(), "the link cannot begin yet");
        link.told.waits(&error.to_string());
        tokio::time::sleep(pause).await;
    }
}

async fn run_link(mut link: Prepared, stop: CancellationToken) -> Result<(), RunError> {
    let target_topics = link.target_topics.take();
    let service = link.service()?;
    let keep = async {
        match target_topics {
            Some(mut target_topics) => target_topics.keep().await,
            None => std::future::pending().await,
        }
    };
    let running = service.run(stop);
    tokio::pin!(running, keep);
    tokio::select! {
        ended = &mut running => Ok(ended?),
        () = &mut keep => Ok(running.await?),
    }
}

async fn run_until_caught_up(mut link: Prepared, stop: CancellationToken, bar: bar::Bar) -> Result<(), RunError> {
    let mut catch_up = CatchUp::note(
        &link.name,
        link.spec.lanes,
        &*link.discovery,
        &*link.deps.connector,
        Arc::clone(&link.progress_by_now),
        Arc::clone(&link.deps.status),
    )
    .await?;
    let name = link.name.clone();
    let target_topics = link.target_topics.take();
    let service = link.service()?;
    let done = stop.child_token();
    let watch = async {
        let remaining = catch_up.reached(|remaining| bar.show(remaining)).await;
        if let Some(mut target_topics) = target_topics {
            // What the lanes had no record for.
            target_topics.make().await;
        }
        done.cancel();
        remaining
    };
    let (ran, remaining) = {
        let running = service.run(done.clone());
        tokio::pin!(running, watch);
        tokio::select! {
            // Ended by a signal or an error, before it caught up.
            ran = &mut running => (ran, None),
            remaining = &mut watch => (running.await, Some(remaining)),
        }
    };
    ran?;
    bar.finish();
    let stopped = remaining.map(|r| r.stopped).unwrap_or_default();
    if stopped.is_empty() {
        return Ok(());
    }
    let first: Vec<String> = stopped.iter().take(10).map(ToString::to_string).collect();
    Err(RunError::Stopped { link: name, count: stopped.len(), partitions: first.join(", ") })
}
