//! Runs the links of a configuration side by side.
//!
//! [`run`] builds the engine and the links, spawns a task per link, and joins them. A link first
//! waits for its clusters ([`startup_retry`]); the others run meanwhile.

mod border_copies;
mod catch_up;
mod clusters;
mod error;
pub mod link;
pub mod loops;
mod progress_bar;
mod reading;
mod roll;
mod rolled_back;
mod rotation;
mod startup_retry;
pub mod target_topics;
pub mod topic_collisions;
mod tuning;
pub mod works;

use std::sync::Arc;
use std::task::Poll;

use strait_core::{Event, Outage};
use strait_flow::ports::{Clock, Discovery, EventSink as _, SourceTopics};
use strait_flow::{LOGIN_RETRY, LinkStatus, SystemClock};
use strait_host::{HostEngine, HostOptions};
use strait_kafka::access::Access;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::board::{Board, Phase};
use crate::compiler::own_process;
use crate::load::Loaded;
use crate::plugin_memory::PluginMemory;
use crate::reload::Reloads;
use catch_up::CatchUp;
use clusters::Clusters;
pub use error::{RunError, WITHOUT_IDEMPOTENCE, without_transactions};
use link::{Planned, Prepared};
use progress_bar::{Bar, Bars};
use rotation::Rotation;
use startup_retry::{Patience, StartupRetry};

/// The figures of each link at the end of a run.
pub type Summary = Vec<(String, Arc<LinkStatus>)>;

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// When it is stopped.
    Stopped,
    /// When every link has copied what its source held at the start, or when it is stopped.
    CaughtUp,
}

/// Ends a run.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Commits what is in flight, then ends.
    pub drain: CancellationToken,
    /// Aborts what a drain has not committed yet.
    pub abort: CancellationToken,
}

impl Stop {
    /// Returns one that this one ends too.
    fn child(&self) -> Self {
        Self { drain: self.drain.child_token(), abort: self.abort.child_token() }
    }
}

/// Runs every link until `stop` or `until`, and keeps the board up to date.
///
/// A link whose clusters do not answer yet is retried while the others run.
///
/// # Errors
/// The [`RunError`] of every link that ended with one. The other links went on.
pub async fn run(loaded: &Arc<Loaded>, until: Until, stop: Stop, board: &Board) -> Result<Summary, Vec<RunError>> {
    let built = tokio::select! { biased;
        () = stop.drain.cancelled() => return Ok(Vec::new()),
        built = build(loaded, board, until) => built.map_err(|error| vec![error])?,
    };
    let summary: Summary = built.links.iter().map(|link| (link.name().to_owned(), Arc::clone(&link.status))).collect();
    board.set_plugin_control(Arc::new(built.reloads.clone()));
    board.enter(Phase::Running);
    let clusters = Arc::new(Clusters::new(loaded, built.memory, board));
    warn_of_exposed(loaded);
    let rotation = Rotation::new(loaded, &clusters, board);
    let tasks = spawn(built.links, &clusters, until, &stop);
    let errors = join(tasks, &built.reloads, rotation, board).await;
    if errors.is_empty() { Ok(summary) } else { Err(errors) }
}

/// Warns of connections that anybody on the way can read.
fn warn_of_exposed(loaded: &Loaded) {
    for (name, cluster) in loaded.config.clusters.iter().filter(|(_, cluster)| cluster.is_exposed()) {
        tracing::warn!(
            cluster = name,
            "the connections are not encrypted ({}): anybody on the network can read and change the records; set \
             security.protocol to SSL or SASL_SSL",
            cluster.protocol()
        );
    }
}

/// All that exists before the first request to a cluster.
struct Built {
    memory: Arc<PluginMemory>,
    reloads: Reloads,
    links: Vec<Planned>,
}

async fn build(loaded: &Arc<Loaded>, board: &Board, until: Until) -> Result<Built, RunError> {
    let has_plugins = loaded.config.links.iter().any(|link| !link.plugins.is_empty());
    let memory = Arc::new(PluginMemory::default());
    // Plugins that need too much are refused when their link is prepared: then its lanes are known.
    let spare_mib = memory.admit(&loaded.config).unwrap_or(0);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let options = HostOptions {
        clock: Arc::clone(&clock),
        state_dir: has_plugins.then(|| loaded.state_dir()),
        compiler: own_process(),
        stateful_bytes_max: usize::try_from(spare_mib).unwrap_or(usize::MAX).saturating_mul(1 << 20),
        ..HostOptions::default()
    };
    let engine = HostEngine::with(options).map_err(RunError::Engine)?;
    let links = link::plan(loaded, &engine, &clock, board, until).await?;
    let slots = links.iter().map(|link| (link.name().to_owned(), link.slot.clone())).collect();
    let reloads = Reloads::new(loaded, engine, clock, Arc::clone(&memory), slots);
    Ok(Built { memory, reloads, links })
}

/// The task of a link, with its name.
type Tasks = JoinSet<(String, Result<(), RunError>)>;

fn spawn(links: Vec<Planned>, clusters: &Arc<Clusters>, until: Until, stop: &Stop) -> Tasks {
    let mut bars = Bars::new(until == Until::CaughtUp);
    let mut tasks = JoinSet::new();
    for link in links {
        let (bar, stop, clusters) = (bars.add(link.name()), stop.child(), Arc::clone(clusters));
        tasks.spawn(async move {
            // A panic is a bug of ours, and ends this link alone.
            let ended = Box::pin(caught(prepare_and_run(&link, &clusters, until, stop, bar))).await;
            (link.name().to_owned(), ended.unwrap_or_else(|| Err(RunError::Panicked(link.name().to_owned()))))
        });
    }
    tasks
}

/// Returns `None` where the work panics. It is not polled any more then, and dropping it ends what
/// it has begun.
async fn caught<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work.as_mut().poll(context)));
        polled.map_or(Poll::Ready(None), |polled| polled.map(Some))
    })
    .await
}

/// Waits for all links while reloads and rotations run beside them. Returns the errors.
async fn join(mut tasks: Tasks, reloads: &Reloads, rotation: Rotation, board: &Board) -> Vec<RunError> {
    let mut errors = Vec::new();
    let beside = async { tokio::join!(reloads.run(), rotation.run()) };
    tokio::pin!(beside);
    loop {
        let ended = tokio::select! {
            ended = tasks.join_next() => ended,
            _ = &mut beside => continue,
        };
        let Some(ended) = ended else { return errors };
        let (name, error) = match ended {
            Ok((_, Ok(()))) => continue,
            Ok((name, Err(error))) => (name, error),
            Err(error) => (String::new(), RunError::Panicked(error.to_string())),
        };
        // Said now, as the other links may go on for long.
        match board.link(&name) {
            Some(link) => {
                let reason = error.to_string();
                link.set_ended(&reason);
                link.emit(&name, Event::Outage(Outage::LinkEnded { reason }));
            }
            None => tracing::error!(%error, "a link has ended"),
        }
        errors.push(error);
    }
}

async fn prepare_and_run(
    link: &Planned,
    clusters: &Clusters,
    until: Until,
    stop: Stop,
    bar: Bar,
) -> Result<(), RunError> {
    let patience = match until {
        Until::Stopped => Patience::Endless,
        Until::CaughtUp => Patience::Short,
    };
    let prepared = tokio::select! { biased;
        () = stop.drain.cancelled() => return Ok(()),
        prepared = prepare(link, clusters, patience) => prepared?,
    };
    match until {
        Until::Stopped => run_link(prepared, stop).await,
        Until::CaughtUp => run_until_caught_up(prepared, stop, bar).await,
    }
}

async fn prepare(link: &Planned, clusters: &Clusters, patience: Patience) -> Result<Prepared, RunError> {
    let mut retry = StartupRetry::new(patience);
    loop {
        let error = match link.prepare(clusters).await {
            Err(error) => error,
            prepared => return prepared,
        };
        let login = clusters.login_behind(&error).filter(|_| patience == Patience::Endless);
        let pause = retry.pause_after(&error).or_else(|| login.is_some().then_some(LOGIN_RETRY.1));
        let Some(pause) = pause else { return Err(error) };
        match &error {
            RunError::Standby { reason, .. } => link.board.set_standby(reason),
            _ => link.board.set_startup_error(&error.to_string()),
        }
        // Events tell of plugins that do not load, and of a standby.
        if !matches!(error, RunError::PluginsNotLoaded { .. } | RunError::Standby { .. }) {
            tracing::warn!(link = link.name(), %error, again_s = pause.as_secs(), "the link cannot begin yet");
        }
        let changed = async {
            match login.map(Access::changes) {
                Some(mut changes) => drop(changes.changed().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = changed => {}
        }
    }
}

async fn run_link(mut link: Prepared, stop: Stop) -> Result<(), RunError> {
    let target_topics = link.target_topics.take();
    let service = link.service(stop.abort.clone())?;
    let ensuring = async {
        match target_topics {
            Some(mut target_topics) => target_topics.run().await,
            None => std::future::pending().await,
        }
    };
    let running = service.run(stop.drain);
    tokio::pin!(running, ensuring);
    tokio::select! {
        ended = &mut running => Ok(ended?),
        () = &mut ensuring => Ok(running.await?),
    }
}

async fn run_until_caught_up(mut link: Prepared, stop: Stop, bar: Bar) -> Result<(), RunError> {
    let mut catch_up = CatchUp::start(
        &link.name,
        link.spec.lanes,
        Arc::clone(&link.discovery),
        Arc::clone(&link.committed_progress),
        Arc::clone(&link.deps.status),
    )
    .await?;
    let (name, status) = (link.name.clone(), Arc::clone(&link.deps.status));
    let target_topics = link.target_topics.take();
    let discovery = Arc::clone(&link.discovery);
    let service = link.service(stop.abort.clone())?;
    let done = stop.drain.child_token();
    let watch = async {
        let remaining = catch_up.wait(|remaining| bar.show(remaining)).await;
        if let Some(mut target_topics) = target_topics {
            // Topics without a record were not created by a lane.
            target_topics.ensure().await;
        }
        done.cancel();
        remaining
    };
    let (ran, remaining) = {
        let running = service.run(done.clone());
        tokio::pin!(running, watch);
        tokio::select! {
            // A signal or an error ended it before it caught up.
            ran = &mut running => (ran, None),
            remaining = &mut watch => (running.await, Some(remaining)),
        }
    };
    ran?;
    bar.finish();
    let stopped = remaining.map(|r| r.stopped).unwrap_or_default();
    if stopped.is_empty() {
        missing_topics(&name, &*discovery).await?;
        let hidden = status.hidden();
        let Some(reason) = hidden.values().next().cloned() else { return Ok(()) };
        let topics: Vec<&str> = hidden.keys().take(10).map(|topic| &**topic).collect();
        return Err(RunError::Hidden { link: name, topics: topics.join(", "), reason });
    }
    let first: Vec<String> = stopped.iter().take(10).map(ToString::to_string).collect();
    Err(RunError::Stopped { link: name, count: stopped.len(), partitions: first.join(", ") })
}

/// Fails where the configuration names topics that do not exist. A source that does not answer now
/// has answered before, and says nothing of them.
async fn missing_topics(link: &str, discovery: &dyn Discovery) -> Result<(), RunError> {
    let missing = discovery.topics().await.map(|found| found.missing).unwrap_or_default();
    if missing.is_empty() {
        return Ok(());
    }
    let reason = |(topic, meant): (&Arc<str>, &Option<Arc<str>>)| {
        format!("{topic} ({})", SourceTopics::reason_missing(meant.as_ref()))
    };
    let topics: Vec<String> = missing.iter().take(10).map(reason).collect();
    Err(RunError::Missing { link: link.to_owned(), topics: topics.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_the_work_that_panics_and_drops_it() {
        let begun = Arc::new(());
        let held = Arc::clone(&begun);
        let work = async move {
            tokio::task::yield_now().await;
            assert!(Arc::strong_count(&held) == 1, "this test panics on purpose");
            7
        };
        assert_eq!(caught(work).await, None);
        assert_eq!(Arc::strong_count(&begun), 1, "it is dropped");
        assert_eq!(caught(async { 7 }).await, Some(7));
    }
}
