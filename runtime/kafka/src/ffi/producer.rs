//! The writing client, with cached topic handles, raw headers, transactions and a polling thread.

use std::ffi::{c_char, c_void};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka_sys::bindings as b;

use super::{Client, ClientKind, Code, FfiError, Observer, c_string, message_code, raw, take_error, timeout_ms};
use crate::config::Settings;

/// The handle of a topic at one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(usize);

/// A record to send.
#[derive(Clone, Copy, Debug)]
pub struct OutMessage<'a> {
    /// Topic of the record.
    pub topic: Handle,
    /// Partition of the record.
    pub partition: i32,
    /// The key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is null.
    pub value: Option<&'a [u8]>,
    /// Milliseconds since the Unix epoch; 0 stands for the time of the call.
    pub timestamp_ms: i64,
    /// A number that comes back in the delivery report.
    pub token: u64,
}

/// A delivery report, borrowed from librdkafka for one callback.
pub struct ReportedMessage<'a>(&'a b::rd_kafka_message_t);

impl<'a> ReportedMessage<'a> {
    pub(super) fn new(message: &'a b::rd_kafka_message_t) -> Self {
        Self(message)
    }

    /// Returns the error code; [`Code::OK`] when the record is written.
    ///
    /// There is no accessor for the broker's error text: in this version it points into a freed
    /// response (`rdkafka_broker.c`: `rd_kafka_dr_msgq0` copies the response, but the messages
    /// still point at the original, which `rdkafka_request.c` destroys).
    #[must_use]
    pub fn code(&self) -> Code {
        message_code(self.0)
    }

    /// Returns the token of the record.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.0._private as u64
    }

    /// Returns the target offset; negative where it is not known.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.0.offset
    }

    /// Returns the target partition, with the address of the topic object.
    #[must_use]
    pub fn partition(&self) -> (usize, i32) {
        (self.0.rkt as usize, self.0.partition)
    }
}

/// An owned `rd_kafka_topic_t`.
struct Topic(NonNull<b::rd_kafka_topic_t>);

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: our reference, given back once, before the instance goes (field order of
        // `Producer`).
        unsafe { b::rd_kafka_topic_destroy(self.0.as_ptr()) };
    }
}

/// A producer with its polling thread. Dropping it discards queued records and ends the thread.
pub struct Producer {
    topics: RwLock<Vec<Topic>>,
    stop: Arc<AtomicBool>,
    polling: Option<JoinHandle<()>>,
    client: Arc<Client>,
}

// SAFETY: topic handles are thread safe as the instance is.
unsafe impl Send for Producer {}
// SAFETY: as above; every method on &self calls thread-safe functions only.
unsafe impl Sync for Producer {}

impl Producer {
    /// Creates a producer and the thread that serves its callbacks. The thread calls `polled` after
    /// each round.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn new(
        label: &str,
        settings: &Settings,
        observer: Arc<dyn Observer>,
        polled: impl Fn() + Send + 'static,
    ) -> Result<Self, FfiError> {
        let client = Arc::new(Client::new(ClientKind::Producer, label, settings, Some(observer))?);
        let stop = Arc::new(AtomicBool::new(false));
        let polling = {
            let (client, stop) = (Arc::clone(&client), Arc::clone(&stop));
            std::thread::Builder::new()
                .name("strait-deliveries".to_owned())
                .spawn(move || {
                    while !stop.load(Ordering::Acquire) {
                        if client.poll(Duration::from_millis(100)) > 0 {
                            polled();
                        }
                    }
                })
                .map_err(|error| FfiError::new(Code::STATE, format!("cannot start a thread: {error}")))?
        };
        Ok(Self { topics: RwLock::new(Vec::new()), stop, polling: Some(polling), client })
    }

    /// Returns the instance, for admin requests.
    #[must_use]
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Opens a topic. Handles count up from 0.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn open(&self, topic: &str) -> Result<Handle, FfiError> {
        let name = c_string(topic)?;
        // SAFETY: live instance; null takes the default topic settings.
        let native = unsafe { b::rd_kafka_topic_new(self.client.raw(), name.as_ptr(), std::ptr::null_mut()) };
        let Some(native) = NonNull::new(native) else {
            return Err(FfiError::new(Code::UNKNOWN_TOPIC, format!("topic {topic} cannot be opened")));
        };
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        topics.push(Topic(native));
        Ok(Handle(topics.len() - 1))
    }

    /// Queues a record and copies key and value. Never waits.
    ///
    /// # Errors
    /// [`FfiError`]; the record is not queued then.
    pub fn produce(&self, message: &OutMessage<'_>, headers: Option<OutHeaderList>) -> Result<(), FfiError> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        let Some(topic) = topics.get(message.topic.0) else {
            return Err(FfiError::new(Code::UNKNOWN_TOPIC, "topic handle of an older producer"));
        };
        let bytes = |bytes: Option<&[u8]>| b::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
            ptr: bytes.map_or(std::ptr::null_mut(), |bytes| bytes.as_ptr().cast_mut().cast::<c_void>()),
            size: bytes.map_or(0, <[u8]>::len),
        };
        type Value = b::rd_kafka_vu_s__bindgen_ty_1;
        let argument = |vtype, u| b::rd_kafka_vu_s { vtype, u };
        use b::rd_kafka_vtype_t as V;
        let arguments = [
            argument(V::RD_KAFKA_VTYPE_RKT, Value { rkt: topic.0.as_ptr() }),
            argument(V::RD_KAFKA_VTYPE_PARTITION, Value { i32_: message.partition }),
            argument(V::RD_KAFKA_VTYPE_MSGFLAGS, Value { i: b::RD_KAFKA_MSG_F_COPY }),
            argument(V::RD_KAFKA_VTYPE_KEY, Value { mem: bytes(message.key) }),
            argument(V::RD_KAFKA_VTYPE_VALUE, Value { mem: bytes(message.value) }),
            argument(V::RD_KAFKA_VTYPE_TIMESTAMP, Value { i64_: message.timestamp_ms }),
            argument(V::RD_KAFKA_VTYPE_OPAQUE, Value { ptr: message.token as usize as *mut c_void }),
            argument(
                V::RD_KAFKA_VTYPE_HEADERS,
                Value { headers: headers.as_ref().map_or(std::ptr::null_mut(), |list| list.0) },
            ),
        ];
        let count = if headers.is_some() { arguments.len() } else { arguments.len() - 1 };
        // SAFETY: live instance and topic; the first `count` arguments are well formed; key and
        // value are copied (MSG_F_COPY) before it returns.
        unsafe { take_error(b::rd_kafka_produceva(self.client.raw(), arguments.as_ptr(), count))? };
        // The message owns the headers now; on failure above they are still ours and dropped.
        std::mem::forget(headers);
        Ok(())
    }

    /// Returns the number of records queued or in flight, and of waiting delivery reports.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        // SAFETY: live instance.
        usize::try_from(unsafe { b::rd_kafka_outq_len(self.client.raw()) }).unwrap_or(0)
    }

    /// Initialises the transactional id, which fences older owners and ends their transactions.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn init_transactions(&self, timeout: Duration) -> Result<(), FfiError> {
        // SAFETY: live instance.
        unsafe { take_error(b::rd_kafka_init_transactions(self.client.raw(), timeout_ms(timeout))) }
    }

    /// Begins a transaction, without a request.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn begin_transaction(&self) -> Result<(), FfiError> {
        // SAFETY: live instance.
        unsafe { take_error(b::rd_kafka_begin_transaction(self.client.raw())) }
    }

    /// Waits for outstanding records, then commits.
    ///
    /// # Errors
    /// [`FfiError`]. After a timeout the outcome is unknown.
    pub fn commit_transaction(&self, timeout: Duration) -> Result<(), FfiError> {
        // SAFETY: live instance.
        unsafe { take_error(b::rd_kafka_commit_transaction(self.client.raw(), timeout_ms(timeout))) }
    }

    /// Discards queued records and aborts.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn abort_transaction(&self, timeout: Duration) -> Result<(), FfiError> {
        self.purge();
        // SAFETY: live instance.
        unsafe { take_error(b::rd_kafka_abort_transaction(self.client.raw(), timeout_ms(timeout))) }
    }

    /// Waits until every record has its delivery report.
    ///
    /// # Errors
    /// [`FfiError`] with [`Code::TIMED_OUT`].
    pub fn flush(&self, timeout: Duration) -> Result<(), FfiError> {
        // SAFETY: live instance.
        super::check(unsafe { raw::rd_kafka_flush(self.client.raw(), timeout_ms(timeout)) })
    }

    /// Fails all records that are queued or in flight.
    pub fn purge(&self) {
        let flags = b::RD_KAFKA_PURGE_F_QUEUE | b::RD_KAFKA_PURGE_F_INFLIGHT | b::RD_KAFKA_PURGE_F_NON_BLOCKING;
        // SAFETY: live instance. Fails only for wrong flags or client kinds.
        let code = unsafe { raw::rd_kafka_purge(self.client.raw(), flags) };
        if code != 0 {
            tracing::warn!(client = self.client.label(), "purge: {}", Code(code).text());
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.purge();
        self.stop.store(true, Ordering::Release);
        if let Some(polling) = self.polling.take()
            && polling.join().is_err()
        {
            tracing::error!(client = self.client.label(), "the thread that serves deliveries panicked");
        }
        self.topics.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The headers of a record to produce.
pub struct OutHeaderList(*mut b::rd_kafka_headers_t);

impl OutHeaderList {
    /// Creates a list with room for `count` headers.
    #[must_use]
    pub fn with_capacity(count: usize) -> Self {
        // SAFETY: plain constructor.
        Self(unsafe { b::rd_kafka_headers_new(count) })
    }

    /// Appends a header. The name may be any bytes, and a null value differs from an empty one.
    pub fn push(&mut self, name: &[u8], value: Option<&[u8]>) {
        let size = |bytes: &[u8]| isize::try_from(bytes.len()).unwrap_or(0);
        let (pointer, length) = value.map_or((std::ptr::null(), 0), |value| (value.as_ptr(), size(value)));
        // SAFETY: live list; name and value are copied with explicit lengths. It cannot fail for a
        // list that is not read-only.
        unsafe {
            b::rd_kafka_header_add(self.0, name.as_ptr().cast::<c_char>(), size(name), pointer.cast::<c_void>(), length)
        };
    }
}

impl Drop for OutHeaderList {
    fn drop(&mut self) {
        // SAFETY: still ours.
        unsafe { b::rd_kafka_headers_destroy(self.0) };
    }
}
