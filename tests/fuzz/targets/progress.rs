//! Runs `strait_core::fuzz::progress`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| strait_core::fuzz::progress(input));
