//! Files of plugins under a fuzzer.

use super::Package;
use crate::guest::GuestLimits;

/// Checks a plugin's file as it is checked before anything of it is compiled. An answer is all that
/// is asked for: the fuzzer bounds the stack, the memory and the time.
pub fn package(bytes: &[u8]) {
    let limits = GuestLimits { file_bytes_max: 1 << 20, ..GuestLimits::default() };
    match Package::check(bytes.to_vec().into(), [0; 32], &limits, true) {
        Ok(package) => assert!(!package.version.is_empty() && package.bytes.len() <= limits.file_bytes_max),
        Err(problem) => drop(problem.to_string()),
    }
}
