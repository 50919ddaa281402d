//! Assigns lanes to processes, by Kafka's group protocol on the progress topic.
//!
//! The group only distributes work; safety rests on fencing. Nothing is read or committed through
//! it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use strait_core::LaneId;
use strait_core::progress::progress_topic;
use strait_flow::ports::{Class, Membership, MembershipEvent, PortError};
use tokio::sync::{mpsc, oneshot};

use crate::config::{ClusterConfig, Settings, committed_reader, group};
use crate::error::{own, port_error};
use crate::ffi::{Code, FfiError};

/// How long a revoked lane may take to finish. The session timeout is twice as long.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long leaving the group may take.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(200);

/// A [`Membership`] in the group `strait.<link>` on the target cluster.
pub struct KafkaMembership {
    events: mpsc::Receiver<MembershipEvent>,
    leaving: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    context: String,
}

impl KafkaMembership {
    /// Joins the group in the background.
    ///
    /// # Errors
    /// [`PortError`] of class `Stop` when a setting is refused.
    pub fn join(target: &ClusterConfig, link: &str) -> Result<Self, PortError> {
        let context = format!("link {link}: group {} on cluster {}", group(link), target.name);
        let stop = |error: KafkaError| own(Class::Stop, context.clone(), error.to_string());
        let mut settings = Settings::of(target, &format!("strait-{link}-member"));
        let secrets = settings.secrets();
        committed_reader(&mut settings);
        settings.set("group.id", group(link));
        settings.set("group.protocol", "classic");
        settings.set("partition.assignment.strategy", "cooperative-sticky");
        settings.set("session.timeout.ms", 10_000);
        settings.set("heartbeat.interval.ms", 2000);
        settings.set("enable.partition.eof", "false");
        let mut config = ClientConfig::new();
        for (name, value) in settings.iter() {
            config.set(name, value);
        }
        let (sender, events) = mpsc::channel(16);
        let leaving = Arc::new(AtomicBool::new(false));
        let member = Member { events: sender, leaving: Arc::clone(&leaving), context: context.clone(), secrets };
        let consumer: BaseConsumer<Member> = config.create_with_context(member).map_err(stop)?;
        consumer.subscribe(&[&progress_topic(link)]).map_err(stop)?;
        let thread = {
            let (leaving, context) = (Arc::clone(&leaving), context.clone());
            std::thread::Builder::new()
                .name("strait-member".to_owned())
                .spawn(move || serve(&consumer, &leaving, &context))
        };
        let thread =
            thread.map_err(|error| own(Class::Retry, context.clone(), format!("cannot start a thread: {error}")))?;
        Ok(Self { events, leaving, thread: Some(thread), context })
    }
}

/// Polls until the member leaves. Dropping the consumer then leaves the group.
fn serve(consumer: &BaseConsumer<Member>, leaving: &AtomicBool, context: &str) {
    let mut last_trouble: Option<(Instant, String)> = None;
    while !leaving.load(Ordering::Acquire) {
        let Some(Err(error)) = consumer.poll(POLL) else {
            // Records that were fetched before the pause are not used.
            continue;
        };
        let text = error.to_string();
        let recent = |(at, old): &(Instant, String)| *old == text && at.elapsed() < Duration::from_secs(10);
        if last_trouble.as_ref().is_some_and(recent) {
            continue;
        }
        last_trouble = Some((Instant::now(), text.clone()));
        let code = error.rdkafka_error_code().map_or(0, |code| code as i32);
        if Code(code) == Code::AUTO_OFFSET_RESET || Code(code) == Code::OFFSET_OUT_OF_RANGE {
            continue;
        }
        let code = Code::reported(code, &text);
        let trouble = port_error(context, &FfiError::new(code, text));
        consumer.context().send(MembershipEvent::Trouble(trouble));
    }
}

struct Member {
    events: mpsc::Sender<MembershipEvent>,
    leaving: Arc<AtomicBool>,
    context: String,
    secrets: Vec<String>,
}

impl Member {
    /// Sends an event. Waits while the receiver is busy, but not while the member leaves. Returns
    /// whether it was sent.
    fn send(&self, mut event: MembershipEvent) -> bool {
        loop {
            match self.events.try_send(event) {
                Ok(()) => return true,
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
                Err(mpsc::error::TrySendError::Full(back)) if !self.leaving.load(Ordering::Acquire) => event = back,
                Err(mpsc::error::TrySendError::Full(_)) => return false,
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn report(&self, result: Result<(), KafkaError>, what: &str) {
        if let Err(error) = result {
            let reason = format!("{what}: {error}");
            tracing::error!("{}: {reason}", self.context);
            self.send(MembershipEvent::Trouble(own(Class::Retry, self.context.clone(), reason)));
        }
    }

    /// Waits until the revoked lanes are done, the time is over, or no answer can come any more.
    fn wait_for(&self, mut answer: oneshot::Receiver<()>, lanes: &[LaneId]) {
        let deadline = Instant::now() + REVOKE_TIMEOUT;
        while let Err(oneshot::error::TryRecvError::Empty) = answer.try_recv() {
            if Instant::now() > deadline {
                tracing::warn!(
                    "{}: lanes {lanes:?} were not released in time; their producers will be fenced",
                    self.context
                );
                return;
            }
            if self.leaving.load(Ordering::Acquire) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn lanes(list: &TopicPartitionList) -> Vec<LaneId> {
    list.elements().iter().filter_map(|element| u32::try_from(element.partition()).ok().map(LaneId)).collect()
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let mut text = message.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "***");
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(target: "librdkafka", facility, "{}: {text}", self.context);
            }
            _ => tracing::debug!(target: "librdkafka", facility, "{}: {text}", self.context),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("{}: {error}: {reason}", self.context);
    }
}

impl ConsumerContext for Member {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let changed = lanes(list);
        match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                // An explicit offset avoids a request for committed ones, and the pause avoids
                // reading.
                if let Err(error) = list.set_all_offsets(Offset::Offset(0)) {
                    self.report(Err(error), "setting offsets");
                }
                self.report(consumer.incremental_assign(list), "taking an assignment");
                if !changed.is_empty() {
                    self.report(consumer.pause(list), "pausing the assignment");
                }
                // Also for an empty assignment: it means that other members have all lanes.
                self.send(MembershipEvent::Assigned(changed));
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                if !changed.is_empty() && !self.leaving.load(Ordering::Acquire) {
                    if consumer.assignment_lost() {
                        self.send(MembershipEvent::Lost(changed));
                    } else {
                        let (answer, answered) = oneshot::channel();
                        if self.send(MembershipEvent::Revoked(changed.clone(), answer)) {
                            self.wait_for(answered, &changed);
                        }
                    }
                }
                self.report(consumer.incremental_unassign(list), "releasing an assignment");
            }
            other => {
                let error = FfiError::new(Code(other as i32), Code(other as i32).text());
                self.send(MembershipEvent::Trouble(port_error(self.context.clone(), &error)));
                self.report(consumer.incremental_unassign(list), "releasing an assignment after an error");
                if !changed.is_empty() {
                    self.send(MembershipEvent::Lost(changed));
                }
            }
        }
    }
}

#[async_trait]
impl Membership for KafkaMembership {
    async fn next(&mut self) -> MembershipEvent {
        match self.events.recv().await {
            Some(event) => event,
            None => {
                tracing::error!("{}: the member thread has ended", self.context);
                std::future::pending().await
            }
        }
    }

    async fn leave(mut self: Box<Self>) {
        self.leaving.store(true, Ordering::Release);
        self.events.close();
        let Some(thread) = self.thread.take() else { return };
        let joined = tokio::time::timeout(LEAVE_TIMEOUT, tokio::task::spawn_blocking(move || thread.join())).await;
        match joined {
            Ok(Ok(Ok(()))) => {}
            Ok(_) => tracing::error!("{}: the member thread panicked", self.context),
            Err(_) => tracing::warn!(
                "{}: leaving takes longer than {LEAVE_TIMEOUT:?}; the session will time out",
                self.context
            ),
        }
    }
}

impl Drop for KafkaMembership {
    fn drop(&mut self) {
        self.leaving.store(true, Ordering::Release);
    }
}
