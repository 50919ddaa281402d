//! A loaded plugin: read, checked, compiled and tried once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use regex::RegexSet;
use semver::Version;
use serde_json::Value;
use strait_core::config::OnError;
use strait_core::generation::PluginManifest;

use super::counters::{self, Counter};
use super::identity::{config_digest, entry, identity};
use super::manifest::Manifest;
use super::package::Package;
use super::schema;
use super::spec::{LinkInfo, PluginSource, PluginSpec};
use crate::api::Interface;
use crate::api::effects::{CONTENT, EMIT, effect_names};
use crate::api::v0_2::exports::strait::plugin::transform as wit;
use crate::error::{ConfigMistake, LoadError, LoadProblem, TrustError};
use crate::fields::FIELDS_MAX;
use crate::guest::{Fault, GuestLimits, GuestPre, HostEngine, Instance, LogRate};
use crate::health::{Health, Key};
use crate::text::{clean, hex, whole_names};

/// Who decides whether a value in which a path meets another shape counts as parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shapes {
    /// It does not, whatever the plugin says.
    Strict,
    /// The plugin.
    AsAsked,
}

/// Options of the link: 1, the most fields of a plan, and 2, residency, where it is demanded.
static LINK_OPTIONS: [(u32, &[u8]); 2] = [(1, &(FIELDS_MAX as u32).to_le_bytes()), (2, &[1])];

/// A plugin that was tried once and can be started again.
pub(crate) struct LoadedPlugin {
    pub(crate) name: Arc<str>,
    /// Digest of the file: `sha256:` and 64 hexadecimal digits.
    pub(crate) digest: Arc<str>,
    pub(crate) source: PluginSource,
    /// The operator has pinned its file.
    is_pinned: bool,
    /// A trusted key has signed its file and its version.
    is_signed: bool,
    pub(crate) manifest: Manifest,
    pub(crate) on_error: OnError,
    pub(crate) health: Arc<Health>,
    pub(crate) reject_codes: Vec<Arc<str>>,
    pub(crate) limits: GuestLimits,
    pub(crate) required: bool,
    interface: Interface,
    /// It may see records before a required plugin does.
    is_raw: bool,
    /// The operator's bound on the topics that it may name.
    pub(crate) topics_allowed: Option<RegexSet>,
    /// Its own messages are withheld from logs, errors, the status and headers, as they may hold
    /// data of records. The reasons of bundled plugins hold none.
    pub(crate) silent: bool,
    /// Its last words are withheld, and names that it makes from records.
    pub(crate) hides_data: bool,
    pub(crate) counters: Vec<Counter>,
    /// The sums of the counters.
    pub(crate) counts: Vec<AtomicU64>,
    /// The records of accepted batches that it was called with.
    pub(crate) shown: AtomicU64,
    pub(crate) log_rate: LogRate,
    /// It was said that some of its claims are not made.
    pub(crate) told_unmade: AtomicBool,
    pre: GuestPre,
    config: String,
    /// Name, digest and configuration.
    pub(crate) identity: String,
    /// All that is set for it.
    pub(super) entry: PluginManifest,
}

/// An instance of a loaded plugin does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// It broke in a call.
    #[error("{call}: {reason}")]
    Broke { call: &'static str, reason: String },
    /// It refuses the configuration that it took when it was loaded.
    #[error("configure: it refuses the configuration that it took when it was loaded")]
    Refused,
}

impl LoadedPlugin {
    pub(crate) fn load(engine: &HostEngine, spec: PluginSpec, link: &LinkInfo) -> Result<Self, LoadProblem> {
        let package = Package::open(&spec.source, &spec.limits, &spec.trust, spec.wasi)?;
        let pre = engine.compile(package.digest, package.interface, &package.bytes, &spec.limits)?;
        let mut trial = Instance::start(engine, &pre, &spec.limits).map_err(|f| f.at("start"))?;
        let about = trial.describe(&spec.limits).map_err(|f| f.at("describe"))?;
        let manifest = Manifest::check(about)?;
        if let Some(vouched) = package.vouched.as_ref().filter(|vouched| vouched.version != manifest.version) {
            let (signed, found) = (vouched.version.clone(), manifest.version);
            return Err(LoadProblem::Untrusted(TrustError::OtherVersion { signed, found }));
        }
        let entry = entry(&spec, &package.digest, package.interface);
        let identity = identity(&entry)?;

        let config = match spec.config {
            Value::Null => Value::Object(serde_json::Map::new()),
            config => config,
        };
        schema::check(&manifest.config_schema, &config)?;
        let config_digest = config_digest(spec.config_as_written.as_ref().unwrap_or(&config));
        let digest = hex(&package.digest);
        let required = spec.required || manifest.fails_closed;
        if !required && link.residency {
            return Err(LoadProblem::NotRequired);
        }
        if required && spec.on_error == OnError::Pass {
            return Err(LoadProblem::PassRefused);
        }
        let topics_allowed = spec.output_topics.as_deref().map(whole_names).transpose();
        let topics_allowed = topics_allowed.map_err(LoadProblem::OutputTopics)?;
        let whole_digest: Arc<str> = format!("sha256:{digest}").into();
        let is_bundled = matches!(spec.source, PluginSource::Bundled(_));
        let health = engine.healths().of(Key {
            link: link.link.clone(),
            plugin: spec.name.clone(),
            digest: Arc::clone(&whole_digest),
            config: config_digest,
        });
        let mut loaded = Self {
            digest: whole_digest,
            on_error: spec.on_error,
            health,
            identity,
            entry,
            source: spec.source,
            is_pinned: spec.trust.digest.is_some(),
            is_signed: package.vouched.is_some(),
            name: spec.name.into(),
            reject_codes: manifest.reject_codes.iter().map(|code| code.as_str().into()).collect(),
            log_rate: LogRate::new(Arc::clone(engine.clock())),
            told_unmade: AtomicBool::new(false),
            counters: Vec::new(),
            counts: Vec::new(),
            shown: AtomicU64::new(0),
            required,
            interface: package.interface,
            silent: !spec.show_guest_messages && !is_bundled,
            hides_data: !spec.show_guest_messages,
            is_raw: is_bundled || spec.may_see_raw,
            topics_allowed,
            manifest,
            limits: spec.limits,
            pre,
            config: config.to_string(),
        };
        let configured = trial.configure(&loaded.limits, &loaded.config, wit_link(link));
        let ready = configured.map_err(|f| f.at("configure"))?.map_err(|mistakes| {
            let mistakes = mistakes.into_iter().take(20).map(|mistake| ConfigMistake {
                pointer: clean(&mistake.path, 256),
                message: clean(&mistake.message, 512),
            });
            LoadProblem::ConfigureRefused(mistakes.collect())
        })?;
        loaded.counters = counters::check(ready, &loaded.limits)?;
        loaded.counts = loaded.counters.iter().map(|_| AtomicU64::new(0)).collect();
        Ok(loaded)
    }

    /// Returns who decides about values in which a path of its fields meets another shape. A
    /// required plugin of an interface that knows no such state must not be shown them: it would
    /// take its field to be missing.
    pub(crate) fn shapes(&self) -> Shapes {
        if self.required && self.interface == Interface::V0_1 { Shapes::Strict } else { Shapes::AsAsked }
    }

    /// Checks that it sees no record before a required plugin behind it has judged it, unless the
    /// operator says so: it could put what it sees anywhere, also into a later record, where the
    /// other one drops this one.
    pub(crate) fn check_sight(&self, later: &[Arc<Self>]) -> Result<(), LoadError> {
        let Some(later) = later.iter().find(|plugin| plugin.required).filter(|_| !self.is_raw) else {
            return Ok(());
        };
        // The order is in the configuration, and often that the other one is required.
        let of_file = !later.entry.required && later.source.is_file();
        Err(self.error(LoadProblem::BeforeRequired { later: later.name.to_string() }, of_file))
    }

    fn error(&self, problem: LoadProblem, of_file: bool) -> LoadError {
        LoadError { of_file, ..self.source.error(&self.name, problem) }
    }

    /// Returns whether it is required and edits records.
    fn edits_for_sure(&self) -> bool {
        self.required && self.manifest.effects & CONTENT != 0
    }

    /// Checks that it cannot silently undo the edits of a required plugin before it.
    pub(crate) fn check_place(&self, earlier: &[Arc<Self>]) -> Result<(), LoadError> {
        let could_undo = self.manifest.effects & (CONTENT | EMIT);
        let guarded = earlier.iter().find(|plugin| plugin.edits_for_sure());
        let Some(earlier) = guarded.filter(|_| could_undo != 0) else { return Ok(()) };
        // The effects are those that each of the two declares.
        let of_file = self.source.is_file() || earlier.source.is_file();
        let effects = effect_names(could_undo).join(", ");
        Err(self.error(LoadProblem::AfterRequired { earlier: earlier.name.to_string(), effects }, of_file))
    }

    /// Starts a configured instance.
    ///
    /// # Errors
    /// [`StartError`].
    pub(crate) fn start(&self, engine: &HostEngine, link: &LinkInfo) -> Result<Instance, StartError> {
        let broke = |call, fault: Fault| StartError::Broke { call, reason: fault.text(self.silent) };
        let mut instance = Instance::start(engine, &self.pre, &self.limits).map_err(|f| broke("start", f))?;
        let configured = instance.configure(&self.limits, &self.config, wit_link(link));
        match configured.map_err(|f| broke("configure", f))? {
            Ok(_) => Ok(instance),
            Err(_) => Err(StartError::Refused),
        }
    }

    /// Returns whether it has another file than `before`, which the operator has pinned, and the
    /// same configuration: nobody vouches for another one.
    pub(crate) fn is_vouched_change(&self, before: &Self) -> bool {
        self.is_pinned && self.digest != before.digest && self.entry.config == before.entry.config
    }

    /// Returns whether it has another file than `before`, for which nobody vouches: neither a pin
    /// nor a trusted key. A bundled plugin is a part of this program.
    pub(crate) fn is_unknown_file(&self, before: &Self) -> bool {
        self.source.is_file() && self.digest != before.digest && !self.is_pinned && !self.is_signed
    }

    /// Returns whether it is an older version than `before` of a plugin whose versions are signed.
    pub(crate) fn is_older_than(&self, before: &Self) -> bool {
        let version = |plugin: &Self| Version::parse(&plugin.manifest.version).ok().filter(|_| plugin.is_signed);
        version(self).zip(version(before)).is_some_and(|(now, until_now)| now < until_now)
    }

    /// Returns whether all that is set for it is the same, and its file.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.entry == other.entry
    }
}

fn wit_link(link: &LinkInfo) -> wit::LinkInfo<'_> {
    wit::LinkInfo {
        link: &link.link,
        source: &link.source,
        source_region: link.source_region.as_deref(),
        target: &link.target,
        target_region: link.target_region.as_deref(),
        options: if link.residency { &LINK_OPTIONS } else { &LINK_OPTIONS[..1] },
    }
}
