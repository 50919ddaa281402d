//! The reading client, with explicit assignment and batch consume, without a group.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex};
use std::thread::Thread;
use std::time::Duration;

use rdkafka_sys::bindings as b;

use strait_core::TopicId;
use strait_flow::lock;

use super::partitions::PartitionList;
use super::{
    Client, ClientKind, Code, ConsumedMessage, FfiError, Listed, Observer, Place, Trouble, take_error, timeout_ms,
};
use crate::config::Settings;

/// Troubles that librdkafka reports to the error callback only.
#[derive(Default)]
struct Reported {
    /// Partitions that the brokers do not know or do not show (`rdkafka_partition.c`:
    /// `rd_kafka_toppar_enq_error`, as 'topic [partition]: reason').
    missing: Mutex<Vec<(String, i32, Code)>>,
    /// Size of a response above `receive.message.max.bytes`. librdkafka drops it and the connection
    /// (`rdkafka_broker.c`: `rd_kafka_recv`), and does not know which partition it was for.
    too_large: Mutex<Option<u64>>,
    /// The ids by which the client reads topics.
    topic_ids: Mutex<HashMap<String, TopicId>>,
}

/// Returns the size in 'Invalid response size N (0..M): increase receive.message.max.bytes'.
fn response_size(text: &str) -> Option<u64> {
    text.split_once("Invalid response size ")?.1.split(' ').next()?.parse().ok()
}

impl Observer for Reported {
    fn topic_id(&self, topic: &str, id: TopicId) {
        lock(&self.topic_ids).insert(topic.to_owned(), id);
    }

    fn trouble(&self, trouble: &Trouble) {
        if trouble.code == Code::BAD_MSG {
            if let Some(size) = response_size(&trouble.text) {
                *lock(&self.too_large) = Some(size);
            }
            return;
        }
        let missing = [
            Code::UNKNOWN_TOPIC,
            Code::UNKNOWN_PARTITION,
            Code::UNKNOWN_TOPIC_OR_PART,
            Code::UNKNOWN_TOPIC_ID,
            Code::TOPIC_AUTHORIZATION_FAILED,
        ];
        if !missing.contains(&trouble.code) {
            return;
        }
        let named = trouble.text.split_once(" [").and_then(|(topic, rest)| Some((topic, rest.split_once(']')?.0)));
        let Some((topic, partition)) = named.and_then(|(topic, number)| Some((topic, number.parse().ok()?))) else {
            return;
        };
        let mut missing = lock(&self.missing);
        if missing.len() < 100_000 {
            missing.push((topic.to_owned(), partition, trouble.code));
        }
    }
}

/// A consumer with its queue, for one thread.
pub struct Consumer {
    client: Arc<Client>,
    queue: *mut b::rd_kafka_queue_t,
    messages: Vec<*mut b::rd_kafka_message_t>,
    wake: Option<Box<Thread>>,
    reported: Arc<Reported>,
}

// SAFETY: the queue may be used from any one thread at a time, which `&mut self` ensures; the
// message pointers are only filled in within a call.
unsafe impl Send for Consumer {}

impl Consumer {
    /// Creates a consumer that reads only assigned partitions.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn new(label: &str, settings: &Settings) -> Result<Self, FfiError> {
        let reported = Arc::new(Reported::default());
        let observer: Arc<dyn Observer> = Arc::clone(&reported) as Arc<dyn Observer>;
        let client = Arc::new(Client::new(ClientKind::Consumer, label, settings, Some(observer))?);
        // SAFETY: live instance; sends the main queue's events (errors, statistics) to the consumer
        // queue.
        unsafe { b::rd_kafka_poll_set_consumer(client.raw()) };
        // SAFETY: live instance.
        let queue = unsafe { b::rd_kafka_queue_get_consumer(client.raw()) };
        Ok(Self { client, queue, messages: Vec::new(), wake: None, reported })
    }

    /// Returns the instance, for admin requests.
    #[must_use]
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Returns the partitions that the brokers reported as unknown or denied since the last call.
    #[must_use]
    pub fn take_missing(&self) -> Vec<(String, i32, Code)> {
        std::mem::take(&mut *lock(&self.reported.missing))
    }

    /// Returns the size of a response that was larger than the client takes, if there was one since
    /// the last call.
    #[must_use]
    pub fn take_too_large(&self) -> Option<u64> {
        lock(&self.reported.too_large).take()
    }

    /// Returns the id under which the client reads a topic; unknown where the cluster tells none.
    /// Everything consumed before the call was read under this id or an earlier one.
    #[must_use]
    pub fn topic_id(&self, topic: &str) -> TopicId {
        lock(&self.reported.topic_ids).get(topic).copied().unwrap_or(TopicId::UNKNOWN)
    }

    /// Unparks `thread` whenever the empty queue gets a message. Only the first call counts.
    pub fn wake(&mut self, thread: Thread) {
        if self.wake.is_some() {
            return;
        }
        let thread = Box::new(thread);
        let opaque = std::ptr::from_ref(thread.as_ref()).cast_mut().cast::<c_void>();
        // SAFETY: the opaque lives in self.wake until the callback is taken away in drop.
        unsafe { b::rd_kafka_queue_cb_event_enable(self.queue, Some(on_wake), opaque) };
        self.wake = Some(thread);
    }

    /// Assigns partitions at explicit positions. None may be assigned already.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn assign(&mut self, places: &[Place]) -> Result<(), FfiError> {
        let list = PartitionList::new(places)?;
        // SAFETY: live instance and list; the list is copied.
        unsafe { take_error(b::rd_kafka_incremental_assign(self.client.raw(), list.raw())) }
    }

    /// Unassigns partitions. After it returns, messages fetched for them before are not handed out
    /// any more: the main thread has raised their version (`rdkafka_assignment.c`:
    /// `rd_kafka_assignment_serve_removals`).
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn unassign(&mut self, partitions: &[Place]) -> Result<(), FfiError> {
        let list = PartitionList::new(partitions)?;
        // SAFETY: live instance and list; the list is copied.
        unsafe { take_error(b::rd_kafka_incremental_unassign(self.client.raw(), list.raw())) }
    }

    /// Seeks assigned partitions. Unlike [`Consumer::assign`], the broker then checks the leader
    /// epoch (`rdkafka_partition.c`: `rd_kafka_toppar_seek` validates it,
    /// `rd_kafka_toppar_fetch_start` does not).
    ///
    /// # Errors
    /// [`FfiError`] for the call; errors of single partitions are in the answer.
    pub fn seek(&mut self, places: &[Place], timeout: Duration) -> Result<Vec<Listed>, FfiError> {
        let list = PartitionList::new(places)?;
        // SAFETY: live instance and list.
        unsafe { take_error(b::rd_kafka_seek_partitions(self.client.raw(), list.raw(), timeout_ms(timeout)))? };
        Ok(list.listed())
    }

    /// Passes queued messages to `visit`, `count` at most, and destroys them afterwards. With a
    /// zero timeout it does not wait. Otherwise it waits until there are `count` messages or the
    /// time is over.
    pub fn consume<R>(
        &mut self,
        count: usize,
        timeout: Duration,
        visit: impl FnOnce(&[ConsumedMessage<'_>]) -> R,
    ) -> R {
        self.messages.resize(count.max(1), std::ptr::null_mut());
        let ms = std::ffi::c_int::try_from(timeout.as_millis()).unwrap_or(std::ffi::c_int::MAX);
        // SAFETY: the array has the size given; one caller at a time because of &mut self.
        let got =
            unsafe { b::rd_kafka_consume_batch_queue(self.queue, ms, self.messages.as_mut_ptr(), self.messages.len()) };
        let filled = self.messages.get(..usize::try_from(got).unwrap_or(0)).unwrap_or_default();
        // SAFETY: the first `got` pointers are live messages that are ours until destroyed below.
        let borrowed: Vec<ConsumedMessage<'_>> =
            filled.iter().filter_map(|message| unsafe { message.as_ref() }).map(ConsumedMessage::new).collect();
        let result = visit(&borrowed);
        drop(borrowed);
        for message in filled {
            // SAFETY: each destroyed once; no borrow is left.
            unsafe { b::rd_kafka_message_destroy(*message) };
        }
        result
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // SAFETY: takes the callback away before its opaque goes; the queue reference is ours.
        unsafe {
            b::rd_kafka_queue_cb_event_enable(self.queue, None, std::ptr::null_mut());
            b::rd_kafka_queue_destroy(self.queue);
        }
    }
}

unsafe extern "C" fn on_wake(_rk: *mut b::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: the opaque set in `wake`; librdkafka holds the queue's lock while it calls, and drop
    // takes the callback away under the same lock before the Thread is freed.
    if let Some(thread) = unsafe { opaque.cast::<Thread>().as_ref() } {
        thread.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_response_is_read_from_the_client_s_report() {
        let text = "127.0.0.1:9092/1: Receive failed: Invalid response size 10485909 (0..8389632): \
                    increase receive.message.max.bytes (after 3ms in state UP)";
        assert_eq!(response_size(text), Some(10_485_909));
        assert_eq!(response_size("Receive failed: Disconnected"), None);
    }
}
