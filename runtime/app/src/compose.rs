//! From the configuration to what the other crates take.

use std::path::Path;
use std::sync::Arc;

use strait_core::config::{Cluster, Link, Naming, pin};
use strait_host::{ChainSpec, LinkInfo, PluginSource, PluginSpec, PublicKey, Trust};
use strait_kafka::config::ClusterConfig;

use crate::load::Loaded;

/// A cluster as its clients take it, secrets included.
#[must_use]
pub fn cluster(name: &str, cluster: &Cluster) -> ClusterConfig {
    let properties = cluster.kafka.iter_exposed();
    ClusterConfig {
        name: name.to_owned(),
        bootstrap_servers: cluster.bootstrap_servers.expose().to_owned(),
        properties: properties.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    }
}

/// A link's plugins as the host loads them, secrets included.
#[must_use]
pub fn chain(loaded: &Loaded, link: &Link) -> ChainSpec {
    let dir = loaded.plugin_dir();
    let trusted = loaded.config.trusted_plugin_keys.iter();
    let keys: Arc<[PublicKey]> =
        trusted.map(|key| PublicKey::from_bytes(pin::public_key(key).unwrap_or_default())).collect();
    let plugins = link.plugins.iter().map(|used| {
        let mut spec = PluginSpec::new(&used.plugin, plugin_source(&dir, &used.plugin), used.config.expose().clone());
        spec.config_as_written = Some(used.config.written().clone());
        spec.required = used.required.unwrap_or(false);
        spec.on_error = used.on_error;
        spec.wasi = used.wasi;
        spec.allow_after = used.allow_after;
        // Both were judged with the configuration. What could not be read all the same vouches for nothing.
        let digest = used.digest.as_deref().map(|digest| pin::digest(digest).unwrap_or_default());
        spec.trust = Trust { digest, keys: keys.clone() };
        spec
    });
    let region = |name: &str| loaded.config.cluster(name).and_then(|cluster| cluster.region.clone());
    ChainSpec {
        plugins: plugins.collect(),
        link: LinkInfo {
            link: link.name.clone(),
            source: link.source.clone(),
            source_region: region(&link.source),
            target: link.target.clone(),
            target_region: region(&link.target),
        },
        naming: match link.naming {
            Naming::Identity => strait_host::Naming::Identity,
            Naming::Prefix => strait_host::Naming::Prefix(Naming::Prefix.apply(&link.source, "")),
        },
    }
}

/// Where a plugin is: its file in the folder, else the bundled one of that name. The file goes first, so that an operator
/// can put another version in the place of a bundled plugin.
#[must_use]
pub fn plugin_source(dir: &Path, name: &str) -> PluginSource {
    let file = if name.ends_with(".wasm") { dir.join(name) } else { dir.join(format!("{name}.wasm")) };
    if !file.is_file() && strait_host::bundled_names().any(|bundled| bundled == name) {
        return PluginSource::Bundled(name.to_owned());
    }
    PluginSource::File(file)
}
