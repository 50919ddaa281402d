//! From librdkafka's errors to what a lane does about them.

use strait_flow::ports::{Class, PortError};

use crate::ffi::{Code, FfiError, Trouble};

/// How an error code is to be met.
#[must_use]
pub fn class_of(code: Code) -> Class {
    match code {
        Code::FENCED | Code::INVALID_PRODUCER_EPOCH | Code::PRODUCER_FENCED => Class::Fenced,
        Code::AUTHENTICATION | Code::INVALID_ARG | Code::UNSUPPORTED_FEATURE => Class::Stop,
        // Topic, group, cluster, transactional id and delegation token authorization; SASL; security disabled;
        // unsupported version or mechanism; invalid transaction timeout; policy violation.
        Code(29..=31 | 33 | 35 | 44 | 50 | 53 | 54 | 58 | 65) => Class::Stop,
        _ => Class::Retry,
    }
}

/// What an operator can do about an error, where that is known.
fn remedy(code: Code) -> Option<&'static str> {
    Some(match code {
        Code(29) => {
            "the principal lacks an ACL on the topic: source topics need Read and Describe, target topics Write and Describe (Create and Alter where Strait manages them), strait.<link>.* Read and Write"
        }
        Code(30) => "the principal lacks an ACL: Read and Describe on the group strait.<link>",
        Code(31) => "the principal lacks an ACL on the cluster (Create, or IdempotentWrite before Kafka 2.8)",
        Code(53) => "the principal lacks an ACL: Write and Describe on the transactional id prefix strait.<link>.",
        Code(58) | Code::AUTHENTICATION => {
            "check sasl.mechanism, sasl.username, sasl.password, the TLS settings and security.protocol in clusters.<name>.kafka"
        }
        Code(33) => "the broker does not offer this sasl.mechanism",
        Code(50) => "transaction.timeout.ms is above the broker's transaction.max.timeout.ms",
        Code(44) => "the cluster's policy refuses it; make the topic by hand",
        Code(54) => "the cluster has no authorizer",
        Code::FENCED | Code::INVALID_PRODUCER_EPOCH | Code::PRODUCER_FENCED => "another process has taken this lane",
        _ => return None,
    })
}

/// Makes a port error of a failed call.
#[must_use]
pub fn port_error(context: impl Into<String>, error: &FfiError) -> PortError {
    let mut reason = error.to_string();
    if let Some(remedy) = remedy(error.code) {
        reason.push_str("; ");
        reason.push_str(remedy);
    }
    PortError { class: class_of(error.code), context: context.into(), reason }
}

/// The same, where the client has said before why: a call that timed out because the login was refused names the login.
#[must_use]
pub fn port_error_because(context: impl Into<String>, error: &FfiError, trouble: Option<Trouble>) -> PortError {
    match trouble {
        Some(trouble) if class_of(error.code) == Class::Retry => {
            let cause = FfiError::new(trouble.code, trouble.text);
            let mut port = port_error(context, &cause);
            port.reason = format!("{error}: {}", port.reason);
            port
        }
        _ => port_error(context, error),
    }
}

/// A port error in our own words.
pub(crate) fn own(class: Class, context: impl Into<String>, reason: impl Into<String>) -> PortError {
    PortError { class, context: context.into(), reason: reason.into() }
}

/// Runs a blocking call away from the async threads. The call must be bounded by itself.
pub(crate) async fn blocking<T: Send + 'static>(
    context: &str,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PortError> {
    tokio::task::spawn_blocking(call)
        .await
        .map_err(|error| own(Class::Retry, context, format!("the blocking call was lost: {error}")))
}
