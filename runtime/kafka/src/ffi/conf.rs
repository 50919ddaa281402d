//! The settings of an instance before it is created.

use std::ffi::c_char;

use rdkafka_sys::bindings as b;
use strait_core::config::secrets;

use super::{Code, FfiError, c_string, string};

/// A configuration that no instance owns yet.
pub(super) struct Conf(pub *mut b::rd_kafka_conf_t);

impl Conf {
    pub fn new() -> Self {
        // SAFETY: plain constructor.
        Self(unsafe { b::rd_kafka_conf_new() })
    }

    pub fn set(&self, name: &str, value: &str) -> Result<(), FfiError> {
        let mut text = [0 as c_char; 512];
        let (c_name, c_value) = (c_string(name)?, c_string(value)?);
        // SAFETY: conf is live, the strings are NUL-terminated, the error buffer has the size
        // given.
        let result =
            unsafe { b::rd_kafka_conf_set(self.0, c_name.as_ptr(), c_value.as_ptr(), text.as_mut_ptr(), text.len()) };
        if result == b::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
            return Ok(());
        }
        // SAFETY: librdkafka NUL-terminates the buffer.
        let reason = unsafe { string(text.as_ptr()) };
        Err(FfiError::new(Code::INVALID_ARG, format!("setting '{name}': {reason}")))
    }

    /// Returns the value of a property as librdkafka has read it.
    fn get(&self, name: &str) -> Option<String> {
        let mut text = [0 as c_char; 64];
        let mut size = text.len();
        let c_name = c_string(name).ok()?;
        // SAFETY: conf is live, the name is NUL-terminated, the buffer has the size given.
        let result = unsafe { b::rd_kafka_conf_get(self.0, c_name.as_ptr(), text.as_mut_ptr(), &raw mut size) };
        // SAFETY: librdkafka NUL-terminates the buffer, also when it cuts a long value.
        (result == b::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK).then(|| unsafe { string(text.as_ptr()) })
    }
}

/// Returns why librdkafka does not take a value of a property, or takes another one. The text
/// names no secret.
#[must_use]
pub fn refused_value(name: &str, value: &str) -> Option<String> {
    let conf = Conf::new();
    if let Err(error) = conf.set(name, value) {
        let is_secret = secrets::may_hold_secret(name);
        return Some(if is_secret { format!("it is not valid for '{name}'") } else { error.text });
    }
    // A number is read as far as it goes: `30s` as 30, `1e6` as 1, `060` as an octal number.
    let read = conf.get(name).filter(|read| read.parse::<i64>().is_ok() && read != value.trim())?;
    Some(format!("'{value}' would be read as {read}; write the number alone, in digits"))
}

impl Drop for Conf {
    fn drop(&mut self) {
        // SAFETY: still ours.
        unsafe { b::rd_kafka_conf_destroy(self.0) };
    }
}
