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
            problem: LoadProblem::BadManifest(error.to_string()),
        })?;
        let mut plugins: Vec<Arc<LoadedPlugin>> = Vec::new();
        for plugin in std::mem::take(&mut spec.plugins) {
            let (name, origin, allow_after) = (plugin.name.clone(), plugin.source.to_string(), plugin.allow_after);
            let loaded = LoadedPlugin::load(engine, plugin, &spec.link).and_then(|loaded| match allow_after {
                true => Ok(loaded),
                false => loaded.check_place(&plugins).map(|()| loaded),
            });
            let loaded = loaded.map_err(|problem| LoadError { plugin: name, origin, problem })?;
            plugins.push(Arc::new(loaded));
        }
        for (at, plugin) in plugins.iter().enumerate() {
            let later = plugins.get(at + 1..).unwrap_or_default();
            plugin.check_sight(later).map_err(|problem| LoadError {
                plugin: plugin.name.to_string(),
                origin: plugin.source.to_string(),
                problem,
            })?;
        }
        let identities: Vec<&str> = plugins.iter().map(|p| p.identity.as_str()).collect();
        let generation = generation(&identities);
        let entries = plugins.iter().map(|plugin| plugin.entry.clone()).collect();
        // Each plugin has a digest of its own by now.
        let digest = digest(entries, &spec.naming, &spec.link).map_err(|problem| LoadError {
            plugin: spec.link.link.clone(),
            origin: "the plugins of the link".to_owned(),
            problem,
        })?;
        let ChainSpec { link, naming, .. } = spec;
        Ok(Self { engine: engine.clone(), plugins, link, naming, frames, generation, digest })
    }
}
