//! Admin requests that read and change the access lists of topics.

use std::collections::BTreeSet;
use std::ffi::{c_char, c_int};
use std::ptr;
use std::time::Duration;

use rdkafka_sys::bindings as b;
use strait_core::acl::Operation;
use strait_core::plan::{Acl, AclPattern};

use super::admin::{Options, ask, wrong_answer};
use super::{Client, Code, FfiError, c_string, error_in, raw, slice, string};

// Numbers of Kafka's protocol.
const TOPIC: c_int = 2;
const ANY: c_int = 1;
const LITERAL: c_int = 3;
const PREFIXED: c_int = 4;
const DENY: c_int = 2;
const ALLOW: c_int = 3;

/// An entry of an access list, or a filter of such.
struct Binding(*mut b::rd_kafka_AclBinding_t);

impl Binding {
    fn of(acl: &Acl, new: NewBinding) -> Result<Self, FfiError> {
        let (name, principal, host) = (c_string(&acl.topic)?, c_string(&acl.principal)?, c_string(&acl.host)?);
        let pattern = if acl.pattern == AclPattern::Prefixed { PREFIXED } else { LITERAL };
        let operation = c_int::try_from(acl.operation.number()).unwrap_or_default();
        let permission = if acl.allows { ALLOW } else { DENY };
        Self::made(|text, size| {
            // SAFETY: live texts, copied by the call; the buffer has the size given.
            unsafe {
                new(TOPIC, name.as_ptr(), pattern, principal.as_ptr(), host.as_ptr(), operation, permission, text, size)
            }
        })
    }

    /// Returns the filter of all entries on topics.
    fn all_topics() -> Result<Self, FfiError> {
        let any = ptr::null();
        Self::made(|text, size| {
            // SAFETY: the buffer has the size given.
            unsafe { raw::rd_kafka_AclBindingFilter_new(TOPIC, any, ANY, any, any, ANY, ANY, text, size) }
        })
    }

    fn made(make: impl FnOnce(*mut c_char, usize) -> *mut b::rd_kafka_AclBinding_t) -> Result<Self, FfiError> {
        let mut text = [0 as c_char; 256];
        let made = make(text.as_mut_ptr(), text.len());
        if made.is_null() {
            // SAFETY: a call that fails has written a NUL-terminated text.
            return Err(FfiError::new(Code::INVALID_ARG, unsafe { string(text.as_ptr()) }));
        }
        Ok(Self(made))
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { b::rd_kafka_AclBinding_destroy(self.0) };
    }
}

type NewBinding = unsafe extern "C" fn(
    c_int,
    *const c_char,
    c_int,
    *const c_char,
    *const c_char,
    c_int,
    c_int,
    *mut c_char,
    usize,
) -> *mut b::rd_kafka_AclBinding_t;

impl Client {
    /// Reads the access lists of all topics. Without the right to see them, and where the cluster
    /// has none, the answer is empty.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn topic_acls(&self, timeout: Duration) -> Result<BTreeSet<Acl>, FfiError> {
        let filter = Binding::all_topics()?;
        let options = Options::new(self, b::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBEACLS, timeout)?;
        // SAFETY: live options, filter and queue; all are copied by the call. The array has the
        // count that comes with it.
        unsafe {
            let answer = ask(self, timeout, |queue| {
                b::rd_kafka_DescribeAcls(self.raw(), filter.0, options.0, queue);
            })?;
            let result = b::rd_kafka_event_DescribeAcls_result(answer.0);
            if result.is_null() {
                return Err(wrong_answer());
            }
            let mut count = 0;
            let acls = b::rd_kafka_DescribeAcls_result_acls(result, &raw mut count);
            Ok(slice(acls.cast_const(), count).iter().filter_map(|acl| read(*acl)).collect())
        }
    }

    /// Adds an entry to the access list of topics. One that is there already is as good.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn add_acl(&self, acl: &Acl, timeout: Duration) -> Result<(), FfiError> {
        let mut binding = Binding::of(acl, raw::rd_kafka_AclBinding_new)?;
        let options = Options::new(self, b::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATEACLS, timeout)?;
        // SAFETY: as in topic_acls.
        unsafe {
            let answer = ask(self, timeout, |queue| {
                b::rd_kafka_CreateAcls(self.raw(), &raw mut binding.0, 1, options.0, queue);
            })?;
            let result = b::rd_kafka_event_CreateAcls_result(answer.0);
            if result.is_null() {
                return Err(wrong_answer());
            }
            let mut count = 0;
            let results = b::rd_kafka_CreateAcls_result_acls(result, &raw mut count);
            let Some(added) = slice(results.cast_const(), count).first() else { return Err(wrong_answer()) };
            error_in(b::rd_kafka_acl_result_error(*added))
        }
    }

    /// Removes exactly this entry from the access list of topics. One that is gone already is as
    /// good.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn remove_acl(&self, acl: &Acl, timeout: Duration) -> Result<(), FfiError> {
        let mut filter = Binding::of(acl, raw::rd_kafka_AclBindingFilter_new)?;
        let options = Options::new(self, b::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETEACLS, timeout)?;
        // SAFETY: as in topic_acls.
        unsafe {
            let answer = ask(self, timeout, |queue| {
                b::rd_kafka_DeleteAcls(self.raw(), &raw mut filter.0, 1, options.0, queue);
            })?;
            let result = b::rd_kafka_event_DeleteAcls_result(answer.0);
            if result.is_null() {
                return Err(wrong_answer());
            }
            let mut count = 0;
            let responses = b::rd_kafka_DeleteAcls_result_responses(result, &raw mut count);
            let Some(removed) = slice(responses.cast_const(), count).first() else { return Err(wrong_answer()) };
            error_in(b::rd_kafka_DeleteAcls_result_response_error(*removed))
        }
    }
}

/// Returns an entry; `None` for a kind that this version does not know.
///
/// # Safety
/// `acl` is live.
unsafe fn read(acl: *const b::rd_kafka_AclBinding_t) -> Option<Acl> {
    // SAFETY: accessors of a live entry.
    unsafe {
        let pattern = match raw::rd_kafka_AclBinding_resource_pattern_type(acl) {
            LITERAL => AclPattern::Literal,
            PREFIXED => AclPattern::Prefixed,
            _ => return None,
        };
        let allows = match raw::rd_kafka_AclBinding_permission_type(acl) {
            ALLOW => true,
            DENY => false,
            _ => return None,
        };
        let operation = u32::try_from(raw::rd_kafka_AclBinding_operation(acl)).unwrap_or_default();
        Some(Acl {
            topic: string(b::rd_kafka_AclBinding_name(acl)).into(),
            pattern,
            principal: string(b::rd_kafka_AclBinding_principal(acl)),
            host: string(b::rd_kafka_AclBinding_host(acl)),
            operation: Operation::from(operation),
            allows,
        })
    }
}
