//! Write Strait plugins in Rust.
//!
//! A plugin implements [`Plugin`] and ends with [`plugin!`]. The host calls it once per batch; the
//! SDK calls [`Plugin::on_record`] for each record and collects the actions. Only the columns that
//! the plugin asks for are copied into it.
//!
//! ```
//! use strait_plugin_sdk::testing::{TestRecord, Tester};
//! use strait_plugin_sdk::{
//!     About, Action, ConfigError, LinkInfo, Needs, Plugin, Record, TopicPlan, column, effect, plugin,
//! };
//!
//! struct DropTests;
//!
//! impl Plugin for DropTests {
//!     fn about() -> About {
//!         About {
//!             name: "drop-tests".into(),
//!             version: "1.0.0".into(),
//!             effects: effect::DROP,
//!             ..About::default()
//!         }
//!     }
//!
//!     fn configure(_config: &str, _link: &LinkInfo) -> Result<Self, Vec<ConfigError>> {
//!         Ok(Self)
//!     }
//!
//!     fn open_topic(&mut self, _topic: &str, _partitions: u32) -> Result<TopicPlan, String> {
//!         Ok(TopicPlan::reads(Needs::columns(column::KEY, effect::DROP)))
//!     }
//!
//!     fn on_record(&mut self, record: &Record<'_>) -> Action {
//!         match record.key() {
//!             Some(key) if key.starts_with(b"test-") => Action::Drop,
//!             _ => Action::Pass,
//!         }
//!     }
//! }
//!
//! plugin!(DropTests);
//!
//! // Unit tests run the plugin natively, without a host.
//! fn main() -> Result<(), String> {
//!     let mut tester = Tester::<DropTests>::new("null")?;
//!     let records = ["test-1", "order-1"].map(|key| TestRecord::new().key(key));
//!     assert_eq!(tester.passed(&records)?, [1]);
//!     Ok(())
//! }
//! ```

mod action;
pub mod json;
pub mod path;
mod record;
#[doc(hidden)]
pub mod run;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

#[doc(hidden)]
#[allow(unsafe_code, missing_docs, clippy::all, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit/v0.1",
        world: "plugin",
        pub_export_macro: true,
        export_macro_name: "export_bindings",
        default_bindings_module: "strait_plugin_sdk::bindings",
        generate_all,
    });
}

pub use action::{Action, Change};
pub use bindings::strait::plugin::host::Level;
pub use bindings::strait::plugin::types::{ConfigError, LinkInfo};
pub use record::{Field, Header, Record, ValueState};

/// Columns that [`Needs::columns`] may name, in sets that belong together. The numbers are those of `plugin.wit`.
pub mod column {
    /// [`crate::Record::offset`].
    pub const OFFSET: &[u32] = &[1];
    /// [`crate::Record::timestamp_ms`].
    pub const TIMESTAMP: &[u32] = &[2];
    /// [`crate::Record::key`].
    pub const KEY: &[u32] = &[3, 4];
    /// [`crate::Record::value`].
    pub const VALUE: &[u32] = &[5, 6];
    /// [`crate::Record::headers`]; say which by [`crate::Needs::headers`] or [`crate::Needs::all_headers`].
    pub const HEADERS: &[u32] = &[12, 13, 14, 15, 16];
    /// [`crate::Record::timestamp_is_append_time`].
    pub const TIMESTAMP_TYPE: &[u32] = &[17];
    /// [`crate::Record::origin`].
    pub const ORIGIN: &[u32] = &[18];
    /// [`crate::Record::value_state`] and [`crate::Record::fields`]; [`crate::Needs::fields`] adds them.
    pub const FIELDS: &[u32] = &[7, 8, 9, 10];
    /// [`crate::Field::pointer`]; [`crate::Needs::field_pointers`] adds it.
    pub const FIELD_POINTERS: &[u32] = &[11];
}

/// Effects of a plugin: bits of [`About::effects`] and of [`Needs::columns`].
pub mod effect {
    /// [`crate::Action::Drop`].
    pub const DROP: u32 = 1;
    /// [`crate::Change::key`].
    pub const KEY: u32 = 1 << 1;
    /// [`crate::Change::value`].
    pub const VALUE: u32 = 1 << 2;
    /// [`crate::Change::field`], [`crate::Change::remove_field`] and [`crate::Change::insert_field`].
    pub const FIELD: u32 = 1 << 3;
    /// The header methods of [`crate::Change`].
    pub const HEADER: u32 = 1 << 4;
    /// [`crate::Change::timestamp_ms`].
    pub const TIMESTAMP: u32 = 1 << 5;
    /// [`crate::Change::topic`], and renaming a topic in [`crate::Plugin::open_topic`].
    pub const TOPIC: u32 = 1 << 6;
    /// [`crate::Change::partition`] and [`crate::Change::partition_by`].
    pub const PARTITION: u32 = 1 << 7;
    /// [`crate::Change::emit`].
    pub const EMIT: u32 = 1 << 8;
    /// [`crate::Action::Reject`].
    pub const REJECT: u32 = 1 << 9;
}

/// Fixed facts about a plugin.
#[derive(Clone, Debug)]
pub struct About {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// One sentence for `strait plugin inspect`.
    pub description: String,
    /// JSON Schema of the configuration; the host checks it before [`Plugin::configure`].
    pub config_schema: String,
    /// The most that this plugin can ever do: [`effect`] bits.
    pub effects: u32,
    /// True for a redactor: a record that it could not judge must not pass.
    pub fails_closed: bool,
    /// Names of the counters that [`count`] adds to.
    pub counters: Vec<String>,
    /// The codes that [`Action::Reject`] gives, by index.
    pub reject_codes: Vec<String>,
}

impl Default for About {
    fn default() -> Self {
        Self {
            name: String::new(),
            version: String::new(),
            description: String::new(),
            config_schema: r#"{"type":["object","null"]}"#.into(),
            effects: 0,
            fails_closed: false,
            counters: Vec::new(),
            reject_codes: Vec::new(),
        }
    }
}

/// What a plugin wants to see of a topic and may do to it.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    columns: Vec<u32>,
    header_names: Vec<Vec<u8>>,
    all_headers: bool,
    fields: Vec<String>,
    effects: u32,
    output_topics: Vec<String>,
    value_bytes_max: u32,
    lookback: Option<(u32, u64)>,
}

impl Needs {
    /// Columns (see [`mod@column`]) and effects (see [`effect`]).
    #[must_use]
    pub fn columns(columns: &[u32], effects: u32) -> Self {
        Self { effects, ..Self::default() }.and(columns)
    }

    /// More columns. One that is named already is not named twice.
    #[must_use]
    pub fn and(mut self, columns: &[u32]) -> Self {
        for column in columns {
            if !self.columns.contains(column) {
                self.columns.push(*column);
            }
        }
        self
    }

    /// More effects.
    #[must_use]
    pub fn may(mut self, effects: u32) -> Self {
        self.effects |= effects;
        self
    }

    /// Headers of these names only, with their columns.
    #[must_use]
    pub fn headers<I: IntoIterator<Item = impl Into<Vec<u8>>>>(mut self, names: I) -> Self {
        self.header_names.extend(names.into_iter().map(Into::into));
        self.and(column::HEADERS)
    }

    /// Every header, with their columns.
    #[must_use]
    pub fn all_headers(mut self) -> Self {
        self.all_headers = true;
        self.and(column::HEADERS)
    }

    /// Fields of JSON values, with their columns and the state of the value: JSONPaths (RFC 9535) made of names, indexes, `[*]`
    /// and `..name`. Their order gives [`Field::field`].
    #[must_use]
    pub fn fields<I: IntoIterator<Item = impl Into<String>>>(mut self, paths: I) -> Self {
        self.fields.extend(paths.into_iter().map(Into::into));
        self.and(column::FIELDS)
    }

    /// Where each field is, as [`Field::pointer`].
    #[must_use]
    pub fn field_pointers(self) -> Self {
        self.and(column::FIELD_POINTERS)
    }

    /// A plugin with memory: one instance per partition, which is shown the log before it judges: at most so many offsets, from 1
    /// to 10,000,000, and not more than so many milliseconds, where that is not 0. It is shown it again whenever it may have
    /// missed something. See [`Record::is_warm_up`].
    #[must_use]
    pub fn lookback(mut self, records: u32, millis: u64) -> Self {
        self.lookback = Some((records, millis));
        self
    }

    /// Full-match regular expressions of the topics that [`Change::topic`] may name.
    #[must_use]
    pub fn output_topics<I: IntoIterator<Item = impl Into<String>>>(mut self, patterns: I) -> Self {
        self.output_topics.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// Records with a longer value, in bytes, are not shown: rejected for a plugin that fails closed, else passed.
    #[must_use]
    pub fn value_bytes_max(mut self, bytes: u32) -> Self {
        self.value_bytes_max = bytes;
        self
    }
}

/// What a plugin does with one topic.
#[derive(Clone, Debug, Default)]
pub struct TopicPlan {
    name: Option<String>,
    needs: Option<Needs>,
}

impl TopicPlan {
    /// The plugin does not look at this topic's records: they cost nothing.
    #[must_use]
    pub fn ignore() -> Self {
        Self::default()
    }

    /// The plugin sees this topic's records.
    #[must_use]
    pub fn reads(needs: Needs) -> Self {
        Self { name: None, needs: Some(needs) }
    }

    /// Renames the topic. It costs nothing per record.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

/// A plugin: one instance per link and lane.
pub trait Plugin: Sized + 'static {
    /// Fixed facts, asked before any configuration.
    fn about() -> About;

    /// Makes the plugin from its configuration (JSON, secrets resolved).
    ///
    /// # Errors
    /// Every mistake in the configuration, with a JSON Pointer to it.
    fn configure(config: &str, link: &LinkInfo) -> Result<Self, Vec<ConfigError>>;

    /// Once per topic. The answer must depend on nothing but the configuration and the topic.
    ///
    /// # Errors
    /// Why the plugin cannot work on this topic; the link stops with this text.
    fn open_topic(&mut self, topic: &str, partitions: u32) -> Result<TopicPlan, String>;

    /// Judges one record. The default passes it.
    fn on_record(&mut self, record: &Record<'_>) -> Action {
        let _ = record;
        Action::Pass
    }

    /// Called after the last record of each batch: the place to [`count`] what was summed up meanwhile, as each call of the
    /// host costs more than a record.
    fn end_batch(&mut self) {}
}

/// Writes to Strait's log. At most 64 messages of 1 KiB a batch; they appear once the batch is accepted.
pub fn log(level: Level, message: &str) {
    #[cfg(target_family = "wasm")]
    bindings::strait::plugin::host::log(level, message);
    #[cfg(not(target_family = "wasm"))]
    testing::note_log(level, message);
}

/// Adds to a counter, by its index in [`About::counters`].
pub fn count(counter: u32, delta: u64) {
    #[cfg(target_family = "wasm")]
    bindings::strait::plugin::host::count(counter, delta);
    #[cfg(not(target_family = "wasm"))]
    testing::note_count(counter, delta);
}

/// A mistake at `path`, a JSON Pointer into the configuration.
#[must_use]
pub fn config_error(path: impl Into<String>, message: impl Into<String>) -> ConfigError {
    ConfigError { path: path.into(), message: message.into() }
}

/// Exports a [`Plugin`] as the component's `transform` interface. Call it once, at the root of the crate.
#[macro_export]
macro_rules! plugin {
    ($plugin:ty) => {
        // Only there do the exports' names make a library; elsewhere the crate is built for its unit tests.
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code, missing_docs, reason = "the exports are generated")]
        const _: () = {
            use $crate::bindings::exports::strait::plugin::transform as wit;
            use $crate::bindings::strait::plugin::types as wit_types;

            type Chosen = $plugin;

            ::std::thread_local! {
                static PLUGIN: ::std::cell::RefCell<Option<Chosen>> = const { ::std::cell::RefCell::new(None) };
            }

            struct Export;

            impl wit::Guest for Export {
                fn describe() -> wit_types::About {
                    $crate::run::describe::<Chosen>()
                }
                fn configure(config: String, link: wit_types::LinkInfo) -> Result<(), Vec<wit_types::ConfigError>> {
                    let made = $crate::run::configure::<Chosen>(&config, &link)?;
                    PLUGIN.set(Some(made));
                    Ok(())
                }
                fn open_topic(topic: String, partitions: u32) -> Result<wit_types::TopicPlan, String> {
                    PLUGIN.with_borrow_mut(|plugin| $crate::run::open_topic(plugin.as_mut(), &topic, partitions))
                }
                fn process(batch: wit_types::Batch) -> Result<wit_types::Edits, String> {
                    PLUGIN.with_borrow_mut(|plugin| $crate::run::process(plugin.as_mut(), &batch))
                }
            }

            $crate::bindings::export_bindings!(Export with_types_in $crate::bindings);
        };

        #[cfg(not(target_family = "wasm"))]
        const _: fn() -> $crate::About = <$plugin as $crate::Plugin>::about;
    };
}

#[cfg(test)]
mod tests;
