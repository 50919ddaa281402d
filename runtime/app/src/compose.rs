//! Translates the configuration into the types of the other crates.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use strait_core::config::{Around, Auth, AuthKind, Cluster, Link, PluginLimits, Setting, addresses, pin};
use strait_core::generation::Framing;
use strait_core::progress::LinkIdentity;
use strait_host::{ChainSpec, GuestLimits, LinkInfo, PluginSource, PluginSpec, PublicKey, Trust};
use strait_kafka::access::{Access, AccessObserver, Login, Oidc, Proof};
use strait_kafka::config::ClusterConfig;

use crate::load::Loaded;
use crate::mask::Mask;

/// Returns a cluster as its clients take it, secrets included.
#[must_use]
pub fn cluster(loaded: &Loaded, name: &str, cluster: &Cluster) -> ClusterConfig {
    let properties = cluster.kafka.iter_exposed();
    let mut properties: BTreeMap<String, String> =
        properties.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if cluster.auth.is_some() {
        properties.insert("sasl.mechanism".to_owned(), "OAUTHBEARER".to_owned());
        properties.entry("security.protocol".to_owned()).or_insert_with(|| "SASL_SSL".to_owned());
    }
    let access = Access::new(name, cluster.auth.as_ref().map(|auth| login(loaded, auth)));
    access.observe(Arc::new(MasksTokens(loaded.mask().clone())));
    ClusterConfig {
        name: name.to_owned(),
        bootstrap_servers: addresses::normalized(cluster.bootstrap_servers.expose()),
        properties,
        access,
    }
}

/// Masks the tokens of commands that have no board.
struct MasksTokens(Mask);

impl AccessObserver for MasksTokens {
    fn secret(&self, value: &str) {
        self.0.learn_passing(value);
    }
}

/// Returns how a cluster's clients get their tokens. Validation has seen to what each kind needs.
fn login(loaded: &Loaded, auth: &Auth) -> Login {
    let text = |setting: &Option<Setting>| setting.as_ref().map(|setting| setting.expose().to_owned());
    let file = |setting: &Option<Setting>| setting.as_ref().map(|setting| loaded.beside(setting.expose()));
    let extensions = auth.extensions.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    match auth.kind {
        AuthKind::TokenFile => Login::TokenFile { path: file(&auth.path).unwrap_or_default(), extensions },
        AuthKind::AwsMskIam => Login::AwsMskIam { region: auth.region.clone().unwrap_or_default(), extensions },
        AuthKind::Gcp => Login::Gcp { endpoint: text(&auth.endpoint), extensions },
        AuthKind::Azure => Login::Azure {
            endpoint: text(&auth.endpoint),
            resource: auth.audience.clone().unwrap_or_default(),
            client_id: text(&auth.client_id),
            extensions,
        },
        AuthKind::Oidc => Login::Oidc(Oidc {
            token_url: text(&auth.token_url).unwrap_or_default(),
            client_id: text(&auth.client_id).unwrap_or_default(),
            proof: match file(&auth.assertion_file) {
                Some(path) => Proof::Assertion(path),
                None => Proof::Secret(Arc::new(Mutex::new(text(&auth.client_secret).unwrap_or_default()))),
            },
            scope: auth.scope.clone(),
            audience: auth.audience.clone(),
            ca: file(&auth.ca),
            extensions,
        }),
    }
}

/// Returns the ends of a link, to compare with what its lanes record.
#[must_use]
pub fn identity(loaded: &Loaded, link: &Link, source_cluster: Option<Arc<str>>) -> LinkIdentity {
    let source = loaded.config.cluster(&link.source);
    LinkIdentity {
        source: link.source.as_str().into(),
        source_cluster,
        former_ids: source.map(|cluster| cluster.former_ids.clone()).unwrap_or_default(),
        naming: link.naming.apply(&link.source, "{topic}").into(),
    }
}

/// Returns a link's plugins as the host loads them, secrets included.
#[must_use]
pub fn chain(loaded: &Loaded, link: &Link) -> ChainSpec {
    let dir = loaded.plugin_dir();
    let trusted = loaded.config.trusted_plugin_keys.iter();
    let keys: Arc<[PublicKey]> =
        trusted.map(|key| PublicKey::from_bytes(pin::public_key(key).unwrap_or_default())).collect();
    let plugins = link.plugins.iter().map(|used| {
        let mut spec = PluginSpec::new(&used.plugin, plugin_source(&dir, &used.plugin), used.config.expose().clone());
        spec.config_as_written = Some(used.config.written().clone());
        // The bundled redact fails closed by itself. A redact.wasm in the plugin folder takes its
        // place and may not, so the name alone makes it required.
        spec.required = used.required.unwrap_or(used.plugin == "redact");
        spec.on_error = used.on_error;
        spec.wasi = used.wasi;
        spec.allow_after = used.allow_after;
        spec.may_see_raw = used.may_see_raw;
        spec.output_topics.clone_from(&used.output_topics);
        spec.show_guest_messages = link.reveal_messages;
        // Validation has accepted both. One that does not parse all the same vouches for nothing.
        let digest = used.digest.as_deref().map(|digest| pin::digest(digest).unwrap_or_default());
        spec.trust = Trust { digest, keys: Arc::clone(&keys) };
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
            residency: link.residency,
            framing: link.values.iter().map(framing).collect(),
        },
        naming: naming(link),
    }
}

/// Returns a link's naming as the host applies it.
fn naming(link: &Link) -> strait_host::TopicNaming {
    let Around { before, after } = link.naming.around(&link.source);
    match (before.is_empty(), after.is_empty()) {
        (true, true) => strait_host::TopicNaming::Identity,
        (false, true) => strait_host::TopicNaming::Prefix(before),
        _ => strait_host::TopicNaming::Around { before, after },
    }
}

/// Returns an entry of `[[links.values]]` as it stands in the generation.
fn framing(values: &strait_core::config::Framing) -> Framing {
    Framing {
        topics: values.topics.iter().map(|pattern| pattern.as_str().into()).collect(),
        part: values.part_name().into(),
        frame: values.frame_name().into(),
    }
}

/// Returns the limits of a plugin.
fn limits(limits: &PluginLimits) -> GuestLimits {
    let mib = |mib: u32| usize::try_from(mib).unwrap_or(usize::MAX).saturating_mul(1 << 20);
    GuestLimits {
        file_bytes_max: mib(limits.file_mib_max),
        functions_max: limits.functions_max as usize,
        compile_s_max: limits.compile_s_max.into(),
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

/// Returns the file that a plugin's name stands for, whether or not it exists.
#[must_use]
pub fn plugin_file(dir: &Path, name: &str) -> PathBuf {
    if name.ends_with(".wasm") { dir.join(name) } else { dir.join(format!("{name}.wasm")) }
}

/// Returns the source of a plugin: its file in the folder, else the bundled plugin of that name.
///
/// The file takes precedence, so that an operator can replace a bundled plugin. Anything else of
/// that name, such as a folder, is refused later and not passed over here, and so is a file of
/// which nobody can say whether it is there: in its place the bundled plugin could protect less.
#[must_use]
pub fn plugin_source(dir: &Path, name: &str) -> PluginSource {
    let file = plugin_file(dir, name);
    // A dangling symbolic link counts as existing: its file is being replaced, or was lost.
    let is_missing = file.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
    if is_missing && strait_host::bundled_names().any(|bundled| bundled == name) {
        return PluginSource::Bundled(name.to_owned());
    }
    PluginSource::File(file)
}

#[cfg(test)]
mod tests {
    use strait_host::PluginSource;

    use super::plugin_source;

    #[test]
    fn a_bundled_plugin_is_used_only_where_nothing_in_the_folder_has_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let is_bundled = || matches!(plugin_source(dir.path(), "redact"), PluginSource::Bundled(_));
        assert!(is_bundled());
        std::os::unix::fs::symlink("gone.wasm", dir.path().join("redact.wasm")).unwrap();
        assert!(!is_bundled(), "a dangling symbolic link is refused and not passed over");
        // Nobody can look into what is no folder, as into one without permission.
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(plugin_source(&file, "redact"), PluginSource::File(file.join("redact.wasm")));
        assert!(matches!(plugin_source(&dir.path().join("missing"), "redact"), PluginSource::Bundled(_)));
    }
}
