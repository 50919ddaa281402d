//! Runs `strait_core::fuzz::map`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| strait_core::fuzz::map(input));
