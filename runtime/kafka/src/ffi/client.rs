//! One librdkafka instance: created from settings, observed through callbacks, destroyed once.

use std::ffi::{c_char, c_int, c_void};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use rdkafka_sys::bindings as b;

use strait_core::TopicId;
use strait_flow::lock;

use super::conf::Conf;
use super::controller::Controller;
use super::producer::ReportedMessage;
use super::statistics::Statistics;
use super::{Code, FfiError, c_string, raw, string, timeout_ms};
use crate::access::{Access, Listed};
use crate::config::Settings;

/// The kind of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// A producer.
    Producer,
    /// A consumer.
    Consumer,
}

/// An error of a client as a whole.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// Error code; for [`Code::FATAL`] the underlying one.
    pub code: Code,
    /// Description of the error.
    pub text: String,
    /// Whether the client cannot be used any more.
    pub fatal: bool,
}

/// Receives the reports of a client, on a thread of librdkafka or the polling thread. It must be
/// quick.
pub trait Observer: Send + Sync {
    /// A produced record was delivered, or failed.
    fn delivered(&self, message: &ReportedMessage<'_>) {
        let _ = message;
    }

    /// A broker does not have a feature of the protocol, by librdkafka's name for it. Reported to
    /// clients with the setting `debug = feature`.
    fn lacks(&self, feature: &str) {
        let _ = feature;
    }

    /// The client takes a topic for another one than before: its requests name this id from now on.
    /// Reported to clients with the setting `debug = metadata`, before any such request.
    fn topic_id(&self, topic: &str, id: TopicId) {
        let _ = (topic, id);
    }

    /// The client as a whole has an error.
    fn trouble(&self, trouble: &Trouble) {
        let _ = trouble;
    }
}

/// The state that callbacks reach through the opaque pointer. [`Client`] drops its `Arc` after the
/// instance.
struct Shared {
    kind: ClientKind,
    label: String,
    secrets: Vec<String>,
    access: Access,
    observer: Option<Arc<dyn Observer>>,
    trouble: Mutex<Option<Trouble>>,
    round_trip_us: AtomicU64,
    next_offset: AtomicI64,
}

/// An owned `rd_kafka_t`. It is thread safe, as librdkafka is.
pub struct Client {
    rk: NonNull<b::rd_kafka_t>,
    /// Its place among the clients of its cluster, which ends before the instance.
    listed: Option<Listed>,
    shared: Arc<Shared>,
    /// Whether the cluster has one.
    controller: Controller,
}

// SAFETY: librdkafka's instance functions are thread safe (INTRODUCTION.md, "Threads and
// callbacks"); those that are not (consume_batch_queue by one caller only) are behind `&mut` in
// `Consumer`.
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("label", &self.shared.label).finish_non_exhaustive()
    }
}

impl Client {
    /// Creates an instance. It connects in the background.
    ///
    /// # Errors
    /// [`FfiError`] with the refused setting.
    pub fn new(
        kind: ClientKind,
        label: &str,
        settings: &Settings,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, FfiError> {
        let shared = Arc::new(Shared {
            kind,
            label: label.to_owned(),
            secrets: settings.secrets(),
            access: settings.access().clone(),
            observer,
            trouble: Mutex::new(None),
            round_trip_us: AtomicU64::new(0),
            next_offset: AtomicI64::new(0),
        });
        let conf = Conf::new();
        for (name, value) in settings.iter() {
            conf.set(name, value).map_err(|error| FfiError::new(error.code, shared.mask(error.text)))?;
        }
        let mut text = [0 as c_char; 512];
        let opaque = Arc::as_ptr(&shared).cast_mut().cast::<c_void>();
        // SAFETY: the callbacks have the C signatures asked for; the opaque outlives the instance
        // because `Client::drop` destroys the instance before the Arc's own field is dropped.
        unsafe {
            b::rd_kafka_conf_set_opaque(conf.0, opaque);
            b::rd_kafka_conf_set_log_cb(conf.0, Some(on_log));
            b::rd_kafka_conf_set_error_cb(conf.0, Some(on_error));
            b::rd_kafka_conf_set_stats_cb(conf.0, Some(on_stats));
            if kind == ClientKind::Producer {
                b::rd_kafka_conf_set_dr_msg_cb(conf.0, Some(on_delivery));
            }
        }
        let native = match kind {
            ClientKind::Producer => b::rd_kafka_type_t::RD_KAFKA_PRODUCER,
            ClientKind::Consumer => b::rd_kafka_type_t::RD_KAFKA_CONSUMER,
        };
        // SAFETY: on success the instance owns conf, on failure we still do (rdkafka.h,
        // rd_kafka_new).
        let rk = unsafe { b::rd_kafka_new(native, conf.0, text.as_mut_ptr(), text.len()) };
        let Some(rk) = NonNull::new(rk) else {
            // SAFETY: librdkafka NUL-terminates the buffer.
            let reason = shared.mask(unsafe { string(text.as_ptr()) });
            return Err(FfiError::new(Code::INVALID_ARG, reason));
        };
        std::mem::forget(conf);
        // SAFETY: `Client::drop` drops the place before it destroys the instance.
        let listed = Some(unsafe { super::registry::list(settings.access(), rk) });
        Ok(Self { rk, listed, shared, controller: Controller::default() })
    }

    pub(super) fn raw(&self) -> *mut b::rd_kafka_t {
        self.rk.as_ptr()
    }

    /// Returns the label for logs and errors.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.shared.label
    }

    /// Serves pending callbacks, or waits for one. Returns how many it served.
    pub fn poll(&self, timeout: Duration) -> i32 {
        let ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: live instance.
        unsafe { b::rd_kafka_poll(self.raw(), ms) }
    }

    /// Returns the last error of the client, and keeps it.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        lock(&self.shared.trouble).clone()
    }

    /// Removes the last error of the client and returns it.
    #[must_use]
    pub fn take_trouble(&self) -> Option<Trouble> {
        lock(&self.shared.trouble).take()
    }

    /// Returns the round trip to the brokers by the last statistics, weighted by requests; zero
    /// before the first.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        Duration::from_micros(self.shared.round_trip_us.load(Ordering::Relaxed))
    }

    /// Counts an answer of the cluster.
    pub fn heard(&self) {
        self.shared.access.answered();
    }

    /// Returns the largest offset that a consumer was about to fetch by the last statistics, over
    /// all partitions; 0 before the first. It passes markers and aborted records, which no message
    /// shows.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.shared.next_offset.load(Ordering::Relaxed)
    }

    /// Returns the cluster id, if the brokers report it in time.
    #[must_use]
    pub fn cluster_id(&self, timeout: Duration) -> Option<String> {
        // SAFETY: live instance; the result is ours and freed by rd_kafka_mem_free.
        unsafe {
            let id = b::rd_kafka_clusterid(self.raw(), timeout_ms(timeout));
            if id.is_null() {
                return None;
            }
            let copied = string(id);
            b::rd_kafka_mem_free(self.raw(), id.cast());
            Some(copied)
        }
    }

    /// Returns whether the cluster has a controller among its brokers, as `Controller::exists`
    /// does.
    #[must_use]
    pub fn has_controller(&self, timeout: Duration) -> bool {
        self.controller.exists(|| {
            let brokers = self.broker_ids(timeout).ok()?;
            // SAFETY: live instance; the id came with the metadata, so this does not wait.
            let controller = unsafe { b::rd_kafka_controllerid(self.raw(), 50) };
            Some((brokers, controller))
        })
    }

    /// Waits for an answer of some broker, so that the client has a connection.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn connect(&self, timeout: Duration) -> Result<(), FfiError> {
        self.broker_ids(timeout).map(drop)
    }

    /// Refreshes the client's metadata of the topics that it has handles of, in one request.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn refresh_open_topics(&self, timeout: Duration) -> Result<(), FfiError> {
        self.broker_ids(timeout).map(drop)
    }

    fn broker_ids(&self, timeout: Duration) -> Result<Vec<i32>, FfiError> {
        // SAFETY: as in `metadata`; no topic is asked for.
        unsafe {
            let mut metadata = std::ptr::null();
            let none = std::ptr::null_mut();
            super::check(raw::rd_kafka_metadata(self.raw(), 0, none, &raw mut metadata, timeout_ms(timeout)))?;
            let Some(answer) = metadata.as_ref() else {
                return Ok(Vec::new());
            };
            let count = usize::try_from(answer.broker_cnt).unwrap_or(0);
            let ids = super::slice(answer.brokers.cast_const(), count).iter().map(|broker| broker.id).collect();
            b::rd_kafka_metadata_destroy(metadata);
            Ok(ids)
        }
    }

    /// Returns names and partition counts of all topics, or of one. Refreshes the client's own
    /// metadata too.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn metadata(&self, only: Option<&str>, timeout: Duration) -> Result<Vec<(String, i32, Code)>, FfiError> {
        let name = only.map(c_string).transpose()?;
        // SAFETY: live instance; the handle and the metadata are released below on every path;
        // arrays are read within the counts that come with them.
        unsafe {
            let handle = match &name {
                Some(name) => b::rd_kafka_topic_new(self.raw(), name.as_ptr(), std::ptr::null_mut()),
                None => std::ptr::null_mut(),
            };
            let mut metadata = std::ptr::null();
            let all = c_int::from(only.is_none());
            let code = raw::rd_kafka_metadata(self.raw(), all, handle, &raw mut metadata, timeout_ms(timeout));
            if !handle.is_null() {
                b::rd_kafka_topic_destroy(handle);
            }
            super::check(code)?;
            let Some(answer) = metadata.as_ref() else {
                return Ok(Vec::new());
            };
            let count = usize::try_from(answer.topic_cnt).unwrap_or(0);
            let topics = super::slice(answer.topics.cast_const(), count)
                .iter()
                .map(|topic| (string(topic.topic), topic.partition_cnt, super::code_at(&raw const topic.err)))
                .collect();
            b::rd_kafka_metadata_destroy(metadata);
            Ok(topics)
        }
    }

    /// Returns the client ids of a consumer group's members; none where the group does not exist.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn group_members(&self, group: &str, timeout: Duration) -> Result<Vec<String>, FfiError> {
        let name = c_string(group)?;
        let mut list = std::ptr::null();
        // SAFETY: live instance and name; the list is ours until it is destroyed below, on every
        // path, and its arrays are read within the counts that come with them.
        unsafe {
            let code = raw::rd_kafka_list_groups(self.raw(), name.as_ptr(), &raw mut list, timeout_ms(timeout));
            let Some(answer) = list.as_ref() else {
                super::check(code)?;
                return Ok(Vec::new());
            };
            let groups = super::slice(answer.groups.cast_const(), usize::try_from(answer.group_cnt).unwrap_or(0));
            let mut failed = code;
            let mut members = Vec::new();
            for group in groups {
                let error = super::code_at(&raw const group.err).0;
                failed = if failed == 0 { error } else { failed };
                let count = usize::try_from(group.member_cnt).unwrap_or(0);
                let found = super::slice(group.members.cast_const(), count);
                members.extend(found.iter().map(|member| string(member.client_id)));
            }
            b::rd_kafka_group_list_destroy(list);
            super::check(failed)?;
            Ok(members)
        }
    }

    /// Returns log start and high watermark of a partition, for clusters without the ListOffsets
    /// admin request.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn watermarks(&self, topic: &str, partition: i32, timeout: Duration) -> Result<(i64, i64), FfiError> {
        let name = c_string(topic)?;
        let (mut low, mut high) = (0, 0);
        // SAFETY: live instance, out parameters are ours.
        super::check(unsafe {
            raw::rd_kafka_query_watermark_offsets(
                self.raw(),
                name.as_ptr(),
                partition,
                &raw mut low,
                &raw mut high,
                timeout_ms(timeout),
            )
        })?;
        Ok((low, high))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.listed.take());
        // Without a close, which could wait for a dead broker. The membership leaves its group by
        // itself.
        let flags = match self.shared.kind {
            ClientKind::Consumer => b::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE,
            ClientKind::Producer => 0,
        };
        // SAFETY: the only destroy; nothing that borrows the instance outlives its Arc<Client>.
        unsafe { b::rd_kafka_destroy_flags(self.raw(), flags) };
    }
}

impl Shared {
    fn mask(&self, mut text: String) -> String {
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), "***");
            }
        }
        text
    }
}

/// # Safety
/// `opaque` is the pointer set in [`Client::new`].
unsafe fn shared<'a>(opaque: *mut c_void) -> Option<&'a Shared> {
    // SAFETY: points into the Arc that the Client keeps until after rd_kafka_destroy.
    unsafe { opaque.cast::<Shared>().as_ref() }
}

unsafe extern "C" fn on_log(rk: *const b::rd_kafka_t, level: c_int, facility: *const c_char, text: *const c_char) {
    // SAFETY: librdkafka passes a live instance and NUL-terminated strings.
    let (shared, facility, text) = unsafe { (shared(b::rd_kafka_opaque(rk)), string(facility), string(text)) };
    let Some(shared) = shared else { return };
    // All clients of a cluster share its settings, and each warns of those of the other kind of
    // client.
    if facility == "CONFWARN" {
        return;
    }
    if let Some((_, feature)) = text.split_once("Disabling feature ")
        && facility == "APIVERSION"
        && let Some(observer) = &shared.observer
    {
        observer.lacks(feature.trim());
    }
    if facility == "METADATA"
        && let Some((topic, id)) = changed_id(&text)
        && let Some(observer) = &shared.observer
    {
        observer.topic_id(topic, id);
    }
    // Most of them, and nobody listens.
    if level >= 7 && !tracing::enabled!(target: "librdkafka", tracing::Level::DEBUG) {
        return;
    }
    let text = shared.mask(text);
    let client = shared.label.as_str();
    match level {
        // Connection errors repeat while a broker is away; the error callback keeps the last one.
        0..=3 if facility != "FAIL" => tracing::error!(target: "librdkafka", client, facility, "{text}"),
        // Repeats every half second while the last transaction of an id cannot end; a take logs
        // that once.
        4 if facility == "GETPID" => tracing::debug!(target: "librdkafka", client, facility, "{text}"),
        0..=4 => tracing::warn!(target: "librdkafka", client, facility, "{text}"),
        5 | 6 => tracing::info!(target: "librdkafka", client, facility, "{text}"),
        _ => tracing::debug!(target: "librdkafka", client, facility, "{text}"),
    }
}

/// Returns the topic and its new id in 'Topic T changed id from A to B' (`rdkafka_topic.c`:
/// `rd_kafka_topic_metadata_update`).
fn changed_id(text: &str) -> Option<(&str, TopicId)> {
    let (before, ids) = text.split_once(" changed id from ")?;
    let (_, topic) = before.rsplit_once(' ')?;
    let id = BASE64_STANDARD_NO_PAD.decode(ids.split_once(" to ")?.1.trim()).ok()?;
    Some((topic, TopicId(id.try_into().ok()?)))
}

unsafe extern "C" fn on_error(rk: *mut b::rd_kafka_t, code: c_int, reason: *const c_char, opaque: *mut c_void) {
    // SAFETY: librdkafka passes a live instance, a NUL-terminated string and our opaque.
    let (shared, mut text) = unsafe { (shared(opaque), string(reason)) };
    let Some(shared) = shared else { return };
    let mut code = Code::reported(code, &text);
    let fatal = code == Code::FATAL;
    if fatal {
        let mut buffer = [0 as c_char; 512];
        // SAFETY: live instance; the buffer has the size given and is NUL-terminated by librdkafka.
        unsafe {
            code = Code(raw::rd_kafka_fatal_error(rk, buffer.as_mut_ptr(), buffer.len()));
            text = string(buffer.as_ptr());
        }
    }
    let trouble = Trouble { code, text: shared.mask(text), fatal };
    if let Some(observer) = &shared.observer {
        observer.trouble(&trouble);
    }
    let mut last = lock(&shared.trouble);
    // A refused login explains more than the lost connections after it.
    let keeps_old = last.as_ref().is_some_and(|old| old.code == Code::AUTHENTICATION || old.fatal);
    if !keeps_old || fatal {
        *last = Some(trouble);
    }
}

unsafe extern "C" fn on_stats(_rk: *mut b::rd_kafka_t, json: *mut c_char, len: usize, opaque: *mut c_void) -> c_int {
    // SAFETY: our opaque; json has len bytes and stays librdkafka's (we return 0).
    let (shared, json) = unsafe { (shared(opaque), super::slice(json.cast_const().cast::<u8>(), len)) };
    let Some(shared) = shared else { return 0 };
    let Some(statistics) = Statistics::of(json, shared.kind == ClientKind::Consumer) else { return 0 };
    shared.next_offset.fetch_max(statistics.next_offset, Ordering::Relaxed);
    if statistics.is_answered {
        shared.access.answered();
    }
    if let Some(round_trip_us) = statistics.round_trip_us {
        shared.round_trip_us.store(round_trip_us, Ordering::Relaxed);
    }
    0
}

unsafe extern "C" fn on_delivery(_rk: *mut b::rd_kafka_t, message: *const b::rd_kafka_message_t, opaque: *mut c_void) {
    // SAFETY: our opaque; the message lives for the call.
    let (shared, message) = unsafe { (shared(opaque), message.as_ref()) };
    let (Some(shared), Some(message)) = (shared, message) else {
        return;
    };
    if let Some(observer) = &shared.observer {
        observer.delivered(&ReportedMessage::new(message));
    }
}
