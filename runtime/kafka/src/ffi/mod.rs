//! Calls librdkafka's C interface. All code above this folder is safe Rust.
//!
//! The safe `rdkafka` crate does not serve the data path: it has no batch consume and no leader
//! epochs, panics on header names that are not UTF-8, and looks up the topic by name for every
//! produced record.
#![allow(unsafe_code, reason = "the crate's only calls into C; each block says why it is sound")]

mod acl_admin;
mod admin;
mod client;
mod code;
mod conf;
mod config_admin;
mod consumer;
mod controller;
mod group_admin;
mod message;
mod mock;
mod partitions;
mod producer;
mod registry;
mod statistics;
mod topic_admin;

use std::ffi::{CStr, CString, c_char, c_int};

use rdkafka_sys as sys;

pub use admin::{ClusterDescription, PartitionDescription, TopicDescription};
pub use client::{Client, ClientKind, Observer, Trouble};
pub use code::{Code, FfiError};
pub use conf::refused_value;
pub(crate) use config_admin::CONFIGS_PER_REQUEST;
pub use config_admin::TopicConfigs;
pub use consumer::Consumer;
pub use group_admin::{GroupOffset, ListedGroups};
pub use message::{ConsumedMessage, Stamp};
pub use mock::MockCluster;
pub use partitions::{Listed, OffsetSpec, Place};
pub use producer::{Handle, OutHeaderList, OutMessage, Producer, ReportedMessage};
pub use registry::ListedConsumer;
pub use topic_admin::NewTopic;

/// Tunes the memory allocator for the many threads of librdkafka's clients. Call it before any
/// thread starts.
///
/// All threads share two of glibc's heaps. By default every second thread gets a heap of its own,
/// and with dozens of client threads the memory that one frees stays out of reach of the others: a
/// fifth more memory, and slower. Heaps also keep free memory at their ends; by default it goes
/// back to the system, only to be requested and zeroed again with the next fetch (measured:
/// docs/benchmarks.md). Without glibc it does nothing.
pub fn tune_allocator() {
    #[cfg(target_env = "gnu")]
    // SAFETY: plain calls with constants, allowed at any time; a call that fails changes nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        // Buffers larger than a whole batch get pages of their own, and heaps keep this much free
        // memory.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 32 << 20);
    }
}

// Declared with the C type (int) and not with the generated Rust enums: a broker newer than this
// librdkafka may answer with a code that the enum has no variant for, and such a value in an enum
// is undefined behaviour.
#[allow(clashing_extern_declarations, reason = "bindgen declares the same function with an opaque type")]
mod raw {
    use std::ffi::{c_char, c_int};

    use rdkafka_sys::bindings as b;

    unsafe extern "C" {
        pub fn rd_kafka_err2str(code: c_int) -> *const c_char;
        pub fn rd_kafka_err2name(code: c_int) -> *const c_char;
        pub fn rd_kafka_error_code(error: *const b::rd_kafka_error_t) -> c_int;
        pub fn rd_kafka_event_error(event: *mut b::rd_kafka_event_t) -> c_int;
        pub fn rd_kafka_topic_result_error(result: *const b::rd_kafka_topic_result_t) -> c_int;
        pub fn rd_kafka_ConfigResource_error(resource: *const b::rd_kafka_ConfigResource_t) -> c_int;
        pub fn rd_kafka_ConfigEntry_source(entry: *const b::rd_kafka_ConfigEntry_t) -> c_int;
        pub fn rd_kafka_AclBinding_new(
            resource: c_int,
            name: *const c_char,
            pattern: c_int,
            principal: *const c_char,
            host: *const c_char,
            operation: c_int,
            permission: c_int,
            text: *mut c_char,
            size: usize,
        ) -> *mut b::rd_kafka_AclBinding_t;
        pub fn rd_kafka_AclBindingFilter_new(
            resource: c_int,
            name: *const c_char,
            pattern: c_int,
            principal: *const c_char,
            host: *const c_char,
            operation: c_int,
            permission: c_int,
            text: *mut c_char,
            size: usize,
        ) -> *mut b::rd_kafka_AclBinding_t;
        pub fn rd_kafka_AclBinding_resource_pattern_type(acl: *const b::rd_kafka_AclBinding_t) -> c_int;
        pub fn rd_kafka_AclBinding_permission_type(acl: *const b::rd_kafka_AclBinding_t) -> c_int;
        pub fn rd_kafka_AclBinding_operation(acl: *const b::rd_kafka_AclBinding_t) -> c_int;
        pub fn rd_kafka_metadata(
            rk: *mut b::rd_kafka_t,
            all_topics: c_int,
            only: *mut b::rd_kafka_topic_t,
            metadata: *mut *const b::rd_kafka_metadata,
            timeout_ms: c_int,
        ) -> c_int;
        pub fn rd_kafka_list_groups(
            rk: *mut b::rd_kafka_t,
            group: *const c_char,
            list: *mut *const b::rd_kafka_group_list,
            timeout_ms: c_int,
        ) -> c_int;
        pub fn rd_kafka_fatal_error(rk: *mut b::rd_kafka_t, text: *mut c_char, size: usize) -> c_int;
        pub fn rd_kafka_purge(rk: *mut b::rd_kafka_t, flags: c_int) -> c_int;
        pub fn rd_kafka_flush(rk: *mut b::rd_kafka_t, timeout_ms: c_int) -> c_int;
        pub fn rd_kafka_query_watermark_offsets(
            rk: *mut b::rd_kafka_t,
            topic: *const c_char,
            partition: i32,
            low: *mut i64,
            high: *mut i64,
            timeout_ms: c_int,
        ) -> c_int;
    }
}

fn check(code: c_int) -> Result<(), FfiError> {
    if code == 0 { Ok(()) } else { Err(FfiError::of(code)) }
}

/// Takes ownership of an error object; null is success.
///
/// # Safety
/// `error` is null or an error object that nobody else owns.
unsafe fn take_error(error: *mut sys::bindings::rd_kafka_error_t) -> Result<(), FfiError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a live error object, by contract; destroyed last, once.
    unsafe {
        let taken = FfiError {
            code: Code(raw::rd_kafka_error_code(error)),
            text: string(sys::bindings::rd_kafka_error_string(error)),
            fatal: sys::bindings::rd_kafka_error_is_fatal(error) != 0,
        };
        sys::bindings::rd_kafka_error_destroy(error);
        Err(taken)
    }
}

/// Copies an error that belongs to somebody else; null and no error are success.
///
/// # Safety
/// `error` is null or live.
unsafe fn error_in(error: *const sys::bindings::rd_kafka_error_t) -> Result<(), FfiError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a live error, by contract.
    unsafe {
        let code = raw::rd_kafka_error_code(error);
        if code == 0 {
            Ok(())
        } else {
            Err(FfiError::new(Code(code), string(sys::bindings::rd_kafka_error_string(error))))
        }
    }
}

/// Copies a C string. Null gives an empty string, and bytes that are not UTF-8 are replaced.
///
/// # Safety
/// `text` is null or NUL-terminated.
unsafe fn string(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: by contract.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// Returns a C string. Text with a NUL byte is refused; no legal topic name or setting has one.
fn c_string(text: &str) -> Result<CString, FfiError> {
    CString::new(text).map_err(|_| FfiError::new(Code::INVALID_ARG, format!("{text:?} contains a NUL byte")))
}

/// Returns milliseconds for a C call: finite, at least 1.
fn timeout_ms(timeout: std::time::Duration) -> c_int {
    c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX).max(1)
}

/// Returns an array of `len` elements as a slice. Null or zero gives an empty one.
///
/// # Safety
/// `array` is null or points to `len` elements that live as long as `'a`.
unsafe fn slice<'a, T>(array: *const T, len: usize) -> &'a [T] {
    if array.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: by contract.
    unsafe { std::slice::from_raw_parts(array, len) }
}

/// Reads an error code of a C struct as the int that it is in C: a newer broker's code may have no
/// variant in the generated enum.
///
/// # Safety
/// `error` points to a live field.
unsafe fn code_at(error: *const sys::bindings::rd_kafka_resp_err_t) -> Code {
    // SAFETY: live by contract, and an int has its size and alignment.
    Code(unsafe { error.cast::<i32>().read() })
}

/// Returns the error code of a message.
fn message_code(message: &sys::bindings::rd_kafka_message_t) -> Code {
    // SAFETY: a field of a live message.
    unsafe { code_at(&raw const message.err) }
}
