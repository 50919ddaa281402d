//! Admin requests on any client. Each call waits for its answer on a queue of its own, for a
//! bounded time.

use std::ffi::{CString, c_char};
use std::time::Duration;

use rdkafka_sys::bindings as b;

use super::partitions::{PartitionList, listed};
use super::{Client, Code, FfiError, Listed, OffsetSpec, Place, c_string, raw, slice, string, take_error, timeout_ms};

/// A topic as the cluster describes it now.
#[derive(Clone, Debug)]
pub struct TopicDescription {
    /// Name.
    pub topic: String,
    /// Topic id; zeros where the cluster gives none.
    pub id: [u8; 16],
    /// Partitions.
    pub partitions: Vec<PartitionDescription>,
    /// Operations that the principal may do, as numbers of Kafka's `AclOperation`; empty unless
    /// requested.
    pub operations: Vec<u32>,
    /// Error code of this topic.
    pub code: Code,
    /// Description of the error.
    pub text: String,
}

#[cfg(test)]
impl TopicDescription {
    /// Returns the description of a topic that is answered with this code.
    pub(crate) fn answered(topic: &str, code: Code) -> Self {
        let (partitions, operations) = (Vec::new(), Vec::new());
        Self { topic: topic.to_owned(), id: [7; 16], partitions, operations, code, text: code.text() }
    }
}

/// A partition of a [`TopicDescription`].
#[derive(Clone, Debug)]
pub struct PartitionDescription {
    /// Number of the partition.
    pub partition: i32,
    /// Node id of the leader, if there is one.
    pub leader: Option<i32>,
    /// Number of in-sync replicas.
    pub in_sync: u32,
    /// Number of replicas.
    pub replicas: u32,
}

/// The cluster as it describes itself.
#[derive(Clone, Debug)]
pub struct ClusterDescription {
    /// Cluster id.
    pub id: String,
    /// Number of brokers.
    pub brokers: usize,
    /// Id of one of the brokers.
    pub a_broker: Option<i32>,
    /// Operations that the principal may do on the cluster.
    pub operations: Vec<u32>,
}

/// The options of one request.
pub(super) struct Options(pub(super) *mut b::rd_kafka_AdminOptions_t);

impl Options {
    pub(super) fn new(client: &Client, operation: b::rd_kafka_admin_op_t, timeout: Duration) -> Result<Self, FfiError> {
        let mut text = [0 as c_char; 256];
        if !client.has_controller(timeout) {
            return Err(FfiError::new(Code::UNSUPPORTED_FEATURE, "the cluster has no controller for admin requests"));
        }
        // SAFETY: live instance; the error buffer has the size given.
        unsafe {
            let options = Self(b::rd_kafka_AdminOptions_new(client.raw(), operation));
            let code = b::rd_kafka_AdminOptions_set_request_timeout(
                options.0,
                timeout_ms(timeout),
                text.as_mut_ptr(),
                text.len(),
            );
            if code != b::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err(FfiError::new(Code::INVALID_ARG, string(text.as_ptr())));
            }
            Ok(options)
        }
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { b::rd_kafka_AdminOptions_destroy(self.0) };
    }
}

struct Queue(*mut b::rd_kafka_queue_t);

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: owned; answers that come later are dropped with it.
        unsafe { b::rd_kafka_queue_destroy(self.0) };
    }
}

pub(super) struct Answer(pub(super) *mut b::rd_kafka_event_t);

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { b::rd_kafka_event_destroy(self.0) };
    }
}

/// Sends a request and waits for its answer.
pub(super) fn ask(
    client: &Client,
    timeout: Duration,
    send: impl FnOnce(*mut b::rd_kafka_queue_t),
) -> Result<Answer, FfiError> {
    // SAFETY: live instance; the queue lives until the end of the call, the event until it is
    // dropped.
    unsafe {
        let queue = Queue(b::rd_kafka_queue_new(client.raw()));
        send(queue.0);
        // The request has a timeout of its own. The extra second lets its more exact error arrive.
        let event = b::rd_kafka_queue_poll(queue.0, timeout_ms(timeout + Duration::from_secs(1)));
        if event.is_null() {
            return Err(FfiError::of(Code::TIMED_OUT.0));
        }
        let answer = Answer(event);
        let code = raw::rd_kafka_event_error(answer.0);
        if code != 0 {
            return Err(FfiError::new(Code(code), string(b::rd_kafka_event_error_string(answer.0))));
        }
        Ok(answer)
    }
}

pub(super) fn wrong_answer() -> FfiError {
    FfiError::new(Code::STATE, "answer of an unexpected kind")
}

pub(super) fn operations(array: *const b::rd_kafka_AclOperation_t, count: usize) -> Vec<u32> {
    // SAFETY: count elements, read as the ints that they are in C.
    unsafe { slice(array.cast::<u32>(), count) }.to_vec()
}

impl Client {
    /// Offsets of partitions, one request per leader.
    ///
    /// # Errors
    /// [`FfiError`] for the request as a whole; partitions have their own.
    pub fn list_offsets(
        &self,
        partitions: &[Place],
        spec: OffsetSpec,
        committed: bool,
        timeout: Duration,
    ) -> Result<Vec<Listed>, FfiError> {
        let places: Vec<Place> = partitions.iter().cloned().map(|p| Place { offset: spec.raw(), ..p }).collect();
        let list = PartitionList::new(&places)?;
        let options = Options::new(self, b::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS, timeout)?;
        let isolation = if committed {
            b::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED
        } else {
            b::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED
        };
        // SAFETY: live options, list and queue; all are copied by the call. The arrays have the
        // counts that come with them.
        unsafe {
            take_error(b::rd_kafka_AdminOptions_set_isolation_level(options.0, isolation))?;
            let answer = ask(self, timeout, |queue| {
                b::rd_kafka_ListOffsets(self.raw(), list.raw(), options.0, queue);
            })?;
            let result = b::rd_kafka_event_ListOffsets_result(answer.0);
            if result.is_null() {
                return Err(wrong_answer());
            }
            let mut count = 0;
            let infos = b::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
            Ok(slice(infos.cast_const(), count)
                .iter()
                .filter_map(|info| b::rd_kafka_ListOffsetsResultInfo_topic_partition(*info).as_ref())
                .map(|partition| listed(partition))
                .collect())
        }
    }

    /// Describes topics; one that does not exist comes with its error.
    ///
    /// # Errors
    /// [`FfiError`] for the request as a whole.
    pub fn describe_topics(
        &self,
        topics: &[&str],
        authorized: bool,
        timeout: Duration,
    ) -> Result<Vec<TopicDescription>, FfiError> {
        let names = topics.iter().map(|topic| c_string(topic)).collect::<Result<Vec<CString>, _>>()?;
        let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        let options = Options::new(self, b::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout)?;
        // SAFETY: live options, names and queue; all are copied by the call. The arrays have the
        // counts that come with them.
        unsafe {
            if authorized {
                take_error(b::rd_kafka_AdminOptions_set_include_authorized_operations(options.0, 1))?;
            }
            let collection = b::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            let answer = ask(self, timeout, |queue| {
                b::rd_kafka_DescribeTopics(self.raw(), collection, options.0, queue);
            });
            b::rd_kafka_TopicCollection_destroy(collection);
            let answer = answer?;
            let result = b::rd_kafka_event_DescribeTopics_result(answer.0);
            if result.is_null() {
                return Err(wrong_answer());
            }
            let mut count = 0;
            let descriptions = b::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
            Ok(slice(descriptions.cast_const(), count).iter().map(|topic| describe(*topic)).collect())
        }
    }

    /// Describes the cluster, with what our principal may do on it.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn describe_cluster(&self, timeout: Duration) -> Result<ClusterDescription, FfiError> {
        let options = Options::new(self, b::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER, timeout)?;
        // SAFETY: as in describe_topics.
        unsafe {
            take_error(b::rd_kafka_AdminOptions_set_include_authorized_operations(options.0, 1))?;
            let answer = ask(self, timeout, |queue| b::rd_kafka_DescribeCluster(self.raw(), options.0, queue))?;
            let result = b::rd_kafka_event_DescribeCluster_result(answer.0);
            if result.is_null() {
                return Err(wrong_answer());
            }
            let (mut nodes, mut count) = (0, 0);
            let list = b::rd_kafka_DescribeCluster_result_nodes(result, &raw mut nodes);
            let a_broker = slice(list.cast_const(), nodes).first().map(|node| b::rd_kafka_Node_id(*node));
            let allowed = b::rd_kafka_DescribeCluster_result_authorized_operations(result, &raw mut count);
            Ok(ClusterDescription {
                id: string(b::rd_kafka_DescribeCluster_result_cluster_id(result)),
                brokers: nodes,
                a_broker,
                operations: operations(allowed, count),
            })
        }
    }
}

/// # Safety
/// `topic` is live.
unsafe fn describe(topic: *const b::rd_kafka_TopicDescription_t) -> TopicDescription {
    // SAFETY: accessors of a live description; arrays have the counts that come with them.
    unsafe {
        let error = b::rd_kafka_TopicDescription_error(topic);
        let (code, text) = if error.is_null() {
            (Code::OK, String::new())
        } else {
            (Code(raw::rd_kafka_error_code(error)), string(b::rd_kafka_error_string(error)))
        };
        let mut id = [0; 16];
        let uuid = b::rd_kafka_TopicDescription_topic_id(topic);
        if !uuid.is_null() {
            let (high, low) =
                (b::rd_kafka_Uuid_most_significant_bits(uuid), b::rd_kafka_Uuid_least_significant_bits(uuid));
            id = (((high as u64 as u128) << 64) | (low as u64 as u128)).to_be_bytes();
        }
        let mut count = 0;
        let partitions = b::rd_kafka_TopicDescription_partitions(topic, &raw mut count);
        let partitions = slice(partitions.cast_const(), count)
            .iter()
            .map(|partition| {
                let leader = b::rd_kafka_TopicPartitionInfo_leader(*partition);
                let leader = (!leader.is_null()).then(|| b::rd_kafka_Node_id(leader)).filter(|id| *id >= 0);
                let (mut in_sync, mut replicas) = (0, 0);
                b::rd_kafka_TopicPartitionInfo_isr(*partition, &raw mut in_sync);
                b::rd_kafka_TopicPartitionInfo_replicas(*partition, &raw mut replicas);
                PartitionDescription {
                    partition: b::rd_kafka_TopicPartitionInfo_partition(*partition),
                    leader,
                    in_sync: u32::try_from(in_sync).unwrap_or(u32::MAX),
                    replicas: u32::try_from(replicas).unwrap_or(u32::MAX),
                }
            })
            .collect();
        let mut allowed = 0;
        let array = b::rd_kafka_TopicDescription_authorized_operations(topic, &raw mut allowed);
        TopicDescription {
            topic: string(b::rd_kafka_TopicDescription_name(topic)),
            id,
            partitions,
            operations: operations(array, allowed),
            code,
            text,
        }
    }
}
