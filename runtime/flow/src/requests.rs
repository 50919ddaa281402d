//! Requests of an operator to the lanes of a link.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use strait_core::{LaneId, lanes};
use tokio::sync::{Notify, oneshot};

use crate::lock::lock;

/// The answer of a lane that was asked to retry a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetryAnswer {
    /// It is retried now.
    Retried,
    /// It runs: there is nothing to retry.
    Runs,
    /// No retry helps. The text says what does.
    Refused(String),
    /// The lane does not have it: the source has no such partition, or the link does not copy it.
    Unknown,
}

/// A partition that is to be retried.
#[derive(Debug)]
pub(crate) struct RetryRequest {
    pub topic: Arc<str>,
    pub partition: i32,
    answer: oneshot::Sender<RetryAnswer>,
}

impl RetryRequest {
    /// Answers. Whoever asked may have gone, so the answer may reach nobody.
    pub fn answer(self, answer: RetryAnswer) {
        self.answer.send(answer).ok();
    }
}

/// Whoever waits for the answer about a partition.
type Waiting = BTreeMap<(Arc<str>, i32), oneshot::Sender<RetryAnswer>>;

/// Requests to the lanes of a link in this process. A lane takes its own while it moves records.
#[derive(Debug, Default)]
pub struct Requests {
    retries: Mutex<Waiting>,
    /// Whoever waits until a lane has been taken with new clients.
    rolls: Mutex<BTreeMap<LaneId, oneshot::Sender<()>>>,
    rolls_changed: Notify,
}

impl Requests {
    /// Asks for a retry of a partition. A second request for the same partition takes the place of
    /// the first, which gets no answer.
    pub fn retry(&self, topic: &str, partition: i32) -> oneshot::Receiver<RetryAnswer> {
        let (answer, receiver) = oneshot::channel();
        let mut retries = lock(&self.retries);
        // Nobody waits for these any more.
        retries.retain(|_, answer| !answer.is_closed());
        retries.insert((topic.into(), partition), answer);
        receiver
    }

    /// Asks a lane to commit what is in flight and to be taken again, with new clients. Answered
    /// once it runs again, and closed if it leaves this process before it has heard of it; a second
    /// request takes the place of the first.
    pub fn roll(&self, lane: LaneId) -> oneshot::Receiver<()> {
        let (answer, receiver) = oneshot::channel();
        lock(&self.rolls).insert(lane, answer);
        self.rolls_changed.notify_waiters();
        receiver
    }

    /// The lane does not run here any more: whoever waits for it gets no answer.
    pub(crate) fn left(&self, lane: LaneId) {
        lock(&self.rolls).remove(&lane);
    }

    /// Waits until somebody asks for that.
    pub(crate) async fn next_roll(&self, lane: LaneId) -> oneshot::Sender<()> {
        loop {
            let mut changed = std::pin::pin!(self.rolls_changed.notified());
            changed.as_mut().enable();
            if let Some(answer) = lock(&self.rolls).remove(&lane) {
                return answer;
            }
            changed.await;
        }
    }

    /// Takes out the requests for the partitions of a lane.
    pub(crate) fn take(&self, lane: LaneId, lanes: u32) -> Vec<RetryRequest> {
        let is_mine = |(topic, partition): &(Arc<str>, i32), answer: &mut oneshot::Sender<RetryAnswer>| {
            !answer.is_closed() && lanes::lane_of(topic, *partition, lanes) == lane
        };
        let mut retries = lock(&self.retries);
        let taken = retries.extract_if(.., is_mine);
        taken.map(|((topic, partition), answer)| RetryRequest { topic, partition, answer }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_takes_its_own_requests_once_and_none_that_nobody_waits_for() {
        let requests = Requests::default();
        let (mine, other) = (lanes::lane_of("t", 0, 2), lanes::lane_of("t", 1, 2));
        let mut waits = requests.retry("t", 0);
        drop(requests.retry("t", 2));
        assert!(requests.take(other, 2).is_empty());
        let taken = requests.take(mine, 2);
        assert_eq!(taken.iter().map(|request| (&*request.topic, request.partition)).collect::<Vec<_>>(), [("t", 0)]);
        assert!(requests.take(mine, 2).is_empty());
        taken.into_iter().for_each(|request| request.answer(RetryAnswer::Runs));
        assert_eq!(waits.try_recv(), Ok(RetryAnswer::Runs));
    }

    #[test]
    fn a_roll_of_a_lane_that_leaves_is_closed() {
        let requests = Requests::default();
        let (mut one, mut other) = (requests.roll(LaneId(1)), requests.roll(LaneId(2)));
        requests.left(LaneId(1));
        assert_eq!(one.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert_eq!(other.try_recv(), Err(oneshot::error::TryRecvError::Empty));
    }
}
