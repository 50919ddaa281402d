//! Requests of an operator to a lane.

use std::sync::Arc;
use std::time::Duration;

use super::Lane;
use crate::partitions::Pause;
use crate::requests::RetryAnswer;

impl Lane<'_> {
    /// Answers the requests for partitions of this lane.
    pub(super) fn answer_requests(&mut self, now: Duration) {
        for request in self.deps.requests.take(self.spec.lane, self.spec.lanes) {
            let answer = self.retry_now(&request.topic, request.partition, now);
            request.answer(answer);
        }
    }

    /// Makes a partition due for its retry.
    fn retry_now(&mut self, topic: &Arc<str>, partition: i32, now: Duration) -> RetryAnswer {
        // First: a partition that is to be placed may have taken the place of a stopped one.
        if let Some(key) = self.unplaced.retry_now(topic, partition) {
            // Books that could not be told are asked again, too.
            self.caution.retry_now(&key, now);
            return RetryAnswer::Retried;
        }
        let Some(stream) = self.partitions.stream_of(topic, partition) else { return RetryAnswer::Unknown };
        let window = self.partitions.at_mut(stream);
        if !window.is_paused() {
            return RetryAnswer::Runs;
        }
        let key = window.key().clone();
        if let Some(event) = self.caution.retry_now(&key, now) {
            return RetryAnswer::Refused(format!("{event}; {}", event.remedy()));
        }
        self.partitions.at_mut(stream).pause(Pause::Waiting { retry_at: now });
        // The target is asked again about the topics that kept it.
        self.topics.forget_lacking();
        RetryAnswer::Retried
    }
}
