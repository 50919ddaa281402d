//! Admin requests that read and change the settings of topics, and read those of brokers.

use std::collections::BTreeMap;
use std::ffi::{CString, c_int};
use std::ptr;
use std::time::Duration;

use rdkafka_sys::bindings as b;
use strait_core::plan::{ConfigEntry, Configs};

use super::admin::{Options, ask, wrong_answer};
use super::topic_admin::set_validate_only;
use super::{Client, Code, FfiError, c_string, raw, slice, string, take_error};

/// Most topics in one DescribeConfigs request: an answer has some 3 KiB for each.
pub(crate) const CONFIGS_PER_REQUEST: usize = 100;
/// Kafka's `ConfigSource` of a setting of the topic itself.
const TOPIC_CONFIG: c_int = 1;

/// The settings of a topic, defaults included.
pub type TopicConfigs = BTreeMap<String, String>;

/// The kind of thing that settings belong to.
type ResourceKind = b::rd_kafka_ResourceType_t;

/// The name of a topic or broker, and its settings or why they cannot be read.
type OfOne<T> = (String, Result<T, FfiError>);

impl Client {
    /// Settings of a topic, defaults included.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn topic_configs(&self, topic: &str, timeout: Duration) -> Result<TopicConfigs, FfiError> {
        let found = self.configs_of_topics(&[topic], timeout)?.into_iter().next();
        found.map_or_else(|| Err(wrong_answer()), |(_, configs)| configs)
    }

    /// Settings of a broker, defaults included.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn broker_configs(&self, broker: i32, timeout: Duration) -> Result<BTreeMap<String, String>, FfiError> {
        let name = broker.to_string();
        let found = self.describe_configs(ResourceKind::RD_KAFKA_RESOURCE_BROKER, &[&name], timeout, value)?;
        found.into_iter().next().map_or_else(|| Err(wrong_answer()), |(_, configs)| configs)
    }

    /// Settings of topics, defaults included. Each topic has an error of its own.
    ///
    /// # Errors
    /// [`FfiError`] for a request as a whole.
    pub fn configs_of_topics(&self, topics: &[&str], timeout: Duration) -> Result<Vec<OfOne<TopicConfigs>>, FfiError> {
        let mut all = Vec::with_capacity(topics.len());
        for chunk in topics.chunks(CONFIGS_PER_REQUEST) {
            all.extend(self.describe_configs(ResourceKind::RD_KAFKA_RESOURCE_TOPIC, chunk, timeout, value)?);
        }
        Ok(all)
    }

    /// Settings of topics, each with where it comes from. Each topic has an error of its own.
    ///
    /// # Errors
    /// [`FfiError`] for a request as a whole.
    pub fn entries_of_topics(&self, topics: &[&str], timeout: Duration) -> Result<Vec<OfOne<Configs>>, FfiError> {
        let mut all = Vec::with_capacity(topics.len());
        for chunk in topics.chunks(CONFIGS_PER_REQUEST) {
            all.extend(self.describe_configs(ResourceKind::RD_KAFKA_RESOURCE_TOPIC, chunk, timeout, entry)?);
        }
        Ok(all)
    }

    fn describe_configs<T>(
        &self,
        kind: ResourceKind,
        names: &[&str],
        timeout: Duration,
        read: unsafe fn(*const b::rd_kafka_ConfigEntry_t) -> T,
    ) -> Result<Vec<OfOne<BTreeMap<String, T>>>, FfiError> {
        let names = names.iter().map(|name| c_string(name)).collect::<Result<Vec<CString>, _>>()?;
        let options = Options::new(self, b::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, timeout)?;
        // SAFETY: live options, names and queue; all are copied by the call. The resources are ours
        // until destroyed. The arrays have the counts that come with them.
        unsafe {
            let mut resources: Vec<*mut b::rd_kafka_ConfigResource_t> =
                names.iter().map(|name| b::rd_kafka_ConfigResource_new(kind, name.as_ptr())).collect();
            let answer = ask(self, timeout, |queue| {
                b::rd_kafka_DescribeConfigs(self.raw(), resources.as_mut_ptr(), resources.len(), options.0, queue);
            });
            b::rd_kafka_ConfigResource_destroy_array(resources.as_mut_ptr(), resources.len());
            let answer = answer?;
            let result = b::rd_kafka_event_DescribeConfigs_result(answer.0);
            if result.is_null() {
                return Err(wrong_answer());
            }
            let mut count = 0;
            let described = b::rd_kafka_DescribeConfigs_result_resources(result, &raw mut count);
            Ok(slice(described.cast_const(), count).iter().map(|resource| configs_of(*resource, read)).collect())
        }
    }

    /// Sets settings of a topic, and deletes its own of those that have no value: all or none. With
    /// `validate_only`, the cluster checks the request and changes nothing.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn alter_configs(
        &self,
        topic: &str,
        changes: &[(&str, Option<&str>)],
        validate_only: bool,
        timeout: Duration,
    ) -> Result<(), FfiError> {
        use b::rd_kafka_AlterConfigOpType_t::{
            RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE, RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET,
        };
        let name = c_string(topic)?;
        let changes = changes
            .iter()
            .map(|(name, value)| Ok((c_string(name)?, value.map(c_string).transpose()?)))
            .collect::<Result<Vec<(CString, Option<CString>)>, FfiError>>()?;
        let options = Options::new(self, b::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS, timeout)?;
        set_validate_only(&options, validate_only)?;
        // SAFETY: as in describe_configs. Names and values are copied by the resource.
        unsafe {
            let mut resource = b::rd_kafka_ConfigResource_new(ResourceKind::RD_KAFKA_RESOURCE_TOPIC, name.as_ptr());
            if resource.is_null() {
                return Err(FfiError::new(Code::INVALID_ARG, format!("no resource for topic {topic}")));
            }
            let added = changes.iter().try_for_each(|(name, value)| {
                let (operation, value) = match value {
                    Some(value) => (RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET, value.as_ptr()),
                    None => (RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE, ptr::null()),
                };
                let added =
                    b::rd_kafka_ConfigResource_add_incremental_config(resource, name.as_ptr(), operation, value);
                take_error(added)
            });
            let answer = added.and_then(|()| {
                ask(self, timeout, |queue| {
                    b::rd_kafka_IncrementalAlterConfigs(self.raw(), &raw mut resource, 1, options.0, queue);
                })
            });
            b::rd_kafka_ConfigResource_destroy(resource);
            let answer = answer?;
            let result = b::rd_kafka_event_IncrementalAlterConfigs_result(answer.0);
            if result.is_null() {
                return Err(wrong_answer());
            }
            let mut count = 0;
            let altered = b::rd_kafka_IncrementalAlterConfigs_result_resources(result, &raw mut count);
            let Some(altered) = slice(altered.cast_const(), count).first() else { return Err(wrong_answer()) };
            error_of(*altered)
        }
    }
}

/// # Safety
/// `resource` is live.
unsafe fn error_of(resource: *const b::rd_kafka_ConfigResource_t) -> Result<(), FfiError> {
    // SAFETY: accessors of a live resource.
    unsafe {
        let code = raw::rd_kafka_ConfigResource_error(resource);
        if code == 0 {
            return Ok(());
        }
        let text = string(b::rd_kafka_ConfigResource_error_string(resource));
        Err(FfiError::new(Code(code), if text.is_empty() { Code(code).text() } else { text }))
    }
}

/// # Safety
/// `resource` is live, and `read` reads a live entry.
unsafe fn configs_of<T>(
    resource: *const b::rd_kafka_ConfigResource_t,
    read: unsafe fn(*const b::rd_kafka_ConfigEntry_t) -> T,
) -> OfOne<BTreeMap<String, T>> {
    // SAFETY: accessors of a live resource; the array has the count that comes with it.
    unsafe {
        let name = string(b::rd_kafka_ConfigResource_name(resource));
        if let Err(error) = error_of(resource) {
            return (name, Err(error));
        }
        let mut count = 0;
        let entries = b::rd_kafka_ConfigResource_configs(resource, &raw mut count);
        let entries = slice(entries.cast_const(), count).iter();
        (name, Ok(entries.map(|entry| (string(b::rd_kafka_ConfigEntry_name(*entry)), read(*entry))).collect()))
    }
}

/// # Safety
/// `entry` is live.
unsafe fn value(entry: *const b::rd_kafka_ConfigEntry_t) -> String {
    // SAFETY: by contract.
    unsafe { string(b::rd_kafka_ConfigEntry_value(entry)) }
}

/// # Safety
/// `of` is live.
unsafe fn entry(of: *const b::rd_kafka_ConfigEntry_t) -> ConfigEntry {
    // SAFETY: accessors of a live entry; the array has the count that comes with it.
    unsafe {
        let known = |entry| {
            let text = b::rd_kafka_ConfigEntry_value(entry);
            (!text.is_null()).then(|| string(text))
        };
        let is_override = |entry| raw::rd_kafka_ConfigEntry_source(entry) == TOPIC_CONFIG;
        let mut count = 0;
        let synonyms = b::rd_kafka_ConfigEntry_synonyms(of, &raw mut count);
        let beneath = slice(synonyms.cast_const(), count).iter().copied().find(|synonym| !is_override(*synonym));
        let beneath = match beneath {
            Some(beneath) => known(beneath),
            None if is_override(of) => None,
            None => known(of),
        };
        ConfigEntry {
            value: known(of),
            is_override: is_override(of),
            beneath,
            read_only: b::rd_kafka_ConfigEntry_is_read_only(of) == 1,
            sensitive: b::rd_kafka_ConfigEntry_is_sensitive(of) == 1,
        }
    }
}
