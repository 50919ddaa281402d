//! Admin requests that create, grow and read the settings of topics.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char, c_int};
use std::time::Duration;

use rdkafka_sys::bindings as b;

use super::admin::{Options, ask, wrong_answer};
use super::partitions::{PartitionList, listed};
use super::{Client, Code, FfiError, Listed, Place, c_string, raw, slice, string};

/// Most topics in one DescribeConfigs request: an answer has some 3 KiB for each.
pub(crate) const CONFIGS_PER_REQUEST: usize = 100;

/// The settings of a topic, defaults included.
pub type TopicConfigs = BTreeMap<String, String>;

/// The kind of thing that settings belong to.
type ResourceKind = b::rd_kafka_ResourceType_t;

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic<'a> {
    /// Name.
    pub name: &'a str,
    /// Number of partitions.
    pub partitions: u32,
    /// Number of replicas; `None` for the broker's default.
    pub replication: Option<u32>,
    /// Settings that differ from the broker's defaults.
    pub settings: &'a [(&'a str, String)],
}

/// The name of a topic or broker, and its settings or why they cannot be read.
type ConfigsOfOne = (String, Result<TopicConfigs, FfiError>);

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
        let found = self.describe_configs(ResourceKind::RD_KAFKA_RESOURCE_BROKER, &[&name], timeout)?;
        found.into_iter().next().map_or_else(|| Err(wrong_answer()), |(_, configs)| configs)
    }

    /// Settings of topics, defaults included. Each topic has an error of its own.
    ///
    /// # Errors
    /// [`FfiError`] for a request as a whole.
    pub fn configs_of_topics(&self, topics: &[&str], timeout: Duration) -> Result<Vec<ConfigsOfOne>, FfiError> {
        let mut all = Vec::with_capacity(topics.len());
        for chunk in topics.chunks(CONFIGS_PER_REQUEST) {
            all.extend(self.describe_configs(ResourceKind::RD_KAFKA_RESOURCE_TOPIC, chunk, timeout)?);
        }
        Ok(all)
    }

    fn describe_configs(
        &self,
        kind: ResourceKind,
        names: &[&str],
        timeout: Duration,
    ) -> Result<Vec<ConfigsOfOne>, FfiError> {
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
            Ok(slice(described.cast_const(), count).iter().map(|resource| configs_of(*resource)).collect())
        }
    }

    /// Creates a topic. With `validate_only`, the cluster checks the request and creates nothing.
    ///
    /// # Errors
    /// [`FfiError`], [`Code::TOPIC_ALREADY_EXISTS`] among them.
    pub fn create_topic(&self, new: &NewTopic<'_>, validate_only: bool, timeout: Duration) -> Result<(), FfiError> {
        let name = c_string(new.name)?;
        let partitions = c_int::try_from(new.partitions).unwrap_or(c_int::MAX);
        let replication = new.replication.map_or(-1, |count| c_int::try_from(count).unwrap_or(c_int::MAX));
        let settings = new
            .settings
            .iter()
            .map(|(key, value)| Ok((c_string(key)?, c_string(value)?)))
            .collect::<Result<Vec<(CString, CString)>, FfiError>>()?;
        let options = Options::new(self, b::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout)?;
        set_validate_only(&options, validate_only)?;
        let mut text = [0 as c_char; 256];
        // SAFETY: as in describe_configs; the new topic is ours until destroyed, the buffer has the
        // size given.
        unsafe {
            let mut topic =
                b::rd_kafka_NewTopic_new(name.as_ptr(), partitions, replication, text.as_mut_ptr(), text.len());
            if topic.is_null() {
                return Err(FfiError::new(Code::INVALID_ARG, string(text.as_ptr())));
            }
            for (key, value) in &settings {
                // Fails for nothing but a wrong argument, which the broker would refuse as well.
                b::rd_kafka_NewTopic_set_config(topic, key.as_ptr(), value.as_ptr());
            }
            let answer = ask(self, timeout, |queue| {
                b::rd_kafka_CreateTopics(self.raw(), &raw mut topic, 1, options.0, queue);
            });
            b::rd_kafka_NewTopic_destroy(topic);
            let answer = answer?;
            let result = b::rd_kafka_event_CreateTopics_result(answer.0);
            if result.is_null() {
                return Err(wrong_answer());
            }
            let mut count = 0;
            first_error(b::rd_kafka_CreateTopics_result_topics(result, &raw mut count), count)
        }
    }

    /// Grows a topic to `partitions` partitions. With `validate_only`, the cluster checks the
    /// request and grows nothing.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn create_partitions(
        &self,
        topic: &str,
        partitions: u32,
        validate_only: bool,
        timeout: Duration,
    ) -> Result<(), FfiError> {
        let name = c_string(topic)?;
        let options = Options::new(self, b::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATEPARTITIONS, timeout)?;
        set_validate_only(&options, validate_only)?;
        let mut text = [0 as c_char; 256];
        // SAFETY: as in create_topic.
        unsafe {
            let mut new =
                b::rd_kafka_NewPartitions_new(name.as_ptr(), partitions as usize, text.as_mut_ptr(), text.len());
            if new.is_null() {
                return Err(FfiError::new(Code::INVALID_ARG, string(text.as_ptr())));
            }
            let answer = ask(self, timeout, |queue| {
                b::rd_kafka_CreatePartitions(self.raw(), &raw mut new, 1, options.0, queue);
            });
            b::rd_kafka_NewPartitions_destroy(new);
            let answer = answer?;
            let result = b::rd_kafka_event_CreatePartitions_result(answer.0);
            if result.is_null() {
                return Err(wrong_answer());
            }
            let mut count = 0;
            first_error(b::rd_kafka_CreatePartitions_result_topics(result, &raw mut count), count)
        }
    }
}

impl Client {
    /// Deletes the records below the offsets of these places. Each partition has an error of its
    /// own.
    ///
    /// # Errors
    /// [`FfiError`] for the request as a whole.
    pub fn delete_records(&self, before: &[Place], timeout: Duration) -> Result<Vec<Listed>, FfiError> {
        let list = PartitionList::new(before)?;
        let options = Options::new(self, b::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETERECORDS, timeout)?;
        // SAFETY: live options, list and queue; the list is copied by the request, which is ours
        // until destroyed. The answer's list has the count that comes with it.
        unsafe {
            let mut request = b::rd_kafka_DeleteRecords_new(list.raw());
            let answer = ask(self, timeout, |queue| {
                b::rd_kafka_DeleteRecords(self.raw(), &raw mut request, 1, options.0, queue);
            });
            b::rd_kafka_DeleteRecords_destroy(request);
            let answer = answer?;
            let result = b::rd_kafka_event_DeleteRecords_result(answer.0);
            if result.is_null() {
                return Err(wrong_answer());
            }
            let Some(offsets) = b::rd_kafka_DeleteRecords_result_offsets(result).as_ref() else {
                return Err(wrong_answer());
            };
            let count = usize::try_from(offsets.cnt).unwrap_or(0);
            Ok(slice(offsets.elems.cast_const(), count).iter().map(|element| listed(element)).collect())
        }
    }
}

fn set_validate_only(options: &Options, validate_only: bool) -> Result<(), FfiError> {
    if !validate_only {
        return Ok(());
    }
    let mut text = [0 as c_char; 256];
    // SAFETY: live options; the error buffer has the size given.
    let code = unsafe { b::rd_kafka_AdminOptions_set_validate_only(options.0, 1, text.as_mut_ptr(), text.len()) };
    if code == b::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    // SAFETY: the call has written a NUL-terminated text.
    Err(FfiError::new(Code::INVALID_ARG, unsafe { string(text.as_ptr()) }))
}

/// # Safety
/// `resource` is live.
unsafe fn configs_of(resource: *const b::rd_kafka_ConfigResource_t) -> (String, Result<TopicConfigs, FfiError>) {
    // SAFETY: accessors of a live resource; the array has the count that comes with it.
    unsafe {
        let name = string(b::rd_kafka_ConfigResource_name(resource));
        let code = raw::rd_kafka_ConfigResource_error(resource);
        if code != 0 {
            let text = string(b::rd_kafka_ConfigResource_error_string(resource));
            return (name, Err(FfiError::new(Code(code), text)));
        }
        let mut count = 0;
        let entries = b::rd_kafka_ConfigResource_configs(resource, &raw mut count);
        let entry = |entry: &*const b::rd_kafka_ConfigEntry_t| {
            (string(b::rd_kafka_ConfigEntry_name(*entry)), string(b::rd_kafka_ConfigEntry_value(*entry)))
        };
        (name, Ok(slice(entries.cast_const(), count).iter().map(entry).collect()))
    }
}

/// # Safety
/// `results` has `count` live elements.
unsafe fn first_error(results: *mut *const b::rd_kafka_topic_result_t, count: usize) -> Result<(), FfiError> {
    // SAFETY: by contract.
    unsafe {
        for result in slice(results.cast_const(), count) {
            let code = raw::rd_kafka_topic_result_error(*result);
            if code != 0 {
                let text = string(b::rd_kafka_topic_result_error_string(*result));
                return Err(FfiError::new(Code(code), if text.is_empty() { Code(code).text() } else { text }));
            }
        }
        Ok(())
    }
}
