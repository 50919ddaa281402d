//! Follows the control topic with one consumer, for as long as the process lives.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use strait_core::control::CONTROL_PARTITION;
use strait_flow::ports::{Class, ControlEntry, ControlTail, PortError};

use crate::access::Access;
use crate::config::Settings;
use crate::error::{class_of, drop_blocking, own, port_error_because};
use crate::ffi::{Code, Consumer, FfiError, Place, Trouble};
use crate::own_topic::OwnPartition;

/// Most records of one answer.
const MESSAGES: usize = 500;
/// How often the client's queue is looked at. No thread waits at it.
const POLL: Duration = Duration::from_millis(200);
/// Looks of one call.
const POLLS: u32 = 5;

/// A silence that has a cause is told after this time. A coordinator ticks once a second.
const SILENT: Duration = Duration::from_secs(5);
/// How long an error of the client explains a silence. A client that stays in trouble repeats it
/// within 30 s.
const EXPLAINS: Duration = Duration::from_secs(60);

/// A [`ControlTail`] on the control topic.
pub(super) struct KafkaControlTail {
    access: Access,
    /// The rolls of the access before the consumer's settings were made.
    rolls: u64,
    context: String,
    /// `None` once it is being destroyed.
    consumer: Option<Consumer>,
    /// Where the topic ended when the tail was made.
    end: i64,
    /// When a broker last answered with something, or the tail was made.
    read_at: Instant,
    /// The last error of the client, if nothing was read since.
    trouble: Option<(Instant, Trouble)>,
}

impl KafkaControlTail {
    /// Begins at the start of the topic. `rolls` is the counter of the access from before the
    /// settings were made. Blocks for a bounded time.
    pub fn open(
        label: &str,
        settings: &Settings,
        (access, rolls): (Access, u64),
        topic: &str,
        context: String,
        timeout: Duration,
    ) -> Result<Self, PortError> {
        let fail = |error: &FfiError, consumer: Option<&Consumer>| {
            let trouble = consumer.and_then(|consumer| consumer.client().trouble());
            port_error_because(context.clone(), error, trouble)
        };
        let mut consumer = Consumer::new(label, settings).map_err(|error| fail(&error, None))?;
        let partition = OwnPartition { topic, partition: CONTROL_PARTITION, waits: true, timeout };
        let bounds = partition.bounds(&mut consumer);
        let (start, end) = bounds.map_err(|error| fail(&error, Some(&consumer)))?;
        let place = Place { offset: start, ..Place::of(topic, CONTROL_PARTITION) };
        consumer.assign(&[place]).map_err(|error| fail(&error, Some(&consumer)))?;
        let (read_at, consumer) = (Instant::now(), Some(consumer));
        Ok(Self { access, rolls, context, consumer, end, read_at, trouble: None })
    }

    /// Takes what is there, without waiting.
    fn take(&mut self) -> Result<Vec<ControlEntry>, PortError> {
        let Some(consumer) = &mut self.consumer else {
            return Err(own(Class::Retry, self.context.clone(), "the consumer is gone"));
        };
        let (end, mut answered) = (self.end, false);
        let taken = consumer.consume(MESSAGES, Duration::ZERO, |messages| {
            let mut entries = Vec::new();
            for message in messages {
                answered = true;
                match message.code() {
                    Code::OK => {
                        let key = message.key().unwrap_or_default().to_vec();
                        let value = message.value().map(<[u8]>::to_vec);
                        entries.push(ControlEntry { key, value, is_old: message.offset() < end });
                    }
                    // Behind aborted and control records.
                    Code::PARTITION_EOF => {}
                    code => return Err(FfiError::new(code, message.error_text())),
                }
            }
            Ok(entries)
        });
        let now = Instant::now();
        if answered {
            (self.read_at, self.trouble) = (now, None);
        }
        let trouble = consumer.client().take_trouble();
        // A client whose login is refused would log in every second or so.
        let refused = trouble.as_ref().filter(|trouble| class_of(trouble.code) == Class::Login);
        let taken = match refused {
            Some(trouble) => Err(FfiError::new(trouble.code, trouble.text.clone())),
            None => taken,
        };
        if let Some(trouble) = trouble {
            self.trouble = Some((now, trouble));
        }
        taken.map_err(|error| port_error_because(self.context.clone(), &error, None))
    }
}

#[async_trait]
impl ControlTail for KafkaControlTail {
    async fn next(&mut self) -> Result<Vec<ControlEntry>, PortError> {
        if self.access.client_rolls() != self.rolls {
            // Its settings have the contents of the files, so the next one is made from others.
            let reason = "the certificates of the cluster have changed, and the client is made anew";
            return Err(own(Class::Retry, self.context.clone(), reason));
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

    fn trouble(&self) -> Option<String> {
        let (at, trouble) = self.trouble.as_ref()?;
        let is_told = self.read_at.elapsed() >= SILENT && at.elapsed() < EXPLAINS;
        let silence = FfiError::new(Code::TIMED_OUT, format!("nothing for {} s", self.read_at.elapsed().as_secs()));
        is_told.then(|| port_error_because(self.context.clone(), &silence, Some(trouble.clone())).to_string())
    }
}

impl Drop for KafkaControlTail {
    fn drop(&mut self) {
        drop_blocking(self.consumer.take());
    }
}
