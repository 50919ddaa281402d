//! Loads a link's plugins and makes chains of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use sha2::{Digest, Sha256};
use strait_core::config::OnError;
use strait_core::edit::Generation;
use strait_flow::ports::{Chain, ChainError, ChainFactory};

use crate::api::effects::{CONTENT, EMIT, effect_names};
use crate::api::v0_1::PluginPre;
use crate::api::v0_1::exports::strait::plugin::transform as wit;
use crate::chain::PluginChain;
use crate::error::{ConfigMistake, LoadError, LoadProblem};
use crate::guest::{Fault, HostEngine, Instance, Limits, State};
use crate::health::{Health, Key, PluginHealth};
use crate::package::{Manifest, Package};
use crate::reload::PluginVersion;
use crate::schema;
use crate::text::{clean, hex};
use crate::trust::Trust;

/// Digits of digests in a generation.
const DIGEST_DIGITS: usize = 12;

/// Where a plugin comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginSource {
    /// A file.
    File(PathBuf),
    /// One of [`crate::bundled_names`].
    Bundled(String),
}

impl std::fmt::Display for PluginSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Bundled(_) => f.write_str("bundled"),
        }
    }
}

/// One plugin of a chain.
#[derive(Clone, Debug)]
pub struct PluginSpec {
    /// Its name in the link, for logs, errors and metrics.
    pub name: String,
    /// Where it is.
    pub source: PluginSource,
    /// Its configuration, secrets resolved; null is an empty object.
    pub config: Value,
    /// The configuration as written, before secrets, for the generation; `None` where it holds no secrets.
    pub config_as_written: Option<Value>,
    /// What its file must be: pinned, signed.
    pub trust: Trust,
    /// What it may use.
    pub limits: Limits,
    /// What becomes of a record that it breaks on.
    pub on_error: OnError,
    /// Whether it may import WASI 0.2; what it gets is a system in which there is nothing (see docs/plugins.md).
    pub wasi: bool,
    /// Nothing may pass that it did not judge, and its own words stay out of logs and errors. A plugin that says
    /// `fails-closed` is required whatever this says.
    pub required: bool,
    /// Its own words may be told although it is required: for its author, who tries it on records of their own. Never in a link.
    pub words_told: bool,
    /// It may follow a required plugin that edits records although it could undo what that one did.
    pub allow_after: bool,
}

impl PluginSpec {
    /// A plugin with default limits.
    #[must_use]
    pub fn new(name: impl Into<String>, source: PluginSource, config: Value) -> Self {
        Self {
            name: name.into(),
            source,
            config,
            config_as_written: None,
            trust: Trust::default(),
            limits: Limits::default(),
            on_error: OnError::default(),
            wasi: false,
            required: false,
            words_told: false,
            allow_after: false,
        }
    }
}

/// The link, as its plugins are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkInfo {
    /// Its name.
    pub link: String,
    /// Alias of the source cluster.
    pub source: String,
    /// Its region.
    pub source_region: Option<String>,
    /// Alias of the target cluster.
    pub target: String,
    /// Its region.
    pub target_region: Option<String>,
}

/// How the link names target topics; applied once, to the name that the last plugin left.
#[derive(Clone)]
pub enum Naming {
    /// The same name.
    Identity,
    /// This text before the name, such as `aws.`.
    Prefix(String),
    /// As the caller computes it. Must depend on nothing but the name.
    With(Arc<dyn Fn(&str) -> String + Send + Sync>),
}

impl std::fmt::Debug for Naming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Identity => f.write_str("Identity"),
            Self::Prefix(prefix) => write!(f, "Prefix({prefix:?})"),
            Self::With(_) => f.write_str("With(..)"),
        }
    }
}

impl Naming {
    pub(crate) fn apply(&self, topic: &str) -> String {
        match self {
            Self::Identity => topic.to_owned(),
            Self::Prefix(prefix) => format!("{prefix}{topic}"),
            Self::With(name) => name(topic),
        }
    }
}

/// The plugins of a link, in order.
#[derive(Clone, Debug)]
pub struct ChainSpec {
    /// In the order in which they see a record. May be empty: then only naming is applied.
    pub plugins: Vec<PluginSpec>,
    /// The link.
    pub link: LinkInfo,
    /// Final names.
    pub naming: Naming,
}

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

/// A loaded chain: one generation, immutable. Makes a chain per lane.
pub struct HostChains {
    shared: Arc<Shared>,
}

/// What all chains of a generation share.
pub(crate) struct Shared {
    pub(crate) engine: HostEngine,
    pub(crate) plugins: Vec<Arc<Loaded>>,
    pub(crate) link: LinkInfo,
    pub(crate) naming: Naming,
    pub(crate) generation: Generation,
}

/// A plugin that was tried once and can be started again.
pub(crate) struct Loaded {
    pub(crate) name: Arc<str>,
    /// `sha256:` and 64 hexadecimal digits, of the file.
    pub(crate) digest: Arc<str>,
    source: PluginSource,
    /// Its file is pinned, or signed by a key that the operator trusts.
    pub(crate) vouched: bool,
    pub(crate) manifest: Manifest,
    pub(crate) on_error: OnError,
    pub(crate) health: Arc<Health>,
    pub(crate) reject_codes: Vec<Arc<str>>,
    pub(crate) limits: Limits,
    pub(crate) required: bool,
    /// Its own words stay out of logs and errors, as they may hold personal data.
    pub(crate) silent: bool,
    pub(crate) counters: Vec<AtomicU64>,
    pre: PluginPre<State>,
    config: String,
    /// Name, digest and configuration.
    identity: String,
}

impl HostChains {
    /// Reads, checks, compiles and tries each plugin: start, describe, configure. Blocks for as long as compiling takes.
    ///
    /// # Errors
    /// [`LoadError`] of the first plugin that does not load.
    pub fn load(engine: &HostEngine, spec: ChainSpec) -> Result<Arc<Self>, LoadError> {
        let mut plugins: Vec<Arc<Loaded>> = Vec::new();
        for plugin in spec.plugins {
            let (name, origin, allow_after) = (plugin.name.clone(), plugin.source.to_string(), plugin.allow_after);
            let loaded = Loaded::load(engine, plugin, &spec.link).and_then(|loaded| match allow_after {
                true => Ok(loaded),
                false => loaded.check_place(&plugins).map(|()| loaded),
            });
            let loaded = loaded.map_err(|problem| LoadError { plugin: name, origin, problem })?;
            plugins.push(Arc::new(loaded));
        }
        let identities: Vec<&str> = plugins.iter().map(|p| p.identity.as_str()).collect();
        let generation = generation(&identities);
        Ok(Arc::new(Self {
            shared: Arc::new(Shared {
                engine: engine.clone(),
                plugins,
                link: spec.link,
                naming: spec.naming,
                generation,
            }),
        }))
    }

    /// The plugins' names, digests and configurations: `name@digest+configuration`, in order.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.shared.generation.clone()
    }

    /// What each plugin says of itself, in order, with its name in the link.
    pub fn manifests(&self) -> impl Iterator<Item = (&Arc<str>, &Manifest)> {
        self.shared.plugins.iter().map(|p| (&p.name, &p.manifest))
    }

    /// Where each plugin came from, by its name in the link, in order.
    pub fn sources(&self) -> impl Iterator<Item = (&Arc<str>, &PluginSource)> {
        self.shared.plugins.iter().map(|p| (&p.name, &p.source))
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Name in the link, digest of the file and author's version of each plugin, in order.
    #[must_use]
    pub fn versions(&self) -> Vec<PluginVersion> {
        let version = |plugin: &Arc<Loaded>| PluginVersion {
            name: plugin.name.to_string(),
            digest: plugin.digest.to_string(),
            version: plugin.manifest.version.clone(),
        };
        self.shared.plugins.iter().map(version).collect()
    }

    /// What the plugins counted in accepted batches.
    #[must_use]
    pub fn counters(&self) -> Vec<CounterValue> {
        let mut values = Vec::new();
        for plugin in &self.shared.plugins {
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
        self.shared.plugins.iter().map(|plugin| plugin.health.snapshot()).collect()
    }

    /// A fresh chain, as its own type.
    ///
    /// # Errors
    /// [`ChainError`] when an instance cannot be made.
    pub fn plugin_chain(&self) -> Result<PluginChain, ChainError> {
        PluginChain::new(self.shared.clone())
    }
}

impl ChainFactory for HostChains {
    fn chain(&self) -> Result<Box<dyn Chain>, ChainError> {
        Ok(Box::new(self.plugin_chain()?))
    }
}

impl std::fmt::Debug for HostChains {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostChains").field("generation", &self.shared.generation).finish_non_exhaustive()
    }
}

impl Loaded {
    fn load(engine: &HostEngine, spec: PluginSpec, link: &LinkInfo) -> Result<Self, LoadProblem> {
        let package = Package::open(&spec.source, &spec.limits, &spec.trust, spec.wasi)?;
        let pre = engine.compile(package.digest, &package.component)?;
        let mut trial = Instance::start(engine, &pre, &spec.limits).map_err(|f| f.at("start"))?;
        let about = trial.describe(&spec.limits).map_err(|f| f.at("describe"))?;
        let manifest = Manifest::check(about, &spec.limits)?;

        let config = match spec.config {
            Value::Null => Value::Object(serde_json::Map::new()),
            config => config,
        };
        schema::check(&manifest.config_schema, &config)?;
        let config_digest = config_digest(spec.config_as_written.as_ref().unwrap_or(&config));
        let digest = hex(&package.digest);
        let required = spec.required || manifest.fails_closed;
        if required && spec.on_error == OnError::Pass {
            return Err(LoadProblem::PassRefused);
        }
        let whole_digest: Arc<str> = format!("sha256:{digest}").into();
        let health = engine.healths().of(Key {
            link: link.link.clone(),
            plugin: spec.name.clone(),
            digest: whole_digest.clone(),
            config: config_digest.clone(),
        });
        let loaded = Self {
            digest: whole_digest,
            on_error: spec.on_error,
            health,
            identity: identity(&spec.name, &digest, &config_digest),
            source: spec.source,
            vouched: spec.trust.digest.is_some() || !spec.trust.keys.is_empty(),
            name: spec.name.into(),
            reject_codes: manifest.reject_codes.iter().map(|code| code.as_str().into()).collect(),
            counters: manifest.counters.iter().map(|_| AtomicU64::new(0)).collect(),
            required,
            silent: required && !spec.words_told,
            manifest,
            limits: spec.limits,
            pre,
            config: config.to_string(),
        };
        let configured = trial.configure(&loaded.limits, &loaded.config, wit_link(link));
        configured.map_err(|f| f.at("configure"))?.map_err(|mistakes| {
            let mistakes = mistakes.into_iter().take(20).map(|mistake| ConfigMistake {
                pointer: clean(&mistake.path, 256),
                message: clean(&mistake.message, 512),
            });
            LoadProblem::ConfigureRefused(mistakes.collect())
        })?;
        Ok(loaded)
    }

    /// What a required plugin took out of the records, no later one may put back unnoticed.
    fn check_place(&self, earlier: &[Arc<Self>]) -> Result<(), LoadProblem> {
        let could_undo = self.manifest.effects & (CONTENT | EMIT);
        let guarded = earlier.iter().find(|plugin| plugin.required && plugin.manifest.effects & CONTENT != 0);
        match guarded {
            Some(earlier) if could_undo != 0 => Err(LoadProblem::AfterRequired {
                earlier: earlier.name.to_string(),
                effects: effect_names(could_undo).join(", "),
            }),
            _ => Ok(()),
        }
    }

    /// A configured instance.
    pub(crate) fn start(&self, engine: &HostEngine, link: &LinkInfo) -> Result<Instance, String> {
        let text = |call: &str, fault: Fault| format!("{call}: {}", fault.text(self.silent));
        let mut instance = Instance::start(engine, &self.pre, &self.limits).map_err(|f| text("start", f))?;
        let configured = instance.configure(&self.limits, &self.config, wit_link(link));
        match configured.map_err(|f| text("configure", f))? {
            Ok(()) => Ok(instance),
            Err(_) => Err("configure: it refuses the configuration that it took when it was loaded".into()),
        }
    }
}

fn identity(name: &str, digest: &str, config_digest: &str) -> String {
    let short = |digest: &str| digest.get(..DIGEST_DIGITS).unwrap_or(digest).to_owned();
    format!("{name}@{}+{}", short(digest), short(config_digest))
}

fn config_digest(written: &Value) -> String {
    hex(&Sha256::digest(written.to_string().as_bytes()))
}

/// The generation that [`HostChains::load`] would give, from the files as they are now: nothing is checked or run.
///
/// # Errors
/// [`LoadError`] of the first plugin whose file cannot be read.
pub fn generation_of(spec: &ChainSpec) -> Result<Generation, LoadError> {
    let mut identities = Vec::new();
    for plugin in &spec.plugins {
        let digest = Package::digest(&plugin.source, &plugin.limits).map_err(|problem| LoadError {
            plugin: plugin.name.clone(),
            origin: plugin.source.to_string(),
            problem,
        })?;
        let empty = Value::Object(serde_json::Map::new());
        let config = if plugin.config.is_null() { &empty } else { &plugin.config };
        let config_digest = config_digest(plugin.config_as_written.as_ref().unwrap_or(config));
        identities.push(identity(&plugin.name, &hex(&digest), &config_digest));
    }
    Ok(generation(&identities))
}

fn generation(identities: &[impl AsRef<str>]) -> Generation {
    if identities.is_empty() {
        return Generation::default();
    }
    let all: Vec<&str> = identities.iter().map(AsRef::as_ref).collect();
    Generation(all.join(",").into())
}

fn wit_link(link: &LinkInfo) -> wit::LinkInfo<'_> {
    wit::LinkInfo {
        link: &link.link,
        source: &link.source,
        source_region: link.source_region.as_deref(),
        target: &link.target,
        target_region: link.target_region.as_deref(),
    }
}
