//! Runs `strait_host::fuzz::edits`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| strait_host::fuzz::edits(input));
