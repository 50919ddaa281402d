//! The calls of librdkafka that rdkafka has no safe and complete form of: headers as bytes (rdkafka
//! panics on a name that is not UTF-8) and producing with such headers, a timestamp and a
//! partition.
#![allow(unsafe_code, reason = "calls into librdkafka; every block says why it is sound")]

use std::ffi::{CStr, c_void};
use std::ptr;
use std::slice;
use std::time::Duration;

use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::producer::{Producer, ProducerContext, ThreadedProducer};
use rdkafka_sys as sys;

use crate::record::{Header, Record};

/// Why a record could not be enqueued.
pub(crate) enum ProduceError {
    /// The producer's queue is full: wait, then retry.
    QueueFull,
    /// Anything else, in librdkafka's words.
    Failed(String),
}

/// A copy of a consumed message. A header name ends at a NUL byte, since librdkafka gives no
/// length.
pub(crate) fn record_of(message: &BorrowedMessage<'_>) -> Result<Record, String> {
    Ok(Record {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers_of(message)?,
    })
}

fn headers_of(message: &BorrowedMessage<'_>) -> Result<Vec<Header>, String> {
    let mut list = ptr::null_mut();
    // SAFETY: the message is alive for the whole function; the list it returns belongs to the
    // message.
    let error = unsafe { sys::rd_kafka_message_headers(message.ptr(), &mut list) };
    if error == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__NOENT {
        return Ok(Vec::new());
    }
    if error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Err(format!("reading headers at offset {}: {error:?}", message.offset()));
    }
    let mut headers = Vec::new();
    loop {
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list is valid (above) and the three out-pointers are ours.
        let error = unsafe { sys::rd_kafka_header_get_all(list, headers.len(), &mut name, &mut value, &mut size) };
        if error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Ok(headers);
        }
        // SAFETY: librdkafka ends names with NUL, and both live as long as the message.
        let name = unsafe { CStr::from_ptr(name) }.to_bytes().to_vec();
        let value = if value.is_null() {
            None
        } else {
            // SAFETY: a value that is not null has `size` bytes, alive as long as the message.
            Some(unsafe { slice::from_raw_parts(value.cast::<u8>(), size) }.to_vec())
        };
        headers.push((name, value));
    }
}

/// Enqueues a record to its partition with its timestamp. librdkafka copies all of it.
pub(crate) fn produce<C>(producer: &ThreadedProducer<C>, topic: &CStr, record: &Record) -> Result<(), ProduceError>
where
    C: ProducerContext<DeliveryOpaque = ()> + 'static,
{
    use sys::rd_kafka_vtype_t as vtype;

    let headers = header_list(&record.headers);
    let field = |vtype, u| sys::rd_kafka_vu_s { vtype, u };
    let bytes = |bytes: Option<&[u8]>| sys::rd_kafka_vu_s__bindgen_ty_1 {
        mem: sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
            // A null pointer is a null field; an empty slice's pointer is not null, so that stays
            // empty.
            ptr: bytes.map_or(ptr::null_mut(), |bytes| bytes.as_ptr().cast::<c_void>().cast_mut()),
            size: bytes.map_or(0, <[u8]>::len),
        },
    };
    type Union = sys::rd_kafka_vu_s__bindgen_ty_1;
    let fields = [
        field(vtype::RD_KAFKA_VTYPE_TOPIC, Union { cstr: topic.as_ptr() }),
        field(vtype::RD_KAFKA_VTYPE_PARTITION, Union { i32_: record.partition }),
        field(vtype::RD_KAFKA_VTYPE_MSGFLAGS, Union { i: sys::RD_KAFKA_MSG_F_COPY }),
        field(vtype::RD_KAFKA_VTYPE_KEY, bytes(record.key.as_deref())),
        field(vtype::RD_KAFKA_VTYPE_VALUE, bytes(record.value.as_deref())),
        field(vtype::RD_KAFKA_VTYPE_TIMESTAMP, Union { i64_: record.timestamp }),
        field(vtype::RD_KAFKA_VTYPE_HEADERS, Union { headers }),
    ];
    // SAFETY: the producer is alive, every field points to memory that outlives the call, and with
    // MSG_F_COPY nothing is read afterwards. Ownership of the headers passes only if the call
    // succeeds.
    let error = unsafe { sys::rd_kafka_produceva(producer.client().native_ptr(), fields.as_ptr(), fields.len()) };
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the call failed, so the headers are still ours and are destroyed once; the error is
    // ours and alive until `outcome` destroys it.
    let code = unsafe {
        sys::rd_kafka_headers_destroy(headers);
        sys::rd_kafka_error_code(error)
    };
    match outcome(error) {
        Err(_) if code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__QUEUE_FULL => Err(ProduceError::QueueFull),
        Err(reason) => Err(ProduceError::Failed(reason)),
        Ok(()) => Ok(()),
    }
}

/// Commits. rdkafka's own `commit_transaction` and `flush` wait in steps of 100 ms, which a
/// generator with hundreds of transactions cannot afford; the producer's thread serves what
/// librdkafka waits for.
///
/// # Errors
/// librdkafka's words.
pub fn commit<C>(producer: &ThreadedProducer<C>, timeout: Duration) -> Result<(), String>
where
    C: ProducerContext<DeliveryOpaque = ()> + 'static,
{
    // SAFETY: the producer is alive; the error, if any, is passed on to be destroyed.
    outcome(unsafe { sys::rd_kafka_commit_transaction(producer.client().native_ptr(), millis(timeout)) })
}

/// Aborts after every record has reached the broker.
pub(crate) fn flush_and_abort<C>(producer: &ThreadedProducer<C>, timeout: Duration) -> Result<(), String>
where
    C: ProducerContext<DeliveryOpaque = ()> + 'static,
{
    let native = producer.client().native_ptr();
    // SAFETY: the producer is alive.
    let flushed = unsafe { sys::rd_kafka_flush(native, millis(timeout)) };
    if flushed != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Err(format!("flushing: {flushed:?}"));
    }
    // SAFETY: the producer is alive; the error, if any, is passed on to be destroyed.
    outcome(unsafe { sys::rd_kafka_abort_transaction(native, millis(timeout)) })
}

fn millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
}

/// Turns an error object that is now ours into its text.
fn outcome(error: *mut sys::rd_kafka_error_t) -> Result<(), String> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the error is ours, is alive until it is destroyed here once, and its text is copied
    // before.
    unsafe {
        let reason = CStr::from_ptr(sys::rd_kafka_error_string(error)).to_string_lossy().into_owned();
        sys::rd_kafka_error_destroy(error);
        Err(reason)
    }
}

/// A header list that the caller owns.
fn header_list(headers: &[Header]) -> *mut sys::rd_kafka_headers_t {
    // SAFETY: the list is new and only used here; names and values are given with their lengths and
    // copied.
    unsafe {
        let list = sys::rd_kafka_headers_new(headers.len());
        for (name, value) in headers {
            let (value, size) =
                value.as_ref().map_or((ptr::null(), 0), |value| (value.as_ptr().cast::<c_void>(), value.len()));
            sys::rd_kafka_header_add(list, name.as_ptr().cast(), name.len() as isize, value, size as isize);
        }
        list
    }
}
