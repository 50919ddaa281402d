//! Admin requests that create and grow topics, and delete their records.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char, c_int};
use std::time::Duration;

use rdkafka_sys::bindings as b;

use super::admin::{Options, ask, wrong_answer};
use super::partitions::{PartitionList, listed};
use super::{Client, Code, FfiError, Listed, Place, c_string, raw, slice, string};

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

impl Client {
    /// Creates a topic. With `validate_only`, the cluster checks the request and creates nothing.
    ///
    /// # Errors
    /// [`FfiError`], [`Code::TOPIC_ALREADY_EXISTS`] among them.
    pub fn create_topic(&self, new: &NewTopic<'_>, validate_only: bool, timeout: Duration) -> Result<(), FfiError> {
        let answers = self.create_topics(std::slice::from_ref(new), validate_only, timeout)?;
        answers.into_iter().next().unwrap_or_else(|| Err(wrong_answer()))
    }

    /// Creates topics by one request. Returns an answer for each, in their order.
    ///
    /// # Errors
    /// [`FfiError`] for the request as a whole: nobody knows what was created then.
    pub fn create_topics(
        &self,
        new: &[NewTopic<'_>],
        validate_only: bool,
        timeout: Duration,
    ) -> Result<Vec<Result<(), FfiError>>, FfiError> {
        let options = Options::new(self, b::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout)?;
        set_validate_only(&options, validate_only)?;
        let topics = new.iter().map(RawNewTopic::of).collect::<Result<Vec<_>, _>>()?;
        let mut pointers: Vec<_> = topics.iter().map(|topic| topic.0).collect();
        // SAFETY: as in describe_configs; the topics live until the end of the function.
        unsafe {
            let answer = ask(self, timeout, |queue| {
                b::rd_kafka_CreateTopics(self.raw(), pointers.as_mut_ptr(), pointers.len(), options.0, queue);
            })?;
            let result = b::rd_kafka_event_CreateTopics_result(answer.0);
            if result.is_null() {
                return Err(wrong_answer());
            }
            let mut count = 0;
            let results = b::rd_kafka_CreateTopics_result_topics(result, &raw mut count);
            let answers: BTreeMap<String, Result<(), FfiError>> = slice(results.cast_const(), count)
                .iter()
                .map(|result| (string(b::rd_kafka_topic_result_name(*result)), error_of(*result)))
                .collect();
            let answer = |topic: &NewTopic<'_>| answers.get(topic.name).cloned().unwrap_or_else(|| Err(wrong_answer()));
            Ok(new.iter().map(answer).collect())
        }
    }

    /// Deletes a topic by its name.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn delete_topic(&self, topic: &str, timeout: Duration) -> Result<(), FfiError> {
        let name = c_string(topic)?;
        let options = Options::new(self, b::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETETOPICS, timeout)?;
        // SAFETY: as in create_topic.
        unsafe {
            let mut old = b::rd_kafka_DeleteTopic_new(name.as_ptr());
            if old.is_null() {
                return Err(wrong_answer());
            }
            let answer = ask(self, timeout, |queue| {
                b::rd_kafka_DeleteTopics(self.raw(), &raw mut old, 1, options.0, queue);
            });
            b::rd_kafka_DeleteTopic_destroy(old);
            let answer = answer?;
            let result = b::rd_kafka_event_DeleteTopics_result(answer.0);
            if result.is_null() {
                return Err(wrong_answer());
            }
            let mut count = 0;
            first_error(b::rd_kafka_DeleteTopics_result_topics(result, &raw mut count), count)
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

pub(super) fn set_validate_only(options: &Options, validate_only: bool) -> Result<(), FfiError> {
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

/// A topic to create, as librdkafka takes it.
struct RawNewTopic(*mut b::rd_kafka_NewTopic_t);

impl RawNewTopic {
    fn of(new: &NewTopic<'_>) -> Result<Self, FfiError> {
        let name = c_string(new.name)?;
        let partitions = c_int::try_from(new.partitions).unwrap_or(c_int::MAX);
        let replication = new.replication.map_or(-1, |count| c_int::try_from(count).unwrap_or(c_int::MAX));
        let settings = new
            .settings
            .iter()
            .map(|(key, value)| Ok((c_string(key)?, c_string(value)?)))
            .collect::<Result<Vec<(CString, CString)>, FfiError>>()?;
        let mut text = [0 as c_char; 256];
        // SAFETY: the strings live through the calls, which copy them; the buffer has the size
        // given.
        unsafe {
            let topic = b::rd_kafka_NewTopic_new(name.as_ptr(), partitions, replication, text.as_mut_ptr(), text.len());
            if topic.is_null() {
                return Err(FfiError::new(Code::INVALID_ARG, string(text.as_ptr())));
            }
            for (key, value) in &settings {
                // Fails for nothing but a wrong argument, which the broker would refuse as well.
                b::rd_kafka_NewTopic_set_config(topic, key.as_ptr(), value.as_ptr());
            }
            Ok(Self(topic))
        }
    }
}

impl Drop for RawNewTopic {
    fn drop(&mut self) {
        // SAFETY: it is ours, and dropped once.
        unsafe { b::rd_kafka_NewTopic_destroy(self.0) }
    }
}

/// # Safety
/// `results` has `count` live elements.
unsafe fn first_error(results: *mut *const b::rd_kafka_topic_result_t, count: usize) -> Result<(), FfiError> {
    // SAFETY: by contract.
    unsafe { slice(results.cast_const(), count).iter().try_for_each(|result| error_of(*result)) }
}

/// # Safety
/// The result is live.
unsafe fn error_of(result: *const b::rd_kafka_topic_result_t) -> Result<(), FfiError> {
    // SAFETY: by contract.
    unsafe {
        let code = raw::rd_kafka_topic_result_error(result);
        if code == 0 {
            return Ok(());
        }
        let text = string(b::rd_kafka_topic_result_error_string(result));
        Err(FfiError::new(Code(code), if text.is_empty() { Code(code).text() } else { text }))
    }
}
