//! Admin requests about consumer groups.

use std::ffi::c_char;
use std::time::Duration;

use rdkafka_sys::bindings as b;

use super::admin::{Options, ask, operations, wrong_answer};
use super::partitions::listed;
use super::{Client, FfiError, Listed, c_string, error_in, slice, take_error};

impl Client {
    /// The committed offsets of a consumer group, of all partitions that it has committed. One that
    /// does not exist has none. Does not join the group.
    ///
    /// # Errors
    /// [`FfiError`] for the group; partitions have their own.
    pub fn group_offsets(&self, group: &str, timeout: Duration) -> Result<Vec<Listed>, FfiError> {
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
