//! The loaded plugins of a link.

use std::sync::Arc;

use strait_core::edit::Generation;

use super::framing::Frames;
use super::identity::{digest, generation};
use super::loaded::LoadedPlugin;
use super::spec::{ChainSpec, LinkInfo, TopicNaming};
use crate::error::{LoadError, LoadProblem};
use crate::guest::HostEngine;

/// The loaded plugins of one generation, shared by all its chains.
pub(crate) struct PluginSet {
    pub(crate) engine: HostEngine,
    pub(crate) plugins: Vec<Arc<LoadedPlugin>>,
    pub(crate) link: LinkInfo,
    pub(crate) naming: TopicNaming,
    pub(crate) frames: Frames,
    pub(crate) generation: Generation,
    /// Digest of all that decides what passes or is shown.
    pub(crate) digest: Arc<str>,
}

impl PluginSet {
    /// Loads each plugin, in order.
    ///
    /// # Errors
    /// [`LoadError`] of the first plugin that does not load.
    pub(crate) fn load(engine: &HostEngine, mut spec: ChainSpec) -> Result<Self, LoadError> {
        let frames = Frames::new(&spec.link.framing).map_err(|error| LoadError {
            plugin: spec.link.link.clone(),
            origin: "[[links.values]]".to_owned(),
            of_file: false,
            problem: LoadProblem::BadManifest(error.to_string()),
        })?;
        let mut plugins: Vec<Arc<LoadedPlugin>> = Vec::new();
        for plugin in std::mem::take(&mut spec.plugins) {
            let (name, allow_after, source) = (plugin.name.clone(), plugin.allow_after, plugin.source.clone());
            let loaded = LoadedPlugin::load(engine, plugin, &spec.link);
            let loaded = loaded.map_err(|problem| source.error(&name, problem))?;
            if !allow_after {
                loaded.check_place(&plugins)?;
            }
            plugins.push(Arc::new(loaded));
        }
        for (at, plugin) in plugins.iter().enumerate() {
            plugin.check_sight(plugins.get(at + 1..).unwrap_or_default())?;
        }
        let identities: Vec<&str> = plugins.iter().map(|p| p.identity.as_str()).collect();
        let generation = generation(&identities);
        let entries = plugins.iter().map(|plugin| plugin.entry.clone()).collect();
        // Each plugin has a digest of its own by now.
        let digest = digest(entries, &spec.naming, &spec.link)?;
        let ChainSpec { link, naming, .. } = spec;
        Ok(Self { engine: engine.clone(), plugins, link, naming, frames, generation, digest })
    }
}
