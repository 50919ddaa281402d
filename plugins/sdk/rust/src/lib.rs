//! SDK for Strait plugins in Rust.
//!
//! A plugin implements [`Plugin`] and ends with [`plugin!`]. The host calls it once per batch; the
//! SDK calls [`Plugin::on_record`] for each record and collects the actions. Only the columns that
//! the plugin requests are copied into it.
//!
//! ```
//! use strait_plugin_sdk::testing::{TestRecord, Tester};
//! use strait_plugin_sdk::{
//!     About, Action, ConfigError, LinkInfo, Needs, Plugin, Record, TopicPlan, column, effect,
//!     plugin,
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
        path: "../../../wit/v0.2",
        world: "plugin",
        pub_export_macro: true,
        export_macro_name: "export_bindings",
        default_bindings_module: "strait_plugin_sdk::bindings",
        generate_all,
    });
}

pub use action::{Action, Change};
pub use bindings::strait::plugin::host::Level;
pub use bindings::strait::plugin::types::{ConfigError, Counter, LinkInfo};
pub use record::{Field, Header, Record, ValueState};

/// Columns for [`Needs::columns`], in sets that belong together. The numbers are those of
/// `plugin.wit`.
pub mod column {
    /// [`crate::Record::offset`].
    pub const OFFSET: &[u32] = &[1];
    /// [`crate::Record::timestamp_ms`].
    pub const TIMESTAMP: &[u32] = &[2];
    /// [`crate::Record::key`].
    pub const KEY: &[u32] = &[3, 4];
    /// [`crate::Record::value`].
    pub const VALUE: &[u32] = &[5, 6];
    /// [`crate::Record::headers`]; choose them with [`crate::Needs::headers`] or
    /// [`crate::Needs::all_headers`].
    pub const HEADERS: &[u32] = &[12, 13, 14, 15, 16];
    /// [`crate::Record::timestamp_is_append_time`].
    pub const TIMESTAMP_TYPE: &[u32] = &[17];
    /// [`crate::Record::origin`].
    pub const ORIGIN: &[u32] = &[18];
    /// [`crate::Record::value_state`] and [`crate::Record::fields`]; [`crate::Needs::fields`] adds
    /// them.
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
    /// [`crate::Change::field`], [`crate::Change::remove_field`] and
    /// [`crate::Change::insert_field`].
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

/// The description of a plugin, independent of any configuration.
#[derive(Clone, Debug)]
pub struct About {
    /// Name of the plugin.
    pub name: String,
    /// Version of the plugin.
    pub version: String,
    /// One sentence, printed by `strait plugin inspect`.
    pub description: String,
    /// JSON Schema of the configuration. The host validates the configuration before
    /// [`Plugin::configure`].
    pub config_schema: String,
    /// The most that this plugin can ever do, as [`effect`] bits.
    pub effects: u32,
    /// Whether a record that the plugin could not judge must not pass. Set it for a redactor.
    pub fails_closed: bool,
    /// Reject codes, in the order of the indexes of [`Action::Reject`].
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
            reject_codes: Vec::new(),
        }
    }
}

/// The parts of a topic's records that a plugin reads, and the effects it uses there.
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
    /// Creates needs with columns (see [`mod@column`]) and effects (see [`effect`]).
    #[must_use]
    pub fn columns(columns: &[u32], effects: u32) -> Self {
        Self { effects, ..Self::default() }.and(columns)
    }

    /// Adds columns. Duplicates are ignored.
    #[must_use]
    pub fn and(mut self, columns: &[u32]) -> Self {
        for column in columns {
            if !self.columns.contains(column) {
                self.columns.push(*column);
            }
        }
        self
    }

    /// Adds effects.
    #[must_use]
    pub fn may(mut self, effects: u32) -> Self {
        self.effects |= effects;
        self
    }

    /// Adds headers with these names, and the header columns.
    #[must_use]
    pub fn headers<I: IntoIterator<Item = impl Into<Vec<u8>>>>(mut self, names: I) -> Self {
        self.header_names.extend(names.into_iter().map(Into::into));
        self.and(column::HEADERS)
    }

    /// Adds all headers, and the header columns.
    #[must_use]
    pub fn all_headers(mut self) -> Self {
        self.all_headers = true;
        self.and(column::HEADERS)
    }

    /// Adds fields of JSON values, with their columns and the state of the value: JSONPaths (RFC
    /// 9535) of names, indexes, `[*]` and `..name`. Their order defines [`Field::field`].
    #[must_use]
    pub fn fields<I: IntoIterator<Item = impl Into<String>>>(mut self, paths: I) -> Self {
        self.fields.extend(paths.into_iter().map(Into::into));
        self.and(column::FIELDS)
    }

    /// Adds the location of each field, as [`Field::pointer`].
    #[must_use]
    pub fn field_pointers(self) -> Self {
        self.and(column::FIELD_POINTERS)
    }

    /// Makes the plugin stateful: it gets one instance per partition, which is warmed up from the
    /// log before it judges. The warm-up covers at most `records` offsets (1 to 10,000,000) and, if
    /// `millis` is not 0, at most that age. It is repeated whenever the instance may have missed
    /// something. See [`Record::is_warm_up`].
    #[must_use]
    pub fn lookback(mut self, records: u32, millis: u64) -> Self {
        self.lookback = Some((records, millis));
        self
    }

    /// Adds the topics that [`Change::topic`] may use, as regular expressions that must match the
    /// whole name.
    #[must_use]
    pub fn output_topics<I: IntoIterator<Item = impl Into<String>>>(mut self, patterns: I) -> Self {
        self.output_topics.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// Sets the largest value to pass to the plugin, in bytes. A record with a larger one is
    /// rejected if the plugin fails closed, and otherwise passed on without it.
    #[must_use]
    pub fn value_bytes_max(mut self, bytes: u32) -> Self {
        self.value_bytes_max = bytes;
        self
    }
}

/// The plan of a plugin for one topic.
#[derive(Clone, Debug, Default)]
pub struct TopicPlan {
    name: Option<String>,
    needs: Option<Needs>,
    protects: Option<String>,
    lenient: bool,
}

impl TopicPlan {
    /// Returns a plan in which the plugin does not see the topic's records. They cost nothing.
    #[must_use]
    pub fn ignore() -> Self {
        Self::default()
    }

    /// Returns a plan in which the plugin sees the topic's records.
    #[must_use]
    pub fn reads(needs: Needs) -> Self {
        Self { needs: Some(needs), ..Self::default() }
    }

    /// Renames the topic. Costs nothing per record.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Has values count as parsed in which the path of a field meets something that it cannot step
    /// into, such as a text where an object is looked for. Without this they have the state
    /// [`ValueState::WrongShape`], and never reach a required plugin.
    #[must_use]
    pub fn lenient_shapes(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// Claims what the plugin leaves of parts of the topic's records: a JSON array as `plugin.wit`
    /// describes it. Each claim must be true of every record that the plugin lets pass. Without
    /// claims, the places that a required plugin looks at are held.
    #[must_use]
    pub fn protects(mut self, claims: impl Into<String>) -> Self {
        self.protects = Some(claims.into());
        self
    }
}

/// A plugin. There is one instance per lane, or one per partition if it is stateful.
pub trait Plugin: Sized + 'static {
    /// Returns the description of the plugin. Called before any configuration.
    fn about() -> About;

    /// Creates the plugin from its configuration (JSON, with secrets resolved).
    ///
    /// # Errors
    /// Every mistake in the configuration, with a JSON Pointer to it.
    fn configure(config: &str, link: &LinkInfo) -> Result<Self, Vec<ConfigError>>;

    /// Returns the counters, in the order of the indexes of [`count`]. Called once, after
    /// [`Plugin::configure`]. By default, there are none.
    fn counters(&self) -> Vec<Counter> {
        Vec::new()
    }

    /// Plans the work on a topic. Called once per topic. The result must depend only on the
    /// configuration and the topic.
    ///
    /// # Errors
    /// The reason why the plugin cannot work on this topic. The topic's partitions stop with it.
    fn open_topic(&mut self, topic: &str, partitions: u32) -> Result<TopicPlan, String>;

    /// Judges one record. By default, passes it.
    fn on_record(&mut self, record: &Record<'_>) -> Action {
        let _ = record;
        Action::Pass
    }

    /// Ends a batch. Called after its last record. Use it to [`count`] sums, because a call of the
    /// host costs more than a record.
    fn end_batch(&mut self) {}
}

/// Writes to Strait's log. At most 64 messages of 1 KiB per batch; they appear once the batch is
/// accepted.
pub fn log(level: Level, message: &str) {
    #[cfg(target_family = "wasm")]
    bindings::strait::plugin::host::log(level, message);
    #[cfg(not(target_family = "wasm"))]
    testing::record_log(level, message);
}

/// Adds to the counter at an index of [`Plugin::counters`].
pub fn count(counter: u32, delta: u64) {
    #[cfg(target_family = "wasm")]
    bindings::strait::plugin::host::count(counter, delta);
    #[cfg(not(target_family = "wasm"))]
    testing::record_count(counter, delta);
}

/// Returns a counter of the whole plugin, which may stay at 0.
#[must_use]
pub fn counter(name: impl Into<String>) -> Counter {
    Counter { name: name.into(), rule: String::new(), expected: false }
}

/// Returns a counter of one rule, by the operator's name for it. If it counts nothing for many
/// records, Strait reports that (event `rule_silent`).
#[must_use]
pub fn expected_counter(name: impl Into<String>, rule: impl Into<String>) -> Counter {
    Counter { name: name.into(), rule: rule.into(), expected: true }
}

/// Returns whether the operator demands residency of the link: whatever cannot be judged must stay
/// where it is, so a plugin of several behaviours takes the strictest one by default.
#[must_use]
pub fn demands_residency(link: &LinkInfo) -> bool {
    /// Number of the option.
    const RESIDENCY: u32 = 2;
    link.options.iter().any(|(number, value)| *number == RESIDENCY && value.as_slice() == [1])
}

/// Returns a mistake at `path`, a JSON Pointer into the configuration.
#[must_use]
pub fn config_error(path: impl Into<String>, message: impl Into<String>) -> ConfigError {
    ConfigError { path: path.into(), message: message.into() }
}

/// Exports a [`Plugin`] as the component's `transform` interface. Use it once, at the root of the
/// crate.
#[macro_export]
macro_rules! plugin {
    ($plugin:ty) => {
        // Only Wasm builds need the exports; elsewhere the crate is built for its unit tests.
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
                fn configure(
                    config: String,
                    link: wit_types::LinkInfo,
                ) -> Result<wit_types::Ready, Vec<wit_types::ConfigError>> {
                    let made = $crate::run::configure::<Chosen>(&config, &link)?;
                    let ready = $crate::run::ready(&made);
                    PLUGIN.set(Some(made));
                    Ok(ready)
                }
                fn open_topic(topic: wit_types::TopicInfo) -> Result<wit_types::TopicPlan, String> {
                    PLUGIN.with_borrow_mut(|plugin| {
                        $crate::run::open_topic(plugin.as_mut(), &topic.name, topic.partitions)
                    })
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
