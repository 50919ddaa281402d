//! A loaded generation of plugins, from which each lane gets its chain.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use strait_core::edit::Generation;
use strait_flow::ports::{Chain, ChainError, ChainFactory, Next};

use crate::chain::PluginChain;
use crate::error::LoadError;
use crate::guest::HostEngine;
use crate::health::PluginHealth;
use crate::load::{ChainSpec, Counter, LoadedPlugin, Manifest, PluginSet, PluginSource};

/// A plugin's counter, summed over all chains of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterValue {
    /// Name of the plugin in the link.
    pub plugin: Arc<str>,
    /// Name of the counter.
    pub counter: String,
    /// The rule that it is of; empty for the whole plugin.
    pub rule: String,
    /// The sum.
    pub value: u64,
}

/// A plugin of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginVersion {
    /// Name of the plugin in the link.
    pub name: String,
    /// Digest of its file: `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// Version, from its author.
    pub version: String,
}

/// One immutable generation of loaded plugins. Makes a chain per lane.
pub struct HostChains {
    set: Arc<PluginSet>,
    /// Why there are no chains of it.
    fault: Option<String>,
}

impl HostChains {
    /// Reads, checks and compiles each plugin, and tries it: start, describe, configure. Blocks
    /// while it compiles.
    ///
    /// # Errors
    /// [`LoadError`] of the first plugin that does not load.
    pub fn load(engine: &HostEngine, spec: ChainSpec) -> Result<Arc<Self>, LoadError> {
        Ok(Arc::new(Self { set: Arc::new(PluginSet::load(engine, spec)?), fault: None }))
    }

    /// Stands for the plugins of a link that did not load, until others are loaded in their place.
    /// No chain is made of it, so that nothing passes.
    ///
    /// # Errors
    /// [`LoadError`]: the configuration beside the plugins is wrong.
    pub fn not_loaded(engine: &HostEngine, spec: ChainSpec, fault: &LoadError) -> Result<Arc<Self>, LoadError> {
        let mut set = PluginSet::load(engine, ChainSpec { plugins: Vec::new(), ..spec })?;
        set.generation = Generation(Generation::NOT_LOADED.into());
        set.digest = Generation::NOT_LOADED.into();
        Ok(Arc::new(Self { set: Arc::new(set), fault: Some(fault.to_string()) }))
    }

    /// Returns why there are no plugins to make a chain of.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Returns the generation: `name@digest+configuration` of each plugin, in order.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.set.generation.clone()
    }

    /// Returns the digest of all that decides what passes or is shown, by which an operator agrees
    /// to the generation.
    #[must_use]
    pub fn digest(&self) -> &Arc<str> {
        &self.set.digest
    }

    /// Returns each plugin's name in the link and its manifest, in order.
    pub fn manifests(&self) -> impl Iterator<Item = (&Arc<str>, &Manifest)> {
        self.set.plugins.iter().map(|p| (&p.name, &p.manifest))
    }

    /// Returns each plugin's name in the link and its source, in order.
    pub fn sources(&self) -> impl Iterator<Item = (&Arc<str>, &PluginSource)> {
        self.set.plugins.iter().map(|p| (&p.name, &p.source))
    }

    pub(crate) fn set(&self) -> &PluginSet {
        &self.set
    }

    /// Returns each plugin's name, digest and version, in order.
    #[must_use]
    pub fn versions(&self) -> Vec<PluginVersion> {
        let version = |plugin: &Arc<LoadedPlugin>| PluginVersion {
            name: plugin.name.to_string(),
            digest: plugin.digest.to_string(),
            version: plugin.manifest.version.clone(),
        };
        self.set.plugins.iter().map(version).collect()
    }

    /// Returns the plugins' counters. They count accepted batches only.
    #[must_use]
    pub fn counters(&self) -> Vec<CounterValue> {
        self.counted(|_| true)
    }

    /// Returns the counters that are expected to count: it would be strange if one never did.
    #[must_use]
    pub fn expected_counters(&self) -> Vec<CounterValue> {
        self.counted(|counter| counter.expected)
    }

    fn counted(&self, is_wanted: fn(&Counter) -> bool) -> Vec<CounterValue> {
        let mut values = Vec::new();
        for plugin in &self.set.plugins {
            for (counter, sum) in plugin.counters.iter().zip(&plugin.counts).filter(|(counter, _)| is_wanted(counter)) {
                values.push(CounterValue {
                    plugin: Arc::clone(&plugin.name),
                    counter: counter.name.clone(),
                    rule: counter.rule.clone(),
                    value: sum.load(Ordering::Relaxed),
                });
            }
        }
        values
    }

    /// Returns each plugin's health, in order. It lives as long as the process: a reload does not
    /// reset it.
    #[must_use]
    pub fn health(&self) -> Vec<PluginHealth> {
        self.set.plugins.iter().map(|plugin| plugin.health.snapshot()).collect()
    }

    /// Makes a chain, as its own type.
    ///
    /// # Errors
    /// [`ChainError`]: an instance cannot be started.
    pub fn plugin_chain(&self) -> Result<PluginChain, ChainError> {
        if let Some(fault) = &self.fault {
            return Err(ChainError {
                plugin: self.set.link.link.as_str().into(),
                generation: self.generation(),
                offset: None,
                reason: fault.clone(),
                next: Next::Stop,
            });
        }
        PluginChain::new(Arc::clone(&self.set))
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
