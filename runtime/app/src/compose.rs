//! From the configuration to what the other crates take.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use strait_core::config::{Cluster, Config, Link, Naming, PluginLimits, pin};
use strait_host::{ChainSpec, Limits, LinkInfo, PluginSource, PluginSpec, PublicKey, Trust};
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
        spec.required = used.required.unwrap_or(used.plugin == "redact");
        spec.on_error = used.on_error;
        spec.wasi = used.wasi;
        spec.allow_after = used.allow_after;
        // Both were judged with the configuration. What could not be read all the same vouches for nothing.
        let digest = used.digest.as_deref().map(|digest| pin::digest(digest).unwrap_or_default());
        spec.trust = Trust { digest, keys: keys.clone() };
        spec.limits = limits(&used.limits);
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

/// What a plugin may use.
fn limits(limits: &PluginLimits) -> Limits {
    let mib = |mib: u32| usize::try_from(mib).unwrap_or(usize::MAX).saturating_mul(1 << 20);
    Limits {
        file_bytes_max: mib(limits.file_mib_max),
        functions_max: limits.functions_max as usize,
        memory_bytes_max: mib(limits.memory_mib_max),
        start_ms_max: limits.start_ms_max,
        open_topic_ms_max: limits.open_topic_ms_max,
        process_ms_max: limits.process_ms_max,
        narrow_ms_max: limits.narrow_ms_max,
        output_bytes_max: mib(limits.output_mib_max),
        fan_out_max: limits.fan_out_max as usize,
        emit_bytes_max: mib(limits.emit_mib_max),
        log_lines_max: limits.log_lines_max as usize,
        counters_max: limits.counters_max as usize,
    }
}

/// Refuses more memory for plugins than the process may give them. `lanes` is how many lanes a link has. Gives what is left,
/// in MiB, which the instances of plugins with memory share.
///
/// # Errors
/// What could be needed, and by which links.
pub fn admit_plugins(config: &Config, lanes: impl Fn(&Link) -> u32) -> Result<u64, String> {
    let mut all_mib = 0_u64;
    let mut links = Vec::new();
    for link in &config.links {
        let of_lane: u64 = link.plugins.iter().map(|used| u64::from(used.limits.memory_mib_max)).sum();
        let lanes = lanes(link);
        let of_link = of_lane.saturating_mul(u64::from(lanes));
        if of_link > 0 {
            links.push(format!("{} {of_link} MiB ({of_lane} MiB for each of {lanes} lanes)", link.name));
        }
        all_mib = all_mib.saturating_add(of_link);
    }
    let max = config.plugin_memory_mib_max;
    if let Some(left_mib) = u64::from(max).checked_sub(all_mib) {
        return Ok(left_mib);
    }
    Err(format!(
        "the plugins may need {all_mib} MiB of memory and plugin_memory_mib_max is {max}: {}; lower memory_mib_max of the plugins or raise plugin_memory_mib_max",
        links.join(", ")
    ))
}

/// The file that a plugin's name means, whether or not it is there.
#[must_use]
pub fn plugin_file(dir: &Path, name: &str) -> PathBuf {
    if name.ends_with(".wasm") { dir.join(name) } else { dir.join(format!("{name}.wasm")) }
}

/// Where a plugin is: its file in the folder, else the bundled one of that name. The file goes first, so that an operator
/// can put another version in the place of a bundled plugin; what is there and is no file is refused, not passed over.
#[must_use]
pub fn plugin_source(dir: &Path, name: &str) -> PluginSource {
    let file = plugin_file(dir, name);
    // A link to nothing is there: a file is being put in its place, or was lost.
    if file.symlink_metadata().is_err() && strait_host::bundled_names().any(|bundled| bundled == name) {
        return PluginSource::Bundled(name.to_owned());
    }
    PluginSource::File(file)
}

#[cfg(test)]
mod tests {
    use strait_core::config::{Config, Link};

    use strait_host::PluginSource;

    use super::{admit_plugins, plugin_source};

    #[test]
    fn a_bundled_plugin_is_meant_where_there_is_nothing_of_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let is_bundled = || matches!(plugin_source(dir.path(), "redact"), PluginSource::Bundled(_));
        assert!(is_bundled());
        std::os::unix::fs::symlink("gone.wasm", dir.path().join("redact.wasm")).unwrap();
        assert!(!is_bundled(), "a link to nothing is refused and not passed over");
    }

    #[test]
    fn plugins_that_could_need_more_memory_than_there_is_are_refused_with_the_sum() {
        let read = |memory_mib_max: u32| -> Config {
            let plugin = serde_json::json!({ "plugin": "p", "limits": { "memory_mib_max": memory_mib_max } });
            let link = |name: &str, lanes: u32| {
                serde_json::json!({
                    "name": name, "source": "a", "target": "b", "topics": ["t"], "lanes": lanes, "plugins": [plugin, plugin]
                })
            };
            serde_json::from_value(serde_json::json!({
                "plugin_memory_mib_max": 1000, "clusters": {}, "links": [link("one", 1), link("four", 4)]
            }))
            .unwrap()
        };
        assert_eq!(admit_plugins(&read(100), Link::lanes_to_create), Ok(0));
        let error = admit_plugins(&read(101), Link::lanes_to_create).unwrap_err();
        for part in ["1010 MiB", "plugin_memory_mib_max is 1000", "four 808 MiB (202 MiB for each of 4 lanes)"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
