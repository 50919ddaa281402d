//! Assigns lanes to processes, by Kafka's group protocol on the progress topic.
//!
//! The group only distributes work; safety rests on fencing. Nothing is read or committed through
//! it.

mod view;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
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
use strait_flow::{LOGIN_RETRY, Retry, lock, spread};
use tokio::sync::{mpsc, oneshot, watch};

use crate::access::Access;
use crate::config::{ClusterConfig, Settings, committed_reader, group};
use crate::error::{own, port_error};
use crate::ffi::{Code, FfiError, ListedConsumer};
use view::{GroupView, Report};

/// How long a revoked lane may take to finish. The session timeout is twice as long.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long leaving the group may take.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(200);
/// How often the client says whether it is a member.
const LOOK_MS: u64 = 5000;
/// Wait before a client that was given up for another reason than its login is made anew; doubles
/// up to the second.
const REJOIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// A [`Membership`] in the group `strait.<link>` on the target cluster.
pub struct KafkaMembership {
    events: mpsc::Receiver<MembershipEvent>,
    member: Member,
    thread: Option<JoinHandle<()>>,
}

impl KafkaMembership {
    /// Joins the group in the background. `process` is a random number that stands for this
    /// process.
    ///
    /// # Errors
    /// [`PortError`] of class `Stop` when a setting is refused.
    pub fn join(target: &ClusterConfig, link: &str, process: u32) -> Result<Self, PortError> {
        let context = format!("link {link}: group {} on cluster {}", group(link), target.name);
        let secrets = settings(target, link).secrets();
        let (sender, events) = mpsc::channel(16);
        let view = Mutex::new(GroupView::new(&context));
        let shared = Shared { events: sender, leaving: AtomicBool::new(false), context, secrets, view };
        let member = Member(Arc::new(shared));
        let join = Join { target: target.clone(), link: link.to_owned(), member: member.clone() };
        // Here, so that a refused setting is an error of the call.
        let first = join.client()?;
        let seed = format!("{link}-{process}-member");
        let thread =
            std::thread::Builder::new().name("strait-member".to_owned()).spawn(move || join.serve(first, &seed));
        let thread = thread
            .map_err(|error| own(Class::Retry, member.0.context.clone(), format!("cannot start a thread: {error}")))?;
        Ok(Self { events, member, thread: Some(thread) })
    }
}

/// Returns the settings of a client that joins the group.
fn settings(target: &ClusterConfig, link: &str) -> Settings {
    let mut settings = Settings::of(target, &format!("strait-{link}-member"));
    committed_reader(&mut settings);
    settings.set("group.id", group(link));
    settings.set("group.protocol", "classic");
    settings.set("partition.assignment.strategy", "cooperative-sticky");
    settings.set("session.timeout.ms", 10_000);
    settings.set("heartbeat.interval.ms", 2000);
    settings.set("enable.partition.eof", "false");
    settings.set("statistics.interval.ms", LOOK_MS);
    settings
}

/// Makes clients that join the group.
struct Join {
    target: ClusterConfig,
    link: String,
    member: Member,
}

impl Join {
    /// Makes a client. Certificates that change from then on make the counter of its rolls stale.
    fn client(&self) -> Result<Rolled, PortError> {
        let rolls = self.target.access.member_rolls();
        let stop = |error: KafkaError| own(Class::Stop, self.member.0.context.clone(), error.to_string());
        let mut config = ClientConfig::new();
        for (name, value) in settings(&self.target, &self.link).iter() {
            config.set(name, value);
        }
        let client: BaseConsumer<Member> = config.create_with_context(self.member.clone()).map_err(stop)?;
        let client = ListedConsumer::new(client, &self.target.access);
        client.subscribe(&[&progress_topic(&self.link)]).map_err(stop)?;
        Ok(Rolled { client, rolls })
    }

    /// Is a member until it leaves. A client that is refused is given up, and made anew after a
    /// growing wait: librdkafka would ask again every second or two for ever.
    fn serve(&self, first: Rolled, seed: &str) {
        self.serve_with(first, seed, |client| self.member.poll_with(client, &self.target.access));
    }

    /// Does so with `poll` for the time that a client is a member.
    fn serve_with(&self, first: Rolled, seed: &str, mut poll: impl FnMut(Rolled) -> Result<Ended, PortError>) {
        let (began, member) = (Instant::now(), &self.member);
        let (mut next, mut last) = (Some(first), None);
        while !member.is_leaving() {
            let client = next.take().map_or_else(|| self.client(), Ok);
            let ended = client.and_then(|client| {
                let polling = std::panic::AssertUnwindSafe(|| poll(client));
                std::panic::catch_unwind(polling).unwrap_or_else(|_| {
                    let reason = "the member's thread panicked, please report this as a bug";
                    Err(own(Class::Retry, member.0.context.clone(), reason))
                })
            });
            let error = match ended {
                Ok(Ended::Left) => return,
                // At once: the group waits for the member that has just left.
                Ok(Ended::Rolled) => {
                    *lock(&member.0.view) = GroupView::new(&member.0.context);
                    continue;
                }
                Err(error) => error,
            };
            let old = std::mem::replace(&mut *lock(&member.0.view), GroupView::new(&member.0.context));
            let bounds = if error.class == Class::Login { LOGIN_RETRY } else { REJOIN };
            let retry = Retry::next(last.filter(|_| !old.has_been_member()), began.elapsed(), bounds);
            last = Some(retry);
            let wait = spread(retry.after, seed);
            let reason = format!("{}; joins again in {} s", error.reason, wait.as_secs());
            let changes = (error.class == Class::Login).then(|| self.target.access.changes());
            member.send(MembershipEvent::Trouble(PortError { reason, ..error }));
            member.sleep(wait, changes);
        }
    }
}

/// A client of a member.
struct Rolled {
    client: ListedConsumer<Member>,
    /// [`Access::member_rolls`] before it was made.
    rolls: u64,
}

/// Why a client of a member is given up.
enum Ended {
    /// The member leaves.
    Left,
    /// The next one has other certificates.
    Rolled,
}

/// State that the thread, the callbacks of its client and the owner of a membership share.
struct Shared {
    events: mpsc::Sender<MembershipEvent>,
    leaving: AtomicBool,
    context: String,
    secrets: Vec<String>,
    view: Mutex<GroupView>,
}

/// A member of the group, as its client sees it.
#[derive(Clone)]
struct Member(Arc<Shared>);

impl Member {
    fn is_leaving(&self) -> bool {
        self.0.leaving.load(Ordering::Acquire)
    }

    /// Polls until the member leaves, or the client is to be given up. Dropping the client then
    /// leaves the group.
    fn poll_with(&self, client: Rolled, access: &Access) -> Result<Ended, PortError> {
        let Rolled { client, rolls } = client;
        while !self.is_leaving() {
            if access.member_rolls() != rolls {
                return Ok(Ended::Rolled);
            }
            // Errors come by the callback, which has their text. Records that were fetched before
            // the pause are not used.
            drop(client.poll(POLL));
            if let Some(refusal) = lock(&self.0.view).refusal() {
                return Err(refusal.clone());
            }
        }
        Ok(Ended::Left)
    }

    /// Waits, but not for a login that has changed.
    fn sleep(&self, wait: Duration, changes: Option<watch::Receiver<u64>>) {
        let until = Instant::now() + wait;
        let has_changed = || changes.as_ref().is_some_and(|changes| changes.has_changed().unwrap_or(false));
        while !self.is_leaving() && Instant::now() < until && !has_changed() {
            std::thread::sleep(POLL);
        }
    }

    /// Sends an event. Waits while the receiver is busy, but not while the member leaves. Returns
    /// whether it was sent.
    fn send(&self, mut event: MembershipEvent) -> bool {
        loop {
            match self.0.events.try_send(event) {
                Ok(()) => return true,
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
                Err(mpsc::error::TrySendError::Full(back)) if !self.is_leaving() => event = back,
                Err(mpsc::error::TrySendError::Full(_)) => return false,
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn mask(&self, text: &str) -> String {
        self.0.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }

    fn report(&self, result: Result<(), KafkaError>, what: &str) {
        if let Err(error) = result {
            let reason = format!("{what}: {error}");
            tracing::error!("{}: {reason}", self.0.context);
            self.send(MembershipEvent::Trouble(own(Class::Retry, self.0.context.clone(), reason)));
        }
    }

    /// Waits until the revoked lanes are done, the time is over, or no answer can come any more.
    fn wait_for(&self, mut answer: oneshot::Receiver<()>, lanes: &[LaneId]) {
        let deadline = Instant::now() + REVOKE_TIMEOUT;
        while let Err(oneshot::error::TryRecvError::Empty) = answer.try_recv() {
            if Instant::now() > deadline {
                tracing::warn!(
                    "{}: lanes {lanes:?} were not released in time; their producers will be fenced",
                    self.0.context
                );
                return;
            }
            if self.is_leaving() {
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
        let text = self.mask(message);
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(target: "librdkafka", facility, "{}: {text}", self.0.context);
            }
            _ => tracing::debug!(target: "librdkafka", facility, "{}: {text}", self.0.context),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let reason = self.mask(reason);
        let code = Code::reported(error.rdkafka_error_code().map_or(0, |code| code as i32), &reason);
        tracing::debug!("{}: {reason} ({})", self.0.context, code.name());
        // The offsets of the paused assignment do not matter.
        if matches!(code, Code::OK | Code::AUTO_OFFSET_RESET | Code::OFFSET_OUT_OF_RANGE) {
            return;
        }
        let trouble = port_error(self.0.context.clone(), &FfiError::new(code, reason));
        lock(&self.0.view).failed(trouble.clone());
        if trouble.class == Class::Stop {
            // Where it comes from the beginning, the link ends.
            self.send(MembershipEvent::Trouble(trouble));
        }
    }

    fn stats_raw(&self, json: &[u8]) {
        let Some(report) = Report::of(json) else { return };
        let said = lock(&self.0.view).look(&report);
        match said {
            Some(Ok(())) => drop(self.send(MembershipEvent::Member)),
            Some(Err(trouble)) => drop(self.send(MembershipEvent::Trouble(trouble))),
            None => {}
        }
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
                lock(&self.0.view).assigned(&changed);
                self.send(MembershipEvent::Assigned(changed));
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                lock(&self.0.view).released(&changed);
                if !changed.is_empty() && !self.is_leaving() {
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
                lock(&self.0.view).released(&changed);
                self.send(MembershipEvent::Trouble(port_error(self.0.context.clone(), &error)));
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
                let reason = "the member's thread has ended; restart the process, and report this as a bug";
                MembershipEvent::Ended(own(Class::Stop, self.member.0.context.clone(), reason))
            }
        }
    }

    async fn leave(mut self: Box<Self>) {
        self.member.0.leaving.store(true, Ordering::Release);
        self.events.close();
        let Some(thread) = self.thread.take() else { return };
        let joined = tokio::time::timeout(LEAVE_TIMEOUT, tokio::task::spawn_blocking(move || thread.join())).await;
        match joined {
            Ok(Ok(Ok(()))) => {}
            Ok(_) => tracing::error!("{}: the member thread panicked", self.member.0.context),
            Err(_) => tracing::warn!(
                "{}: leaving takes longer than {LEAVE_TIMEOUT:?}; the session will time out",
                self.member.0.context
            ),
        }
    }
}

impl Drop for KafkaMembership {
    fn drop(&mut self) {
        self.member.0.leaving.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_panic_of_the_members_thread_is_told_and_a_client_is_made_anew() {
        let target = ClusterConfig {
            name: "target".to_owned(),
            bootstrap_servers: "127.0.0.1:1".to_owned(),
            properties: BTreeMap::new(),
            access: Access::default(),
        };
        let (sender, mut events) = mpsc::channel(16);
        let view = Mutex::new(GroupView::new("link panics"));
        let leaving = AtomicBool::new(false);
        let shared = Shared { events: sender, leaving, context: "link panics".into(), secrets: Vec::new(), view };
        let join = Join { target, link: "panics".into(), member: Member(Arc::new(shared)) };
        let mut clients = 0;
        join.serve_with(join.client().unwrap(), "seed", |_| {
            clients += 1;
            assert!(clients > 1, "planted");
            join.member.0.leaving.store(true, Ordering::Release);
            Ok(Ended::Left)
        });
        assert_eq!(clients, 2);
        let MembershipEvent::Trouble(trouble) = events.try_recv().unwrap() else { panic!("another event") };
        assert_eq!(trouble.class, Class::Retry);
        assert!(
            trouble.reason.contains("panicked") && trouble.reason.contains("joins again in "),
            "{}",
            trouble.reason
        );
    }
}
