//! Lists librdkafka clients with the access of their cluster, which changes their logins while they
//! live.

use std::ffi::{CString, c_char};
use std::ops::Deref;
use std::ptr::NonNull;

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka_sys::bindings as b;

use super::{Code, c_string, string, take_error};
use crate::access::{Access, Credentials, Listed, LiveClient, Token};

/// A client that lives as long as it is listed.
struct Native(NonNull<b::rd_kafka_t>);

// SAFETY: the two functions that are called through it may be called from any thread (rdkafka.h);
// the list calls them one at a time.
unsafe impl Send for Native {}

impl LiveClient for Native {
    fn set_token(&self, token: &Token) -> Result<(), String> {
        let plain = |error: super::FfiError| error.text;
        // Errors of a text with a NUL byte would show it.
        let value = CString::new(token.value.as_str()).map_err(|_| "the token has a NUL byte".to_owned())?;
        let principal = c_string(&token.principal).map_err(plain)?;
        let mut owned = Vec::new();
        for (name, value) in &token.extensions {
            owned.extend([c_string(name).map_err(plain)?, c_string(value).map_err(plain)?]);
        }
        let mut extensions: Vec<*const c_char> = owned.iter().map(|text| text.as_ptr()).collect();
        let mut text = [0 as c_char; 512];
        // SAFETY: the instance lives: `list` and `ListedConsumer` end its place in the list, under
        // the lock that is held here, before they destroy it. The strings and the array live for
        // the call, and the buffer has the size given.
        let code = unsafe {
            b::rd_kafka_oauthbearer_set_token(
                self.0.as_ptr(),
                value.as_ptr(),
                token.expires_ms,
                principal.as_ptr(),
                extensions.as_mut_ptr(),
                extensions.len(),
                text.as_mut_ptr(),
                text.len(),
            )
        };
        if Code(code as i32) == Code::OK {
            return Ok(());
        }
        // SAFETY: librdkafka NUL-terminates the buffer.
        let reason = unsafe { string(text.as_ptr()) };
        // librdkafka's message about a bad character quotes the whole token.
        Err(reason.replace(&token.value, "***"))
    }

    fn set_credentials(&self, credentials: &Credentials) -> Result<(), String> {
        let nul = |_| "user name or password has a NUL byte".to_owned();
        let user = CString::new(credentials.user.as_str()).map_err(nul)?;
        let password = CString::new(credentials.password.as_str()).map_err(nul)?;
        // SAFETY: the instance lives, as above; the strings live for the call, and the error object
        // is ours.
        unsafe { take_error(b::rd_kafka_sasl_set_credentials(self.0.as_ptr(), user.as_ptr(), password.as_ptr())) }
            .map_err(|error| error.text)
    }
}

/// Lists an instance.
///
/// # Safety
/// The instance must not be destroyed before the returned value is dropped.
pub(super) unsafe fn list(access: &Access, rk: NonNull<b::rd_kafka_t>) -> Listed {
    access.list(Box::new(Native(rk)))
}

/// A consumer of the `rdkafka` crate that is listed while it lives.
pub struct ListedConsumer<C: ConsumerContext> {
    // Dropped in this order: the place in the list ends before the consumer.
    _listed: Option<Listed>,
    consumer: BaseConsumer<C>,
}

impl<C: ConsumerContext> ListedConsumer<C> {
    /// Lists a consumer.
    #[must_use]
    pub fn new(consumer: BaseConsumer<C>, access: &Access) -> Self {
        let rk = NonNull::new(consumer.client().native_ptr());
        // SAFETY: both are kept in one value, whose fields are dropped in their order, and no
        // reference to the consumer lets it be taken out.
        let listed = rk.map(|rk| unsafe { list(access, rk) });
        Self { _listed: listed, consumer }
    }
}

impl<C: ConsumerContext> Deref for ListedConsumer<C> {
    type Target = BaseConsumer<C>;

    fn deref(&self) -> &BaseConsumer<C> {
        &self.consumer
    }
}
