//! The error codes of librdkafka, and the error of a failed call.

use std::ffi::c_int;

use super::{raw, string};

/// An error code of librdkafka. Negative codes are its own, positive ones the broker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code(pub i32);

impl Code {
    /// No error.
    pub const OK: Self = Self(0);
    /// A message or response that does not parse, or a batch whose checksum is wrong.
    pub const BAD_MSG: Self = Self(-199);
    /// A batch that cannot be decompressed, or only into more than the client takes.
    pub const BAD_COMPRESSION: Self = Self(-198);
    /// A connection failed.
    pub const TRANSPORT: Self = Self(-195);
    /// A host name could not be resolved.
    pub const RESOLVE: Self = Self(-193);
    /// A codec or format of a batch that the client does not have.
    pub const NOT_IMPLEMENTED: Self = Self(-170);
    /// End of a partition: the fetch position stands at the last stable offset.
    pub const PARTITION_EOF: Self = Self(-191);
    /// The partition is not known locally.
    pub const UNKNOWN_PARTITION: Self = Self(-190);
    /// The topic is not known locally.
    pub const UNKNOWN_TOPIC: Self = Self(-188);
    /// No broker can be reached.
    pub const ALL_BROKERS_DOWN: Self = Self(-187);
    /// An argument or setting is not valid.
    pub const INVALID_ARG: Self = Self(-186);
    /// The record was not delivered in time.
    pub const MSG_TIMED_OUT: Self = Self(-192);
    /// There was no result in time.
    pub const TIMED_OUT: Self = Self(-185);
    /// The local queue is full.
    pub const QUEUE_FULL: Self = Self(-184);
    /// TLS failed.
    pub const SSL: Self = Self(-181);
    /// The client is in the wrong state for the call.
    pub const STATE: Self = Self(-172);
    /// SASL or TLS refused the client.
    pub const AUTHENTICATION: Self = Self(-169);
    /// The broker does not have the request.
    pub const UNSUPPORTED_FEATURE: Self = Self(-165);
    /// The client cannot be used any more; [`Trouble`](super::Trouble) has the cause.
    pub const FATAL: Self = Self(-150);
    /// Another producer has taken the transactional id.
    pub const FENCED: Self = Self(-144);
    /// A position was lost, and the settings forbid to reset it.
    pub const AUTO_OFFSET_RESET: Self = Self(-140);
    /// The log was truncated below the position.
    pub const LOG_TRUNCATION: Self = Self(-139);
    /// Another record of the same batch was refused.
    pub const INVALID_DIFFERENT_RECORD: Self = Self(-138);
    /// The offset is not in the log.
    pub const OFFSET_OUT_OF_RANGE: Self = Self(1);
    /// The broker has found a damaged batch.
    pub const INVALID_MSG: Self = Self(2);
    /// The topic or partition does not exist.
    pub const UNKNOWN_TOPIC_OR_PART: Self = Self(3);
    /// The partition has no leader now.
    pub const LEADER_NOT_AVAILABLE: Self = Self(5);
    /// Another broker leads the partition now.
    pub const NOT_LEADER: Self = Self(6);
    /// The record or batch is too large.
    pub const MSG_SIZE_TOO_LARGE: Self = Self(10);
    /// The coordinator of the transactional id or group still reads what it must know.
    pub const COORDINATOR_LOAD_IN_PROGRESS: Self = Self(14);
    /// There is no coordinator for the transactional id or group now.
    pub const COORDINATOR_NOT_AVAILABLE: Self = Self(15);
    /// The metadata that a group keeps beside its offset is too large.
    pub const OFFSET_METADATA_TOO_LARGE: Self = Self(12);
    /// The group has members, and the request comes from none of them.
    pub const UNKNOWN_MEMBER_ID: Self = Self(25);
    /// The group does not exist, or is of another kind.
    pub const GROUP_ID_NOT_FOUND: Self = Self(69);
    /// The broker is not the coordinator of the transactional id or group any more.
    pub const NOT_COORDINATOR: Self = Self(16);
    /// The cluster does not take the name of a topic, or one of its topics has a name like it.
    pub const INVALID_TOPIC: Self = Self(17);
    /// The batch is larger than a segment.
    pub const RECORD_LIST_TOO_LARGE: Self = Self(18);
    /// An ACL on the topic is missing.
    pub const TOPIC_AUTHORIZATION_FAILED: Self = Self(29);
    /// An ACL on the consumer group is missing.
    pub const GROUP_AUTHORIZATION_FAILED: Self = Self(30);
    /// An ACL on the cluster is missing.
    pub const CLUSTER_AUTHORIZATION_FAILED: Self = Self(31);
    /// The timestamp is out of the accepted range.
    pub const INVALID_TIMESTAMP: Self = Self(32);
    /// The broker does not offer the SASL mechanism.
    pub const UNSUPPORTED_SASL_MECHANISM: Self = Self(33);
    /// The broker does not have this version of the request.
    pub const UNSUPPORTED_VERSION: Self = Self(35);
    /// The topic exists already.
    pub const TOPIC_ALREADY_EXISTS: Self = Self(36);
    /// The number of partitions is not valid, for example because the topic was grown already.
    pub const INVALID_PARTITIONS: Self = Self(37);
    /// There are fewer brokers than replicas.
    pub const INVALID_REPLICATION_FACTOR: Self = Self(38);
    /// A setting of the topic is not valid.
    pub const INVALID_CONFIG: Self = Self(40);
    /// The topic's message format does not support the record.
    pub const UNSUPPORTED_FOR_MESSAGE_FORMAT: Self = Self(43);
    /// The cluster's policy refuses the request.
    pub const POLICY_VIOLATION: Self = Self(44);
    /// The producer's epoch is old: it is fenced.
    pub const INVALID_PRODUCER_EPOCH: Self = Self(47);
    /// The transaction timeout is above the broker's maximum.
    pub const INVALID_TRANSACTION_TIMEOUT: Self = Self(50);
    /// The last transaction of the id has not ended everywhere yet.
    pub const CONCURRENT_TRANSACTIONS: Self = Self(51);
    /// An ACL on the transactional id is missing.
    pub const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: Self = Self(53);
    /// The cluster has no authorizer.
    pub const SECURITY_DISABLED: Self = Self(54);
    /// The cluster deletes no topics.
    pub const TOPIC_DELETION_DISABLED: Self = Self(73);
    /// SASL refused the login.
    pub const SASL_AUTHENTICATION_FAILED: Self = Self(58);
    /// An ACL on the delegation token is missing.
    pub const DELEGATION_TOKEN_AUTHORIZATION_FAILED: Self = Self(65);
    /// The leader has a newer epoch than the request.
    pub const FENCED_LEADER_EPOCH: Self = Self(74);
    /// The broker does not know the request's leader epoch yet.
    pub const UNKNOWN_LEADER_EPOCH: Self = Self(75);
    /// The broker's validation refused the record.
    pub const INVALID_RECORD: Self = Self(87);
    /// The producer is fenced.
    pub const PRODUCER_FENCED: Self = Self(90);
    /// The topic id does not exist.
    pub const UNKNOWN_TOPIC_ID: Self = Self(100);

    /// Returns the code of an error that a client reports. librdkafka takes a connection that is
    /// lost during the SASL handshake for a refused login (`rdkafka_broker.c`:
    /// `rd_kafka_broker_handle_SaslHandshake`).
    #[must_use]
    pub fn reported(code: c_int, text: &str) -> Self {
        let code = Self(code);
        let is_lost = || {
            let signs = [Self::TRANSPORT.text(), Self::TIMED_OUT.text(), "hung up from peer".to_owned()];
            signs.iter().any(|sign| text.contains(sign.as_str()))
        };
        if code == Self::AUTHENTICATION && is_lost() { Self::TRANSPORT } else { code }
    }

    /// Returns whether a batch cannot be read, however often it is fetched.
    #[must_use]
    pub fn is_damage(self) -> bool {
        matches!(self, Self::BAD_MSG | Self::BAD_COMPRESSION | Self::NOT_IMPLEMENTED | Self::INVALID_MSG)
    }

    /// Returns librdkafka's description.
    #[must_use]
    pub fn text(self) -> String {
        // SAFETY: returns a pointer to a static or thread-local NUL-terminated string for any int.
        unsafe { string(raw::rd_kafka_err2str(self.0)) }
    }

    /// Returns the symbolic name.
    #[must_use]
    pub fn name(self) -> String {
        // SAFETY: as above.
        unsafe { string(raw::rd_kafka_err2name(self.0)) }
    }
}

/// The error of a failed call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text} ({})", code.name())]
pub struct FfiError {
    /// Error code.
    pub code: Code,
    /// Description of the error.
    pub text: String,
    /// Whether the client cannot be used any more.
    pub fatal: bool,
}

impl FfiError {
    /// Returns an error that is not fatal.
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), fatal: false }
    }

    pub(super) fn of(code: c_int) -> Self {
        Self::new(Code(code), Code(code).text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_lost_in_the_handshake_is_no_refused_login() {
        let of = |text: &str| Code::reported(Code::AUTHENTICATION.0, text);
        let lost = "sasl_plaintext://h:1/1: SASL SCRAM-SHA-512 mechanism handshake failed: Local: Broker transport \
                    failure: broker's supported mechanisms:  (after 3ms in state AUTH_HANDSHAKE)";
        assert_eq!(of(lost), Code::TRANSPORT);
        assert_eq!(of("Disconnected: hung up from peer in state AUTH_LEGACY"), Code::TRANSPORT);
        let refused = "sasl_plaintext://h:1/1: SASL authentication error: Authentication failed during \
                       authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512";
        assert_eq!(of(refused), Code::AUTHENTICATION);
    }
}
