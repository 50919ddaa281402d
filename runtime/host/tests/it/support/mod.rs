//! Plugins, batches and results for all tests of the host.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use serde_json::Value;
use strait_core::batch::{Batch, BatchBuilder, TimestampType};
use strait_core::edit::{Disposition, Processed};
use strait_core::offset::{LeaderEpoch, SourceOffset};
use strait_host::{ChainSpec, HostChains, HostEngine, LinkInfo, LoadError, PluginSource, PluginSpec, TopicNaming};

/// Returns one engine for all tests: plugins are compiled once.
pub fn engine() -> &'static HostEngine {
    static ENGINE: OnceLock<HostEngine> = OnceLock::new();
    ENGINE.get_or_init(|| HostEngine::new().unwrap())
}

pub fn bundled(name: &str, config: Value) -> PluginSpec {
    PluginSpec::new(name, PluginSource::Bundled(name.into()), config)
}

pub fn load(plugins: Vec<PluginSpec>, naming: TopicNaming) -> Result<Arc<HostChains>, LoadError> {
    HostChains::load(engine(), ChainSpec { plugins, link: link(), naming })
}

pub fn link() -> LinkInfo {
    LinkInfo {
        link: "aws-to-gcp".into(),
        source: "aws".into(),
        source_region: Some("eu-west-1".into()),
        target: "gcp".into(),
        ..LinkInfo::default()
    }
}

/// Key, value, headers.
pub type Row<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, &'a [(&'a [u8], Option<&'a [u8]>)]);

/// A batch of `orders`, offsets from 100 in steps of 2, timestamps from 1,000.
pub fn batch(rows: &[Row<'_>]) -> Batch {
    let mut builder = BatchBuilder::new("orders".into(), 3, TimestampType::Append, LeaderEpoch(1));
    for (i, (key, value, headers)) in rows.iter().enumerate() {
        builder.push(SourceOffset(100 + 2 * i as i64), 1_000 + i as i64, *key, *value);
        for (name, value) in *headers {
            builder.push_header(name, *value);
        }
    }
    builder.build()
}

/// Returns the indexes of dropped, rejected and changed records.
pub fn fates(processed: &Processed) -> (Vec<usize>, Vec<usize>, Vec<usize>) {
    let pick = |wanted: fn(&Disposition) -> bool| -> Vec<usize> {
        processed.dispositions.iter().filter(|(_, d)| wanted(d)).map(|(i, _)| *i).collect()
    };
    (
        pick(|d| matches!(d, Disposition::Drop)),
        pick(|d| matches!(d, Disposition::Reject(_))),
        pick(|d| matches!(d, Disposition::Replace(_))),
    )
}

pub mod guest;
pub mod world;

/// Writes a guest to a file and loads it as the only plugin.
pub fn load_bytes(bytes: &[u8], change: impl FnOnce(&mut PluginSpec)) -> Result<Arc<HostChains>, LoadError> {
    load(vec![file(bytes, change)], TopicNaming::Identity)
}

/// A plugin from a file, named by its content, in cargo's folder for such files.
pub fn file(bytes: &[u8], change: impl FnOnce(&mut PluginSpec)) -> PluginSpec {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join(format!("guest-{:016x}.wasm", hasher.finish()));
    // Tests run in parallel and may make the same guest.
    let mut file = tempfile::NamedTempFile::new_in(folder).unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    file.persist(&path).unwrap();
    let mut spec = PluginSpec::new("made", PluginSource::File(path), Value::Null);
    spec.limits.process_ms_max = 200;
    spec.show_guest_messages = true;
    spec.limits.start_ms_max = 300;
    change(&mut spec);
    spec
}
