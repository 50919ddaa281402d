//! A loaded generation of plugins, from which each lane gets its chain.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use strait_core::edit::Generation;
use strait_flow::ports::{Chain, ChainError, ChainFactory};

use crate::chain::PluginChain;
use crate::error::LoadError;
use crate::guest::HostEngine;
use crate::health::PluginHealth;
use crate::load::{ChainSpec, LoadedPlugin, Manifest, PluginSet, PluginSource};

/// The sum of a plugin's counter over all chains of this factory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterValue {
    /// Name of the plugin in the link.
    pub plugin: Arc<str>,
    /// Name of the counter.
    pub counter: String,
    /// Sum.
    pub value: u64,
}

/// A plugin of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginVersion {
    /// Its name in the link.
    pub name: String,
    /// `sha256:` and 64 hexadecimal digits, of its file.
    pub digest: String,
    /// The version that its author gave it.
    pub version: String,
}

/// A loaded chain: one generation, immutable. Makes a chain per lane.
pub struct HostChains {
    set: Arc<PluginSet>,
}

impl HostChains {
    /// Reads, checks, compiles and tries each plugin: start, describe, configure. Blocks for as long as compiling takes.
    ///
    /// # Errors
    /// [`LoadError`] of the first plugin that does not load.
    pub fn load(engine: &HostEngine, spec: ChainSpec) -> Result<Arc<Self>, LoadError> {
        Ok(Arc::new(Self { set: Arc::new(PluginSet::load(engine, spec)?) }))
    }

    /// The plugins' names, digests and configurations: `name@digest+configuration`, in order.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.set.generation.clone()
    }

    /// What each plugin says of itself, in order, with its name in the link.
    pub fn manifests(&self) -> impl Iterator<Item = (&Arc<str>, &Manifest)> {
        self.set.plugins.iter().map(|p| (&p.name, &p.manifest))
    }

    /// Where each plugin came from, by its name in the link, in order.
    pub fn sources(&self) -> impl Iterator<Item = (&Arc<str>, &PluginSource)> {
        self.set.plugins.iter().map(|p| (&p.name, &p.source))
    }

    pub(crate) fn set(&self) -> &PluginSet {
        &self.set
    }

    /// Name in the link, digest of the file and author's version of each plugin, in order.
    #[must_use]
    pub fn versions(&self) -> Vec<PluginVersion> {
        let version = |plugin: &Arc<LoadedPlugin>| PluginVersion {
            name: plugin.name.to_string(),
            digest: plugin.digest.to_string(),
            version: plugin.manifest.version.clone(),
        };
        self.set.plugins.iter().map(version).collect()
    }

    /// What the plugins counted in accepted batches.
    #[must_use]
    pub fn counters(&self) -> Vec<CounterValue> {
        let mut values = Vec::new();
        for plugin in &self.set.plugins {
            for (counter, sum) in plugin.manifest.counters.iter().zip(&plugin.counters) {
                values.push(CounterValue {
                    plugin: plugin.name.clone(),
                    counter: counter.clone(),
                    value: sum.load(Ordering::Relaxed),
                });
            }
        }
        values
    }

    /// How each plugin fares, in order. What it holds lives as long as the process: a reload does not reset it.
    #[must_use]
    pub fn health(&self) -> Vec<PluginHealth> {
        self.set.plugins.iter().map(|plugin| plugin.health.snapshot()).collect()
    }

    /// A fresh chain, as its own type.
    ///
    /// # Errors
    /// [`ChainError`] when an instance cannot be made.
    pub fn plugin_chain(&self) -> Result<PluginChain, ChainError> {
        PluginChain::new(self.set.clone())
    }
}

impl ChainFactory for HostChains {
    fn chain(&self) -> Result<Box<dyn Chain>, ChainError> {
        Ok(Box::new(self.plugin_chain()?))
    }
}

impl std::fmt::Debug for HostChains {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostChains").field("generation", &self.set.generation).finish_non_exhaustive()
    }
}
