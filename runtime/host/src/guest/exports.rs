//! The exports of a guest, by the version of the interface that it speaks. The rest of the host
//! speaks the newest one, and what an older one lacks is put in its place here.

use wasmtime::Store;
use wasmtime::component::InstancePre;

use super::store::GuestState;
use crate::api::options::{LENIENT, SHAPES};
use crate::api::v0_2::exports::strait::plugin::transform::{
    About, Batch, ConfigError, Edits, LinkInfo, Ready, TopicInfo, TopicPlan,
};
use crate::api::v0_2::strait::plugin::types::{Counter, Lookback, Needs};
use crate::api::{Interface, v0_1, v0_2};

use v0_1::exports::strait::plugin::transform as old;
use v0_1::strait::plugin::types;

/// A linked guest, to be started.
#[derive(Clone)]
pub(crate) enum GuestPre {
    V0_1(v0_1::PluginPre<GuestState>),
    V0_2(v0_2::PluginPre<GuestState>),
}

/// The exports of a started guest.
pub(super) enum Exports {
    V0_1 {
        plugin: v0_1::Plugin,
        /// The counters that it has described: newer guests name them when they are configured.
        counters: Vec<String>,
    },
    V0_2(v0_2::Plugin),
}

impl GuestPre {
    pub(super) fn new(interface: Interface, pre: InstancePre<GuestState>) -> wasmtime::Result<Self> {
        Ok(match interface {
            Interface::V0_1 => Self::V0_1(v0_1::PluginPre::new(pre)?),
            Interface::V0_2 => Self::V0_2(v0_2::PluginPre::new(pre)?),
        })
    }

    pub(super) fn instantiate(&self, store: &mut Store<GuestState>) -> wasmtime::Result<Exports> {
        Ok(match self {
            Self::V0_1(pre) => Exports::V0_1 { plugin: pre.instantiate(store)?, counters: Vec::new() },
            Self::V0_2(pre) => Exports::V0_2(pre.instantiate(store)?),
        })
    }
}

impl Exports {
    pub(super) fn describe(&mut self, store: &mut Store<GuestState>) -> wasmtime::Result<About> {
        let (plugin, counters) = match self {
            Self::V0_2(plugin) => return plugin.strait_plugin_transform().call_describe(store),
            Self::V0_1 { plugin, counters } => (plugin, counters),
        };
        let about = plugin.strait_plugin_transform().call_describe(store)?;
        *counters = about.counters;
        Ok(About {
            name: about.name,
            version: about.version,
            description: about.description,
            config_schema: about.config_schema,
            effects: about.effects,
            fails_closed: about.fails_closed,
            reject_codes: about.reject_codes,
            options: Vec::new(),
        })
    }

    pub(super) fn configure(
        &mut self,
        store: &mut Store<GuestState>,
        config: &str,
        link: LinkInfo<'_>,
    ) -> wasmtime::Result<Result<Ready, Vec<ConfigError>>> {
        let (plugin, counters) = match self {
            Self::V0_2(plugin) => return plugin.strait_plugin_transform().call_configure(store, config, link),
            Self::V0_1 { plugin, counters } => (plugin, counters),
        };
        let LinkInfo { link, source, source_region, target, target_region, .. } = link;
        let link = old::LinkInfo { link, source, source_region, target, target_region };
        let configured = plugin.strait_plugin_transform().call_configure(store, config, link)?;
        let mistake = |old::ConfigError { path, message }| ConfigError { path, message };
        if let Err(mistakes) = configured {
            return Ok(Err(mistakes.into_iter().map(mistake).collect()));
        }
        let counter = |name: &String| Counter { name: name.clone(), rule: String::new(), expected: false };
        Ok(Ok(Ready { counters: counters.iter().map(counter).collect(), options: Vec::new() }))
    }

    pub(super) fn open_topic(
        &mut self,
        store: &mut Store<GuestState>,
        topic: TopicInfo<'_>,
    ) -> wasmtime::Result<Result<TopicPlan, String>> {
        let plugin = match self {
            Self::V0_2(plugin) => return plugin.strait_plugin_transform().call_open_topic(store, topic),
            Self::V0_1 { plugin, .. } => plugin,
        };
        let plan = plugin.strait_plugin_transform().call_open_topic(store, topic.name, topic.partitions)?;
        // It knows no state for values of other shapes.
        let options = || vec![(SHAPES, LENIENT.to_vec())];
        Ok(plan.map(|plan| TopicPlan { name: plan.name, needs: plan.needs.map(needs), options: options() }))
    }

    pub(super) fn process(
        &mut self,
        store: &mut Store<GuestState>,
        batch: Batch<'_>,
    ) -> wasmtime::Result<Result<Edits, String>> {
        let plugin = match self {
            Self::V0_2(plugin) => return plugin.strait_plugin_transform().call_process(store, batch),
            Self::V0_1 { plugin, .. } => plugin,
        };
        let Batch { topic, partition, count, base_offset, mode, origins, columns, data, .. } = batch;
        let batch = old::Batch { topic, partition, count, base_offset, mode, origins, columns, data };
        let edits = plugin.strait_plugin_transform().call_process(store, batch)?;
        Ok(edits.map(|old::Edits { ops, data }| Edits { ops, data }))
    }
}

fn needs(needs: types::Needs) -> Needs {
    Needs {
        columns: needs.columns,
        header_names: needs.header_names,
        all_headers: needs.all_headers,
        fields: needs.fields,
        effects: needs.effects,
        output_topics: needs.output_topics,
        value_max_bytes: needs.value_max_bytes,
        lookback: needs.lookback.map(|types::Lookback { records, millis }| Lookback { records, millis }),
    }
}
