//! `strait import … --take-over`.

use std::path::Path;

use strait_core::config::{Link, Start};
use strait_core::mirror::{Checkpoints, MirrorPositions, Tail};
use strait_flow::ports::{ChainFactory as _, SourceTopic};
use strait_host::{HostChains, HostEngine, HostOptions};
use strait_kafka::{Findings, TakeOver, TakeOverError, TakeOverSpec, TakenOver};

use super::super::{End, REQUEST, block_on, cluster_of, load, print, print_message, reached};
use crate::cli::ConfigFile;
use crate::compiler::own_process;
use crate::compose;
use crate::import::Mirror;
use crate::load::Loaded;
use crate::run::link::ensure_topics;

/// Most partitions that are named one by one.
const NAMED_MAX: usize = 20;

/// Makes the links of a configuration begin where MirrorMaker 2 has stopped. Each for itself: one
/// that cannot holds up no other.
pub fn take_over(path: &Path, mirrors: &[Mirror], connector: Option<&str>) -> End {
    let loaded = match load(&ConfigFile { file: path.to_owned() }) {
        Ok(loaded) => loaded,
        Err(end) => return end,
    };
    let mut end = End::Ok;
    for mirror in mirrors {
        let Some(link) = loaded.config.links.iter().find(|link| link.name == mirror.link) else {
            print_message(&format!("the configuration has no link '{}': nothing is taken over for it", mirror.link));
            continue;
        };
        if let Err(failed) = of_link(&loaded, link, mirror, connector) {
            end = failed;
        }
    }
    end
}

fn of_link(loaded: &Loaded, link: &Link, mirror: &Mirror, connector: Option<&str>) -> Result<(), End> {
    let (source, target) = (cluster_of(loaded, &link.source)?, cluster_of(loaded, &link.target)?);
    block_on(async {
        let source = reached(&source).await.map_err(|error| error.to_string())?;
        let target = reached(&target).await.map_err(|error| error.to_string())?;
        let spec = spec(loaded, link, mirror, connector);
        let over = TakeOver::new(&source, &target, spec, REQUEST);
        let text = |error: TakeOverError| format!("link {}: {error}", link.name);
        let positions = at_rest(&over, mirror).await.map_err(text)?;
        let topics = over.topics(&link.topics, &link.topics_exclude).await.map_err(|error| error.to_string())?;
        let named = named(loaded, link, &topics)?;
        let found = over.find(&positions, named).await.map_err(text)?;
        over.check_at_rest(&positions, &found).await.map_err(text)?;
        let checkpoints = over.checkpoints().await.map_err(|error| error.to_string())?;
        let own = ensure_topics(link, &target).await.map_err(|error| error.to_string())?;
        let written = over.write((&found, &checkpoints), &topics, own.lanes).await.map_err(text)?;
        report(link, (&found, &checkpoints), written);
        Ok::<_, String>(())
    })
}

fn spec(loaded: &Loaded, link: &Link, mirror: &Mirror, connector: Option<&str>) -> TakeOverSpec {
    TakeOverSpec {
        link: link.name.clone(),
        alias: mirror.source.clone(),
        offsets_topic: mirror.offsets_topic.clone(),
        group: mirror.group.clone(),
        connector: connector.map(str::to_owned).or_else(|| mirror.connector.clone()),
        reads_committed: mirror.reads_committed,
        copies_as_they_are: !mirror.has_transforms,
        begins_at_end: link.start == Start::Latest,
        delivery: link.delivery,
        // Validation has refused patterns that do not parse.
        groups: link.group_selector().ok().filter(|_| !link.groups.is_empty() && link.sync.groups),
        identity: compose::identity(loaded, link, None),
        process: rand::random(),
    }
}

/// Reads the positions, and waits until they are sure to rest.
async fn at_rest(over: &TakeOver, mirror: &Mirror) -> Result<MirrorPositions, TakeOverError> {
    let workers = over.workers().await?;
    let positions = over.positions().await?;
    if workers.is_empty() {
        return Ok(positions);
    }
    let wait = mirror.flush_interval.saturating_mul(2);
    print_message(&format!(
        "group {} has members ({}): watching for {} s whether MirrorMaker 2 writes positions",
        mirror.group,
        workers.join(", "),
        wait.as_secs()
    ));
    tokio::time::sleep(wait).await;
    let later = over.positions().await?;
    if later != positions {
        return Err(TakeOverError::Running { what: format!("its positions in {} moved", mirror.offsets_topic) });
    }
    Ok(later)
}

/// Returns the topics with their names on the target, as the link's plugins and naming give them.
fn named(loaded: &Loaded, link: &Link, topics: &[SourceTopic]) -> Result<Vec<(SourceTopic, Option<String>)>, String> {
    let mut chain = match link.plugins.is_empty() {
        true => None,
        false => {
            let engine = HostEngine::with(HostOptions { compiler: own_process(), ..HostOptions::default() });
            let engine = engine.map_err(|error| error.to_string())?;
            let chains = HostChains::load(&engine, compose::chain(loaded, link)).map_err(|error| error.to_string())?;
            Some(chains.chain().map_err(|error| error.to_string())?)
        }
    };
    let name = |topic: &SourceTopic| {
        let name = match &mut chain {
            None => Some(link.naming.apply(&link.source, &topic.topic)),
            Some(chain) => {
                let partitions = topic.partitions.unsigned_abs();
                chain.target_topic(&topic.topic, partitions).ok().map(|name| name.to_string())
            }
        };
        (topic.clone(), name)
    };
    Ok(topics.iter().map(name).collect())
}

fn report(link: &Link, (found, checkpoints): (&Findings, &Checkpoints), written: usize) {
    let copied = |tail: &TakenOver| match tail.tail {
        Some(Tail::Matched { copied, .. }) => copied,
        _ => 0,
    };
    let behind: u64 = found.partitions.iter().map(copied).sum();
    let begins = match link.start {
        Start::Earliest => "earliest".to_owned(),
        Start::Latest => "latest".to_owned(),
        Start::At { .. } => "the time of start".to_owned(),
    };
    let left = found.partitions.len().saturating_sub(written);
    let mut text = format!(
        "link {}: begins where MirrorMaker 2 has stopped in {written} partitions; {behind} records that it had copied behind its positions are passed over\n",
        link.name
    );
    if left > 0 {
        text.push_str(&format!("  {left} partitions that it had no position in begin at {begins}\n"));
    }
    if found.others > 0 {
        text.push_str(&format!(
            "  {} positions are of topics that the link does not copy, or that are gone\n",
            found.others
        ));
    }
    if !checkpoints.is_empty() {
        text.push_str(&format!(
            "  {} offsets of groups that MirrorMaker 2 has kept on the target are kept by the link\n",
            checkpoints.len()
        ));
    }
    let lines: Vec<String> = found.partitions.iter().filter_map(doubt).collect();
    for line in lines.iter().take(NAMED_MAX) {
        text.push_str(&format!("  {line}\n"));
    }
    if let Some(more) = lines.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
        text.push_str(&format!("  and {more} more such partitions\n"));
    }
    if print(&text) != End::Ok {
        print_message("the result could not be printed");
    }
}

/// Returns what a person should know of a partition.
fn doubt(partition: &TakenOver) -> Option<String> {
    let TakenOver { key, written, next, bounds, tail, .. } = partition;
    let begins = next.map_or_else(|| "as start says".to_owned(), |next| format!("at {next}"));
    if let Some(next) = next.filter(|next| next.0 > bounds.1) {
        return Some(format!(
            "{key}: MirrorMaker 2 had come to {next}, and the log ends at {}: the topic was created again or truncated since, and the partition stops until somebody decides (on_gap)",
            bounds.1
        ));
    }
    if let Some(next) = next.filter(|next| next.0 < bounds.0 && written.is_some()) {
        return Some(format!(
            "{key}: MirrorMaker 2 had come to {next}, and the log begins at {}: what was between is lost, and the partition stops until somebody decides (on_gap)",
            bounds.0
        ));
    }
    match tail {
        Some(Tail::Unsure { possible }) if *possible > 0 => Some(format!(
            "{key}: begins {begins}; up to {possible} records may come twice, as the ends do not tell for sure how far it had come"
        )),
        _ => None,
    }
}
