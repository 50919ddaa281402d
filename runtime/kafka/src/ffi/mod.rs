//! The only place that calls librdkafka's C interface directly; everything above is safe Rust.
//!
//! Why not the safe `rdkafka` crate on the data path: it has no batch consume, no leader epochs, panics on header names that
//! are not UTF-8, and looks the topic up by name for every produced record.
#![allow(unsafe_code)]

mod admin;
mod client;
mod consumer;
mod message;
mod mock;
mod partitions;
mod producer;

use std::ffi::{CStr, CString, c_char, c_int};

use rdkafka_sys as sys;

pub use admin::{ClusterDescription, PartitionDescription, TopicDescription};
pub use client::{Client, ClientKind, Observer, Trouble};
pub use consumer::Consumer;
pub use message::{ConsumedMessage, Stamp};
pub use mock::MockCluster;
pub use partitions::{Listed, OffsetSpec, Place};
pub use producer::{Handle, OutHeaderList, OutMessage, Producer, ReportedMessage};

/// Has glibc share two heaps among all threads, and keep what they free. By default every second thread gets one of its own, and
/// with the dozens of threads of librdkafka's clients what one freed stays out of reach of the others: a fifth more memory, and
/// slower. And it gives the ends of heaps back to the system, to ask for them anew (and have them zeroed) with the next fetch
/// (measured: docs/benchmarks.md). Call it before any thread is started. Elsewhere than on glibc it does nothing.
pub fn share_heaps() {
    #[cfg(target_env = "gnu")]
    // SAFETY: plain calls with constants, allowed at any time; they fail only by changing nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        // Buffers of more than a whole batch have pages of their own, and heaps keep this much free memory at their ends.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 32 << 20);
    }
}

/// An error code of librdkafka: negative ones are its own, positive ones the broker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code(pub i32);

// Declared here with the C type (int) instead of the generated Rust enums: a broker newer than this librdkafka may answer
// with a code that the enum has no variant for, and such a value in an enum would be undefined behaviour.
#[allow(clashing_extern_declarations)]
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

impl Code {
    /// No error.
    pub const OK: Self = Self(0);
    /// End of a partition: the fetch position stands at the last stable offset.
    pub const PARTITION_EOF: Self = Self(-191);
    /// Partition not known locally.
    pub const UNKNOWN_PARTITION: Self = Self(-190);
    /// Topic not known locally.
    pub const UNKNOWN_TOPIC: Self = Self(-188);
    /// Bad argument or setting.
    pub const INVALID_ARG: Self = Self(-186);
    /// Nothing within the time given.
    pub const TIMED_OUT: Self = Self(-185);
    /// The local queue is full.
    pub const QUEUE_FULL: Self = Self(-184);
    /// Wrong state for the call.
    pub const STATE: Self = Self(-172);
    /// SASL or TLS refused us.
    pub const AUTHENTICATION: Self = Self(-169);
    /// The broker lacks the request.
    pub const UNSUPPORTED_FEATURE: Self = Self(-165);
    /// The client is unusable for good; [`Client::fatal`] says why.
    pub const FATAL: Self = Self(-150);
    /// Another producer took the transactional id.
    pub const FENCED: Self = Self(-144);
    /// A position was lost and may not be reset.
    pub const AUTO_OFFSET_RESET: Self = Self(-140);
    /// The log was truncated below the position.
    pub const LOG_TRUNCATION: Self = Self(-139);
    /// Another record of the same batch was refused.
    pub const INVALID_DIFFERENT_RECORD: Self = Self(-138);
    /// Offset not in the log.
    pub const OFFSET_OUT_OF_RANGE: Self = Self(1);
    /// No such topic or partition.
    pub const UNKNOWN_TOPIC_OR_PART: Self = Self(3);
    /// Record or batch too large.
    pub const MSG_SIZE_TOO_LARGE: Self = Self(10);
    /// Batch larger than a segment.
    pub const RECORD_LIST_TOO_LARGE: Self = Self(18);
    /// Timestamp out of the accepted range.
    pub const INVALID_TIMESTAMP: Self = Self(32);
    /// Topic exists already.
    pub const TOPIC_ALREADY_EXISTS: Self = Self(36);
    /// Partition count not valid (already grown).
    pub const INVALID_PARTITIONS: Self = Self(37);
    /// The topic's message format cannot hold it.
    pub const UNSUPPORTED_FOR_MESSAGE_FORMAT: Self = Self(43);
    /// Producer epoch is old: fenced.
    pub const INVALID_PRODUCER_EPOCH: Self = Self(47);
    /// The last transaction of the id has not ended everywhere yet.
    pub const CONCURRENT_TRANSACTIONS: Self = Self(51);
    /// Record refused by validation.
    pub const INVALID_RECORD: Self = Self(87);
    /// Producer fenced.
    pub const PRODUCER_FENCED: Self = Self(90);
    /// No such topic id.
    pub const UNKNOWN_TOPIC_ID: Self = Self(100);

    /// What librdkafka says about it.
    #[must_use]
    pub fn text(self) -> String {
        // SAFETY: returns a pointer to a static or thread-local NUL-terminated string for any int.
        unsafe { string(raw::rd_kafka_err2str(self.0)) }
    }

    /// Its symbolic name.
    #[must_use]
    pub fn name(self) -> String {
        // SAFETY: as above.
        unsafe { string(raw::rd_kafka_err2name(self.0)) }
    }
}

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text} ({})", code.name())]
pub struct FfiError {
    /// Code.
    pub code: Code,
    /// What was said.
    pub text: String,
    /// The client cannot be used any more.
    pub fatal: bool,
}

impl FfiError {
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), fatal: false }
    }

    fn of(code: c_int) -> Self {
        Self::new(Code(code), Code(code).text())
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

/// Copies a C string; null gives an empty one, bytes that are not UTF-8 are replaced.
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

/// A C string; text with a NUL byte (no legal topic name or setting has one) is refused.
fn c_string(text: &str) -> Result<CString, FfiError> {
    CString::new(text).map_err(|_| FfiError::new(Code::INVALID_ARG, format!("{text:?} contains a NUL byte")))
}

/// Milliseconds for a C call: finite, at least 1.
fn timeout_ms(timeout: std::time::Duration) -> c_int {
    c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX).max(1)
}

/// An array of `len` pointers as a slice; null or zero gives an empty one.
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
