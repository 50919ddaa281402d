//! Admin requests about consumer groups.

use std::ffi::c_char;
use std::time::Duration;

use rdkafka_sys::bindings as b;

use super::admin::{Options, ask, operations, wrong_answer};
use super::partitions::{PartitionList, listed};
use super::{Client, Code, FfiError, Listed, Place, c_string, error_in, slice, string, take_error};

/// A committed offset of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOffset {
    /// The partition with the offset; -1 where there is none.
    pub listed: Listed,
    /// The metadata that the group keeps beside it, byte by byte.
    pub metadata: Vec<u8>,
}

/// The groups of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedGroups {
    /// Names of the groups of consumers, with and without members.
    pub names: Vec<String>,
    /// The error of a broker that did not tell its groups, if one did not.
    pub error: Option<FfiError>,
}

impl Client {
    /// The committed offsets of a consumer group, of all partitions that it has committed. One that
    /// does not exist has none. Does not join the group.
    ///
    /// # Errors
    /// [`FfiError`] for the group; partitions have their own.
    pub fn group_offsets(&self, group: &str, timeout: Duration) -> Result<Vec<GroupOffset>, FfiError> {
        let name = c_string(group)?;
        let options = Options::new(self, b::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, timeout)?;
        // SAFETY: live options, name and queue; the request is ours until destroyed, and the call
        // copies it. The arrays have the counts that come with them.
        unsafe {
            // The last committed offset, also while a transaction of the group is open.
            take_error(b::rd_kafka_AdminOptions_set_require_stable_offsets(options.0, 0))?;
            let mut request = b::rd_kafka_ListConsumerGroupOffsets_new(name.as_ptr(), std::ptr::null());
            let answer = ask(self, timeout, |queue| {
                b::rd_kafka_ListConsumerGroupOffsets(self.raw(), &raw mut request, 1, options.0, queue);
            });
            b::rd_kafka_ListConsumerGroupOffsets_destroy(request);
            let answer = answer?;
            let result = b::rd_kafka_event_ListConsumerGroupOffsets_result(answer.0);
            if result.is_null() {
                return Err(wrong_answer());
            }
            let mut count = 0;
            let groups = b::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &raw mut count);
            let Some(found) = slice(groups.cast_const(), count).first() else { return Err(wrong_answer()) };
            error_in(b::rd_kafka_group_result_error(*found))?;
            let Some(list) = b::rd_kafka_group_result_partitions(*found).as_ref() else { return Ok(Vec::new()) };
            let elements = slice(list.elems.cast_const(), usize::try_from(list.cnt).unwrap_or(0));
            let one = |element: &b::rd_kafka_topic_partition_t| GroupOffset {
                listed: listed(element),
                metadata: slice(element.metadata.cast_const().cast::<u8>(), element.metadata_size).to_vec(),
            };
            Ok(elements.iter().map(one).collect())
        }
    }

    /// Lists the consumer groups of all brokers. Groups of other kinds are left out.
    ///
    /// # Errors
    /// [`FfiError`] for the request as a whole.
    pub fn consumer_groups(&self, timeout: Duration) -> Result<ListedGroups, FfiError> {
        let options = Options::new(self, b::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS, timeout)?;
        // SAFETY: live options and queue; all are copied by the call. The arrays have the counts
        // that come with them.
        unsafe {
            let answer = ask(self, timeout, |queue| {
                b::rd_kafka_ListConsumerGroups(self.raw(), options.0, queue);
            })?;
            let result = b::rd_kafka_event_ListConsumerGroups_result(answer.0);
            if result.is_null() {
                return Err(wrong_answer());
            }
            let (mut valid, mut failed) = (0, 0);
            let groups = b::rd_kafka_ListConsumerGroups_result_valid(result, &raw mut valid);
            let errors = b::rd_kafka_ListConsumerGroups_result_errors(result, &raw mut failed);
            let name = |group: &*const b::rd_kafka_ConsumerGroupListing_t| {
                string(b::rd_kafka_ConsumerGroupListing_group_id(*group))
            };
            Ok(ListedGroups {
                names: slice(groups.cast_const(), valid).iter().map(name).collect(),
                error: slice(errors.cast_const(), failed).iter().find_map(|error| error_in(*error).err()),
            })
        }
    }

    /// Writes offsets of a group that has no members, each with what the group keeps beside it.
    /// Brokers refuse it with `UNKNOWN_MEMBER_ID` while it has some: nothing says that we are one.
    ///
    /// # Errors
    /// [`FfiError`] for the request as a whole, and then nobody knows what was written; partitions
    /// have their own.
    pub fn set_group_offsets(
        &self,
        group: &str,
        offsets: &[(Place, &[u8])],
        timeout: Duration,
    ) -> Result<Vec<Listed>, FfiError> {
        let name = c_string(group)?;
        let places: Vec<Place> = offsets.iter().map(|(place, _)| place.clone()).collect();
        let list = PartitionList::new(&places)?;
        offsets.iter().enumerate().for_each(|(index, (_, metadata))| list.set_metadata(index, metadata));
        let options = Options::new(self, b::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS, timeout)?;
        // SAFETY: as in group_offsets; the request copies the list.
        unsafe {
            let mut request = b::rd_kafka_AlterConsumerGroupOffsets_new(name.as_ptr(), list.raw());
            if request.is_null() {
                return Err(FfiError::new(Code::INVALID_ARG, format!("no request for group {group}")));
            }
            let answer = ask(self, timeout, |queue| {
                b::rd_kafka_AlterConsumerGroupOffsets(self.raw(), &raw mut request, 1, options.0, queue);
            });
            b::rd_kafka_AlterConsumerGroupOffsets_destroy(request);
            let answer = answer?;
            let result = b::rd_kafka_event_AlterConsumerGroupOffsets_result(answer.0);
            if result.is_null() {
                return Err(wrong_answer());
            }
            let mut count = 0;
            let groups = b::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &raw mut count);
            let Some(found) = slice(groups.cast_const(), count).first() else { return Err(wrong_answer()) };
            error_in(b::rd_kafka_group_result_error(*found))?;
            let Some(list) = b::rd_kafka_group_result_partitions(*found).as_ref() else { return Err(wrong_answer()) };
            let elements = slice(list.elems.cast_const(), usize::try_from(list.cnt).unwrap_or(0));
            Ok(elements.iter().map(|element| listed(element)).collect())
        }
    }

    /// Operations that our principal may do on a consumer group, as numbers of Kafka's
    /// `AclOperation`. The group need not exist.
    ///
    /// # Errors
    /// [`FfiError`]; of code `GROUP_AUTHORIZATION_FAILED` if it may not even describe the group.
    pub fn group_operations(&self, group: &str, timeout: Duration) -> Result<Vec<u32>, FfiError> {
        let name = c_string(group)?;
        let mut pointers: [*const c_char; 1] = [name.as_ptr()];
        let options = Options::new(self, b::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, timeout)?;
        // SAFETY: live options, name and queue; all are copied by the call. The arrays have the
        // counts that come with them.
        unsafe {
            take_error(b::rd_kafka_AdminOptions_set_include_authorized_operations(options.0, 1))?;
            let answer = ask(self, timeout, |queue| {
                b::rd_kafka_DescribeConsumerGroups(self.raw(), pointers.as_mut_ptr(), pointers.len(), options.0, queue);
            })?;
            let result = b::rd_kafka_event_DescribeConsumerGroups_result(answer.0);
            if result.is_null() {
                return Err(wrong_answer());
            }
            let mut count = 0;
            let groups = b::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
            let Some(group) = slice(groups.cast_const(), count).first() else { return Err(wrong_answer()) };
            error_in(b::rd_kafka_ConsumerGroupDescription_error(*group))?;
            let mut allowed = 0;
            let array = b::rd_kafka_ConsumerGroupDescription_authorized_operations(*group, &raw mut allowed);
            Ok(operations(array, allowed))
        }
    }
}
