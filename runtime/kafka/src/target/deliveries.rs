//! Delivery reports on their way from librdkafka's callback to the lane, coalesced into runs. The
//! callback never waits.
//!
//! The producers' queues bound them: each report belongs to a record that was in a queue.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use strait_core::TargetOffset;
use strait_flow::ports::{Class, DeliveryReport, PortError, TargetEvent, Token};
use tokio::sync::Notify;

use strait_flow::lock;

use crate::error::{class_of, port_error};
use crate::ffi::{Code, FfiError, Observer, ReportedMessage, Trouble};

const SEQUENCE_BITS: u32 = 40;
const SEQUENCE_MASK: u64 = (1 << SEQUENCE_BITS) - 1;

/// Packs a token into the word that librdkafka carries: 24 bits of stream, 40 bits of sequence.
pub(super) fn pack(token: Token) -> Option<u64> {
    if token.stream >> 24 != 0 || token.sequence > SEQUENCE_MASK {
        return None;
    }
    Some((u64::from(token.stream) << SEQUENCE_BITS) | token.sequence)
}

pub(super) fn unpack(word: u64) -> Token {
    Token { stream: u32::try_from(word >> SEQUENCE_BITS).unwrap_or(u32::MAX), sequence: word & SEQUENCE_MASK }
}

#[derive(Default)]
struct State {
    /// Reports of the current round of polling.
    building: Vec<DeliveryReport>,
    /// Target partition of the last run in `building`.
    partition: (usize, i32),
    /// Refusals at the end of `building` for which it is not known yet which record is to blame,
    /// see [`State::invalid`].
    suspects: Vec<usize>,
    /// Target partition of the suspects.
    suspects_at: (usize, i32),
    /// Whether the broker blamed some records of the batch and not others.
    others_spared: bool,
    /// Reports that the lane may take.
    ready: Vec<DeliveryReport>,
    /// Events other than delivery reports.
    control: VecDeque<TargetEvent>,
}

/// The reports of both producers of a lane, from one take to the next.
#[derive(Default)]
pub(super) struct Reports {
    context: String,
    state: Mutex<State>,
    notify: Notify,
}

impl Reports {
    pub(super) fn new(context: String) -> Arc<Self> {
        Arc::new(Self { context, ..Self::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Makes the reports so far visible to the lane. Called after each round of polling, so that a
    /// round is one event.
    pub(super) fn seal(&self) {
        let mut state = self.lock();
        if state.building.is_empty() {
            return;
        }
        state.settle();
        let building = std::mem::take(&mut state.building);
        if state.ready.is_empty() {
            state.ready = building;
        } else {
            state.ready.extend(building);
        }
        drop(state);
        self.notify.notify_one();
    }

    /// Adds an event that is not a delivery, behind all deliveries reported so far.
    pub(super) fn push(&self, event: TargetEvent) {
        self.seal();
        self.lock().control.push_back(event);
        self.notify.notify_one();
    }

    /// Waits for the next event. Cancel safe: an event is only taken when it is returned.
    pub(super) async fn event(&self) -> TargetEvent {
        loop {
            let notified = self.notify.notified();
            if let Some(event) = self.take() {
                return event;
            }
            notified.await;
        }
    }

    fn take(&self) -> Option<TargetEvent> {
        let mut state = self.lock();
        if !state.ready.is_empty() {
            return Some(TargetEvent::Delivered(std::mem::take(&mut state.ready)));
        }
        state.control.pop_front()
    }
}

impl State {
    fn acknowledged(&mut self, token: Token, offset: i64, at: (usize, i32)) {
        if self.partition == at
            && let Some(DeliveryReport::Acknowledged { first, count, offset: base }) = self.building.last_mut()
            && first.stream == token.stream
            && first.sequence + u64::from(*count) == token.sequence
            && base.0 + i64::from(*count) == offset
        {
            *count += 1;
            return;
        }
        self.partition = at;
        self.building.push(DeliveryReport::Acknowledged { first: token, count: 1, offset: TargetOffset(offset) });
    }

    /// Adds a record of a batch that failed the broker's validation.
    ///
    /// librdkafka (`rdkafka_request.c`, `..._Produce_result_record_errors`) gives the records that
    /// the broker blames the code of the batch (or `INVALID_RECORD` where there are several) and
    /// all others `_INVALID_DIFFERENT_RECORD`. Where the broker blames none by number, all get the
    /// code of the batch. The reports of a batch are neighbours.
    fn invalid(&mut self, token: Token, code: Code, at: (usize, i32)) {
        if at != self.suspects_at {
            self.settle();
        }
        self.suspects_at = at;
        let reason = format!("{} ({})", code.text(), code.name());
        if code == Code::INVALID_DIFFERENT_RECORD {
            self.others_spared = true;
            self.building.push(DeliveryReport::Failed { token, reason });
            return;
        }
        self.suspects.push(self.building.len());
        self.building.push(DeliveryReport::Refused { token, named: false, reason });
    }

    /// Decides which records are to blame, once the reports of a batch are complete.
    fn settle(&mut self) {
        let blamed = self.others_spared || self.suspects.len() == 1;
        for index in std::mem::take(&mut self.suspects) {
            if let Some(DeliveryReport::Refused { named, .. }) = self.building.get_mut(index) {
                *named = blamed;
            }
        }
        self.others_spared = false;
    }
}

impl Observer for Reports {
    fn delivered(&self, message: &ReportedMessage<'_>) {
        let token = unpack(message.token());
        let code = message.code();
        let mut state = self.lock();
        if code == Code::OK {
            state.settle();
            match message.offset() {
                offset if offset >= 0 => state.acknowledged(token, offset, message.partition()),
                // A duplicate sequence: the record is written, at an unknown offset.
                _ => state.building.push(DeliveryReport::Failed {
                    token,
                    reason: "acknowledged without an offset (duplicate of an earlier attempt)".to_owned(),
                }),
            }
            return;
        }
        if matches!(code, Code::INVALID_RECORD | Code::INVALID_TIMESTAMP | Code::INVALID_DIFFERENT_RECORD) {
            return state.invalid(token, code, message.partition());
        }
        state.settle();
        let reason = format!("{} ({})", code.text(), code.name());
        state.building.push(match code {
            Code::MSG_SIZE_TOO_LARGE | Code::RECORD_LIST_TOO_LARGE | Code::UNSUPPORTED_FOR_MESSAGE_FORMAT => {
                DeliveryReport::Refused { token, named: false, reason }
            }
            _ => DeliveryReport::Failed { token, reason },
        });
    }

    fn trouble(&self, trouble: &Trouble) {
        if !trouble.fatal && trouble.code != Code::AUTHENTICATION {
            tracing::debug!("{}: {}", self.context, trouble.text);
            return;
        }
        let mut error = FfiError::new(trouble.code, trouble.text.clone());
        error.fatal = trouble.fatal;
        self.push(TargetEvent::Broken(producer_error(self.context.clone(), &error)));
    }
}

/// Returns the port error of a producer. Fatal errors other than fencing are handled by taking the
/// lane again.
pub(crate) fn producer_error(context: impl Into<String>, error: &FfiError) -> PortError {
    let mut port = port_error(context, error);
    if error.fatal
        && class_of(error.code) != Class::Fenced
        && !matches!(
            error.code,
            Code::TOPIC_AUTHORIZATION_FAILED | Code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED | Code::UNSUPPORTED_FEATURE
        )
    {
        port.class = Class::Retry;
    }
    port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fatal_error_is_retried_unless_no_retry_can_help() {
        let class = |code: Code| {
            let mut error = FfiError::new(code, "failed");
            error.fatal = true;
            producer_error("here", &error).class
        };
        assert_eq!(class(Code::UNSUPPORTED_FEATURE), Class::Stop);
        assert_eq!(class(Code::TOPIC_AUTHORIZATION_FAILED), Class::Stop);
        assert_eq!(class(Code::FENCED), Class::Fenced);
        assert_eq!(class(Code::INVALID_ARG), Class::Retry);
    }

    #[test]
    fn tokens_fill_one_word_and_no_more() {
        let largest = Token { stream: (1 << 24) - 1, sequence: SEQUENCE_MASK };
        assert_eq!(pack(largest).map(unpack), Some(largest));
        assert_eq!(pack(Token { stream: 1 << 24, sequence: 0 }), None);
        assert_eq!(pack(Token { stream: 0, sequence: SEQUENCE_MASK + 1 }), None);
    }

    #[test]
    fn runs_break_where_stream_sequence_offset_or_partition_do() {
        let mut state = State::default();
        let token = |stream, sequence| Token { stream, sequence };
        for (stream, sequence, offset, partition) in
            [(1, 5, 100, 0), (1, 6, 101, 0), (1, 7, 103, 0), (1, 8, 104, 1), (2, 9, 105, 1), (2, 11, 106, 1)]
        {
            state.acknowledged(token(stream, sequence), offset, (7, partition));
        }
        let counts: Vec<u32> = state
            .building
            .iter()
            .map(|d| if let DeliveryReport::Acknowledged { count, .. } = d { *count } else { 0 })
            .collect();
        assert_eq!(counts, [2, 1, 1, 1, 1]);
    }

    #[test]
    fn blame_is_named_only_where_the_broker_spared_others_or_the_batch_had_one_record() {
        let (bad, spared) = (Code::INVALID_TIMESTAMP, Code::INVALID_DIFFERENT_RECORD);
        let named = |batches: &[&[Code]]| {
            let mut state = State::default();
            for (partition, codes) in (0..).zip(batches) {
                for (sequence, code) in (0..).zip(*codes) {
                    state.invalid(Token { stream: 0, sequence }, *code, (7, partition));
                }
            }
            state.settle();
            let refused =
                |d: &DeliveryReport| if let DeliveryReport::Refused { named, .. } = d { Some(*named) } else { None };
            state.building.iter().filter_map(refused).collect::<Vec<_>>()
        };
        assert_eq!(
            named(&[&[bad, spared, bad], &[bad, bad], &[bad], &[spared, spared, bad]]),
            [true, true, false, false, true, true]
        );
    }
}
