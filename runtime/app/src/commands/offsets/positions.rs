//! `strait offsets positions`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use strait_core::PartitionKey;
use strait_core::progress::Position;
use strait_kafka::MapLog;

use super::super::{End, REQUEST, block_on, ends_of, failed, link_of, load, print};
use crate::cli::offsets::{Positions, PositionsOutput};

/// Runs the command.
pub fn positions(args: &Positions) -> End {
    match read(args) {
        Ok((source, positions)) => print(&shown(args, &source, &positions)),
        Err(end) => end,
    }
}

/// Returns the name of the source cluster, and the positions of the topics that it has now.
fn read(args: &Positions) -> Result<(String, BTreeMap<PartitionKey, Position>), End> {
    let loaded = load(&args.config)?;
    let link = link_of(&loaded, &args.link)?;
    let (source, target) = ends_of(&loaded, link)?;
    let log = MapLog::new(&source, &target, &link.name, REQUEST);
    let positions = block_on(async {
        let (positions, _) = log.progress().await?;
        let topics: BTreeSet<Arc<str>> = positions.keys().map(|key| Arc::clone(&key.topic)).collect();
        let ids = log.source_ids(topics.into_iter().collect()).await?;
        let is_now = |key: &PartitionKey| ids.get(&key.topic).is_some_and(|id| !id.is_other_than(key.topic_id));
        Ok::<_, strait_flow::ports::PortError>(positions.into_iter().filter(|(key, _)| is_now(key)).collect())
    })?;
    let positions: BTreeMap<PartitionKey, Position> = positions;
    if positions.is_empty() {
        return Err(failed(&format!("link {} has no position yet", link.name)));
    }
    Ok((args.source_alias.clone().unwrap_or_else(|| link.source.clone()), positions))
}

fn shown(args: &Positions, source: &str, positions: &BTreeMap<PartitionKey, Position>) -> String {
    // MirrorMaker 2 keeps the last offset that is copied; before the first one it has none.
    let copied = positions.iter().filter_map(|(key, position)| {
        let last = position.next.0.checked_sub(1).filter(|last| *last >= 0)?;
        let partition = json!({ "cluster": source, "partition": key.partition, "topic": &*key.topic });
        Some((partition, json!({ "offset": last })))
    });
    match args.output {
        PositionsOutput::Text => {
            let lines = positions.iter().map(|(key, position)| format!("{key} {}\n", position.next));
            lines.collect()
        }
        PositionsOutput::Connect => {
            let all: Vec<Value> =
                copied.map(|(partition, offset)| json!({ "partition": partition, "offset": offset })).collect();
            format!("{:#}", json!({ "offsets": all }))
        }
        PositionsOutput::Records => {
            let lines = copied.map(|(partition, offset)| format!("{}\t{offset}\n", json!([args.connector, partition])));
            lines.collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use strait_core::mirror::MirrorPositions;
    use strait_core::{SourceOffset, TopicId};

    use super::*;

    #[test]
    fn positions_are_printed_as_mirror_maker_reads_them() {
        let position = |next| Position { next: SourceOffset(next), ..Position::default() };
        let key = |partition| PartitionKey { topic: "t".into(), topic_id: TopicId([1; 16]), partition };
        let positions = [(key(0), position(7)), (key(1), position(0))].into();
        let args = |output| Positions {
            link: "l".to_owned(),
            connector: "M".to_owned(),
            source_alias: None,
            output,
            config: crate::cli::ConfigFile { file: "strait.toml".into() },
        };
        assert_eq!(shown(&args(PositionsOutput::Text), "A", &positions), "t-0 7\nt-1 0\n");
        let records = shown(&args(PositionsOutput::Records), "A", &positions);
        assert_eq!(records, "[\"M\",{\"cluster\":\"A\",\"partition\":0,\"topic\":\"t\"}]\t{\"offset\":6}\n");
        // As a take-over reads them.
        let (found, value) = records.trim_end().split_once('\t').unwrap();
        let mut read = MirrorPositions::default();
        read.fold((0, 0), found.as_bytes(), Some(value.as_bytes())).unwrap();
        assert_eq!(read.of("A", None).unwrap(), [(("t".into(), 0), 6)].into());
        let body: Value = serde_json::from_str(&shown(&args(PositionsOutput::Connect), "A", &positions)).unwrap();
        assert_eq!(body["offsets"][0]["offset"]["offset"], 6);
        assert_eq!(body["offsets"].as_array().unwrap().len(), 1);
    }
}
