//! Follows the control topic with one consumer, for as long as the process lives.

use std::time::Duration;

use async_trait::async_trait;
use strait_core::control::CONTROL_PARTITION;
use strait_flow::ports::{Class, ControlEntry, ControlTail, PortError};

use crate::access::Access;
use crate::config::Settings;
use crate::error::{class_of, own, port_error_because};
use crate::ffi::{Code, Consumer, FfiError, Place};
use crate::own_topic::OwnPartition;

/// Most records of one answer.
const MESSAGES: usize = 500;
/// How often the client's queue is looked at. No thread waits at it.
const POLL: Duration = Duration::from_millis(200);
/// Looks of one call.
const POLLS: u32 = 5;

/// A [`ControlTail`] on the control topic.
pub(super) struct KafkaControlTail {
    label: String,
    settings: Settings,
    access: Access,
    /// The rolls of the access when the consumer was made.
    rolls: u64,
    topic: String,
    context: String,
    /// `None` while it is made anew, and once it is being destroyed.
    consumer: Option<Consumer>,
    /// The next offset to read.
    next: i64,
    /// Where the topic ended when the tail was made.
    end: i64,
}

impl KafkaControlTail {
    /// Begins at the start of the topic. Blocks for a bounded time.
    pub fn open(
        label: String,
        settings: Settings,
        access: Access,
        topic: String,
        context: String,
        timeout: Duration,
    ) -> Result<Self, PortError> {
        let rolls = access.client_rolls();
        let mut tail = Self { label, settings, access, rolls, topic, context, consumer: None, next: 0, end: 0 };
        let mut consumer = tail.connect()?;
        let partition = OwnPartition { topic: &tail.topic, partition: CONTROL_PARTITION, waits: true, timeout };
        let bounds = partition.bounds(&mut consumer).map_err(|error| tail.fail(&error, Some(&consumer)));
        (tail.next, tail.end) = bounds?;
        tail.assign(&mut consumer)?;
        tail.consumer = Some(consumer);
        Ok(tail)
    }

    fn fail(&self, error: &FfiError, consumer: Option<&Consumer>) -> PortError {
        let trouble = consumer.and_then(|consumer| consumer.client().trouble());
        port_error_because(self.context.clone(), error, trouble)
    }

    fn connect(&self) -> Result<Consumer, PortError> {
        Consumer::new(&self.label, &self.settings).map_err(|error| self.fail(&error, None))
    }

    fn assign(&self, consumer: &mut Consumer) -> Result<(), PortError> {
        let place = Place { offset: self.next, ..Place::of(&*self.topic, CONTROL_PARTITION) };
        consumer.assign(&[place]).map_err(|error| self.fail(&error, Some(&*consumer)))
    }

    /// Goes on with a client that has the present certificates.
    fn roll(&mut self) -> Result<(), PortError> {
        self.rolls = self.access.client_rolls();
        destroy(self.consumer.take());
        let mut consumer = self.connect()?;
        self.assign(&mut consumer)?;
        self.consumer = Some(consumer);
        Ok(())
    }

    /// Takes what is there, without waiting.
    fn take(&mut self) -> Result<Vec<ControlEntry>, PortError> {
        let Some(consumer) = &mut self.consumer else {
            return Err(own(Class::Retry, self.context.clone(), "the consumer is gone"));
        };
        let (next, end) = (&mut self.next, self.end);
        let taken = consumer.consume(MESSAGES, Duration::ZERO, |messages| {
            let mut entries = Vec::new();
            for message in messages {
                match message.code() {
                    Code::OK => {
                        *next = message.offset() + 1;
                        let key = message.key().unwrap_or_default().to_vec();
                        let value = message.value().map(<[u8]>::to_vec);
                        entries.push(ControlEntry { key, value, is_old: message.offset() < end });
                    }
                    // Behind aborted and control records.
                    Code::PARTITION_EOF => *next = (*next).max(message.offset()),
                    code => return Err(FfiError::new(code, message.error_text())),
                }
            }
            Ok(entries)
        });
        // A client whose login is refused would log in every second or so.
        let refused = consumer.client().take_trouble().filter(|trouble| class_of(trouble.code) == Class::Login);
        let taken = match refused {
            Some(trouble) => Err(FfiError::new(trouble.code, trouble.text)),
            None => taken,
        };
        taken.map_err(|error| port_error_because(self.context.clone(), &error, None))
    }
}

/// Destroys a consumer, which joins its threads.
fn destroy(consumer: Option<Consumer>) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || drop(consumer))),
        Err(_) => drop(consumer),
    }
}

#[async_trait]
impl ControlTail for KafkaControlTail {
    async fn next(&mut self) -> Result<Vec<ControlEntry>, PortError> {
        if self.access.client_rolls() != self.rolls {
            self.roll()?;
        }
        for _ in 0..POLLS {
            let entries = self.take()?;
            if !entries.is_empty() {
                return Ok(entries);
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(Vec::new())
    }
}

impl Drop for KafkaControlTail {
    fn drop(&mut self) {
        destroy(self.consumer.take());
    }
}
