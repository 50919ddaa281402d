//! Classifies librdkafka's errors by what a lane does about them.

use std::sync::Arc;

use strait_flow::ports::{Class, PortError};

use crate::ffi::{Client, Code, FfiError, Trouble};
use crate::tls::login_remedy;

/// Returns how a lane reacts to an error code.
#[must_use]
pub fn class_of(code: Code) -> Class {
    match code {
        Code::FENCED | Code::INVALID_PRODUCER_EPOCH | Code::PRODUCER_FENCED => Class::Fenced,
        Code::AUTHENTICATION | Code::SASL_AUTHENTICATION_FAILED | Code::UNSUPPORTED_SASL_MECHANISM => Class::Login,
        Code::INVALID_ARG | Code::UNSUPPORTED_FEATURE => Class::Stop,
        Code::TOPIC_AUTHORIZATION_FAILED
        | Code::GROUP_AUTHORIZATION_FAILED
        | Code::CLUSTER_AUTHORIZATION_FAILED
        | Code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        | Code::DELEGATION_TOKEN_AUTHORIZATION_FAILED
        | Code::SECURITY_DISABLED
        | Code::UNSUPPORTED_VERSION
        | Code::INVALID_TRANSACTION_TIMEOUT
        | Code::POLICY_VIOLATION => Class::Stop,
        _ => Class::Retry,
    }
}

/// Returns what an operator can do about an error, where that is known.
fn remedy(code: Code, text: &str) -> Option<&'static str> {
    Some(match code {
        Code::TOPIC_AUTHORIZATION_FAILED => {
            "the principal lacks an ACL on the topic; strait check names the command that grants it"
        }
        Code::GROUP_AUTHORIZATION_FAILED => {
            "the principal lacks an ACL on the group; strait check names the command that grants it"
        }
        Code::CLUSTER_AUTHORIZATION_FAILED => {
            "the principal lacks an ACL on the cluster or on the topic; strait acl print has the commands"
        }
        Code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED => {
            "the principal lacks an ACL on the transactional id; strait check names the command that grants it"
        }
        Code::SASL_AUTHENTICATION_FAILED | Code::AUTHENTICATION => login_remedy(text),
        Code::UNSUPPORTED_FEATURE => {
            "the cluster does not have this part of Kafka's protocol; delivery = \"at-least-once\" needs no transactions"
        }
        Code::UNSUPPORTED_SASL_MECHANISM => "the broker does not offer this sasl.mechanism",
        Code::INVALID_TRANSACTION_TIMEOUT => "transaction.timeout.ms is above the broker's transaction.max.timeout.ms",
        Code::POLICY_VIOLATION => "the cluster's policy refuses it; make the topic by hand",
        Code::SECURITY_DISABLED => "the cluster has no authorizer",
        Code::FENCED | Code::INVALID_PRODUCER_EPOCH | Code::PRODUCER_FENCED => "another process has taken over",
        _ => return None,
    })
}

/// Returns whether a call failed because the principal lacks a right.
#[must_use]
pub fn lacks_right(error: &PortError) -> bool {
    let cause = error.source.as_deref().and_then(|source| source.downcast_ref::<FfiError>());
    cause.is_some_and(|cause| is_right(cause.code))
}

/// Returns whether a call failed because the principal lacks a right on a topic.
#[must_use]
pub(crate) fn is_topic_denied(error: &PortError) -> bool {
    let cause = error.source.as_deref().and_then(|source| source.downcast_ref::<FfiError>());
    cause.is_some_and(|cause| cause.code == Code::TOPIC_AUTHORIZATION_FAILED)
}

/// Returns whether a call failed because a topic does not exist.
#[must_use]
pub(crate) fn is_gone_topic(error: &PortError) -> bool {
    let cause = error.source.as_deref().and_then(|source| source.downcast_ref::<FfiError>());
    cause.is_some_and(|cause| matches!(cause.code, Code::UNKNOWN_TOPIC | Code::UNKNOWN_TOPIC_OR_PART))
}

fn is_right(code: Code) -> bool {
    matches!(
        code,
        Code::TOPIC_AUTHORIZATION_FAILED
            | Code::GROUP_AUTHORIZATION_FAILED
            | Code::CLUSTER_AUTHORIZATION_FAILED
            | Code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    )
}

/// Returns the port error of a failed call.
#[must_use]
pub fn port_error(context: impl Into<String>, error: &FfiError) -> PortError {
    let mut reason = error.to_string();
    if let Some(remedy) = remedy(error.code, &error.text) {
        reason.push_str("; ");
        reason.push_str(remedy);
    }
    PortError::new(class_of(error.code), context, reason).caused_by(error.clone())
}

/// As [`port_error`], with the trouble that the client reported before: a call that timed out
/// because the login was refused names the login.
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

/// Returns a port error that no client reported.
pub(crate) fn own(class: Class, context: impl Into<String>, reason: impl Into<String>) -> PortError {
    PortError::new(class, context, reason)
}

/// Runs a blocking call outside of the async threads. The call must end by itself in bounded time.
pub(crate) async fn blocking<T: Send + 'static>(
    context: &str,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PortError> {
    tokio::task::spawn_blocking(call)
        .await
        .map_err(|error| own(Class::Retry, context, format!("the blocking call was lost: {error}")))
}

/// Drops what holds clients: destroying one joins its threads, which no async thread waits for.
pub(crate) fn drop_blocking<T: Send + 'static>(held: T) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || drop(held))),
        Err(_) => drop(held),
    }
}

/// Asks a cluster from a blocking thread. An error comes with the trouble that the client reported
/// before. The question must end by itself in bounded time.
pub(crate) async fn ask<T: Send + 'static>(
    context: String,
    client: Arc<Client>,
    question: impl FnOnce(&Client) -> Result<T, FfiError> + Send + 'static,
) -> Result<T, PortError> {
    let answer = blocking(&context, move || question(&client).map_err(|error| (error, client.trouble())));
    answer.await?.map_err(|(error, trouble)| port_error_because(context, &error, trouble))
}
