//! Consumed messages, borrowed while they are copied.

use std::ffi::CStr;
use std::sync::OnceLock;

use rdkafka_sys::bindings as b;
use strait_core::Record;

use super::{Code, FfiError, message_code, slice, string};

/// The kind of a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// Set by the producer, or absent (-1).
    Create,
    /// Set by the broker.
    Append,
}

/// A message borrowed from librdkafka.
#[derive(Clone, Copy)]
pub struct ConsumedMessage<'a>(&'a b::rd_kafka_message_t);

impl<'a> ConsumedMessage<'a> {
    pub(super) fn new(message: &'a b::rd_kafka_message_t) -> Self {
        Self(message)
    }

    /// Returns the error code; [`Code::OK`] for a record.
    #[must_use]
    pub fn code(&self) -> Code {
        message_code(self.0)
    }

    /// Returns the description of the error.
    #[must_use]
    pub fn error_text(&self) -> String {
        // SAFETY: live message.
        unsafe { string(b::rd_kafka_message_errstr(self.0)) }
    }

    /// Returns the address of the topic object. It is the same for all messages of a topic while
    /// they are borrowed.
    #[must_use]
    pub fn topic_address(&self) -> usize {
        self.0.rkt as usize
    }

    /// Returns the topic; empty for an error without one.
    #[must_use]
    pub fn topic(&self) -> &'a str {
        if self.0.rkt.is_null() {
            return "";
        }
        // SAFETY: the message holds a reference to the topic object, whose name is NUL-terminated.
        let name = unsafe { CStr::from_ptr(b::rd_kafka_topic_name(self.0.rkt)) };
        name.to_str().unwrap_or_default()
    }

    /// Returns the partition.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.0.partition
    }

    /// Returns the offset.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.0.offset
    }

    /// Returns the key; `None` is null.
    #[must_use]
    pub fn key(&self) -> Option<&'a [u8]> {
        // SAFETY: key and key_len belong together and live as long as the message.
        (!self.0.key.is_null()).then(|| unsafe { slice(self.0.key.cast_const().cast::<u8>(), self.0.key_len) })
    }

    /// Returns the value; `None` is null.
    #[must_use]
    pub fn value(&self) -> Option<&'a [u8]> {
        // SAFETY: payload and len belong together and live as long as the message.
        (!self.0.payload.is_null()).then(|| unsafe { slice(self.0.payload.cast_const().cast::<u8>(), self.0.len) })
    }

    /// Returns a copy of the record.
    ///
    /// # Errors
    /// Headers that cannot be read.
    pub fn to_record(&self) -> Result<Record, FfiError> {
        let mut headers = Vec::new();
        self.headers(|name, value| headers.push((name.to_vec(), value.map(<[u8]>::to_vec))))
            .map_err(|code| FfiError::new(code, "headers cannot be read".to_owned()))?;
        Ok(Record {
            topic: self.topic().to_owned(),
            partition: self.partition(),
            offset: self.offset(),
            timestamp_ms: self.timestamp().0,
            key: self.key().map(<[u8]>::to_vec),
            value: self.value().map(<[u8]>::to_vec),
            headers,
        })
    }

    /// Returns the bytes of key and value.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let key = if self.0.key.is_null() { 0 } else { self.0.key_len };
        let value = if self.0.payload.is_null() { 0 } else { self.0.len };
        key + value
    }

    /// Returns the timestamp in milliseconds since the Unix epoch; -1 where there is none.
    #[must_use]
    pub fn timestamp(&self) -> (i64, Stamp) {
        let mut kind = b::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: live message; librdkafka writes one of its three values.
        let ms = unsafe { b::rd_kafka_message_timestamp(self.0, &raw mut kind) };
        match kind {
            b::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => (ms, Stamp::Append),
            b::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME => (ms, Stamp::Create),
            b::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => (-1, Stamp::Create),
        }
    }

    /// Returns the leader epoch; -1 where there is none.
    #[must_use]
    pub fn leader_epoch(&self) -> i32 {
        // SAFETY: live message.
        unsafe { b::rd_kafka_message_leader_epoch(self.0) }
    }

    /// Visits the headers in order, with the name as raw bytes and the value, which may be null.
    ///
    /// # Errors
    /// [`Code`] where the broker's bytes do not parse as headers.
    pub fn headers(&self, mut visit: impl FnMut(&'a [u8], Option<&'a [u8]>)) -> Result<(), Code> {
        let mut headers = std::ptr::null_mut();
        // SAFETY: live message; the headers stay the message's.
        let code = unsafe { b::rd_kafka_message_headers(self.0, &raw mut headers) };
        match code {
            b::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {}
            b::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__NOENT => return Ok(()),
            other => return Err(Code(other as i32)),
        }
        let mut index = 0;
        loop {
            let (mut name, mut value, mut size) = (std::ptr::null(), std::ptr::null(), 0_usize);
            // SAFETY: live headers; the out parameters are ours; past the end it answers NOENT.
            let found =
                unsafe { b::rd_kafka_header_get_all(headers, index, &raw mut name, &raw mut value, &raw mut size) };
            if found != b::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Ok(());
            }
            // SAFETY: name and value point into the header, which lives as long as the message.
            unsafe {
                let name = slice(name.cast::<u8>(), name_size(name));
                let value = (!value.is_null()).then(|| slice(value.cast::<u8>(), size));
                visit(name, value);
            }
            index += 1;
        }
    }
}

/// Returns the length of a header's name. The public interface has only a NUL-terminated pointer,
/// which would cut a name at a NUL byte. The pinned version keeps the length two words before the
/// name (`rdkafka_header.h`: `rd_kafka_header_s`).
///
/// # Safety
/// `name` comes from `rd_kafka_header_get_all`.
unsafe fn name_size(name: *const std::ffi::c_char) -> usize {
    static PINNED: OnceLock<bool> = OnceLock::new();
    // SAFETY: no arguments. 0x020c01ff is 2.12.1 final.
    let pinned = *PINNED.get_or_init(|| unsafe { b::rd_kafka_version() } == 0x020c_01ff);
    if !pinned {
        // SAFETY: NUL-terminated by librdkafka.
        return unsafe { CStr::from_ptr(name) }.to_bytes().len();
    }
    // SAFETY: in this version `rkhdr_name_size` (size_t) and `rkhdr_value` (pointer) stand right
    // before `rkhdr_name`, without padding since both are words; a test checks it with a name that
    // contains a NUL byte.
    unsafe { name.cast::<usize>().sub(2).read_unaligned() }
}
